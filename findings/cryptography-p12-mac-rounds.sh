#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: `kdf_rounds(50000)` of the PKCS#12 encryption builder applies to all that the password protects.
# What happens: it applies to the encryption of key and certificates only. The MAC, by which a reader checks the same
#   password, keeps 2048 iterations, and the builder has no method for them. Whoever guesses passwords asks the
#   cheaper of the two, so the strength must be in the password.
# Seen 2026-11-29: cryptography 50.0.2, read by OpenSSL 3.0.19:
#   kdf_rounds(50000): MAC: sha256, Iteration 2048 / Shrouded Keybag: ... Iteration 50000
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
timeout 300 venv/bin/pip install -q cryptography==50.0.2
openssl version
cat >make.py <<'PY'
import cryptography
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(50000).hmac_hash(SHA256())
encryption = builder.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).build(b"secret")
key = ec.generate_private_key(ec.SECP256R1())
with open("alice.p12", "wb") as file:
    file.write(pkcs12.serialize_key_and_certificates(b"alice", key, None, None, encryption))
print("cryptography", cryptography.__version__, "methods:", *[name for name in dir(builder) if not name.startswith("_")])
PY
venv/bin/python make.py
openssl pkcs12 -in alice.p12 -passin pass:secret -info -noout 2>&1 | grep Iteration | tee seen.txt
if ! grep -q '^MAC: .*Iteration 2048$' seen.txt || ! grep -q '^Shrouded Keybag: .*Iteration 50000' seen.txt; then
  echo "CHANGED: 2048 for the MAC and 50000 for the key were expected" >&2
  exit 1
fi
