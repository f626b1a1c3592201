#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: `openssl crl -CAfile FILE` verifies a CRL if one of the CA certificates in FILE has signed it, as nginx
#   (ssl_crl, ssl_client_certificate) does while a CA is rolled over to a new key under its old name.
# What happens: only the first certificate of the issuer's name is tried. With the old CA first, a good CRL of the new one is a
#   "verify failure"; the same two certificates the other way round say "verify OK". The exit status is 0 either way.
# Seen 2026-11-29: OpenSSL 3.0.19 (Debian 12, openssl 3.0.19-1~deb12u2):
#   old CA first: verify failure
#   new CA first: verify OK
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
command -v openssl >/dev/null || timeout 300 apt-get install -y -q --no-install-recommends openssl
openssl version
cat >ca.cnf <<'CONF'
[ca]
default_ca = here
[here]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 2
CONF
touch index.txt
echo 01 >crlnumber
for ca in old new; do
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $ca.key -out $ca.crt -days 2 \
    -subj '/CN=One CA' 2>openssl.log
done
openssl ca -config ca.cnf -gencrl -cert new.crt -keyfile new.key -out crl.pem 2>openssl.log
cat old.crt new.crt >old-first.pem
cat new.crt old.crt >new-first.pem
verify() { openssl crl -in crl.pem -noout -CAfile "$1" 2>&1 | tail -n 1; }
echo "old CA first: $(verify old-first.pem)"
echo "new CA first: $(verify new-first.pem)"
if [[ $(verify old-first.pem) != 'verify failure' || $(verify new-first.pem) != 'verify OK' ]]; then
  echo 'CHANGED: the order of the certificates no longer decides' >&2
  exit 1
fi
