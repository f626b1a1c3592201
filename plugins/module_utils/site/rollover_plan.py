# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plans of authorities that are to follow others: which clients they serve by now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import Layout
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import nearest
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import AuthorityPlan


@dataclass(frozen=True)
class Move:
    """Who is to move to the next authority now: these clients, or as many as ``count`` (None: all) of the others."""

    clients: tuple[str, ...] = ()
    count: int | None = None


def with_next(
    plans: Mapping[str, AuthorityPlan], move: Move | None = None, *, complete: bool = False
) -> dict[str, AuthorityPlan]:
    """Return the plans, and one more for each authority that is to follow one of them.

    The next authority serves the clients that have moved. The old one keeps them valid and does not renew them any
    more. Who is revoked is revoked by both. With ``complete``, a rollover whose end was interrupted is
    completed first.

    :raises MtlsError: the end of a rollover was interrupted, or a client that is to move is none.
    """
    extended: dict[str, AuthorityPlan] = {}
    for path, plan in plans.items():
        if complete:
            handover.complete_interrupted(path)
        handover.refuse_interrupted(path)
        extended[path] = plan
        if not handover.is_begun(path):
            continue
        following = handover.next_path(path)
        moved = _moved(following) | _chosen(plan, _moved(following), move)
        serves = [client for client in plan.clients if client["name"] in moved]
        extended[path] = replace(
            plan,
            clients=[{**client, "renew_before": 0} if client["name"] in moved else client for client in plan.clients],
        )
        extended[following] = AuthorityPlan(
            path=following,
            settings={**plan.settings, "subject": None},  # it has its own, since it was begun
            first_host=plan.first_host,
            clients=serves,
            services=plan.services,
            revoked=plan.revoked,
            follows=True,
        )
    return extended


def _moved(path: str) -> set[str]:
    folder = Layout(path).clients
    return {name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name))}


def _chosen(plan: AuthorityPlan, moved: set[str], move: Move | None) -> set[str]:
    if move is None:
        return set()
    names = [client["name"] for client in plan.clients if client.get("state") != "revoked"]
    for name in move.clients:
        if name not in names:
            close = nearest(name, names)
            hint = f"did you mean '{close}'?" if close else "name clients of the inventory that are not revoked"
            raise MtlsError(f"{plan.path}: '{name}' is to move to the next authority, but is not a client; {hint}")
    if move.clients:
        return set(move.clients)
    return set([name for name in names if name not in moved][: move.count])
