# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host's own http block says is inherited by every server block. It must not open ours."""

from __future__ import annotations

import pytest

from .client import VERSIONS, ask, ask_plainly
from .host import USUAL_HTTP
from .nginxes import Build

# A hand-written server block relies on nginx's defaults for all that it does not mention.
USUAL = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client on;
    root @FOLDER@/www;
    if ($ssl_client_s_dn !~ "CN=admin") { return 403; }
}
"""
# The same with the pages for errors that many servers have.
USUAL_ACCESS = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client optional;
    root @FOLDER@/www;
    auth_basic "members";
    auth_basic_user_file own/empty;
}
"""

HTTP = {
    "nothing": "",
    "trust anchor": "ssl_trusted_certificate own/other.crt;",
    "any authority": "ssl_verify_client optional_no_ca;",
    "verification off": "ssl_verify_client off;",
    "another authority": "ssl_client_certificate own/other.crt; ssl_verify_client on; ssl_verify_depth 9;",
    "another authority's CRL": "ssl_client_certificate own/other.crt; ssl_crl own/other.pem;",
    "sessions kept": "ssl_session_cache shared:tls:1m; ssl_session_tickets on; ssl_session_timeout 1d;",
    "early data": "ssl_early_data on; ssl_session_cache shared:tls:1m;",
    "satisfy any": "satisfy any; allow all;",
    "error pages": "error_page 400 401 403 404 421 495 496 497 500 =200 /secret;",
    "error pages, recursive": "error_page 400 403 421 495 496 497 =200 /secret; recursive_error_pages on;",
    "error pages in place": "error_page 400 403 421 495 496 497 =200 /open/page;",
    "error page in a named location": "error_page 400 403 421 495 496 497 = @fallback;",
    "slashes as they are": "merge_slashes off;",
    "odd headers": "underscores_in_headers on; ignore_invalid_headers off;",
    "forged by the host itself": "proxy_set_header X-SSL-Client-Verify SUCCESS;",
    "server side includes": "ssi on; ssi_types *;",
    "mirrored": "mirror /secret;",
    "appended": "add_after_body /secret; addition_types *;",
    "types and listings": "autoindex on; default_type text/html;",
    "a cache": "proxy_cache_path @FOLDER@/cache keys_zone=pages:1m; proxy_cache pages; proxy_cache_valid any 1h;"
    " proxy_cache_key all; proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;",
    "a root of its own": "root @FOLDER@/www; index secret;",
    "protocols of yesterday": "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;",
    "one protocol": "ssl_protocols TLSv1.3;",
    "an older protocol for upstreams": "proxy_http_version 1.0;",
    "many requests a connection": "keepalive_requests 100000; keepalive_timeout 1h;",
}
CONF_COMMANDS = {
    "tickets by way of OpenSSL": "ssl_conf_command Options SessionTicket; ssl_session_ticket_key own/ticket.key;",
    "trust anchors by way of OpenSSL": "ssl_conf_command VerifyCAFile @FOLDER@/own/other.crt;",
}
SINCE = {"ssl_conf_command": (1, 19, 4)}
LACKING = {"add_after_body": ("bullseye", "mainline")}  # built without that module


@pytest.fixture
def ours(new_host, authority, other_authority, upstream):
    """Starts our configuration below one of the http blocks above."""

    def start(said: str):
        host = new_host()
        host.write("own/other.crt", other_authority.chain)
        host.write("own/other.pem", other_authority.crl)
        host.write("own/ticket.key", "0123456789abcdef" * 3)
        (host.folder / "www" / "open" / "page").write_text('OPEN PAGE <!--#include virtual="/secret" -->')
        people = {"admin": authority.client("admin"), "guest": authority.client("guest")}
        common = {"allow": ["admin"]}
        services = [
            {"name": "files", "server_names": ["files.test"], "root": f"{host.folder}/www", **common},
            {"name": "nas", "server_names": ["nas.test"], "upstream": upstream.url, **common},
            {
                "name": "half",
                "server_names": ["half.test"],
                "root": f"{host.folder}/www",
                "public_paths": ["/open/"],
                **common,
            },
            {
                "name": "proxied",
                "server_names": ["proxied.test"],
                "upstream": upstream.url,
                "public_paths": ["/open/"],
                **common,
            },
            {"name": "direct", "server_names": ["127.0.0.1"], "root": f"{host.folder}/www", **common},
        ]
        usual = "\n".join(line for line in USUAL_HTTP.splitlines() if line.split()[0] not in said)
        host.http, host.services = f"{usual}\n{said}", services
        host.ours(services, authority, http=host.http)
        host.start()
        return host, people

    return start


