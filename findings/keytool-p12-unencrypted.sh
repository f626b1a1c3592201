#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a PKCS#12 file whose contents are not encrypted is read by every reader, or refused with an error.
# What happens: Java reads it as a keystore with no entry, without an error and with exit status 0, even though the MAC fits
#   the password. OpenSSL and NSS find the key and the certificate in the same file. A program then starts with an empty
#   keystore and sends no client certificate.
# Seen 2026-11-29: OpenJDK 17.0.15 and OpenSSL 3.0.19 (Debian 12):
#   encrypted: certificates by openssl: 1, entries by keytool: 1
#   unencrypted: certificates by openssl: 1, entries by keytool: 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
command -v keytool >/dev/null || timeout 600 apt-get install -y -q --no-install-recommends default-jre-headless
java -version 2>&1 | sed -n 1p
openssl version
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout alice.key -out alice.crt -days 2 -subj /CN=alice 2>openssl.log
export_p12() { openssl pkcs12 -export -in alice.crt -inkey alice.key -name alice -passout pass:secret "$@"; }
export_p12 -out encrypted.p12
export_p12 -keypbe NONE -certpbe NONE -out unencrypted.p12
seen=
for kind in encrypted unencrypted; do
  certificates=$(openssl pkcs12 -in "$kind.p12" -passin pass:secret -nodes | grep -c 'BEGIN CERTIFICATE')
  entries=$(timeout 60 keytool -J-Duser.language=en -list -keystore "$kind.p12" -storetype PKCS12 -storepass secret | sed -n 's/.*contains \([0-9]*\) entr.*/\1/p')
  echo "$kind: certificates by openssl: $certificates, entries by keytool: $entries"
  seen+="$certificates $entries "
done
[[ $seen == "1 1 1 0 " ]] || { echo "CHANGED: keytool was expected to find nothing in the unencrypted file" >&2; exit 1; }
