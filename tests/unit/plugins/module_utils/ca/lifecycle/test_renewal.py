# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CA certificate is renewed with its key: whatever it signed stays good, by openssl's judgement."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation, renewal
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured, WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import Pki, later, lint, openssl, tree

VERIFY = ("verify", "-crl_check", "-CRLfile", "crl.pem", "-CAfile")


def ensure(pki, *, check=False, days=3650, **options) -> Ensured:
    wanted = WantedAuthority(str(pki.path), None, keys.KeyKind("ecdsa"), pki.passphrase, days, 30, **options)
    return creation.ensure(wanted, check=check)


def ca_of(pki) -> x509.Certificate:
    return x509.load_pem_x509_certificate((pki.path / "ca.crt").read_bytes())


def identifier(certificate) -> bytes:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


@pytest.mark.parametrize(("days", "early"), [(3650, 455), (100, 25)])
def test_it_is_early_in_the_last_quarter_and_455_days_before_the_end_at_most(tmp_path, monkeypatch, days, early):
    wanted = WantedAuthority(str(tmp_path / "pki"), {"CN": "CA"}, keys.KeyKind("ecdsa"), None, days, 30)
    ca = creation.ensure(wanted, check=False).certificate
    for left, is_early in ((early + 1, False), (early - 1, True)):
        with monkeypatch.context() as patched:
            later(patched, days=days - left)
            assert (renewal.ends_early(ca), renewal.is_due(ca, left)) == (is_early, True)
    later(monkeypatch, days=days + 1)
    assert not renewal.is_due(ca, 0)


def test_with_the_key_of_another_ca_nothing_is_renewed(pki):
    openssl("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ca.key", cwd=pki.path)
    before = tree(pki.path)
    for check in (True, False):
        with pytest.raises(MtlsError, match=r"ca\.key: is not the key of .*ca\.crt; restore the two files"):
            ensure(pki, check=check, days=7300, renew_before=3651)
    assert tree(pki.path) == before


def test_a_renewed_ca_has_another_serial_and_nothing_it_signed_notices(pki):
    pki.serve(Client("good"), Client("bad"))
    pki.one(Client("bad", revoked=True))
    with pki.open() as authority:
        authority.write_crl(30)
    old, crl = ca_of(pki), (pki.path / "crl.pem").read_bytes()
    before = tree(pki.path)
    foreseen = ensure(pki, check=True, days=7300, renew_before=3651)
    assert tree(pki.path) == before
    outcome = ensure(pki, days=7300, renew_before=3651)
    assert list(outcome.updated) == list(foreseen.updated) == ["ca.crt"]
    new = ca_of(pki)
    assert (new.subject.public_bytes(), identifier(new)) == (old.subject.public_bytes(), identifier(old))
    assert new.public_key() == old.public_key()
    assert new.serial_number != old.serial_number
    assert (new.not_valid_after_utc - old.not_valid_after_utc).days >= 3649
    assert outcome.certificate == new
    lint("cert", pki.path / "ca.crt")
    kept = pki.path / f"ca-{old.serial_number:X}.crt"
    assert x509.load_pem_x509_certificate(kept.read_bytes()) == old
    assert (pki.path / "crl.pem").read_bytes() == crl
    for ca in ("ca.crt", kept):
        assert "OK" in openssl(*VERIFY, ca, "clients/good/good.crt", cwd=pki.path)
        assert "certificate revoked" in openssl(*VERIFY, ca, "clients/bad/bad.crt", cwd=pki.path, ok=False)
    assert json.loads((pki.path / "audit.log").read_text().splitlines()[-1])["did"] == "ca renewed"
    before = tree(pki.path)
    assert ensure(pki, days=7300, renew_before=3651).updated == {}
    assert tree(pki.path) == before

    # The ordinary run puts the new chain into the .p12; key and certificate stay.
    files = {ending: pki.file("good", ending).read_bytes() for ending in (".key", ".crt")}
    done = pki.serve(Client("good"), Client("bad", revoked=True)).results
    assert [result.action for result in done] == ["updated", "unchanged"]
    assert {ending: pki.file("good", ending).read_bytes() for ending in files} == files
    password = pki.file("good", ".p12.password").read_text().strip().encode()
    content = pkcs12.load_pkcs12(pki.file("good", ".p12").read_bytes(), password)
    assert [extra.certificate for extra in content.additional_certs] == [new]
    assert pki.one(Client("late", days=5000)).action == "issued"
    assert "OK" in openssl(*VERIFY, "ca.crt", "clients/late/late.crt", cwd=pki.path)


def test_without_being_asked_it_only_warns_and_early(pki, monkeypatch):
    assert not any("expires on" in warning for warning in ensure(pki).warnings)
    later(monkeypatch, days=3650 - 440)
    before = tree(pki.path)
    for check in (True, False):
        outcome = ensure(pki, check=check)
        assert any("expires on" in warning and "mtls_ca_renew_before" in warning for warning in outcome.warnings)
        assert outcome.updated == {}
    assert (pki.path / "ca.crt").read_bytes() == before[str(pki.path / "ca.crt")][0]


