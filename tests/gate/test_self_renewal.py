# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""At /.mtls/ each client gets its own next certificate, and nobody another's, whatever is asked and however.

`phone` and `laptop` have a certificate that is still valid, and a next one that waits. That of `tablet` is not due.
"""

from __future__ import annotations

import dataclasses
import pathlib
import posixpath
from urllib.parse import unquote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import open_directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import nginx_dn
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, snippets
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Snippet
from ansible_collections.mtls.nginx.plugins.module_utils.site import renewals
from ansible_collections.mtls.nginx.plugins.module_utils.site.allow_lists import AllowList
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewal_notes import Notes

from . import http2, pki
from .client import ask, curl
from .host import USUAL_HTTP
from .upstream import path_of

DUE, TABLET = ("phone", "laptop"), "tablet"
FILES = {
    "renewal.p12": "application/x-pkcs12",
    "renewal.mobileconfig": "application/x-apple-aspen-config",
    "renewal.pem": "application/x-pem-file",
}
SERVICE = {
    "name": "nas",
    "server_names": ["nas.test"],
    "upstream": "@UPSTREAM@",
    "allow": ["phone", "tablet"],
    "self_renewal": True,
}
# Where only the laptop may enter.
FILES_SERVICE = {**SERVICE, "name": "files", "server_names": ["files.test"], "allow": ["laptop"]}


@dataclasses.dataclass
class Fleet:
    """An authority whose clients have been renewed, as `site.yml` renews them."""

    authority: pki.Authority
    first: dict[str, pki.Identity]
    offers: list[renewals.Offer]

    def offer(self, name: str) -> renewals.Offer:
        return next(offer for offer in self.offers if offer.renewal.client == name)

    def next(self, name: str) -> pki.Identity:
        """The client with its next certificate, which is for the same key."""
        return pki.write(self.authority.path, self.first[name].key, self.offer(name).renewal.certificate)


def serve(path: pathlib.Path, *wanted: Client) -> None:
    with open_directory(str(path), None, read_only=False) as opened:
        clients.reconcile(opened, wanted, new_key_type="ecdsa", check=False)


def identity(path: pathlib.Path, name: str) -> pki.Identity:
    stem = path / "clients" / name / name
    certificate = x509.load_pem_x509_certificate(stem.with_suffix(".crt").read_bytes())
    return pki.write(path, keys.load_key(str(stem.with_suffix(".key"))), certificate)


def renewed(folder: pathlib.Path, *due: str) -> Fleet:
    authority = pki.Authority(folder / "pki", "Renewing CA")
    serve(authority.path, *(Client(name, days=5, renew_before=2, mobileconfig=True) for name in (*due, TABLET)))
    first = {name: identity(authority.path, name) for name in (*due, TABLET)}
    renew = [Client(name, days=20, renew_before=10, mobileconfig=True) for name in due]
    serve(authority.path, *renew, Client(TABLET, days=5, renew_before=2, mobileconfig=True))
    authority.clients |= first
    path = str(authority.path)
    return Fleet(authority, first, renewals.offers(path, renewals.pending(path, None), Notes(path)))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    return renewed(tmp_path_factory.mktemp("renewing"), *DUE)


@pytest.fixture(scope="module")
def ours(module_host, fleet, upstream):
    host = module_host()
    services = [{**service, "upstream": upstream.url} for service in (SERVICE, FILES_SERVICE)]
    known = "types { application/x-x509-ca-cert der pem crt; text/plain p12 mobileconfig; }"  # Debian's, and more
    host.ours(services, fleet.authority, http=USUAL_HTTP + known, offers={"": fleet.offers})
    return host.start()


def fetch(nginx, name, client, **how):
    return ask(nginx.port, f"/.mtls/{name}", client=client, **{"tls": "TLSv1.3", **how})


def others(fleet, name):
    """What no client but `name` may ever be sent."""
    return [content for offer in fleet.offers if offer.renewal.client != name for content in offer.files.values()]


# --- what a client gets


@pytest.mark.parametrize("name", FILES)
def test_a_client_gets_its_own(ours, fleet, upstream_heads, tls, name):
    answer = fetch(ours, name, fleet.first["phone"], tls=tls)
    assert (answer.status, answer.body) == (200, fleet.offer("phone").files[name.partition(".")[2]])
    assert "cache-control: no-store" in answer.head.lower()
    assert f"content-type: {FILES[name]}" in answer.head.lower()
    other = fetch(ours, name, fleet.first["laptop"], host="files.test", tls=tls)
    assert (other.status, other.body) == (200, fleet.offer("laptop").files[name.partition(".")[2]])
    assert upstream_heads.take() == []


def test_what_it_gets_is_its_next_certificate_for_its_own_key(ours, fleet):
    answer = fetch(ours, "renewal.pem", fleet.first["phone"])
    certificate = x509.load_pem_x509_certificate(answer.body)
    assert certificate.not_valid_after_utc > fleet.first["phone"].certificate.not_valid_after_utc
    assert certificate.public_key() == fleet.first["phone"].certificate.public_key()
    password = (fleet.authority.path / "clients/phone/phone.p12.password").read_bytes().strip()
    packed = fetch(ours, "renewal.p12", fleet.first["phone"]).body
    found = serialization.pkcs12.load_pkcs12(packed, password)
    assert found.cert.certificate == certificate


def test_the_page_says_until_when_and_leads_to_each_device(ours, fleet, tls):
    answer = fetch(ours, "", fleet.first["phone"], tls=tls)
    end = fleet.first["phone"].certificate.not_valid_after_utc
    assert answer.status == 200
    assert f"valid until {end:%b} {end.day:2d} {end:%H:%M:%S %Y} GMT" in answer.body.decode()
    assert "text/html" in answer.head
    for device, ending in (("iphone", "mobileconfig"), ("mac", "p12"), ("android", "p12"), ("program", "pem")):
        assert f'href="{device}"' in answer.body.decode()
        page = fetch(ours, device, fleet.first["phone"], tls=tls)
        assert (page.status, f'href="renewal.{ending}"' in page.body.decode()) == (200, True)
        assert "cache-control: no-store" in page.head.lower()


def test_who_is_not_due_is_told_until_when(ours, fleet):
    answer = fetch(ours, "", fleet.first[TABLET])
    assert answer.status == 200
    assert "There is nothing to do" in answer.body.decode()
    assert [fetch(ours, name, fleet.first[TABLET]).status for name in FILES] == [404, 404, 404]


def test_no_file_is_that_of_nobody(ours, fleet):
    """Whatever is left in the folder, by a run that was killed for instance."""
    for ending in ("p12", "mobileconfig", "pem"):
        (ours.folder / "client-renewals" / f".{ending}").write_text("LEFT")
        assert fetch(ours, f"renewal.{ending}", fleet.first[TABLET]).status == 404


def test_who_has_the_next_one_gets_nothing_any_more(ours, fleet):
    assert "There is nothing to do" in fetch(ours, "", fleet.next("phone")).body.decode()
    assert [fetch(ours, name, fleet.next("phone")).status for name in FILES] == [404, 404, 404]


def test_only_what_is_read_is_answered(ours, fleet, upstream_heads):
    for path in ("", "mac", "renewal.p12", "nothing"):
        head = fetch(ours, path, fleet.first["phone"], method="HEAD")
        assert (head.status, head.body) == (404 if path == "nothing" else 200, b"")
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"):
            answer = fetch(ours, path, fleet.first["phone"], method=method)
            assert answer.status == 405, (path, method)
    assert upstream_heads.take() == []


# --- who gets nothing


def test_who_is_refused_elsewhere_is_refused_here(ours, fleet, tmp_path, other_authority, upstream_heads, tls):
    name = pki.subject("phone")
    strangers = {
        "without": (None, 400),
        "another CA's": (other_authority.client("phone"), 400),
        "self-signed": (pki.forged(tmp_path, name), 400),
        "expired": (pki.forged(tmp_path, name, fleet.authority.issuer, begins=-3, ends=-1), 400),
        "not on the list": (fleet.first["laptop"], 403),
    }
    for who, (client, status) in strangers.items():
        for path in ("", *FILES, "mac"):
            answer = fetch(ours, path, client, tls=tls)
            assert answer.status == status == ask(ours.port, "/", client=client, tls=tls).status, (who, path)
            assert not any(content in answer.body for content in others(fleet, None))
    assert upstream_heads.take() == []


def test_a_namesake_gets_nothing(ours, fleet, tmp_path):
    """The CA has signed it, so that it gets in as `phone`; it has another key, which the bundle is not for."""
    namesake = pki.forged(tmp_path, pki.subject("phone"), fleet.authority.issuer)
    assert ask(ours.port, "/.mtls-nginx-gate", client=namesake, tls="TLSv1.3").status == 204
    assert [fetch(ours, name, namesake).status for name in FILES] == [404, 404, 404]


def test_a_namesake_that_the_authority_has_recorded_is_offered_nothing(tmp_path):
    fleet = renewed(tmp_path, "phone")
    (namesake,) = fleet.authority._issue([fleet.first["phone"].certificate.subject], "client")
    path = str(fleet.authority.path)
    (renewal,) = renewals.pending(path, None)
    assert nginx_dn(namesake.certificate.subject) == "CN=phone"
    assert renewal.follows == fleet.offer("phone").renewal.follows


def test_the_same_serial_of_another_ca_is_another_certificate(module_host, fleet, tmp_path, upstream):
    """Two CAs that this service trusts: the second issues one with serial and name of the first's."""
    second = pki.Authority(tmp_path / "pki", "Second CA")
    old = fleet.first["phone"].certificate
    twin = _twin(tmp_path, old, second.issuer)
    host = module_host()
    host.ours(
        [{**SERVICE, "upstream": upstream.url}],
        fleet.authority,
        chain=fleet.authority.chain + second.chain,
        crl=fleet.authority.crl + second.crl,
        offers={"": fleet.offers},
    )
    host.start()
    assert ask(host.port, "/.mtls-nginx-gate", client=twin, tls="TLSv1.3").status == 204
    assert [fetch(host, name, twin).status for name in FILES] == [404, 404, 404]
    assert fetch(host, "renewal.pem", fleet.first["phone"]).status == 200


