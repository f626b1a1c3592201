# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients: who gets a certificate, who keeps it, who loses it."""

from __future__ import annotations

import os
import shutil
import stat
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import client_files, clients, p12, servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import Register
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, later, openssl, tree

PEPE = Client("pepe", {"C": "ES", "O": "Acme", "CN": "José"})


def statuses(pki) -> list[str]:
    return [row[0] for row in pki.index()]


def test_a_client_gets_key_certificate_and_p12_with_the_right_modes(pki):
    result = pki.one(Client("iphone-admin"))
    assert (result.action, result.because, result.before) == ("issued", "had no certificate", None)
    directory = pki.path / "clients/iphone-admin"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {
        "iphone-admin.crt": 0o644,
        "iphone-admin.key": 0o600,
        "iphone-admin.p12": 0o600,
        "iphone-admin.p12.password": 0o600,
    }
    certificate = x509.load_pem_x509_certificate(pki.file("iphone-admin", ".crt").read_bytes())
    issued = pki.path / "newcerts" / f"{result.entry.serial}.pem"
    assert x509.load_pem_x509_certificate(issued.read_bytes()) == certificate
    assert result.entry.dn == "CN=iphone-admin"
    assert result.entry.fingerprint == certificate.fingerprint(hashes.SHA1()).hex()
    assert certificate.not_valid_after_utc - times.now() <= timedelta(days=365)
    assert certificate.not_valid_before_utc < times.now()


def test_the_default_key_is_rsa_2048_and_p256_by_option(pki):
    pki.serve(Client("phone"), Client("pad", key_type="ecdsa"), key_type="rsa")
    loaded = {
        name: serialization.load_pem_private_key(pki.file(name, ".key").read_bytes(), None) for name in ("phone", "pad")
    }
    assert isinstance(loaded["phone"], rsa.RSAPrivateKey)
    assert loaded["phone"].key_size == 2048
    assert isinstance(loaded["pad"].curve, ec.SECP256R1)


def test_the_second_run_and_check_mode_change_nothing_and_open_nothing(pki, monkeypatch):
    request = pki.csr("device")
    wanted = (
        Client("a"),
        PEPE,
        Client("device", csr=str(request)),
        Client("gone", revoked=True),
        Client("b", p12="none"),
    )
    foreseen = pki.serve(*wanted, check=True)
    assert [result.action for result in foreseen.results] == ["issued", "issued", "issued", "unchanged", "issued"]
    assert not (pki.path / "clients/a").exists()
    pki.serve(*wanted)
    before = tree(pki.path)
    monkeypatch.setattr(client_files, "examine", lambda *_: pytest.fail("files were opened"))
    for check in (False, True):
        done = pki.serve(*wanted, check=check)
        assert {result.action for result in done.results} == {"unchanged"}
        assert done.unmanaged == []
        assert tree(pki.path) == before


@pytest.mark.parametrize(
    ("ending", "action", "because"),
    [
        (".crt", "updated", "the file of certificate"),
        (".p12", "updated", "the .p12 was missing"),
        (".p12.password", "updated", "the .p12 was missing"),
        (".key", "issued", "the private key was gone"),
    ],
)
@pytest.mark.parametrize("damage", ["removed", "altered"])
def test_a_missing_or_altered_file_is_noticed(pki, ending, action, because, damage):
    first = pki.one(Client("a"))
    path = pki.file("a", ending)
    if damage == "removed":
        path.unlink()
    elif ending in (".crt", ".key"):
        path.write_bytes(b"hello")
        with pytest.raises(MtlsError, match=f"a{ending}: (is damaged|holds no private key)"):
            pki.one(Client("a"))
        return
    else:
        path.write_bytes(path.read_bytes()[:-3] + b"abc")
    foreseen = pki.one(Client("a"), check=True)
    result = pki.one(Client("a"))
    assert foreseen.action == result.action == action
    assert because in result.because
    assert (result.entry.serial == first.entry.serial) is (action == "updated")
    password = pki.file("a", ".p12.password").read_text().strip()
    openssl("pkcs12", "-in", result.p12, "-noout", "-passin", f"pass:{password}", cwd=pki.path)
    assert pki.one(Client("a")).action == "unchanged"


