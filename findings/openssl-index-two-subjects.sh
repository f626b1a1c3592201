#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: the last column of `index.txt`, the database of `openssl ca`, says which subject a certificate has, so
#   that tools (and `unique_subject`) can compare by it.
# What happens: bytes outside ASCII are written as \xNN, but a backslash in a name is not escaped. The name "é" and the
#   name of eight letters "\xC3\xA9" give the same line. What a subject is must be read from the certificate.
# Seen 2026-11-29: OpenSSL 3.0.19 (Debian 12, openssl 3.0.19-1~deb12u2):
#   01 /CN=\xC3\xA9 is subject=CN=\C3\A9
#   02 /CN=\xC3\xA9 is subject=CN=\\xC3\\xA9
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
new_certs_dir = .
serial = serial
default_md = sha256
default_days = 2
unique_subject = no
policy = any
[any]
commonName = supplied
CONF
touch index.txt
echo 01 >serial
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca 2>openssl.log
openssl req -new -key ca.key -utf8 -subj $'/CN=\xC3\xA9' -out 01.csr
openssl req -new -key ca.key -utf8 -subj '/CN=\\xC3\\xA9' -out 02.csr
for number in 01 02; do
  openssl ca -batch -notext -config ca.cnf -keyfile ca.key -cert ca.crt -in "$number.csr" -out "$number.crt" 2>openssl.log
done
column() { cut -f 6 index.txt | sed -n "$1p"; }
subject() { openssl x509 -in "$1" -noout -subject -nameopt RFC2253; }
echo "01 $(column 1) is $(subject 01.crt)"
echo "02 $(column 2) is $(subject 02.crt)"
if [[ $(column 1) != "$(column 2)" || $(subject 01.crt) == "$(subject 02.crt)" ]]; then
  echo "CHANGED: one text for two subjects was expected" >&2
  exit 1
fi
