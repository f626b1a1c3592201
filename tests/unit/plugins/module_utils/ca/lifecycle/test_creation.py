# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new authority, and one made by hand that is adopted."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace
from types import MappingProxyType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.by_hand import rsa_key
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, Pki, later, lint, openssl, tree

FULL_SUBJECT = MappingProxyType(
    {
        "C": "ES",
        "ST": "Valencia",
        "L": "Valencia",
        "O": "Acme",
        "OU": "IT Services",
        "CN": "Acme Root CA",
    }
)

TEST_SUBJECT = MappingProxyType(SUBJECT)


def wanted(path, subject=TEST_SUBJECT, kind="ecdsa", passphrase=None, **options) -> WantedAuthority:
    options = {"days": 3650, "crl_days": 30, "key": keys.KeyKind(kind), **options}
    return WantedAuthority(str(path), subject, options["key"], passphrase, options["days"], options["crl_days"])


def test_a_new_authority_is_complete_and_passes_pkilint(tmp_path):
    outcome = creation.ensure(wanted(tmp_path / "pki", FULL_SUBJECT, passphrase="a long passphrase"), check=False)
    pki = tmp_path / "pki"
    assert outcome.created
    assert outcome.key_encrypted
    assert outcome.warnings == []
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in [pki, *pki.iterdir()]}
    assert modes == {
        "pki": "0o700",
        ".lock": "0o600",
        ".settled": "0o600",
        "audit.log": "0o600",
        "ca.crt": "0o644",
        "ca.key": "0o600",
        "clients": "0o700",
        "crl.pem": "0o644",
        "crlnumber": "0o600",
        "index.txt": "0o600",
        "index.txt.attr": "0o600",
        "newcerts": "0o700",
        "openssl.cnf": "0o600",
        "serial": "0o600",
        "servers": "0o700",
    }
    lint("cert", pki / "ca.crt")
    lint("chain", pki / "ca.crt", pki / "ca.crt")
    lint("crl", "-t", "CRL", "-p", "PKIX", pki / "crl.pem")
    text = openssl("x509", "-in", "ca.crt", "-noout", "-text", "-nameopt", "RFC2253", cwd=pki)
    for part in (
        "Subject: CN=Acme Root CA,OU=IT Services,O=Acme,L=Valencia,ST=Valencia,C=ES",
        "X509v3 Basic Constraints: critical",
        "CA:TRUE",
        "X509v3 Key Usage: critical",
        "Certificate Sign, CRL Sign",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
    ):
        assert part in text
    crl = openssl("crl", "-in", "crl.pem", "-CAfile", "ca.crt", "-noout", "-text", cwd=pki)
    assert "verify OK" in crl
    assert "No Revoked Certificates" in crl
    assert int((pki / "serial").read_text(), 16).bit_length() == 71


def test_the_second_run_and_check_mode_change_nothing(tmp_path):
    path = tmp_path / "pki"
    foreseen = creation.ensure(wanted(path), check=True)
    assert not path.exists()
    made = creation.ensure(wanted(path), check=False)
    assert sorted(foreseen.added) == sorted(made.added)
    before = tree(path)
    for check in (True, False):
        again = creation.ensure(wanted(path), check=check)
        assert (again.created, again.added) == (False, [])
        assert again.certificate == made.certificate
        assert tree(path) == before


@pytest.mark.parametrize("damage", ["missing", "damaged", "another's"])
def test_a_crl_that_is_not_there_or_not_ours_is_foreseen_and_made(pki, tmp_path, damage):
    if damage == "missing":
        (pki.path / "crl.pem").unlink()
    elif damage == "damaged":
        (pki.path / "crl.pem").write_text("damaged")
    else:
        creation.ensure(wanted(tmp_path / "other"), check=False)
        shutil.copy(tmp_path / "other" / "crl.pem", pki.path / "crl.pem")
    before = tree(pki.path)
    foreseen = creation.ensure(wanted(pki.path), check=True)
    assert tree(pki.path) == before
    made = creation.ensure(wanted(pki.path), check=False)
    assert foreseen.added == made.added == ["crl.pem"]
    assert foreseen.warnings == made.warnings
    assert "verify OK" in openssl("crl", "-in", "crl.pem", "-CAfile", "ca.crt", "-noout", cwd=pki.path)
    assert creation.ensure(wanted(pki.path), check=True).added == []