def test_an_unchanged_p12_is_not_rewritten_even_when_the_register_is_lost_or_the_times_differ(pki):
    wanted = (Client("a"), PEPE._replace(p12="modern", p12_password="hello world"))
    pki.serve(*wanted)
    kept = {path: path.read_bytes() for path in pki.path.rglob("*") if path.suffix in (".p12", ".key", ".crt")}
    for disturb in ((pki.path / "clients/register.json").unlink, lambda: [os.utime(path) for path in kept]):
        disturb()
        assert {result.action for result in pki.serve(*wanted).results} == {"unchanged"}
        assert {path: path.read_bytes() for path in kept} == kept
        assert (pki.path / "clients/register.json").exists()


def test_a_damaged_register_is_made_again(pki):
    pki.one(Client("a"))
    for text in ("", "{", "[]", '{"version": 1}', '{"version":99,"authority":"x","entries":{}}'):
        (pki.path / "clients/register.json").write_text(text)
        assert pki.one(Client("a")).action == "unchanged"


def test_renewal_keeps_key_and_password_and_the_old_certificate_stays_valid(pki, monkeypatch):
    first = pki.one(PEPE)
    kept = {ending: pki.file("pepe", ending).read_bytes() for ending in (".key", ".p12.password")}
    later(monkeypatch, days=334)
    assert pki.one(PEPE).action == "unchanged"
    later(monkeypatch, days=1, hours=1)
    assert pki.one(PEPE, check=True).action == "renewed"
    result = pki.one(PEPE)
    assert result.action == "renewed"
    assert f"the certificate expires on {first.entry.not_after}" in result.because
    assert "stays valid until it expires" in result.because
    assert statuses(pki) == ["V", "V"]
    assert {ending: pki.file("pepe", ending).read_bytes() for ending in kept} == kept
    assert result.entry.dn == first.entry.dn
    assert pki.one(PEPE).action == "unchanged"
    assert pki.one(PEPE._replace(renew_before=364)).action == "unchanged"
    pki.one(PEPE._replace(revoked=True))
    assert statuses(pki) == ["R", "R"]


def test_another_subject_is_another_certificate_with_the_same_key(pki):
    first = pki.one(PEPE)
    key = pki.file("pepe", ".key").read_bytes()
    other = PEPE._replace(subject={"CN": "Pepe"})
    result = pki.one(other)
    assert (result.action, result.entry.dn) == ("issued", "CN=Pepe")
    assert "the subject was CN=Jos\\C3\\A9,O=Acme,C=ES" in result.because
    assert pki.file("pepe", ".key").read_bytes() == key
    assert pki.file("pepe", f"-{first.entry.serial}.crt").exists()
    assert pki.serve(other).unmanaged == []
    assert pki.one(PEPE._replace(subject=None)).action == "unchanged", "without a subject the present one is kept"
    (pki.path / "clients/register.json").unlink()
    assert pki.one(other._replace(revoked=True)).action == "revoked"
    assert statuses(pki) == ["R", "R"], "also the certificate with the earlier subject"


@pytest.mark.parametrize("change", [{"days": 90}, {"renew_before": 20}, {"reason": "superseded"}])
def test_what_is_for_later_does_not_issue_now(pki, change):
    pki.one(PEPE)
    assert pki.one(PEPE._replace(**change)).action == "unchanged"


def test_revocation_is_written_as_openssl_writes_it_and_only_once(pki):
    pki.one(Client("a"))
    gone = Client("a", revoked=True, reason="keyCompromise")
    assert pki.one(gone, check=True).action == "revoked"
    assert statuses(pki) == ["V"]
    assert pki.one(gone).action == "revoked"
    before = tree(pki.path)
    assert pki.one(gone).action == "unchanged"
    assert pki.one(gone._replace(reason="superseded")).action == "unchanged"
    assert tree(pki.path) == before
    assert pki.index()[0][2].endswith("Z,keyCompromise")


