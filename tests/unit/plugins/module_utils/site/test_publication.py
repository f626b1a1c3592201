# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host gets of a real authority, and what check mode puts in the place of what is not there yet."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import subject_name
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import rollover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import PublishedDirectory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import publish, publish_crl, rehearse
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.tests.unit.support import Pki, later, tree

NAS = {"name": "nas", "server_names": ["nas.lan"], "upstream": "http://127.0.0.1:1", "allow": ["phone", "lost"]}


@pytest.fixture
def ours(pki):
    """An authority with a client that may enter, one that is revoked, and the server certificate of nas on web."""
    pki.serve(Client("phone"), Client("lost"))
    pki.serve(Client("phone"), Client("lost", revoked=True))
    with pki.open() as authority:
        servers.reconcile(authority, [servers.Server("web", "nas", ("nas.lan",))], new_key_type="ecdsa", check=False)
    return pki


def services(**options):
    return parse_services("web", [{**NAS, **options}])


def test_a_host_gets_what_its_services_need(ours):
    published = publish(str(ours.path), "web", services(), crl_min_days=3)
    assert published.chain == (ours.path / "ca.crt").read_text()
    assert published.crl == (ours.path / "crl.pem").read_text()
    assert published.client_dns == {"phone": ["CN=phone"]}
    assert published.refused == {"nas": ["lost"]}
    assert published.credentials["nas"].key == (ours.path / "servers/web/nas.key").read_text()


BACKEND = {"upstream": "https://backend.lan", "allow": ["phone"]}


def as_client(name):
    return {**BACKEND, "upstream_tls": {"verify": False, "ca": None, "name": None, "client": name}}


def test_a_client_as_which_nginx_comes(ours):
    published = publish(str(ours.path), "web", services(**as_client("phone")), crl_min_days=3)
    credential = published.upstream_clients["nas"]
    certificate = x509.load_pem_x509_certificate((ours.path / "clients/phone/phone.crt").read_bytes())
    assert x509.load_pem_x509_certificates(credential.certificate.encode()) == [certificate]  # no root
    assert credential.key == (ours.path / "clients/phone/phone.key").read_text()
    assert published.client_dns == {"phone": ["CN=phone"]}  # it is on the allow list, and that alone lets it in here


def test_all_cas_below_the_root_are_sent_to_the_upstream(ours, monkeypatch):
    """In whichever order the bundle has them."""
    ca = chains.read_certificates(str(ours.path / "ca.crt"))[0]
    names = [ca.subject, *(subject_name({"CN": name}, "test") for name in ("Middle", "Top"))]
    key = serialization.load_pem_private_key((ours.path / "ca.key").read_bytes(), None)
    made = []
    for subject, issuer in zip(names, [*names[1:], names[-1]], strict=True):
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(ca.not_valid_before_utc).not_valid_after(ca.not_valid_after_utc)
        made.append(builder.sign(key, hashes.SHA256()))
    signed, middle, top = made
    monkeypatch.setattr(PublishedDirectory, "chain", lambda _published: chains.pem([top, middle, signed]))
    published = publish(str(ours.path), "web", services(**as_client("phone")), crl_min_days=3)
    sent = x509.load_pem_x509_certificates(published.upstream_clients["nas"].certificate.encode())
    assert sent[1:] == [signed, middle]


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("lost", "upstream_tls: the certificate of client 'lost' is revoked"),
        ("never", "upstream_tls: client 'never' has no certificate yet; run the role"),
    ],
)
def test_a_client_as_which_nginx_cannot_come(ours, client, said):
    with pytest.raises(MtlsError, match=f"host web, service nas: {said}"):
        publish(str(ours.path), "web", services(**as_client(client)), crl_min_days=3)
    foreseen = rehearse(str(ours.path), "web", services(**as_client(client)), [{"name": "phone"}, {"name": client}])
    assert "PRIVATE KEY" in foreseen.upstream_clients["nas"].key


