# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What services need besides the gate: uploads, time, HSTS, port 80, several on one port. None of it opens anything."""

from __future__ import annotations

import contextlib
import queue
import re
import socket
import threading
import time

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe

from .client import ask, ask_plainly, context
from .host import USUAL_HTTP
from .websocket import echo

_MEBIBYTE = 1 << 20


@pytest.fixture
def admin(authority):
    return authority.client("admin")


def start(new_host, authority, app, *, http=USUAL_HTTP, neighbours=None, **options):
    host = new_host()
    authority.client("admin")
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": app.url, "allow": ["admin"], **options}
    host.ours([service], authority, http=http, neighbours=neighbours)
    return host.start()


def header(answer, name: str) -> list[str]:
    return re.findall(rf"(?im)^{name}: ([^\r]*)", answer.head)


# --- uploads and time


@pytest.mark.parametrize(("size", "status"), [(None, 413), ("1500k", 413), ("3m", 200), ("0", 200)])
def test_large_uploads(new_host, authority, admin, app, size, status):
    host = start(new_host, authority, app, max_body_size=size)
    body = "x" * (2 * _MEBIBYTE)
    assert ask(host.port, "/up", tls="TLSv1.3", client=admin, method="PUT", body=body).status == status
    assert [seen.size for seen in app.take()] == ([len(body)] if status == 200 else [])


def test_a_large_upload_of_somebody_else_goes_nowhere(new_host, authority, app, tls):
    host = start(new_host, authority, app, max_body_size="0", request_buffering=False, public_paths=["/open/"])
    assert ask(host.port, "/up", tls=tls, method="PUT", body="x" * 100_000).status == 400
    guest = authority.client("guest")
    assert ask(host.port, "/up", tls=tls, client=guest, method="PUT", body="x" * 100_000).status == 403
    assert app.take() == []


def test_uploads_that_are_not_kept_on_disk(new_host, authority, admin, app):
    """nginx says in its log where it keeps an upload, and here it keeps none."""
    for buffering in (None, False):
        host = start(new_host, authority, app, max_body_size="0", request_buffering=buffering)
        ask(host.port, "/up", tls="TLSv1.3", client=admin, method="PUT", body="x" * _MEBIBYTE)
        log = (host.folder / "log" / "mtls-nas.error.log").read_text()
        assert ("buffered to a temporary file" in log) == (buffering is None)
    assert [seen.size for seen in app.take()] == [_MEBIBYTE, _MEBIBYTE]


def test_time_for_silent_upstreams(new_host, authority, admin, app):
    """A second for everybody by the http block, and longer for this service: nginx ends the wait of the first only."""
    host = start(
        new_host, authority, app, http=USUAL_HTTP + "proxy_read_timeout 1s; proxy_send_timeout 1s;", read_timeout=30
    )
    assert echo(host.port, "/ws", tls="TLSv1.3", client=admin, wait=1.5) == b"hello"
    inherits = start(new_host, authority, app, http=USUAL_HTTP + "proxy_read_timeout 1s;")
    assert echo(inherits.port, "/ws", tls="TLSv1.3", client=admin, wait=1.5) is None


def test_time_for_upstreams_that_are_slow_to_read(new_host, authority, admin):
    """As above: nginx would end it after a second in which nothing of an upload can be sent."""
    slow = Reader(wait=1.5)
    try:
        short = USUAL_HTTP + "proxy_send_timeout 1s;"
        host = start(new_host, authority, slow, http=short, read_timeout=30, max_body_size="0")
        body = "x" * (8 * _MEBIBYTE)
        assert ask(host.port, "/up", tls="TLSv1.3", client=admin, method="PUT", body=body).status == 200
        assert slow.bodies.get(timeout=10) == body.encode()
    finally:
        slow.stop()