def test_after_a_revocation_the_key_is_never_used_again(pki):
    pki.one(Client("a"))
    old = {ending: pki.file("a", ending).read_bytes() for ending in (".key", ".p12.password", ".p12")}
    serial = pki.index()[0][3]
    pki.one(Client("a", revoked=True))
    result = pki.one(Client("a"))
    assert (result.action, result.because) == ("issued", "the certificate is revoked")
    assert pki.file("a", f"-{serial}.key").read_bytes() == old[".key"]
    assert stat.S_IMODE(pki.file("a", f"-{serial}.key").stat().st_mode) == 0o600
    assert all(pki.file("a", ending).read_bytes() != content for ending, content in old.items())
    assert statuses(pki) == ["R", "V"]
    assert pki.one(Client("a")).action == "unchanged"


def test_the_key_of_a_revoked_certificate_is_known_though_its_certificate_file_is_gone(pki):
    pki.one(Client("a"))
    key = pki.file("a", ".key").read_bytes()
    pki.one(Client("a", revoked=True))
    pki.file("a", ".crt").unlink()
    assert pki.one(Client("a")).action == "issued"
    assert pki.file("a", ".key").read_bytes() != key


def test_the_key_of_a_revoked_certificate_is_known_though_its_file_is_gone_and_its_subject_is_another(pki):
    pki.one(Client("a"))
    pki.one(Client("a", revoked=True))
    key = pki.file("a", ".key").read_bytes()
    pki.file("a", ".crt").unlink()
    assert pki.one(Client("a", {"CN": "another"})).action == "issued"
    assert pki.file("a", ".key").read_bytes() != key


def test_a_client_nobody_ever_issued_can_be_revoked(pki):
    result = pki.one(Client("a", revoked=True))
    assert (result.action, result.because, result.entry) == ("unchanged", "never had a certificate", None)


def test_a_key_that_never_left_the_device(pki):
    request = pki.csr("device")
    client = Client("device", {"O": "Acme", "CN": "build agent"}, csr=str(request))
    result = pki.one(client)
    assert (result.action, result.entry.dn, result.p12) == ("issued", "CN=build agent,O=Acme", None)
    assert sorted(path.name for path in (pki.path / "clients/device").iterdir()) == ["device.crt", "device.csr"]
    assert pki.one(client).action == "unchanged"
    request.unlink()
    pki.csr("device")
    result = pki.one(client)
    assert (result.action, "for another key" in result.because) == ("issued", True)


def test_only_the_public_key_of_a_csr_is_taken(pki):
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder(subject_name("root"))
    for extension in (
        x509.BasicConstraints(ca=True, path_length=None),
        x509.KeyUsage(True, True, True, True, True, True, True, True, True),
        x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]),
        x509.SubjectAlternativeName([x509.DNSName("bank.example")]),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
    ):
        builder = builder.add_extension(extension, critical=True)
    path = pki.path.parent / "greedy.csr"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pki.one(Client("greedy", csr=str(path)))
    certificate = x509.load_pem_x509_certificate(pki.file("greedy", ".crt").read_bytes())
    assert {extension.oid._name for extension in certificate.extensions} == {
        "basicConstraints",
        "keyUsage",
        "extendedKeyUsage",
        "subjectKeyIdentifier",
        "authorityKeyIdentifier",
    }
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    usages = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert usages == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert subjects.nginx_dn(certificate.subject) == "CN=greedy"


def subject_name(cn: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)])


def test_a_client_that_left_the_inventory_is_reported_and_not_revoked(pki):
    pki.serve(Client("a"), PEPE._replace(p12="none"))
    done = pki.serve(Client("a"))
    assert [(stray.name, stray.dn) for stray in done.unmanaged] == [("pepe", r"CN=Jos\C3\A9,O=Acme,C=ES")]
    assert statuses(pki) == ["V", "V"]


