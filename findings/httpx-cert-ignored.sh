#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: `httpx.Client(verify="ca.crt", cert=("alice.crt", "alice.key"))` sends the certificate; both options are
#   there, and each works without the other.
# What happens: with a path as `verify` the certificate is left out, without an error. The one DeprecationWarning is about `verify`,
#   and Python hides it, as it comes from a line in httpx. With an SSLContext as `verify` the same `cert` is sent.
# Seen 2026-11-30: httpx 0.28.1, Python 3.11:
#   verify=PATH, cert=PAIR: the server saw no certificate; a file that is not there as cert: no certificate
#   verify=CONTEXT, cert=PAIR: the server saw alice; a file that is not there as cert: FileNotFoundError
set -euo pipefail
unset PYTHONPATH SSL_CERT_FILE SSL_CERT_DIR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
timeout 300 venv/bin/pip install -q httpx==0.28.1
for name in localhost alice; do
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$name.key" -out "$name.crt" -days 2 -subj "/CN=$name" \
    -addext "subjectAltName=DNS:$name" 2>openssl.log
done
cat >ask.py <<'PY'
import http.server
import ssl
import threading

import httpx


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen = self.connection.getpeercert()
        text = dict(pair[0] for pair in seen["subject"])["commonName"] if seen else "no certificate"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments):
        pass


def said(verify, cert):
    try:
        with httpx.Client(verify=verify, cert=cert, trust_env=False) as client:
            return "the server saw " + client.get(f"https://localhost:{server.server_port}/").text
    except FileNotFoundError:
        return "FileNotFoundError"


server = http.server.HTTPServer(("127.0.0.1", 0), Page)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="alice.crt")
context.verify_mode = ssl.CERT_OPTIONAL
context.load_cert_chain("localhost.crt", "localhost.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"httpx {httpx.__version__}")
for cert in (("alice.crt", "alice.key"), ("alice.crt", "missing.key")):
    print(f"verify=PATH, cert={cert}: {said('localhost.crt', cert)}")
    print(f"verify=CONTEXT, cert={cert}: {said(ssl.create_default_context(cafile='localhost.crt'), cert)}")
PY
timeout 60 venv/bin/python ask.py | tee seen.txt
cat >expected.txt <<'TXT'
httpx 0.28.1
verify=PATH, cert=('alice.crt', 'alice.key'): the server saw no certificate
verify=CONTEXT, cert=('alice.crt', 'alice.key'): the server saw alice
verify=PATH, cert=('alice.crt', 'missing.key'): the server saw no certificate
verify=CONTEXT, cert=('alice.crt', 'missing.key'): FileNotFoundError
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: beside a path as verify, cert was expected to be left out" >&2; exit 1; }
