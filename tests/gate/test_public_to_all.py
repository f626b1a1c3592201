# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public paths are open to a client with a bad certificate too, exactly they, and it is nobody there."""

from __future__ import annotations

import pytest

from . import pki
from .app import App
from .client import ask, curl
from .test_paths import GATED, OPEN
from .websocket import echo

# As people write it: nginx thinks of the certificate before the path.
USUAL = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_crl own/crl.pem;
    ssl_verify_client optional;
    if ($ssl_client_verify = FAILED) { return 403; }
    location /open/ { proxy_pass @APP@; }
    location / { return 403; }
}
"""
# The way round that suggests itself: a self-made certificate passes, and an upstream hears its name.
USUAL_OPTIONAL_NO_CA = USUAL.replace("optional;", "optional_no_ca;").replace(
    "location /open/ {", "location /open/ { proxy_set_header X-SSL-Client-DN $ssl_client_s_dn;"
)


@pytest.fixture(scope="module")
def bad(authority, other_authority):
    admin = authority.client("admin").certificate.subject
    lost = authority.client("lost by public paths")
    authority.revoke(lost)
    return {
        "revoked": lost,
        "expired": pki.forged(authority.path, admin, authority.issuer, begins=-9, ends=-1),
        "foreigner": other_authority.client("admin"),
        "self-made": pki.forged(authority.path, admin),
    }


WHO = ["revoked", "expired", "foreigner", "self-made"]


@pytest.fixture(scope="module")
def ours(module_host, authority, bad, running_app):
    host = module_host()
    common = {"allow": ["admin"], "public_paths": ["/open/", "/exact", "/hook"]}
    host.ours(
        [
            {"name": "nas", "server_names": ["nas.test"], "upstream": running_app.url, **common},
            {"name": "prefixed", "server_names": ["prefixed.test"], "upstream": f"{running_app.url}/app/", **common},
            {"name": "files", "server_names": ["files.test"], "root": f"{host.folder}/www", **common},
            {"name": "closed", "server_names": ["closed.test"], "upstream": running_app.url, "allow": ["admin"]},
        ],
        authority,
    )
    return host.start()


def test_usual_a_bad_certificate_closes_public_paths(new_host, authority, bad, running_app, tls):
    host = new_host(APP=running_app.url)
    host.by_hand(USUAL, authority=authority)
    host.start()
    assert ask(host.port, "/open/page", tls=tls).status == 200
    assert {who: ask(host.port, "/open/page", tls=tls, client=bad[who]).status for who in WHO} == dict.fromkeys(
        WHO, 400
    )


def test_usual_optional_no_ca_lets_a_lie_through_and_keeps_others_out(new_host, authority, bad, app, tls):
    host = new_host(APP=app.url)
    host.by_hand(USUAL_OPTIONAL_NO_CA, authority=authority)
    host.start()
    statuses = {who: ask(host.port, "/open/page", tls=tls, client=bad[who]).status for who in WHO[:3]}
    assert statuses == {"revoked": 400, "expired": 400, "foreigner": 200}
    assert {seen.headers["x-ssl-client-dn"] for seen in app.take()} == {"CN=admin"}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", ["nas.test", "prefixed.test", "files.test"])
def test_ours_exactly_the_public_paths(ours, bad, app, tls, name, who):
    answers = {path: ask(ours.port, path, tls=tls, host=name, client=bad[who]) for path in OPEN + GATED}
    assert {path: answers[path].status for path in GATED if answers[path].status != 400} == {}
    assert [path for path in OPEN if answers[path].status == 400] == []
    prefix = "/app" if name == "prefixed.test" else ""
    for seen in app.take():
        assert seen.path.startswith((f"{prefix}/open/", f"{prefix}/exact")), seen.path
        assert seen.headers["x-ssl-client-verify"] == "NONE"
        assert not seen.headers.keys() & {"x-ssl-client-dn", "x-ssl-client-serial", "x-ssl-client-fingerprint"}


def test_ours_nothing_is_lost_on_the_way(ours, bad, app, tls):
    """Method, body, query and escapes arrive as they do from somebody without a certificate."""
    body = "x" * 300_000
    for client in (None, bad["revoked"]):
        ask(ours.port, "/open/a%20b+%C3%A9?d=1&e=%2F", tls=tls, client=client, method="POST", body=body)
        curl(ours.port, "/open/a%20b?d=1", client=client, body=body)
    first, first_h2, second, second_h2 = app.take()
    assert [(one.method, one.path, one.size) for one in (second, second_h2)] == [
        (one.method, one.path, one.size) for one in (first, first_h2)
    ]
    assert (second.method, second.size) == ("POST", len(body))


@pytest.mark.parametrize("who", [None, "revoked"])
def test_ours_a_public_websocket(ours, bad, who, tls):
    assert echo(ours.port, "/open/ws", tls=tls, client=who and bad[who]) == b"hello"
    assert echo(ours.port, "/ws", tls=tls, client=who and bad[who]) is None


def test_ours_large_answers_arrive_whole(new_host, authority, bad, tls):
    """nginx is still reading the request's head when it finds the certificate bad."""
    host = new_host()
    (host.folder / "www" / "open" / "large").write_bytes(b"z" * 8_000_000)
    service = {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www", "public_paths": ["/open/"]}
    host.ours([service], authority)
    host.start()
    assert len(ask(host.port, "/open/large", tls=tls, client=bad["expired"]).body) == 8_000_000


def test_ours_the_name_is_still_asked_for(ours, bad, app, tls):
    for sni in (None, "unknown.test", "closed.test"):
        answer = ask(ours.port, "/open/page", tls=tls, sni=sni, client=bad["revoked"])
        assert answer.status in (400, 421)
    request = "GET http://closed.test/open/page HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n\r\n"
    assert ask(ours.port, tls=tls, client=bad["revoked"], request=request).status in (400, 421)
    assert app.take() == []


def test_ours_a_service_without_public_paths_knows_nothing_of_it(ours, bad, app, tls):
    for path in ("/open/page", "/@mtls_bad_certificate", "/"):
        assert ask(ours.port, path, tls=tls, host="closed.test", client=bad["revoked"]).status == 400
    assert app.take() == []


def test_ours_a_crl_that_has_ended_closes_no_public_path(new_host, authority, app: App, tls):
    host = new_host()
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": app.url, "public_paths": ["/open/"]}
    host.ours([service], authority, crl=authority.short_crl(-1))
    host.start()
    admin = authority.client("admin")
    assert ask(host.port, "/open/page", tls=tls, client=admin).status == 200
    assert ask(host.port, "/secret", tls=tls, client=admin).status == 400
    (seen,) = app.take()
    assert seen.headers["x-ssl-client-verify"] == "NONE"


def test_ours_a_session_from_before_the_revocation_is_nobody(new_host, authority, app, tls):
    """Where a neighbour's cache resumes it, nginx says SUCCESS, and the upstream does not hear that."""
    host = new_host()
    lost = authority.client("lost with a session")
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": app.url, "public_paths": ["/open/"]}
    keeps = (
        "server { listen 127.0.0.1:@PORT@ ssl default_server; server_name first.test;"
        " ssl_session_cache shared:first:1m; ssl_client_certificate own/ca.crt; ssl_verify_client optional; }"
    )
    host.write("own/ca.crt", authority.chain)
    host.ours([service], authority, neighbours={"first": keeps})
    host.start()
    session = ask(host.port, "/open/page", tls=tls, client=lost).session
    authority.revoke(lost)
    host.ours([service], authority, neighbours={"first": keeps})
    host.reload()
    app.take()
    answer = ask(host.port, "/open/page", tls=tls, client=lost, session=session)
    assert ask(host.port, "/secret", tls=tls, client=lost, session=session).status in (400, 421)
    heard = [seen.headers["x-ssl-client-verify"] for seen in app.take()]
    assert heard == (["NONE"] if answer.status == 200 else [])
