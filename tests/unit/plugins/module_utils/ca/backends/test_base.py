# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every authority with a directory does alike: its record, its certificates, the CRLs that it is given."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, ensure_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, keys, numbers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import audit
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import Pki, tree


def serial_of(pki: Pki, name: str) -> str:
    pki.one(Client(name))
    return pki.index()[-1][3]


def test_a_certificate_is_found_by_serial_and_by_fingerprint(pki):
    serial = serial_of(pki, "phone")
    with pki.open(read_only=True) as authority:
        certificate = authority.certificate(serial)
        assert numbers.hexadecimal(certificate.serial_number) == serial
        assert authority.find_by_fingerprint(certificate.fingerprint(hashes.SHA256()).hex()) == serial
        assert authority.find_by_fingerprint("00" * 32) is None


def test_a_certificate_whose_file_is_gone(pki):
    serial = serial_of(pki, "phone")
    (pki.path / "newcerts" / f"{serial}.pem").unlink()
    with (
        pki.open(read_only=True) as authority,
        pytest.raises(MtlsError, match=r"is missing although index.txt lists it; restore it from a backup"),
    ):
        authority.certificate(serial)


def test_entering_nothing_changes_nothing(pki):
    with pki.open() as authority:
        before = tree(pki.path)
        authority.enter([])
        assert tree(pki.path) == before


def test_what_is_not_recorded_cannot_be_revoked(pki):
    with pki.open() as authority, pytest.raises(MtlsError, match=r"serial AB: is not in .*index.txt; check it, or rev"):
        authority.revoke({"AB": "superseded"})


def test_an_authority_that_was_opened_to_read_changes_nothing(pki):
    serial = serial_of(pki, "phone")
    before = tree(pki.path)
    with pki.open(read_only=True) as authority:
        certificate = authority.certificate(serial)
        for work in (lambda: authority.enter([certificate]), lambda: authority.revoke({serial: "superseded"})):
            with pytest.raises(RuntimeError, match="opened read-only"):
                work()
    assert tree(pki.path) == before


def test_a_damaged_crl_counts_as_none(pki):
    (pki.path / "crl.pem").write_text("damaged")
    with pki.open() as authority:
        assert authority.crl() == b"damaged"
        assert authority.crl_state() is None
        assert any("crl.pem" in warning and "a new one takes its place" in warning for warning in authority.warnings)
        assert authority.write_crl(30).entries == 0
        assert authority.crl_state() is not None


@pytest.fixture
def below(pki, tmp_path) -> Pki:
    """An authority that `pki` has signed."""
    path = str(tmp_path / "below")
    wanted = WantedAuthority(path, {"CN": "Below"}, keys.KeyKind("ecdsa"), None, 100, 30)
    ensure_authority(Access(path), wanted, check=False, parent=Access(str(pki.path)))
    return Pki(tmp_path / "below")


def test_the_crl_of_the_ca_above_is_taken_and_kept(pki, below):
    given = (pki.path / "crl.pem").read_bytes()
    with below.open() as authority:
        authority.take_crls(given, "root.crl")
        authority.write_crl(30)
    both = crls.parse_crls((below.path / "crl.pem").read_bytes(), "crl.pem")
    assert [crl.parsed.issuer.rfc4514_string() for crl in both][1:] == ["CN=Test CA,O=Acme,C=ES"]
    with below.open() as authority:
        assert authority.crl_due(7) is None
        authority.take_crls(given, "root.crl")
        assert authority.crl_due(7) is None, "the same one again is nothing new"


def test_a_newer_crl_of_the_ca_above_makes_ours_due(pki, below):
    with below.open() as authority:
        authority.take_crls((pki.path / "crl.pem").read_bytes(), "root.crl")
        authority.write_crl(30)
    with pki.open() as root:
        root.write_crl(30)
    with below.open() as authority:
        authority.take_crls((pki.path / "crl.pem").read_bytes(), "root.crl")
        assert authority.crl_due(7) is not None


def test_a_crl_of_nobody_above_is_refused(pki, below, tmp_path):
    stranger = WantedAuthority(str(tmp_path / "other"), {"CN": "Other"}, keys.KeyKind("ecdsa"), None, 100, 30)
    creation.ensure(stranger, check=False)
    with below.open() as authority, pytest.raises(MtlsError, match=r"^other\.crl: a CRL in it is by CN=Other, and no"):
        authority.take_crls((tmp_path / "other" / "crl.pem").read_bytes(), "other.crl")


@pytest.mark.parametrize(
    ("did", "happened"),
    [
        ({"did": audit.ISSUED}, True),
        ({"did": audit.RENEWED, "serial": "AB"}, False),
        ({"did": audit.ENTERED}, True),
        ({"did": audit.REVOKED}, False),
        ({"did": audit.RELEASED}, True),
        ({"did": audit.CRL, "number": 1}, True),
        ({"did": audit.CRL, "number": 99}, False),
    ],
)
def test_an_act_of_a_killed_run_is_logged_if_it_took_place(pki, did, happened):
    line = json.dumps({"serial": serial_of(pki, "phone"), **did, "who": "somebody"})
    log = pki.path / "audit.log"
    header = json.dumps({"size": log.stat().st_size})
    (pki.path / audit.PENDING).write_text(f"{header}\n{line}\n")
    with pki.open():
        pass
    assert (line in log.read_text().splitlines()) is happened
    assert not (pki.path / audit.PENDING).exists()


def test_the_certificates_of_the_chain_are_as_in_the_file(pki):
    with pki.open(read_only=True) as authority:
        pem = b"".join(ca.public_bytes(serialization.Encoding.PEM) for ca in authority.chain)
    assert pem.strip() in (pki.path / "ca.crt").read_bytes()


def test_there_may_be_nothing_to_issue(pki):
    with pki.open() as authority:
        before = tree(pki.path)
        assert authority.issue([]) == []
        assert tree(pki.path) == before
