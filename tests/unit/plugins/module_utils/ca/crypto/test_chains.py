# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorities below others: below one that is here, and below a root that is on no network."""

from __future__ import annotations

import datetime
import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, ensure_authority, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, keys, numbers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.by_hand import rsa_key
from ansible_collections.mtls.nginx.tests.unit.support import Pki, lint, openssl, run_module, tree

BELOW = {"C": "ES", "O": "Acme", "CN": "Devices"}
ROOT_DN, BELOW_DN = "CN=Test CA,O=Acme,C=ES", "CN=Devices,O=Acme,C=ES"
_DAY = datetime.timedelta(days=1)


def make(path, *, parent=None, certificate=None, subject=None, days=700, check=False, kind="ecdsa", renew_before=0):
    wanted = WantedAuthority(
        str(path),
        subject or BELOW,
        keys.KeyKind(kind),
        None,
        days,
        30,
        certificate=str(certificate) if certificate else None,
        renew_before=renew_before,
    )
    above = Access(str(parent), None) if parent else None
    return ensure_authority(Access(str(path), None), wanted, check=check, parent=above)


def refusal(work) -> str:
    with pytest.raises(MtlsError) as caught:
        work()
    return str(caught.value)


def chain_of(path) -> tuple[x509.Certificate, ...]:
    return read_certificates(str(path / "ca.crt"))


def renew_crl(path, **options):
    result = run_module("crl", ca_path=str(path), **options)
    assert not result.get("failed"), result
    return result


@pytest.fixture
def below(pki, tmp_path) -> Pki:
    """An authority below the one of `pki`."""
    make(tmp_path / "below", parent=pki.path)
    return Pki(tmp_path / "below")


# Below an authority that is here


def test_an_authority_below_one_that_is_here(pki, tmp_path):
    path = tmp_path / "below"
    before = tree(pki.path)
    foreseen = make(path, parent=pki.path, check=True)
    assert not path.exists()
    assert tree(pki.path) == before
    outcome = make(path, parent=pki.path)
    assert (
        outcome.added
        == foreseen.added
        == [
            *("ca.key", "ca.crt", "newcerts", "clients", "servers", "openssl.cnf"),
            *("serial", "crlnumber", "index.txt", "index.txt.attr", "crl.pem"),
        ]
    )
    below, root = chain_of(path)
    assert root == chain_of(pki.path)[0]
    (entry,) = pki.index()
    assert (entry[0], entry[5]) == ("V", "/C=ES/O=Acme/CN=Devices")
    assert int(entry[3], 16) == below.serial_number
    assert below.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    (path / "below.crt").write_bytes(below.public_bytes(serialization.Encoding.PEM))
    lint("cert", path / "below.crt")
    lint("chain", pki.path / "ca.crt", path / "below.crt")
    (path / "below.crt").unlink()

    made = tree(tmp_path)
    for check in (True, False):
        assert make(path, parent=pki.path, check=check).added == []
    shutil.move(pki.path, tmp_path / "in the safe")
    assert make(path, parent=pki.path).added == []
    shutil.move(tmp_path / "in the safe", pki.path)
    assert tree(tmp_path) == made


def test_what_it_issues_brings_the_chain(below):
    result = below.one(Client("phone", p12="modern", p12_password="secret"))
    content = pkcs12.load_pkcs12(below.file("phone", ".p12").read_bytes(), b"secret")
    assert [extra.certificate for extra in content.additional_certs] == list(chain_of(below.path))
    assert result.entry.serial == numbers.hexadecimal(content.cert.certificate.serial_number)


def test_the_crls_of_the_whole_chain(pki, below):
    parent = {"path": str(pki.path), "crl_days": 90}
    below.one(Client("phone"))
    first = renew_crl(below.path, parent=parent)
    assert first["written_because"] == "there is a new one of an authority above"
    openssl(
        "verify",
        "-CAfile",
        "ca.crt",
        "-CRLfile",
        "crl.pem",
        "-crl_check_all",
        "clients/phone/phone.crt",
        cwd=below.path,
    )
    before = tree(below.path.parent)
    for check in (True, False):
        assert not renew_crl(below.path, parent=parent, check=check)["changed"]
    assert tree(below.path.parent) == before

    # The root's is renewed along with ours, and both are foreseen.
    (pki.path / "crl.pem").unlink()
    foreseen = renew_crl(below.path, parent=parent, check=True)
    assert foreseen["written_because"] == f"{pki.path}: there is none by this authority"
    assert not (pki.path / "crl.pem").exists()
    assert renew_crl(below.path, parent=parent)["changed"]
    crl = x509.load_pem_x509_crl((pki.path / "crl.pem").read_bytes())
    assert crl.next_update_utc - times.now() > 89 * _DAY
    assert (below.path / "crl.pem").read_text().endswith((pki.path / "crl.pem").read_text())


