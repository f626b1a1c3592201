# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a snippet protects the server block that includes it, and where it does not."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, snippets
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Snippet

GATE = "# Managed by mtls.nginx\nssl_verify_client on;\nif ($mtls_nas = 0) { return 403; }\n"


@pytest.fixture
def host(tmp_path):
    """A host with the given http block, and our snippet."""
    path = tmp_path / "snippets" / "mtls-nas.conf"
    path.parent.mkdir()
    path.write_text(GATE)

    def make(http):
        (tmp_path / "nginx.conf").write_text(f"http {{ {http} }}\n")
        return nginx_conf.load(str(tmp_path / "nginx.conf")), str(path)

    return make


def unguarded(host, http, **options):
    configuration, path = host(http)
    return [snippet.service for snippet in snippets.included_nowhere(configuration, [Snippet("nas", path, **options)])]


@pytest.mark.parametrize(
    ("http", "missing"),
    [
        ("server { listen 443 ssl; include snippets/mtls-nas.conf; location / { if ($a) { break; } } }", []),
        ("server { include snippets/mtls-nas.conf; return 200; }", []),
        ("server { listen 443 ssl; }", ["nas"]),
        ("include snippets/mtls-nas.conf; server { listen 443 ssl; }", ["nas"]),
        ("server { location / { include snippets/mtls-nas.conf; } }", ["nas"]),
    ],
)
def test_which_server_block_includes_it(host, http, missing):
    assert unguarded(host, http) == missing
    configuration, path = host(http)
    assert snippets.is_included(configuration, path) is (not missing)


@pytest.mark.parametrize(
    ("http", "said"),
    [
        ("server { return 200; include snippets/mtls-nas.conf; }", "'return' in .*nginx.conf, line 1 comes before"),
        ("server { rewrite ^ /a; include snippets/mtls-nas.conf; }", "'rewrite' in .* comes before the snippet"),
        ("server { if ($a) { set $b 1; } include snippets/mtls-nas.conf; }", "'if' in .* comes before the snippet"),
        ("server_rewrite_by_lua_block { } server { include snippets/mtls-nas.conf; }", "'server_rewrite_by_lua_block'"),
        ("server { include snippets/mtls-nas.conf; set $mtls_nas 1; }", r"'set \$mtls_nas' .* would overwrite"),
    ],
)
def test_where_it_protects_nothing(host, http, said):
    with pytest.raises(MtlsError, match=f"service nas: {said}"):
        unguarded(host, http)


def test_one_snippet_of_ours_may_come_before_another(host, tmp_path):
    """Whom it concerns is refused, by the one or by the other."""
    http = "server { include snippets/mtls-first.conf; %sinclude snippets/mtls-nas.conf; }"
    (tmp_path / "snippets" / "mtls-first.conf").write_text(GATE)
    assert unguarded(host, http % "") == []
    with pytest.raises(MtlsError, match=r"'return' in .*nginx\.conf, line 1 comes before"):
        unguarded(host, http % "return 200; ")


@pytest.mark.parametrize(
    ("http", "behind_a_proxy"),
    [
        ("server { listen 443 ssl; include snippets/mtls-nas.conf; }", False),
        ("server { listen 443 ssl proxy_protocol; include snippets/mtls-nas.conf; }", True),
        ("set_real_ip_from 192.0.2.1; server { listen 443 ssl; include snippets/mtls-nas.conf; }", True),
        (
            "server { listen 0.0.0.0:443; include snippets/mtls-nas.conf; } server { listen *:443 proxy_protocol; }",
            True,
        ),
        (
            "server { listen 443 ssl; include snippets/mtls-nas.conf; } server { listen 8443 ssl proxy_protocol; }",
            False,
        ),
    ],
)
def test_exempt_networks_need_to_know_who_asks(host, http, behind_a_proxy):
    assert unguarded(host, http) == []
    if behind_a_proxy:
        with pytest.raises(MtlsError, match="service nas: exempt_networks needs to know who asks"):
            unguarded(host, http, exempt=True)
    else:
        assert unguarded(host, http, exempt=True) == []


# Where it can be asked


def gates(host, http, names=("photos.lan",)):
    configuration, path = host(http)
    return snippets.gates(configuration, [Snippet("nas", path, server_names=names)])


def asked(host, http, names=("photos.lan",)):
    return [(gate.port, gate.server_name, gate.address) for gate in gates(host, http, names) if not gate.trouble]


def server(listen="443 ssl", names="photos.lan", more="include snippets/mtls-nas.conf;"):
    listens = " ".join(f"listen {each};" for each in listen.split(","))
    return f"server {{ {listens} {f'server_name {names};' if names else ''} {more} }} "


OTHER = server(names="other.lan", more="")


