# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access plan between two states of an inventory, for a reviewer: no host is asked, and no authority.

What it compares has no secret in it: names of hosts, services and clients, and what is revoked.
"""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import gates
from ansible_collections.mtls.nginx.plugins.module_utils.site import access_plan
from ansible_collections.mtls.nginx.plugins.module_utils.site.access_plan import AccessPlan, Person
from ansible_collections.mtls.nginx.plugins.module_utils.site.allow_lists import AllowList
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import AuthorityPlan
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

_NOBODY: dict[str, t.Any] = {"clients": {}, "gates": {}, "revoked": []}


def access_of(plans: Mapping[str, AuthorityPlan], base_dir: str | None) -> dict[str, t.Any]:
    """Return who may enter what according to the inventory, as plain values by authority.

    An authority is named by its directory as seen from ``base_dir``, the inventory's, so that two checkouts agree.
    """
    return {os.path.relpath(path, base_dir or os.sep): _access(plan) for path, plan in plans.items()}


def markdown(before: Mapping[str, t.Any] | None, after: Mapping[str, t.Any]) -> str:
    """Return who would gain and lose entry from one state to the other, each as ``access_of`` has it.

    ``before`` is None where there is nothing to compare with: everything is new then.

    :raises MtlsError: one of them is nothing that ``access_of`` has written.
    """
    plan, others = AccessPlan(), []
    try:
        for authority in sorted({*(before or {}), *after}):
            old, new = (state.get(authority, _NOBODY) for state in (before or {}, after))
            people = _people(old, new)
            for host in sorted({*old["gates"], *new["gates"]}):
                had, has = ([gates.of_answer(each) for each in state["gates"].get(host, ())] for state in (old, new))
                plan.add(
                    host, access_plan.changes(had, has, dict.fromkeys((each.service for each in had + has), people))
                )
            others += [f"{authority}: {what}" for what in new["revoked"] if what not in old["revoked"]]
    except (AttributeError, KeyError, TypeError) as error:
        raise MtlsError("access_before: is not what inventory_plan has returned; plan again") from error
    return access_plan.document(plan, others, check=True)


def _access(plan: AuthorityPlan) -> dict[str, t.Any]:
    lost = {item["name"] for item in plan.revoked if "name" in item and item.get("state") != "released"}
    found: dict[str, list[dict[str, t.Any]]] = {}
    for host, service in plan.services:
        if service.present:
            found.setdefault(host, []).extend(gates.as_answer(gate) for gate in _gates(service))
    return {
        "clients": {
            client["name"]: client.get("state") != "revoked" and client["name"] not in lost for client in plan.clients
        },
        "gates": found,
        "revoked": [
            f"{kind} {value} is {'released' if item.get('state') == 'released' else 'revoked'}"
            for item in plan.revoked
            for kind, value in item.items()
            if kind not in ("reason", "state")
        ],
    }


def _gates(service: Service) -> list[gates.Gate]:
    """Return the gates of a service; names stand for subjects, which the authority alone knows."""
    return [
        gates.Gate(
            service.name,
            everybody=service.allow is None,
            subjects=_entries(service.allow),
            public=service.public_paths,
            networks=service.exempt_networks,
        ),
        *(gates.Gate(service.name, item.path, subjects=_entries(item.allow)) for item in service.paths),
    ]


def _entries(allow: AllowList | None) -> tuple[str, ...]:
    return (*allow.names, *allow.subjects) if allow else ()


def _people(old: Mapping[str, t.Any], new: Mapping[str, t.Any]) -> Sequence[Person]:
    """Return the clients; one that is no longer in the inventory keeps its certificate."""
    was, will = old["clients"], new["clients"]
    return [
        Person(name, (name,), before=was.get(name, False), after=will.get(name, was.get(name, False)))
        for name in sorted({*was, *will})
    ]