def test_an_authority_that_its_parent_revokes(pki, below):
    below.one(Client("phone"))
    (below.path / "own.crt").write_bytes((below.path / "ca.crt").read_bytes())
    done = renew_crl(
        pki.path,
        revoked=[{"certificate": str(below.path / "own.crt"), "reason": "CACompromise"}],
    )
    assert done["revoked"][0]["subject"] == "/C=ES/O=Acme/CN=Devices"
    said = renew_crl(below.path, parent={"path": str(pki.path)})
    assert f"{ROOT_DN} has revoked {BELOW_DN}" in said["raw"]
    check = ("-CAfile", "ca.crt", "-CRLfile", "crl.pem", "-crl_check_all")
    assert "certificate revoked" in openssl("verify", *check, "clients/phone/phone.crt", cwd=below.path, ok=False)


@pytest.mark.parametrize("left", [["ca.key"], []], ids=["the key is there", "nothing is there"])
def test_a_run_that_was_killed(pki, below, left):
    """Before ca.crt was written: what the parent has signed for this key is used, and never signed twice."""
    signed = chain_of(below.path)[0]
    for path in below.path.iterdir():
        if path.name not in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(below.path, parent=pki.path)
    assert (chain_of(below.path)[0] == signed) == bool(left)
    assert len(pki.index()) == (1 if left else 2)


@pytest.mark.parametrize("check", [True, False])
def test_parents_that_must_not_sign(pki, below, tmp_path, check):
    """Nothing is signed, nothing is recorded."""
    path = tmp_path / "new"
    before = tree(pki.path)

    def refused(said, parent=pki.path, **options):
        assert said in refusal(lambda: make(path, parent=parent, check=check, **options))
        assert not (path / "ca.crt").exists()
        assert tree(pki.path) == before

    refused("3651 days from now is ", days=3651)
    refused("must not have 1 CAs below it (pathlen:0); use another parent", below.path, subject={"CN": "New"})
    refused("there is no authority (ca.crt is missing)", tmp_path / "nothing")
    refused("is named as its own parent", path)
    refused("has the subject of the authority above it", subject={"C": "ES", "O": "ACME", "CN": "test ca"})
    make(path, subject={"CN": "A root of its own"})
    said = refusal(lambda: make(path, parent=pki.path, subject={"CN": "A root of its own"}, check=check))
    assert f"ca.crt: was not signed by the parent in {pki.path}" in said


def test_its_parent_renews_it_and_clients_notice_nothing(pki, below):
    below.one(Client("phone"))
    old, root = chain_of(below.path)
    assert make(below.path, parent=pki.path, renew_before=600).updated == {}
    before = tree(pki.path.parent)
    foreseen = make(below.path, parent=pki.path, renew_before=701, days=800, check=True)
    assert tree(pki.path.parent) == before
    done = make(below.path, parent=pki.path, renew_before=701, days=800)
    assert foreseen.updated == done.updated
    assert list(done.updated) == ["ca.crt"]
    new, above = chain_of(below.path)
    assert done.certificate == new
    assert above == root
    assert new.public_key() == old.public_key()
    assert new.serial_number != old.serial_number
    assert (new.not_valid_after_utc - old.not_valid_after_utc).days in (99, 100)
    assert read_certificates(str(below.path / f"ca-{old.serial_number:X}.crt")) == (old, root)
    renew_crl(below.path, parent={"path": str(pki.path)})
    check = ("-CAfile", "ca.crt", "-CRLfile", "crl.pem", "-crl_check_all")
    assert "OK" in openssl("verify", *check, "clients/phone/phone.crt", cwd=below.path)
    assert [entry[0] for entry in pki.index()] == ["V", "V"]
    before = tree(pki.path.parent)
    assert make(below.path, parent=pki.path, renew_before=701, days=800).updated == {}
    assert tree(pki.path.parent) == before