@pytest.mark.parametrize(
    ("http", "names", "found"),
    [
        (server(), ["photos.lan"], [(443, "photos.lan", None)]),
        (server("8443 ssl,[::]:8443 ssl"), ["photos.lan"], [(8443, "photos.lan", None)] * 2),
        (server("127.0.0.1:8443 ssl"), ["photos.lan"], [(8443, "photos.lan", "127.0.0.1")]),
        (server("[::1]:443 ssl"), ["photos.lan"], [(443, "photos.lan", "::1")]),
        (server(names="a.lan b.lan"), ["b.lan"], [(443, "b.lan", None)]),
        (server(names="PHOTOS.lan"), ["photos.lan"], [(443, "photos.lan", None)]),
        (server(names="*.photos.lan"), ["*.photos.lan"], [(443, "mtls-probe.photos.lan", None)]),
        (server(names=".lan"), ["photos.lan"], [(443, "photos.lan", None)]),
        (server(names="photos.*"), ["photos.lan"], [(443, "photos.lan", None)]),
        # One of its own that is below the service's wildcard.
        (server(names="a.photos.lan"), ["*.photos.lan"], [(443, "a.photos.lan", None)]),
        # No name, or a catch-all: the first block of the socket, or the marked one.
        (server(names=""), ["photos.lan"], [(443, "photos.lan", None)]),
        (server(names="_") + OTHER, ["photos.lan"], [(443, "photos.lan", None)]),
        (OTHER + server("443 ssl default_server", names="_"), ["photos.lan"], [(443, "photos.lan", None)]),
        (server("443 quic reuseport,443 ssl"), ["photos.lan"], [(443, "photos.lan", None)]),
        (server(names="my_own.b.lan -x.b.lan"), ["*.b.lan"], [(443, "mtls-probe.b.lan", None)]),
        # `ssl` of one block is that of all on the socket.
        (server("443") + OTHER, ["photos.lan"], [(443, "photos.lan", None)]),
        (server("443", more="ssl on; include snippets/mtls-nas.conf;"), ["photos.lan"], [(443, "photos.lan", None)]),
        # Another block has the name: it is asked all the same, because there is no gate.
        (server(more="") + server(), ["photos.lan"], [(443, "photos.lan", None)]),
        (server(names="a.lan", more="") + server(names="b.lan a.lan"), ["b.lan", "a.lan"], [(443, "a.lan", None)]),
    ],
)
def test_where_it_is_asked(host, http, names, found):
    assert asked(host, http, names) == found


@pytest.mark.parametrize(
    ("http", "why"),
    [
        (server("80"), "does not listen with TLS"),
        (server("443 quic"), "does not listen with TLS"),
        (server("unix:/run/nginx.sock ssl"), "not a port that can be reached"),
        (server("443-445 ssl"), "no address that is known here"),
        (server("0.0.0.0:99999 ssl"), "not a port that can be reached"),
        (server("localhost:443 ssl"), "no address that is known here"),
        (OTHER + server(names="_"), "none of the service's server_names (photos.lan) is known to lead there"),
        (OTHER + server(names="elsewhere.lan"), "none of the service's server_names"),
        (server(names=r'"~^photos\\d+\\.lan$"'), "none of the service's server_names"),
        (server(names="_") + server(names=r"~^photos", more=""), "none of the service's server_names"),
        # Connections to 192.0.2.1 come to another block.
        (server(names="_") + server("192.0.2.1:443 ssl", names="x.lan", more=""), "none of the service's"),
    ],
)
def test_why_it_is_not_asked(host, http, why):
    found = [gate for gate in gates(host, http) if gate.trouble]
    assert [gate for gate in gates(host, http) if not gate.trouble and gate.server_name] == []
    assert any(why in gate.trouble for gate in found), found
    assert all("nginx.conf, line 1" in gate.place for gate in found)


def test_what_else_is_said_of_a_place(host):
    (gate,) = gates(host, server("443 ssl") + server("443 ssl proxy_protocol", names="other.lan", more=""))
    assert gate.proxy_protocol
    pages = "error_page 496 /help.html; "
    assert not gate.own_pages
    assert [each.own_pages for each in gates(host, pages + server())] == [True]
    own = "include snippets/mtls-nas.conf; error_page 404 /x.html;"
    assert [each.own_pages for each in gates(host, pages + server(more=own))] == [False]  # replaces what is inherited
    own = "include snippets/mtls-nas.conf; error_page 500 403 =200 /x.html;"
    assert [each.own_pages for each in gates(host, server(more=own))] == [True]


def test_which_listens_for_http3(host):
    said = {}
    for listens, more in (("443 ssl", None), ("443 ssl,443 quic", None), ("443 ssl", "listen 443 quic;")):
        other = server(names="other.lan", more=more) if more else ""
        configuration, path = host(server(listens) + other)
        said[listens, more] = snippets.listens_for_http3(configuration, path)
    assert list(said.values()) == [False, True, False]  # the last is of a server block without the snippet


def test_a_snippet_without_names_is_not_looked_for(host):
    assert gates(host, server(), ()) == []
    assert len(gates(host, server(",".join(f"{port} ssl" for port in range(1000, 1100))))) == 20
