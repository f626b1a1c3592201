# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From exempt networks nobody needs a certificate; nobody else can say that he comes from there."""

from __future__ import annotations

import socket

import pytest

from .client import ask
from .host import USUAL_HTTP

# As the tutorials have it, below an http block that takes a header's word, as many have behind a proxy.
USUAL = """
geo $lan { default 0; 127.0.0.2/32 1; }
map "$lan:$ssl_client_verify" $enter { default 0; "~^1:" 1; "0:SUCCESS" 1; }
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client optional;
    if ($enter = 0) { return 403; }
    location / { proxy_pass @UPSTREAM@; }
}
"""
TRUSTS_A_HEADER = USUAL_HTTP + "set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;"

# Loopback stands in for a LAN.
LAN, ELSEWHERE = "127.0.0.2", "127.0.0.3"
EXEMPT = ["127.0.0.2/32", "127.0.0.1/32", "::1/128"]


pytestmark = pytest.mark.usefixtures("geo")


@pytest.fixture(scope="module")
def people(authority):
    lost = authority.client("lost in the LAN")
    authority.revoke(lost)
    return {"nobody": None, "admin": authority.client("admin"), "guest": authority.client("guest"), "lost": lost}


@pytest.fixture(scope="module", params=["a header is not trusted", "a header is trusted"])
def ours(request, geo, module_host, authority, people, upstream):
    host = module_host()
    http = TRUSTS_A_HEADER if request.param == "a header is trusted" else USUAL_HTTP
    common = {"allow": ["admin"]}
    host.ours(
        [
            {"name": "nas", "server_names": ["nas.test"], "upstream": upstream.url, **common},
            {
                "name": "listed",
                "server_names": ["listed.test"],
                "upstream": upstream.url,
                "paths": [{"path": "/admin/", "allow": ["admin"]}],
                "public_paths": ["/open/"],
                **common,
            },
        ],
        authority,
        http=http,
        exempt=EXEMPT,
    )
    return host.start()


WAYS = ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"]


def test_usual_a_header_is_enough(new_host, authority, tls):
    host = new_host()
    host.by_hand(USUAL, http=TRUSTS_A_HEADER, authority=authority)
    host.start()
    assert ask(host.port, "/secret", tls=tls).status == 403
    assert ask(host.port, "/secret", tls=tls, headers=f"X-Forwarded-For: {LAN}\r\n").status == 200


@pytest.mark.parametrize("name", ["nas.test", "listed.test"])
def test_ours_from_the_network_and_from_elsewhere(ours, people, upstream_heads, tls, name):
    statuses = {
        (source, who): ask(ours.port, "/x", tls=tls, host=name, client=client, source=source).status
        for source in (LAN, ELSEWHERE)
        for who, client in people.items()
    }
    assert statuses == {
        (LAN, "nobody"): 200,
        (LAN, "admin"): 200,
        (LAN, "guest"): 403,
        (LAN, "lost"): 400,
        (ELSEWHERE, "nobody"): 400,
        (ELSEWHERE, "admin"): 200,
        (ELSEWHERE, "guest"): 403,
        (ELSEWHERE, "lost"): 400,
    }
    first, *_others = upstream_heads.take()
    assert "X-SSL-Client-Verify: NONE" in first
    assert "X-SSL-Client-DN" not in first


@pytest.mark.parametrize("header", WAYS)
def test_ours_no_header_says_where_somebody_is(ours, upstream_heads, tls, header):
    for address in (LAN, f"for={LAN}", f"{LAN}, {LAN}", "::ffff:127.0.0.2", "::1"):
        answer = ask(ours.port, "/secret", tls=tls, source=ELSEWHERE, headers=f"{header}: {address}\r\n")
        assert answer.status == 400
    assert upstream_heads.take() == []


def test_ours_a_proxy_line_is_no_tls(ours, upstream_heads, tls):
    before = f"PROXY TCP4 {LAN} 127.0.0.1 1000 443\r\n".encode()
    assert not ask(ours.port, "/secret", tls=tls, source=ELSEWHERE, before=before).let_in
    assert upstream_heads.take() == []


def test_ours_the_host_itself_is_not_exempt(ours, upstream_heads, tls):
    """Although its address is named: a tunnel or a proxy on it brings everybody."""
    assert ask(ours.port, "/secret", tls=tls, source="127.0.0.1").status == 400
    assert upstream_heads.take() == []


