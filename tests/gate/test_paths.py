# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every path of a service is gated, and exactly the public ones are not, as the upstream reads paths too."""

from __future__ import annotations

import re
import unicodedata
import urllib.parse

import pytest

from .client import ask
from .upstream import path_of

# The tutorials' place for the check is the location that they begin with. It covers that one location.
USUAL = """
map $ssl_client_s_dn $allowed {
    default 0;
    "CN=admin" 1;
}
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client optional;
    root @FOLDER@/www;
    location / {
        if ($allowed = 0) { return 403; }
    }
    location /api/ { }
    location ~ \\.php$ { default_type text/plain; }
    location = /exact { }
}
"""
# And a public path beside it, handed on as it came in: what nginx takes for /open/..., the upstream may not.
USUAL_PUBLIC = """
map $request_uri $public {
    default 0;
    ~^/open/ 1;
}
map "$public:$ssl_client_verify" $enter {
    default 0;
    ~^1: 1;
    "0:SUCCESS" 1;
}
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client optional;
    if ($enter = 0) { return 403; }
    location / { proxy_pass @UPSTREAM@; }
}
"""

# /open/ opens everything below it, /exact itself.
OPEN = [
    "/open/",
    "/open/page",
    "/open/page?x=/../..;%2e//",
    "/open/a%20b",
    "/open/%C3%A9",
    "/open/.well-known/x",
    "/open/x.y/z..w",
    "/%6fpen/page",
    "/exact",
    "/exact?x",
    "/e%78act",
]
GATED = [
    "/",
    "/secret",
    "/x/y",
    "/api/secret",
    "/page.php",
    "/open",
    "/OPEN/page",
    "/openx/",
    "/exactly",
    "/exact/",
    "/Exact",
    "/exact%0a",
    "/exact%00",
    "/exact/../secret",
    "/exact;/../secret",
    "/./open/../secret",
    "/open/../secret",
    "/open/..",
    "/open/.",
    "/open/./page",
    "/open/deeper/../page",
    "/open/deeper/../../secret",
    "/open//../secret",
    "/open//page",
    "//open/page",
    "/open///../secret",
    "/open/%2e%2e/secret",
    "/open/%2E./secret",
    "/open/.%2e/secret",
    "/open/..%2fsecret",
    "/open/..%2Fsecret",
    "/open/x%2f..%2f..%2fsecret",
    "/open/%2e%2e%2fsecret",
    "/open/..%5csecret",
    "/open/..\\secret",
    "/open\\..\\secret",
    "/open/..;/secret",
    "/open/..;x=y/secret",
    "/open/..%3b/secret",
    "/open/..%3Bx/secret",
    "/open/%3b/../secret",
    "/open/;/../../secret",
    "/open/..%20/secret",
    "/open/..%09/secret",
    "/open/.%09./secret",
    "/open/..%0d%0a/secret",
    "/open/..%01/secret",
    "/open/..%7f/secret",
    "/open/..%23/secret",
    "/open/..%3f/secret",
    "/open/..#/secret",
    "/open/#/../../secret",
    "/open/.../secret",
    "/open/%252e%252e/secret",
    "/open/..%252fsecret",
    "/open/..%c0%afsecret",
    "/open/%c0%ae%c0%ae/secret",
    "/open/%e0%80%ae%e0%80%ae/secret",
    "/open/..%ef%bc%8fsecret",
    "/open/%ef%bc%8e%ef%bc%8e/secret",
    "/open/%e2%80%a5/secret",
    "/open/%e2%80%a4%e2%80%a4/secret",
    "/open/\xe2\x80\xa5/secret",
    "/open/%u002e%u002e/secret",
    "/open/..%00/secret",
    "/open/%00/../secret",
    "/open/..%e2%80%8b/secret",
    "/..;/open/page",
    "/secret?/open/",
    "/secret#/open/",
    "/secret;/open/",
    "/secret%3f/open/",
    "/secret%23/open/",
    "/secret/../open/../secret",
    "/secret%2f..%2fopen/page",
]

LENIENT = {
    "two decodings": lambda path: urllib.parse.unquote_to_bytes(urllib.parse.unquote_to_bytes(path)),
    "path parameters cut off": lambda path: re.sub(rb";[^/]*", b"", urllib.parse.unquote_to_bytes(path)),
    "backslashes as slashes": lambda path: urllib.parse.unquote_to_bytes(path).replace(b"\\", b"/"),
    "control characters dropped": lambda path: re.sub(rb"[\x00-\x20\x7f]", b"", urllib.parse.unquote_to_bytes(path)),
    "cut at #": lambda path: urllib.parse.unquote_to_bytes(path).partition(b"#")[0],
    "cut at NUL": lambda path: urllib.parse.unquote_to_bytes(path).partition(b"\x00")[0],
    "overlong UTF-8": lambda path: re.sub(
        rb"\xc0([\x80-\xbf])|\xe0\x80([\x80-\xbf])",
        lambda found: bytes([(found[1] or found[2])[0] & 0x3F]),
        urllib.parse.unquote_to_bytes(path),
    ),
    "compatibility characters": lambda path: unicodedata.normalize("NFKC", urllib.parse.unquote(path)).encode(),
}


