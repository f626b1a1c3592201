# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstreams by name: nginx asks for them while it runs, and nothing else is different from an upstream by address."""

from __future__ import annotations

import itertools
import re
import urllib.parse

import pytest

from .client import ask, ask_plainly
from .host import USUAL_HTTP
from .names import NameServer
from .tls_upstream import TlsUpstream
from .upstream import path_of

PATHS = ("", "/", "/app", "/app/")
PUBLIC = ["/open/", "/exact"]
REQUESTS = [
    "/",
    "/x/y",
    "/x//y/",
    "/a/../b/./c",
    "/a%2fb",
    "/a%20b%25c",
    "/%C3%A9/%e3%82%a2",
    "/a;v=1/b",
    "/a+b~c!d$e&f'(g)*h,i:j@k",
    "/page.php?x=1&y=%2f%3f&z",
    "/?",
    "/x?http://elsewhere.test/",
    "/%3Fx=1%23y",
    "/$uri/$1/$http_host",
    "/exact",
    "/exact?x=%20",
    "/open/",
    "/open/x%20y?z=1",
    "/open//x/../y",
    "/open/%C3%A9%25",
]
# What may not be in a URI as it stands: it arrives escaped where nginx puts the path together.
ODD = ["/a|b", "/${uri}", "/caf\xe9", '/a"b<c>']


@pytest.fixture
def name_server():
    made = NameServer()
    made.known = {"backend.test"}
    yield made
    made.stop()


@pytest.fixture(scope="module")
def module_name_server():
    made = NameServer()
    made.known = {"backend.test"}
    yield made
    made.stop()


def service(name: str, upstream: str, **more: object) -> dict[str, object]:
    return {"name": name, "server_names": [f"{name}.test"], "upstream": upstream, **more}


def by_name(url: str) -> str:
    return url.replace("127.0.0.1", "backend.test")


@pytest.fixture(scope="module")
def ours(module_host, authority, upstream, module_name_server):
    """For each kind of upstream path a service with its address, and one with its name."""
    host = module_host()
    host.name_servers, host.names = [module_name_server.address], {"backend.test": "backend.test"}
    host.ours(
        [
            service(f"{how}{number}", url + path, public_paths=PUBLIC)
            for number, path in enumerate(PATHS)
            for how, url in (("literal", upstream.url), ("named", by_name(upstream.url)))
        ],
        authority,
    )
    return host.start()


@pytest.fixture(params=["admin", "nobody", "bad"])
def who(request, authority, other_authority):
    return {
        "admin": authority.client("admin"),
        "nobody": None,
        "bad": other_authority.client("admin"),
    }[request.param]


@pytest.mark.parametrize("number", range(len(PATHS)), ids=[path or "none" for path in PATHS])
def test_ours_the_upstream_hears_the_same(ours, upstream_heads, tls, who, number):
    heard = {}
    for how in ("literal", "named"):
        name = f"{how}{number}.test"
        heard[how] = {
            path: (
                ask(ours.port, path, tls=tls, host=name, client=who).status,
                [head.replace(name, "NAME") for head in upstream_heads.take()],
            )
            for path in REQUESTS
        }
    different = {path: (found, heard["literal"][path]) for path, found in heard["named"].items()}
    assert {path: pair for path, pair in different.items() if pair[0] != pair[1]} == {}
    assert 200 in [status for status, _heads in heard["named"].values()]


@pytest.mark.parametrize("number", range(len(PATHS)), ids=[path or "none" for path in PATHS])
def test_ours_the_upstream_hears_what_is_no_uri_as_one(ours, authority, upstream_heads, tls, number):
    heard = {}
    for how in ("literal", "named"):
        upstream_heads.take()
        for path in ODD:
            ask(ours.port, path, tls=tls, host=f"{how}{number}.test", client=authority.client("admin"))
        targets = [head.split("\r\n")[0].rpartition(" ")[0] for head in upstream_heads.take()]
        heard[how] = [urllib.parse.unquote(target, "latin-1") for target in targets]
    assert heard["named"] == heard["literal"]


@pytest.mark.parametrize("number", range(len(PATHS)), ids=[path or "none" for path in PATHS])
@pytest.mark.parametrize("path", ["/x", "/exact", "/open/x"])
def test_ours_redirects_of_the_upstream_lead_back_to_the_service(
    ours, authority, other_authority, upstream_heads, tls, number, path
):
    """Also those that a client reads whose certificate does not count, at a public path."""
    clients = [authority.client("admin"), other_authority.client("admin")][: 1 if path == "/x" else 2]
    for target, client in itertools.product(
        ("/app/y", "/y", "/exact", "/app/exact", "/open/z", "/app/open/z", ""), clients
    ):
        found = {}
        for how, url in (("literal", upstream_heads.url), ("named", by_name(upstream_heads.url))):
            name = f"{how}{number}.test"
            to = f"X-Elsewhere: {url}{target}\r\n"
            answer = ask(ours.port, path, tls=tls, host=name, client=client, headers=to)
            assert answer.status == 302
            location = re.search(r"Location: (\S+)", answer.head)[1]
            found[how] = location.replace(url, "UPSTREAM").replace(name, "NAME")
        assert found["named"] == found["literal"]


