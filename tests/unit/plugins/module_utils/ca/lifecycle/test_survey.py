# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody gets in whom any of the sources has as revoked, and what nothing is known of is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import adoption
from ansible_collections.mtls.nginx.plugins.module_utils.common import der
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.by_hand import ByHand, rsa_key
from ansible_collections.mtls.nginx.tests.unit.support import Pki, openssl, pss_key, run_module, tree

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def adopt(path, *sources, check=False, **options) -> adoption.AdoptionPlan:
    given = {"certificate": None, "source_passphrase": None, "passphrase": None, "crl_days": 30, **options}
    return adoption.adopt(adoption.WantedAdoption(str(path), [str(each) for each in sources], **given), check=check)


def statuses(path: Path) -> dict[str, str]:
    """Letters of index.txt by the CN."""
    return {row[5].rpartition("/CN=")[2]: row[0] for row in Pki(path).index()}


def is_revoked(path: Path, certificate: Path) -> bool:
    """Openssl's judgement, with what hosts get."""
    said = openssl("verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem", certificate, cwd=path, ok=None)
    assert "OK" in said or "certificate revoked" in said, said
    return "certificate revoked" in said


class Loose:
    """A CA of files that `openssl` makes, without a record."""

    def __init__(self, path: Path, new_key: tuple[str, ...] = EC, *, key: bytes | None = None) -> None:
        path.mkdir()
        self.path = path
        made = (*new_key, "-keyout", "ca.key")
        if key is not None:
            (path / "ca.key").write_bytes(key)
            made = ("-key", "ca.key")
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-days", "3650")
        subject = ("-subj", "/O=Acme/CN=Loose CA")
        openssl("req", "-x509", *made, *usage, *subject, "-out", "ca.pem", cwd=path)

    def issue(self, name: str, serial: int, *, subject: str = "", extensions: str = "", ca: str = "ca.pem") -> Path:
        made = self.path / f"{name}.pem"
        made.parent.mkdir(parents=True, exist_ok=True)
        cn = subject or f"/CN={made.stem}"
        openssl("req", "-new", *EC, "-subj", cn, "-keyout", f"{name}.key", "-out", f"{name}.csr", cwd=self.path)
        (self.path / "extensions.cnf").write_text(extensions)
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", ca, "-CAkey", "ca.key", "-days", "90"),
            *("-set_serial", serial, "-extfile", "extensions.cnf", "-out", f"{name}.pem"),
            cwd=self.path,
        )
        (self.path / "extensions.cnf").unlink()
        return made

    def crl(
        self,
        *revoked: Path,
        digest: str = "sha256",
        out: str = "ca.crl",
        form: str = "PEM",
        reason: str = "unspecified",
    ) -> Path:
        """A CRL, made where it leaves nothing behind."""
        work = self.path.parent / "crl-work"
        work.mkdir(exist_ok=True)
        (work / "index.txt").write_text("")
        text = f"[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md={digest}\ndefault_crl_days=30\n"
        (work / "cnf").write_text(text)
        signed_by = ("-config", "cnf", "-keyfile", self.path / "ca.key", "-cert", self.path / "ca.pem")
        for each in revoked:
            openssl("ca", *signed_by, "-revoke", each, "-crl_reason", reason, cwd=work)
        openssl("ca", *signed_by, "-gencrl", "-out", "made", cwd=work)
        openssl("crl", "-in", "made", "-outform", form, "-out", self.path / out, cwd=work)
        return self.path / out


@pytest.fixture
def loose(tmp_path) -> Loose:
    return Loose(tmp_path / "ca")


# Row 2: what is revoked in a file of any name and form


@pytest.mark.parametrize(
    ("form", "digest", "out"),
    [("DER", "sha256", "ca.crl"), ("DER", "sha256", "list.bin"), ("PEM", "sha1", "ca.crl"), ("PEM", "md5", "ca.crl")],
)
@pytest.mark.parametrize("named", [True, False], ids=["named", "in a folder"])
def test_a_client_revoked_in_a_crl_only_is_out(tmp_path, form, digest, out, named):
    loose = Loose(tmp_path / "ca", key=rsa_key(0) if digest == "md5" else None)
    phone = loose.issue("phone", 0x10)
    crl = loose.crl(phone, digest=digest, out=out, form=form)
    sources = (loose.path / "ca.pem", loose.path / "ca.key", phone, crl) if named else (loose.path,)
    plan = adopt(tmp_path / "pki", *sources)
    assert statuses(tmp_path / "pki") == {"phone": "R"}
    assert is_revoked(tmp_path / "pki", phone)
    assert plan.unrecorded == []


