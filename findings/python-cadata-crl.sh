#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: `load_verify_locations(cadata=text)` reads what `cafile=path` reads from a file with the same text: CA certificates and CRLs.
# What happens: `cadata` takes the certificates only; the CRLs in the text are dropped without a word. With `VERIFY_CRL_CHECK_LEAF` every client is
#   then refused: "unable to get certificate CRL". CRLs come in by a file only.
# Seen 2026-11-30: Python 3.11.7, OpenSSL 3.0.19:
#   cafile: {'x509': 1, 'crl': 1, 'x509_ca': 1}: alice gets in
#   cadata: {'x509': 1, 'crl': 0, 'x509_ca': 1}: alice is refused: unable to get certificate CRL
set -euo pipefail
unset PYTHONPATH SSL_CERT_FILE SSL_CERT_DIR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca 2>openssl.log
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout alice.key -out alice.csr -subj /CN=alice 2>openssl.log
openssl x509 -req -in alice.csr -CA ca.crt -CAkey ca.key -set_serial 1 -days 2 -out alice.crt 2>openssl.log
printf '[ca]\ndefault_ca = one\n[one]\ndatabase = index.txt\ncrlnumber = crlnumber\ndefault_md = sha256\ndefault_crl_days = 2\n' >ca.cnf
touch index.txt
echo 01 >crlnumber
openssl ca -gencrl -config ca.cnf -cert ca.crt -keyfile ca.key -out ca.crl 2>openssl.log
cat ca.crt ca.crl >ca.pem
cat >serve.py <<'PY'
import platform
import ssl


def said(context):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.load_cert_chain("alice.crt", "alice.key")
    ends = [client.wrap_bio(incoming, outgoing), context.wrap_bio(outgoing, incoming, server_side=True)]
    for end in (*ends, *ends):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return f"alice is refused: {error.verify_message}"
    return "alice gets in"


print(f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}")
with open("ca.pem") as file:
    text = file.read()
for name, value in (("cafile", "ca.pem"), ("cadata", text)):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain("ca.crt", "ca.key")
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    server.load_verify_locations(**{name: value})
    print(f"{name}: {server.cert_store_stats()}: {said(server)}")
PY
timeout 60 python3 serve.py | tee seen.txt
cat >expected.txt <<'TXT'
cafile: {'x509': 1, 'crl': 1, 'x509_ca': 1}: alice gets in
cadata: {'x509': 1, 'crl': 0, 'x509_ca': 1}: alice is refused: unable to get certificate CRL
TXT
cmp -s <(sed 1d seen.txt) expected.txt || { echo "CHANGED: cadata was expected to leave out the CRL" >&2; exit 1; }