def test_ours_nginx_starts_and_is_reloaded_while_nobody_knows_the_name(
    new_host, authority, upstream, upstream_heads, name_server, tls
):
    host = new_host()
    admin = authority.client("admin")
    host.name_servers = [name_server.address]
    host.names = {"gone.test": "gone.test"}
    gone = upstream.url.replace("127.0.0.1", "gone.test")
    host.ours([service("nas", gone), service("files", upstream.url)], authority)
    host.start()
    host.reload()
    assert ask(host.port, "/", tls=tls, client=admin, host="files.test").status == 200
    assert ask(host.port, "/", tls=tls, client=admin).status == 502
    assert ask(host.port, "/", tls=tls).status == 400
    assert "gone.test" in name_server.asked
    name_server.known.add("gone.test")
    assert ask(host.port, "/", tls=tls, client=admin).status == 200
    assert len(upstream_heads.take()) == 2


def test_ours_a_search_domain_counts(new_host, authority, upstream, upstream_heads, name_server, tls):
    host = new_host()
    host.name_servers, host.names = [name_server.address], {"backend": "backend.test"}
    host.ours([service("nas", upstream.url.replace("127.0.0.1", "backend"))], authority)
    host.start()
    assert ask(host.port, "/", tls=tls, client=authority.client("admin")).status == 200
    assert set(name_server.asked) == {"backend.test"}


def test_ours_the_hosts_own_resolver_is_asked(new_host, authority, upstream, upstream_heads, name_server, tls):
    host = new_host()
    host.name_servers, host.names = ["192.0.2.1"], {"backend.test": "backend.test"}
    http = f"ssl_protocols TLSv1.2 TLSv1.3; resolver {name_server.address};"
    host.ours([service("nas", by_name(upstream.url))], authority, http=http)
    host.start()
    assert ask(host.port, "/", tls=tls, client=authority.client("admin")).status == 200
    assert name_server.asked


def test_ours_what_the_host_knows_in_another_way_stays(new_host, authority, upstream, upstream_heads, name_server, tls):
    host = new_host()
    host.name_servers, host.names = [name_server.address], {"localhost": None}
    host.ours([service("nas", upstream.url.replace("127.0.0.1", "localhost"))], authority)
    host.start()
    assert ask(host.port, "/", tls=tls, client=authority.client("admin")).status == 200
    assert name_server.asked == []


def test_ours_a_redirect_that_answers_a_preflight_leads_back_too(
    new_host, authority, upstream, upstream_heads, name_server, tls
):
    host = new_host()
    host.name_servers, host.names = [name_server.address], {"backend.test": "backend.test"}
    urls = {"nas": by_name(upstream.url), "files": upstream.url}
    host.ours([service(name, f"{url}/app", cors_preflight=True) for name, url in urls.items()], authority)
    host.start()
    asked = "Origin: https://photos.test\r\nAccess-Control-Request-Method: PUT\r\n"
    for name, url in urls.items():
        upstream_heads.elsewhere = f"{url}/app/y"
        answer = ask(host.port, "/x", tls=tls, host=f"{name}.test", method="OPTIONS", headers=asked)
        assert answer.status == 302
        assert re.findall(r"Location: (\S+)", answer.head) == [f"https://{name}.test:{host.port}/y"]


@pytest.mark.parametrize("own", [False, True], ids=["ours", "the host's own"])
def test_ours_who_answers_challenges_may_have_a_name(
    new_host, authority, upstream, upstream_heads, name_server, address, own
):
    """Whether the host says in its http block which name servers it asks, or leaves it to us."""
    host = new_host()
    authority.client("admin")
    host.name_servers, host.names = [name_server.address], {"backend.test": "backend.test"}
    acme = {"listen": f"{address}:443", "redirect_http": True, "acme_upstream": by_name(upstream.url)}
    http = USUAL_HTTP + (f"resolver {name_server.address};" if own else "")
    neighbours = {"z": "server { listen 127.0.0.1:@PORT@; }"}
    host.ours([service("nas", upstream.url, **acme)], authority, http=http, neighbours=neighbours)
    host.start()
    path = "/.well-known/acme-challenge/token"
    assert ask_plainly(80, path, address=address).status == 200
    assert set(name_server.asked) == {"backend.test"}
    assert len(upstream_heads.take()) == 1
    upstream_heads.elsewhere = f"{by_name(upstream.url)}/y"
    answer = ask_plainly(80, path, address=address)
    assert (answer.status, re.findall(r"Location: (\S+)", answer.head)) == (302, ["http://nas.test/y"])


def test_ours_an_upstream_with_a_name_is_verified_by_it(new_host, authority, other_authority, name_server):
    """Where nginx asks for the name at each request as well: without another name it is the one in the upstream."""
    backends = [TlsUpstream(other_authority.server(name)) for name in ("backend.test", "other.test")]
    try:
        for backend, status in zip(backends, (200, 502), strict=True):
            host = new_host()
            host.name_servers, host.names = [name_server.address], {"backend.test": "backend.test"}
            tls = {"verify": True, "ca": "ca.crt", "name": None, "client": None}
            authority.client("admin")
            one = service("nas", f"https://backend.test:{backend.port}/app", upstream_tls=tls)
            host.ours([one], authority, upstream_cas={"nas": other_authority.chain})
            host.start()
            assert ask(host.port, "/x", tls="TLSv1.3", client=authority.client("admin")).status == status
        assert set(name_server.asked) == {"backend.test"}
        assert [(visit.sni, path_of(visit.head)) for visit in backends[0].take()] == [("backend.test", "/app/x")]
        assert backends[1].take() == []
    finally:
        for backend in backends:
            backend.stop()
