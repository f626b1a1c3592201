# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else's authority: checked, passed on, and never issued from."""

from __future__ import annotations

import contextlib
import http.server
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import (
    Access,
    ensure_authority,
    open_authority,
    read_authority,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends import trust
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients, servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import TRUST
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured, WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.people import Turn, people_of
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import publish_crl
from ansible_collections.mtls.nginx.tests.authorities import new_authority
from ansible_collections.mtls.nginx.tests.unit.support import openssl

P256 = keys.KeyKind("ecdsa")


class Theirs:
    """An authority that somebody else runs, with our directory that trusts it."""

    def __init__(self, folder: Path, name: str = "Theirs") -> None:
        self.path = folder / name
        self.here = folder / "pki"
        new_authority(self.path, {"CN": name}, crl_days=10)

    def access(self, certificates: Path | None = None, crl: str | None = None) -> Access:
        settings = {
            "certificates": str(certificates or self.path / "ca.crt"),
            "crl": [crl or str(self.path / "crl.pem")],
        }
        return Access(str(self.here), backend=TRUST, settings=settings)

    def new_crl(self, days: int = 10) -> None:
        with open_authority(Access(str(self.path)), read_only=False) as authority:
            authority.write_crl(days)


def ensure(access: Access, *, check: bool = False) -> Ensured:
    return ensure_authority(access, WantedAuthority(access.path, None, P256, None, 1, 1), check=check)


def refresh(access: Access) -> tuple[str | None, list[str]]:
    with open_authority(access, read_only=False) as authority:
        due = authority.crl_due(7)
        if due:
            authority.write_crl(30)
        return due, authority.warnings


def said(call) -> str:
    with pytest.raises(MtlsError) as error:
        call()
    return str(error.value)


@pytest.fixture
def theirs(tmp_path) -> Theirs:
    return Theirs(tmp_path)


def test_certificate_and_crl_are_taken_once(theirs):
    foreseen = ensure(theirs.access(), check=True)
    assert not theirs.here.exists()
    assert foreseen.added == ["ca.crt", "crl.pem"]
    assert ensure(theirs.access()).added == foreseen.added
    assert ensure(theirs.access()).added == []
    assert sorted(path.name for path in theirs.here.iterdir()) == [".lock", "ca.crt", "crl.pem", "trusted.json"]
    published = read_authority(str(theirs.here))
    assert x509.load_pem_x509_certificates(published.chain())[0].subject.rfc4514_string() == "CN=Theirs"
    assert published.crl() == (theirs.path / "crl.pem").read_bytes()


def test_a_new_certificate_of_theirs_is_taken(theirs, tmp_path):
    ensure(theirs.access())
    other = Theirs(tmp_path, "Others")
    bundle, crls = tmp_path / "bundle.pem", tmp_path / "crls.pem"
    bundle.write_bytes((theirs.path / "ca.crt").read_bytes() + (other.path / "ca.crt").read_bytes())
    crls.write_bytes((theirs.path / "crl.pem").read_bytes() + (other.path / "crl.pem").read_bytes())
    assert ensure(theirs.access(bundle, str(crls))).added == ["ca.crt"]
    assert len(x509.load_pem_x509_certificates(read_authority(str(theirs.here)).chain())) == 2


def test_clients_are_known_by_their_subjects_and_nothing_is_issued(theirs):
    ensure(theirs.access())
    wanted = [Client("phone"), Client("pepe", subject={"C": "ES", "CN": "Pepe"})]
    with open_authority(theirs.access(), read_only=True) as authority:
        foreseen = clients.reconcile(authority, wanted, new_key_type="rsa", check=True)
    assert not read_authority(str(theirs.here)).names()
    with open_authority(theirs.access(), read_only=False) as authority:
        done = clients.reconcile(authority, wanted, new_key_type="rsa", check=False)
        again = clients.reconcile(authority, wanted, new_key_type="rsa", check=False)
    assert [result.action for result in foreseen.results] == [result.action for result in done.results]
    assert [result.action for result in done.results] == ["updated", "updated"]
    assert [result.action for result in again.results] == ["unchanged", "unchanged"]
    published = read_authority(str(theirs.here))
    known = {name: [holder.dn for holder in published.holders(name)] for name in published.names()}
    assert known == {"phone": ["CN=phone"], "pepe": ["CN=Pepe,C=ES"]}
    assert not (theirs.here / "clients").exists()
    # Who of them is good, the CRL alone says.
    assert [(who.name, who.before, who.after) for who in people_of(str(theirs.here), Turn())] == [
        ("pepe", True, True),
        ("phone", True, True),
    ]


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (Client("phone", revoked=True), "nothing can be revoked here"),
        (Client("phone", csr="phone.csr"), "nothing can be issued here"),
        (Client("phone", formats=("pem",)), "nothing can be issued here"),
        (Client("phone", used_by=("gnome",)), "trusted only; ask whoever runs it, and remove used_by"),
    ],
)
def test_what_only_they_can_do_is_refused(theirs, client, expected):
    ensure(theirs.access())
    with open_authority(theirs.access(), read_only=False) as authority:
        assert expected in said(lambda: clients.reconcile(authority, [client], new_key_type="rsa", check=False))


