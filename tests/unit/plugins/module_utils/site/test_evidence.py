# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What inventory and record know of one client: from real authorities."""

from __future__ import annotations

import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends import trust
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import TRUST
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import register
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.diagnosis import HostState, Reality, diagnose
from ansible_collections.mtls.nginx.plugins.module_utils.site.evidence import Question, gather
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import AuthorityPlan
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.tests.authorities import new_authority
from ansible_collections.mtls.nginx.tests.unit.support import Pki

SERVICE = {"name": "nas", "server_names": ["nas.lan"], "upstream": "http://127.0.0.1:1"}


def plan(path, *clients, host="web", backend="directory", **service):
    services = [(host, each) for each in parse_services(host, [{**SERVICE, **service}])]
    definitions = [client if isinstance(client, dict) else {"name": client} for client in clients]
    return AuthorityPlan(str(path), {"backend": backend}, host, clients=definitions, services=services)


def ask(*plans, client=None, certificate=None, host="web", service="nas"):
    question = Question(host, service, client, str(certificate) if certificate else None)
    return gather(question, {each.path: each for each in plans})


@pytest.fixture
def phone(pki):
    pki.serve(Client("phone"), Client("guest"))
    return pki


def test_a_certificate_that_nginx_refuses_for_its_signature_is_ours_and_weak(pki):
    (pki.path / "clients/old").mkdir()
    pki.ca("-md", "sha1", "-in", pki.csr("old"), "-out", "clients/old/old.crt")
    evidence = ask(plan(pki.path, "old"), client="old")
    assert (evidence.record.certificate.by_authority, evidence.record.recorded) == (True, True)
    assert evidence.record.certificate.weakness == "is signed with SHA-1"
    host = HostState(allow={"everybody": True}, ca=evidence.record.ca, crl=evidence.record.crl)
    said = diagnose(evidence.intent, evidence.record, Reality(times.now(), host))
    assert [finding.cause for finding in said.findings] == ["weak"]
    assert "is signed with SHA-1, which nginx's OpenSSL refuses" in said.paragraph
    assert "another key" not in said.paragraph
    assert "issues a new one" in said.remedy


def test_a_client_with_a_good_certificate(phone):
    evidence = ask(plan(phone.path, "phone", "guest", allow=["phone"]), client="phone")
    certificate = x509.load_pem_x509_certificate(phone.file("phone", ".crt").read_bytes())
    about = evidence.record.certificate
    assert (about.dn, about.not_after) == ("CN=phone", certificate.not_valid_after_utc)
    assert (about.by_authority, about.for_clients) == (True, True)
    assert about.serial == numbers.hexadecimal(certificate.serial_number)
    assert (evidence.record.revoked, evidence.record.recorded, evidence.record.current) == (False, True, None)
    assert evidence.record.allow_dns == {"phone": "CN=phone"}
    assert (evidence.intent.wanted, evidence.intent.given, evidence.intent.present) == (True, False, True)
    assert evidence.identity == (str(phone.file("phone", ".crt")), str(phone.file("phone", ".key")))


def test_a_certificate_file_is_known_by_its_serial_or_its_subject(phone, tmp_path):
    der = tmp_path / "phone.cer"
    certificate = x509.load_pem_x509_certificate(phone.file("phone", ".crt").read_bytes())
    der.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    evidence = ask(plan(phone.path, "phone"), certificate=der)
    assert (evidence.intent.client, evidence.intent.given, evidence.identity) == ("phone", True, None)
    assert evidence.intent.who == "the certificate phone.cer (CN=phone)"

    old = shutil.copy(phone.file("phone", ".crt"), tmp_path / "old.crt")
    phone.one(Client("phone", days=500, renew_before=499))
    evidence = ask(plan(phone.path, "phone"), certificate=old)
    assert evidence.intent.client == "phone"
    assert evidence.record.current == ask(plan(phone.path, "phone"), client="phone").record.certificate.serial
    assert evidence.record.certificate.serial != evidence.record.current


def test_only_a_key_that_fits_and_is_in_clear_is_used(phone, tmp_path):
    copied = shutil.copy(phone.file("phone", ".crt"), tmp_path / "my.crt")
    assert ask(plan(phone.path, "phone"), certificate=copied).identity is None
    shutil.copy(phone.file("guest", ".key"), tmp_path / "my.key")
    assert ask(plan(phone.path, "phone"), certificate=copied).identity is None
    key = serialization.load_pem_private_key(phone.file("phone", ".key").read_bytes(), None)
    for encryption, identity in (
        (serialization.BestAvailableEncryption(b"secret"), None),
        (serialization.NoEncryption(), (str(copied), str(tmp_path / "my.key"))),
    ):
        (tmp_path / "my.key").write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        assert ask(plan(phone.path, "phone"), certificate=copied).identity == identity


