#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: the key of a certificate request comes out as it went in, so that a certificate issued for
#   `request.public_key()` fits the requester's key.
# What happens: cryptography reads a request whose key is RSA-PSS (RFC 4055, OID 1.2.840.113549.1.1.10) as a plain RSA
#   key. Its class says nothing; written back, the algorithm is rsaEncryption. A certificate made with it by
#   CertificateBuilder holds another SubjectPublicKeyInfo than the request, and Python's ssl module (OpenSSL) refuses to load it with the key.
# Seen 2026-11-29: cryptography 50.0.2, OpenSSL 3.0.19 and Python 3.11:
#   request: Public Key Algorithm: rsassaPss
#   certificate: Public Key Algorithm: rsaEncryption
#   load_cert_chain: no certificate assigned
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
timeout 300 venv/bin/pip install -q cryptography==50.0.2
openssl version
openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out alice.key 2>openssl.log
openssl req -new -key alice.key -subj /CN=alice -out alice.csr
cat >issue.py <<'PY'
import ssl
from datetime import datetime, timedelta, timezone

import cryptography
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

with open("alice.csr", "rb") as file:
    request = x509.load_pem_x509_csr(file.read())
now = datetime.now(timezone.utc)
issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
builder = x509.CertificateBuilder(issuer, request.subject, request.public_key(), 1, now, now + timedelta(days=1))
certificate = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
with open("alice.crt", "wb") as file:
    file.write(certificate.public_bytes(Encoding.PEM))
print("cryptography", cryptography.__version__, type(request.public_key()).__name__)
try:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain("alice.crt", "alice.key")
    print("load_cert_chain: ok")
except ssl.SSLError as error:
    print("load_cert_chain:", error.reason.lower().replace("_", " "))
PY
venv/bin/python issue.py | tee seen.txt
request=$(openssl req -in alice.csr -noout -text | grep -o 'Public Key Algorithm: .*')
certificate=$(openssl x509 -in alice.crt -noout -text | grep -o 'Public Key Algorithm: .*')
echo "request: $request"
echo "certificate: $certificate"
if [[ $request != *rsassaPss || $certificate != *rsaEncryption ]] || grep -q 'chain: ok' seen.txt; then
  echo "CHANGED: the certificate was expected to hold a plain RSA key that does not fit" >&2
  exit 1
fi
