# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apple profiles: what is in them, when they are written, who signed them."""

from __future__ import annotations

import os
import plistlib
import shutil
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.mobileconfig import ProfileMaker, Signer
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import Register
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.by_hand import rsa_key
from ansible_collections.mtls.nginx.tests.unit.support import later, openssl, tree

PHONE = Client("phone", mobileconfig=True)


def profile(pki, name: str = "phone") -> dict:
    return plistlib.loads(pki.file(name, ".mobileconfig").read_bytes())


@pytest.fixture(scope="module", params=["rsa", "ec"])
def signing(request, tmp_path_factory):
    """A folder with a signing certificate and the CA that issued it."""
    folder = tmp_path_factory.mktemp("signing")
    for number, name in enumerate(("top", "s")):
        if request.param == "rsa":
            (folder / f"{name}.key").write_bytes(rsa_key(number))
        else:
            curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
            openssl("genpkey", *curve, "-out", f"{name}.key", cwd=folder)
    openssl("req", "-x509", "-key", "top.key", "-subj", "/CN=Signing CA", "-out", "top.crt", cwd=folder)
    openssl("req", "-new", "-key", "s.key", "-subj", "/CN=profiles.lan", "-out", "s.csr", cwd=folder)
    by_top = ("-CA", "top.crt", "-CAkey", "top.key")
    openssl("x509", "-req", "-in", "s.csr", *by_top, "-out", "s.crt", "-days", "30", cwd=folder)
    return folder


@pytest.fixture
def signer(signing, tmp_path):
    """A copy of the folder in the test's own, and the paths of certificate and key in it."""
    shutil.copytree(signing, tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "s.crt"), str(tmp_path / "s.key")


def test_a_profile_holds_the_p12_and_no_password(pki):
    result = pki.one(PHONE)
    assert result.mobileconfig == str(pki.file("phone", ".mobileconfig"))
    assert stat.S_IMODE(os.stat(result.mobileconfig).st_mode) == 0o600
    content = profile(pki)
    (identity,) = content["PayloadContent"]
    assert (content["PayloadType"], content["PayloadVersion"]) == ("Configuration", 1)
    assert content["PayloadDisplayName"] == "phone (Test CA)"
    assert content["PayloadRemovalDisallowed"] is False
    assert identity["PayloadType"] == "com.apple.security.pkcs12"
    assert identity["PayloadContent"] == pki.file("phone", ".p12").read_bytes()
    assert "Password" not in identity
    password = pki.file("phone", ".p12.password").read_bytes().strip()
    assert password not in pki.file("phone", ".mobileconfig").read_bytes()
    assert identity["PayloadIdentifier"].startswith(content["PayloadIdentifier"] + ".")
    assert identity["PayloadUUID"] != content["PayloadUUID"] == content["PayloadUUID"].upper()


@pytest.mark.parametrize(
    ("subject", "title"),
    [
        ([("O", "Acme"), ("CN", "Acme CA")], "Acme CA"),
        ([("CN", "An\0\u202ea CA")], "Ana CA"),  # XML has no NUL, and the other turns the rest of the line around
        ([("CN", "\x07"), ("CN", "Second CA")], "Second CA"),
        ([("O", "Acme"), ("CN", "\x07")], "Acme"),
        ([("C", "ES"), ("O", "Acme")], "Acme"),
        ([("C", "ES")], "mtls.nginx"),
        ([("O", "\x07"), ("CN", "\x07")], "mtls.nginx"),
    ],
)
def test_a_profile_names_its_ca_in_characters_that_can_be_shown(subject, title):
    oids = {"C": x509.NameOID.COUNTRY_NAME, "O": x509.NameOID.ORGANIZATION_NAME, "CN": x509.NameOID.COMMON_NAME}
    name = x509.Name([x509.NameAttribute(oids[kind], value) for kind, value in subject])
    key, now = ec.generate_private_key(ec.SECP256R1()), times.now()
    ca = x509.CertificateBuilder(name, name, key.public_key(), 1, now, times.in_days(now, 1, "")).sign(
        key, hashes.SHA256()
    )
    profile = plistlib.loads(ProfileMaker([ca]).make("phone", b"packed"))
    assert profile["PayloadDisplayName"] == f"phone ({title})"
    assert profile["PayloadOrganization"] == title


