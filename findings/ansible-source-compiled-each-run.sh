#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: Python keeps the bytecode of what it imports, so that only the first run of a playbook compiles a
#   collection's plugins; and a second task with the same module costs a host no more than its start.
# What happens: Ansible keeps the bytecode of the plugin, and not that of the module_utils that it imports: these are
#   compiled from source in each run. Modules go to hosts as zip files of source, from which Python compiles the module,
#   its module_utils and Ansible's own each time it is called.
# Seen 2026-11-30: ansible-core 2.19.14 on Python 3.11, the second run of a playbook with two tasks of one module:
#   of the collection, compiled by ansible-playbook again: module_utils/answers.py
#   of the module, compiled for each of its two tasks: 62 files
#   bytecode kept: action/__pycache__/ask.cpython-311.pyc
set -euo pipefail
unset PYTHONPATH ANSIBLE_COLLECTIONS_PATH PYTHONDONTWRITEBYTECODE
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
collection=$work/collections/ansible_collections/some/thing
mkdir -p "$collection"/plugins/{action,modules,module_utils} watch
export ANSIBLE_CONFIG=$work/ansible.cfg ANSIBLE_HOME=$work/home ANSIBLE_COLLECTIONS_PATH=$work/collections
export ANSIBLE_PYTHON_INTERPRETER=$work/venv/bin/python
touch ansible.cfg
echo 'def answer():
    return 42' >"$collection/plugins/module_utils/answers.py"
cat >"$collection/plugins/modules/ask.py" <<'PYTHON'
#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.some.thing.plugins.module_utils.answers import answer

AnsibleModule(argument_spec={}).exit_json(answer=answer())
PYTHON
cat >"$collection/plugins/action/ask.py" <<'PYTHON'
from ansible.plugins.action import ActionBase
from ansible_collections.some.thing.plugins.module_utils.answers import answer


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        answer()
        return self._execute_module(module_name="some.thing.ask", task_vars=task_vars)
PYTHON
cat >play.yml <<'YAML'
- hosts: localhost
  gather_facts: false
  tasks:
    - some.thing.ask:
    - some.thing.ask:
YAML
# Notes what each process compiles of source, not what it reads as bytecode.
cat >watch/sitecustomize.py <<'PYTHON'
import os
import sys


def heard(event, arguments):
    if event == "compile" and arguments[0] is not None and ".py" in str(arguments[1]):
        with open(os.environ["COMPILED"], "a") as stream:
            stream.write(f"{os.getpid()} {arguments[1]}\n")


sys.addaudithook(heard)
PYTHON
python3 -m venv venv
timeout 300 venv/bin/pip install -q ansible-core==2.19.14
venv/bin/ansible --version | sed -n 1p
venv/bin/python --version
for run in 1 2; do
  COMPILED=$work/compiled.$run PYTHONPATH=$work/watch timeout 120 venv/bin/ansible-playbook play.yml </dev/null >"output.$run" 2>&1 || {
    cat "output.$run"
    exit 2
  }
done
again=$(sort -u compiled.2 | sed -n "s,^[0-9]* $collection/plugins/,,p" | grep -v '^modules/' | sort -u)
module=$(grep '\.zip/' compiled.2 | sort -u | wc -l)
kept=$(cd "$collection/plugins" && find . -name '*.pyc' | sed 's,^\./,,')
echo "of the collection, compiled by ansible-playbook again: $again"
echo "of the module, compiled for each of its two tasks: $((module / 2)) files"
echo "bytecode kept: $kept"
if [[ $again != module_utils/answers.py || $kept != action/__pycache__/ask.*.pyc ]] || ((module < 40)); then
  echo "CHANGED: only the plugin's bytecode was expected to be kept" >&2
  exit 1
fi