def test_two_clients_with_one_subject_are_refused(theirs):
    ensure(theirs.access())
    pair = [Client("phone"), Client("tablet", subject={"CN": "Phone"})]
    with open_authority(theirs.access(), read_only=False) as authority:
        message = said(lambda: clients.reconcile(authority, pair, new_key_type="rsa", check=False))
    assert "both have the subject CN=Phone" in message


def test_a_server_certificate_is_refused_with_who_to_ask(theirs):
    ensure(theirs.access())
    server = servers.Server("nas", "nas", ("nas.example",))
    with open_authority(theirs.access(), read_only=False) as authority:
        message = said(lambda: servers.reconcile(authority, [server], new_key_type="ecdsa", check=False))
    assert "'nas'" in message
    assert "trusted only; give it one of its own" in message


def test_a_new_crl_is_taken_and_an_older_one_never(theirs, tmp_path):
    first = (theirs.path / "crl.pem").read_bytes()
    ensure(theirs.access())
    assert refresh(theirs.access()) == (None, [])
    theirs.new_crl()
    assert refresh(theirs.access())[0] is not None
    assert (theirs.here / "crl.pem").read_bytes() == (theirs.path / "crl.pem").read_bytes()
    before = (theirs.here / "crl.pem").read_bytes()
    (theirs.path / "crl.pem").write_bytes(first)
    due, warnings = refresh(theirs.access())
    assert due is None
    assert "older than CRL" in warnings[0]
    assert (theirs.here / "crl.pem").read_bytes() == before


def test_the_crl_of_another_authority_changes_nothing(theirs, tmp_path):
    ensure(theirs.access())
    other = Theirs(tmp_path, "Others")
    before = (theirs.here / "crl.pem").read_bytes()
    due, warnings = refresh(theirs.access(crl=str(other.path / "crl.pem")))
    assert due is None
    assert "not signed by this authority" in warnings[0]
    assert "CN=Others" in warnings[0]
    assert (theirs.here / "crl.pem").read_bytes() == before


def test_without_a_new_crl_the_run_fails_once_the_old_one_ends_soon(theirs):
    theirs.new_crl(days=3)
    ensure(theirs.access())
    message = said(lambda: refresh(theirs.access(crl=str(theirs.path / "gone.pem"))))
    assert "gone.pem: there is no such file" in message


def test_a_crl_comes_over_http_in_der_too(theirs):
    pem = (theirs.path / "crl.pem").read_bytes()
    der = x509.load_pem_x509_crl(pem).public_bytes(serialization.Encoding.DER)
    with serving(der) as address:
        ensure(theirs.access(crl=f"{address}/ca.crl"))
        assert "cannot be fetched" in said(lambda: trust.fetch_crls([f"{address}/missing"]))
    assert x509.load_pem_x509_crl((theirs.here / "crl.pem").read_bytes()) == x509.load_pem_x509_crl(pem)
    assert "cannot be fetched" in said(lambda: trust.fetch_crls([f"{address}/ca.crl"]))  # nobody answers any more


@contextlib.contextmanager
def serving(data: bytes):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/ca.crl" else 404)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("content", [b"<html>no CRL here</html>", b"-----BEGIN CERTIFICATE-----\nAA\n"])
def test_what_is_no_crl_is_refused(theirs, tmp_path, content):
    (tmp_path / "odd").write_bytes(content)
    assert str(tmp_path / "odd") in said(lambda: ensure(theirs.access(crl=str(tmp_path / "odd"))))
    assert not theirs.here.exists()


def test_a_directory_with_an_authority_of_its_own_is_left_alone(theirs, pki):
    before = sorted(path.name for path in Path(pki.path).iterdir())
    access = Access(str(pki.path), backend=TRUST, settings=theirs.access().settings)
    assert "holds an authority of its own" in said(lambda: ensure(access))
    assert sorted(path.name for path in Path(pki.path).iterdir()) == before


def test_a_leaf_certificate_is_no_authority(theirs, tmp_path):
    with open_authority(Access(str(theirs.path)), read_only=False) as authority:
        clients.reconcile(authority, [Client("phone")], new_key_type="ecdsa", check=False)
    leaf = theirs.path / "clients" / "phone" / "phone.crt"
    assert "not the certificate of a CA" in said(lambda: ensure(theirs.access(leaf)))


