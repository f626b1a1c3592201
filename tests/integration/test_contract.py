# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every authority does, whoever keeps its key: the protocol of ca/authority.py, with real keys and a real nginx.

A backend more is a name more in BACKENDS and a fixture `<name>_backend` that returns a Backend.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import socket
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import (
    Access,
    ensure_authority,
    open_authority,
    read_authority,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.numbers import hexadecimal
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import index_subject, nginx_dn, subject_name
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients, revoking, servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured, WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, openssl, tree

from .conftest import Nginx, Site

BACKENDS = ("directory", "pkcs11", "openbao")
RICH = {"C": "ES", "O": "Acme", "OU": ["IT", "Ops"], "CN": 'José "Pepe" García, IT', "emailAddress": "pepe@acme.es"}
BACKWARDS = {"CN": "backwards", "OU": "Last", "O": "Acme"}


@dataclasses.dataclass(frozen=True)
class Backend:
    """An authority that does not exist in `access.path` yet, and short words for what tests do with it."""

    access: Access

    @property
    def path(self) -> pathlib.Path:
        return pathlib.Path(self.access.path)

    def ensure(self, check: bool = False, subject: dict | None = None) -> Ensured:
        kind = keys.KeyKind("ecdsa", curve="P-256")
        wanted = WantedAuthority(
            self.access.path, subject or SUBJECT, kind, self.access.passphrase, days=3650, crl_days=30
        )
        return ensure_authority(self.access, wanted, check=check)

    def open(self, read_only: bool = False):
        return open_authority(self.access, read_only=read_only)

    def serve(self, *wanted: Client, check: bool = False) -> clients.Reconciled:
        with self.open(read_only=check) as authority:
            return clients.reconcile(authority, wanted, new_key_type="ecdsa", check=check)

    def actions(self, *wanted: Client, check: bool = False) -> list[str]:
        return [result.action for result in self.serve(*wanted, check=check).results]

    def serve_hosts(self, *wanted: servers.Server, check: bool = False) -> list[servers.ServerResult]:
        with self.open(read_only=check) as authority:
            return servers.reconcile(authority, wanted, new_key_type="ecdsa", check=check)

    def revoke(self, serial: str, reason: str = "unspecified") -> None:
        with self.open() as authority:
            wanted = revoking.RevocationRequest(revoking.SERIAL, serial, reason, release=False)
            revoking.carry_out(authority, revoking.Finder.of(authority).find(wanted))

    def refresh_crl(self) -> str | None:
        """What the module crl does; returns why a CRL was written."""
        with self.open() as authority:
            due = authority.crl_due(7)
            if due:
                authority.write_crl(30)
            return due

    def certificate(self, client: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.path / "clients" / client / f"{client}.crt").read_bytes())

    def recorded(self) -> list[str]:
        """Return the serials in index.txt."""
        return [line.split("\t")[3] for line in (self.path / "index.txt").read_text().splitlines()]


@pytest.fixture(params=BACKENDS)
def empty(request) -> Backend:
    """An authority that is not there yet."""
    return request.getfixturevalue(f"{request.param}_backend")


@pytest.fixture
def backend(empty) -> Backend:
    """An authority with a CRL, and nobody who has a certificate."""
    empty.ensure()
    return empty


@pytest.fixture
def directory_backend(tmp_path) -> Backend:
    return Backend(Access(str(tmp_path / "pki"), "of the directory"))


@pytest.fixture
def openbao_backend(tmp_path, openbao) -> Backend:
    return Backend(Access(str(tmp_path / "pki"), backend="openbao", settings=openbao.authority()))


@pytest.fixture
def pkcs11_backend(tmp_path, token) -> Backend:
    return Backend(Access(str(tmp_path / "pki"), backend="pkcs11", settings=token.settings()))


