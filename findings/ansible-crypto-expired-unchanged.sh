#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: a task that says "this certificate is valid for +365d" and "this CRL is valid for +30d" renews them when they have
#   expired, or at least reports that they are not as asked for.
# What happens: community.crypto's x509_certificate (ownca) leaves an expired certificate as it is, with changed=false, and its x509_crl
#   an expired CRL where `ignore_timestamps` is true. The other setting of each makes a new one at every run. There is none
#   that renews what is about to expire; once the CRL has expired, nginx refuses every client.
# Seen 2026-11-30: community.crypto 3.0.5 (ansible 12.3.0), ansible-core 2.19.14, Python 3.11:
#   first run: certificate changed=True expired=False, CRL changed=True expired=False
#   ignore_timestamps=true, after both expired: certificate changed=False expired=True, CRL changed=False expired=True
#   ignore_timestamps=false: certificate changed=True expired=False, CRL changed=True expired=False
#   ignore_timestamps=false, at once again: certificate changed=True expired=False, CRL changed=True expired=False
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
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca 2>openssl.log
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout alice.key -out alice.csr -subj /CN=alice 2>openssl.log
cat >play.yml <<'YAML'
- hosts: localhost
  gather_facts: false
  tasks:
    - community.crypto.x509_certificate:
        path: alice.crt
        csr_path: alice.csr
        provider: ownca
        ownca_path: ca.crt
        ownca_privatekey_path: ca.key
        ownca_not_after: "+{{ seconds }}s"
        ignore_timestamps: "{{ ignore }}"
      register: certificate
    - community.crypto.x509_crl:
        path: crl.pem
        privatekey_path: ca.key
        issuer: {CN: ca}
        last_update: +0s
        next_update: "+{{ seconds }}s"
        ignore_timestamps: "{{ ignore }}"
        revoked_certificates: []
      register: crl
    - ansible.builtin.debug:
        msg: "{{ certificate.changed }} {{ crl.changed }}"
YAML
run() {
  local certificate crl of_certificate=False of_crl=False
  timeout 300 venv/bin/ansible-playbook -i localhost, -c local -e "ansible_python_interpreter=$work/venv/bin/python" \
    -e "seconds=$2" -e "ignore=$1" play.yml >ansible.log 2>&1 || { cat ansible.log >&2; exit 1; }
  read -r certificate crl < <(sed -n 's/^ *"msg": "\(.*\)"$/\1/p' ansible.log)
  openssl x509 -in alice.crt -noout -checkend 0 >openssl.log || of_certificate=True
  (($(date -d "$(openssl crl -in crl.pem -noout -nextupdate | cut -d= -f2)" +%s) > $(date +%s))) || of_crl=True
  echo "certificate changed=$certificate expired=$of_certificate, CRL changed=$crl expired=$of_crl"
}
{
  echo "first run: $(run true 30)"
  sleep 31
  echo "ignore_timestamps=true, after both expired: $(run true 30)"
  echo "ignore_timestamps=false: $(run false 300)"
  echo "ignore_timestamps=false, at once again: $(run false 300)"
} | tee seen.txt
cat >expected.txt <<'TXT'
first run: certificate changed=True expired=False, CRL changed=True expired=False
ignore_timestamps=true, after both expired: certificate changed=False expired=True, CRL changed=False expired=True
ignore_timestamps=false: certificate changed=True expired=False, CRL changed=True expired=False
ignore_timestamps=false, at once again: certificate changed=True expired=False, CRL changed=True expired=False
TXT
cmp -s seen.txt expected.txt || { echo "CHANGED: what has expired was expected to stay, or everything to be made anew" >&2; exit 1; }
