# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CORS preflight comes without a certificate; nothing else passes for one."""

from __future__ import annotations

import pytest

from . import http2
from .client import ask, curl
from .host import USUAL_HTTP

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
    "credentials for a proxy": ("OPTIONS", "/api", PREFLIGHT + "Proxy-Authorization: Basic eDp5\r\n", ""),
    "an API key": ("OPTIONS", "/api", PREFLIGHT + "X-Api-Key: x\r\n", ""),
    "an API key of another name": ("OPTIONS", "/api", PREFLIGHT + "Api-Key: x\r\n", ""),
    "a token": ("OPTIONS", "/api", PREFLIGHT + "X-Auth-Token: x\r\n", ""),
    "another token": ("OPTIONS", "/api", PREFLIGHT + "X-Access-Token: x\r\n", ""),
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
            {
                "name": "uploads",
                "server_names": ["uploads.test"],
                "cors_preflight": True,
                "request_buffering": False,
                "public_paths": ["/open/"],
                **common,
            },
            {"name": "plain", "server_names": ["plain.test"], "cors_preflight": True, **common},
            {
                "name": "below",
                "server_names": ["below.test"],
                "cors_preflight": True,
                **common,
                "upstream": f"{running_app.url}/app",
            },
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


def fields(text: str) -> dict[str, str]:
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in text.strip().split("\r\n"))}


def test_usual_a_body_comes_along_over_http2(new_host, authority, app, tls):
    host = new_host(APP=app.url)
    usual = USUAL.replace("$request_method:", "$request_method$http_content_length:")
    listen = "ssl" if host.build.version >= (1, 25, 1) else "ssl http2"
    directive = "http2 on;" if host.build.version >= (1, 25, 1) else ""
    host.by_hand(usual.replace("@PORT@ ssl;", f"@PORT@ {listen}; {directive}"), authority=authority)
    host.start()
    asked = {"tls": tls, "sni": "nas.test", "client": None, "authority": "nas.test", "method": "OPTIONS"}
    assert http2.get(host.port, "/api", headers=fields(PREFLIGHT), body=b"x=y", **asked) == 200
    assert [(one.method, one.size) for one in app.take()] == [("OPTIONS", 3)]


@pytest.mark.parametrize("name", ["nas.test", "uploads.test", "plain.test"])
def test_ours_no_body_is_handed_on(ours, app, tls, name):
    """Over HTTP/2 one may come without a word about its length: to the application it would be the next request."""
    asked = {"tls": tls, "sni": name, "client": None, "authority": name, "method": "OPTIONS"}
    for body in (b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n", b"", b"x=y", b"x" * 8000):
        assert http2.get(ours.port, "/api?x=y", headers=fields(PREFLIGHT), body=body, **asked) == 200
    seen = app.take()
    assert {(one.method, one.path, one.size) for one in seen} == {("OPTIONS", "/api?x=y", 0)}
    assert not [one for one in seen if "content-length" in one.headers or "transfer-encoding" in one.headers]


def test_ours_nothing_is_handed_on_but_what_a_preflight_says(ours, app, tls):
    """Whatever else an application may take for credentials, or for another request."""
    secret = "".join(f"{name}: SECRET\r\n" for name in ("X-My-Token", "X-Session", "Forwarded", "X-Forwarded-For"))
    polite = "Accept: */*\r\nUser-Agent: Test\r\nReferer: https://photos.test/\r\n"
    headers = PREFLIGHT + "Access-Control-Request-Private-Network: true\r\n" + polite
    assert ask(ours.port, "/api", tls=tls, method="OPTIONS", headers=headers + secret).let_in
    (seen,) = app.take()
    assert "SECRET" not in seen.headers.values()
    assert fields(headers).items() <= seen.headers.items()
    assert seen.headers["host"] == seen.headers["x-forwarded-host"] == "nas.test"
    assert seen.headers["x-forwarded-proto"] == "https"
    assert "connection" not in seen.headers  # it may be kept


def test_ours_below_a_path_of_the_upstream(ours, app, tls):
    assert ask(ours.port, "/a%20b?x=y", tls=tls, host="below.test", method="OPTIONS", headers=PREFLIGHT).let_in
    (seen,) = app.take()
    assert seen.path == "/app/a%20b?x=y"


def test_ours_an_allowed_clients_own_options_request_is_his(ours, authority, app, tls):
    """With a certificate it is a request like any other, with what belongs to it."""
    answer = ask(
        ours.port, "/api", tls=tls, client=authority.client("admin"), method="OPTIONS", headers=PREFLIGHT, body="x=y"
    )
    assert answer.let_in
    (seen,) = app.take()
    assert (seen.size, seen.headers["x-ssl-client-verify"]) == (3, "SUCCESS")


def test_ours_an_upstreams_own_418_is_its_own(ours, authority, app, tls):
    answer = ask(ours.port, "/status/418", tls=tls, client=authority.client("admin"))
    assert answer.status == 418
    assert ask(ours.port, "/status/418", tls=tls, method="OPTIONS", headers=PREFLIGHT).status == 418


@pytest.mark.parametrize("pages", [True, False])
def test_ours_an_answer_of_418_hands_nothing_on(new_host, authority, app, pages):
    """The status by which we hand preflights on, where the http block wants error pages for what upstreams answer."""
    host = new_host()
    host.error_pages = pages
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": app.url, "cors_preflight": True}
    host.ours([service], authority, http=USUAL_HTTP + "proxy_intercept_errors on; recursive_error_pages on;")
    host.start()
    admin = authority.client("admin")
    assert ask(host.port, "/status/418", tls="TLSv1.3", client=admin).status == (418 if pages else 403)
    assert ask(host.port, "/status/418", tls="TLSv1.3", method="OPTIONS", headers=PREFLIGHT).status == 418
    assert [seen.method for seen in app.take()] == ["GET", "OPTIONS"]


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