def test_of_very_many_unmanaged_the_oldest_are_listed_and_all_are_counted(pki, monkeypatch):
    monkeypatch.setattr(clients, "MOST_UNMANAGED", 2)
    for name in ("a", "b", "c"):
        pki.one(Client(name, p12="none"))
    done = pki.serve(Client("d", p12="none"))
    assert [stray.name for stray in done.unmanaged] == ["a", "b"]
    assert done.unmanaged_count == 3


def test_an_adopted_certificate_that_is_not_in_the_index_is_entered(pki):
    request = pki.csr("a")
    arguments = ("-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", "0x4711", "-days", "300")
    pki.file("a", "").parent.mkdir()
    openssl("x509", "-req", "-in", request, *arguments, "-out", pki.file("a", ".crt"), cwd=pki.path)
    shutil.copy(request.with_suffix(".key"), pki.file("a", ".key"))
    os.chmod(pki.file("a", ".key"), 0o644)
    done = pki.serve(Client("a"))
    assert "the certificate was not in index.txt" in done.results[0].because
    assert pki.index()[0][3] == "4711"
    assert any("others can read" in warning for warning in done.warnings)
    assert any("others can read" in warning for warning in pki.serve(Client("a")).warnings)
    assert pki.one(Client("a", revoked=True)).action == "revoked"


def test_a_certificate_of_another_authority_is_replaced(pki):
    pki.one(Client("a"))
    openssl(
        "req", "-x509", "-key", pki.file("a", ".key"), "-subj", "/CN=a", "-out", pki.file("a", ".crt"), cwd=pki.path
    )
    result = pki.one(Client("a"))
    assert result.action == "updated"
    assert len(pki.index()) == 1


def test_a_key_is_not_overwritten_by_another_type(pki):
    pki.one(Client("a", key_type="ecdsa"))
    before = tree(pki.path)
    with pytest.raises(MtlsError, match=r"client 'a': key_type is rsa, and .*a\.key is ecdsa; set key_type: ecdsa"):
        pki.one(Client("a", key_type="rsa"))
    assert tree(pki.path) == before


def csr_of(key, path, tamper=False) -> str:
    der = x509.CertificateSigningRequestBuilder(subject_name("x")).sign(key, hashes.SHA256())
    data = bytearray(der.public_bytes(serialization.Encoding.DER))
    if tamper:
        data[-1] ^= 1
    path.write_bytes(openssl_pem(bytes(data)))
    return str(path)


def openssl_pem(data: bytes) -> bytes:
    import base64

    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE REQUEST-----\n"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (str, "no such file on the controller"),
        (lambda path: path.write_text("hello") and str(path), "is not a certificate signing request"),
        (lambda path: csr_of(rsa.generate_private_key(65537, 1024), path), "1024 bits; make one with at least 2048"),
        (lambda path: csr_of(ec.generate_private_key(ec.SECP192R1()), path), "curve secp192r1"),
        (lambda path: csr_of(ec.generate_private_key(ec.SECP256R1()), path, tamper=True), "not by its own key"),
    ],
    ids=["missing", "malformed", "short RSA", "weak curve", "wrongly signed"],
)
def test_a_csr_that_must_not_be_signed(pki, make, complaint):
    path = make(pki.path.parent / "bad.csr")
    before = tree(pki.path)
    with pytest.raises(MtlsError, match=r"client 'device': CSR .*bad\.csr") as caught:
        pki.serve(Client("first"), Client("device", csr=path))
    assert complaint in str(caught.value)
    assert tree(pki.path) == before, "no other client may be served before the mistake is found"


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ([Client("a"), Client("a", days=90)], "client 'a': is in the list twice"),
        ([Client("John"), Client("john")], "differ only in case"),
        ([Client("a/b")], "contains '/'"),
        ([Client("..")], "begins with a dot"),
        ([Client("x" * 65)], "65 characters"),
        ([Client("a", {"CN": "x"}), Client("b", {"CN": "X"})], "clients 'a' and 'b': both have the subject"),
        ([Client("a", {"CN": "x"}), Client("x")], "clients 'a' and 'x': both have the subject"),
        ([Client("a", {"XX": "x"})], "client 'a': unknown subject attribute"),
        ([Client("a", SUBJECT)], "its subject is the authority's own"),
        ([Client("a", days=0)], "days is 0"),
        ([Client("a", days=30)], "renew_before is 30 and days is 30"),
        ([Client("a", p12_password="")], "p12_password is empty"),
        ([Client("a", p12_password="contraseña")], "p12_password is not ASCII"),
        ([Client("a", days=3650 + 10)], "use at most 36"),
    ],
)
@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_mistakes_in_the_list_change_nothing(pki, wanted, complaint, check):
    before = tree(pki.path)
    with pytest.raises(MtlsError) as caught:
        pki.serve(Client("innocent"), *wanted, check=check)
    assert complaint in str(caught.value)
    assert {path: content for path, content in tree(pki.path).items() if not path.endswith(".lock")} == {
        path: content for path, content in before.items() if not path.endswith(".lock")
    }


