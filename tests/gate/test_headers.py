# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an upstream is told of the client is true: no caller writes it, and no caller gets around it."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.mtls.nginx.plugins.module_utils.site import identity_headers

from .client import ask
from .host import USUAL_HTTP
from .pki import forged as forged_certificate
from .pki import subject
from .upstream import headers_of, path_of

# The usual way: one header is set, in the location where the author thought of it.
USUAL = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client on;
    location / {
        proxy_set_header X-SSL-Client-DN $ssl_client_s_dn;
        proxy_set_header Host $http_host;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_pass @UPSTREAM@;
    }
}
"""
UNDERSCORES = USUAL_HTTP + "underscores_in_headers on; ignore_invalid_headers off;"

TOLD = ["Verify", "DN", "Serial", "Fingerprint"]  # by our configuration
LIE = "SUCCESS:CN=forged"


def forged(name: str) -> str:
    """The header in every spelling that some program takes for the same one."""
    spellings = {name, name.lower(), name.upper(), name.replace("-", "_"), name.replace("-", "."), name.title()}
    return "".join(f"{spelling}: {LIE}\r\n" for spelling in sorted(spellings))


@pytest.fixture(scope="module")
def ours(module_host, authority, upstream):
    host = module_host()
    admin = authority.client("admin")
    service = {
        "name": "nas",
        "server_names": ["nas.test"],
        "upstream": upstream.url,
        "public_paths": ["/open/"],
        "allow": ["admin"],
    }
    authority.client("guest")
    other = {"name": "files", "server_names": ["files.test"], "upstream": upstream.url, "allow": ["guest"]}
    host.ours([service, other], authority, http=UNDERSCORES + "proxy_set_header X-SSL-Client-DN $http_x_lie;")
    host.admin = admin
    return host.start()


def test_usual_forged_headers_reach_the_upstream(new_host, authority, upstream_heads, tls):
    host = new_host()
    host.by_hand(USUAL, authority=authority, http=UNDERSCORES)
    host.start()
    headers = forged("X-SSL-Client-Verify") + forged("X-SSL-Client-DN")
    ask(host.port, tls=tls, client=authority.client("admin"), headers=headers)
    (head,) = upstream_heads.take()
    seen = headers_of(head)
    assert LIE in seen["X_SSL_CLIENT_VERIFY"]
    assert LIE in seen["X_SSL_CLIENT_DN"]


@pytest.mark.parametrize("path", ["/", "/open/"])
@pytest.mark.parametrize("name", [f"X-SSL-Client-{name}" for name in TOLD])
def test_ours_upstreams_are_told_the_truth(ours, upstream_heads, tls, path, name):
    for client in (ours.admin, None)[: 1 if path == "/" else 2]:
        ask(ours.port, path, tls=tls, client=client, headers=forged(name) + "X-Lie: lie\r\n")
        (head,) = upstream_heads.take()
        values = headers_of(head).get(name.upper().replace("-", "_"), [])
        assert LIE not in values
        assert "lie" not in values
        if client is None:
            assert values == (["NONE"] if name.endswith("Verify") else [])
        else:
            assert len(values) == 1


def test_ours_where_a_request_comes_from_is_no_callers_word(ours, upstream_heads, tls):
    """Upstreams count failed logins by the address, and build links from host and protocol."""
    true = {"X_REAL_IP": "127.0.0.9", "X_FORWARDED_FOR": "127.0.0.9"}
    true |= {"X_FORWARDED_PROTO": "https", "X_FORWARDED_HOST": "nas.test"}
    lies = "".join(forged(name.title().replace("_", "-")) for name in true)
    for path, client in (("/", ours.admin), ("/open/", None)):
        assert ask(ours.port, path, tls=tls, client=client, headers=lies, source="127.0.0.9").let_in
        (head,) = upstream_heads.take()
        assert {name: headers_of(head)[name] for name in true} == {name: [value] for name, value in true.items()}


@pytest.mark.parametrize("names", identity_headers.SOURCES.values(), ids=lambda names: names[0])
def test_ours_other_names_for_a_client_certificate_are_dropped(ours, upstream_heads, names):
    """On a public path, with and without a certificate, and behind the gate."""
    for path, client in (("/open/", None), ("/open/", ours.admin), ("/", ours.admin)):
        for name in names:
            ask(ours.port, path, tls="TLSv1.3", client=client, headers=forged(name))
            (head,) = upstream_heads.take()
            assert LIE not in head


@pytest.mark.parametrize(
    "name",
    [
        *("Client-Cert", "Client-Cert-Chain", "X-Forwarded-Tls-Client-Cert-Info", "X-ARR-ClientCert"),
        *("SSL-Client-Issuer-DN", "SSL-Client-I-DN", "X-SSL-Client-Subject-DN", "X-SSL-Client-Issuer-DN"),
        *("X-Amzn-Mtls-Clientcert", "X-Amzn-Mtls-Clientcert-Subject", "X-Forwarded-Client-Cert", "X-Client-Cert"),
    ],
)
def test_ours_the_standard_and_the_best_known_are_among_them(ours, upstream_heads, name):
    ask(ours.port, "/open/", tls="TLSv1.3", headers=f"{name}: {LIE}\r\n")
    (head,) = upstream_heads.take()
    assert name.lower() not in head.lower()
    assert LIE not in head


def test_nginx_finds_room_for_all_of_them(ours):
    assert "proxy_headers_hash" not in (ours.folder / "log" / "start").read_text()


# --- the standard's own header, where it is wanted (RFC 9440)


@pytest.fixture(scope="module")
def standard(module_host, authority, upstream):
    host = module_host()
    common = {"upstream": upstream.url, "identity_headers": "rfc9440", "public_paths": ["/open/"]}
    host.ours(
        [
            {"name": "nas", "server_names": ["nas.test"], "cors_preflight": True, **common},
            {"name": "files", "server_names": ["files.test"], "upstream": upstream.url},
        ],
        authority,
    )
    return host.start()


@pytest.mark.parametrize("size", [0, 1, 40, 600, 3400])
def test_ours_the_certificate_as_rfc_9440_has_it(standard, authority, upstream_heads, tls, size):
    """Of any length that people have: the lines of its PEM form are one."""
    units = {"OU": "x" * min(size, 64)} if size else {}
    subject = {"CN": f"of size {size}", **units}
    client = authority.client(f"of size {size}", subject) if size < 600 else _long(authority, size)
    for path in ("/", "/open/"):
        assert ask(standard.port, path, tls=tls, client=client, headers=forged("Client-Cert")).let_in
        (head,) = upstream_heads.take()
        (value,) = headers_of(head)["CLIENT_CERT"]
        assert value[0] == value[-1] == ":"
        assert base64.b64decode(value[1:-1], validate=True) == client.certificate.public_bytes(Encoding.DER)


def _long(authority, size):
    names = x509.SubjectAlternativeName([x509.DNSName(f"{'x' * 50}.{number}.test") for number in range(size // 60)])
    return forged_certificate(authority.path, subject(f"of size {size}"), authority.issuer, extensions=[names])


def test_ours_a_certificate_that_is_too_long_for_it_enters_without(standard, authority, upstream_heads, tls):
    """Better nothing than a part."""
    assert ask(standard.port, "/", tls=tls, client=_long(authority, 6000), headers=forged("Client-Cert")).let_in
    (head,) = upstream_heads.take()
    assert "CLIENT_CERT" not in headers_of(head)
    assert headers_of(head)["X_SSL_CLIENT_VERIFY"] == ["SUCCESS"]


def test_ours_of_a_certificate_that_does_not_count_it_says_nothing(
    standard, authority, other_authority, upstream_heads
):
    lost = authority.client("lost with the standard")
    authority.revoke(lost)
    for client in (None, other_authority.client("stranger")):
        assert ask(standard.port, "/open/", tls="TLSv1.3", client=client, headers=forged("Client-Cert")).let_in
        (head,) = upstream_heads.take()
        assert "CLIENT_CERT" not in headers_of(head)
        assert LIE not in head


def test_ours_without_the_option_there_is_no_such_header(standard, authority, upstream_heads):
    client = authority.client("admin")
    assert ask(standard.port, "/", tls="TLSv1.3", host="files.test", client=client).let_in
    (head,) = upstream_heads.take()
    assert "CLIENT_CERT" not in headers_of(head)


@pytest.mark.parametrize("header", ["X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Forwarded-Uri"])
def test_ours_no_header_names_another_path(ours, upstream_heads, tls, header):
    """Some frameworks take the path from these, and the public path would then lead to any other."""
    ask(ours.port, "/open/", tls=tls, headers=forged(header).replace(LIE, "/secret"))
    (head,) = upstream_heads.take()
    assert "/secret" not in head


def test_ours_hop_by_hop_headers_cannot_strip_what_is_told(ours, upstream_heads, tls):
    request = "GET / HTTP/1.1\r\nHost: nas.test\r\nConnection: close, X-SSL-Client-DN, X-SSL-Client-Verify\r\n\r\n"
    ask(ours.port, tls=tls, client=ours.admin, request=request)
    (head,) = upstream_heads.take()
    seen = headers_of(head)
    assert seen["X_SSL_CLIENT_DN"] == ["CN=admin"]
    assert "X-SSL-Client" not in " ".join(seen.get("CONNECTION", []))


@pytest.mark.parametrize("protocol", ["h2c", "HTTP/2.0", "h2c, websocket", "TLS/1.2", "connect-udp"])
@pytest.mark.parametrize("path", ["/", "/open/"])
def test_ours_no_tunnel_past_the_gate(ours, upstream_heads, tls, path, protocol):
    """Behind an upgrade nginx no longer reads along: with h2c, any path and any header could follow."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: nas.test\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        f"Upgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    )
    answer = ask(ours.port, tls=tls, client=ours.admin, request=request.replace("Connection: ", "Connection: close, "))
    assert answer.status != 101
    assert not [head for head in upstream_heads.take() if "UPGRADE" in headers_of(head)]