def test_a_renewal_that_was_killed(pki, below):
    """The parent has signed and recorded it, and ca.crt is still the old one."""
    before = (below.path / "ca.crt").read_bytes()
    make(below.path, parent=pki.path, renew_before=700, days=800)
    signed = chain_of(below.path)[0]
    (below.path / "ca.crt").write_bytes(before)
    make(below.path, parent=pki.path, renew_before=700, days=800)
    assert chain_of(below.path)[0] == signed
    assert len(pki.index()) == 2


def test_a_renewal_while_its_parent_is_in_a_safe(pki, below):
    shutil.move(pki.path, pki.path.parent / "in the safe")
    before = (below.path / "ca.crt").read_bytes()
    for check in (True, False):
        outcome = make(below.path, parent=pki.path, renew_before=701, days=800, check=check)
        assert outcome.updated == {}
        assert any(f"bring back its parent to {pki.path} and renew it" in warning for warning in outcome.warnings)
    assert (below.path / "ca.crt").read_bytes() == before


@pytest.mark.parametrize("check", [True, False])
def test_a_renewal_that_its_parent_would_not_outlive(pki, below, check):
    before = tree(pki.path.parent)
    said = refusal(lambda: make(below.path, parent=pki.path, renew_before=3000, days=3651, check=check))
    assert "after the end of the authority's own certificate" in said
    assert tree(pki.path.parent) == before


@pytest.mark.parametrize("check", [True, False])
def test_a_renewal_that_certificates_would_not_find(pki, below, check):
    """They name their issuer by its serial, as those of easy-rsa do."""
    config = below.path / "openssl.cnf"
    config.write_text(config.read_text().replace("Identifier = keyid\n", "Identifier = keyid, issuer:always\n"))
    below.ca("-in", below.csr("phone"), "-out", "phone.crt")
    before = tree(pki.path.parent)
    said = refusal(lambda: make(below.path, parent=pki.path, renew_before=700, days=800, check=check))
    assert "begin a rollover instead" in said
    assert tree(pki.path.parent) == before


def test_its_parent_is_renewed(pki, below):
    """What stands above in ca.crt follows, or it would end with the parent's old certificate."""
    below.one(Client("phone"))
    own, old = chain_of(below.path)
    make(pki.path, subject={"C": "ES", "O": "Acme", "CN": "Test CA"}, days=7000, renew_before=3651)
    before = tree(pki.path.parent)
    foreseen = make(below.path, parent=pki.path, check=True)
    assert tree(pki.path.parent) == before
    assert make(below.path, parent=pki.path).added == foreseen.added == ["ca.crt"]
    assert chain_of(below.path) == (own, *chain_of(pki.path))
    assert chain_of(below.path)[1] != old
    assert make(below.path, parent=pki.path).added == []
    assert "OK" in openssl("verify", "-CAfile", "ca.crt", "clients/phone/phone.crt", cwd=below.path)


# Below a root that is on no network


@pytest.fixture
def root(pki) -> Pki:
    """As such it is only known where its key is."""
    return pki


def sign(root: Pki, path, days=200) -> str:
    """What is done where the root's key is, by hand; returns the certificate."""
    root.ca("-extensions", "intermediate", "-days", str(days), "-notext", "-in", path / "ca.csr", "-out", "signed.crt")
    return (root.path / "signed.crt").read_text()


