#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a certificate with a key that TLS 1.3 has no signature algorithm for gives an error, as it does in TLS 1.2.
# What happens: curl (OpenSSL) with a secp256k1 key sends the certificate in TLS 1.2, and the server ends the handshake with
#   an alert. In TLS 1.3 it sends none and says nothing: the server sees a client without a certificate, and the client
#   a good answer where one is optional, or a page about a missing certificate.
# Seen 2026-11-29: curl 7.88.1-10+deb12u14 with OpenSSL 3.0.19 on both sides (Debian 12):
#   TLS 1.2: exit status 35, alert illegal parameter
#   TLS 1.3: exit status 0, no client certificate
set -euo pipefail
export no_proxy=127.0.0.1
work=$(mktemp -d)
server=
cleanup() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    wait "$server" || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
command -v curl >/dev/null || timeout 300 apt-get install -y -q --no-install-recommends curl
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' curl openssl
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=localhost 2>openssl.log
openssl req -newkey ec -pkeyopt ec_paramgen_curve:secp256k1 -nodes -keyout alice.key -out alice.csr -subj /CN=alice 2>openssl.log
openssl x509 -req -in alice.csr -CA ca.crt -CAkey ca.key -set_serial 1 -days 2 -out alice.crt 2>openssl.log
# Asks for a certificate and does without; its page says whether one came.
openssl s_server -accept "127.0.0.1:$port" -cert ca.crt -key ca.key -verify 1 -CAfile ca.crt -www >server.log 2>&1 &
server=$!
timeout 60 curl -s -k -o ready --retry 10 --retry-connrefused --retry-delay 1 "https://127.0.0.1:$port/"
ask() {
  local status=0
  timeout 60 curl -sS -k -o "$1.txt" "--tlsv$1" --tls-max "$1" --cert alice.crt --key alice.key "https://127.0.0.1:$port/" 2>"$1.log" || status=$?
  echo "exit status $status, $(cat "$1.txt" "$1.log" 2>/dev/null | grep -o -e 'no client certificate' -e 'alert illegal parameter' || true)"
}
old=$(ask 1.2)
new=$(ask 1.3)
echo "TLS 1.2: $old"
echo "TLS 1.3: $new"
if [[ $old != "exit status 35, alert illegal parameter" || $new != "exit status 0, no client certificate" ]]; then
  echo "CHANGED: an alert was expected in TLS 1.2, and silence in TLS 1.3" >&2
  exit 1
fi
