# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a snippet protects the server blocks that include it: what comes before it, and who sends the requests.

And where it can be asked: the sockets of those blocks, and names by which nginx chooses them.
"""

from __future__ import annotations

import ipaddress
import os.path
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import Configuration, Statement
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Snippet, SnippetGate

_SERVER = ("http", "server")
# They run in the order in which they are written, and each can end that (ngx_http_rewrite_module).
_BEFORE_THE_GATE = frozenset({"break", "if", "return", "rewrite"})
# Those of lua-nginx-module run before all of these, wherever they are written.
_BEFORE_ALL = "server_rewrite_by_lua"
_OUR_VARIABLES = "$mtls_"
# What the gate answers with.
_GATE_ERRORS = frozenset({"400", "403", "421", "495", "496", "497"})
_MOST_GATES = 20  # of one snippet
# In place of the star of *.example.com.
_ANY_LABEL = "mtls-probe"
_HOST_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


def included_nowhere(configuration: Configuration, snippets: Sequence[Snippet]) -> list[Snippet]:
    """Return the snippets that no server block includes, and that protect nothing.

    :raises MtlsError: one is included where it protects nothing, or lets in others than clients in its exempt networks.
    """
    blocks = _server_blocks(configuration)
    nowhere = []
    for snippet in snippets:
        places = _places(configuration, blocks, snippet.path)
        for before, block in places:
            _refuse_an_open_gate(snippet, before, block, configuration)
            if snippet.exempt:
                _refuse_proxies(snippet, block, blocks, configuration)
        if not places:
            nowhere.append(snippet)
    return nowhere


def is_included(configuration: Configuration, path: str) -> bool:
    """Tell whether a server block includes a snippet."""
    return bool(_places(configuration, _server_blocks(configuration), path))


def listens_for_http3(configuration: Configuration, path: str) -> bool:
    """Tell whether a server block that includes a snippet has a ``listen`` with ``quic``.

    Browsers send an empty certificate there, and do not try again over TCP (nginx/nginx#817).
    """
    return any(
        statement.directive.name == "listen" and "quic" in statement.directive.values[1:]
        for _before, block in _places(configuration, _server_blocks(configuration), path)
        for statement in block
    )


def _server_blocks(configuration: Configuration) -> list[list[Statement]]:
    """Return what stands directly in each server block, in nginx's order, includes followed."""
    blocks: dict[int, list[Statement]] = {}
    for statement in configuration.statements:
        if statement.server is not None and statement.context == _SERVER:
            blocks.setdefault(statement.server, []).append(statement)
    return list(blocks.values())


def _places(
    configuration: Configuration, blocks: Sequence[Sequence[Statement]], path: str
) -> list[tuple[Sequence[Statement], Sequence[Statement]]]:
    """Return what comes before a file, under whatever name, in each server block that includes it, and the block."""
    names = {name for name in configuration.files if os.path.realpath(name) == os.path.realpath(path)}
    found = []
    for block in blocks:
        first = next((number for number, statement in enumerate(block) if statement.file.path in names), None)
        if first is not None:
            found.append((block[:first], block))
    return found


def _refuse_an_open_gate(
    snippet: Snippet, before: Sequence[Statement], block: Sequence[Statement], configuration: Configuration
) -> None:
    everywhere = [statement for statement in configuration.statements if statement.context == ("http",)]
    earlier = [statement for statement in before if statement.directive.name in _BEFORE_THE_GATE]
    earlier += [one for one in [*everywhere, *block] if one.directive.name.startswith(_BEFORE_ALL)]
    for statement in earlier:
        if not statement.managed:  # what another snippet does refuses, and lets nobody in
            raise MtlsError(
                f"service {snippet.service}: '{statement.directive.name}' in {statement.place} comes before the snippet"
                f" {snippet.path}, and the requests that it handles would bypass the gate: move the include to"
                " the top of that server block"
            )
    for statement in block:
        values = statement.directive.values
        if statement.directive.name == "set" and values and values[0].startswith(_OUR_VARIABLES):
            raise MtlsError(
                f"service {snippet.service}: 'set {values[0]}' in {statement.place} would overwrite a variable that "
                "the snippet relies on: give it another name"
            )


def _refuse_proxies(
    snippet: Snippet, block: Sequence[Statement], blocks: Sequence[Sequence[Statement]], configuration: Configuration
) -> None:
    """Raise MtlsError where a server block is behind a proxy.

    Then all requests come from the proxy's address, which may be in an exempt network.
    """
    if not any(statement.directive.name == "ssl_verify_client" for statement in block):
        return  # the redirect beside a gate of ours
    sockets = set(_sockets(block))
    for other in blocks:
        if sockets.isdisjoint(_sockets(other)):
            continue
        for statement in _about_proxies(configuration, other[0].server):
            raise MtlsError(
                f"service {snippet.service}: exempt_networks needs to know who asks, and '{statement.directive.name}'"
                f" in {statement.place} says that there is a proxy in front of the server block with {snippet.path}:"
                " remove exempt_networks, or use a service with an upstream and proxy_protocol_from"
            )


def _about_proxies(configuration: Configuration, server: int | None) -> Iterator[Statement]:
    for statement in configuration.statements:
        name, values = statement.directive.name, statement.directive.values
        inherited = statement.context == ("http",)
        if name == "set_real_ip_from" and (inherited or statement.server == server):
            yield statement
        if name == "listen" and statement.server == server and "proxy_protocol" in values[1:]:
            yield statement


def _sockets(block: Sequence[Statement]) -> Iterator[str]:
    """Yield where a server block listens, normalised; without a ``listen`` it is port 80."""
    listens = [statement.directive.values[0] for statement in block if statement.directive.name == "listen"]
    for value in listens or ["80"]:
        text = value.lower()
        if text.startswith("unix:"):
            yield text
        elif text.isdigit():
            yield f"*:{text}"
        elif text.startswith("["):
            yield text if "]:" in text else f"{text}:80"
        else:
            host, _colon, port = text.partition(":")
            yield f"{'*' if host == '0.0.0.0' else host}:{port or 80}"


@dataclass(frozen=True)
class _Block:
    """A server block: what stands in it, its sockets as ``_sockets`` has them, and its names in lower case."""

    statements: Sequence[Statement]
    sockets: Sequence[str]
    names: Sequence[str]

    @classmethod
    def of(cls, statements: Sequence[Statement]) -> _Block:
        names = [
            value.lower()
            for statement in statements
            if statement.directive.name == "server_name"
            for value in statement.directive.values
        ]
        return cls(statements, list(dict.fromkeys(_sockets(statements))), names)

    def says_of(self, socket: str, word: str) -> bool:
        """Tell whether a ``listen`` of this TCP socket has a parameter."""
        return any(
            word in statement.directive.values[1:]
            and "quic" not in statement.directive.values[1:]
            and socket in _sockets([statement])
            for statement in self.statements
            if statement.directive.name == "listen" and statement.directive.values
        )

    def has(self, name: str, values: list[str]) -> bool:
        return any(each.directive.name == name and each.directive.values == values for each in self.statements)

    def match(self, server_name: str) -> tuple[int, int] | None:
        """Return how well a name of the block matches, as nginx ranks them (ngx_hash_find_combined); None if none does.

        Regular expressions are left out: they come after all of these.
        """
        found = [_match(name, server_name) for name in self.names]
        return max((rank for rank in found if rank is not None), default=None)


def _match(name: str, server_name: str) -> tuple[int, int] | None:
    if name in (server_name, f".{server_name}"):
        return 3, 0
    if name.startswith("*.") or (name.startswith(".") and len(name) > 1):
        return (2, len(name)) if server_name.endswith(name.lstrip("*")) else None
    if name.endswith(".*"):
        return (1, len(name)) if server_name.startswith(name[:-1]) else None
    return None


def gates(configuration: Configuration, snippets: Sequence[Snippet]) -> list[SnippetGate]:
    """Return where each snippet with server names can be asked, or why a server block with it cannot."""
    wanted = [snippet for snippet in snippets if snippet.server_names]
    if not wanted:
        return []
    statements = _server_blocks(configuration)
    blocks = [_Block.of(block) for block in statements]
    inherited = _has_own_pages(configuration.find("error_page", ("http",)))
    found = []
    for snippet in wanted:
        own: list[SnippetGate] = []
        for _before, place in _places(configuration, statements, snippet.path):
            block = next(each for each in blocks if each.statements is place)
            own_pages = [one for one in place if one.directive.name == "error_page"]
            gate = SnippetGate(
                snippet.service,
                place[0].place,
                own_pages=_has_own_pages(own_pages) if own_pages else inherited,
            )
            own += _gates_of(block, blocks, gate, snippet.server_names)
        found += own[:_MOST_GATES]
    return found


def _has_own_pages(statements: Iterator[Statement] | Sequence[Statement]) -> bool:
    return any(_GATE_ERRORS.intersection(statement.directive.values[:-1]) for statement in statements)


def _gates_of(
    block: _Block, blocks: Sequence[_Block], gate: SnippetGate, server_names: Sequence[str]
) -> Iterator[SnippetGate]:
    """Yield what can be asked of one server block: each of its sockets with TLS, by a name of the service."""
    encrypted = [
        socket
        for socket in block.sockets
        # A socket's parameters are those of all of its server blocks.
        if any(socket in each.sockets and (each.says_of(socket, "ssl") or each.has("ssl", ["on"])) for each in blocks)
    ]
    if not encrypted:
        yield gate._replace(trouble="it does not listen with TLS, so the snippet refuses everybody there")
    for socket in encrypted:
        address, _colon, port = socket.rpartition(":")
        if socket.startswith("unix:") or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
            yield gate._replace(trouble=f"'listen {socket}' is not a port that can be reached from elsewhere")
            continue
        at = gate._replace(
            port=int(port),
            address=_literal(address),
            proxy_protocol=any(each.says_of(socket, "proxy_protocol") for each in blocks if socket in each.sockets),
        )
        if at.address is None and not _is_any(address):
            yield at._replace(trouble=f"'listen {socket}' has no address that is known here")
            continue
        name = _name_for(block, blocks, socket, server_names)
        if name is None:
            yield at._replace(
                trouble=f"none of the service's server_names ({', '.join(server_names)}) is known to lead there on port"
                f" {port}, and the snippet refuses every other name"
            )
        else:
            yield at._replace(server_name=name)


def _name_for(block: _Block, blocks: Sequence[_Block], socket: str, server_names: Sequence[str]) -> str | None:
    """Return a name by which a block can be asked on a socket.

    It is one of its own if possible, and best one that nginx gives to another block: then that one has no gate.
    """
    domains = tuple(name[1:] for name in server_names if name.startswith("*."))
    own = [name for name in block.names if name.endswith(domains) and _HOST_NAME.fullmatch(name)]
    names = [name.replace("*", _ANY_LABEL) for name in server_names]
    # Where a socket of one address has the same port, connections to that address come there.
    port = socket.rpartition(":")[2]
    others = {one for each in blocks for one in each.sockets if one.rpartition(":")[2] == port}
    others = (
        {one for one in others if not _is_any(one.rpartition(":")[0])} if _is_any(socket.rpartition(":")[0]) else set()
    )
    names = [name for name in [*own, *names] if all(_leads_to(name, block, blocks, one) for one in others)]
    claimed = [name for name in names if block.match(name) is not None]
    if claimed:
        return next((name for name in claimed if not _leads_to(name, block, blocks, socket)), claimed[0])
    return next((name for name in names if _leads_to(name, block, blocks, socket)), None)


def _leads_to(server_name: str, block: _Block, blocks: Sequence[_Block], socket: str) -> bool:
    """Tell whether nginx certainly chooses ``block`` for a name on a socket (ngx_http_find_virtual_server)."""
    there = [each for each in blocks if socket in each.sockets]
    ranked = [(rank, each) for each in there for rank in [each.match(server_name)] if rank is not None]
    if ranked:
        best = max(rank for rank, _each in ranked)
        return next(each for rank, each in ranked if rank == best) is block  # nginx ignores a second one
    if any(name.startswith("~") for each in there for name in each.names):
        return False  # only nginx knows what its expressions match
    marked = [each for each in there if each.says_of(socket, "default_server") or each.says_of(socket, "default")]
    return (marked or there)[0] is block if there else False


def _literal(address: str) -> str | None:
    """Return the IP address of a socket, None for every address and for what is none."""
    try:
        found = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return None
    return None if found.is_unspecified else str(found)


def _is_any(address: str) -> bool:
    return address == "*" or (address.startswith("[") and not address.strip("[]:0"))
