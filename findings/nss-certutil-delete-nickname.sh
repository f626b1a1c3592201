#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: after a renewal a database holds the old and the new certificate under one nickname, and
#   `certutil -D -n NICKNAME` deletes both, or the old one, or says that the nickname is ambiguous.
# What happens: it silently deletes one, the one whose validity began later, whichever was imported first. The old
#   certificate stays. (Of two that began in the same second, the one imported last is deleted.)
# Seen 2026-11-29: NSS 3.87.1 (Debian 12, libnss3-tools 2:3.87.1-1+deb12u4), OpenSSL 3.0.19:
#   old first: left: serial 1, the old one
#   new first: left: serial 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
command -v certutil >/dev/null || timeout 300 apt-get install -y -q --no-install-recommends libnss3-tools
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' libnss3-tools

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 90 -subj /CN=ca 2>openssl.log
for serial in 1 2; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$serial.key" -out "$serial.csr" -subj /CN=alice 2>openssl.log
  openssl x509 -req -in "$serial.csr" -CA ca.crt -CAkey ca.key -set_serial "$serial" -days $((30 * serial)) -out "$serial.crt" 2>openssl.log
  sleep 2 # so that the second one's notBefore is later
  openssl pkcs12 -export -in "$serial.crt" -inkey "$serial.key" -name alice -passout pass:secret -out "$serial.p12"
done

# The serial number that is left after the two were imported in this order and the nickname was deleted once.
left() {
  local database
  database=sql:$(mktemp -d "$work/nssdb.XXXX")
  certutil -N -d "$database" --empty-password
  for serial in "$@"; do timeout 60 pk12util -d "$database" -i "$serial.p12" -W secret >pk12util.log; done
  timeout 60 certutil -D -d "$database" -n alice
  certutil -L -d "$database" -n alice | sed -n 's/^ *Serial Number: \([0-9]*\).*/\1/p' | xargs
}
old_first=$(left 1 2)
new_first=$(left 2 1)
echo "old first: left: serial $old_first"
echo "new first: left: serial $new_first"
[[ $old_first == 1 && $new_first == 1 ]] || { echo "CHANGED: the old certificate, serial 1, was expected to be left" >&2; exit 1; }
