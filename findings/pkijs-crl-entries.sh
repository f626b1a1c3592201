#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: PKI.js reads a CRL of any length, or says that it is too long.
# What happens: its parser (asn1js) counts ASN.1 nodes and stops at 10,000 by default. An entry with a reason costs
#   eight nodes, so a CRL is refused from about 1,250 entries on, and the message says that the data is not correct.
#   With `{maxNodes: ...}` as the second argument of `asn1js.fromBER` the same bytes are read.
# Seen 2026-11-29: pkijs 4.0.0, asn1js 4.0.0, Node 20.20.2, the CRLs by cryptography 50.0.2:
#   1200 entries: 1200
#   1300 entries: Error during parsing of ASN.1 data. Data is not correct for 'CertificateRevocationList'.
#   1300 entries, maxNodes 1000000: 1300
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
timeout 300 venv/bin/pip install -q cryptography==50.0.2
timeout 300 npm install --silent --no-audit --no-fund --no-update-notifier pkijs@4.0.0 asn1js@4.0.0
node --version
cat >crl.py <<'PY'
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

now = datetime.now(timezone.utc)
key = ec.generate_private_key(ec.SECP256R1())
issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
reason = x509.CRLReason(x509.ReasonFlags.superseded)
for count in (1200, 1300):
    builder = x509.CertificateRevocationListBuilder(issuer, now, now + timedelta(days=7))
    for serial in range(1, count + 1):
        entry = x509.RevokedCertificateBuilder(serial, now).add_extension(reason, critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    with open(f"{count}.crl", "wb") as file:
        file.write(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
PY
venv/bin/python crl.py
openssl crl -inform DER -in 1300.crl -noout -issuer
cat >read.js <<'JS'
const fs = require("fs");
const asn1js = require("asn1js");
const { CertificateRevocationList } = require("pkijs");

for (const count of [1200, 1300]) {
  try {
    console.log(`${count} entries: ${CertificateRevocationList.fromBER(fs.readFileSync(`${count}.crl`)).revokedCertificates.length}`);
  } catch (error) {
    console.log(`${count} entries: ${error.message}`);
  }
}
const { result } = asn1js.fromBER(fs.readFileSync("1300.crl"), { maxNodes: 1000000 });
console.log(`1300 entries, maxNodes 1000000: ${new CertificateRevocationList({ schema: result }).revokedCertificates.length}`);
JS
timeout 60 node read.js | tee seen.txt
cat >expected.txt <<'TXT'
1200 entries: 1200
1300 entries: Error during parsing of ASN.1 data. Data is not correct for 'CertificateRevocationList'.
1300 entries, maxNodes 1000000: 1300
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: the limit or its message" >&2; exit 1; }