def test_ours_other_checks_count_there_too(ours, upstream_heads, tls):
    assert ask(ours.port, "/secret", tls=tls, source=LAN, sni="unknown.test").status == 421
    assert ask(ours.port, "/secret", tls=tls, source=LAN, sni=None).status == 421
    assert ask(ours.port, "/.mtls-nginx-gate", tls=tls, source=LAN).status == 400
    assert upstream_heads.take() == []


def test_ours_a_path_with_its_own_list_wants_a_certificate_there_too(ours, people, upstream_heads, tls):
    for path in ("/admin/", "/admin", "/Admin/", "/x/..;/admin/", "//admin/", "/%61dmin/x"):
        assert ask(ours.port, path, tls=tls, host="listed.test", source=LAN).status == 400
    assert upstream_heads.take() == []
    assert ask(ours.port, "/admin/", tls=tls, host="listed.test", source=LAN, client=people["admin"]).let_in
    assert ask(ours.port, "/open/x", tls=tls, host="listed.test", source=ELSEWHERE).let_in


def test_ours_ipv6(new_host, authority, upstream_heads, upstream, tls):
    """IPv4 that arrives on an IPv6 socket is IPv4; the host itself is not exempt there either."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("no IPv6 on this machine")
    host = new_host()
    both = (
        "server { listen 127.0.0.1:@PORT@; } server { listen [::]:@PLAIN@ ipv6only=off ssl; server_name other.test; }"
    )
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": upstream.url, "allow": []}
    host.ours([{**service, "listen": f"[::]:{host.plain_port}"}], authority, neighbours={"a-both": both}, exempt=EXEMPT)
    host.start()
    port = host.plain_port
    assert ask(port, "/x", tls=tls, source=LAN).let_in
    assert ask(port, "/x", tls=tls, source=ELSEWHERE).status == 400
    assert ask(port, "/x", tls=tls, source="127.0.0.1").status == 400
    assert ask(port, "/x", tls=tls, address="::1").status == 400
    assert len(upstream_heads.take()) == 1


# --- behind a proxy that hands TLS on


@pytest.fixture(scope="module")
def behind(geo, module_host, authority, people, upstream):
    host = module_host()
    service = {
        "name": "nas",
        "server_names": ["nas.test"],
        "upstream": upstream.url,
        "allow": ["admin"],
        "proxy_protocol_from": ["127.0.0.4"],
    }
    host.ours([service], authority, exempt=["192.168.7.0/24", "fd00:7::/32", "127.0.0.0/30", "127.0.0.4/31"])
    return host.start()


PROXY = "127.0.0.4"
LINES = {
    "in the LAN": ("PROXY TCP4 192.168.7.9 10.0.0.1 1000 443\r\n", PROXY, 200),
    "in the LAN, IPv6": ("PROXY TCP6 fd00:7::9 fd00::1 1000 443\r\n", PROXY, 200),
    "elsewhere": ("PROXY TCP4 203.0.113.9 10.0.0.1 1000 443\r\n", PROXY, 400),
    "elsewhere, IPv6": ("PROXY TCP6 2001:db8::9 fd00::1 1000 443\r\n", PROXY, 400),
    "not said, and the proxy itself is in one of the networks": ("PROXY UNKNOWN\r\n", PROXY, 400),
    "said by somebody else": ("PROXY TCP4 192.168.7.9 10.0.0.1 1000 443\r\n", "127.0.0.6", 400),
    "not said, in a network of the LAN": ("PROXY UNKNOWN\r\n", "127.0.0.2", 200),
    "nothing": ("", PROXY, None),
}


@pytest.mark.parametrize("who", LINES)
def test_ours_behind_a_proxy(behind, upstream_heads, tls, who):
    line, source, status = LINES[who]
    answer = ask(behind.port, "/x", tls=tls, source=source, before=line.encode(), headers=f"X-Forwarded-For: {LAN}\r\n")
    assert answer.status == status
    heads = upstream_heads.take()
    assert bool(heads) == (status == 200)
    if who == "in the LAN":
        assert "X-Real-IP: 192.168.7.9" in heads[0]


def test_ours_behind_a_proxy_certificates_count(behind, people, tls):
    line = LINES["elsewhere"][0].encode()
    statuses = {
        who: ask(behind.port, tls=tls, source=PROXY, before=line, client=client).status
        for who, client in people.items()
    }
    assert statuses == {"nobody": 400, "admin": 200, "guest": 403, "lost": 400}
