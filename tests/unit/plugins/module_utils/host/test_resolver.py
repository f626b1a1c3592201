# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host's files say of names."""

from __future__ import annotations

import socket

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, resolver
from ansible_collections.mtls.nginx.plugins.module_utils.host.resolver import NameServers, name_servers

HOSTS = "127.0.0.1 localhost\n192.0.2.7\tNas.home nas # db.home\n#192.0.2.8 off.home\n::1 six.home\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NameServers()),
        ("# x\n; y\nnameserver 127.0.0.53\noptions edns0 trust-ad\n", NameServers(("127.0.0.53",))),
        (
            "domain a.test\nnameserver 192.0.2.1\nnameserver\t2001:db8::53 # z\nsearch b.test c.test.\n",
            NameServers(("192.0.2.1", "[2001:db8::53]"), ("b.test", "c.test")),
        ),
        ("nameserver fe80::1%eth0\nnameserver junk\nnameserver\nsearch .\noptions ndots:0", NameServers((), (), 0)),
        ("".join(f"nameserver 192.0.2.{n}\n" for n in range(5)), NameServers(("192.0.2.0", "192.0.2.1", "192.0.2.2"))),
    ],
)
def test_name_servers(text, expected):
    assert name_servers(text) == expected


@pytest.fixture
def look(tmp_path):
    def look(*names, resolv="nameserver 192.0.2.1\n", conf="http { upstream Pool { server 192.0.2.9; } }"):
        (tmp_path / "resolv.conf").write_text(resolv)
        (tmp_path / "hosts").write_text(HOSTS)
        (tmp_path / "nginx.conf").write_text(conf)
        configuration = nginx_conf.load(str(tmp_path / "nginx.conf"))
        return resolver.look_up(names, configuration, str(tmp_path / "resolv.conf"), str(tmp_path / "hosts"))

    return look


def test_what_the_host_knows_in_another_way(look):
    others = ("localhost", "app.localhost", "NAS.home", "nas", "six.home.", "printer.local", "pool")
    found = look(*others, socket.gethostname(), "app.example.com", "db.home", "off.home", "home", "192-0-2-7.test")
    assert {name for name, asked in found.names.items() if asked is None} == {*others, socket.gethostname()}
    assert found.names["app.example.com"] == "app.example.com"
    assert found.servers == ("192.0.2.1",)


@pytest.mark.parametrize(
    ("servers", "used"),
    [
        ("", False),
        ("server { location / { proxy_pass http://other; } }", False),
        ("server { location / { proxy_pass https://POOL/x; } }", True),
        ("server { location / { proxy_pass http://pool; } }", True),
        ("server { location / { proxy_pass http://pool:8080; } }", True),
        ("server { location / { proxy_pass http://pool2; } }", False),
    ],
)
def test_groups_that_keep_connections(look, servers, used):
    conf = "http { upstream Pool { server 192.0.2.9; keepalive 4; } upstream b { server 192.0.2.9; } %s }"
    assert look("pool", "b", "app.test", conf=conf % servers).kept == {"pool": used}


@pytest.mark.parametrize(
    ("resolv", "name", "asked"),
    [
        ("", "app", "app"),
        ("search a.test", "app", "app.a.test"),
        ("search a.test", "app.sub", "app.sub"),
        ("search a.test", "app.", "app."),
        ("search a.test\noptions ndots:0", "app", "app"),
        ("search first.invalid localhost other.invalid", "app", "app.localhost"),
        ("search first.invalid other.invalid", "app", "app.first.invalid"),
        ("search first.invalid\noptions ndots:5", "svc.ns", "svc.ns.first.invalid"),
    ],
)
def test_search_domains(look, resolv, name, asked, monkeypatch):
    known = {"app.localhost."}

    def getaddrinfo(host, *_args, **_more):
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [host]

    monkeypatch.setattr(resolver.socket, "getaddrinfo", getaddrinfo)
    assert look(name, resolv=resolv).names == {name: asked}


def test_nothing_is_read_where_there_is_no_name(tmp_path):
    tmp_path.joinpath("folder").mkdir()
    assert resolver.look_up([], None, str(tmp_path), str(tmp_path)) == resolver.Names()


def test_a_host_without_the_files(tmp_path):
    found = resolver.look_up(["app.test"], None, str(tmp_path / "none"), str(tmp_path / "none"))
    assert found == resolver.Names((), {"app.test": "app.test"})