def test_a_client_that_has_moved_to_the_next_authority_comes_with_that_ones(ours):
    path = str(ours.path)
    wanted = WantedAuthority(path, {"CN": "Next CA"}, keys.KeyKind("ecdsa"), None, 3650, 30)
    rollover.begin(wanted, check=False)
    before = publish(path, "web", services(**as_client("phone")), crl_min_days=3).upstream_clients["nas"]
    assert before.key == (ours.path / "clients/phone/phone.key").read_text()
    Pki(ours.path / "next").serve(Client("phone"))
    after = publish(path, "web", services(**as_client("phone")), crl_min_days=3).upstream_clients["nas"]
    assert after.key == (ours.path / "next/clients/phone/phone.key").read_text()
    (certificate,) = x509.load_pem_x509_certificates(after.certificate.encode())
    assert certificate.issuer.rfc4514_string() == "CN=Next CA"


def test_a_client_without_a_key_here_is_named(ours):
    (ours.path / "clients/phone/phone.key").unlink()
    with pytest.raises(MtlsError, match=r"the key of client 'phone' is not here .*mtls_keep_client_keys: true"):
        publish(str(ours.path), "web", services(**as_client("phone")), crl_min_days=3)


def test_what_is_absent_needs_nothing(ours):
    published = publish(str(ours.path), "web", services(state="absent", allow=["nobody"]), crl_min_days=3)
    assert (published.client_dns, published.refused, published.credentials) == ({}, {}, {})


@pytest.mark.parametrize(
    ("host", "options", "said"),
    [
        (
            "web",
            {"allow": ["phon"]},
            "host web, service nas: allow names 'phon', who has no certificate yet; did you mean 'phone'?",
        ),
        ("web", {"allow": ["zoe"]}, "allow names 'zoe', who has no certificate yet; run the role mtls.nginx.ca"),
        ("web2", {}, r"host web2, service nas: has no server certificate .*servers/web2/nas.crt is missing"),
    ],
)
def test_what_is_missing_is_named(ours, host, options, said):
    with pytest.raises(MtlsError, match=said):
        publish(str(ours.path), host, services(**options), crl_min_days=3)


def test_who_is_revoked_from_the_start_is_refused_as_the_rehearsal_says(ours):
    allow = services(allow=["phone", "never"])
    published = publish(str(ours.path), "web", allow, 3, lambda: {"never"})
    clients = [{"name": "phone"}, {"name": "never", "state": "revoked"}]
    foreseen = rehearse(str(ours.path), "web", allow, clients)
    assert published.refused == foreseen.refused == {"nas": ["never"]}
    assert published.client_dns == foreseen.client_dns == {"phone": ["CN=phone"]}


def test_a_crl_that_expires_soon_stays_here(ours, monkeypatch):
    later(monkeypatch, days=28)
    assert publish_crl(str(ours.path), 1)
    said = r"the CRL expires on 2\S+Z, within the 3 days of mtls_crl_min_days.*; run the playbook"
    with pytest.raises(MtlsError, match=said):
        publish_crl(str(ours.path), 3)


def test_a_rehearsal_stands_in_for_what_is_not_there(tmp_path):
    """Before the first run: a chain, a CRL and a certificate that nginx can be tested with, and nothing is written."""
    before = tree(tmp_path)
    clients = [{"name": "phone"}, {"name": "lost", "state": "revoked"}]
    published = rehearse(str(tmp_path / "pki"), "web", services(), clients)
    assert tree(tmp_path) == before
    ca, leaf = (
        x509.load_pem_x509_certificate(pem.encode())
        for pem in (published.chain, published.credentials["nas"].certificate)
    )
    leaf.verify_directly_issued_by(ca)
    assert x509.load_pem_x509_crl(published.crl.encode()).is_signature_valid(ca.public_key())
    assert published.client_dns == {"phone": ["CN=phone"]}
    assert published.refused == {"nas": ["lost"]}