def test_days_that_outlive_the_authority_name_both_dates_and_the_largest_possible(pki):
    with pytest.raises(MtlsError) as caught:
        pki.one(Client("a", days=4000))
    end = x509.load_pem_x509_certificate((pki.path / "ca.crt").read_bytes()).not_valid_after_utc
    assert times.iso(end) in str(caught.value)
    assert times.iso(times.now() + timedelta(days=4000))[:10] in str(caught.value)
    largest = int(str(caught.value).split("use at most ")[1].split()[0])
    assert pki.one(Client("a", days=largest)).action == "issued"


def test_a_subject_that_differs_only_in_case_from_a_live_certificate_is_refused(pki):
    pki.ca("-in", pki.csr("JOHN"), "-out", "john.crt")
    with pytest.raises(MtlsError, match="differs only in case from that of the valid certificate"):
        pki.one(Client("john"))
    pki.ca("-revoke", "john.crt")
    assert pki.one(Client("john")).action == "issued"


@pytest.mark.usefixtures("slow_p12")
@pytest.mark.parametrize("kind", [p12.COMPATIBLE, p12.MODERN])
@pytest.mark.parametrize("key_type", ["rsa", "ecdsa", "ed25519"])
def test_a_p12_holds_key_certificate_and_chain_for_openssl(pki, kind, key_type):
    client = Client("José", p12=kind, p12_password="hello world", key_type=key_type)
    result = pki.one(client)
    text = openssl("pkcs12", "-in", result.p12, "-info", "-nodes", "-passin", "pass:hello world", cwd=pki.path)
    assert text.count("BEGIN CERTIFICATE") == 2
    assert text.count("BEGIN PRIVATE KEY") == 1
    assert "friendlyName: Jos" in text
    encryption = "pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048" if kind == p12.COMPATIBLE else "AES-256-CBC"
    assert text.count(encryption) == 2
    assert ("MAC: sha1" if kind == p12.COMPATIBLE else "MAC: sha256") in text
    assert not pki.file("José", ".p12.password").exists()
    openssl("pkcs12", "-in", result.p12, "-noout", "-passin", "pass:wrong", cwd=pki.path, ok=False)


@pytest.mark.parametrize(
    "change", [{"p12": "modern"}, {"p12_password": "another one"}, {"p12_password": None}, {"p12": "none"}]
)
def test_a_p12_follows_the_inventory_without_a_new_certificate(pki, change):
    client = Client("a", p12_password="hello world")
    first = pki.one(client)
    changed = client._replace(**change)
    assert pki.one(changed, check=True).action == "updated"
    result = pki.one(changed)
    assert (result.action, result.entry.serial) == ("updated", first.entry.serial)
    assert (result.p12 is None) is (changed.p12 == "none")
    assert pki.file("a", ".p12").exists() is (changed.p12 != "none")
    assert pki.file("a", ".p12.password").exists() is (changed.p12_password is None)
    assert pki.one(changed).action == "unchanged"


