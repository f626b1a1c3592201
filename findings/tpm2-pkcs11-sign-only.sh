#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a token makes a key pair that may only sign, which is what one asks for a CA; or it says which attribute it
#   does not take.
# What happens: tpm2-pkcs11 makes each key able to decrypt as well, and refuses a template that says otherwise with CKR_GENERAL_ERROR. With
#   CKA_DECRYPT it makes the pair.
# Seen 2026-11-29: tpm2-pkcs11 1.9.0-0.1+deb12u1, swtpm 0.7.1-1.3 (Debian 12), python-pkcs11 0.10.1:
#   sign: GeneralError
#   sign and decrypt: ok
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
cleanup() {
  for file in "$work"/*.pid; do
    [[ ! -e $file ]] || kill "$(cat "$file")" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
packages=(libtpm2-pkcs11-1 libtpm2-pkcs11-tools swtpm tpm2-tools tpm2-abrmd libtss2-tcti-swtpm0 libtss2-tcti-tabrmd0 dbus-daemon)
dpkg-query -W "${packages[@]}" >/dev/null 2>&1 || timeout 300 apt-get install -y -q --no-install-recommends "${packages[@]}"
# shellcheck disable=SC2016
dpkg-query -W -f '${Package} ${Version}\n' libtpm2-pkcs11-1 swtpm
python3 -m venv venv
timeout 300 venv/bin/pip install -q python-pkcs11==0.10.1
# Its control channel is the next port.
port=$(python3 - <<'PY'
import socket

while True:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        try:
            second.bind(("127.0.0.1", port + 1))
        except OSError:
            continue
    print(port)
    break
PY
)
mkdir state store
swtpm socket --tpm2 --tpmstate "dir=$work/state" --flags not-need-init,startup-clear --daemon --pid "file=$work/swtpm.pid" \
  --server "type=tcp,port=$port,bindaddr=127.0.0.1" --ctrl "type=tcp,port=$((port + 1)),bindaddr=127.0.0.1"
cat >make.py <<'PY'
import glob

import pkcs11
from pkcs11 import KeyType, MechanismFlag

(library,) = glob.glob("/usr/lib/*/pkcs11/libtpm2_pkcs11.so")
session = pkcs11.lib(library).get_token(token_label="lab").open(rw=True, user_pin="1234")
sign, decrypt = MechanismFlag.SIGN | MechanismFlag.VERIFY, MechanismFlag.DECRYPT | MechanismFlag.ENCRYPT
for name, capabilities in (("sign", sign), ("sign and decrypt", sign | decrypt)):
    try:
        session.generate_keypair(KeyType.RSA, 2048, label=name, store=True, capabilities=capabilities)
        print(f"{name}: ok")
    except pkcs11.PKCS11Error as error:
        print(f"{name}: {type(error).__name__}")
PY
cat >run.sh <<'SH'
# The token's library needs a resource manager.
tpm2-abrmd --session --allow-root --tcti "swtpm:host=127.0.0.1,port=$1" 2>abrmd.log &
manager=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
  sleep 0.5
  ! tpm2_ptool init --path store >/dev/null 2>ptool.log || break
done
tpm2_ptool addtoken --path store --pid 1 --label lab --userpin 1234 --sopin 5678 >/dev/null
venv/bin/python make.py 2>pkcs11.log
kill "$manager"
SH
export TPM2TOOLS_TCTI=tabrmd:bus_type=session TPM2_PKCS11_TCTI=tabrmd:bus_type=session TPM2_PKCS11_STORE=$work/store
timeout 120 dbus-run-session -- sh run.sh "$port" 2>bus.log | tee seen.txt
if ! grep -qx 'sign: GeneralError' seen.txt || ! grep -qx 'sign and decrypt: ok' seen.txt; then
  echo "CHANGED: only the pair that may decrypt was expected to be made" >&2
  exit 1
fi
