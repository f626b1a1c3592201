#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: CURLOPT_SSLCERTTYPE "P12" works in each build of one libcurl version, or is refused as unsupported.
# What happens: the GnuTLS build, which git and other packages of Debian use, accepts the option and then reads a .p12
#   that has a password as PEM: "Base64 unexpected header error". The OpenSSL build of the same version, which the
#   command `curl` uses, sends it. So a test with `curl --cert-type P12` says nothing about git.
# Seen 2026-11-29: libcurl4 and libcurl3-gnutls 7.88.1-10+deb12u14 (Debian 12); libcurl 8.23.0 with GnuTLS reads it:
#   libcurl.so.4: 0
#   libcurl-gnutls.so.4: 35 error reading X.509 potentially-encrypted key file: Base64 unexpected header error.
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
for package in libcurl4 libcurl3-gnutls; do
  dpkg-query -W "$package" >/dev/null 2>&1 || timeout 300 apt-get install -y -q --no-install-recommends "$package"
done
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' libcurl4 libcurl3-gnutls
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout alice.key -out alice.crt -days 2 -subj /CN=alice 2>openssl.log
openssl pkcs12 -export -in alice.crt -inkey alice.key -passout pass:secret -out alice.p12
timeout 120 openssl s_server -accept "127.0.0.1:$port" -cert alice.crt -key alice.key -CAfile alice.crt -Verify 1 -www >server.log 2>&1 &
server=$!
cat >ask.py <<'PY'
import ctypes
import sys

# CURLoption numbers of curl/curl.h
NUMBERS = {64: 0, 81: 0, 13: 20}  # SSL_VERIFYPEER, SSL_VERIFYHOST, TIMEOUT
STRINGS = {10002: f"https://127.0.0.1:{sys.argv[1]}/", 10025: "alice.p12", 10086: "P12", 10026: "secret"}
ERRORBUFFER = 10010

for library in ("libcurl.so.4", "libcurl-gnutls.so.4"):
    curl = ctypes.CDLL(library)
    curl.curl_easy_init.restype = ctypes.c_void_p
    curl.curl_easy_setopt.argtypes = [ctypes.c_void_p, ctypes.c_int]
    curl.curl_easy_perform.argtypes = [ctypes.c_void_p]
    handle = curl.curl_easy_init()
    message = ctypes.create_string_buffer(256)
    curl.curl_easy_setopt(handle, ERRORBUFFER, message)
    for option, number in NUMBERS.items():
        assert curl.curl_easy_setopt(handle, option, ctypes.c_long(number)) == 0
    for option, text in STRINGS.items():
        assert curl.curl_easy_setopt(handle, option, ctypes.c_char_p(text.encode())) == 0
    print(f"{library}: {curl.curl_easy_perform(handle)} {message.value.decode()}", file=sys.stderr)
PY
for _ in $(seq 50); do
  if grep -q ACCEPT server.log; then break; fi
  sleep 0.1
done
timeout 60 python3 ask.py "$port" >page.html 2>seen.txt
cat seen.txt
if ! grep -q '^libcurl.so.4: 0 ' seen.txt || ! grep -q '^libcurl-gnutls.so.4: 35 .*Base64 unexpected header' seen.txt; then
  echo "CHANGED: only the GnuTLS build was expected to fail" >&2
  exit 1
fi
