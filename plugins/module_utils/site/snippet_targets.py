# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the server blocks that include a snippet are asked.

The host says where they listen (``host/snippets.py``). It chooses a port and one of the service's own names, and
nothing else: the address is ours, whatever the host says of it.
"""

from __future__ import annotations

import ipaddress
import socket
import typing as t
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import SnippetGate
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

# Why a server block cannot be asked that has error pages of its own.
OWN_PAGES = "its own error pages hide what the gate answers"


@dataclass(frozen=True)
class SnippetTarget:
    """A place to ask, or, with ``why``, one that cannot be asked. ``own_pages``: as of ``SnippetGate``."""

    place: str
    target: probe.Target | None = None
    own_pages: bool = False
    why: str | None = None

    @property
    def not_asked(self) -> str:
        """Return why it was not asked, in words."""
        return f"the server block in {self.place} could not be asked: {self.why}"


def targets(service: Service, gates: Sequence[Mapping[str, t.Any]], address: str) -> list[SnippetTarget]:
    """Return where a snippet is asked; ``gates`` are the host's answer, as ``site/answers.py`` has read it."""
    found: dict[object, SnippetTarget] = {}
    for gate in (SnippetGate(**item) for item in gates):
        if gate.service == service.name:
            one = _target(service, gate, address)
            # A block on every address of both families is asked once.
            found.setdefault((one.place, one.target, one.why), one)
    return list(found.values())


def _target(service: Service, gate: SnippetGate, address: str) -> SnippetTarget:
    if gate.trouble or gate.port is None or gate.server_name is None:
        return SnippetTarget(gate.place, why=gate.trouble or "the host did not say where")
    if not _is_name_of(service, gate.server_name):
        return SnippetTarget(gate.place, why=f"{gate.server_name} is not a name of the service")
    if gate.address is not None and gate.address not in _addresses(address, gate.port):
        return SnippetTarget(
            gate.place, why=f"it listens on {gate.address} only, and {address} is asked; see mtls_probe_address"
        )
    target = probe.Target(address, gate.port, gate.server_name, gate.proxy_protocol)
    return SnippetTarget(gate.place, target, gate.own_pages)


def _is_name_of(service: Service, name: str) -> bool:
    return any(name == known or (known.startswith("*.") and name.endswith(known[1:])) for known in service.server_names)


def _addresses(name: str, port: int) -> Iterator[str]:
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for _family, _kind, _protocol, _canonical, where in found:
        yield str(ipaddress.ip_address(str(where[0]).partition("%")[0]))


def with_own_pages(attempts: Sequence[probe.Attempt]) -> list[probe.Attempt]:
    """Return the attempts as they are judged where the host's own pages may hide what the gate answers.

    Who gets past the gate is still answered by the snippet itself, so nobody else must get that answer. Without
    somebody who gets it, it proves nothing: then there are none.
    """
    if not any(attempt.expect == probe.LET_IN for attempt in attempts):
        return []
    refused = (probe.NO_OR_BAD_CERTIFICATE, probe.NOT_ON_THE_LIST)
    return [
        replace(attempt, expect=None, other_than=probe.LET_IN) if attempt.expect in refused else attempt
        for attempt in attempts
    ]
