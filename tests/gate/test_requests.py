# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that no browser makes: other methods and HTTP versions, several hosts on one connection, HTTP/2."""

from __future__ import annotations

import socket

import pytest

from . import http2
from .client import ask, ask_plainly, context

# The usual redirect for those who forget the s in https, with the page itself in the place of the redirect.
USUAL_PLAIN = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client on;
    root @FOLDER@/www;
    error_page 497 =200 /secret;
}
"""
# Two services, one port, one authority, an allow list each: checked in the location, as tutorials do, by method.
USUAL_METHODS = """
map $ssl_client_s_dn $allowed { default 0; "CN=admin" 1; }
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client on;
    set $refused "$request_method:$allowed";
    if ($refused = "GET:0") { return 403; }
    if ($refused = "POST:0") { return 403; }
    location / { proxy_pass @UPSTREAM@; }
}
"""

REQUESTS = {
    "HTTP/0.9": "GET /secret\r\n",
    "HTTP/1.0 without a host": "GET /secret HTTP/1.0\r\n\r\n",
    "HTTP/1.0": "GET /secret HTTP/1.0\r\nHost: nas.test\r\n\r\n",
    "HTTP/1.1 without a host": "GET /secret HTTP/1.1\r\nConnection: close\r\n\r\n",
    "an empty host": "GET /secret HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
    "two hosts": "GET /secret HTTP/1.1\r\nHost: files.test\r\nHost: nas.test\r\nConnection: close\r\n\r\n",
    "a folded host": "GET /secret HTTP/1.1\r\nHost: files.test,\r\n nas.test\r\nConnection: close\r\n\r\n",
    "a host with a user": "GET /secret HTTP/1.1\r\nHost: files.test@nas.test\r\nConnection: close\r\n\r\n",
    "a host with a port": "GET /secret HTTP/1.1\r\nHost: nas.test:443\r\nConnection: close\r\n\r\n",
    "a host with a dot at the end": "GET /secret HTTP/1.1\r\nHost: nas.test.\r\nConnection: close\r\n\r\n",
    "a host in upper case": "GET /secret HTTP/1.1\r\nHost: NAS.TEST\r\nConnection: close\r\n\r\n",
    "absolute": "GET https://nas.test/secret HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n\r\n",
    "absolute, another host": "GET https://nas.test/secret HTTP/1.1\r\nHost: files.test\r\nConnection: close\r\n\r\n",
    "absolute, of another scheme": "GET ftp://nas.test/secret HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n\r\n",
    **{
        method: f"{method} /secret HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n\r\n"
        for method in ("HEAD", "OPTIONS", "TRACE", "DELETE", "PROPFIND", "get", "ANYTHING")
    },
    "POST": "POST /secret HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
    "OPTIONS *": "OPTIONS * HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n\r\n",
    "CONNECT": "CONNECT nas.test:443 HTTP/1.1\r\nHost: nas.test:443\r\nConnection: close\r\n\r\n",
    "a range": "GET /secret HTTP/1.1\r\nHost: nas.test\r\nRange: bytes=0-3\r\nConnection: close\r\n\r\n",
    "a condition": "GET /secret HTTP/1.1\r\nHost: nas.test\r\nIf-None-Match: *\r\nConnection: close\r\n\r\n",
    "two in one": "GET /secret HTTP/1.1\r\nHost: nas.test\r\n\r\n"
    "GET /secret HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n\r\n",
    "one inside another": "GET /x HTTP/1.1\r\nHost: nas.test\r\nContent-Length: 50\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /secret HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n\r\n",
}


@pytest.fixture(scope="module")
def ours(module_host, authority, upstream):
    host = module_host()
    for name in ("admin", "guest"):
        authority.client(name)
    host.ours(
        [
            {"name": "nas", "server_names": ["nas.test"], "upstream": upstream.url, "allow": ["admin"]},
            {"name": "files", "server_names": ["files.test"], "root": f"{host.folder}/www", "allow": ["guest"]},
            {"name": "wild", "server_names": ["*.wild.test"], "upstream": upstream.url, "allow": ["guest"]},
        ],
        authority,
    )
    return host.start()


def test_usual_plain_http_is_answered_with_the_page(new_host, authority):
    host = new_host()
    host.by_hand(USUAL_PLAIN, authority=authority)
    host.start()
    assert b"CONTENT of secret".upper() in ask_plainly(host.port).body.upper()


def test_usual_another_method_is_not_asked_for(new_host, authority, upstream_heads, tls):
    host = new_host()
    host.by_hand(USUAL_METHODS, authority=authority)
    host.start()
    request = "HEAD /secret HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n\r\n"
    ask(host.port, tls=tls, client=authority.client("guest"), request=request)
    assert upstream_heads.take()


@pytest.mark.parametrize("sni", ["nas.test", "files.test", None])
def test_ours_no_odd_request_gets_through(ours, authority, upstream_heads, tls, sni):
    """Neither from nobody, nor from somebody who may enter the other service only."""
    leaks = {}
    for title, request in REQUESTS.items():
        for who in (None, "guest"):
            client = authority.client(who) if who else None
            answer = ask(ours.port, tls=tls, sni=sni, client=client, request=request)
            mine = who == "guest" and sni == "files.test"  # the answer of the service that guest may enter
            if upstream_heads.take() or (b"CONTENT" in answer.body and not mine):
                leaks[title, who] = answer
    assert leaks == {}


def test_ours_plain_http_gets_nothing(ours, upstream_heads):
    assert ask_plainly(ours.port, "/secret").status == 400
    assert upstream_heads.take() == []


def test_ours_each_request_of_a_connection_is_asked(ours, authority, upstream_heads, tls):
    """A connection that one service let in does not carry requests for another."""
    guest = authority.client("guest")
    requests = [("files.test", b"200"), ("nas.test", b"421")]
    with (
        socket.create_connection(("127.0.0.1", ours.port), timeout=10) as raw,
        context(tls, guest).wrap_socket(raw, server_hostname="files.test") as connection,
    ):
        for host, status in requests:
            connection.sendall(f"GET /secret HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert connection.recv(65536).split()[1] == status
    assert upstream_heads.take() == []


@pytest.mark.parametrize(
    ("authority_name", "host", "statuses"),
    [
        ("files.test", None, {200}),
        ("nas.test", None, {421}),
        ("x.wild.test", None, {421}),
        ("files.test", "nas.test", {400, 421}),
        ("nas.test", "files.test", {400, 421}),
        (None, "nas.test", {421}),
    ],
)
def test_ours_http2(ours, authority, upstream_heads, tls, authority_name, host, statuses):
    """Browsers reuse an HTTP/2 connection for every name in the server's certificate; the gate does not."""
    who = {"tls": tls, "sni": "files.test", "client": authority.client("guest")}
    assert http2.get(ours.port, "/secret", **who, authority=authority_name, host=host) in statuses
    assert upstream_heads.take() == []


def test_ours_http2_streams_are_asked_one_by_one(ours, authority, tls):
    for who, status in (("guest", 200), ("admin", 403), (None, 400)):
        names = {"sni": "files.test", "authority": "files.test"}
        client = authority.client(who) if who else None
        assert http2.get(ours.port, "/secret", tls=tls, client=client, **names) == status
