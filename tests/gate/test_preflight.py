# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CORS preflight comes without a certificate; nothing else passes for one."""

from __future__ import annotations

import pytest

from .client import ask, curl

# Any OPTIONS request, as the tutorials have it.
USUAL = """
map "$request_method:$ssl_client_verify" $enter { default 0; "~^OPTIONS:" 1; "~:SUCCESS$" 1; }
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client optional;
    if ($enter = 0) { return 403; }
    location / { proxy_pass @APP@; }
}
"""
PREFLIGHT = (
    "Origin: https://photos.test\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a\r\n"
)

# What no browser sends as a preflight (https://fetch.spec.whatwg.org/#cors-preflight-fetch).
NONE = {
    "another method": ("GET", "/api", PREFLIGHT, ""),
    "a method in lower case": ("options", "/api", PREFLIGHT, ""),
    "HEAD": ("HEAD", "/api", PREFLIGHT, ""),
    "no origin": ("OPTIONS", "/api", "Access-Control-Request-Method: PUT\r\n", ""),
    "no method asked for": ("OPTIONS", "/api", "Origin: https://photos.test\r\n", ""),
    "an empty method": ("OPTIONS", "/api", "Origin: https://photos.test\r\nAccess-Control-Request-Method:\r\n", ""),
    "an origin that is none": ("OPTIONS", "/api", PREFLIGHT.replace("https://photos.test", "photos"), ""),
    "an origin with a space": ("OPTIONS", "/api", PREFLIGHT.replace("photos.test", "photos.test PUT x://y"), ""),
    "a cookie": ("OPTIONS", "/api", PREFLIGHT + "Cookie: session=1\r\n", ""),
    "credentials": ("OPTIONS", "/api", PREFLIGHT + "Authorization: Basic eDp5\r\n", ""),
    "a body": ("OPTIONS", "/api", PREFLIGHT, "x=y"),
    "an empty body": ("OPTIONS", "/api", PREFLIGHT + "Content-Length: 0\r\n", ""),
    "chunks": ("OPTIONS", "/api", PREFLIGHT + "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "an upgrade": ("OPTIONS", "/api", PREFLIGHT + "Upgrade: websocket\r\n", ""),
    "GET in disguise": ("OPTIONS", "/api", PREFLIGHT + "X-HTTP-Method-Override: GET\r\n", ""),
    "GET in another disguise": ("OPTIONS", "/api", PREFLIGHT + "X-Method-Override: GET\r\n", ""),
    "GET in a third disguise": ("OPTIONS", "/api", PREFLIGHT + "X-HTTP-Method: GET\r\n", ""),
    "an odd path": ("OPTIONS", "/api/..;/x", PREFLIGHT, ""),
    "where the collection asks": ("GET", "/.mtls-nginx-gate", PREFLIGHT, ""),
}


@pytest.fixture(scope="module")
def ours(module_host, authority, running_app):
    host = module_host()
    authority.client("admin")
    common = {"upstream": running_app.url, "allow": ["admin"]}
    host.ours(
        [
            {"name": "nas", "server_names": ["nas.test"], "cors_preflight": True, **common},
            {"name": "closed", "server_names": ["closed.test"], **common},
        ],
        authority,
    )
    return host.start()


def test_usual_any_options_request_gets_in(new_host, authority, app, tls):
    host = new_host(APP=app.url)
    host.by_hand(USUAL, authority=authority)
    host.start()
    headers = "X-HTTP-Method-Override: DELETE\r\nCookie: session=1\r\n"
    assert ask(host.port, "/api", tls=tls, method="OPTIONS", headers=headers, body="x=y").let_in
    (seen,) = app.take()
    assert seen.headers["x-http-method-override"] == "DELETE"


def test_ours_a_preflight_gets_in(ours, app, tls):
    assert ask(ours.port, "/api?x=y", tls=tls, method="OPTIONS", headers=PREFLIGHT).let_in
    for origin in ("null", "http://localhost:3000", "chrome-extension://abcdefgh", "https://[2001:db8::1]:8443"):
        headers = PREFLIGHT.replace("https://photos.test", origin)
        assert ask(ours.port, "/api", tls=tls, method="OPTIONS", headers=headers).let_in
    seen = app.take()
    assert {(one.method, one.size, one.headers["x-ssl-client-verify"]) for one in seen} == {("OPTIONS", 0, "NONE")}
    assert seen[0].headers["access-control-request-method"] == "PUT"


@pytest.mark.parametrize("what", NONE)
def test_ours_nothing_else_does(ours, app, tls, what):
    method, path, headers, body = NONE[what]
    request = f"{method} {path} HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n{headers}"
    if body == "x=y":
        request += "Content-Length: 3\r\n"
    answer = ask(ours.port, tls=tls, request=f"{request}\r\n{body}")
    assert answer.status in (400, 405)
    assert app.take() == []


def test_ours_without_the_option_nor_does_a_preflight(ours, app, tls):
    answer = ask(ours.port, "/api", tls=tls, host="closed.test", method="OPTIONS", headers=PREFLIGHT)
    assert answer.status == 400
    assert app.take() == []


def test_ours_other_checks_count(ours, authority, app, tls):
    assert ask(ours.port, "/api", tls=tls, sni="closed.test", method="OPTIONS", headers=PREFLIGHT).status == 421
    answer = ask(ours.port, "/api", tls=tls, client=authority.client("guest"), method="OPTIONS", headers=PREFLIGHT)
    assert answer.status == 403
    assert app.take() == []
    assert curl(ours.port, "/api").status == 400