def test_a_key_without_a_passphrase_is_stored_in_clear_and_that_is_said(tmp_path):
    outcome = creation.ensure(wanted(tmp_path / "pki"), check=False)
    assert any("stored unencrypted" in warning for warning in outcome.warnings)
    assert b"BEGIN PRIVATE KEY" in (tmp_path / "pki/ca.key").read_bytes()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (keys.KeyKind("rsa", 2048), lambda key: isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048),
        (keys.KeyKind("ecdsa", curve="P-384"), lambda key: isinstance(key, ec.EllipticCurvePublicKey)),
    ],
)
def test_kinds_of_keys(tmp_path, kind, expected):
    creation.ensure(wanted(tmp_path / "pki", key=kind), check=False)
    assert expected(x509.load_pem_x509_certificate((tmp_path / "pki/ca.crt").read_bytes()).public_key())
    lint("cert", tmp_path / "pki/ca.crt")
    lint("crl", "-t", "CRL", "-p", "PKIX", tmp_path / "pki/crl.pem")
    Pki(tmp_path / "pki").one(Client("a"))
    openssl("verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem", "clients/a/a.crt", cwd=tmp_path / "pki")


def test_an_authority_killed_while_it_was_made_is_finished(tmp_path):
    creation.ensure(wanted(tmp_path / "pki"), check=False)
    key = (tmp_path / "pki/ca.key").read_bytes()
    keep = {"ca.key", ".lock", "audit.log"}
    for path in (tmp_path / "pki").iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    outcome = creation.ensure(wanted(tmp_path / "pki"), check=False)
    assert outcome.created
    assert (tmp_path / "pki/ca.key").read_bytes() == key
    Pki(tmp_path / "pki").one(Client("a"))


LINE = "V\t271123000000Z\t\t10\tunknown\t/CN=a\n"
MISTAKES = {
    "another subject": (lambda pki: None, {"subject": {"CN": "Other"}}, "is the authority CN=Test CA,O=Acme,C=ES"),
    "the key is gone": (lambda pki: (pki / "ca.key").unlink(), {}, "ca.key: is missing"),
    "a key of another authority": (
        lambda pki: (pki / "ca.key").write_bytes(
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", cwd=pki).encode()
        ),
        {},
        "ca.key: is not the key of",
    ),
    "the certificate is gone": (
        lambda pki: (pki / "index.txt").write_text(LINE) and (pki / "ca.crt").unlink(),
        {},
        "ca.crt: is missing although index.txt lists certificates",
    ),
    "the certificate is damaged": (lambda pki: (pki / "ca.crt").write_text("hello"), {}, "ca.crt: is damaged"),
    "the index is gone": (lambda pki: (pki / "index.txt").unlink(), {}, "index.txt: is missing, although"),
    "the index is cut off": (lambda pki: (pki / "index.txt").write_text("V\t27"), {}, "index.txt, line 1: is cut off"),
    "serial is garbage": (lambda pki: (pki / "serial").write_text("?\n"), {}, None),
}


@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_used_is_refused_and_left_alone(pki, mistake, check):
    damage, options, complaint = MISTAKES[mistake]
    damage(pki.path)
    before = tree(pki.path)
    if complaint is None:
        creation.ensure(wanted(pki.path, **options), check=check)  # only issuing needs the serial
        return
    with pytest.raises(MtlsError) as caught:
        creation.ensure(wanted(pki.path, **options), check=check)
    assert complaint in str(caught.value)
    assert tree(pki.path) == before


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"subject": None}, "no subject"),
        ({"subject": {"C": "Spain"}}, "authority"),
        ({"key": keys.KeyKind("rsa", 1024)}, "key_size: 1024 bits are too few"),
        ({"days": 99999999}, "year 9999"),
    ],
)
def test_an_authority_that_cannot_be_is_not_begun(tmp_path, options, complaint):
    with pytest.raises(MtlsError, match=complaint):
        creation.ensure(wanted(tmp_path / "pki", **options), check=False)
    assert not (tmp_path / "pki/ca.key").exists()


def test_a_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "pki").write_text("")
    with pytest.raises(MtlsError, match="is a file"):
        creation.ensure(wanted(tmp_path / "pki"), check=False)