def test_generated_passwords_are_strong_typable_and_different():
    passwords = {p12.new_password() for _round in range(50)}
    assert len(passwords) == 50
    assert all(len(password) >= 20 and not set(password) & set("0o1li") for password in passwords)


def test_the_register_tells_others_what_the_files_say(pki):
    first = pki.one(Client("a"))
    register = Register.load(str(pki.path))
    assert dict(register) == {"a": register["a"]}
    assert register["a"].serial == first.entry.serial
    pki.ca("-notext", "-in", pki.csr("other"), "-out", pki.file("a", ".crt"))
    assert Register.load(str(pki.path))["a"].dn == "CN=other"
    (pki.path / "clients/register.json").unlink()
    assert Register.load(str(pki.path))["a"].dn == "CN=other"
    assert "nobody" not in Register.load(str(pki.path))


def test_the_register_holds_no_password_in_clear_and_has_mode_0600(pki):
    pki.one(Client("a", p12_password="hello world"))
    path = pki.path / "clients/register.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "hello world" not in path.read_text()


def test_bulk_issuing_reads_and_writes_the_index_once(pki, monkeypatch):
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index

    saved = []
    real = Index.save
    monkeypatch.setattr(Index, "save", lambda self: (saved.append(1), real(self)))
    pki.serve(*(Client(f"c{number}") for number in range(40)))
    assert len(saved) == 1
    assert len({row[3] for row in pki.index()}) == 40


def test_a_server_s_certificate_is_nobody_s_client_certificate(pki):
    """A client whose name is that of a server: the same subject, and nothing else in common."""
    with pki.open() as authority:
        server = servers.Server("h", "s", ("nas.lan",))
        (served,) = servers.reconcile(authority, [server], new_key_type="ecdsa", check=False)
    assert pki.one(Client("nas.lan", revoked=True)).revoked == ()
    issued = pki.one(Client("nas.lan"))
    assert (issued.action, issued.entry.serial != served.entry.serial) == ("issued", True)
    (pki.path / "servers/register.json").unlink()
    pki.file("nas.lan", ".crt").unlink()
    assert pki.one(Client("nas.lan")).entry.serial == issued.entry.serial


def test_a_renewal_that_was_killed_is_picked_up(pki, monkeypatch):
    first = pki.one(Client("a", days=40, renew_before=30))
    old = pki.file("a", ".crt").read_bytes()
    later(monkeypatch, days=20)
    renewed = pki.one(Client("a"))
    pki.file("a", ".crt").write_bytes(old)
    (pki.path / "clients/register.json").unlink()
    again = pki.one(Client("a"))
    assert first.entry.serial != renewed.entry.serial == again.entry.serial
    assert (again.action, len(pki.index())) == ("updated", 2)


@pytest.mark.parametrize("content", [b"", b"\n", b"\x00abcd\n", b"p\xc3\xa4ss\n", b"\xff\n"])
def test_a_damaged_password_file_is_made_anew(pki, content):
    pki.one(Client("a"))
    pki.file("a", ".p12.password").write_bytes(content)
    assert pki.one(Client("a")).action == "updated"
    assert len(pki.file("a", ".p12.password").read_text().strip()) > 20
    assert pki.one(Client("a")).action == "unchanged"


def test_a_name_beyond_two_bytes_a_character_is_not_packed_again_and_again(pki):
    pki.one(Client("😀"))
    (pki.path / "clients/register.json").unlink()
    assert pki.one(Client("😀")).action == "unchanged"


