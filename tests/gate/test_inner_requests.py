# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that nginx makes of a request: `auth_request`, `mirror`, `try_files`, `error_page`, `X-Accel-Redirect`, SSI.

In a server block of the host's own, with a snippet, they are covered by the verdict on the request that somebody made.
In a block of ours each one is judged as if it were made from outside.
"""

from __future__ import annotations

import pytest

from . import pki
from .client import ask, context
from .upstream import path_of

BLOCK = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    include snippets/mtls-nas.conf;
    root www;
    error_page 403 496 %(refused)s;

    location = /inner/auth { proxy_pass @UPSTREAM@; }
    location = /inner/copy { internal; proxy_pass @UPSTREAM@; }
    location /inner/ { }
    location /open/auth/ { auth_request /inner/auth; alias www/open/; }
    location /open/mirror/ { mirror /inner/copy; alias www/open/; }
    location /open/try/ { try_files $uri-none /inner/page; }
    location /open/error/ { error_page 404 /inner/page; }
    location /open/ssi/ { ssi on; default_type text/html; alias www/ssi/; }
    location /open/accel/ { proxy_pass http://127.0.0.1:@PLAIN@; }
    location /list/auth/ { auth_request /inner/auth; alias www/open/; }
    location /list/mirror/ { mirror /inner/copy; alias www/open/; }
    location /list/try/ { try_files $uri-none /inner/page; }
    location /list/error/ { error_page 404 /inner/page; }
    location /list/ssi/ { ssi on; default_type text/html; alias www/ssi/; }
    location /list/accel/ { proxy_pass http://127.0.0.1:@PLAIN@; }
    location / { try_files $uri /inner/page; }
}
server {
    listen 127.0.0.1:@PLAIN@;
    location / { add_header X-Accel-Redirect /inner/page; return 200; }
}
"""
SERVICE = {
    "name": "nas",
    "server_names": ["nas.test"],
    "snippet": True,
    "allow": ["admin"],
    "public_paths": ["/open/"],
    "paths": [{"path": "/list/", "allow": ["kid"]}, {"path": "/inner/", "allow": ["admin"]}],
}
KINDS = ("auth", "mirror", "try", "error", "ssi", "accel")


@pytest.fixture(scope="module")
def people(authority):
    return {"nobody": None, **{name: authority.client(name) for name in ("admin", "kid", "guest")}}


@pytest.fixture(scope="module")
def host(module_host, authority, people):
    made = module_host()
    (made.folder / "www" / "inner").mkdir()
    (made.folder / "www" / "inner" / "page").write_text("INNER PAGE")
    (made.folder / "www" / "open" / "need.html").write_text("A CERTIFICATE IS NEEDED")
    (made.folder / "www" / "ssi").mkdir()
    (made.folder / "www" / "ssi" / "page").write_text('<!--# include virtual="/inner/page" -->')
    made.ours([SERVICE], authority, neighbours={"site": BLOCK % {"refused": "/open/need.html"}})
    return made.start()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("who", ["nobody", "admin", "kid", "guest"])
def test_the_verdict_on_the_request_covers_what_it_leads_to(host, people, upstream_heads, tls, kind, who):
    """A public path for everybody, and a listed one for those on its list only, whatever the lists of the inner one."""
    for place, let_in in (("open", True), ("list", who == "kid")):
        answer = ask(host.port, f"/{place}/{kind}/page", tls=tls, client=people[who])
        reached = [path_of(head) for head in upstream_heads.take()]
        if not let_in:
            assert answer.status == (400 if who == "nobody" else 403)
            assert reached == []
            continue
        assert answer.status == (404 if kind == "error" else 200)
        if kind in ("auth", "mirror"):
            assert answer.body == b"CONTENT OF open/page"
            assert reached == [f"/inner/{'auth' if kind == 'auth' else 'copy'}"]
        else:  # what is included comes in chunks
            assert b"INNER PAGE" in answer.body


@pytest.mark.parametrize("who", ["nobody", "kid", "guest"])
def test_what_is_inside_is_not_open_from_outside(host, people, upstream_heads, tls, who):
    status = 400 if who == "nobody" else 403
    for path in ("/inner/auth", "/inner/page", "/none"):
        answer = ask(host.port, path, tls=tls, client=people[who])
        # Who is refused reads the page that error_page names, which is public and judged for itself.
        assert (answer.status, answer.body) == (status, b"A CERTIFICATE IS NEEDED")
    for path in ("/open/../inner/page", "/open/%2e%2e/inner/page", "//inner/page", "/open/try/..;/inner/page"):
        answer = ask(host.port, path, tls=tls, client=people[who])
        assert (answer.status, b"INNER" in answer.body) == (status, False)
    assert upstream_heads.take() == []