def test_a_damaged_list_of_clients_is_named(theirs):
    ensure(theirs.access())
    (theirs.here / "trusted.json").write_text("{")
    assert "trusted.json: is damaged" in said(lambda: read_authority(str(theirs.here)).names())


def test_the_crl_says_until_when_it_is_good(theirs):
    ensure(theirs.access())
    with open_authority(theirs.access(), read_only=True) as authority:
        assert authority.crl_state().next_update > times.now()


def test_crls_without_a_number_are_compared_by_their_times(theirs):
    """As `openssl ca -gencrl` makes them without a crlnumber in openssl.cnf."""
    (theirs.path / "plain.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ncertificate=ca.crt\nprivate_key=ca.key\n"
    )

    def sign(when: str) -> bytes:
        dates = ("-crl_lastupdate", f"{when}Z", "-crl_nextupdate", "20491231235959Z")
        openssl("ca", "-config", "plain.cnf", "-gencrl", *dates, "-out", "plain.pem", cwd=theirs.path)
        return (theirs.path / "plain.pem").read_bytes()

    access = theirs.access(crl=str(theirs.path / "plain.pem"))
    now = times.now()
    old, new = (f"{now - timedelta(days=days):%Y%m%d%H%M%S}" for days in (3, 2))
    sign(new)
    ensure(access)
    before = (theirs.here / "crl.pem").read_bytes()
    sign(old)
    _due, warnings = refresh(access)
    assert "is a CRL without a number of" in warnings[0]
    assert "older than a CRL without a number of" in warnings[0]
    assert "CRL 0" not in warnings[0]
    assert (theirs.here / "crl.pem").read_bytes() == before
    newest = sign(f"{now - timedelta(days=1):%Y%m%d%H%M%S}")
    assert refresh(access)[0] is not None
    assert (theirs.here / "crl.pem").read_bytes() == newest


def test_a_crl_that_lives_a_day_has_a_remedy_of_its_own(theirs):
    theirs.new_crl(days=1)
    ensure(theirs.access())
    message = said(lambda: publish_crl(str(theirs.here), 3))
    assert "set mtls_crl_min_days below that (0 for a day) and run mtls.nginx.refresh_crl more often" in message
    assert "mtls_crl_days" not in message
    assert publish_crl(str(theirs.here), 0) == (theirs.here / "crl.pem").read_text()


def test_a_bundle_is_a_chain_up_to_its_root_with_who_issues_first(theirs, tmp_path):
    path = str(tmp_path / "below")
    wanted = WantedAuthority(path, {"CN": "Below"}, P256, None, 100, 30)
    ensure_authority(Access(path), wanted, check=False, parent=Access(str(theirs.path)))
    both, bundle = x509.load_pem_x509_certificates((tmp_path / "below" / "ca.crt").read_bytes()), tmp_path / "b.pem"

    def take(*certificates: x509.Certificate) -> None:
        bundle.write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates))
        ensure(theirs.access(bundle), check=True)

    below, root = both
    take(below, root)
    assert "lacks CN=Theirs, the issuer of CN=Below, and nginx needs the chain up to its root" in said(
        lambda: take(below)
    )
    assert "begins with a root although it holds a CA that issues below it; put that one first" in said(
        lambda: take(root, below)
    )
    assert "none.pem: there is no such file; name the file with the CA certificates in mtls_ca_trust" in said(
        lambda: ensure(theirs.access(tmp_path / "none.pem"))
    )


def test_of_what_only_they_can_do_there_may_be_nothing_to_do(theirs):
    theirs_ca = x509.load_pem_x509_certificate((theirs.path / "ca.crt").read_bytes())
    assert "there is no authority (ca.crt is missing)" in said(
        lambda: open_authority(theirs.access(), read_only=True).__enter__()
    )
    ensure(theirs.access())
    with open_authority(theirs.access(), read_only=False) as authority:
        assert authority.issue([]) == []
        authority.revoke({})
        authority.release([])
        authority.enter([])
        assert authority.find_by_fingerprint("00") is None
        for work, refusal in (
            (lambda: authority.certificate("AB"), "certificate AB is not here"),
            (lambda: authority.issue([None]), "nothing can be issued here"),
            (lambda: authority.revoke({"AB": "superseded"}), "nothing can be revoked here"),
            (lambda: authority.release(["AB"]), "nothing can be released here"),
            (lambda: authority.enter([theirs_ca]), "nothing is recorded here"),
        ):
            assert f"{refusal}, since CN=Theirs is trusted only (mtls_ca_backend); ask whoever runs it" in said(work)
