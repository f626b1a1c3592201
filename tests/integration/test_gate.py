# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets what from the nginx that `site.yml` set up: one site, many requests."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port

TLS_VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def gate(module_site, upstream):
    """Services on one port with different allow lists, one reached by address, one with websockets and public paths."""
    site = module_site
    site.port, site.address_port = free_port(), free_port()
    nginx = site.add_host("web")
    www = site.folder / "www"
    (www / "open").mkdir(parents=True)
    for path in ("index.html", "secret", "open/index.html", "exact", "page.php"):
        (www / path).write_text(path)
    listen = f"127.0.0.1:{site.port}"
    quoted = 'José "Pepe" García, IT'
    site.host_vars["web"] |= {
        "mtls_clients": [
            {"name": "admin"},
            {"name": "guest"},
            {"name": "lost"},
            {"name": "pepe", "subject": {"C": "ES", "O": "Acme + Söhne", "CN": quoted}},
            {"name": "long", "subject": {"O": "o" * 64, "OU": "u" * 64, "CN": "n" * 64}},
        ],
        "mtls_services": [
            {
                "name": "nas",
                "server_names": ["nas.lan", "*.nas.lan"],
                "listen": listen,
                "upstream": upstream,
                "allow": ["admin", "lost", "pepe", "long"],
                "public_paths": ["/open/", "/exact"],
            },
            {"name": "files", "server_names": ["files.lan"], "listen": listen, "root": str(www), "allow": ["guest"]},
            {"name": "all", "server_names": ["all.lan"], "listen": listen, "root": str(www)},
            {
                "name": "direct",
                "server_names": ["127.0.0.1"],
                "listen": f"127.0.0.1:{site.address_port}",
                "root": str(www),
                "public_paths": ["/open/", "/exact"],
            },
        ],
    }
    site.ok()
    site.host_vars["web"]["mtls_clients"][2] |= {"state": "revoked", "reason": "keyCompromise"}
    site.ok()
    site.nginx = nginx
    return site


@pytest.mark.parametrize("version", TLS_VERSIONS, ids=str)
@pytest.mark.parametrize(
    ("client", "nas", "files", "everybody"),
    [
        (None, 400, 400, 400),
        ("admin", 200, 403, 200),
        ("guest", 403, 200, 200),
        ("lost", 400, 400, 400),
        ("pepe", 200, 403, 200),
        ("long", 200, 403, 200),
    ],
)
def test_each_client_enters_where_it_may(gate, version, client, nas, files, everybody):
    asked = {
        name: gate.status(gate.port, client=client, host=name, version=version)
        for name in ("nas.lan", "files.lan", "all.lan")
    }
    assert asked == {"nas.lan": nas, "files.lan": files, "all.lan": everybody}


def test_a_server_certificate_of_the_authority_opens_nothing(gate):
    server = gate.pki / "servers" / "web"
    assert gate.status(gate.port, identity=(str(server / "nas.crt"), str(server / "nas.key")), host="all.lan") == 400


@pytest.mark.parametrize(
    ("sni", "host", "status"),
    [
        (None, "nas.lan", 421),
        ("unknown.lan", "nas.lan", 421),
        ("files.lan", "nas.lan", 421),
        ("NAS.LAN", "nas.lan", 200),
        ("photos.nas.lan", "photos.nas.lan", 200),
        ("nas.lan", "all.lan", 421),
    ],
)
def test_tls_name_and_host_header_must_agree(gate, sni, host, status):
    assert gate.status(gate.port, client="admin", sni=sni, host=host) == status


def test_a_service_reached_by_address(gate):
    port = gate.address_port
    assert gate.status(port, client="guest", host="127.0.0.1", sni=None) == 200
    assert gate.status(port, host="127.0.0.1", sni=None) == 400
    assert gate.status(port, client="guest", host="127.0.0.1", sni="unknown.lan") == 421


PATHS = {
    "/open/": "open",
    "/open/index.html": "open",
    "/open/?x=/../..;%2e": "open",
    "/exact": "open",
    "/exact?x": "open",
    "/": "gated",
    "/secret": "gated",
    "/page.php": "gated",
    "/open": "gated",
    "/exact/": "gated",
    "/exactly": "gated",
    "/exact%0a": "gated",
    "/Exact": "gated",
    "/open/../secret": "gated",
    "/open/%2e%2e/secret": "gated",
    "/open/.%2E/secret": "gated",
    "/open/..%2fsecret": "gated",
    "/open/..;/secret": "gated",
    "/open/./index.html": "gated",
    "/open//index.html": "gated",
    "//open/": "gated",
    "/%6fpen/..%5csecret": "gated",
    "/open/%252e%252e/secret": "gated",
}