def test_the_ca_is_a_root_payload_when_wanted(pki):
    pki.one(PHONE)
    result = pki.one(PHONE, profile_ca=True)
    assert (result.action, result.because) == ("updated", "the .mobileconfig was missing or not as wanted")
    _identity, root = profile(pki)["PayloadContent"]
    assert root["PayloadType"] == "com.apple.security.root"
    ca = x509.load_pem_x509_certificate((pki.path / "ca.crt").read_bytes())
    assert root["PayloadContent"] == ca.public_bytes(serialization.Encoding.DER)
    assert pki.one(PHONE, profile_ca=True).action == "unchanged"


def test_somebody_to_ask_is_named_and_a_new_one_writes_it_again(pki):
    pki.one(PHONE)
    assert "Questions" not in profile(pki)["PayloadDescription"]
    ana = Contact("Ana & Co", "mailto:ana@example.com")
    assert pki.one(PHONE, contact=ana).action == "updated"
    assert profile(pki)["PayloadDescription"].endswith(" Questions: Ana & Co (ana@example.com).")
    assert pki.one(PHONE, contact=ana).action == "unchanged"
    assert pki.one(PHONE).action == "updated"


def test_a_renewed_profile_replaces_the_one_on_the_device(pki, monkeypatch):
    pki.serve(PHONE, Client("pad", mobileconfig=True))
    before = profile(pki)
    later(monkeypatch, days=340)
    assert pki.one(PHONE).action == "renewed"
    after = profile(pki)
    assert after["PayloadContent"][0]["PayloadContent"] != before["PayloadContent"][0]["PayloadContent"]
    for key in ("PayloadIdentifier", "PayloadUUID"):
        assert after[key] == before[key] != profile(pki, "pad")[key]
        assert after["PayloadContent"][0][key] == before["PayloadContent"][0][key]


def test_an_unchanged_run_opens_nothing_and_a_lost_register_changes_nothing(pki, monkeypatch):
    pki.one(PHONE)
    before = tree(pki.path / "clients/phone")
    monkeypatch.setattr(plistlib, "dumps", None)
    assert pki.one(PHONE).action == "unchanged"
    monkeypatch.undo()
    (pki.path / "clients/register.json").unlink()
    assert pki.one(PHONE).action == "unchanged"
    assert tree(pki.path / "clients/phone") == before
    assert "mobileconfig" in Register.load(str(pki.path)).remembered("phone").files


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x")])
@pytest.mark.parametrize("signed", [False, True])
def test_a_deleted_or_altered_profile_is_restored_and_check_mode_says_so(pki, signer, spoil, signed):
    options = {"profile_signer": Signer.load(*signer, None)} if signed else {}
    pki.one(PHONE, **options)
    path = pki.file("phone", ".mobileconfig")
    good = path.read_bytes()
    others = {name: content for name, content in tree(pki.path / "clients/phone").items() if name != str(path)}
    spoil(path)
    before = tree(pki.path)
    foreseen = pki.one(PHONE, check=True, **options)
    assert tree(pki.path) == before
    done = pki.one(PHONE, **options)
    assert (foreseen.action, foreseen.because, foreseen.mobileconfig) == (done.action, done.because, done.mobileconfig)
    assert done.action == "updated"
    assert signed or path.read_bytes() == good
    assert path.read_bytes() != b"x"
    after = tree(pki.path / "clients/phone")
    assert {name: content for name, content in after.items() if name != str(path)} == others