@pytest.mark.parametrize("order", ["the issuing one first", "the root first"])
def test_an_authority_below_a_root_that_is_on_no_network(root, tmp_path, order):
    path, certificate = tmp_path / "below", tmp_path / "signed.pem"
    foreseen = make(path, certificate=certificate, check=True)
    assert not path.exists()
    waiting = make(path, certificate=certificate)
    assert waiting.added == foreseen.added == ["ca.key", "ca.csr"]
    assert foreseen.pending == waiting.pending
    assert waiting.pending.startswith(f"{path}/ca.csr: waits to be signed as an intermediate CA; put the certificate")
    assert f"into {certificate} and run again" in waiting.pending
    assert waiting.certificate is None
    text = openssl("req", "-in", "ca.csr", "-noout", "-verify", "-text", cwd=path)
    assert "CA:TRUE, pathlen:0" in text
    before = tree(path)
    for check in (True, False):
        again = make(path, certificate=certificate, check=check)
        assert (again.added, again.pending) == ([], waiting.pending)
    assert tree(path) == before

    parts = [sign(root, path), (root.path / "ca.crt").read_text()]
    certificate.write_text("".join(parts if order == "the issuing one first" else reversed(parts)))
    foreseen = make(path, certificate=certificate, check=True)
    assert tree(path) == before
    outcome = make(path, certificate=certificate)
    assert outcome.pending is None
    assert outcome.added == foreseen.added
    assert [ca.subject.rfc4514_string() for ca in chain_of(path)] == [
        BELOW_DN,
        ROOT_DN,
    ]
    for check in (True, False):
        assert make(path, certificate=certificate, check=check).added == []
    Pki(path).one(Client("phone", days=100))
    openssl("verify", "-x509_strict", "-CAfile", "ca.crt", "clients/phone/phone.crt", cwd=path)

    # The root renews it: the same key, a later end.
    certificate.write_text(sign(root, path, days=300) + parts[1])
    assert make(path, certificate=certificate, check=True).added == ["ca.crt"]
    assert make(path, certificate=certificate).added == ["ca.crt"]
    assert chain_of(path)[0].not_valid_after_utc - times.now() > 299 * _DAY
    certificate.write_text("".join(parts))  # the old one once more
    assert make(path, certificate=certificate).added == []


def changed(root, path, **fields) -> str:
    """A certificate for the request that only a careless root would sign."""
    request = x509.load_pem_x509_csr((path / "ca.csr").read_bytes())
    issuer, now = chain_of(root.path)[0], times.now()
    usage = fields.get("usage", (True, True))
    builder = (
        x509.CertificateBuilder(
            issuer.subject, fields.get("subject", request.subject), fields.get("key", request.public_key())
        )
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - fields.get("age", 1) * _DAY)
        .not_valid_after(now + fields.get("days", 90) * _DAY)
        .add_extension(x509.BasicConstraints(fields.get("ca", True), None), critical=True)
        .add_extension(x509.KeyUsage(False, False, False, False, False, *usage, False, False), critical=True)
    )
    if "purpose" in fields:
        builder = builder.add_extension(x509.ExtendedKeyUsage([fields["purpose"]]), critical=False)
    signed = builder.sign(keys.load_key(str(root.path / "ca.key")), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"key": keys.new_key(keys.KeyKind("ecdsa")).public_key()}, "no certificate is for this authority's key"),
        ({"ca": False}, "is not the certificate of a CA"),
        ({"usage": (False, True)}, "its keyUsage lacks keyCertSign"),
        ({"usage": (True, False)}, "its keyUsage lacks cRLSign"),
        (
            {"purpose": x509.ExtendedKeyUsageOID.SERVER_AUTH},
            f"{BELOW_DN} is not for clients (extendedKeyUsage)",
        ),
        ({"subject": x509.Name([])}, f"is signed for , and ca.csr asks for {BELOW_DN}"),
        ({"age": 9, "days": -1}, "the authority's certificate expired on"),
        ({"days": 3700}, f"{ROOT_DN} expires on 20"),
    ],
    ids=["key", "no CA", "keyCertSign", "cRLSign", "purpose", "subject", "expired", "outlives its parent"],
)
def test_a_certificate_that_must_not_be_taken(root, tmp_path, fields, said):
    path, certificate = tmp_path / "below", tmp_path / "signed.pem"
    make(path, certificate=certificate)
    certificate.write_text(changed(root, path, **fields) + (root.path / "ca.crt").read_text())
    before = tree(path)
    for check in (True, False):
        text = refusal(lambda check=check: make(path, certificate=certificate, check=check))
        assert text.startswith(f"{certificate}: ")
        assert said in text
    assert tree(path) == before


def test_a_chain_that_is_none(root, tmp_path):
    path, certificate, other = tmp_path / "below", tmp_path / "signed.pem", tmp_path / "other"
    make(path, certificate=certificate)
    make(other, subject={"CN": "Other"})
    signed, above = sign(root, path), (root.path / "ca.crt").read_text()
    foreign = (other / "ca.crt").read_text()
    for text, said in (
        (signed, f"lacks {ROOT_DN}, the issuer of {BELOW_DN}; append it"),
        (signed + foreign, f"lacks {ROOT_DN}, the issuer of"),
        (signed + above + foreign, f"CN=Other is not above {BELOW_DN}, and hosts would trust it; remove it"),
        (above, "no certificate is for this authority's key; put the one there that was made from its ca.csr"),
        ("", "is damaged, or holds no certificate"),
    ):
        certificate.write_text(text)
        assert said in refusal(lambda: make(path, certificate=certificate))
        assert not (path / "ca.crt").exists()