@pytest.mark.parametrize(("path", "kind"), PATHS.items())
def test_exactly_the_public_paths_are_public(gate, path, kind):
    for port, host, sni in ((gate.port, "nas.lan", "nas.lan"), (gate.address_port, "127.0.0.1", None)):
        without = gate.ask(port, path, host=host, sni=sni)
        if kind == "open":
            assert without.status == 200
        else:
            assert without.status == 400
            assert b"A certificate is needed here" in without.body
    assert gate.status(gate.port, path, client="guest") == (200 if kind == "open" else 403)


def echoed(answer):
    headers = json.loads(answer.body)["headers"]
    return {name: value for name, value in headers if name.startswith(("x-", "host"))}, headers


def test_upstream_learns_who_it_is(gate):
    sent, _all = echoed(gate.ask(gate.port, client="pepe"))
    assert sent["x-ssl-client-verify"] == "SUCCESS"
    assert sent["x-ssl-client-dn"] == r"CN=Jos\C3\A9 \"Pepe\" Garc\C3\ADa\, IT,O=Acme \+ S\C3\B6hne,C=ES"
    certificate = gate.identity("pepe")[0]

    def printed(*wanted):
        line = subprocess.run(
            ["openssl", "x509", "-noout", "-in", certificate, *wanted], capture_output=True, text=True, check=True
        ).stdout
        return line.strip().split("=", 1)[1]

    assert sent["x-ssl-client-serial"] == printed("-serial")
    assert sent["x-ssl-client-fingerprint"] == printed("-fingerprint", "-sha1").replace(":", "").lower()


FORGED = "".join(
    f"X-SSL-Client-{name}: forged\r\nx-ssl-client-{name.lower()}: forged\r\nX_SSL_Client_{name}: forged\r\n"
    for name in ("Verify", "DN", "Serial", "Fingerprint")
)


def test_no_caller_forges_the_headers(gate):
    with_certificate, every = echoed(gate.ask(gate.port, client="admin", headers=FORGED))
    assert with_certificate["x-ssl-client-dn"] == "CN=admin"
    assert "forged" not in json.dumps(every)
    without, every = echoed(gate.ask(gate.port, "/open/x", headers=FORGED))
    assert without["x-ssl-client-verify"] == "NONE"
    assert not without.keys() & {"x-ssl-client-dn", "x-ssl-client-serial", "x-ssl-client-fingerprint"}
    assert "forged" not in json.dumps(every)


def test_the_refusal_names_nobody(gate):
    answer = gate.ask(gate.port, client="guest")
    assert answer.status == 403
    assert b"guest" not in answer.body
    assert "guest" not in str(answer.headers)


def test_websockets_pass(gate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(*gate.identity("admin"))
    with (
        socket.create_connection(("127.0.0.1", gate.port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="nas.lan") as connection,
    ):
        connection.sendall(b"GET /ws HTTP/1.1\r\nHost: nas.lan\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        assert head.startswith(b"HTTP/1.1 101 ")
        connection.sendall(b"ping")
        assert connection.recv(4) == b"ping"


def test_http2_is_spoken_and_guarded(gate):
    def curl(*arguments):
        return subprocess.run(
            [
                "curl",
                "--silent",
                "--insecure",
                "--http2",
                "--resolve",
                f"nas.lan:{gate.port}:127.0.0.1",
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_version} %{http_code}",
                *arguments,
                f"https://nas.lan:{gate.port}/",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    certificate, key = gate.identity("admin")
    assert curl("--cert", certificate, "--key", key) == "2 200"
    assert curl() == "2 400"


@pytest.mark.parametrize("version", TLS_VERSIONS, ids=str)
def test_no_session_is_resumed(gate, version):
    """A resumed session would keep the verification result of before a revocation."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(*gate.identity("admin"))
    session = None
    for _attempt in range(3):
        with (
            socket.create_connection(("127.0.0.1", gate.port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="nas.lan", session=session) as connection,
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: nas.lan\r\nConnection: close\r\n\r\n")
            while connection.recv(65536):
                pass
            assert not connection.session_reused
            session = connection.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=str)
def test_old_tls_is_refused(gate, version):
    with pytest.warns(DeprecationWarning, match="TLSVersion"), pytest.raises(ssl.SSLError):
        gate.status(gate.port, client="admin", version=version)


def test_the_logs_say_who_and_why(gate):
    gate.status(gate.port, "/logged", client="admin")
    gate.status(gate.port, client="lost")
    access = (gate.nginx.folder / "log" / "mtls-nas.access.log").read_text()
    line = next(line for line in access.splitlines() if '"GET /logged ' in line)
    assert 'verify="SUCCESS" dn="CN=admin" serial=' in line
    assert 'verify="FAILED:certificate revoked" dn="CN=lost"' in access
    assert "certificate revoked" in (gate.nginx.folder / "log" / "mtls-nas.error.log").read_text()


def test_the_server_shows_its_own_certificate_and_the_clients_its_chain(gate):
    context = ssl.create_default_context(cafile=str(gate.pki / "ca.crt"))
    context.load_cert_chain(*gate.identity("guest"))
    for name, port in (("files.lan", gate.port), ("127.0.0.1", gate.address_port)):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=name),
        ):
            pass