def test_passphrases(tmp_path):
    creation.ensure(wanted(tmp_path / "pki", passphrase="geheim"), check=False)
    before = tree(tmp_path / "pki")
    with pytest.raises(MtlsError, match="no passphrase was given; set mtls_ca_passphrase"):
        Pki(tmp_path / "pki").one(Client("a"))
    with pytest.raises(MtlsError, match="the passphrase is wrong"):
        Pki(tmp_path / "pki", "falsch").one(Client("a"))
    assert tree(tmp_path / "pki") == before
    assert Pki(tmp_path / "pki", "geheim").one(Client("a")).action == "issued"


def test_a_passphrase_for_a_key_in_clear_is_a_warning(pki):
    with pki.open() as authority:
        assert authority.warnings == []
    pki.passphrase = "geheim"
    with pki.open() as authority:
        assert any("unencrypted although a passphrase is set" in warning for warning in authority.warnings)


def make_by_hand(
    pki, *, constraints: str = "CA:TRUE", usage: str | None = None, bits: int = 2048, digest: str = "sha256"
) -> None:
    """The usual manual procedure."""
    pki.mkdir()
    (pki / "ca.key").write_bytes(rsa_key(0, bits))
    extensions = ["-addext", f"basicConstraints=critical,{constraints}"]
    extensions += ["-addext", f"keyUsage={usage}"] if usage else []
    arguments = ("-key", "ca.key", f"-{digest}", "-days", "3650", "-subj", "/C=ES/O=Lab/CN=Hand CA")
    openssl("req", "-new", "-x509", *arguments, *extensions, "-out", "ca.crt", cwd=pki)
    os.chmod(pki / "ca.key", 0o600)
    (pki / "index.txt").touch()
    (pki / "serial").write_text("1000\n")
    (pki / "newcerts").mkdir()


HAND_CONFIG = """\
[ca]
default_ca = x
[x]
database = index.txt
serial = serial
new_certs_dir = newcerts
certificate = ca.crt
private_key = ca.key
default_md = sha256
default_days = 365
policy = p
[p]
commonName = supplied
"""


HAND_SUBJECT = {"C": "ES", "O": "Lab", "CN": "Hand CA"}


@pytest.mark.parametrize("check", [True, False])
def test_a_weak_key_of_the_ca_is_told_with_what_to_do(tmp_path, check):
    path = tmp_path / "pki"
    make_by_hand(path, bits=1024)
    said = openssl("verify", "-auth_level", "2", "-CAfile", "ca.crt", "ca.crt", cwd=path, ok=None)
    assert "key too small" in said or "too weak" in said
    found = creation.ensure(wanted(path, HAND_SUBJECT, "rsa"), check=check)
    (warning,) = [each for each in found.warnings if "1024 bits" in each]
    assert warning.startswith(f"{path}/ca.crt: the CA CN=Hand CA,O=Lab,C=ES has an RSA key of 1024 bits")
    assert warning.endswith("begin a rollover to a new CA (playbook mtls.nginx.rollover)")


def test_a_root_signed_with_sha1_is_told_and_renewed(tmp_path):
    path = tmp_path / "pki"
    make_by_hand(path, digest="sha1")
    found = creation.ensure(wanted(path, HAND_SUBJECT, "rsa"), check=False)
    (warning,) = [each for each in found.warnings if "SHA-1" in each]
    assert "mtls_ca_renew_before" in warning
    renewing = replace(wanted(path, HAND_SUBJECT, "rsa", days=7300), renew_before=3651)
    found = creation.ensure(renewing, check=False)
    assert "renewed" in found.updated["ca.crt"]
    again = creation.ensure(wanted(path, HAND_SUBJECT, "rsa"), check=False)
    assert not any("SHA-1" in each or "1024" in each for each in again.warnings)