def test_who_is_on_hold_in_a_crl_only_is_out(loose, tmp_path):
    phone = loose.issue("phone", 0x10)
    loose.crl(phone, reason="certificateHold")
    adopt(tmp_path / "pki", loose.path)
    assert is_revoked(tmp_path / "pki", phone)


def test_a_crl_that_does_not_count_is_named(loose, tmp_path):
    other = Loose(tmp_path / "other")
    stranger = other.crl()
    phone = loose.issue("phone", 0x10)
    shutil.copy(stranger, loose.path / "other.crl")
    plan = adopt(tmp_path / "pki", loose.path)
    assert plan.not_taken[str(loose.path / "other.crl")] == "has a CRL that this CA did not sign"
    for check in (True, False):
        with pytest.raises(MtlsError, match=r"ca\.crl: has a CRL that this CA did not sign; correct it"):
            adopt(tmp_path / "new", loose.path / "ca.pem", loose.path / "ca.key", phone, stranger, check=check)
    assert not (tmp_path / "new").exists()


def test_the_tutorial_whose_record_is_called_root_ca_db(tmp_path):
    """As pki-tutorial.readthedocs.io names the files: root-ca.db, root-ca.crt.srl, root-ca.crl.srl, 01.pem."""
    ca = ByHand(tmp_path / "made", "no cRLSign", rsa_keys=False)
    for name in ("user", "lost"):
        ca.client(name)
    ca.revoke("lost")
    source = tmp_path / "ca"
    for old, new in {
        "ca.crt": "root-ca.crt",
        "ca.key": "root-ca/private/root-ca.key",
        "index.txt": "root-ca/db/root-ca.db",
        "index.txt.attr": "root-ca/db/root-ca.db.attr",
        "serial": "root-ca/db/root-ca.crt.srl",
        "newcerts/1000.pem": "root-ca/1000.pem",
        "newcerts/1001.pem": "root-ca/1001.pem",
    }.items():
        (source / new).parent.mkdir(parents=True, exist_ok=True)
        (source / new).write_bytes((ca.path / old).read_bytes().replace(b"\n", b"\r\n"))
    (source / "root-ca/db/root-ca.crl.srl").write_text("2A\n")
    plan = adopt(tmp_path / "pki", source, repair=True)
    assert statuses(tmp_path / "pki") == {"user": "V", "lost": "R"}
    assert (plan.unrecorded, plan.serial, plan.crl_number) == ([], 0x1002, 0x2A)
    assert Pki(tmp_path / "pki").one(Client("new")).entry.serial == "1002"
    assert is_revoked(tmp_path / "pki", ca.path / "lost.crt")


def test_without_a_record_it_says_what_counts_as_valid(loose, tmp_path):
    paths = [loose.issue(name, number) for number, name in enumerate(("phone", "pad"), 0x10)]
    plan = adopt(tmp_path / "pki", loose.path)
    assert sorted(plan.unrecorded) == sorted(map(str, paths))
    (warning,) = [warning for warning in plan.warnings if "has no record (index.txt)" in warning]
    assert all(str(path) in warning for path in paths)


def test_the_module_tells_it(loose, tmp_path):
    phone = loose.issue("phone", 0x10)
    (loose.path / "old.p12").write_bytes(b"\x30\x06\x02\x01\x03\x30\x01\x00")
    done = run_module("ca_adopt", check=True, diff=True, path=str(tmp_path / "pki"), source=[str(loose.path)])
    assert done["unrecorded"] == [str(phone)]
    assert f"counts as valid, without a line in a record: {phone}" in done["diff"]["after"]
    assert "source_passphrase does not open it" in done["not_taken"][str(loose.path / "old.p12")]


def test_keys_without_a_client_are_named(loose, tmp_path):
    loose.issue("phone", 0x10)
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "lone.key", cwd=loose.path)
    plan = adopt(tmp_path / "pki", loose.path)
    assert plan.not_taken[str(loose.path / "lone.key")] == "the key is of no client that gets a folder"


# Row 3: deleted lines, the folder revoked/, copies of the record


