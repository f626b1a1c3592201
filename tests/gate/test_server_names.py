# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS server name picks who verifies; the Host header picks who serves. Both must be the same service."""

from __future__ import annotations

import pytest

from .client import ask, ask_plainly

# The usual way to guard two services. Each names its CA, and each verifies: for connections whose TLS server name
# is its own. All others are verified by the first server block of the socket, and the second one asks only
# whether the result was good.
USUAL = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name first.test;
    ssl_client_certificate own/other.crt;
    ssl_verify_client on;
    root @FOLDER@/www;
}
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_crl own/crl.pem;
    ssl_verify_client on;
    root @FOLDER@/www;
}
"""

# A server block that also listens without TLS: ssl_verify_client says nothing about those requests.
USUAL_ALSO_PLAIN = """
server {
    listen 127.0.0.1:@PLAIN@;
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client on;
    root @FOLDER@/www;
}
"""

# Neighbours: what may be the first server block on the port of our services.
PUBLIC = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name public.test;
    return 200 "PUBLIC PAGE";
}
"""
OTHER_AUTHORITY = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name first.test;
    ssl_client_certificate own/other.crt;
    ssl_verify_client on;
    return 200 "PAGE OF ANOTHER DEPARTMENT";
}
"""
ANY_AUTHORITY = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name first.test;
    ssl_verify_client optional_no_ca;
    return 200 "PAGE OF ANOTHER DEPARTMENT";
}
"""
WITHOUT_CRL = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name first.test;
    ssl_client_certificate client-certs/ca.crt;
    ssl_verify_client on;
    return 200 "PAGE OF ANOTHER DEPARTMENT";
}
"""
NEIGHBOURS = {
    "public": PUBLIC,
    "another authority": OTHER_AUTHORITY,
    "any authority": ANY_AUTHORITY,
    "our authority without a CRL": WITHOUT_CRL,
}

NAMES = ("nas.test", "files.test", "x.wild.test")  # of our services

# What a client may send as the server name. nginx cuts a name at a colon and takes none with two dots in a row, so
# the last ones are names of no server block, and yet they end in .wild.test.
SERVER_NAMES = [
    None,
    "unknown.test",
    "first.test",
    "public.test",
    "files.test",
    "xnas.test",
    "nas.test.",
    "unknown.test:nas.test",
    "nas.test:443",
    "a..wild.test",
    "unknown.test:x.wild.test",
    "a/b.wild.test",
    "[::1].wild.test",
    "a\x01b.wild.test",
    "WILD.TEST",
]


@pytest.fixture(scope="module")
def people(authority, other_authority):
    """Our own clients, one of them revoked, and one of another department under an allowed name."""
    found = {name: authority.client(name) for name in ("admin", "guest", "lost")}
    authority.revoke(found["lost"])
    return found | {"foreigner": other_authority.client("admin")}


@pytest.fixture(scope="module")
def usual(module_host, authority, other_authority, people):
    host = module_host()
    host.write("own/other.crt", other_authority.chain)
    host.by_hand(USUAL, authority=authority)
    return host.start()


@pytest.fixture(scope="module")
def ours(module_host, authority, other_authority, people):
    """Our services behind each kind of first server block, started when they are asked for."""
    started = {}

    def start(neighbour: str | None):
        if neighbour not in started:
            host = module_host()
            host.write("own/other.crt", other_authority.chain)
            services = [
                {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www", "allow": ["admin"]},
                {"name": "files", "server_names": ["files.test"], "root": f"{host.folder}/www", "allow": ["guest"]},
                {"name": "wild", "server_names": ["*.wild.test"], "root": f"{host.folder}/www"},
            ]
            host.ours(services, authority, neighbours={"first": NEIGHBOURS[neighbour]} if neighbour else {})
            started[neighbour] = host.start()
        return started[neighbour]

    return start


@pytest.mark.parametrize("sni", [None, "unknown.test"])
def test_usual_another_authority_and_the_revoked_get_in_without_the_servers_name(usual, people, tls, sni):
    assert ask(usual.port, "/secret", tls=tls, client=people["foreigner"], sni=sni).let_in
    assert not ask(usual.port, "/secret", tls=tls, client=people["foreigner"]).let_in


def test_usual_plain_http_gets_in(new_host, authority):
    host = new_host()
    host.by_hand(USUAL_ALSO_PLAIN, authority=authority)
    host.start()
    assert ask_plainly(host.plain_port, "/secret").let_in


@pytest.mark.parametrize("neighbour", [None, *NEIGHBOURS])
def test_ours_nobody_gets_in_by_another_server_name(ours, people, tls, neighbour):
    host = ours(neighbour)
    got_in = []
    for sni in SERVER_NAMES:
        for name in NAMES:
            for who in ("foreigner", "lost", None):
                answer = ask(host.port, "/secret", tls=tls, client=people.get(who), sni=sni, host=name)
                if b"CONTENT" in answer.body:
                    got_in.append((who, sni, name))
    assert not got_in


@pytest.mark.parametrize("neighbour", [None, *NEIGHBOURS])
def test_ours_each_client_gets_in_at_its_own_service_only(ours, people, tls, neighbour):
    host = ours(neighbour)
    table = {
        (who, name): ask(host.port, "/secret", tls=tls, client=people.get(who), host=name).status
        for who in ("admin", "guest", "lost", "foreigner", None)
        for name in NAMES
    }
    assert table == {
        ("admin", "nas.test"): 200,
        ("admin", "files.test"): 403,
        ("admin", "x.wild.test"): 200,
        ("guest", "nas.test"): 403,
        ("guest", "files.test"): 200,
        ("guest", "x.wild.test"): 200,
        **{(who, name): 400 for who in ("lost", "foreigner", None) for name in NAMES},
    }


@pytest.mark.parametrize("sni", ["NAS.TEST", "Nas.Test", "nas.test"])
def test_ours_the_server_names_case_does_not_matter(ours, people, tls, sni):
    host = ours(None)
    assert ask(host.port, "/secret", tls=tls, client=people["admin"], sni=sni).status == 200
    assert ask(host.port, "/secret", tls=tls, client=people["guest"], sni=sni).status == 403


@pytest.mark.parametrize("neighbour", [None, *NEIGHBOURS])
@pytest.mark.parametrize("sni", [None, "127.0.0.1", "unknown.test", "nas.test", "a..b"])
def test_ours_a_service_reached_by_address(new_host, authority, other_authority, people, tls, neighbour, sni):
    """It is the first server block of its socket itself, and must not lend that to the other services."""
    host = new_host()
    host.write("own/other.crt", other_authority.chain)
    root = f"{host.folder}/www"
    services = [
        {"name": "direct", "server_names": ["127.0.0.1"], "root": root, "allow": ["guest"]},
        {"name": "nas", "server_names": ["nas.test"], "root": root, "allow": ["admin"]},
    ]
    host.ours(services, authority, neighbours={"first": NEIGHBOURS[neighbour]} if neighbour else {})
    host.start()
    got_in = {
        (who, name)
        for who in ("admin", "guest", "lost", "foreigner", None)
        for name in ("127.0.0.1", "nas.test")
        if b"CONTENT" in ask(host.port, "/secret", tls=tls, client=people.get(who), sni=sni, host=name).body
    }
    assert got_in <= {("guest", "127.0.0.1"), ("admin", "nas.test")}
    assert (("guest", "127.0.0.1") in got_in) is (sni in (None, "127.0.0.1"))
    assert (("admin", "nas.test") in got_in) is (sni == "nas.test")


def test_ours_a_snippet_in_a_block_that_also_listens_without_tls(new_host, authority, people, tls):
    host = new_host()
    block = USUAL_ALSO_PLAIN.replace("ssl_client_certificate own/ca.crt;", "include snippets/mtls-nas.conf;")
    block = block.replace("    ssl_verify_client on;\n", "")
    host.ours(
        [{"name": "nas", "server_names": ["nas.test"], "snippet": True, "allow": ["admin"]}],
        authority,
        neighbours={"site": block},
    )
    host.start()
    assert not ask_plainly(host.plain_port, "/secret").let_in
    assert ask(host.port, "/secret", tls=tls, client=people["admin"]).let_in


@pytest.mark.parametrize("name", ["default", "include"])
def test_ours_a_server_name_that_is_a_word_of_nginx(new_host, authority, upstream, upstream_heads, tls, name):
    """`default` would let every other server name in, and `include` be taken for a file."""
    host = new_host()
    services = [
        {"name": "nas", "server_names": [name], "upstream": upstream.url, "allow": ["admin"]},
        {"name": "files", "server_names": ["files.test", name + "s"], "upstream": upstream.url},
    ]
    host.ours(services, authority)
    host.start()
    admin = authority.client("admin")
    assert ask(host.port, tls=tls, host=name, client=admin).status == 200
    assert ask(host.port, tls=tls, host=name, client=authority.client("guest")).status == 403
    for sni in ("files.test", "unknown.test", None, "1"):
        assert ask(host.port, tls=tls, host=name, sni=sni, client=admin).status in (421, 400, None)
    assert len(upstream_heads.take()) == 1