def test_it_exists_once_and_says_so_before(empty):
    plan = empty.ensure(check=True)
    assert plan.created
    assert {"ca.crt", "crl.pem"} <= set(plan.added)
    assert not empty.path.exists()
    made = empty.ensure()
    assert made.created
    assert set(made.added) == set(plan.added)
    assert made.certificate.subject == subject_name(SUBJECT, "test")
    before = tree(empty.path)
    for check in (True, False):
        again = empty.ensure(check=check)
        assert (again.created, again.added) == (False, [])
    assert tree(empty.path) == before
    with pytest.raises(MtlsError, match="is the authority CN=Test CA,O=Acme,C=ES"):
        empty.ensure(subject={"CN": "Another"})
    published = read_authority(empty.access.path)
    chain = x509.load_pem_x509_certificates(published.chain())
    assert chain[0] == made.certificate
    assert x509.load_pem_x509_crl(published.crl()).is_signature_valid(chain[0].public_key())


def test_without_it_everything_says_what_to_run(empty):
    with pytest.raises(MtlsError, match=r"mtls\.nginx\.ca_init"), empty.open():
        pass
    assert not empty.path.exists()


def test_certificates_are_what_was_asked_for(backend):
    wanted = [
        Client("plain", days=90),
        Client("rich", subject=RICH),
        Client("backwards", subject=BACKWARDS),
        Client("rsa", key_type="rsa"),
        Client("one-day", subject={"CN": "Ñandú, 5+1=6 #1"}, days=1, renew_before=0),
    ]
    assert backend.actions(*wanted, check=True) == ["issued"] * 5
    assert backend.recorded() == []
    asked = times.now()
    done = backend.serve(*wanted)
    assert [result.action for result in done.results] == ["issued"] * 5
    assert done.unmanaged == []
    with backend.open(read_only=True) as authority:
        for client in wanted:
            certificate = backend.certificate(client.name)
            subject = subject_name(client.subject or {"CN": client.name}, "test")
            assert certificate.subject == subject
            assert [nginx_dn(certificate.subject), index_subject(certificate.subject)] == [
                nginx_dn(subject),
                index_subject(subject),
            ]
            assert was_issued_by(certificate, authority.chain[0])
            assert abs((certificate.not_valid_after_utc - asked).total_seconds() - client.days * 86400) < 60
            assert certificate.not_valid_before_utc <= asked
            assert purposes(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
            assert not profiles.is_ca(certificate)
            key = (backend.path / "clients" / client.name / f"{client.name}.key").read_bytes()
            public = serialization.load_pem_private_key(key, None).public_key()
            assert keys.public_der(public) == keys.public_der(certificate.public_key())
            entry = authority.record.get(hexadecimal(certificate.serial_number))
            assert (entry.status, entry.subject) == ("valid", index_subject(subject))
            assert entry.not_after == certificate.not_valid_after_utc
            assert authority.certificate(entry.serial) == certificate
    assert len(set(backend.recorded())) == len(backend.recorded()) == 5


def purposes(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_again_changes_nothing(backend):
    wanted = [Client("phone"), Client("pepe", subject=RICH), Client("gone", revoked=True)]
    hosts = [servers.Server("nas", "web", ("nas.lan", "*.nas.lan", "192.0.2.7", "2001:db8::7"))]
    backend.serve(*wanted)
    backend.serve_hosts(*hosts)
    backend.refresh_crl()
    before = tree(backend.path)
    for check in (False, True, False):
        assert backend.actions(*wanted, check=check) == ["unchanged"] * 3
        assert [result.action for result in backend.serve_hosts(*hosts, check=check)] == ["unchanged"]
    assert backend.refresh_crl() is None
    assert tree(backend.path) == before


def test_check_mode_changes_nothing(backend):
    backend.serve(Client("phone"), Client("tablet"))
    before = tree(backend.path)
    plan = backend.actions(Client("phone", revoked=True), Client("tablet"), Client("laptop"), check=True)
    assert plan == ["revoked", "unchanged", "issued"]
    with backend.open(read_only=True) as authority:
        assert authority.crl_due(7) is None
    assert tree(backend.path) == before
    assert backend.actions(Client("phone", revoked=True), Client("tablet"), Client("laptop")) == plan


def test_a_server_has_the_names_it_is_asked_by(backend):
    names = ("nas.lan", "*.nas.lan", "192.0.2.7", "2001:db8::7")
    (result,) = backend.serve_hosts(servers.Server("nas", "web", names, days=90))
    certificate = x509.load_pem_x509_certificate(pathlib.Path(result.certificate).read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in found} == set(names)
    assert certificate.subject == subject_name({"CN": "nas.lan"}, "test")
    assert purposes(certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert result.entry.serial in backend.recorded()


def test_a_key_that_never_was_here(backend):
    folder = backend.path.parent
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "device.key")
    openssl("req", "-new", *key, "-subj", "/CN=whatever the device said/O=Elsewhere", "-out", "device.csr", cwd=folder)
    device = Client("device", csr=str(folder / "device.csr"))
    assert backend.actions(device) == ["issued"]
    certificate = backend.certificate("device")
    assert certificate.subject == subject_name({"CN": "device"}, "test")
    assert purposes(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    csr = x509.load_pem_x509_csr((folder / "device.csr").read_bytes())
    assert keys.public_der(certificate.public_key()) == keys.public_der(csr.public_key())
    assert backend.actions(device) == ["unchanged"]


def test_renewed_in_time_with_the_same_key(backend):
    backend.serve(Client("phone", days=20, renew_before=10))
    first = backend.certificate("phone")
    assert backend.actions(Client("phone", days=90, renew_before=10)) == ["unchanged"]
    assert backend.actions(Client("phone", days=90, renew_before=30)) == ["renewed"]
    second = backend.certificate("phone")
    assert second.not_valid_after_utc > first.not_valid_after_utc
    assert keys.public_der(second.public_key()) == keys.public_der(first.public_key())
    assert second.subject == first.subject
    assert len(backend.recorded()) == 2
    assert backend.actions(Client("phone", days=90, renew_before=30)) == ["unchanged"]


def test_revoked_is_on_the_crl_with_its_reason_in_the_record(backend):
    backend.serve(Client("phone"), Client("tablet"), Client("laptop"))
    numbers = {name: backend.certificate(name).serial_number for name in ("phone", "tablet", "laptop")}
    before = crl_of(backend)
    assert listed(before) == set()
    assert backend.actions(Client("phone", revoked=True, reason="keyCompromise"), Client("tablet")) == [
        "revoked",
        "unchanged",
    ]
    assert backend.refresh_crl() == "it does not list what index.txt says is revoked"
    after = crl_of(backend)
    assert listed(after) == {numbers["phone"]}
    assert number_of(after) > number_of(before)
    backend.revoke(f"{numbers['laptop']:x}", "superseded")
    backend.refresh_crl()
    assert listed(crl_of(backend)) == {numbers["phone"], numbers["laptop"]}
    assert backend.refresh_crl() is None
    with backend.open(read_only=True) as authority:
        reasons = {entry.subject: entry.reason for entry in map(authority.record.get, backend.recorded())}
        assert reasons == {"/CN=phone": "keyCompromise", "/CN=tablet": None, "/CN=laptop": "superseded"}
        assert authority.crl_state().entries == 2
    chain = read_authority(backend.access.path).chain()
    crls.check_shippable((backend.path / "crl.pem").read_bytes(), chain, times.now())
    # Back again: another key, another certificate.
    old = keys.public_der(backend.certificate("phone").public_key())
    assert backend.actions(Client("phone")) == ["issued"]
    assert keys.public_der(backend.certificate("phone").public_key()) != old


def crl_of(backend: Backend) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl((backend.path / "crl.pem").read_bytes())


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def listed(crl: x509.CertificateRevocationList) -> set[int]:
    return {entry.serial_number for entry in crl}


def test_a_crl_that_is_gone_or_damaged_comes_back(backend):
    for damage in (lambda path: path.unlink(), lambda path: path.write_text("nothing")):
        damage(backend.path / "crl.pem")
        assert backend.refresh_crl() == "there is none by this authority"
        ca = x509.load_pem_x509_certificate((backend.path / "ca.crt").read_bytes())
        assert crl_of(backend).is_signature_valid(ca.public_key())


def test_unmanaged_is_reported_and_kept(backend):
    backend.serve(Client("phone"), Client("old-tablet"))
    (stray,) = backend.serve(Client("phone")).unmanaged
    assert (stray.name, stray.dn) == ("old-tablet", "CN=old-tablet")
    assert stray.serial in backend.recorded()
    assert crl_of(backend) is not None
    assert listed(crl_of(backend)) == set()


def test_killed_after_signing_nobody_is_issued_twice(backend):
    wanted = [Client(f"phone-{number}") for number in range(12)]
    child = os.fork()
    if child == 0:
        with backend.open() as authority:
            issue = authority.issue
            authority.issue = lambda orders: (issue(orders), os.kill(os.getpid(), signal.SIGKILL))
            clients.reconcile(authority, wanted, new_key_type="ecdsa", check=False)
        os._exit(0)
    _pid, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert backend.actions(*wanted) == ["updated"] * 12
    assert len(backend.recorded()) == 12
    for client in wanted:
        key = (backend.path / "clients" / client.name / f"{client.name}.key").read_bytes()
        public = serialization.load_pem_private_key(key, None).public_key()
        assert keys.public_der(public) == keys.public_der(backend.certificate(client.name).public_key())
    assert backend.actions(*wanted) == ["unchanged"] * 12


def test_mistakes_change_nothing(backend):
    backend.serve(Client("phone"))
    before = tree(backend.path)
    with pytest.raises(MtlsError, match="after the end of the authority's own certificate"):
        backend.serve(Client("forever", days=36500))
    with pytest.raises(MtlsError, match="is the authority's own"):
        backend.serve(Client("impostor", subject=SUBJECT))
    with pytest.raises(MtlsError, match="both have the subject"):
        backend.serve(Client("one", subject={"CN": "same"}), Client("two", subject={"CN": "Same"}))
    with pytest.raises(MtlsError, match="was never issued by the authority"):
        backend.revoke("AB12")
    with pytest.raises(MtlsError, match=r"serial AB12: is not in .*index\.txt"), backend.open() as authority:
        authority.revoke({"AB12": "unspecified"})
    assert tree(backend.path) == before


def test_nginx_lets_in_who_has_a_certificate_and_nobody_else(backend, tmp_path):
    (web,) = backend.serve_hosts(servers.Server("nas", "web", ("nas.lan",)))
    backend.serve(Client("phone"), Client("lost"), Client("pepe", subject=RICH))
    backend.serve(Client("phone"), Client("lost", revoked=True), Client("pepe", subject=RICH))
    backend.refresh_crl()
    published = read_authority(backend.access.path)
    (tmp_path / "chain.pem").write_bytes(published.chain())
    (tmp_path / "crl.pem").write_bytes(published.crl())
    port = free_port()
    nginx = Nginx(tmp_path / "nginx")
    nginx.write_conf(
        f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {web.certificate}; ssl_certificate_key {web.key};"
        f" ssl_client_certificate {tmp_path}/chain.pem; ssl_crl {tmp_path}/crl.pem; ssl_verify_client on;"
        " location / { return 200 $ssl_client_s_dn; } }"
    )
    subprocess.run(["nginx", "-c", nginx.conf], check=True)
    try:
        trusting = ssl.create_default_context(cafile=tmp_path / "chain.pem")
        trusting.load_cert_chain(*identity(backend, "phone"))
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            trusting.wrap_socket(raw, server_hostname="nas.lan") as connection,
        ):
            assert connection.version() in ("TLSv1.2", "TLSv1.3")
        ask = Site(tmp_path / "site").ask
        assert ask(port, identity=identity(backend, "phone")).body == b"CN=phone"
        dn = nginx_dn(subject_name(RICH, "test")).encode()
        assert ask(port, identity=identity(backend, "pepe")).body == dn
        assert ask(port, identity=identity(backend, "lost")).status == 400
        assert ask(port).status == 400
    finally:
        nginx.stop()


def identity(backend: Backend, client: str) -> tuple[str, str]:
    folder = backend.path / "clients" / client
    return str(folder / f"{client}.crt"), str(folder / f"{client}.key")
