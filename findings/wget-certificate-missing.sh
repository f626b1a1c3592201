#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: wget that is given a certificate and a key that do not exist stops, or says so.
# What happens: wget (GnuTLS) asks without a certificate, says nothing of the files, and ends with exit status 0 if the
#   server lets it. curl names the file and ends with 58.
# Seen 2026-11-29: wget 1.21.3-1+deb12u1, curl 7.88.1-10+deb12u14, OpenSSL 3.0.19 as server (Debian 12):
#   curl: exit status 58, asked: no
#   wget: exit status 0, asked: yes, no client certificate
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
for program in wget curl; do
  command -v "$program" >/dev/null || timeout 300 apt-get install -y -q --no-install-recommends "$program"
done
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' wget curl openssl
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=localhost 2>openssl.log
# Asks for a certificate and does without; its page says whether one came.
openssl s_server -accept "127.0.0.1:$port" -cert ca.crt -key ca.key -verify 1 -CAfile ca.crt -www >server.log 2>&1 &
server=$!
timeout 60 curl -s -k -o ready --retry 10 --retry-connrefused --retry-delay 1 "https://127.0.0.1:$port/"
files=("$work/missing.crt" "$work/missing.key")
status=0
timeout 60 curl -sS -k -o curl.txt --cert "${files[0]}" --key "${files[1]}" "https://127.0.0.1:$port/" 2>curl.log || status=$?
curl_said="exit status $status, asked: $([[ -s curl.txt ]] && echo yes || echo no)"
status=0
timeout 60 wget -nv -t 1 -O wget.txt --no-check-certificate --certificate="${files[0]}" --private-key="${files[1]}" \
  "https://127.0.0.1:$port/" 2>wget.log || status=$?
wget_said="exit status $status, asked: $([[ -s wget.txt ]] && echo yes || echo no), $(grep -o 'no client certificate' wget.txt || true)"
echo "curl: $curl_said"
echo "wget: $wget_said"
if [[ $curl_said != "exit status 58, asked: no" || $wget_said != "exit status 0, asked: yes, no client certificate" ]] ||
  grep -q missing wget.log; then
  echo "CHANGED: curl was expected to stop, and wget to ask without a certificate and to say nothing" >&2
  exit 1
fi