def test_a_rehearsal_stands_in_for_what_is_left_of_an_authority(ours):
    (ours.path / "ca.crt").unlink()
    clients = [{"name": "phone"}]
    foreseen = rehearse(str(ours.path), "web", services(**as_client("phone")), clients).upstream_clients["nas"]
    assert foreseen.key != (ours.path / "clients/phone/phone.key").read_text()


def test_a_rehearsal_names_who_is_no_client(ours):
    """Also where a certificate of that name is left from before."""
    for clients, hint in (([{"name": "phnoe"}], "did you mean 'phnoe'?"), ([], "add it to mtls_clients")):
        with pytest.raises(MtlsError) as caught:
            rehearse(str(ours.path), "web", services(), clients)
        assert str(caught.value) == f"host web, service nas: allow names 'phone', which is not a client; {hint}"


def test_a_rehearsal_makes_nothing_up_for_what_it_cannot_read(ours):
    (ours.path / "crl.pem").unlink()
    (ours.path / "crl.pem").mkdir()
    with pytest.raises(OSError, match=r"crl\.pem"):
        rehearse(str(ours.path), "web", services(allow=["phone"]), [{"name": "phone"}])


def test_a_rehearsal_uses_what_is_there(ours):
    before = tree(ours.path)
    clients = [{"name": "phone"}, {"name": "new", "subject": {"O": "Acme", "CN": "new"}}]
    published = rehearse(str(ours.path), "web", services(allow=["phone", "new"]), clients)
    assert tree(ours.path) == before
    assert published.chain == (ours.path / "ca.crt").read_text()
    assert published.client_dns == {"phone": ["CN=phone"], "new": ["CN=new,O=Acme"]}
    assert published.credentials["nas"].key == (ours.path / "servers/web/nas.key").read_text()


def test_a_rehearsal_foresees_the_subject_that_a_client_will_have(ours):
    """Without one in the inventory it keeps what it has; with another there it gets a new certificate."""
    ours.serve(Client("phone", subject={"O": "Acme", "CN": "phone"}))
    for subject in (None, {"O": "Other", "CN": "phone"}):
        foreseen = rehearse(str(ours.path), "web", services(allow=["phone"]), [{"name": "phone", "subject": subject}])
        ours.serve(Client("phone", subject=subject))
        published = publish(str(ours.path), "web", services(allow=["phone"]), crl_min_days=3)
        kept_or_new = "CN=phone,O=Other" if subject else "CN=phone,O=Acme"
        assert foreseen.client_dns == published.client_dns == {"phone": [kept_or_new]}


OWN = {"certificate": {"path": "/etc/ssl/nas.crt", "key": "/etc/ssl/nas.key"}}


def test_a_rehearsal_goes_through_all_services(ours):
    """Also where those before need nothing of it: a certificate of their own, no client for an upstream."""
    several = parse_services(
        "web",
        [
            {**NAS, **OWN, "name": "first", "server_names": ["first.lan"], "allow": ["phone"]},
            {**NAS, **as_client("phone")},
        ],
    )
    foreseen = rehearse(str(ours.path), "web", several, [{"name": "phone"}])
    assert foreseen.credentials["nas"].key == (ours.path / "servers/web/nas.key").read_text()
    assert foreseen.upstream_clients["nas"].key == (ours.path / "clients/phone/phone.key").read_text()


def test_what_can_stand_in(ours):
    stands = publish(str(ours.path), "web", services(**OWN), crl_min_days=3)
    assert stands.credentials["nas"].key == (ours.path / "servers/web/nas.key").read_text()
    assert publish(str(ours.path), "elsewhere", services(**OWN), crl_min_days=3).credentials == {}


def test_a_rehearsal_of_what_can_stand_in(ours):
    clients = [{"name": "phone"}, {"name": "lost", "state": "revoked"}]
    assert rehearse(str(ours.path), "elsewhere", services(**OWN), clients).credentials == {}
    servers = [{"host": "elsewhere", "name": "nas", "stands_in": True}]
    assert set(rehearse(str(ours.path), "elsewhere", services(**OWN), clients, servers).credentials) == {"nas"}
