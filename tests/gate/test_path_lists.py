# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A path's own allow list: the longest path counts, and no spelling leads around the narrower of two lists."""

from __future__ import annotations

import pytest

from .client import ask
from .test_paths import readings
from .upstream import path_of

# A location with a check of its own, beside a wider one.
USUAL = """
map $ssl_client_s_dn $admin { default 0; "CN=parent" 1; }
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client on;
    location / { proxy_pass @UPSTREAM@; }
    location /admin/ {
        if ($admin = 0) { return 403; }
        proxy_pass @UPSTREAM@;
    }
}
"""

PEOPLE = ["parent", "kid", "guest", "lodger"]
SERVICE = {
    "allow": ["parent", "guest"],
    "paths": [
        {"path": "/photos/", "allow": ["parent", "kid"]},
        {"path": "/photos/private/", "allow": ["parent"]},
        {"path": "/admin/", "allow": ["parent"]},
        {"path": "/back-up/", "allow": []},
    ],
}
# Who may enter where: parent is on every list but the last, which is nobody's.
PLACES = {
    "/": "parent guest",
    "/x": "parent guest",
    "/photosx": "parent guest",
    "/photos-x/": "parent guest",
    "/x/admin/": "parent guest",
    "/photos/": "parent kid",
    "/photos": "parent kid",
    "/photos/a": "parent kid",
    "/photos/%61": "parent kid",
    "/%70hotos/": "parent kid",
    "/photos/Jos%c3%a9": "parent kid",
    "/photos/?x=/admin/": "parent kid",
    "/photos/privately": "parent kid",
    "/photos/private": "parent",
    "/photos/private/": "parent",
    "/photos/pr%69vate/x": "parent",
    "/admin": "parent",
    "/admin/": "parent",
    "/admin/x": "parent",
    "/%61dmin/x": "parent",
    "/back-up/": "",
}
# Spellings that an upstream may read as a path with another list: only who is on every list may send them.
ODD = [
    "/Admin/",
    "/ADMIN",
    "/Photos/",
    "/photos/Private/x",
    "/photos/PRIVATE",
    "/admin./",
    "/admin.",
    "/admin.json",
    "/admin%20/",
    "/admin%20",
    "/admin!",
    "/admin+/",
    "/admin~1/",
    "/admin::$DATA",
    "/admin;x/",
    "/admin;/x",
    "/admin%3bx/",
    "/admin%2fx",
    "/admin%5cx",
    "/admin\\x",
    "/admin%00/",
    "/admin%0a/",
    "/admin%23",
    "//admin/",
    "/x//admin/",
    "/./admin/",
    "/x/../admin/",
    "/x/%2e%2e/admin/",
    "/photos/../admin/",
    "/photos/..%2fadmin/",
    "/photos/..;/admin/",
    "/photos/%2e%2e/admin/",
    "/photos/..%5cadmin/",
    "/photos/%252e%252e/admin/",
    "/photos//private/",
    "/photos/./private/",
    "/photos/x/../private/",
    "/photos%2fprivate/",
    "/photos;/private/",
    "/%61dmin%2e/",
    "/%2561dmin/",
    "/ad%6din%2fx",
    "/adm%c4%b1n/",
    "/adm%c4%b0n/",
    "/photo%c5%bf/",
    "/bac%e2%84%aa-up/",
    "/\xef\xbd\x81dmin/",
    "/%ef%bd%81dmin/",
    "*",
]


@pytest.fixture(scope="module")
def ours(module_host, authority, upstream):
    host = module_host()
    for name in PEOPLE:
        authority.client(name)
    everybody = {**SERVICE, "allow": None}
    host.ours(
        [
            {"name": "nas", "server_names": ["nas.test"], "upstream": upstream.url, **SERVICE},
            {"name": "all", "server_names": ["all.test"], "upstream": upstream.url, **everybody},
            {
                "name": "public",
                "server_names": ["public.test"],
                "upstream": upstream.url,
                **SERVICE,
                "public_paths": ["/photos/shared/", "/hook"],
            },
            {"name": "other", "server_names": ["other.test"], "upstream": upstream.url, "allow": ["lodger"]},
        ],
        authority,
    )
    return host.start()