def _twin(folder, certificate, issuer):
    key = keys.new_key(pki.P256)
    builder = (
        x509.CertificateBuilder(issuer.certificate.subject, certificate.subject, key.public_key())
        .serial_number(certificate.serial_number)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
        .add_extension(issuer.key_identifier, critical=False)
    )
    return pki.write(folder, key, builder.sign(issuer.key, pki.hashes.SHA256()))


def test_whatever_a_client_writes_it_gets_its_own_or_nothing(ours, fleet, upstream_heads, tls):
    mine, token = fleet.first["phone"], fleet.offer("laptop").token
    serial = next(iter(fleet.offer("laptop").renewal.follows))
    fingerprint = fleet.offer("laptop").renewal.follows[serial]
    paths = [
        *(f"/.mtls/{word}" for word in (f"{token}.p12", f"renewal.p12/{token}", "laptop/renewal.p12", "..", ".")),
        *(
            f"/.mtls/renewal.p12?{word}"
            for word in (f"serial={serial}", f"token={token}", "client=laptop", "dn=CN=laptop")
        ),
        *("/.mtls/renewal.p12;laptop", "/.mtls/../.mtls/renewal.p12", "//.mtls/renewal.p12", "/.mtls//renewal.p12"),
        *("/%2emtls/renewal.p12", "/.mtls%2frenewal.p12", "/.mtls/renewal%2ep12", "/.mtls/%2e%2e/client-renewals/"),
        f"/.mtls/..%2fclient-renewals/{token}.p12",
        f"/client-renewals/{token}.p12",
        f"/.mtls/renewal.p12%00{token}.p12",
        f"/.mtls/{token}.pem",
    ]
    headers = [
        f"X-SSL-Client-Serial: {serial}\r\n",
        f"X-SSL-Client-Fingerprint: {fingerprint}\r\nX-SSL-Client-DN: CN=laptop\r\n",
        f"mtls_next: {token}\r\nCookie: mtls_next={token}\r\n",
        "X-Original-URL: /.mtls/renewal.p12\r\nX-Rewrite-URL: /.mtls/renewal.p12\r\n",
        "X-HTTP-Method-Override: GET\r\nRange: bytes=0-10\r\n",
    ]
    for path in paths:
        answer = ask(ours.port, path, client=mine, tls=tls)
        assert not any(content in answer.body for content in others(fleet, "phone")), path
    for more in headers:
        answer = ask(ours.port, "/.mtls/renewal.p12", client=mine, tls=tls, headers=more)
        assert answer.body in (fleet.offer("phone").files["p12"], fleet.offer("phone").files["p12"][:11]), more
    # Some of them lead out of it.
    heads = [posixpath.normpath(unquote(path_of(head))) for head in upstream_heads.take()]
    assert [path for path in heads if path.startswith("/.mtls")] == []


