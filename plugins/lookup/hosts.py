# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts of a play, or an error where there are none: Ansible skips such a play, and the run is a success."""

from __future__ import annotations

DOCUMENTATION = r"""
name: hosts
short_description: The hosts of a play, of which there must be some
version_added: "0.1.0"
description:
  - For C(hosts) of a play. Returns the pattern as it was given.
  - Fails when no host of the inventory matches it, or none that C(--limit) leaves. Ansible itself skips such a play,
    and the run counts as a success.
options:
  _terms:
    description: Patterns as C(hosts) takes them.
    type: list
    elements: str
    required: true
author:
  - the mtls.nginx authors (@mtls-nginx)
"""

EXAMPLES = r"""
- name: The services, on their hosts
  hosts: "{{ lookup('mtls.nginx.hosts', mtls_hosts | default('mtls_servers')) }}"
  roles:
    - mtls.nginx.server
"""

RETURN = r"""
_raw:
  description: The patterns.
  type: list
  elements: str
  sample: [mtls_servers]
"""

import typing as t
from collections.abc import Mapping, Sequence

from ansible import constants as C
from ansible import context
from ansible.errors import AnsibleLookupError
from ansible.inventory.manager import InventoryManager
from ansible.plugins.lookup import LookupBase

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import first_few


class LookupModule(LookupBase):
    """Has a play without hosts fail."""

    def run(self, terms: Sequence[t.Any], variables: Mapping[str, t.Any] | None = None, **_options: t.Any) -> list[str]:
        """Return the patterns as they are.

        :raises AnsibleLookupError: no host matches them.
        """
        variables = variables or {}
        patterns = [pattern for term in terms for pattern in ([term] if isinstance(term, str) else term)]
        if context.CLIARGS.get("syntax"):  # an inventory is not asked for
            return patterns
        matching = self._matching(patterns, variables["groups"])
        # As long as the play's hosts are not known, Ansible takes all that --limit leaves for them.
        if not matching & set(variables["ansible_play_hosts_all"]):
            raise AnsibleLookupError(_nobody(", ".join(patterns), matching, variables["groups"]))
        return patterns

    def _matching(self, patterns: list[str], groups: Mapping[str, Sequence[str]]) -> set[str]:
        manager = InventoryManager(self._loader, parse=False)
        for group, hosts in groups.items():
            manager.add_group(group)
            for host in hosts:
                manager.add_host(host, group=group)
        known = set(groups["all"])  # without the localhost that Ansible makes up, of which no inventory says anything
        return {host.name for host in manager.list_hosts(patterns)} & known


def _nobody(pattern: str, matching: set[str], groups: Mapping[str, Sequence[str]]) -> str:
    limit = context.CLIARGS.get("subset")
    if matching:
        return (
            f"no host is left of the {len(matching)} that match '{pattern}': none of them is among '{limit}' of"
            f" --limit, so nothing was done. They are {first_few(sorted(matching), 10)}"
        )
    sources = context.CLIARGS.get("inventory") or C.DEFAULT_HOST_LIST
    known = sorted(group for group, hosts in groups.items() if hosts and group not in ("all", "ungrouped"))
    return (
        f"no host of the inventory {', '.join(sources)} matches '{pattern}', so nothing was done. Its groups with"
        f" hosts: {first_few(known, 10) or 'none'}. Name the inventory with -i, put the hosts into the group"
        " mtls_servers, or say which they are with -e mtls_hosts=PATTERN"
    )
