#!/usr/bin/env bash
# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# plan.sh BEFORE AFTER: who gains and who loses entry between two checkouts of the repository with the inventory, as
# Markdown. It needs no secret and reaches no host. Variables that are in a vault are as AFTER/ci/placeholders.yml says.
# It fails where the inventory of AFTER contradicts itself.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
before=${1:?a checkout as it was}
after=${2:?a checkout as it is to be}
inventory=${INVENTORY:-inventory/hosts.yml}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Reads the inventory of checkout $1 as $2, from a copy without the files that only the vault password opens; $3 is what
# it is compared with.
read_as() {
    cp -R "$1" "$work/$2"
    find "$work/$2" -type f -size -1024k -exec sh -c 'head -c 15 "$1" | grep -q "^.ANSIBLE_VAULT;"' _ {} \; -delete
    ansible-playbook -i "$work/$2/$inventory" -e "@$after/ci/placeholders.yml" -e "plan_to=$work/$2" \
        -e "plan_before=$3" "$here/plan.yml" >"$work/$2.log" || { cat "$work/$2.log" >&2; return 1; }
}

compared=$work/before.json
read_as "$before" before "" 2>/dev/null || compared=
read_as "$after" after "$compared"
cat "$work/after.md"
echo
[[ $compared ]] || echo "The inventory as it was cannot be read: all of it is shown as new."
echo "By the inventory alone: no host was asked what it has, and none whether its nginx would accept this."