@pytest.mark.parametrize("sni", ["nas.test", "files.test", "zzz.test", None])
@pytest.mark.parametrize("host", ["nas.test", "files.test"])
def test_names_that_do_not_belong_together(ours, fleet, upstream_heads, tls, sni, host):
    """`phone` may enter nas.test only, `laptop` files.test only."""
    for name, home in (("phone", "nas.test"), ("laptop", "files.test")):
        answer = fetch(ours, "renewal.p12", fleet.first[name], host=host, sni=sni, tls=tls)
        if (host, sni) == (home, home):
            assert answer.body == fleet.offer(name).files["p12"]
        else:
            assert not answer.let_in
            assert not any(content in answer.body for content in others(fleet, None))
    assert upstream_heads.take() == []


def test_http2(ours, fleet, tls):
    for path, client, status in (
        ("/.mtls/renewal.p12", fleet.first["phone"], 200),
        ("/.mtls/renewal.p12", fleet.first[TABLET], 404),
        ("/.mtls/renewal.p12", fleet.first["laptop"], 403),
        ("/.mtls/renewal.p12", None, 400),
    ):
        got = http2.get(ours.port, path, tls=tls, client=client, sni="nas.test", authority="nas.test", host=None)
        assert got == status
    answer = curl(ours.port, "/.mtls/renewal.p12", client=fleet.first["phone"])
    assert answer.body == fleet.offer("phone").files["p12"]