def test_apples_devices_get_no_ed25519_key(pki):
    """Neither a new one, be it by default, nor one that a client has: nothing is changed then."""
    phone = Client("phone", key_type="ed25519", mobileconfig=True)
    said = r"client 'phone': gets an Ed25519 key, which Apple's devices do not take from a \.mobileconfig; set mobile"
    before = tree(pki.path)
    for check in (True, False):
        with pytest.raises(MtlsError, match=said):
            pki.serve(Client("other"), phone, check=check)
        with pytest.raises(MtlsError, match=said):
            pki.serve(phone._replace(key_type=None), key_type="ed25519", check=check)
    assert tree(pki.path) == before

    pki.one(phone._replace(mobileconfig=False))
    before = tree(pki.path)
    for given in (phone, phone._replace(key_type=None), phone._replace(key_type=None, keep_key=False)):
        with pytest.raises(MtlsError, match=r"client 'phone': \S+/phone\.key is an Ed25519 key, which Apple's devices"):
            pki.one(given)
    assert tree(pki.path) == before
    # Who has another key already keeps it, whatever new ones are to be.
    pki.one(Client("pad", mobileconfig=True))
    assert pki.one(Client("pad", mobileconfig=True), key_type="ed25519").action == "unchanged"
    renamed = Client("pad", {"CN": "my pad"}, mobileconfig=True)
    assert pki.one(renamed, key_type="ed25519").action == "issued"
    assert key_type_of(pki, "pad") == "ecdsa"
    # A new key instead of a revoked one is a new one, too.
    pki.one(Client("pad", revoked=True))
    with pytest.raises(MtlsError, match="client 'pad': gets an Ed25519 key"):
        pki.one(renamed, key_type="ed25519")


def key_type_of(pki, name: str) -> str | None:
    return keys.key_type(x509.load_pem_x509_certificate(pki.file(name, ".crt").read_bytes()).public_key())


def test_who_is_read_by_something_gets_a_key_that_it_takes(pki, tmp_path):
    """A new key that nobody has chosen is RSA; one that is there already is refused, wherever it is."""
    made = pki.serve(
        *(Client("gnome", used_by=("browser", "gnome")), Client("edge", used_by=("browser",)), Client("ci")),
        key_type="ed25519",
    )
    assert [key_type_of(pki, result.client.name) for result in made.results] == ["rsa", "rsa", "ed25519"]
    assert pki.one(Client("phone", used_by=("browser",)), key_type="ecdsa").action == "issued"
    assert key_type_of(pki, "phone") == "ecdsa"
    sealed = Client("sealed", key_type="ecdsa", keep_key=False)
    pki.one(sealed)
    pki.file("sealed", ".p12.password").unlink()
    csr = tmp_path / "own.csr"
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr.write_bytes(
        request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    before = tree(pki.path)
    for client, where, name, remedy in (
        (Client("phone", used_by=("gnome",)), r"\S+/phone\.key", "gnome", "move the key away"),
        (Client("ci", used_by=("aws",)), r"\S+/ci\.key", "aws", "move the key away"),
        (sealed._replace(key_type=None, used_by=("gpgsm",)), r"\S+/sealed\.crt", "gpgsm", r"move the \.p12 away"),
        (Client("own", csr=str(csr), p12="none", used_by=("gem",)), r"\S+/own\.csr", "gem", "make a new key and CSR"),
    ):
        for check in (True, False):
            said = rf"client '{client.name}': the key of {where} is \w+, and .* \(used_by: {name}\); {remedy}"
            with pytest.raises(MtlsError, match=said):
                pki.one(client, check=check)
    assert tree(pki.path) == before
    assert pki.one(Client("phone", used_by=("aws", "browser"))).action == "unchanged"


def test_an_ed25519_key_may_be_in_the_p12_only(pki):
    client = Client("ci", key_type="ed25519", keep_key=False, p12_password="a long password")
    result = pki.one(client)
    assert not pki.file("ci", ".key").exists()
    certificate = x509.load_pem_x509_certificate(pki.file("ci", ".crt").read_bytes())
    assert p12.key_in(pki.file("ci", ".p12").read_bytes(), "a long password").public_key() == certificate.public_key()
    assert pki.one(client).action == "unchanged"
    assert pki.one(client, check=True).p12 == result.p12