def test_a_revoked_client(phone):
    phone.serve(Client("phone", revoked=True, reason="keyCompromise"))
    evidence = ask(plan(phone.path, {"name": "phone", "state": "revoked"}), client="phone")
    assert (evidence.intent.revoked, evidence.intent.wanted) == (True, False)
    assert (evidence.record.revoked, evidence.record.reason) == (True, "keyCompromise")
    assert evidence.record.revoked_at is not None


def test_clients_without_a_certificate_or_without_a_definition(phone, tmp_path):
    evidence = ask(plan(phone.path, "new"), client="new")
    assert (evidence.record.certificate, evidence.intent.wanted) == (None, True)
    evidence = ask(plan(tmp_path / "nothing", "new"), client="new")
    assert (evidence.record.certificate, evidence.record.authority) == (None, "")
    unmanaged = ask(plan(phone.path, "phone"), client="guest")
    assert (unmanaged.record.certificate.dn, unmanaged.intent.wanted) == ("CN=guest", False)


def test_a_client_of_another_authority(phone, tmp_path):
    other = tmp_path / "other"
    new_authority(other, {"CN": "Other"})
    Pki(other).serve(Client("visitor"))
    plans = plan(phone.path, "phone"), plan(other, "visitor", host="elsewhere", name="portal")
    evidence = ask(*plans, client="visitor")
    assert (evidence.record.certificate.by_authority, evidence.record.certificate.issuer) == (False, "CN=Other")
    assert evidence.identity is not None
    assert evidence.record.path == str(phone.path)
    shutil.rmtree(other / "clients" / "visitor")
    about = ask(*plans, client="visitor").record.certificate
    assert (about.by_authority, about.issuer, about.serial) == (False, "CN=Other", "")


def test_a_server_certificate_is_none_of_a_client(phone):
    with phone.open() as authority:
        servers.reconcile(authority, [servers.Server("web", "nas", ("nas.lan",))], new_key_type="ecdsa", check=False)
    evidence = ask(plan(phone.path, "phone"), certificate=phone.path / "servers" / "web" / "nas.crt")
    assert (evidence.record.certificate.by_authority, evidence.record.certificate.for_clients) == (True, False)


def test_somebody_elses_authority(phone, tmp_path):
    """Of its clients the subject is known, of a file more; who is revoked says the CRL."""
    serial = ask(plan(phone.path, "phone"), client="phone").record.certificate.serial
    with phone.open() as authority:
        authority.revoke({serial: "keyCompromise"})
        authority.write_crl(30)
    here = tmp_path / "here"
    source = trust.Source(str(phone.path / "ca.crt"), (str(phone.path / "crl.pem"),))
    trust.ensure(str(here), source, check=False)
    settings = {"certificates": source.certificates, "crl": list(source.crls)}
    with open_authority(Access(str(here), backend=TRUST, settings=settings), read_only=False) as authority:
        authority.admit({"phone": register.client_entry(subjects.subject_name({"CN": "phone"}, "phone"))})
    theirs = plan(here, "phone", backend=TRUST, certificate={"path": "/c.crt", "key": "/c.key"})
    evidence = ask(theirs, client="phone")
    assert (evidence.record.certificate.dn, evidence.record.certificate.serial) == ("CN=phone", "")
    assert (evidence.record.issues, evidence.record.revoked, evidence.identity) == (False, False, None)
    evidence = ask(theirs, certificate=phone.file("phone", ".crt"))
    assert (evidence.record.revoked, evidence.record.reason, evidence.record.recorded) == (True, "keyCompromise", True)
    assert evidence.record.revoked_at is not None


def test_a_service_on_another_host_or_taken_away(phone):
    evidence = ask(plan(phone.path, "phone"), client="phone", host="printer")
    assert (evidence.service, evidence.intent.present, evidence.intent.elsewhere) == (None, False, ("web",))
    # During a rollover there are two plans with the same services.
    evidence = ask(plan(phone.path, "phone"), plan(phone.path / "next"), client="phone", host="printer")
    assert evidence.intent.elsewhere == ("web",)
    evidence = ask(plan(phone.path, "phone", state="absent"), client="phone")
    assert (evidence.service, evidence.intent.present, evidence.intent.elsewhere) == (None, False, ())


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"client": "fone"}, "the inventory has no client 'fone'; did you mean 'phone'?"),
        ({"client": "xyz"}, "the inventory has no client 'xyz'; it has phone"),
        ({"client": "phone", "service": "nass"}, "host web has no service 'nass'; did you mean 'nas'?"),
        ({"client": "phone", "service": "x", "host": "printer"}, "host printer has no service 'x'; it has none"),
        ({"certificate": "/nowhere.crt"}, "/nowhere.crt: no such file or directory; name a certificate file"),
    ],
)
def test_names_that_nobody_has(phone, question, message):
    with pytest.raises(MtlsError) as caught:
        ask(plan(phone.path, "phone"), **question)
    assert str(caught.value) == message


def test_a_file_that_is_no_certificate(phone):
    with pytest.raises(MtlsError, match="holds no certificate in PEM or DER; take it out"):
        ask(plan(phone.path, "phone"), certificate=phone.file("phone", ".p12"))