def test_each_request_of_a_connection_has_a_verdict_of_its_own(host, tls):
    """The one before was let in and led inside."""
    import socket

    with (
        socket.create_connection(("127.0.0.1", host.port), timeout=10) as raw,
        context(tls, None).wrap_socket(raw, server_hostname="nas.test") as connection,
    ):
        statuses = []
        for path in ("/open/try/page", "/inner/page", "/open/accel/page", "/list/auth/page"):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: nas.test\r\n\r\n".encode())
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            head, _blank, body = received.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(65536)
            statuses.append(int(head.split()[1]))
            if b"connection: close" in head.lower():
                break
    assert statuses[:2] == [200, 400]
    assert statuses == [200, 400] or statuses == [200, 400, 200, 400]


def test_an_error_page_that_is_not_open_stays_closed(new_host, authority, people, tls):
    """Who is refused does not get in by being refused, and reads for what he was. With and without public paths."""
    for service in (SERVICE, {**SERVICE, "public_paths": []}):
        made = new_host()
        (made.folder / "www" / "inner").mkdir()
        (made.folder / "www" / "inner" / "page").write_text("INNER PAGE")
        made.ours([service], authority, neighbours={"site": BLOCK % {"refused": "/inner/page"}})
        made.start()
        for who, status in (("nobody", 400), ("kid", 403), ("guest", 403)):
            answer = ask(made.port, "/x", tls=tls, client=people[who])
            assert (answer.status, b"INNER" in answer.body) == (status, False)
        # Nor does who comes with plain http, or sends nonsense: nginx refuses that before it judges.
        nonsense = "GET / HTTP/1.1\r\nHost: nas.test\r\nA b\r\n\r\n"
        assert b"INNER" not in ask(made.port, tls=tls, request=nonsense).body


def test_a_public_error_page_is_for_our_own_expired_clients_too(new_host, authority, people, tmp_path, tls):
    """nginx refuses them before it judges; the page that it then goes to is judged as one with a bad certificate."""
    made = new_host()
    (made.folder / "www" / "open" / "need.html").write_text("A CERTIFICATE IS NEEDED")
    page = "/open/need.html; error_page 495 /open/need.html"
    made.ours([SERVICE], authority, neighbours={"site": BLOCK % {"refused": page}})
    made.start()
    expired = pki.forged(tmp_path, people["admin"].certificate.subject, authority.issuer, begins=-2, ends=-1)
    for path in ("/x", "/inner/page", "/open/need.html"):
        answer = ask(made.port, path, tls=tls, client=expired)
        assert (answer.status, answer.body) == (400, b"A CERTIFICATE IS NEEDED")


ACCEL = "server { listen 127.0.0.1:@PLAIN@; location / { add_header X-Accel-Redirect $arg_to; return 200; } }"


def test_ours_judges_each_anew(new_host, authority, other_authority, people, tls):
    """An application behind a public path cannot send nginx for what is closed to the caller."""
    made = new_host()
    own = {key: value for key, value in SERVICE.items() if key != "snippet"} | {"cors_preflight": True}
    networks = ["127.0.0.2/32"] if made.build.has_geo else []
    service = {**own, "upstream": f"http://127.0.0.1:{made.plain_port}"}
    made.ours([service], authority, neighbours={"app": ACCEL}, exempt=networks)
    made.start()
    inner = "?to=/inner/page"
    assert ask(made.port, f"/open/x{inner}", tls=tls).status == 400
    assert ask(made.port, f"/open/x{inner}", tls=tls, client=other_authority.client("stranger")).status == 400
    assert ask(made.port, f"/list/x{inner}", tls=tls, client=people["kid"]).status == 403
    # A letter that programs take for another one, on the list's own path: whoever asks must be on every list.
    assert ask(made.port, "/list/x?to=/list/%E2%84%AA", tls=tls, client=people["kid"]).status == 403
    # From a network that needs no certificate, and before one is asked for.
    assert ask(made.port, f"/x{inner}", tls=tls, source="127.0.0.2").status == 400
    asked = "Origin: https://photos.test\r\nAccess-Control-Request-Method: PUT\r\n"
    assert ask(made.port, f"/x{inner}", tls=tls, method="OPTIONS", headers=asked).status == 400


def test_ours_judges_each_anew_where_everybody_needs_a_certificate(new_host, authority, people, tls):
    made = new_host()
    service = {key: SERVICE[key] for key in ("name", "server_names", "allow", "paths")}
    upstream = f"http://127.0.0.1:{made.plain_port}"
    made.ours([{**service, "upstream": upstream}], authority, neighbours={"app": ACCEL})
    made.start()
    assert ask(made.port, "/list/x", tls=tls, client=people["kid"]).let_in
    assert ask(made.port, "/list/x?to=/inner/page", tls=tls, client=people["kid"]).status == 403
