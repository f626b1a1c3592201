# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lost device is found by whatever is known of it: all of its certificates, and nobody else's."""

from __future__ import annotations

import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca import numbers, revoking, servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.client_files import Client
from ansible_collections.mtls.nginx.plugins.module_utils.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import later, openssl, tree


def find(pki, kind, value) -> list[str]:
    """Return the serials that are found."""
    with pki.open(read_only=True) as authority:
        return sorted(
            each.serial for each in revoking.Finder(authority).find(revoking.Wanted(kind, str(value), "unspecified"))
        )


def revoke(pki, kind, value, reason="keyCompromise") -> None:
    with pki.open() as authority:
        revoking.revoke(authority, revoking.Finder(authority).find(revoking.Wanted(kind, str(value), reason)))


def certificate_of(pki, name) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pki.file(name, ".crt").read_bytes())


@pytest.fixture
def fleet(pki, monkeypatch):
    """A laptop with a renewed certificate and one of another subject, and others that are nearly it."""
    first = pki.one(Client("laptop")).entry.serial
    second = pki.one(Client("laptop", days=400, renew_before=370)).entry.serial
    third = pki.one(Client("laptop", {"O": "Acme", "CN": "Ada's laptop"})).entry.serial
    pki.serve(Client("laptop-2"), Client("other", {"O": "laptop", "CN": "other"}), Client("Laptop 3"))
    with pki.open() as authority:
        servers.reconcile(authority, [servers.Server("nas", "web", ("laptop",))], new_key_type="ecdsa", check=False)
    pki.laptop = sorted((first, second, third))
    return pki


def test_by_name_all_of_a_client_is_found_and_nothing_else(fleet):
    assert find(fleet, "name", "laptop") == fleet.laptop
    revoke(fleet, "name", "laptop")
    assert {row[3] for row in fleet.index() if row[0] == "R"} == set(fleet.laptop)
    assert find(fleet, "name", "laptop") == fleet.laptop  # once more: they are known to be revoked
    assert {row[5] for row in fleet.index() if row[0] == "V"} >= {"/CN=laptop-2", "/O=laptop/CN=other", "/CN=laptop"}


def test_by_name_without_the_register_or_without_the_folder(fleet):
    (fleet.path / "clients/register.json").unlink()
    assert find(fleet, "name", "laptop") == fleet.laptop
    shutil.rmtree(fleet.path / "clients/laptop")
    by_cn = sorted(row[3] for row in fleet.index() if row[5] == "/CN=laptop")
    server = {row[3] for row in fleet.index()} & {*by_cn} - {*fleet.laptop}
    assert find(fleet, "name", "laptop") == sorted({*by_cn} - server)
    assert len(find(fleet, "name", "laptop")) == 2


def test_what_has_ended_is_left_alone(pki, monkeypatch):
    pki.one(Client("a", days=40))
    later(monkeypatch, days=50)
    serial = pki.one(Client("a")).entry.serial
    assert find(pki, "name", "a") == [serial]


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()], ids=["SHA-1", "SHA-256"])
def test_by_fingerprint_as_anybody_writes_it(fleet, digest):
    certificate = certificate_of(fleet, "laptop-2")
    serial = [numbers.hexadecimal(certificate.serial_number)]
    plain = certificate.fingerprint(digest).hex()
    path = fleet.file("laptop-2", ".crt")
    said = openssl("x509", "-in", path, "-noout", "-fingerprint", f"-{digest.name}", cwd=fleet.path).strip()
    for text in (plain, plain.upper(), said, said.partition("=")[2]):
        assert find(fleet, "fingerprint", text) == serial
        assert find(fleet, "anything", text) == serial
    revoke(fleet, "fingerprint", said)
    assert find(fleet, "fingerprint", plain) == serial


def test_by_file_pem_or_der(fleet, tmp_path):
    certificate = certificate_of(fleet, "laptop-2")
    (tmp_path / "x.der").write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    for path in (fleet.file("laptop-2", ".crt"), tmp_path / "x.der"):
        for kind in ("certificate", "anything"):
            assert find(fleet, kind, path) == [numbers.hexadecimal(certificate.serial_number)]


def test_a_certificate_that_is_on_file_but_not_in_the_index_is_entered_and_revoked(pki):
    serial = pki.one(Client("a")).entry.serial
    (pki.path / "index.txt").write_text("")
    (pki.path / "newcerts" / f"{serial}.pem").unlink()
    (pki.path / "clients/register.json").unlink()
    revoke(pki, "name", "a")
    assert [(row[0], row[3]) for row in pki.index()] == [("R", serial)]


def test_a_text_that_fits_two_things_is_refused(pki):
    serial = pki.one(Client("a")).entry.serial
    pki.one(Client(serial))
    with pytest.raises(MtlsError, match="fits as name and as serial; say which"):
        find(pki, "anything", serial)
    assert find(pki, "serial", serial) == [serial]
    assert find(pki, "name", serial) != [serial]
    own = pki.one(Client("b")).entry.serial
    assert find(pki, "anything", own.lower()) == [own]


@pytest.mark.parametrize(
    ("kind", "value", "complaint"),
    [
        ("name", "laptob", r"client 'laptob': the authority in \S+ has nothing of it; did you mean 'laptop'\?"),
        ("name", "../../etc", "begins with a dot"),
        ("name", "a/b", "contains '/'"),
        ("serial", "beef", "serial BEEF: was never issued"),
        ("serial", "xyz", "is not hexadecimal"),
        ("fingerprint", "ab" * 20, "is that of no certificate"),
        ("fingerprint", "ab" * 19, "neither SHA-1"),
        ("certificate", "ca.key", "holds no certificate"),
        ("certificate", "broken.der", "is damaged"),
        ("certificate", "foreign.crt", "was issued by CN=foreign, not by CN=Test CA"),
        ("anything", "nobody", "no client, serial or fingerprint like this"),
        ("anything", "foreign.crt", "no client, serial or fingerprint like this"),
    ],
)
def test_what_is_not_there_is_one_message_and_changes_nothing(fleet, tmp_path, kind, value, complaint):
    (tmp_path / "broken.der").write_bytes(b"\x30\x82")
    arguments = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=foreign")
    openssl("req", "-x509", *arguments, "-keyout", "foreign.key", "-out", "foreign.crt", cwd=tmp_path)
    place = {"ca.key": fleet.path, "broken.der": tmp_path, "foreign.crt": tmp_path}.get(value)
    before = tree(fleet.path)
    with pytest.raises(MtlsError, match=complaint):
        find(fleet, kind, place / value if place else value)
    assert tree(fleet.path) == before
