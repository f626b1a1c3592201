#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a device says that the password of a `.p12` is wrong, `encryption_level: compatibility2022` is the remedy, and with it the
#   task writes the file anew.
# What happens: community.crypto's openssl_pkcs12 says ok, and the file stays as it was, AES-256; `iter_size` alike. (That the option is "not used
#   for idempotency" is in its documentation.) A new password does have the file written anew, and in the new way.
# Seen 2026-11-30: community.crypto 3.0.5 (ansible 12.3.0), ansible-core 2.19.14, cryptography 50.0.2:
#   auto: changed=True, AES-256-CBC
#   compatibility2022, same password: changed=False, AES-256-CBC
#   compatibility2022, new password: changed=True, pbeWithSHA1And3-KeyTripleDES-CBC
set -euo pipefail
unset PYTHONPATH ANSIBLE_COLLECTIONS_PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export ANSIBLE_CONFIG=$work/ansible.cfg ANSIBLE_HOME=$work/home ANSIBLE_NOCOLOR=1
touch ansible.cfg
python3 -m venv venv
timeout 500 venv/bin/pip install -q ansible==12.3.0 ansible-core==2.19.14 cryptography==50.0.2
venv/bin/ansible --version | sed -n 1p
sed -n 's/^ *"version": "\(.*\)",$/community.crypto \1/p' venv/lib/python3*/site-packages/ansible_collections/community/crypto/MANIFEST.json
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout alice.key -out alice.crt -days 2 -subj /CN=alice 2>openssl.log
pack() {
  local changed
  timeout 300 venv/bin/ansible -i localhost, -c local -e "ansible_python_interpreter=$work/venv/bin/python" -m community.crypto.openssl_pkcs12 \
    -a "path=$work/alice.p12 friendly_name=alice certificate_path=$work/alice.crt privatekey_path=$work/alice.key encryption_level=$1 passphrase=$2" \
    all >ansible.log 2>&1 || { cat ansible.log >&2; exit 1; }
  changed=$(grep -q '"changed": true' ansible.log && echo True || echo False)
  echo "changed=$changed, $(openssl pkcs12 -in alice.p12 -info -noout -passin "pass:$2" 2>&1 | sed -n 's/^Shrouded Keybag: \(PBES2, PBKDF2, \)*\([^,]*\),.*/\2/p')"
}
{
  echo "auto: $(pack auto first)"
  echo "compatibility2022, same password: $(pack compatibility2022 first)"
  echo "compatibility2022, new password: $(pack compatibility2022 second)"
} | tee seen.txt
cat >expected.txt <<'TXT'
auto: changed=True, AES-256-CBC
compatibility2022, same password: changed=False, AES-256-CBC
compatibility2022, new password: changed=True, pbeWithSHA1And3-KeyTripleDES-CBC
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: the file was expected to stay until its password changes" >&2; exit 1; }