def test_an_ended_ca_comes_back(pki, monkeypatch):
    pki.one(Client("a", days=3600))
    later(monkeypatch, days=3660)
    assert list(ensure(pki, check=True, renew_before=1).updated) == ["ca.crt"]
    assert list(ensure(pki, renew_before=1).updated) == ["ca.crt"]
    assert pki.one(Client("b")).action == "issued"


def test_when_certificates_name_the_serial_of_their_ca_it_stays(pki):
    """As easy-rsa and many a page of openssl commands have it: authorityKeyIdentifier = keyid, issuer:always."""
    config = (pki.path / "openssl.cnf").read_text()
    always = config.replace("authorityKeyIdentifier = keyid\n", "authorityKeyIdentifier = keyid, issuer:always\n")
    (pki.path / "always.cnf").write_text(always)
    request = pki.csr("a")
    openssl("ca", "-batch", "-config", "always.cnf", "-in", request, "-out", "a.crt", cwd=pki.path)
    old = ca_of(pki)
    outcome = ensure(pki, days=7300, renew_before=3651)
    assert any("same serial number" in warning for warning in outcome.warnings)
    assert ca_of(pki).serial_number == old.serial_number
    assert ca_of(pki) != old
    assert "OK" in openssl(*VERIFY, "ca.crt", "a.crt", cwd=pki.path)
    ensure(pki, days=10000, renew_before=7301)
    assert len(list(pki.path.glob("ca-*.crt"))) == 2
    assert "OK" in openssl(*VERIFY, "ca.crt", "a.crt", cwd=pki.path)


@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"days": 3660, "renew_before": 3660}, "every run would renew"),
        ({"days": 99999999, "renew_before": 3660}, "year 9999"),
        ({"renew_before": 10**9, "days": 10**9 + 1}, "year 9999"),
    ],
)
def test_what_makes_no_sense_is_refused(pki, options, complaint, check):
    before = tree(pki.path)
    with pytest.raises(MtlsError, match=complaint):
        ensure(pki, check=check, **options)
    assert tree(pki.path) == before


def test_a_ca_below_another_is_renewed_by_that_one(pki, tmp_path, monkeypatch):
    """And that one is elsewhere: all there is to do is to say so, each time."""
    arguments = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=Root")
    openssl("req", "-x509", *arguments, "-days", "4000", "-keyout", "root.key", "-out", "root.crt", cwd=tmp_path)
    openssl(
        *("x509", "-in", pki.path / "ca.crt", "-CA", "root.crt", "-CAkey", "root.key", "-CAcreateserial"),
        *("-days", "1000", "-out", "ca.crt"),
        cwd=tmp_path,
    )
    (pki.path / "ca.crt").write_text((tmp_path / "ca.crt").read_text() + (tmp_path / "root.crt").read_text())
    before = (pki.path / "ca.crt").read_bytes()
    for check in (True, False):
        outcome = ensure(pki, check=check, days=7300, renew_before=1001)
        assert any("have the CA above sign it again for its key, and put" in warning for warning in outcome.warnings)
        assert outcome.updated == {}
    assert (pki.path / "ca.crt").read_bytes() == before
    later(monkeypatch, days=1001)
    with pytest.raises(MtlsError, match=r"expired on .*, or bring what the CA above has signed again"):
        ensure(pki, days=7300, renew_before=1001)


def test_an_authority_with_an_ed25519_key_is_made_renewed_and_protected(tmp_path):
    pki = Pki(tmp_path / "pki", passphrase="the first passphrase")
    wanted = WantedAuthority(str(pki.path), {"CN": "Edwards"}, keys.KeyKind("ed25519"), pki.passphrase, 3650, 30)
    creation.ensure(wanted, check=False)
    lint("cert", pki.path / "ca.crt")
    pki.serve(Client("good", key_type="ed25519"), Client("bad", key_type="rsa"))
    pki.one(Client("bad", revoked=True))
    with pki.open() as authority:
        authority.write_crl(30)
    lint("crl", "-t", "CRL", "-p", "PKIX", pki.path / "crl.pem")
    assert creation.ensure(wanted, check=False).updated == {}
    renewed = creation.ensure(replace(wanted, days=7300, renew_before=3651), check=False)
    assert list(renewed.updated) == ["ca.crt"]
    assert renewed.warnings == []
    assert "OK" in openssl(*VERIFY, "ca.crt", "clients/good/good.crt", cwd=pki.path)
    assert "certificate revoked" in openssl(*VERIFY, "ca.crt", "clients/bad/bad.crt", cwd=pki.path, ok=False)
    changed = replace(wanted, passphrase="the second passphrase", old_passphrase="the first passphrase")
    assert list(creation.ensure(changed, check=False).updated) == ["ca.key"]
    pki.passphrase = "the second passphrase"
    assert pki.one(Client("good", key_type="ed25519")).action == "updated"  # its .p12 has the CA's certificate
    assert pki.one(Client("good", key_type="ed25519")).action == "unchanged"
    assert pki.one(Client("late", key_type="ed25519")).action == "issued"
