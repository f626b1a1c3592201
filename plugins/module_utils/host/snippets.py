# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a snippet protects the server blocks that include it: what comes before it, and who sends the requests."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Sequence

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import Configuration, Statement
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Snippet

_SERVER = ("http", "server")
# They run in the order in which they are written, and each can end that (ngx_http_rewrite_module).
_BEFORE_THE_GATE = frozenset({"break", "if", "return", "rewrite"})
# Those of lua-nginx-module run before all of these, wherever they are written.
_BEFORE_ALL = "server_rewrite_by_lua"
_OUR_VARIABLES = "$mtls_"


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
                f" {snippet.path}, and whoever it concerns would not be asked for a certificate: move the include to"
                " the top of that server block"
            )
    for statement in block:
        values = statement.directive.values
        if statement.directive.name == "set" and values and values[0].startswith(_OUR_VARIABLES):
            raise MtlsError(
                f"service {snippet.service}: 'set {values[0]}' in {statement.place} would overwrite what the snippet"
                " goes by: give that variable another name"
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