def test_a_line_that_is_only_in_the_copy_that_openssl_keeps_counts(tmp_path):
    ca = ByHand(tmp_path / "ca", "no cRLSign", rsa_keys=False)
    for name in ("user", "lost", "back"):
        ca.client(name)
        if name != "user":
            ca.ca("-revoke", f"{name}.crt")
    lines = (ca.path / "index.txt").read_text().splitlines(keepends=True)
    (ca.path / "index.txt.old").write_text("".join(lines))
    again = lines[2].replace("R\t", "V\t", 1).split("\t")
    again[2] = ""
    (ca.path / "index.txt").write_text(lines[0] + "\t".join(again))  # one line deleted, one made valid by hand
    plan = adopt(tmp_path / "pki", ca.path, repair=True)
    assert statuses(tmp_path / "pki") == {"user": "V", "lost": "R", "back": "R"}
    assert any("index.txt.old: has 1 certificates that" in warning and "1001" in warning for warning in plan.warnings)
    assert any("index.txt.old: has certificates as revoked" in warning for warning in plan.warnings)
    for name in ("lost", "back"):
        assert is_revoked(tmp_path / "pki", ca.path / f"{name}.crt")


def test_a_certificate_without_a_line_is_named_with_its_path(tmp_path):
    ca = ByHand(tmp_path / "ca", "no cRLSign", rsa_keys=False)
    for name in ("user", "gone"):
        ca.client(name)
    lines = (ca.path / "index.txt").read_text().splitlines(keepends=True)
    (ca.path / "index.txt").write_text(lines[0])
    (ca.path / "index.txt.old").unlink()
    plan = adopt(tmp_path / "pki", ca.path, repair=True)
    assert statuses(tmp_path / "pki") == {"user": "V", "gone": "V"}
    (path,) = plan.unrecorded
    assert any(f"does not list these 1 certificates, so they count as valid: {path}" in w for w in plan.warnings)


def test_what_lies_below_revoked_is_revoked_unless_said_otherwise(loose, tmp_path):
    phone, lost = loose.issue("issued/phone", 0x10), loose.issue("Revoked/by_serial/lost", 0x11)
    plan = adopt(tmp_path / "pki", loose.path)
    assert statuses(tmp_path / "pki") == {"phone": "V", "lost": "R"}
    assert any("in a folder called revoked" in warning and str(lost) in warning for warning in plan.warnings)
    assert is_revoked(tmp_path / "pki", lost)
    assert plan.unrecorded == [str(phone)]
    plan = adopt(tmp_path / "again", loose.path, revoked_folders=False)
    assert statuses(tmp_path / "again") == {"phone": "V", "lost": "V"}
    assert str(lost) in plan.unrecorded


def test_the_record_of_another_ca_is_not_taken_for_ours(tmp_path):
    ours, theirs = (ByHand(tmp_path / name, "no cRLSign", rsa_keys=False) for name in ("ours", "theirs"))
    ours.client("user")
    ours.revoke("user")
    theirs.client("stranger")
    both = adopt(
        tmp_path / "pki", ours.path, theirs.path, certificate=str(ours.path / "ca.crt"), repair=True, check=True
    )
    assert both.not_taken[str(theirs.path / "index.txt")] == "is the record of another CA"
    shutil.copy(theirs.path / "index.txt", ours.path / "index.txt")
    (ours.path / "index.txt.old").unlink()
    with pytest.raises(MtlsError, match=r"index\.txt: is the record of another CA: it has 1000 as /CN=stranger"):
        adopt(tmp_path / "pki", ours.path, repair=True)


# Row 4: names as OpenSSL compares them