def test_half_a_header_is_not_waited_for_longer_than_old_connections(new_host, authority, admin, app, tls):
    """nginx's own minute would outlast a revocation: an old worker answers once the other half has come."""
    host = new_host()
    host.shutdown_timeout = 1
    host.ours([{"name": "nas", "server_names": ["nas.test"], "upstream": app.url, "allow": ["admin"]}], authority)
    host.start()
    with (
        socket.create_connection(("127.0.0.1", host.port), timeout=10) as raw,
        context(tls, admin).wrap_socket(raw, server_hostname="nas.test") as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: nas.test\r\n")
        assert connection.recv(1000) == b""
    assert app.take() == []


# --- what browsers are told


@pytest.mark.parametrize(
    ("hsts", "value"),
    [
        ({"max_age": 300}, "max-age=300"),
        ({"max_age": 0}, "max-age=0"),
        ({"max_age": 300, "include_subdomains": True}, "max-age=300; includeSubDomains"),
        (
            {"max_age": 31536000, "include_subdomains": True, "preload": True},
            "max-age=31536000; includeSubDomains; preload",
        ),
    ],
)
def test_hsts(new_host, authority, admin, app, hsts, value):
    """On every answer, once: the upstream's own goes."""
    host = start(new_host, authority, app, hsts=hsts, public_paths=["/open/"])
    asked = {"tls": "TLSv1.3"}
    answers = [
        ask(host.port, "/", client=admin, **asked),
        ask(host.port, "/status/404", client=admin, **asked),
        ask(host.port, "/open/x", **asked),
        ask(host.port, "/", **asked),
        ask(host.port, "/", sni="unknown.test", client=admin, **asked),
        ask(host.port, "/.mtls-nginx-gate", client=admin, **asked),
    ]
    assert [answer.status for answer in answers] == [200, 404, 200, 400, 421, 204]
    assert [header(answer, "Strict-Transport-Security") for answer in answers] == [[value]] * len(answers)


def test_without_hsts_the_upstream_has_its_say(new_host, authority, admin, app):
    host = start(new_host, authority, app)
    assert header(ask(host.port, tls="TLSv1.3", client=admin), "Strict-Transport-Security") == ["max-age=1"]


def test_nobody_is_sent_to_http3(new_host, authority, admin, app):
    host = start(new_host, authority, app, public_paths=["/open/"])
    for path in ("/", "/open/x", "/status/500"):
        assert header(ask(host.port, path, tls="TLSv1.3", client=admin), "Alt-Svc") == []


# --- port 80


def plain(new_host, authority, app, address, *services, http=USUAL_HTTP):
    host = new_host()
    authority.client("admin")
    common = {"upstream": app.url, "allow": ["admin"], "redirect_http": True}
    listens = [{"listen": f"{address}:443", **common, **service} for service in services]
    foreign = {"z-foreign": "server { listen 127.0.0.1:@PORT@; }"}
    host.ours(listens, authority, http=http, neighbours=foreign)
    return host.start()


def location(answer) -> tuple[int | None, list[str]]:
    return answer.status, header(answer, "Location")


def test_port_80_leads_to_the_service(new_host, authority, app, address):
    names = ["nas.test", "*.wild.test", "also.test"]
    plain(new_host, authority, app, address, {"name": "nas", "server_names": names})
    for host, expected in {
        "nas.test": "nas.test",
        "NAS.TEST": "nas.test",
        "also.test": "also.test",
        "a.b.wild.test": "a.b.wild.test",
        "evil.test": "nas.test",
        "wild.test": "nas.test",
    }.items():
        answer = ask_plainly(80, "/a%20b?c=d", host, address=address)
        assert location(answer) == (301, [f"https://{expected}/a%20b?c=d"]), host
    for path in ("//evil.test/", "/\\evil.test", "/.well-known/../secret", "/.mtls-nginx-gate"):
        status, (target,) = location(ask_plainly(80, path, address=address))
        assert status == 301
        assert target.startswith("https://nas.test/")
    assert app.take() == []


def test_port_80_leads_to_the_service_on_another_port(new_host, authority, app, address):
    host = new_host()
    authority.client("admin")
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": app.url, "redirect_http": True}
    host.ours(
        [{**service, "listen": f"{address}:8443"}], authority, neighbours={"z": "server { listen 127.0.0.1:@PORT@; }"}
    )
    host.start()
    assert location(ask_plainly(80, "/x", address=address)) == (301, ["https://nas.test:8443/x"])


def test_acme_challenges_from_a_folder(new_host, authority, app, address):
    host = new_host()
    challenges = host.folder / "www" / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token_1-x").write_text("token.key")
    authority.client("admin")
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": app.url, "redirect_http": True}
    service |= {"acme_root": f"{host.folder}/www", "listen": f"{address}:443", "allow": ["admin"]}
    pages = USUAL_HTTP + "default_type text/html;"
    host.ours([service], authority, http=pages, neighbours={"z": "server { listen 127.0.0.1:@PORT@; }"})
    host.start()
    path = "/.well-known/acme-challenge/token_1-x"
    answer = ask_plainly(80, path, address=address)
    assert (answer.status, answer.body, header(answer, "Content-Type")) == (200, b"token.key", ["text/plain"])
    assert ask_plainly(80, "/.well-known/acme-challenge/other", address=address).status == 404
    for path in ("/.well-known/acme-challenge/../../secret", "/.well-known/acme-challenge/..%2f..%2fsecret"):
        answer = ask_plainly(80, path, address=address)
        assert answer.status in (301, 404)
        assert b"CONTENT" not in answer.body
    assert ask(443, path, tls="TLSv1.3", address=address).status == 400
    assert app.take() == []


def test_acme_challenges_from_a_program(new_host, authority, app, address):
    common = {"server_names": ["nas.test"], "acme_upstream": app.url}
    plain(new_host, authority, app, address, {"name": "nas", **common})
    assert ask_plainly(80, "/.well-known/acme-challenge/token", address=address).status == 200
    assert ask_plainly(80, "/x", address=address).status == 301
    assert [(seen.path, seen.headers["host"]) for seen in app.take()] == [
        ("/.well-known/acme-challenge/token", "nas.test")
    ]


# Whoever may come on port 80 says what he likes.
NO_CHALLENGES = [
    *("POST /.well-known/acme-challenge/token", "PUT /.well-known/acme-challenge/token"),
    *("DELETE /.well-known/acme-challenge/token", "OPTIONS /.well-known/acme-challenge/token"),
    *("GET /.well-known/acme-challenge/", "GET /.well-known/acme-challenge/a/b", "GET /.well-known/acme-challenge/a.b"),
    *("GET /.well-known/acme-challenge/token?x=y", "GET /.well-known/acme-challenge/%74oken"),
    *("GET /.well-known/acme-challenge/token%0a", "GET /.well-known/acme-challenge//token"),
    *("GET /.well-known/acme-challenge/..%2f..%2fsecret", "GET /.well-known/acme-challenge/..;/secret"),
    *("GET /.well-known/acme-challenge/x/../token", "GET //.well-known/acme-challenge/token"),
]


def said(address: str, request: str, headers: str = "", body: str = "") -> int:
    with socket.create_connection((address, 80), timeout=10) as connection:
        head = f"{request} HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n{headers}"
        head += f"Content-Length: {len(body)}\r\n" if body else ""
        connection.sendall(f"{head}\r\n{body}".encode())
        return int(connection.makefile("rb").readline().split()[1])


def test_acme_upstreams_hear_of_challenges_only(new_host, authority, app, address):
    common = {"server_names": ["nas.test"], "acme_upstream": app.url}
    plain(new_host, authority, app, address, {"name": "nas", **common})
    assert {said(address, request, body="x=y" * request.startswith("P")) for request in NO_CHALLENGES} <= {
        301,
        404,
        405,
    }
    assert app.take() == []
    assert said(address, "HEAD /.well-known/acme-challenge/token_1-X") == 200
    assert [(one.method, one.path) for one in app.take()] == [("HEAD", "/.well-known/acme-challenge/token_1-X")]


def test_acme_upstreams_hear_nothing_of_the_callers(new_host, authority, app, address):
    """Neither forged headers nor a body."""
    common = {"server_names": ["nas.test"], "acme_upstream": app.url}
    odd = {"a-foreign": f"server {{ listen {address}:80; server_name x; underscores_in_headers on; }}"}
    host = new_host()
    authority.client("admin")
    service = {"name": "nas", "upstream": app.url, "allow": ["admin"], "redirect_http": True, **common}
    odd["z"] = "server { listen 127.0.0.1:@PORT@; }"
    host.ours([{"listen": f"{address}:443", **service}], authority, neighbours=odd)
    host.start()
    names = ["X-SSL-Client-Verify", "X-SSL-Client-DN", "X_SSL_CLIENT_DN", "Client-Cert", "X-Original-URL", "Cookie"]
    names += ["X-Forwarded-For", "X-Forwarded-Proto", "Authorization", "Expect-CT", "X-Anything"]
    headers = "".join(f"{name}: FORGED\r\n" for name in names)
    assert said(address, "GET /.well-known/acme-challenge/token", headers, "x=y") == 200
    (seen,) = app.take()
    assert (seen.size, {name: value for name, value in seen.headers.items() if name != "connection"}) == (
        0,
        {"host": "nas.test"},
    )


def test_acme_upstreams_get_no_body(new_host, authority, address):
    """Nor one of which no header tells, which they would take for another request."""
    program = Reader()
    try:
        plain(
            new_host,
            authority,
            program,
            address,
            {"name": "nas", "server_names": ["nas.test"], "acme_upstream": program.url},
        )
        assert said(address, "GET /.well-known/acme-challenge/token", body="GET /other HTTP/1.0\r\n\r\n") == 200
        assert program.bodies.get(timeout=10) == b""
    finally:
        program.stop()


def test_acme_challenges_without_either_fail_plainly(new_host, authority, app, address):
    """Also where the http block serves a directory."""
    host = plain(
        new_host, authority, app, address, {"name": "nas", "server_names": ["nas.test"]}, http=USUAL_HTTP + "root www;"
    )
    challenges = host.folder / "www" / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("token.key")
    assert ask_plainly(80, "/.well-known/acme-challenge/token", address=address).status == 404


def test_several_services_on_both_ports(new_host, authority, app, address, tls):
    services = [
        {"name": "nas", "server_names": ["nas.test"]},
        {"name": "files", "server_names": ["files.test"], "allow": []},
        {"name": "open", "server_names": ["open.test"], "public_paths": ["/open/"], "acme_upstream": app.url},
    ]
    plain(new_host, authority, app, address, *services)
    for name in ("nas.test", "files.test", "open.test"):
        assert location(ask_plainly(80, "/", name, address=address)) == (301, [f"https://{name}/"])
    statuses = {
        name: ask(443, "/", tls=tls, host=name, client=authority.clients["admin"], address=address).status
        for name in ("nas.test", "files.test", "open.test")
    }
    assert statuses == {"nas.test": 200, "files.test": 403, "open.test": 200}
    assert ask_plainly(80, "/.well-known/acme-challenge/x", "nas.test", address=address).status == 404
    assert ask_plainly(80, "/.well-known/acme-challenge/x", "open.test", address=address).status == 200


@pytest.mark.parametrize(("port", "said"), [(443, ""), (8443, ":8443")])
def test_a_host_over_http_1_0_is_told_as_links_have_it(new_host, authority, admin, app, address, port, said):
    host = new_host()
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": app.url, "listen": f"{address}:{port}"}
    host.ours([service], authority, neighbours={"z": "server { listen 127.0.0.1:@PORT@; }"})
    host.start()
    request = "GET https://nas.test/x HTTP/1.0\r\n\r\n"
    assert ask(port, tls="TLSv1.3", client=admin, address=address, request=request).let_in
    (seen,) = app.take()
    assert {seen.headers[name] for name in ("host", "x-forwarded-host")} == {f"nas.test{said}"}


# --- a snippet has what belongs to the gate

SNIPPED = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    include snippets/mtls-nas.conf;
    error_page 403 = @own;
    location @own { return 403 "OWN PAGE"; }
    location / { proxy_pass @APP@; }
}
"""


def test_a_snippet_with_lists_and_networks(new_host, authority, app, tls):
    host = new_host(APP=app.url)
    for name in ("admin", "kid", "guest"):
        authority.client(name)
    lost = authority.client("lost at a snippet")
    authority.revoke(lost)
    snippet = {
        "name": "nas",
        "server_names": ["nas.test"],
        "snippet": True,
        "allow": ["admin"],
        "paths": [{"path": "/photos/", "allow": ["admin", "kid"]}],
        "public_paths": ["/open/"],
        "cors_preflight": True,
    }
    networks = [] if not host.build.has_geo else ["127.0.0.2/32"]
    host.ours([snippet], authority, neighbours={"site": SNIPPED}, exempt=networks)
    host.start()

    def status(path, who=None, **asked):
        return ask(host.port, path, tls=tls, client=who and authority.clients[who], **asked).status

    assert [status("/", who) for who in ("admin", "kid", "guest", None)] == [200, 403, 403, 400]
    assert [status("/photos/", who) for who in ("admin", "kid", "guest", None)] == [200, 200, 403, 400]
    assert [status("/open/", who) for who in ("guest", None, "lost at a snippet")] == [200, 200, 400]
    assert [status(path, source="127.0.0.2") for path in ("/", "/photos/")] == [200 if networks else 400, 400]
    asked = "Origin: https://x.test\r\nAccess-Control-Request-Method: GET\r\n"
    assert status("/", method="OPTIONS", headers=asked) == 200
    assert ask(host.port, "/", tls=tls, client=authority.clients["guest"]).body == b"OWN PAGE"


def test_port_80_behind_a_proxy_that_speaks_the_proxy_protocol(geo, new_host, authority, app, address):
    """The same proxy on both ports: a challenge with its line in front is answered, one without is not."""
    host = new_host()
    challenges = host.folder / "www" / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("token.key")
    authority.client("admin")
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": app.url, "redirect_http": True}
    service |= {"acme_root": f"{host.folder}/www", "listen": f"{address}:443", "allow": ["admin"]}
    service |= {"proxy_protocol_from": ["127.0.0.4", "127.0.0.1"], "http_proxy_protocol": True}
    bans = USUAL_HTTP + "deny 192.0.2.66;"
    host.ours([service], authority, http=bans, neighbours={"z": "server { listen 127.0.0.1:@PORT@; }"})
    host.start()
    line = b"PROXY TCP4 192.0.2.77 192.0.2.1 4711 80\r\n"

    def answer(path: str, first: bytes = b"") -> bytes:
        with socket.create_connection((address, 80), timeout=10) as connection:
            connection.sendall(first + f"GET {path} HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n\r\n".encode())
            received = b""
            while chunk := connection.recv(4096):
                received += chunk
            return received

    assert answer("/.well-known/acme-challenge/token", line).endswith(b"token.key")
    # The host's own rules are about the caller, not about the proxy.
    assert b" 403 " in answer("/.well-known/acme-challenge/token", line.replace(b".77", b".66"))
    assert b"Location: https://nas.test/x\r\n" in answer("/x", line)
    assert b"301" not in answer("/x")
    target = probe.Target(address, 80, "nas.test", proxy_protocol=True, tls=False)
    assert probe.ask(target, probe.Attempt("somebody with http", probe.REDIRECTED, path="/")).ok
    assert app.take() == []


# --- where it listens, and where people think that it does


def test_several_addresses(new_host, authority, admin, app, address):
    """The gate at each of them, and a redirect from each one's port 80."""
    host = new_host()
    other = f"{address}:{host.port}"
    options = {"upstream": app.url, "allow": ["admin"], "redirect_http": True}
    listen = [f"127.0.0.1:{host.port}", other, f"{address}:443"]
    service = {"name": "nas", "server_names": ["nas.test"], "listen": listen, **options}
    neighbours = {"z": "server { listen 127.0.0.1:@PORT@; }"}
    host.ours([service], authority, neighbours=neighbours)
    # Not the port 80 of 127.0.0.1, which others may hold.
    block = host.folder / "conf.d" / "mtls-nas.conf"
    block.write_text(block.read_text().replace("listen 127.0.0.1:80;", ""))
    host.start()
    for where, port in (("127.0.0.1", host.port), (address, host.port), (address, 443)):
        for client, status in ((admin, 200), (None, 400), (authority.client("guest"), 403)):
            assert ask(port, "/", tls="TLSv1.3", client=client, address=where).status == status
    answer = ask_plainly(80, "/x", address=address)
    assert (answer.status, header(answer, "location")) == (301, [f"https://nas.test:{host.port}/x"])
    page = ask_plainly(443, "/", address=address, headers="Accept: text/html\r\n")
    assert '<a href="https://nas.test/">' in page.body.decode()