def test_usual_a_tunnel_past_the_gate(new_host, authority, upstream_heads, tls):
    host = new_host()
    host.by_hand(USUAL, authority=authority)
    host.start()
    request = "GET / HTTP/1.1\r\nHost: nas.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    answer = ask(host.port, tls=tls, client=authority.client("admin"), request=request)
    assert answer.status == 101


def test_ours_websockets_pass_for_those_who_may_enter(ours, upstream_heads, tls):
    request = "GET / HTTP/1.1\r\nHost: nas.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert ask(ours.port, tls=tls, client=ours.admin, request=request).status == 101
    assert ask(ours.port, tls=tls, request=request).status == 400
    assert ask(ours.port, tls=tls, client=ours.admin, headers="Connection: upgrade, x\r\n").status == 200
    heads = [headers_of(head) for head in upstream_heads.take()]
    said = [[head.get(name) for name in ("UPGRADE", "CONNECTION")] for head in heads]
    assert said == [[["websocket"], ["upgrade"]], [None, None]]


@pytest.mark.parametrize(
    "target", ["http://files.test/", "https://files.test/", "//files.test/", "http://unknown.test/"]
)
@pytest.mark.parametrize("named", ["nas.test", "files.test", "unknown.test", "nas.test:1"])
def test_ours_the_upstream_hears_the_host_that_the_gate_heard(ours, authority, upstream_heads, tls, target, named):
    """A request line may name one host and the Host header another; the upstream may serve both."""
    guest = authority.client("guest")
    request = f"GET {target} HTTP/1.1\r\nHost: {named}\r\nConnection: close\r\n\r\n"
    answer = ask(ours.port, tls=tls, host="files.test", client=guest, request=request)
    heads = upstream_heads.take()
    if answer.let_in:
        (head,) = heads
        heard = headers_of(head)
        assert {heard[name][0].partition(":")[0] for name in ("HOST", "X_FORWARDED_HOST")} == {"files.test"}, head
        assert path_of(head) in ("/", "//files.test/")
    else:
        assert heads == []


@pytest.mark.parametrize("target", ["https://files.test/x", "https://FILES.test:1/x", "http://files.test/x"])
def test_ours_the_upstream_hears_a_host_over_http_1_0_too(ours, authority, upstream_heads, tls, target):
    """There the request line may be all that names it, and upstreams that serve several names tell them apart by it."""
    request = f"GET {target} HTTP/1.0\r\n\r\n"
    answer = ask(ours.port, tls=tls, host="files.test", client=authority.client("guest"), request=request)
    assert answer.status == 200
    (head,) = upstream_heads.take()
    found = headers_of(head)
    assert found["HOST"] == found["X_FORWARDED_HOST"] == [f"files.test:{ours.port}"]
    assert path_of(head) == "/x"
