# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets that overlap: one on all addresses of the host, and one on a single address with the same port.

nginx chooses the server block among those that listen on the connection's own address; those that listen on all
addresses are asked only where no block names that address (ngx_http_init_connection, measured with 1.22 and 1.31).
Whoever connects there is answered by another block than everywhere else, and nginx does not even warn.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import ListenSocket
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Elsewhere, GateProbe

_SERVER = ("http", "server")
_FILE_NAME = re.compile(r"mtls-(?P<service>.+)\.conf")
_LOOPBACK = "127.0.0.1"
_MOST_NOTES = 100


@dataclass
class _Block:
    """A server block. ``service`` is ours whose file it is in, ``guards`` those whose snippets it includes."""

    place: str = ""
    service: str | None = None
    ours: bool = True
    tls: bool = False
    guards: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    sockets: list[ListenSocket] = field(default_factory=list)

    @property
    def own_names(self) -> set[str]:
        """Return its server names, without the one that stands for none."""
        return {name for name in self.names if name.strip('"_')}


def elsewhere(configuration: nginx_conf.Configuration) -> list[Elsewhere]:
    """Return the services for which, at some address, another server block answers.

    :raises MtlsError: it does so under the same server name, in place of a server block of ours.
    """
    blocks = _blocks(configuration)
    found: dict[Elsewhere, None] = {}
    for block in blocks:
        if not block.ours and not block.guards:
            continue
        for other in blocks:
            if other is block or other.ours or other.guards:
                continue
            for mine, theirs in _overlapping(block, other):
                shared = _shared_name(block, other, wide=not mine.host)
                if shared and block.ours:
                    raise MtlsError(_refusal(block, mine, other, theirs, shared))
                if shared:
                    service = min(block.guards)
                    why = f"at {_narrow(mine, theirs)}, {other.place} answers to {shared} without the snippet"
                    found[Elsewhere(service, why)] = None
                elif block.service and block.tls and not mine.host:
                    why = f"at {theirs}, {other.place} answers in its place"
                    found[Elsewhere(block.service, why)] = None
    return list(found)[:_MOST_NOTES]


def ask_at(configuration: nginx_conf.Configuration, gate: GateProbe) -> str:
    """Return an address at which the gate itself can be asked.

    A service on all addresses is asked by loopback, unless a block that is not its own listens on just that address.
    """
    if gate.address != _LOOPBACK:
        return gate.address
    blocks = _blocks(configuration)
    its_own = {each for block in blocks if gate.server_name in block.names for each in _hosts(block, gate.port)}
    taken = {each for block in blocks for each in _hosts(block, gate.port)} - its_own
    return next(address for number in range(1, 255) if (address := f"127.0.0.{number}") not in taken or number == 254)


def _hosts(block: _Block, port: int) -> Iterator[str]:
    return (listen.host for listen in block.sockets if listen.port == port and listen.host)


def _blocks(configuration: nginx_conf.Configuration) -> list[_Block]:
    blocks: dict[int, _Block] = {}
    for statement in configuration.statements:
        if statement.server is None or statement.context != _SERVER:
            continue
        block = blocks.setdefault(statement.server, _Block())
        name, values = statement.directive.name, statement.directive.values
        managed = statement.file.managed
        match = _FILE_NAME.fullmatch(os.path.basename(statement.file.path)) if managed else None
        if not managed:
            block.ours = False
            block.place = block.place or statement.place
        if name == "ssl_verify_client":
            block.tls = True
            if match:
                block.guards.add(match["service"])
        elif name == "server_name":
            block.names += [value.lower() for value in values]
        elif name == "listen" and values:
            listen = nginx_conf.listen_socket(statement)
            if listen is not None:
                block.sockets.append(listen)
            block.service = match["service"] if match else None
    for block in blocks.values():
        block.guards = set() if block.ours else block.guards
    return list(blocks.values())


def _overlapping(block: _Block, other: _Block) -> Iterator[tuple[ListenSocket, ListenSocket]]:
    for mine in block.sockets:
        for theirs in other.sockets:
            if (mine.port, mine.ipv6) == (theirs.port, theirs.ipv6) and bool(mine.host) != bool(theirs.host):
                # Both blocks on both sockets: nginx chooses by name at either.
                narrow, of_wide = (theirs, block) if theirs.host else (mine, other)
                if str(narrow) not in map(str, of_wide.sockets):
                    yield mine, theirs


def _shared_name(block: _Block, other: _Block, *, wide: bool) -> str | None:
    """Return a server name that both answer to. Where ours is on all addresses, a pattern of the other counts too."""
    mine = sorted(block.own_names)
    for name in mine:
        if name in other.own_names or (wide and any(_matches(pattern, name) for pattern in other.own_names)):
            return name
    return None


def _matches(pattern: str, name: str) -> bool:
    """Tell whether a server name with a wildcard or a regular expression takes a name (ngx_http_server_names)."""
    if pattern.startswith("~"):
        try:
            return re.search(pattern[1:], name) is not None
        except re.error:  # not in Python's words
            return False
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    if pattern.startswith("."):
        return name == pattern[1:] or name.endswith(pattern)
    return pattern.endswith(".*") and name.startswith(pattern[:-1])


def _refusal(block: _Block, mine: ListenSocket, other: _Block, theirs: ListenSocket, name: str) -> str:
    whose = f"service {block.service}" if block.service else "the CRL's server block"
    narrow = _narrow(mine, theirs)
    first, second = (whose, other.place) if mine.host else (other.place, whose)
    return (
        f"{whose}: {name} is served in {other.place} as well, and the two listen on sockets that overlap ({mine} and"
        f" {theirs}): at {narrow} {first} would answer, at every other address {second}, so that at some address "
        "requests would bypass the gate. Remove the name there, or give both the same listen"
    )


def _narrow(mine: ListenSocket, theirs: ListenSocket) -> str:
    return str(mine if mine.host else theirs)


def places(notes: Sequence[Elsewhere]) -> list[dict[str, str]]:
    """Return the notes as modules do."""
    return [{"service": note.service, "why": note.why} for note in notes]