def readings(path: str) -> dict[str, str]:
    """What upstreams of different upbringing make of a path: a file below the root, dots resolved."""
    found = {}
    for name, decode in LENIENT.items():
        parts: list[bytes] = []
        for part in decode(path).split(b"/"):
            if part.rstrip(b". ") == b"" and part.startswith(b".."):
                parts = parts[:-1]
            elif part not in (b"", b"."):
                parts.append(part)
        found[name] = "/" + b"/".join(parts).decode("latin-1")
    return found


def is_public(read: str) -> bool:
    return read in ("/open", "/exact") or read.startswith("/open/")


@pytest.fixture(scope="module")
def ours(module_host, authority, upstream):
    host = module_host()
    authority.client("admin")
    authority.client("guest")
    common = {"allow": ["admin"], "public_paths": ["/open/", "/exact"]}
    host.ours(
        [
            {"name": "nas", "server_names": ["nas.test"], "upstream": upstream.url, **common},
            {"name": "prefixed", "server_names": ["prefixed.test"], "upstream": f"{upstream.url}/app/", **common},
            {"name": "files", "server_names": ["files.test"], "root": f"{host.folder}/www", **common},
            {"name": "closed", "server_names": ["closed.test"], "upstream": upstream.url, "allow": ["admin"]},
            {"name": "closed-files", "server_names": ["closed-files.test"], "root": f"{host.folder}/www"},
        ],
        authority,
    )
    return host.start()


def test_usual_other_locations_are_not_gated(new_host, authority, tls):
    host = new_host()
    host.by_hand(USUAL, authority=authority)
    host.start()
    paths = ["/", "/secret", "/api/secret", "/page.php", "/exact"]
    assert [ask(host.port, path, tls=tls).let_in for path in paths] == [False, False, True, True, True]


def test_usual_a_public_path_leads_out_of_itself(new_host, authority, upstream_heads, tls):
    host = new_host()
    host.by_hand(USUAL_PUBLIC, authority=authority)
    host.start()
    for path in ("/open/../secret", "/open/..;/secret", "/open/%2e%2e/secret"):
        assert ask(host.port, path, tls=tls).let_in
    received = [path_of(head) for head in upstream_heads.take()]
    assert all("/secret" in readings(path).values() for path in received)


@pytest.mark.parametrize("name", ["closed.test", "closed-files.test"])
def test_ours_every_path_is_gated(ours, authority, upstream_heads, tls, name):
    guest = authority.client("guest") if name == "closed.test" else None
    answers = {path: ask(ours.port, path, tls=tls, host=name) for path in OPEN + GATED}
    refused = {path: ask(ours.port, path, tls=tls, host=name, client=guest) for path in OPEN + GATED}
    assert {path for path, answer in answers.items() if answer.status not in (400, 403)} == set()
    assert {path for path, answer in refused.items() if answer.status not in (400, 403)} == set()
    assert upstream_heads.take() == []


@pytest.mark.parametrize("name", ["nas.test", "files.test"])
@pytest.mark.parametrize("who", ["nobody", "guest"])
def test_ours_exactly_the_public_paths_are_public(ours, authority, upstream_heads, tls, name, who):
    client = None if who == "nobody" else authority.client("guest")
    answers = {path: ask(ours.port, path, tls=tls, host=name, client=client) for path in OPEN + GATED}
    opened = {path: answer.status not in (400, 403) for path, answer in answers.items()}
    assert [path for path in GATED if opened[path]] == []
    assert [path for path in OPEN if not opened[path]] == []


@pytest.mark.parametrize("name", ["nas.test", "prefixed.test"])
def test_ours_no_upstream_reads_another_path(ours, upstream_heads, tls, name):
    """Whatever gets through without a certificate is public in the eyes of every upstream."""
    for path in OPEN + GATED:
        ask(ours.port, path, tls=tls, host=name)
    received = [path_of(head) for head in upstream_heads.take()]
    if name == "prefixed.test":
        assert all(path.startswith("/app/") for path in received)
        received = [path.removeprefix("/app") for path in received]
    assert len(received) >= len(OPEN)
    escaped = {
        path: {how: read for how, read in readings(path).items() if not is_public(read)}
        for path in received
        if not all(map(is_public, readings(path).values()))
    }
    assert escaped == {}


def test_ours_an_allowed_client_reaches_every_path_as_it_wrote_it(ours, authority, upstream_heads, tls):
    """Behind the gate, nginx is not in the way of upstreams with paths of their own taste."""
    for path in ("/x/y", "/a%2fb", "/a;v=1/b", "/page.php?x=1"):
        assert ask(ours.port, path, tls=tls, client=authority.client("admin")).let_in
    assert [head.split()[1] for head in upstream_heads.take()] == ["/x/y", "/a%2fb", "/a;v=1/b", "/page.php?x=1"]


def test_ours_an_upstream_below_a_path(new_host, authority, upstream, upstream_heads, tls):
    host = new_host()
    services = [{"name": "nas", "server_names": ["nas.test"], "upstream": f"{upstream.url}/app"}]
    host.ours(services, authority)
    host.start()
    for path in ("/x", "/", "/../x"):
        ask(host.port, path, tls=tls, client=authority.client("admin"))
    assert [path_of(head) for head in upstream_heads.take()] == ["/app/x", "/app/"]