@pytest.mark.parametrize("issuer", ["printable", "case", "spaces"])
def test_a_client_whose_issuer_is_spelled_otherwise_is_known_and_can_be_revoked(loose, tmp_path, issuer):
    subject = {
        "printable": [(x509.NameOID.ORGANIZATION_NAME, "Acme"), (x509.NameOID.COMMON_NAME, "Loose CA")],
        "case": [(x509.NameOID.ORGANIZATION_NAME, "ACME"), (x509.NameOID.COMMON_NAME, "loose ca")],
        "spaces": [(x509.NameOID.ORGANIZATION_NAME, " Acme"), (x509.NameOID.COMMON_NAME, "Loose  CA ")],
    }[issuer]
    kind = x509.name._ASN1Type.PrintableString
    name = x509.Name([x509.NameAttribute(oid, value, kind) for oid, value in subject])
    ca = x509.load_pem_x509_certificate((loose.path / "ca.pem").read_bytes())
    ca_key = serialization.load_pem_private_key((loose.path / "ca.key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    user = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "odd")])
    dates = (ca.not_valid_before_utc, ca.not_valid_after_utc)
    odd = x509.CertificateBuilder(name, user, key.public_key(), 0x77, *dates).sign(ca_key, hashes.SHA256())
    path = loose.path / "odd.pem"
    path.write_bytes(odd.public_bytes(serialization.Encoding.PEM))
    assert "OK" in openssl("verify", "-CAfile", "ca.pem", "odd.pem", cwd=loose.path)
    adopt(tmp_path / "pki", loose.path)
    assert statuses(tmp_path / "pki") == {"odd": "V"}
    done = run_module("crl", ca_path=str(tmp_path / "pki"), revoked=[{"certificate": str(path)}])
    assert [each["serial"] for each in done["revoked"]] == ["77"]
    assert is_revoked(tmp_path / "pki", path)


def test_another_name_stays_another_ca(loose, tmp_path):
    ca = x509.load_pem_x509_certificate((loose.path / "ca.pem").read_bytes())
    ca_key = serialization.load_pem_private_key((loose.path / "ca.key").read_bytes(), None)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Loose CA")])
    dates = (ca.not_valid_before_utc, ca.not_valid_after_utc)
    odd = x509.CertificateBuilder(name, name, ec.generate_private_key(ec.SECP256R1()).public_key(), 9, *dates)
    (loose.path / "odd.pem").write_bytes(odd.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    assert adopt(tmp_path / "pki", loose.path).not_taken[str(loose.path / "odd.pem")] == "was issued by another CA"


# Row 6: certificates that cannot be read whole


def unreadable(loose: Loose, name: str) -> Path:
    """A certificate as OpenSSL takes it, and `cryptography` does not."""
    odd = {
        "T61String": b"",
        "keyUsage": _extension("2.5.29.15", b"\x03\x02\x00\x01"),  # encipherOnly without keyAgreement
        "SAN": _extension("2.5.29.17", b"\x30\x06\x82\x04\xff\xfe\xfd\xfc"),
    }[name]
    path = loose.issue(name, 0x66)
    if name == "T61String":
        attribute = der.oid("2.5.4.3") + der.encode(der.T61_STRING, "Jos\xe9".encode("latin-1"))
        subject = der.encode(der.SEQUENCE, der.encode(0x31, der.encode(der.SEQUENCE, attribute)))
        resign(loose, path, lambda fields: [*fields[:4], subject, *fields[5:]])
    else:
        resign(loose, path, lambda fields: [*fields, extensions(odd)])
    assert "OK" in openssl("verify", "-CAfile", "ca.pem", path, cwd=loose.path)
    return path


def extensions(*encoded: bytes) -> bytes:
    return der.encode(0xA3, der.encode(der.SEQUENCE, b"".join(encoded)))


def subject_of(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).subject.public_bytes()


def resign(loose: Loose, path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Have the CA sign again what becomes of a certificate: serial, algorithm, issuer, dates, subject, key."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    parts = list(der.elements(next(der.elements(certificate.tbs_certificate_bytes)).content))
    fields = change([part.encoded for part in parts if part.tag < 0x80])
    to_be_signed = der.encode(der.SEQUENCE, der.encode(0xA0, der.integer(2)) + b"".join(fields))
    key = serialization.load_pem_private_key((loose.path / "ca.key").read_bytes(), None)
    signature = b"\x00" + key.sign(to_be_signed, ec.ECDSA(hashes.SHA256()))
    made = der.encode(der.SEQUENCE, to_be_signed + fields[1] + der.encode(der.BIT_STRING, signature))
    (loose.path / "odd.der").write_bytes(made)
    openssl("x509", "-inform", "DER", "-in", "odd.der", "-out", path, cwd=loose.path)
    (loose.path / "odd.der").unlink()


def _extension(oid: str, value: bytes) -> bytes:
    return der.encode(der.SEQUENCE, der.oid(oid) + der.encode(der.OCTET_STRING, value))


@pytest.mark.parametrize("name", ["T61String", "keyUsage", "SAN"])
def test_one_that_cannot_be_read_is_entered_and_can_be_revoked(loose, tmp_path, name):
    path = unreadable(loose, name)
    loose.issue("phone", 0x10)
    plan = adopt(tmp_path / "pki", loose.path)
    assert "cannot be read whole" in plan.not_taken[str(path)]
    assert "in the record, but no client's folder" in plan.not_taken[str(path)]
    pki = Pki(tmp_path / "pki")
    assert [row[3] for row in pki.index() if row[0] == "V"].count("66") == 1
    assert [client.name for client in plan.clients] == ["phone"]
    assert pki.one(Client("new")).action == "issued"
    if name != "T61String":  # of that name; nothing stops, and it gets another certificate
        assert pki.one(Client(name)).action == "issued"
    renew = {"path": str(pki.path), "days": 3660, "renew_before": 3655}
    assert "ca.crt" in run_module("ca_init", **renew)["updated"]
    done = run_module("crl", ca_path=str(pki.path), revoked=[{"serial": "66", "reason": "keyCompromise"}])
    assert [each["serial"] for each in done["revoked"]] == ["66"]
    assert is_revoked(pki.path, path)
    by_file = run_module("crl", ca_path=str(pki.path), revoked=[{"certificate": str(path)}])
    assert "msg" not in by_file, by_file["msg"]


# Row 7: a record without its files


def test_a_record_without_its_files(tmp_path):
    ca = ByHand(tmp_path / "ca", "no cRLSign", rsa_keys=False)
    for name in ("user", "other", "lost"):
        ca.client(name)
    ca.revoke("lost")
    for name in ("user", "lost"):
        for path in ca.path.glob(f"{name}.*"):
            path.unlink()
    for serial in ("1000", "1002"):
        (ca.path / f"newcerts/{serial}.pem").unlink()
    plan = adopt(tmp_path / "pki", ca.path, repair=True)
    assert any("lists 1 certificates whose files are not among the sources: 1000 /CN=user" in w for w in plan.warnings)
    pki = Pki(tmp_path / "pki")
    done = pki.serve(Client("user"), Client("other"), Client("lost"))
    assert [result.action for result in done.results] == ["issued", "updated", "issued"]
    assert any("1000" in warning and "no file in newcerts" in warning for warning in done.warnings)
    assert pki.serve(Client("user"), Client("other"), Client("lost")).results[0].action == "unchanged"
    pki.serve(Client("user", revoked=True), Client("other"))
    assert {row[0] for row in pki.index() if row[5] == "/CN=user"} == {"R"}
    assert run_module("ca_init", path=str(pki.path), days=3660, renew_before=3655)["changed"]


# Row 8: serial numbers


def test_it_counts_on_by_a_counter_or_a_record_and_is_random_otherwise(loose, tmp_path):
    loose.issue("phone", 0x10)
    assert adopt(tmp_path / "a", loose.path).serial >= 1 << 70
    (loose.path / "ca.srl").write_text("20\n")
    assert adopt(tmp_path / "b", loose.path).serial == 0x20
    assert Pki(tmp_path / "b").one(Client("new")).entry.serial == "20"
    ca = ByHand(tmp_path / "ca2", "no cRLSign", rsa_keys=False)
    ca.client("user")
    (ca.path / "serial").unlink()
    assert adopt(tmp_path / "c", ca.path, repair=True).serial is None
    assert Pki(tmp_path / "c").one(Client("new")).entry.serial == "1001"


# Row 9: what encrypts a key


def test_a_cipher_that_is_not_supported_is_not_a_wrong_passphrase(loose, tmp_path):
    loose.issue("phone", 0x10)
    providers = ("-provider", "legacy", "-provider", "default")
    openssl(*("ec", "-in", "ca.key", "-des", "-passout", "pass:geheim", "-out", "des.key", *providers), cwd=loose.path)
    (loose.path / "des.key").rename(loose.path / "ca.key")
    before = tree(loose.path)
    try:
        serialization.load_pem_private_key((loose.path / "ca.key").read_bytes(), b"geheim")
    except (TypeError, ValueError, UnsupportedAlgorithm):
        pass
    else:  # older versions of cryptography bring the cipher along
        adopt(tmp_path / "pki", loose.path, source_passphrase="geheim")
        assert (tmp_path / "pki" / "ca.key").exists()
        return
    said = r"ca\.key: is encrypted with DES-CBC, and this cipher is not supported; convert it with `openssl pkey"
    with pytest.raises(MtlsError, match=said):
        adopt(tmp_path / "pki", loose.path, source_passphrase="geheim")
    shutil.copy(loose.path / "ca.pem", loose.path / "ca.crt")
    done = run_module("ca_init", path=str(loose.path), passphrase="geheim")
    assert "ca.key: is encrypted with DES-CBC, and this cipher is not supported" in done["msg"]
    (loose.path / "ca.crt").unlink()
    assert tree(loose.path) == before


@pytest.mark.parametrize("check", [True, False])
def test_a_ca_with_an_rsa_pss_key_is_refused_before_anything_is_written(tmp_path, check):
    loose = Loose(tmp_path / "ca", key=pss_key())
    shutil.copy(loose.path / "ca.pem", loose.path / "ca.crt")
    before = tree(loose.path)
    with pytest.raises(MtlsError, match=r"ca\.(pem|crt): has an RSA-PSS key, which cannot be used here"):
        adopt(tmp_path / "pki", loose.path, check=check)
    for options in ({"passphrase": "geheim"}, {"repair": True}, {"days": 4000, "renew_before": 3999}):
        done = run_module("ca_init", check=check, path=str(loose.path), **options)
        assert "ca.crt: has an RSA-PSS key" in done["msg"]
    assert tree(loose.path) == before
    assert not (tmp_path / "pki").exists()


def test_a_client_with_an_rsa_pss_key_is_recorded_and_gets_no_folder(loose, tmp_path):
    (loose.path / "odd.key").write_bytes(pss_key())
    openssl("req", "-new", "-key", "odd.key", "-subj", "/CN=odd", "-out", "odd.csr", cwd=loose.path)
    ca = ("-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "9")
    openssl("x509", "-req", "-in", "odd.csr", *ca, "-out", "odd.pem", cwd=loose.path)
    plan = adopt(tmp_path / "pki", loose.path)
    assert plan.clients == []
    assert plan.not_taken[str(loose.path / "odd.pem")].startswith("has an RSA-PSS key")
    assert statuses(tmp_path / "pki") == {"odd": "V"}


def test_a_certificate_that_openssl_takes_for_no_client_is_no_clients(tmp_path, loose):
    said = {}
    for serial, (name, usage) in enumerate(
        {
            "plain": "",
            "both": "extendedKeyUsage=anyExtendedKeyUsage,clientAuth",
            "any": "extendedKeyUsage=anyExtendedKeyUsage",
            "mail": "extendedKeyUsage=emailProtection",
            "web": "extendedKeyUsage=serverAuth",
        }.items(),
        0x10,
    ):
        path = loose.issue(name, serial, extensions=usage)
        said[name] = openssl("verify", "-purpose", "sslclient", "-CAfile", "ca.pem", path, cwd=loose.path, ok=None)
    plan = adopt(tmp_path / "pki", loose.path)
    taken = {client.name for client in plan.clients}
    assert taken == {name for name, text in said.items() if "OK" in text} == {"plain", "both"}
    why = {name: plan.not_taken[str(loose.path / f"{name}.pem")] for name in said.keys() - taken}
    assert why["web"].startswith("is a server's certificate")
    for name in ("any", "mail"):
        assert why[name].startswith("has no clientAuth in its extendedKeyUsage, without which nginx refuses it")


def test_a_ca_with_an_edwards_curve_that_is_not_supported_is_refused_by_name(tmp_path):
    loose = Loose(tmp_path / "ca", ("-newkey", "ed448", "-nodes"))
    shutil.copy(loose.path / "ca.pem", loose.path / "ca.crt")
    before = tree(loose.path)
    with pytest.raises(
        MtlsError, match="its key is not an RSA, ECDSA or Ed25519 key, but Ed448, which is not supported"
    ):
        adopt(tmp_path / "pki", loose.path)
    for check in (True, False):
        done = run_module("ca_init", check=check, path=str(loose.path), passphrase="geheim")
        assert "ca.key: is not an RSA, ECDSA or Ed25519 key, but Ed448" in done["msg"]
    assert tree(loose.path) == before


def test_a_ca_with_an_ed25519_key_is_adopted_and_goes_on(tmp_path):
    loose = Loose(tmp_path / "ca", ("-newkey", "ed25519", "-nodes"))
    plan = adopt(tmp_path / "pki", loose.path, passphrase="geheim")
    assert plan.not_taken == {}
    pki = Pki(tmp_path / "pki", passphrase="geheim")
    assert keys.key_type(keys.load_key(str(pki.path / "ca.key"), "geheim").public_key()) == "ed25519"
    assert pki.one(Client("phone", key_type="ed25519")).action == "issued"
    assert pki.one(Client("phone", revoked=True)).action == "revoked"
    with pki.open() as authority:
        authority.write_crl(30)
    assert is_revoked(pki.path, pki.file("phone", ".crt"))


def test_an_ed25519_client_is_adopted_with_its_key(loose, tmp_path):
    key = ("-newkey", "ed25519", "-nodes", "-keyout", "odd.key")
    openssl("req", "-new", *key, "-subj", "/CN=odd", "-out", "odd.csr", cwd=loose.path)
    ca = ("-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "9", "-days", "90")
    openssl("x509", "-req", "-in", "odd.csr", *ca, "-out", "odd.pem", cwd=loose.path)
    plan = adopt(tmp_path / "pki", loose.path)
    assert [client.name for client in plan.clients if client.key is not None] == ["odd"]
    pki = Pki(tmp_path / "pki")
    assert pki.one(Client("odd")).entry.serial == "09"
    assert pki.one(Client("odd", revoked=True)).action == "revoked"
    with pki.open() as authority:
        authority.write_crl(30)
    assert is_revoked(pki.path, loose.path / "odd.pem")


# Row 14: what easy-rsa moves away


def test_what_easy_rsa_moved_away_is_listed_and_goes_with_the_name(loose, tmp_path):
    paths = [
        loose.issue("renewed/issued/phone", 0x10),
        loose.issue("expired/phone", 0x11),
        loose.issue("issued/phone", 0x12),
    ]
    plan = adopt(tmp_path / "pki", loose.path)
    for folder, command, path in (("renewed", "easyrsa renew", paths[0]), ("expired", "easyrsa expire", paths[1])):
        (said,) = [warning for warning in plan.warnings if f"moved to {folder} by `{command}`" in warning]
        assert str(path) in said
    pki = Pki(tmp_path / "pki")
    done = run_module("crl", ca_path=str(pki.path), revoked=[{"name": "phone"}])
    assert sorted(each["serial"] for each in done["revoked"]) == ["10", "11", "12"]
    assert all(is_revoked(pki.path, path) for path in paths)


# Row 5: a CA renewed by hand


NAMES_ITS_ISSUER = "authorityKeyIdentifier=keyid,issuer:always"


def renew_by_hand(loose: Loose, days: int = 7300) -> Path:
    """The same key and subject, another serial number, as `openssl x509` or `req` by hand makes it."""
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-days", days, "-set_serial", "0x4242")
    arguments = ("-key", "ca.key", "-subj", "/O=Acme/CN=Loose CA", *usage, "-out", "renewed.pem")
    openssl("req", "-x509", *arguments, cwd=loose.path)
    return loose.path / "renewed.pem"


def test_the_ca_certificate_that_live_clients_name_is_made(loose, tmp_path):
    old = x509.load_pem_x509_certificate((loose.path / "ca.pem").read_bytes())
    phone = loose.issue("phone", 0x10, extensions=NAMES_ITS_ISSUER)
    renewed = renew_by_hand(loose)
    new = x509.load_pem_x509_certificate(renewed.read_bytes())
    assert "OK" not in openssl("verify", "-CAfile", renewed, phone, cwd=loose.path, ok=False)
    plan = adopt(tmp_path / "pki", loose.path)
    ca = x509.load_pem_x509_certificate((tmp_path / "pki/ca.crt").read_bytes())
    assert ca == plan.chain[0]
    assert (ca.serial_number, ca.not_valid_after_utc) == (old.serial_number, new.not_valid_after_utc)
    assert any("1 live certificates name it" in warning for warning in plan.warnings)
    assert "OK" in openssl("verify", "-CAfile", "ca.crt", phone, cwd=tmp_path / "pki")
    assert (tmp_path / "pki" / "ca-4242.crt").read_bytes() == new.public_bytes(serialization.Encoding.PEM)
    late = Pki(tmp_path / "pki").one(Client("late", days=5000))
    assert late.action == "issued"
    assert "OK" in openssl("verify", "-CAfile", "ca.crt", "clients/late/late.crt", cwd=tmp_path / "pki")


def test_clients_that_name_another_one_are_told(loose, tmp_path):
    for number, name in enumerate(("a", "b"), 0x10):
        loose.issue(name, number, extensions=NAMES_ITS_ISSUER)
    renew_by_hand(loose)
    late = loose.issue("late", 0x20, extensions=NAMES_ITS_ISSUER, ca="renewed.pem")
    plan = adopt(tmp_path / "pki", loose.path)
    (said,) = [warning for warning in plan.warnings if "so nginx refuses them" in warning]
    assert str(late) in said
    assert "OK" in openssl("verify", "-CAfile", "ca.crt", loose.path / "a.pem", cwd=tmp_path / "pki")


def test_a_serial_that_no_certificate_may_have_is_not_made(loose, tmp_path):
    phone = loose.issue("phone", 0x10)
    content = der.encode(0x82, b"\x01" + bytes(20))
    name = subject_of(loose.path / "ca.pem")
    value = der.encode(der.SEQUENCE, der.encode(0xA1, der.encode(0xA4, name)) + content)
    resign(loose, phone, lambda fields: [*fields, extensions(_extension("2.5.29.35", value))])
    plan = adopt(tmp_path / "pki", loose.path)
    assert (plan.former, [client.name for client in plan.clients]) == (None, ["phone"])


def test_without_such_clients_the_newest_certificate_is_taken(loose, tmp_path):
    loose.issue("phone", 0x10)
    renew_by_hand(loose)
    plan = adopt(tmp_path / "pki", loose.path)
    assert (plan.chain[0].serial_number, plan.former) == (0x4242, None)


# What is above it


@pytest.fixture
def below(loose) -> Loose:
    """A CA below the loose one."""
    issuing = Loose(loose.path.parent / "issuing")
    usage = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
    certificate = loose.issue("issuing", 0x50, subject="/O=Acme/CN=Issuing CA", extensions=usage)
    shutil.move(certificate, issuing.path / "ca.pem")
    shutil.move(loose.path / "issuing.key", issuing.path / "ca.key")
    (loose.path / "issuing.csr").unlink()
    return issuing


def test_a_ca_comes_with_those_above_and_their_crls_are_for_another_variable(loose, below, tmp_path):
    phone, lost = below.issue("phone", 0x10), below.issue("lost", 0x11)
    below.crl(lost)
    shutil.copy(loose.path / "ca.pem", below.path / "root.pem")
    shutil.copy(loose.crl(), below.path / "root.crl")
    plan = adopt(tmp_path / "pki", below.path)
    assert [ca.subject.rfc4514_string() for ca in plan.chain] == ["CN=Issuing CA,O=Acme", "CN=Loose CA,O=Acme"]
    above = "is the CRL of a CA above; name it in mtls_ca_parent_crl"
    assert plan.not_taken[str(below.path / "root.crl")] == above
    assert statuses(tmp_path / "pki") == {"phone": "V", "lost": "R"}
    assert "OK" in openssl("verify", "-CAfile", "ca.crt", phone, cwd=tmp_path / "pki")

    # Named itself, it is no mistake: the same folder may be named file by file.
    named = (below.path / "ca.pem", below.path / "ca.key", below.path / "root.pem", below.path / "root.crl")
    assert adopt(tmp_path / "other", *named).not_taken[str(below.path / "root.crl")] == above


def test_a_ca_without_those_above_is_refused(below, tmp_path):
    """nginx lets in nobody whose chain it cannot follow to a root."""
    below.issue("phone", 0x10)
    for check in (True, False):
        with pytest.raises(MtlsError, match=r"ca\.pem: lacks CN=Loose CA,O=Acme, the issuer of CN=Issuing CA,O=Acme;"):
            adopt(tmp_path / "pki", below.path, check=check)
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize("certificate", [True, False], ids=["named", "found"])
def test_a_ca_that_cannot_be_read_whole_is_refused(loose, tmp_path, certificate):
    """OpenSSL takes it, and nothing could be said of what its certificates are good for."""
    path = loose.path / "ca.pem"
    is_ca = _extension("2.5.29.19", b"\x30\x03\x01\x01\xff")
    encipher_only = _extension("2.5.29.15", b"\x03\x02\x00\x05")  # without keyAgreement
    resign(loose, path, lambda fields: [*fields, extensions(is_ca, encipher_only)])
    phone = loose.issue("phone", 0x10)
    assert "OK" in openssl("verify", "-CAfile", path, phone, cwd=loose.path)
    before = tree(loose.path)
    for check in (True, False):
        with pytest.raises(MtlsError, match=r"/ca\.pem: cannot be read whole \(.+\); set up a new authority$"):
            adopt(tmp_path / "pki", loose.path, certificate=str(path) if certificate else None, check=check)
    assert tree(loose.path) == before
    assert not (tmp_path / "pki").exists()
