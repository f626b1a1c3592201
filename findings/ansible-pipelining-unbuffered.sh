#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: PYTHONUNBUFFERED=1, which images of containers set so that logs appear at once, is about output.
# What happens: Python then reads a program on its standard input with one system call for each byte. With pipelining,
#   Ansible sends each module that way, hundreds of kilobytes, wherever the variable reaches the module's Python: with
#   `connection: local`, or from the environment of a host. Without pipelining the module is a file, and is read as usual.
# Seen 2026-11-30: ansible-core 2.19.14 on Python 3.11, system calls that read, of one small module:
#   pipelining: 406
#   pipelining, PYTHONUNBUFFERED=1: 168377
#   a file, PYTHONUNBUFFERED=1: 410
set -euo pipefail
unset PYTHONPATH PYTHONUNBUFFERED ANSIBLE_COLLECTIONS_PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export ANSIBLE_CONFIG=$work/ansible.cfg ANSIBLE_HOME=$work/home ANSIBLE_LIBRARY=$work/library ANSIBLE_NOCOLOR=1
touch ansible.cfg
mkdir library
cat >library/reads.py <<'PYTHON'
#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule(argument_spec={})
with open("/proc/self/io") as stream:
    counts = dict(line.split(": ") for line in stream)
module.exit_json(reads=int(counts["syscr"]))
PYTHON
python3 -m venv venv
timeout 300 venv/bin/pip install -q ansible-core==2.19.14
venv/bin/ansible --version | sed -n 1p
venv/bin/python --version
reads() {
  timeout 120 env "${@:2}" venv/bin/ansible -i localhost, -c local -m reads all \
    -e "ansible_python_interpreter=$work/venv/bin/python ansible_pipelining=$1" </dev/null | sed -n 's/^ *"reads": \([0-9]*\).*/\1/p'
}
piped=$(reads true)
unbuffered=$(reads true PYTHONUNBUFFERED=1)
file=$(reads false PYTHONUNBUFFERED=1)
echo "pipelining: $piped"
echo "pipelining, PYTHONUNBUFFERED=1: $unbuffered"
echo "a file, PYTHONUNBUFFERED=1: $file"
if ((piped > 10000 || file > 10000 || unbuffered < 100000)); then
  echo "CHANGED: many reads were expected with pipelining and PYTHONUNBUFFERED only" >&2
  exit 1
fi
