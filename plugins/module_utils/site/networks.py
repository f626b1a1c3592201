# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks from which no certificate is asked for: which may be named, and which would let in everybody."""

from __future__ import annotations

import ipaddress
import typing as t
from collections.abc import Sequence

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

if t.TYPE_CHECKING:
    Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

# What a site numbers itself from: RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291.
_LOCAL = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"),
    )
)
_LOOPBACK = tuple(map(ipaddress.ip_network, ("127.0.0.0/8", "::1/128")))
_DOCKER_GATEWAY = ipaddress.ip_address("172.17.0.1")
_MAPPED = ipaddress.ip_network("::ffff:0:0/96")
_LARGEST_SITE = {4: 16, 6: 32}  # prefix lengths


def parse_networks(where: str, option: str, values: Sequence[str]) -> tuple[str, ...]:
    """Return networks in their usual spelling, each once.

    :raises MtlsError: one is no network.
    """
    return tuple(dict.fromkeys(str(_network(where, option, value)) for value in values))


def check_exempt(where: str, networks: Sequence[str], proxies: Sequence[str]) -> None:
    """Raise MtlsError for networks from which others than the people there come."""
    front = [ipaddress.ip_network(proxy) for proxy in proxies]
    for text in networks:
        network = ipaddress.ip_network(text)
        said = f"{where}: exempt_networks: {text}"
        if any(_overlap(network, loopback) for loopback in _LOOPBACK):
            raise MtlsError(
                f"{said} is this host itself: everybody who comes through a proxy or a tunnel on it would need no"
                " certificate; give the program on the host a certificate instead"
            )
        if network.version == 4 and _DOCKER_GATEWAY in network:
            raise MtlsError(
                f"{said} holds {_DOCKER_GATEWAY}, the source address of every connection that Docker forwards; name "
                "the networks of your people only"
            )
        if not any(_within(network, local) for local in _LOCAL) and network.prefixlen < _LARGEST_SITE[network.version]:
            raise MtlsError(
                f"{said} is a large part of the internet; name the networks of your people, of at least"
                f" /{_LARGEST_SITE[network.version]} unless they are private"
            )
        if any(_within(network, proxy) for proxy in front):
            raise MtlsError(
                f"{said} is among proxy_protocol_from, and a proxy's own address is never exempt; remove it"
            )


def _network(where: str, option: str, value: str) -> Network:
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise MtlsError(f"{where}: {option}: {error}; write 192.168.1.0/24, fd12:3456::/48 or an address") from None
    if "%" in value:  # which ipaddress takes, with any text behind it
        raise MtlsError(f"{where}: {option}: {value} has a zone, and nginx knows none; leave out % and what follows it")
    if network.version == 6 and _overlap(network, _MAPPED):
        raise MtlsError(f"{where}: {option}: {value} holds IPv4 addresses in IPv6 form; write them as IPv4")
    return network


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)
