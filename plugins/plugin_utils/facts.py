# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts outrank the inventory, and a compromised host decides what is in them.

They must not become values of our variables.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few

# Ours, what holds secrets of ours by the usual naming (`vault_mtls_ca_passphrase`), and where relative paths start.
# A fact of an interface `mtls-br0` is `ansible_mtls_br0`, and stands in for nothing.
_OURS = re.compile(r"(?!ansible_)(?:.*_)?mtls_.*|inventory_dir|inventory_file", re.DOTALL)
# What `ansible.builtin.setup` and the search for a Python leave beside facts named `ansible_…`.
_USUAL = re.compile(r"ansible_.*|facter_.*|ohai_.*|module_setup|gather_subset|discovered_interpreter_\w+", re.DOTALL)
# What the inventory says of the connection.
_CONNECTION = re.compile(r"ansible_(?:host|port|user|connection|become\w*|ssh_\w+|python_interpreter|check_mode)")
_NAME = re.compile(r"[A-Za-z_]\w*")


def refuse_facts(task_vars: Mapping[str, t.Any], hosts: Iterable[str]) -> None:
    """Raise MtlsError where a host's facts, cached ones too, would decide about a variable of ours.

    They hold a name of ours, or one that a value of ours refers to. What a task of the user's own sets with
    ``set_fact`` is not a fact, unless it is ``cacheable``.
    """
    hostvars = task_vars["hostvars"]
    for host in hosts:
        facts = _facts_of(hostvars, host)
        found = [name for name in facts if _OURS.fullmatch(name)]
        if not found and (others := [name for name in facts if not _USUAL.fullmatch(name)]):
            raw = task_vars if host == task_vars["inventory_hostname"] else hostvars.raw_get(host)
            needed = _referred_to(raw, [name for name in raw if name.startswith("mtls_")])
            found = [name for name in others if name in needed and raw[name] == facts[name]]
        if found:
            names = first_few([name[:60] for name in sorted(found)])
            raise MtlsError(
                f"host {host}: its facts contain {names}, which no host may decide. If a task of yours set them"
                " (set_fact with cacheable), write them into the inventory instead; if none did, find out what on that"
                " host has been altered. --flush-cache forgets cached facts"
            )


def _facts_of(hostvars: t.Any, host: str) -> Mapping[str, t.Any]:
    """Return a host's facts as they are cached.

    In the variable ``ansible_facts`` a fact ``fqdn`` cannot be told from a fact ``ansible_fqdn``.
    """
    try:
        return hostvars._variable_manager._fact_cache.get(host) or {}
    except KeyError:
        return {}


def facts_wanted(raw: Mapping[str, t.Any], name: str) -> list[str]:
    """Return the facts of the host that the value of a variable is made of, as far as its templates tell."""
    names = _referred_to(raw, [name])
    return sorted(each for each in names if each.startswith("ansible_") and not _CONNECTION.fullmatch(each))


def lacks_facts(host: str, name: str, wanted: Iterable[str]) -> MtlsError:
    """Return the error for a variable that needs facts which nobody has gathered."""
    return MtlsError(
        f"host {host}: {name} is made of facts of that host ({', '.join(wanted)}), which this run does not have: the"
        " playbooks of mtls.nginx gather none, and the whole inventory is read whatever --limit says. Write the value"
        " itself into the inventory; or keep facts in a cache (fact_caching = jsonfile and fact_caching_connection ="
        " .facts in section [defaults] of ansible.cfg) and gather them first, with: ansible -i"
        " INVENTORY all -m ansible.builtin.setup"
    )


def _referred_to(raw: Mapping[str, t.Any], names: Iterable[str]) -> set[str]:
    """Return these variables, and those whose values may be part of theirs, facts too."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found or not (name in raw or name.startswith("ansible_")):
            continue
        found.add(name)
        if name in raw and not name.startswith("ansible_"):
            waiting += _names_in(raw[name])
    return found


def _names_in(value: t.Any) -> Iterator[str]:
    if isinstance(value, str):
        if "{{" in value or "{%" in value:
            yield from _NAME.findall(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _names_in(key)
            yield from _names_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _names_in(item)