@pytest.mark.parametrize(("public_port", "shown"), [(443, ""), (8443, ":8443")])
def test_the_port_that_people_know(new_host, authority, admin, app, address, public_port, shown):
    """A router or Docker forwards it to where nginx listens."""
    host = new_host()
    (host.folder / "www" / "folder").mkdir()
    options = {"allow": ["admin"], "public_port": public_port, "listen": f"{address}:{host.port}"}
    services = [
        {"name": "nas", "server_names": ["nas.test"], "upstream": app.url, "redirect_http": True, **options},
        {"name": "files", "server_names": ["files.test"], "root": str(host.folder / "www"), **options},
    ]
    host.ours(services, authority, neighbours={"z": "server { listen 127.0.0.1:@PORT@; }"})
    host.start()
    assert header(ask_plainly(80, "/x", address=address), "location") == [f"https://nas.test{shown}/x"]
    # nginx's own redirect: the caller's address stays as it is.
    answer = ask(host.port, "/folder", tls="TLSv1.3", client=admin, address=address, host="files.test")
    assert (answer.status, header(answer, "location")) == (301, ["/folder/"])
    # Who came with http to that port gets a link to the same address, with https.
    said = {"headers": "Accept: text/html\r\n", "address": address}
    page = ask_plainly(host.port, "/", f"nas.test{shown or ':443'}", **said)
    assert page.status == 400
    assert f'<a href="https://nas.test{shown}/">' in page.body.decode()


