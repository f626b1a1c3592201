#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: `build_client_verifier().verify()` takes a client certificate that nginx, OpenSSL and GnuTLS take. A
#   client has no host name to be compared, and its name is usually the subject's CN.
# What happens: a client certificate without subjectAltName is refused by the default policy. With any name in it
#   (here an e-mail address) the same certificate passes, though the caller asked for none.
# Seen 2026-11-29: cryptography 50.0.2, OpenSSL 3.0.19:
#   without subjectAltName: validation failed: ... 2.5.29.17: Certificate is missing required extension
#   with subjectAltName: verified
#   without subjectAltName, by a policy that allows that: verified
#   openssl verify -purpose sslclient: OK for both
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
timeout 300 venv/bin/pip install -q cryptography==50.0.2
openssl version
cat >verify.py <<'PY'
from datetime import datetime, timedelta, timezone

import cryptography
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

NOW = datetime.now(timezone.utc)
KEY = ec.generate_private_key(ec.SECP256R1())
IDENTIFIER = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
USAGES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
    " key_cert_sign crl_sign encipher_only decipher_only"
).split()


def certificate(subject, serial, extensions):
    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    day = timedelta(days=1)
    builder = x509.CertificateBuilder(name("ca"), name(subject), KEY.public_key(), serial, NOW - day, NOW + day)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(KEY, hashes.SHA256())


def save(file, made):
    with open(file, "wb") as output:
        output.write(made.public_bytes(Encoding.PEM))
    return made


print("cryptography", cryptography.__version__)
usage = x509.KeyUsage(**{usage: usage == "key_cert_sign" for usage in USAGES})
ca = save("ca.crt", certificate("ca", 1, [(x509.BasicConstraints(True, None), True), (usage, True), (IDENTIFIER, False)]))
plain = [
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(IDENTIFIER), False),
]
named = [*plain, (x509.SubjectAlternativeName([x509.RFC822Name("alice@example.com")]), False)]
for label, extensions in (("without", plain), ("with", named)):
    client = save(f"{label}.crt", certificate("alice", 2, extensions))
    try:
        PolicyBuilder().store(Store([ca])).build_client_verifier().verify(client, [])
        print(f"{label} subjectAltName: verified")
    except VerificationError as error:
        print(f"{label} subjectAltName: {error}")
    if label == "without":
        own = ExtensionPolicy.webpki_defaults_ee().may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
        policy = PolicyBuilder().extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=own)
        policy.store(Store([ca])).build_client_verifier().verify(client, [])
        print(f"{label} subjectAltName, by a policy that allows that: verified")
PY
venv/bin/python verify.py | tee seen.txt
openssl verify -purpose sslclient -CAfile ca.crt without.crt with.crt
if ! grep -q '^without subjectAltName: .*2.5.29.17: Certificate is missing required extension' seen.txt ||
  ! grep -q '^with subjectAltName: verified' seen.txt; then
  echo "CHANGED: only the certificate with subjectAltName was expected to pass" >&2
  exit 1
fi