def let_in(host, authority, path, *, tls, name="nas.test"):
    return {who for who in PEOPLE if ask(host.port, path, tls=tls, host=name, client=authority.clients[who]).let_in}


def test_usual_another_spelling_has_another_list(new_host, authority, upstream_heads, tls):
    host = new_host()
    for name in PEOPLE:
        authority.client(name)
    host.by_hand(USUAL, authority=authority)
    host.start()
    kid = authority.client("kid")
    assert ask(host.port, "/admin/", tls=tls, client=kid).status == 403
    upstream_heads.take()
    others = ["/Admin/", "/admin.json", "/photos/..;/admin/"]
    assert all(ask(host.port, path, tls=tls, client=kid).let_in for path in others)
    assert [path_of(head) for head in upstream_heads.take()] == others


@pytest.mark.parametrize("path", PLACES)
def test_ours_each_path_has_its_list(ours, authority, tls, path):
    assert let_in(ours, authority, path, tls=tls) == set(PLACES[path].split())
    assert ask(ours.port, path, tls=tls).status == 400


def test_ours_without_a_list_of_the_service_the_paths_have_theirs(ours, authority, tls):
    for path, names in PLACES.items():
        expected = set(PEOPLE) if names == "parent guest" else set(names.split())
        assert let_in(ours, authority, path, tls=tls, name="all.test") == expected, path


@pytest.mark.parametrize("name", ["nas.test", "all.test", "public.test"])
def test_ours_an_odd_spelling_wants_every_list(ours, authority, upstream_heads, tls, name):
    """Since the list of /back-up/ is empty, nobody is on every list."""
    entered = {path: who for path in ODD if (who := let_in(ours, authority, path, tls=tls, name=name))}
    assert entered == {}
    assert upstream_heads.take() == []


def test_ours_who_is_on_every_list_writes_as_he_likes(new_host, authority, upstream, tls):
    host = new_host()
    for name in PEOPLE:
        authority.client(name)
    lists = {**SERVICE, "paths": SERVICE["paths"][:3]}
    host.ours([{"name": "nas", "server_names": ["nas.test"], "upstream": upstream.url, **lists}], authority)
    host.start()
    for path in ("/Admin/", "/photos//x", "/admin%2fx"):
        assert let_in(host, authority, path, tls=tls) == {"parent"}


def test_ours_no_upstream_reads_a_path_of_another_list(ours, authority, upstream_heads, tls):
    """Whatever the kid gets through is below /photos/, and not private, in the eyes of every upstream."""
    for path in [*PLACES, *ODD]:
        ask(ours.port, path, tls=tls, client=authority.clients["kid"])
    for head in upstream_heads.take():
        for read in readings(path_of(head)).values():
            assert read.lower().startswith("/photos"), head
            assert not read.lower().startswith(("/photos/private/", "/admin")), head
            assert read.lower() != "/photos/private", head


def test_ours_public_paths_come_first(ours, authority, tls):
    assert ask(ours.port, "/photos/shared/x", tls=tls, host="public.test").let_in
    assert ask(ours.port, "/hook", tls=tls, host="public.test", client=authority.clients["lodger"]).let_in
    assert ask(ours.port, "/photos/x", tls=tls, host="public.test").status == 400
    assert let_in(ours, authority, "/photos/x", tls=tls, name="public.test") == {"parent", "kid"}


def test_ours_a_revoked_client_leaves_every_list(new_host, authority, upstream, tls):
    host = new_host()
    for name in PEOPLE:
        authority.client(name)
    lost = authority.client("lost with paths")
    lists = {"allow": [], "paths": [{"path": "/photos/", "allow": ["lost with paths", "kid"]}]}
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": upstream.url, **lists}
    host.ours([service], authority)
    host.start()
    assert ask(host.port, "/photos/", tls=tls, client=lost).let_in
    authority.revoke(lost)
    host.ours([service], authority)
    host.reload()
    assert ask(host.port, "/photos/", tls=tls, client=lost).status == 400
    assert ask(host.port, "/photos/", tls=tls, client=authority.clients["kid"]).let_in
    del authority.clients["lost with paths"]