def test_one_connection_asks_for_one_client(ours, fleet):
    """Two requests of a connection, the second with another's names in it: both get what the certificate may have."""
    host = "Host: nas.test\r\n"
    request = f"GET /.mtls/renewal.p12 HTTP/1.1\r\n{host}\r\nGET /.mtls/renewal.p12?laptop HTTP/1.1\r\n{host}"
    request += "Connection: close\r\n\r\n"
    answer = ask(ours.port, tls="TLSv1.2", client=fleet.first["phone"], request=request)
    assert answer.body.count(fleet.offer("phone").files["p12"]) == 2
    assert not any(content in answer.body for content in others(fleet, "phone"))


def test_a_revoked_client_gets_nothing_and_neither_does_its_resumed_session(new_host, tmp_path, upstream):
    fleet = renewed(tmp_path, *DUE)
    # The socket's first server block keeps sessions for all: see test_resumption.py.
    keeps = """
    ssl_session_cache shared:all:1m;
    ssl_session_tickets off;
    server { listen 127.0.0.1:@PORT@ ssl; server_name other.test; }
    """
    host = new_host()
    services = [{**SERVICE, "upstream": upstream.url, "allow": [*DUE]}]
    host.ours(services, fleet.authority, neighbours={"a-first": keeps}, offers={"": fleet.offers})
    host.start()
    first = fetch(host, "renewal.p12", fleet.first["phone"], tls="TLSv1.2")
    assert first.status in (200, 421)
    fleet.authority.revoke(fleet.first["phone"])
    host.ours(services, fleet.authority, neighbours={"a-first": keeps}, offers={"": fleet.offers})
    host.reload()
    for session in (None, first.session):
        answer = fetch(host, "renewal.p12", fleet.first["phone"], tls="TLSv1.2", session=session)
        assert answer.status in (400, 421)
    assert renewals.pending(str(fleet.authority.path), AllowList(("phone",))) == []


# --- with the other options of a service


def test_with_public_paths_and_exempt_networks(new_host, fleet, upstream_heads, other_authority):
    host = new_host()
    exempt = ["127.0.0.0/8"] if host.build.has_geo else []
    service = {**SERVICE, "upstream": upstream_heads.url, "public_paths": ["/open/"]}
    host.ours([service], fleet.authority, exempt=exempt, offers={"": fleet.offers})
    host.start()
    near = {"source": "127.0.0.9"}
    assert fetch(host, "renewal.p12", fleet.first["phone"]).body == fleet.offer("phone").files["p12"]
    assert fetch(host, "renewal.p12", fleet.first["laptop"], **near).status == 403
    assert fetch(host, "renewal.p12", other_authority.client("phone"), **near).status == 400
    for path in FILES:
        assert fetch(host, path, None, **near).status == (404 if exempt else 400)
    assert upstream_heads.take() == []


PREFLIGHT = "Origin: https://a.test\r\nAccess-Control-Request-Method: GET\r\n"


def test_with_preflights(new_host, fleet, upstream_heads):
    """Anybody's preflight is handed on, but not here."""
    host = new_host()
    service = {**SERVICE, "upstream": upstream_heads.url, "cors_preflight": True}
    host.ours([service], fleet.authority, offers={"": fleet.offers})
    host.start()
    for path in ("/.mtls/", "/.mtls/renewal.p12", "/.mtls/nothing", "/%2emtls/renewal.p12"):
        asked = {"method": "OPTIONS", "headers": PREFLIGHT, "tls": "TLSv1.3"}
        assert ask(host.port, path, **asked).status in (405, 400), path
        assert upstream_heads.take() == [], path
    assert ask(host.port, "/elsewhere", **asked).status == 200
    assert len(upstream_heads.take()) == 1