def test_switched_off_it_goes_and_without_a_p12_there_is_none(pki):
    pki.serve(PHONE, Client("ci", p12="none", mobileconfig=True))
    assert not pki.file("ci", ".mobileconfig").exists()
    result = pki.one(Client("phone"))
    assert (result.because, result.mobileconfig) == ("no .mobileconfig is wanted any more", None)
    assert not pki.file("phone", ".mobileconfig").exists()
    pki.one(PHONE)
    assert pki.file("phone", ".mobileconfig").exists()
    pki.one(Client("phone", p12="none", mobileconfig=True))
    assert not pki.file("phone", ".mobileconfig").exists()


def test_a_name_of_any_letters_is_a_profile(pki):
    name = 'José & <"Söhne"> 😀'
    pki.one(Client(name, mobileconfig=True))
    assert profile(pki, name)["PayloadContent"][0]["PayloadDisplayName"] == name


def test_openssl_verifies_the_signature_and_finds_the_content(pki, signer, tmp_path):
    (tmp_path / "chain.crt").write_text((tmp_path / "s.crt").read_text() + (tmp_path / "top.crt").read_text())
    pki.one(PHONE)
    plain = pki.file("phone", ".mobileconfig").read_bytes()
    loaded = Signer.load(str(tmp_path / "chain.crt"), signer[1], None)
    pki.one(PHONE, profile_signer=loaded)
    signed = pki.file("phone", ".mobileconfig")
    for command in ("smime", "cms"):
        verify = (command, "-verify", "-binary", "-inform", "der", "-CAfile", "top.crt", "-purpose", "any")
        openssl(*verify, "-in", signed, "-out", "back.plist", cwd=tmp_path)
        assert (tmp_path / "back.plist").read_bytes() == plain
    bag = openssl("pkcs7", "-inform", "der", "-in", signed, "-print_certs", "-noout", cwd=tmp_path)
    assert "CN = profiles.lan" in bag
    assert bag.count("subject=") == 2


def test_only_other_content_or_another_signer_is_signed_again(pki, signer, tmp_path):
    options = {"profile_signer": Signer.load(*signer, None)}
    pki.one(PHONE, **options)
    before = pki.file("phone", ".mobileconfig").read_bytes()
    os.utime(pki.file("phone", ".p12"))
    assert pki.one(PHONE, **options).action == "unchanged"
    assert pki.file("phone", ".mobileconfig").read_bytes() == before
    another = ("-CA", "top.crt", "-CAkey", "top.key", "-days", "60")
    openssl("x509", "-req", "-in", "s.csr", *another, "-out", "s.crt", cwd=tmp_path)
    assert pki.one(PHONE, profile_signer=Signer.load(*signer, None)).action == "updated"
    assert pki.one(PHONE).action == "updated"  # not signed any more
    assert profile(pki)


def test_a_signer_that_is_none_is_refused(signer, tmp_path, monkeypatch):
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "other.key", cwd=tmp_path)
    with pytest.raises(MtlsError, match="is not the key of"):
        Signer.load(signer[0], str(tmp_path / "other.key"), None)
    openssl("pkey", "-in", "s.key", "-aes256", "-passout", "pass:of the signer", "-out", "locked.key", cwd=tmp_path)
    assert Signer.load(signer[0], str(tmp_path / "locked.key"), "of the signer")
    with pytest.raises(MtlsError, match="passphrase is wrong"):
        Signer.load(signer[0], str(tmp_path / "locked.key"), "falsch")
    later(monkeypatch, days=31)
    with pytest.raises(MtlsError, match=r"s\.crt is valid from .* renew it"):
        Signer.load(*signer, None)


def test_a_signer_with_an_ed25519_key_is_refused(tmp_path):
    names = ("-nodes", "-subj", "/CN=signer", "-keyout", "e.key", "-out", "e.crt")
    openssl("req", "-x509", "-newkey", "ed25519", *names, cwd=tmp_path)
    with pytest.raises(MtlsError, match=r"profile_signer: \S+/e\.key is an Ed25519 key, which devices do not know"):
        Signer.load(str(tmp_path / "e.crt"), str(tmp_path / "e.key"), None)
