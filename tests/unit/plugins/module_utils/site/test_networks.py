# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From which networks people may come without a certificate, and from which everybody would."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.networks import check_exempt, parse_networks


def exempt(*networks, proxies=()):
    parsed = parse_networks("host a, service b", "exempt_networks", networks)
    check_exempt("host a, service b", parsed, parse_networks("host a, service b", "proxy_protocol_from", proxies))
    return parsed


@pytest.mark.parametrize(
    "network",
    [
        "10.0.0.0/8",
        "192.168.1.0/24",
        "192.168.1.7",
        "172.20.0.0/16",
        "100.64.0.0/10",
        "fd12:3456::/48",
        "fc00::/7",
        "fe80::/10",
        "203.0.113.0/24",
        "198.51.0.0/16",
        "2001:db8::/32",
        "2001:db8:1::/48",
    ],
)
def test_networks_of_people(network):
    assert exempt(network) == (network if "/" in network else f"{network}/32",)


def test_a_network_is_named_once():
    assert exempt("FD00:0::/16", "fd00::/16") == ("fd00::/16",)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("0.0.0.0/0", "this host itself"),
        ("::/0", "holds IPv4 addresses in IPv6 form"),
        ("0.0.0.0/1", "this host itself"),
        ("127.0.0.0/8", "this host itself"),
        ("127.0.0.1", "this host itself"),
        ("127.8.8.0/24", "this host itself"),
        ("::1", "this host itself"),
        ("::/1", "holds IPv4 addresses in IPv6 form"),
        ("128.0.0.0/1", "holds 172.17.0.1"),
        ("172.16.0.0/12", "holds 172.17.0.1"),
        ("172.17.0.0/16", "holds 172.17.0.1"),
        ("172.17.0.1", "holds 172.17.0.1"),
        ("192.0.0.0/2", "large part of the internet"),
        ("198.0.0.0/8", "large part of the internet"),
        ("198.50.0.0/15", "at least /16 unless"),
        ("2a00:1450::/31", "at least /32 unless"),
        ("2000::/3", "large part of the internet"),
        ("8000::/1", "large part of the internet"),
        ("2001:d00::/24", "large part of the internet"),
        ("::ffff:192.168.1.0/120", "holds IPv4 addresses in IPv6 form"),
        ("192.168.1.5/24", "has host bits set"),
        ("192.168.1.0/33", "write 192.168.1.0/24"),
        ("lan", "write 192.168.1.0/24"),
        ("all", "write 192.168.1.0/24"),
        ("10.0.0.0/8; 0.0.0.0/0", "write 192.168.1.0/24"),
        ("fe80::1%eth0", "has a zone"),
        ("fe80::%eth0/64", "has a zone"),
        ("fe80::% 1; default 1; #", "has a zone"),
    ],
)
def test_networks_of_everybody(network, said):
    with pytest.raises(MtlsError, match="host a, service b: exempt_networks") as caught:
        exempt(network)
    assert said in str(caught.value)


def test_a_proxy_is_never_exempt():
    assert exempt("192.168.1.0/24", proxies=["192.168.1.2"]) == ("192.168.1.0/24",)
    for proxies in (["192.168.1.2"], ["192.168.1.0/24"]):
        with pytest.raises(MtlsError, match="a proxy's own address is never exempt"):
            exempt("192.168.1.2", proxies=proxies)
