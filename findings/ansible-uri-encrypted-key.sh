#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: `ansible.builtin.uri` with a `client_key` that has a password says that the key is encrypted.
# What happens: "Connection failure: [Errno 22] Invalid argument", with status -1, before any connection is made. OpenSSL
#   wants to ask for the password and has no terminal; neither the file nor the key is named. There is no option for
#   the password.
# Seen 2026-11-29: ansible-core 2.19.14 on Python 3.11 (nothing listens on the port, so a good key gives "refused"):
#   plain key: ... Request failed: <urlopen error [Errno 111] Connection refused>
#   encrypted key: ... Connection failure: [Errno 22] Invalid argument
set -euo pipefail
export no_proxy=127.0.0.1
unset PYTHONPATH ANSIBLE_COLLECTIONS_PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export ANSIBLE_CONFIG=$work/ansible.cfg ANSIBLE_HOME=$work/home ANSIBLE_NOCOLOR=1
touch ansible.cfg
python3 -m venv venv
timeout 300 venv/bin/pip install -q ansible-core==2.19.14
venv/bin/ansible --version | sed -n 1p
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout plain.key -out alice.crt -days 2 -subj /CN=alice 2>openssl.log
openssl pkey -in plain.key -aes256 -passout pass:secret -out encrypted.key
ask() {
  timeout 120 setsid venv/bin/ansible -i localhost, -c local -e "ansible_python_interpreter=$work/venv/bin/python" -m ansible.builtin.uri \
    -a "url=https://127.0.0.1:$port/ client_cert=$work/alice.crt client_key=$work/$1 validate_certs=false" all </dev/null 2>&1 |
    sed -n 's/^ *"msg": "\(.*\)",$/\1/p' || true
}
plain=$(ask plain.key)
encrypted=$(ask encrypted.key)
echo "plain key: $plain"
echo "encrypted key: $encrypted"
if [[ $plain != *"Connection refused"* || $encrypted != *"[Errno 22] Invalid argument"* ]]; then
  echo "CHANGED: Errno 22 was expected for the encrypted key only" >&2
  exit 1
fi