def test_with_path_lists(new_host, fleet, upstream):
    """Who is on a path's list only may not fetch; the list of the service counts."""
    lists = [{"path": "/albums/", "allow": ["laptop"]}]
    service = {**SERVICE, "upstream": upstream.url, "paths": lists, "hsts": {"max_age": 600}}
    host = new_host()
    host.ours([service], fleet.authority, offers={"": fleet.offers})
    host.start()
    assert fetch(host, "renewal.p12", fleet.first["phone"]).body == fleet.offer("phone").files["p12"]
    for path in ("", "mac", "renewal.pem", "nothing"):
        assert "max-age=600" in fetch(host, path, fleet.first["phone"]).head
    assert ask(host.port, "/albums/", client=fleet.first["laptop"], tls="TLSv1.3").status == 200
    assert fetch(host, "renewal.p12", fleet.first["laptop"]).status == 403


ELSEWHERE = "error_page 404 405 = /index.html;"


@pytest.mark.parametrize("error_pages", [True, False])
def test_nothing_of_it_is_handed_on(new_host, fleet, upstream_heads, error_pages):
    """Whatever the http block does with errors."""
    host = new_host()
    host.error_pages = error_pages
    service = {**SERVICE, "upstream": upstream_heads.url}
    host.ours([service], fleet.authority, http=USUAL_HTTP + ELSEWHERE, offers={"": fleet.offers})
    host.start()
    assert fetch(host, "nothing", fleet.first["phone"]).status == 404
    assert fetch(host, "renewal.p12", fleet.first[TABLET]).status == 404
    assert fetch(host, "renewal.p12", fleet.first["phone"], method="POST").status == 405
    assert upstream_heads.take() == []


def test_of_a_directory_that_is_served(new_host, fleet):
    host = new_host()
    service = {name: value for name, value in SERVICE.items() if name != "upstream"}
    host.ours([{**service, "root": str(host.folder / "www")}], fleet.authority, offers={"": fleet.offers})
    hidden = host.folder / "www" / ".mtls"
    hidden.mkdir()
    (hidden / "renewal.pem").write_text("NOT THIS")
    host.start()
    assert fetch(host, "renewal.pem", fleet.first["phone"]).body == fleet.offer("phone").files["pem"]
    assert fetch(host, "renewal.pem", fleet.first[TABLET]).status == 404


SNIPPED = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    include snippets/mtls-nas.conf;
    root www;
    error_page 404 405 = @app;
    location / { root www; }
    location ~ p12$ { return 200 SECRET; }
    location @app { return 200 APPLICATION; }
}
"""


def test_in_a_snippet(new_host, fleet, other_authority):
    host = new_host()
    service = {key: SERVICE[key] for key in ("name", "server_names", "allow", "self_renewal")}
    host.ours([{**service, "snippet": True}], fleet.authority, neighbours={"site": SNIPPED}, offers={"": fleet.offers})
    hidden = host.folder / "www" / ".mtls"
    hidden.mkdir()
    (hidden / "nothing").write_text("NOT THIS")
    host.start()
    snippet = Snippet("nas", str(host.folder / "snippets" / "mtls-nas.conf"), server_names=["nas.test"])
    (gate,) = snippets.gates(nginx_conf.load(str(host.folder / "nginx.conf")), [snippet])
    assert (gate.port, gate.trouble) == (host.port, None)
    assert fetch(host, "renewal.p12", fleet.first["phone"]).body == fleet.offer("phone").files["p12"]
    assert "Your next certificate is ready" in fetch(host, "", fleet.first["phone"]).body.decode()
    assert fetch(host, "nothing", fleet.first["phone"]).status == 404
    assert fetch(host, "renewal.p12", fleet.first[TABLET]).status == 404
    assert fetch(host, "renewal.p12", fleet.first["laptop"]).status == 403
    assert fetch(host, "renewal.p12", None).status == 400
    assert fetch(host, "renewal.p12", other_authority.client("phone")).status == 400
    assert fetch(host, "renewal.p12", fleet.first["phone"], method="POST").status == 405


def test_off_it_is_the_upstreams(new_host, fleet, upstream_heads):
    service = {name: value for name, value in SERVICE.items() if name != "self_renewal"}
    host = new_host()
    host.ours([{**service, "upstream": upstream_heads.url}], fleet.authority, offers={"": fleet.offers})
    host.start()
    assert fetch(host, "renewal.p12", fleet.first["phone"]).status == 200
    assert "/.mtls/renewal.p12" in str(upstream_heads.take())
    assert not list(host.folder.glob("client-renewals/*"))