def test_a_certificate_without_a_key_is_nobody_s(root, tmp_path):
    path, certificate = tmp_path / "below", tmp_path / "signed.pem"
    make(path, certificate=certificate)
    certificate.write_text(sign(root, path) + (root.path / "ca.crt").read_text())
    (path / "ca.key").unlink()
    for check in (True, False):
        said = refusal(lambda check=check: make(path, certificate=certificate, check=check))
        assert "ca.key" in said
        assert "is missing" in said
    assert not (path / "ca.key").exists()


def test_a_bundle_put_there_by_hand_in_the_wrong_order(below):
    lower, upper = chain_of(below.path)
    pem = [ca.public_bytes(serialization.Encoding.PEM) for ca in (lower, upper)]
    for parts, said in (
        ((pem[1], pem[0]), "does not begin with the certificate of the issuing CA; put it first, the root last"),
        ((pem[0],), f"lacks {ROOT_DN}, the issuer of {BELOW_DN}"),
        ((pem[0], pem[0], pem[1]), "put the certificates in order, the issuing CA first and its root last"),
    ):
        (below.path / "ca.crt").write_bytes(b"".join(parts))
        assert said in refusal(lambda: open_authority(Access(str(below.path)), read_only=True).__enter__())


def test_a_parent_that_ends_first_is_warned_of(pki, tmp_path):
    path = tmp_path / "below"
    make(path, parent=pki.path, days=3600)
    (path / "ca.csr").write_bytes(
        (openssl("x509", "-x509toreq", "-in", "ca.crt", "-signkey", "ca.key", cwd=path)).encode()
    )
    lower = changed(pki, path, days=3700)
    (path / "ca.crt").write_text(lower + (pki.path / "ca.crt").read_text())
    assert f"{ROOT_DN} expires before the authority itself, on 20" in make(path).warnings[0]


# The CRL of a root that is on no network


@pytest.fixture
def offline(root, below, tmp_path):
    """The authority below, and the file to which the root's CRL is brought."""
    file = tmp_path / "root.crl"
    shutil.copy(root.path / "crl.pem", file)
    return below.path, file


def test_the_root_s_crl_is_brought_by_hand(root, offline):
    path, file = offline
    missing = run_module("crl", ca_path=str(path))
    assert f"there is no CRL of {ROOT_DN}, and nginx would refuse every client" in missing["msg"]
    assert renew_crl(path, parent_crl=str(file))["changed"]
    before = tree(path)
    assert not renew_crl(path, parent_crl=str(file))["changed"]
    assert not renew_crl(path)["changed"]
    assert tree(path) == before
    assert (path / "crl.pem").read_text().endswith(file.read_text())
    # A later one takes the place of the earlier, and stays when the earlier is brought again.
    old = file.read_text()
    root.ca("-gencrl", "-crldays", "60", "-out", str(file))
    assert renew_crl(path, parent_crl=str(file), check=True)["changed"]
    assert renew_crl(path, parent_crl=str(file))["changed"]
    new, number = file.read_text(), (path / "crlnumber").read_text()
    assert new.strip() in (path / "crl.pem").read_text()
    file.write_text(old)
    assert not renew_crl(path, parent_crl=str(file))["changed"]
    assert (path / "crlnumber").read_text() == number


def test_the_end_of_the_root_s_crl_is_seen_coming(root, offline):
    path, file = offline
    root.ca("-gencrl", "-crldays", "20", "-out", str(file))
    assert f"the CRL of {ROOT_DN} expires on" in renew_crl(path, parent_crl=str(file))["raw"]
    assert "expires on" not in renew_crl(path, parent_crl=str(file), parent_crl_warn_days=10)["raw"]
    root.ca(
        "-gencrl",
        "-crlsec",
        "1",
        "-crl_lastupdate",
        "20260101000000Z",
        "-crl_nextupdate",
        "20260201000000Z",
        "-out",
        str(file),
    )
    before = tree(path)
    for check in (True, False):
        ended = run_module("crl", check=check, ca_path=str(path), parent_crl=str(file))
        assert f"the CRL of {ROOT_DN} expired on 2026-02-01T00:00:00Z, and nginx refuses every client" in ended["msg"]
    assert tree(path) == before


