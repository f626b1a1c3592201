#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: gpgsm, which writes and reads AES elsewhere, imports the .p12 that OpenSSL 3 writes by default.
# What happens: gpgsm 2.2 reads PBES2 with its older PRF only: with PBKDF2 over HMAC-SHA-256 it stops at "pkcs5PBES2-params". The
#   password plays no part. 3DES with SHA-1 is imported.
# Seen 2026-11-29: gpgsm 2.2.40-1.1+deb12u2 (Debian 12), OpenSSL 3.0.19:
#   3DES: secret keys imported: 1
#   AES-256: error parsing or decrypting the PKCS#12 file
set -euo pipefail
work=$(mktemp -d)
cleanup() {
  gpgconf --homedir "$work/home" --kill all 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
command -v gpgsm >/dev/null || timeout 300 apt-get install -y -q --no-install-recommends gpgsm
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' gpgsm openssl
openssl req -x509 -newkey rsa:2048 -nodes -keyout alice.key -out alice.crt -days 2 -subj /CN=alice 2>openssl.log
openssl pkcs12 -export -inkey alice.key -in alice.crt -passout pass:secret -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1 -out old.p12
openssl pkcs12 -export -inkey alice.key -in alice.crt -passout pass:secret -out new.p12
mkdir -m 700 home
import() {
  printf secret | timeout 60 gpgsm --homedir home --batch --pinentry-mode loopback --passphrase-fd 0 --import "$1" 2>&1 |
    grep -o -E 'secret keys imported: +[0-9]+|error parsing or decrypting.*' | tr -s ' ' | sed -n 1p || true
}
# The new one first: of a key that is there, nothing would be imported.
new=$(import new.p12)
old=$(import old.p12)
echo "3DES: $old"
echo "AES-256: $new"
if [[ $old != "secret keys imported: 1" || $new != "error parsing or decrypting the PKCS#12 file" ]]; then
  echo "CHANGED: gpgsm was expected to import 3DES only" >&2
  exit 1
fi
