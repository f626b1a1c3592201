#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a request that OpenSSL verifies and signs is read by cryptography too, or refused with what is wrong in it.
# What happens: a `_` in a PrintableString (which X.680 does not allow, and devices write) was read by cryptography 42; 50 refuses the
#   whole request, its key included: "error parsing asn1 value", with the place in the structure, but neither value nor character.
# Seen 2026-11-29: cryptography 50.0.2 and 42.0.8, OpenSSL 3.0.19:
#   openssl: verify OK
#   42.0.8: CN=build_agent
#   50.0.2: ValueError: error parsing asn1 value
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
openssl version
for version in 42.0.8 50.0.2; do
  python3 -m venv "$version"
  timeout 300 "$version/bin/pip" install -q "cryptography==$version"
done
cat >write.py <<'PY'
import base64

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

name, key = b"build_agent", ec.generate_private_key(ec.SECP256R1())
subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name.decode())])
part = x509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256()).tbs_certrequest_bytes
utf8, printable = (bytes([tag, len(name)]) + name for tag in (0x0C, 0x13))
part = part.replace(utf8, printable)
signature = b"\0" + key.sign(part, ec.ECDSA(hashes.SHA256()))
body = part + bytes.fromhex("300a06082a8648ce3d040302") + bytes([3, len(signature)]) + signature
text = base64.encodebytes(b"\x30\x81" + bytes([len(body)]) + body).decode()
print(f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----")
PY
cat >read.py <<'PY'
import cryptography
from cryptography import x509

with open("alice.csr", "rb") as file:
    data = file.read()
try:
    said = x509.load_pem_x509_csr(data).subject.rfc4514_string()
except ValueError as error:
    said = f"ValueError: {str(error).partition(':')[0]}"
print(f"{cryptography.__version__}: {said}")
PY
50.0.2/bin/python write.py >alice.csr
openssl req -in alice.csr -noout -verify 2>&1 | grep -q "verify OK" && echo "openssl: verify OK"
for version in 42.0.8 50.0.2; do
  "$version/bin/python" read.py
done | tee seen.txt
if ! grep -q '^42.0.8: CN=build_agent$' seen.txt || ! grep -q '^50.0.2: ValueError: error parsing asn1 value$' seen.txt; then
  echo "CHANGED: 42 was expected to read it, and 50 to refuse it" >&2
  exit 1
fi
