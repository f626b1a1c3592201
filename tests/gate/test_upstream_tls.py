# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An https:// upstream: whom nginx believes there, what it asks for, and as whom it comes."""

from __future__ import annotations

import re

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains

from . import pki
from .client import ask
from .host import USUAL_HTTP
from .tls_upstream import TlsUpstream
from .upstream import Upstream


@pytest.fixture
def backends():
    """Makes TLS upstreams."""
    made = []

    def backend(*arguments, **options):
        made.append(TlsUpstream(*arguments, **options))
        return made[-1]

    yield backend
    for one in made:
        one.stop()


@pytest.fixture(scope="session")
def backend_identity(other_authority):
    """A backend's certificate, by a CA of its own."""
    return other_authority.server("backend.test")


def service(backend, name="nas", *, verify=True, ca="ca.crt", as_name="backend.test", client=None, **options):
    tls = {"verify": verify, "ca": ca if verify else None, "name": as_name, "client": client}
    return {
        "name": name,
        "server_names": [f"{name}.test"],
        "upstream": f"https://127.0.0.1:{backend.port}",
        "allow": ["admin"],
        "upstream_tls": tls,
        **options,
    }


@pytest.fixture
def serve(new_host, authority):
    def start(*services, cas, http=USUAL_HTTP, system_ca=None):
        authority.client("admin")
        host = new_host()
        host.system_ca = system_ca
        host.ours(services, authority, http=http, upstream_cas=cas)
        return host.start()

    return start


def status(host, authority, name="nas"):
    return ask(host.port, "/", tls="TLSv1.3", host=f"{name}.test", client=authority.client("admin")).status


def test_the_right_ca_and_name(serve, backends, authority, other_authority, backend_identity, tls):
    """Debian 12's nginx offers an upstream no TLS 1.3 unless it is told to. The http block says something else."""
    backend = backends(backend_identity, tls=tls)
    http = USUAL_HTTP + "proxy_ssl_protocols TLSv1.1;"
    host = serve(service(backend), cas={"nas": other_authority.chain}, http=http)
    assert status(host, authority) == 200
    assert [(visit.sni, visit.client) for visit in backend.take()] == [("backend.test", None)]


def test_another_ca(serve, backends, authority, backend_identity):
    """The host's own authority is not asked either."""
    backend = backends(backend_identity)
    host = serve(service(backend), cas={"nas": authority.chain})
    assert status(host, authority) == 502
    assert backend.take() == []
    assert "upstream SSL certificate verify error" in (host.folder / "log" / "mtls-nas.error.log").read_text()


def test_another_name(serve, backends, authority, other_authority, backend_identity):
    backend = backends(backend_identity)
    host = serve(service(backend, as_name="other.test"), cas={"nas": other_authority.chain})
    assert status(host, authority) == 502
    assert backend.take() == []


def test_what_the_http_block_says_does_not_count(serve, backends, authority, backend_identity):
    """It trusts another CA, and turns verification off."""
    backend = backends(backend_identity)
    http = USUAL_HTTP + "proxy_ssl_verify off; proxy_ssl_server_name off; proxy_ssl_name x.test;"
    host = serve(service(backend), cas={"nas": authority.chain}, http=http)
    assert status(host, authority) == 502
    assert backend.take() == []


def test_no_verification_where_that_is_written(serve, backends, authority, backend_identity):
    """Whatever the http block says."""
    backend = backends(backend_identity)
    http = USUAL_HTTP + "proxy_ssl_verify on; proxy_ssl_trusted_certificate own/server.crt;"
    host = serve(service(backend, verify=False), cas={}, http=http)
    assert status(host, authority) == 200
    assert [visit.sni for visit in backend.take()] == ["backend.test"]


def test_the_public_cas_of_the_host(serve, backends, authority, other_authority, backend_identity, tmp_path):
    bundle = tmp_path / "ca-certificates.crt"
    bundle.write_text(authority.chain + other_authority.chain)
    backend = backends(backend_identity)
    host = serve(service(backend, ca="system"), cas={}, system_ca=str(bundle))
    assert status(host, authority) == 200
    other = tmp_path / "new"  # from 1.27.4 on, nginx may not notice a file that is rewritten in place
    other.write_text(authority.chain)
    other.replace(bundle)
    host.reload()
    assert status(host, authority) == 502


_FOR_THE_NAME = [x509.SubjectAlternativeName([x509.DNSName("backend.test")])]
_SERVER = x509.ExtendedKeyUsageOID.SERVER_AUTH


def test_a_certificate_that_signed_itself(serve, backends, authority, tmp_path):
    """What appliances have: it is its own CA."""
    identity = pki.forged(tmp_path, pki.subject("appliance"), extensions=_FOR_THE_NAME, purpose=_SERVER)
    host = serve(service(backends(identity)), cas={"nas": chains.pem([identity.certificate]).decode()})
    assert status(host, authority) == 200


