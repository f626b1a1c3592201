#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: with the right password gcr opens a .p12, whatever the kind of key, or says that it cannot.
# What happens: gcr 3.41 (GNOME's certificate viewer, gcr-viewer) opens 3DES with an RSA key only. With an EC key it asks for the
#   password again and again, as if it were wrong; AES-256 with SHA-256, openssl's default, is "invalid or corrupted data".
# Seen 2026-11-29: gcr 3.41.1-1+b1 (Debian 12), OpenSSL 3.0.19:
#   rsa-3des: ok, asked 0 times
#   ec-3des: asked 10 times
#   rsa-aes: Could not parse invalid or corrupted data.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
/usr/bin/python3 -c 'import gi; gi.require_version("Gcr", "3")' 2>/dev/null ||
  timeout 300 apt-get install -y -q --no-install-recommends python3-gi gir1.2-gcr-3
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' gir1.2-gcr-3 openssl
old=(-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1)
for kind in rsa:2048 ec; do
  openssl req -x509 -newkey "$kind" -pkeyopt "$([[ $kind == ec ]] && echo ec_paramgen_curve:P-256 || echo rsa_keygen_bits:2048)" \
    -nodes -keyout alice.key -out alice.crt -days 2 -subj /CN=alice 2>openssl.log
  openssl pkcs12 -export -inkey alice.key -in alice.crt -passout pass:secret "${old[@]}" -out "${kind%:*}-3des.p12"
  openssl pkcs12 -export -inkey alice.key -in alice.crt -passout pass:secret -out "${kind%:*}-aes.p12"
done
cat >read.py <<'PY'
import sys

import gi

gi.require_version("Gcr", "3")
from gi.repository import Gcr, GLib

for name in sys.argv[1:]:
    asked = 0

    def again(parser, count):
        global asked
        asked += 1
        parser.add_password("secret")
        return asked < 10

    parser = Gcr.Parser.new()
    parser.add_password("secret")
    parser.connect("authenticate", again)
    with open(f"{name}.p12", "rb") as file:
        data = file.read()
    try:
        parser.parse_data(data)
        print(f"{name}: ok, asked {asked} times")
    except GLib.Error as error:
        print(f"{name}: asked {asked} times" if asked else f"{name}: {error.message}")
PY
timeout 60 /usr/bin/python3 read.py rsa-3des ec-3des rsa-aes 2>gcr.log | tee seen.txt
if ! diff seen.txt - <<'SEEN'; then
rsa-3des: ok, asked 0 times
ec-3des: asked 10 times
rsa-aes: Could not parse invalid or corrupted data.
SEEN
  echo "CHANGED: only the RSA key with 3DES was expected to be read" >&2
  exit 1
fi