def test_somebody_else_s_crl_is_refused(pki, offline, tmp_path):
    path, file = offline
    make(tmp_path / "other", subject={"CN": "Other"})
    shutil.copy(tmp_path / "other" / "crl.pem", file)
    said = run_module("crl", ca_path=str(path), parent_crl=str(file))["msg"]
    assert f"{file}: a CRL in it is by CN=Other, and no authority above this one is" in said
    file.write_text("nothing")
    assert "contains no CRL in PEM" in run_module("crl", ca_path=str(path), parent_crl=str(file))["msg"]
    file.unlink()
    assert "no such file" in run_module("crl", ca_path=str(path), parent_crl=str(file))["msg"]


def test_authorities_that_are_not_here_have_none_above(tmp_path):
    trust = {"certificates": "x", "crl": "y"}
    made = run_module("ca_init", path=str(tmp_path / "x"), ca_backend="trust", ca_trust=trust, parent={"path": "y"})
    assert "an authority above it is for the backends directory and pkcs11, not trust" in made["msg"]
    asked = run_module("crl", ca_path=str(tmp_path / "x"), ca_backend="trust", ca_trust=trust, parent_crl="z")
    assert "a CRL from above is for the backends directory and pkcs11, not trust" in asked["msg"]


def test_what_the_module_says_while_it_waits(tmp_path):
    options = {"path": str(tmp_path / "x"), "subject": BELOW, "key_type": "ecdsa", "certificate": str(tmp_path / "y")}
    for check, added in ((True, ["ca.key", "ca.csr"]), (False, ["ca.key", "ca.csr"]), (False, [])):
        result = run_module("ca_init", check=check, **options)
        assert result["added"] == added
        assert (result["changed"], result["created"], result["ca"]) == (bool(added), False, None)
        assert result["pending"].startswith(f"{tmp_path}/x/ca.csr: waits to be signed")


def test_parent_and_certificate_exclude_each_other(tmp_path):
    said = run_module("ca_init", path=str(tmp_path / "x"), parent={"path": "y"}, certificate="z")["msg"]
    assert "mutually exclusive" in said


def test_an_intermediate_that_is_signed_with_sha1_is_refused_in_plain_words(tmp_path, pki):
    """A root's signature may be as old as it likes: nobody checks it."""
    make(tmp_path / "below", parent=pki.path)
    request = x509.CertificateSigningRequestBuilder(chain_of(tmp_path / "below")[0].subject)
    key = serialization.load_pem_private_key((tmp_path / "below/ca.key").read_bytes(), None)
    (tmp_path / "old.csr").write_bytes(request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pki.ca("-md", "sha1", "-extensions", "intermediate", "-in", tmp_path / "old.csr", "-out", tmp_path / "old.crt")
    old = read_certificates(str(tmp_path / "old.crt"))[0]
    assert chains.was_issued_by(old, chain_of(pki.path)[0])
    assert not chains.was_issued_by(old, chain_of(tmp_path / "below")[0])
    (tmp_path / "below/ca.crt").write_bytes(chains.pem([old, *chain_of(pki.path)]))
    said = refusal(lambda: make(tmp_path / "below", parent=pki.path))
    assert "ca.crt: is signed with SHA-1, so nginx would refuse every client" in said


def test_a_signature_of_the_old_way_is_checked_all_the_same(tmp_path):
    """With SHA-1 by RSA; a key that cannot have signed so did not."""
    (tmp_path / "old.key").write_bytes(rsa_key(0))
    openssl("req", "-x509", "-sha1", "-key", "old.key", "-subj", "/CN=Old", "-out", "old.crt", cwd=tmp_path)
    openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=Old", "-keyout", "new.key", "-out", "new.crt",
            cwd=tmp_path)  # fmt: skip
    (old,) = chains.read_certificates(str(tmp_path / "old.crt"))
    (other,) = chains.read_certificates(str(tmp_path / "new.crt"))
    assert chains.was_issued_by(old, old)
    assert not chains.was_issued_by(old, other)
