# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which names of upstreams nginx can look up with the host's name servers while it runs.

A name in a literal ``proxy_pass`` is resolved when nginx reads its configuration, and one that cannot be resolved keeps
it from starting and from reloading. With a variable there, nginx asks its ``resolver`` at each request instead. But
that knows name servers only: what the host knows from elsewhere stays literal.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf

_MOST_SERVERS = 3  # MAXNS of resolv.conf(5)
# Answered without a name server: RFC 6761, section 6.3, and RFC 6762, section 3.
_LOCAL_NAME = re.compile(r"(?:.*\.)?(?:localhost|local)\.?", re.IGNORECASE)


@dataclass(frozen=True)
class NameServers:
    """What resolv.conf(5) says: addresses as nginx writes them, search domains, and ndots."""

    addresses: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    dots: int = 1


@dataclass(frozen=True)
class Names:
    """``servers`` are the host's name servers; ``names`` has, for each name, what to ask them for, or None.

    ``kept`` are those that are groups of servers whose idle connections nginx keeps, and whether a server block of the
    host's own uses them too.
    """

    servers: Sequence[str] = ()
    names: dict[str, str | None] = field(default_factory=dict)
    kept: dict[str, bool] = field(default_factory=dict)


def look_up(
    names: Iterable[str],
    configuration: nginx_conf.Configuration | None,
    resolv_conf: str = "/etc/resolv.conf",
    hosts: str = "/etc/hosts",
) -> Names:
    """Return how nginx can look up these host names; ``configuration`` may define some as groups of servers.

    :raises OSError: one of the files exists and cannot be read.
    """
    wanted = {name: name.lower().rstrip(".") for name in names}
    if not wanted:
        return Names()
    servers = name_servers(_text(resolv_conf))
    known = _names_in(_text(hosts), set(wanted.values())) | {socket.gethostname().lower()}
    kept: dict[str, bool] = {}
    if configuration is not None:
        groups = _groups(configuration)
        known |= set(groups)
        kept = {name: _is_used(plain, configuration) for name, plain in wanted.items() if groups.get(plain)}
    return Names(
        servers.addresses,
        {
            name: None if plain in known or _LOCAL_NAME.fullmatch(plain) else _absolute(name, servers)
            for name, plain in wanted.items()
        },
        kept,
    )


def _groups(configuration: nginx_conf.Configuration) -> dict[str, bool]:
    """Return the names of the groups of servers, and whether each keeps idle connections."""
    return {
        statement.directive.values[0].lower(): any(each.name == "keepalive" for each in statement.directive.block or ())
        for statement in configuration.find("upstream", ("http",))
        if statement.directive.args
    }


def _is_used(group: str, configuration: nginx_conf.Configuration) -> bool:
    """Tell whether a server block of the host's own hands requests on to a group of servers."""
    url = re.compile(rf"\w+://{re.escape(group)}(?:[:/]|\Z)", re.IGNORECASE)
    return any(
        not statement.managed and any(url.match(value) for value in statement.directive.values)
        for statement in configuration.find("proxy_pass")
    )


def name_servers(text: str) -> NameServers:
    """Return what a resolv.conf(5) says."""
    addresses: list[str] = []
    search: tuple[str, ...] = ()
    dots = 1
    for line in text.split("\n"):
        keyword, *values = line.split() or [""]
        if keyword == "nameserver" and values:
            address = _address(values[0])
            if address is not None:
                addresses.append(address)
        elif keyword in ("search", "domain"):
            search = tuple(value.strip(".") for value in values if value != ".")
        elif keyword == "options":
            dots = next((int(value[6:]) for value in values if re.fullmatch(r"ndots:\d+", value)), dots)
    return NameServers(tuple(addresses[:_MOST_SERVERS]), search, dots)


def _address(text: str) -> str | None:
    """Return an address as nginx accepts it: not with the zone of a link-local address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 4:
        return text
    return None if "%" in text else f"[{text}]"


def _absolute(name: str, servers: NameServers) -> str:
    """Return the name with its search domain, which nginx's resolver would not add."""
    if name.endswith(".") or name.count(".") >= servers.dots or not servers.search:
        return name
    candidates = [f"{name}.{domain}" for domain in servers.search]
    if len(candidates) == 1 and "." not in name:
        return candidates[0]
    return next(filter(_resolves, [*candidates, name]), candidates[0])


def _resolves(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(f"{name}.", None, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return False


def _names_in(text: str, wanted: set[str]) -> set[str]:
    """Return those of the wanted names that hosts(5) has an address for."""
    found: set[str] = set()
    for line in text.split("\n"):
        found.update(wanted.intersection(line.partition("#")[0].lower().split()[1:]))
    return found


def _text(path: str) -> str:
    try:
        with files.open_regular(path, follow=True) as stream:
            return stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