def test_a_chain_of_several_cas(serve, backends, authority, tmp_path):
    """nginx's default allows one between root and server."""
    root = pki.forged(tmp_path, pki.subject("Root"), ca=True)
    issuer, between = pki.as_issuer(root), []
    for number in range(3):
        middle = pki.forged(tmp_path, pki.subject(f"CA {number}"), issuer, ca=True)
        between.insert(0, middle.certificate)
        issuer = pki.as_issuer(middle)
    options = {"extensions": _FOR_THE_NAME, "purpose": _SERVER, "sent_along": between}
    backend = backends(pki.forged(tmp_path, pki.subject("backend"), issuer, **options))
    host = serve(service(backend), cas={"nas": chains.pem([root.certificate]).decode()})
    assert status(host, authority) == 200


def test_as_whom_nginx_comes(serve, backends, authority, other_authority, backend_identity):
    """Two services of one upstream, two clients, and one that comes as nobody: none as another, however often."""
    backend = backends(backend_identity, client_ca=authority.chain)
    for name in ("nas-to-backend", "files-to-backend"):
        authority.client(name)
    ca = dict.fromkeys(("nas", "files", "wiki"), other_authority.chain)
    host = serve(
        service(backend, client="nas-to-backend"),
        service(backend, "files", client="files-to-backend"),
        service(backend, "wiki"),
        cas=ca,
    )
    for name, comes_as in (("nas", "nas-to-backend"), ("files", "files-to-backend"), ("wiki", None)) * 3:
        assert status(host, authority, name) == 200
        assert [(visit.client, visit.resumed) for visit in backend.take()] == [(comes_as, False)]


def test_usual_a_connection_that_is_kept_is_whoevers_it_was(
    new_host, authority, other_authority, backends, backend_identity
):
    """An `upstream` block of the host's own with `keepalive`: the services that share it come as each other."""
    backend = backends(backend_identity, client_ca=authority.chain, keep=True)
    for name in ("admin", "nas-to-backend"):
        authority.client(name)
    services = [service(backend, client="nas-to-backend"), service(backend, "wiki")]
    pool = f"upstream pool {{ server 127.0.0.1:{backend.port}; keepalive 4; }}"
    host = new_host()
    host.ours(
        [{**each, "upstream": "https://pool"} for each in services],
        authority,
        upstream_cas=dict.fromkeys(("nas", "wiki"), other_authority.chain),
        neighbours={"a": pool},
    )
    host.start()
    assert [status(host, authority, name) for name in ("nas", "wiki")] == [200, 200]
    assert [visit.client for visit in backend.take()] == ["nas-to-backend", "nas-to-backend"]


def test_a_verdict_is_not_another_services(serve, backends, authority, other_authority, backend_identity):
    """nginx shares an upstream's sessions between server blocks, and a resumed one keeps its verdict."""
    backend = backends(backend_identity)
    cas = {"nas": other_authority.chain, "files": authority.chain}
    host = serve(service(backend), service(backend, "files"), service(backend, "wiki", verify=False), cas=cas)
    asked = [status(host, authority, name) for name in ("nas", "wiki", "files") * 3]
    assert asked == [200, 200, 502] * 3


# --- the name that the application wants


def locations(answer):
    return re.findall(r"Location: (\S+)", answer.head)


@pytest.mark.parametrize("path", ["", "/app"])
def test_upstream_host(serve, backends, authority, other_authority, backend_identity, path):
    """The application is told its own name, and what it sends people to by that name is the service."""
    backend = backends(backend_identity, location=f"https://app.lan:9000{path}/login?next=/")
    made = service(backend, upstream_host="app.lan:9000", public_paths=["/open/"])
    made["upstream"] += path
    host = serve(made, cas={"nas": other_authority.chain})
    admin = authority.client("admin")
    for asked in ("/", "/open/x"):
        answer = ask(host.port, asked, tls="TLSv1.3", client=admin)
        assert (answer.status, locations(answer)) == (302, [f"https://nas.test:{host.port}/login?next=/"])
    for visit in backend.take():
        assert visit.header("Host") == ["app.lan:9000"]
        assert visit.header("X-Forwarded-Host") == ["nas.test"]


_PREFLIGHT = "Origin: https://photos.test\r\nAccess-Control-Request-Method: PUT\r\n"


def test_upstream_host_without_tls(new_host, authority, other_authority):
    """Whoever is passed on: a client, one whose certificate does not count at a public path, a browser's preflight."""
    upstream = Upstream()
    try:
        host = new_host()
        made = {"name": "nas", "server_names": ["nas.test"], "upstream": upstream.url, "allow": ["admin"]}
        made |= {"upstream_host": "app.lan", "public_paths": ["/open/"], "cors_preflight": True}
        authority.client("admin")
        host.ours([made], authority)
        host.start()
        for elsewhere in ("http://app.lan/x", f"{upstream.url}/x"):
            upstream.elsewhere = elsewhere
            for who in (
                {"client": authority.client("admin")},
                {"path": "/open/x", "client": other_authority.client("stranger")},
                {"method": "OPTIONS", "headers": _PREFLIGHT},
            ):
                answer = ask(host.port, tls="TLSv1.3", **who)
                assert locations(answer) == [f"https://nas.test:{host.port}/x"], (elsewhere, who)
        heads = upstream.take()
        assert len(heads) == 6
        assert all("Host: app.lan\r\n" in head for head in heads)
    finally:
        upstream.stop()