def test_parts_of_an_answer_come_when_they_are_sent(new_host, authority, admin):
    """Server-sent events: by default they arrive in one lump, when the application is done or a buffer is full."""
    events = Events()
    try:
        arrived = {}
        for buffering in (None, False):
            options = {"response_buffering": buffering}
            host = start(new_host, authority, events, **options)
            with (
                socket.create_connection(("127.0.0.1", host.port), timeout=10) as raw,
                context("TLSv1.3", admin).wrap_socket(raw, server_hostname="nas.test") as connection,
            ):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n\r\n")
                connection.settimeout(0.5)
                received = b""
                try:
                    while b"data: one" not in received:
                        received += connection.recv(65536)
                except TimeoutError:
                    pass
                arrived[buffering] = b"data: one" in received
                events.go_on.set()
            events.go_on = threading.Event()
        assert arrived == {None: False, False: True}
    finally:
        events.stop()


class Application:
    """An application that serves one connection after the other; `serve` says how."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._socket.accept()
                with contextlib.suppress(OSError), connection:
                    self.serve(connection)

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Events(Application):
    """It sends an event, and the next one when `go_on` is set."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n")
        self.go_on.wait(10)
        connection.sendall(b"data: two\n\n")


class Reader(Application):
    """It waits before it reads a request, and keeps in `bodies` all that comes after its head."""

    def __init__(self, wait: float = 0) -> None:
        self.bodies: queue.Queue[bytes] = queue.Queue()
        self._wait = wait
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            time.sleep(self._wait)
            length = 0
            while line := stream.readline().strip():
                name, _colon, value = line.lower().partition(b":")
                length = int(value) if name == b"content-length" else length
            body = stream.read(length)
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.bodies.put(body + stream.read())  # until nginx closes
