# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server certificates that hosts were seen to serve, and what is to be done about them."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone

from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import (
    ACT_SOON,
    HostStatus,
    ServedStatus,
    StatusFinding,
)

_RENEWED_BEFORE = 3  # ACME clients renew a certificate when a third of its lifetime is left


def read(probed: Sequence[Mapping[str, t.Any]], on_disk: Mapping[str, Mapping[str, t.Any]]) -> tuple[ServedStatus, ...]:
    """Return what a host serves: ``certificates`` of ``tls_probe``, compared with those of ``nginx_facts``."""
    found = []
    for each in probed:
        file = on_disk.get(each["service"]) or {}
        trouble = each["trouble"]
        if trouble is None and file.get("fingerprint") not in (None, each["fingerprint"]):
            trouble = f"is not the one in {file['path']}: nginx has not read that since it changed"
        begin, end = (datetime.fromtimestamp(each[name], timezone.utc) for name in ("begin", "end"))
        found.append(ServedStatus(each["service"], each["issuer"], begin, end, each["own"], each["stands_in"], trouble))
    return tuple(found)


def troubles(served: Sequence[ServedStatus]) -> list[str]:
    """Return what is wrong with them, as sentences."""
    return [f"{each.service}: the certificate that is served {each.trouble}" for each in served if each.trouble]


def findings(
    hosts: Sequence[HostStatus], now: datetime, limit: Callable[[datetime, int], datetime], command: str
) -> Iterator[StatusFinding]:
    """Yield what is to be done soon.

    ``limit`` returns until when a certificate that is renewed so many days before its end counts as expiring soon.
    What the authority issues itself is judged by its record.
    """
    served = [(host.name, each) for host in hosts for each in host.served if each.own and not each.trouble]
    about = tuple(f"{host}/{each.service}" for host, each in served if each.stands_in)
    if about:
        title = "Services that serve a certificate of the authority in place of their own"
        remedy = (
            "Browsers trust it only where ca.crt is installed. The next run says what is wrong with the host's own."
        )
        yield StatusFinding(ACT_SOON, "served_stand_in", title, remedy, about, command)
    about = tuple(
        f"{host}/{each.service} ({each.end:%Y-%m-%d})"
        for host, each in served
        if not each.stands_in and each.end <= limit(now, (each.end - each.begin).days // _RENEWED_BEFORE)
    )
    if about:
        title = "The hosts' own server certificates that expire soon"
        remedy = "See on the host why its ACME client has not renewed it."
        yield StatusFinding(ACT_SOON, "served_soon", title, remedy, about)
