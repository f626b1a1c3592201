#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One would expect: with `serial: 2` and `any_errors_fatal: true` a host that fails ends the play, so that a bad change
#   stops at the first batch, as it does with the default strategy.
# What happens: with `strategy: free` (or ANSIBLE_STRATEGY=free in somebody's environment) the other hosts of the batch
#   go on and the next batches start. The documentation says "linear only" for max_fail_percentage, not for this keyword.
# Seen 2026-11-29: ansible-core 2.19.14:
#   linear: h1 failed, done on: none
#   free: h1 failed, done on: h2 h3 h4
set -euo pipefail
unset PYTHONPATH ANSIBLE_COLLECTIONS_PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export ANSIBLE_CONFIG=$work/ansible.cfg ANSIBLE_HOME=$work/home ANSIBLE_NOCOLOR=1
touch ansible.cfg
python3 -m venv venv
timeout 300 venv/bin/pip install -q ansible-core==2.19.14
venv/bin/ansible --version | head -n 1
cat >play.yml <<'YML'
- hosts: all
  gather_facts: false
  serial: 2
  any_errors_fatal: true
  tasks:
    - ansible.builtin.fail:
      when: inventory_hostname == "h1"
    - ansible.builtin.debug:
        msg: done on {{ inventory_hostname }}
YML
# The hosts that came through the play, under this strategy.
reached() {
  ANSIBLE_STRATEGY=$1 timeout 120 venv/bin/ansible-playbook -i h1,h2,h3,h4 play.yml >play.log 2>&1 || true
  grep -q '^h1 .*failed=1' play.log
  grep -o '"msg": "done on h[0-9]"' play.log | grep -o 'h[0-9]' | sort | xargs || true
}
linear=$(reached linear)
free=$(reached free)
echo "linear: h1 failed, done on: ${linear:-none}"
echo "free: h1 failed, done on: ${free:-none}"
[[ -z $linear && $free == "h2 h3 h4" ]] || { echo "CHANGED: none by linear and h2 h3 h4 by free were expected" >&2; exit 1; }