def test_a_directory_made_by_hand_is_adopted_and_openssl_goes_on_working_in_it(tmp_path):
    path = tmp_path / "pki"
    make_by_hand(path)
    pki = Pki(path)
    (tmp_path / "hand.cnf").write_text(HAND_CONFIG)
    (path / "clients/iphone-admin").mkdir(parents=True)
    by_hand = ("ca", "-batch", "-config", "../hand.cnf")
    for name in ("iphone-admin", "elsewhere"):
        request = pki.csr(name)
        openssl(*by_hand, "-in", request, "-out", tmp_path / f"{name}.crt", cwd=path)
    shutil.copy(tmp_path / "iphone-admin.crt", pki.file("iphone-admin", ".crt"))
    shutil.copy(tmp_path / "iphone-admin.key", pki.file("iphone-admin", ".key"))
    assert (path / "index.txt.attr").read_text() == "unique_subject = yes\n"
    untouched = {name: (path / name).read_bytes() for name in ("ca.crt", "ca.key", "index.txt", "serial")}

    outcome = creation.ensure(wanted(path, None, "rsa"), check=False)
    assert not outcome.created
    assert sorted(outcome.added) == ["crl.pem", "crlnumber", "index.txt.attr", "openssl.cnf", "servers"]
    assert {name: (path / name).read_bytes() for name in untouched} == untouched
    assert creation.ensure(wanted(path, None, "rsa"), check=False).added == []

    done = pki.serve(Client("iphone-admin"), Client("new"), Client("elsewhere"))
    adopted, new, elsewhere = done.results
    assert (adopted.action, adopted.entry.serial) == ("updated", "1000")
    assert "the .p12 was missing" in adopted.because
    assert (new.action, new.entry.serial) == ("issued", "1002")
    assert (elsewhere.action, elsewhere.entry.serial, elsewhere.p12) == ("updated", "1001", None)
    assert any("private key is not here" in warning for warning in done.warnings)
    assert (path / "serial").read_text() == "1003\n"

    request = pki.csr("third")
    pki.ca("-in", request, "-out", "third.crt")
    assert [(row[0], row[3]) for row in pki.index()] == [("V", f"{n}") for n in (1000, 1001, 1002, 1003)]
    assert [stray.serial for stray in pki.serve(Client("iphone-admin")).unmanaged] == ["1001", "1002", "1003"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"constraints": "CA:FALSE"}, "is not the certificate of a CA"),
        ({"usage": "keyCertSign"}, "lacks cRLSign"),
        ({"usage": "cRLSign"}, "lacks keyCertSign"),
    ],
)
def test_a_certificate_that_is_no_good_ca_is_refused(tmp_path, options, complaint):
    path = tmp_path / "pki"
    make_by_hand(path, **options)
    before = tree(path)
    with pytest.raises(MtlsError, match=complaint):
        creation.ensure(wanted(path, None, "rsa"), check=True)
    assert tree(path) == before


@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_an_expired_authority_issues_nothing(pki, monkeypatch, check):
    before = tree(pki.path)
    later(monkeypatch, days=3651)
    with pytest.raises(MtlsError, match=r"ca\.crt: the authority's certificate expired on 20"):
        creation.ensure(wanted(pki.path), check=check)
    with pytest.raises(MtlsError, match="expired on"):
        pki.one(Client("a"), check=check)
    assert tree(pki.path) == before


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"passphrase": "x" * 1024}, "1024 bytes, and at most 1023 are possible"),
        ({"passphrase": "\udcff"}, "not text in UTF-8"),
        ({"crl_days": 10**9}, "year 9999"),
        ({"key": keys.KeyKind("rsa", 16385)}, "use at most 16384"),
        ({"path": ""}, "cannot be the authority's directory"),
        ({"path": "/nowhere\0"}, "cannot be the authority's directory"),
    ],
)
def test_what_cannot_be_is_found_before_anything_is_made(tmp_path, options, complaint):
    wanted = {
        "path": str(tmp_path / "pki"),
        "key": keys.KeyKind("ecdsa"),
        "passphrase": None,
        "crl_days": 30,
        **options,
    }
    with pytest.raises(MtlsError, match=complaint):
        creation.ensure(WantedAuthority(subject=SUBJECT, days=3650, **wanted), check=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("passphrase", "short"), [("abc", True), ("elevenchars", True), ("twelve chars", False)])
def test_a_short_passphrase_is_warned_of_in_check_mode_too(tmp_path, passphrase, short):
    for check in (True, False):
        outcome = creation.ensure(wanted(tmp_path / "pki", passphrase=passphrase), check=check)
        said = [
            warning for warning in outcome.warnings if f"its passphrase has {len(passphrase)} characters" in warning
        ]
        assert len(said) == short
        assert not any(passphrase in warning for warning in outcome.warnings)