def supported(build: Build, said: str) -> bool:
    new = any(directive in said and build.version < version for directive, version in SINCE.items())
    return not new and not any(directive in said and build.name in names for directive, names in LACKING.items())


@pytest.mark.parametrize("said", HTTP | CONF_COMMANDS)
def test_ours_stays_shut(ours, build, authority, other_authority, upstream_heads, said):
    """Nobody, another authority's client, a guest and a revoked client get nothing but the public path."""
    text = (HTTP | CONF_COMMANDS)[said]
    if not supported(build, text):
        pytest.skip(f"{build} does not know {text.split()[0]}")
    host, people = ours(text)
    lost = authority.client(f"lost by {said} {build.name}")
    sessions = {
        (tls, name): ask(host.port, tls=tls, client=people["admin"], host=name, path="/secret").session
        for tls in VERSIONS
        for name in ("files.test", "nas.test", "proxied.test")
    }
    lost_sessions = {tls: ask(host.port, tls=tls, client=lost, host="files.test").session for tls in VERSIONS}
    authority.revoke(lost)
    host.ours(host.services, authority, http=host.http)
    host.reload()
    upstream_heads.take()
    outsiders = {"nobody": None, "foreigner": other_authority.client("admin"), "guest": people["guest"], "lost": lost}
    leaks = []
    for tls in VERSIONS:
        for who, client in outsiders.items():
            for name in ("files.test", "nas.test", "half.test", "proxied.test", "127.0.0.1"):
                for path in ("/secret", "/open/page") if name in ("half.test", "proxied.test") else ("/secret",):
                    sni = None if name == "127.0.0.1" else name
                    session = lost_sessions[tls] if who == "lost" else None
                    answer = ask(host.port, path, tls=tls, client=client, host=name, sni=sni, session=session)
                    if b"CONTENT of secret".upper() in answer.body.upper():
                        leaks.append((tls, who, name, path))
                    if b"UPSTREAM" in answer.body and b"GET /open/" not in answer.body:
                        leaks.append((tls, who, name, path, "upstream"))
    if b"CONTENT" in ask_plainly(host.port, "/secret").body:
        leaks.append("without TLS")
    if b"CONTENT" in ask_plainly(host.port, "/secret", host="127.0.0.1").body:
        leaks.append("without TLS, by address")
    assert leaks == []
    assert not [head for head in upstream_heads.take() if not head.startswith("GET /open/")]
    for (tls, name), session in sessions.items():
        again = ask(host.port, "/secret", tls=tls, client=people["admin"], host=name, session=session)
        assert again.let_in
        assert not again.resumed
    assert all(" HTTP/1.1\r\n" in head for head in upstream_heads.take())
    for client, name, path in ((people["admin"], "files.test", ""), (outsiders["foreigner"], "half.test", "open/")):
        index = ask(host.port, f"/{path}", tls="TLSv1.3", client=client, host=name)
        assert f"CONTENT OF {path}index.html".encode() in index.body


def test_usual_inherits_a_trust_anchor(new_host, authority, other_authority, tls):
    host = new_host()
    host.write("own/other.crt", other_authority.chain)
    host.by_hand(USUAL, authority=authority, http=USUAL_HTTP + HTTP["trust anchor"])
    host.start()
    assert ask(host.port, "/secret", tls=tls, client=other_authority.client("admin")).let_in


def test_usual_inherits_an_open_door(new_host, authority, tls):
    host = new_host()
    host.write("own/empty", "")
    host.by_hand(USUAL_ACCESS, authority=authority, http=USUAL_HTTP + HTTP["satisfy any"])
    host.start()
    assert ask(host.port, "/secret", tls=tls).let_in


def test_usual_inherits_an_error_page_that_is_a_page(new_host, authority, tls):
    """The verification failed, and the error page is served by the location that the verification was to guard."""
    host = new_host()
    without_if = USUAL.replace('    if ($ssl_client_s_dn !~ "CN=admin") { return 403; }\n', "")
    host.by_hand(without_if, authority=authority, http=USUAL_HTTP + HTTP["error pages"])
    host.start()
    assert b"CONTENT of secret".upper() in ask(host.port, tls=tls).body.upper()
