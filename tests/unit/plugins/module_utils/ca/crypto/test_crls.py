# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CRLs as openssl reads them, and CRL files that are none."""

from __future__ import annotations

import functools
import types
from datetime import datetime, timedelta
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.numbers import hexadecimal
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.common import der, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import lint, openssl

NOW = times.now()
DAY = timedelta(days=1)
FOR_CLIENTS = {"only_contains_user_certs": True}
FOR_CAS = {"only_contains_ca_certs": True}
AT_ONE_POINT = {"full_name": [x509.UniformResourceIdentifier("http://pki.example/ca.crl")]}


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def authority(name: str, above: profiles.Issuer | None = None) -> profiles.Issuer:
    """A root, or a CA below another."""
    key = ec.generate_private_key(ec.SECP256R1())
    upper = above.certificate.subject if above else named(name)
    builder = x509.CertificateBuilder(upper, named(name), key.public_key(), 5, NOW, NOW + 30 * DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return profiles.Issuer(builder.sign(above.key if above else key, hashes.SHA256()), key)


def listed(
    issuer: profiles.Issuer,
    *extensions: x509.ExtensionType,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    serials=(),
    digest: type[hashes.HashAlgorithm] = hashes.SHA256,
) -> bytes:
    """A CRL in PEM that another program has made."""
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, begin, end)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, digest()).public_bytes(serialization.Encoding.PEM)


def point(given) -> x509.IssuingDistributionPoint:
    nothing = {
        **dict.fromkeys(("full_name", "relative_name", "only_some_reasons")),
        **dict.fromkeys(("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl"), False),
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**nothing, **given})


def parts(encoded: bytes) -> list[der.Element]:
    return list(der.elements(next(der.elements(encoded)).content))


def lean(encoded: bytes, **given) -> crls.Crl:
    """A CRL with only so much of what it was read into."""
    return crls.Crl(encoded, cast("x509.CertificateRevocationList", types.SimpleNamespace(**given)))


def bundle(*issuers: profiles.Issuer) -> bytes:
    return b"".join(each.certificate.public_bytes(serialization.Encoding.PEM) for each in issuers)


def issuer_of(pki) -> profiles.Issuer:
    certificate = x509.load_pem_x509_certificate((pki.path / "ca.crt").read_bytes())
    return profiles.Issuer(certificate, keys.load_key(str(pki.path / "ca.key")))


def state(number: int = 1, entries: int = 0, days: int = 10) -> CrlState:
    return CrlState(number, NOW - DAY, NOW + days * DAY, entries)


def built(pki, revocations=(), number: int = 1) -> bytes:
    encoded = crls.encode_revoked(dict(revocations))
    return crls.build_crl(issuer_of(pki), encoded, state(number, encoded.count))


def test_openssl_and_a_linter_agree_with_what_was_built(pki):
    moment = times.asn1_text(NOW - DAY)
    pem = built(pki, {(moment, "keyCompromise"): ["0ABC", "7F"], (moment, None): ["80", "FF" * 19]}, number=300)
    (pki.path / "built.pem").write_bytes(pem)

    said = openssl("crl", "-in", "built.pem", "-CAfile", "ca.crt", "-noout", "-text", cwd=pki.path)
    assert "verify OK" in said
    assert said.count("Serial Number:") == 4
    assert said.count("Key Compromise") == 2
    lint("crl", "-t", "CRL", "-p", "PKIX", pki.path / "built.pem")
    (crl,) = crls.parse_crls(pem, "built.pem")
    assert crls.state_of(crl) == state(300, 4)


@settings(max_examples=50)
@given(st.sets(st.integers(1, (1 << 159) - 1), min_size=1, max_size=20))
def test_every_serial_is_listed_once_and_in_order(serials):
    encoded = crls.encode_revoked({(times.asn1_text(NOW), None): [hexadecimal(serial) for serial in serials]})
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    ca = profiles.ca_certificate(key, name, 1, profiles.Validity(NOW, NOW + DAY))
    (crl,) = crls.parse_crls(crls.build_crl(profiles.Issuer(ca, key), encoded, state(entries=len(serials))), "x")

    assert [entry.serial_number for entry in crl.parsed] == sorted(serials)
    assert crls.lists_exactly(crl, encoded)


def test_a_reason_that_nobody_knows_and_a_date_that_does_not_exist():
    with pytest.raises(MtlsError, match="serial 0A is revoked with the unknown reason 'bored'; correct the line"):
        crls.encode_revoked({(times.asn1_text(NOW), "bored"): ["0A"]})
    with pytest.raises(MtlsError, match="serial 0A was revoked on 261332000000Z, a date that does not exist"):
        crls.encode_revoked({("261332000000Z", None): ["0A"]})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "contains no CRL in PEM; remove it"),
        (b"text\n", "contains no CRL in PEM; remove it"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "is damaged; remove it"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n", "is damaged; remove it"),
    ],
)
def test_files_without_a_crl(content, said):
    with pytest.raises(MtlsError, match=f"^crl.pem: {said}"):
        crls.parse_crls(content, "crl.pem")


def test_a_certificate_among_the_crls_would_be_a_trust_anchor(pki):
    with pytest.raises(MtlsError, match="contains a CERTIFICATE, and must contain CRLs only"):
        crls.parse_crls(built(pki) + (pki.path / "ca.crt").read_bytes(), "crl.pem")


def test_text_around_and_line_ends_of_another_system_do_not_matter(pki):
    pem = built(pki)
    (plain,) = crls.parse_crls(pem, "crl.pem")
    (other,) = crls.parse_crls(b"Certificate Revocation List:\r\n" + pem.replace(b"\n", b"\r\n"), "crl.pem")
    assert other == plain


def test_whose_a_crl_is(pki, tmp_path):
    (crl,) = crls.parse_crls(built(pki), "crl.pem")
    ours = issuer_of(pki).certificate
    other_key = ec.generate_private_key(ec.SECP256R1())
    validity = profiles.Validity(NOW, NOW + DAY)

    assert crls.is_by(crl, ours)
    assert not crls.is_by(crl, profiles.ca_certificate(other_key, ours.subject, 1, validity))
    other_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    assert not crls.is_by(crl, profiles.ca_certificate(issuer_of(pki).key, other_name, 1, validity))


@pytest.mark.parametrize("algorithm", [hashes.SHA384(), None], ids=["ECDSA with SHA-384", "Ed25519"])
def test_signatures_that_we_do_not_make_count_too(algorithm):
    key = ed25519.Ed25519PrivateKey.generate() if algorithm is None else ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    ca = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + DAY).sign(key, algorithm)
    builder = x509.CertificateRevocationListBuilder(name, NOW, NOW + DAY)
    pem = builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)
    (crl,) = crls.parse_crls(pem, "x")

    assert crls.is_by(crl, ca)
    assert crls.state_of(crl).number == 0


def test_the_newest_goes_by_number_then_by_date(pki):
    ours = issuer_of(pki).certificate
    first, second, third = (crls.parse_crls(built(pki, number=number), "x")[0] for number in (1, 3, 2))

    assert crls.newest_by(ours, [first, second, third]) is second
    assert crls.newest_by(ours, []) is None


def test_how_long_a_list_may_be():
    assert crls.check_size(9_999, 100_000, "crl.pem") is None
    assert "takes about 1.1 ms longer" in (crls.check_size(10_000, 100_000, "crl.pem") or "")
    with pytest.raises(MtlsError, match="it is not installed with 100,000 entries or more"):
        crls.check_size(100_000, 100_000, "crl.pem")
    assert crls.check_size(4, 5, "crl.pem") is None


def test_what_may_be_left_out_was_on_one_crl_after_its_end():
    assert crls.prunes(state(days=9)) == NOW - DAY - 10 * DAY


def test_the_index_tells_what_is_listed(pki):
    """Serials of one, two and twenty octets from one index, by reason."""
    index = Index(str(pki.path / "index.txt"), {})
    for serial in ("0A", "7FFF", "80" * 20):
        index.add(serial, NOW + DAY, f"/CN={serial}")
        index.revoke(serial, NOW, "superseded")

    assert crls.encode_revoked(index.revocations()).count == 3


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("keyCompromise", x509.ReasonFlags.key_compromise),
        ("CACompromise", x509.ReasonFlags.ca_compromise),
        ("affiliationChanged", x509.ReasonFlags.affiliation_changed),
        ("superseded", x509.ReasonFlags.superseded),
        ("cessationOfOperation", x509.ReasonFlags.cessation_of_operation),
        ("certificateHold", x509.ReasonFlags.certificate_hold),
    ],
)
def test_each_reason_is_the_one_that_it_is_called(pki, word, reason):
    (crl,) = crls.parse_crls(built(pki, {(times.asn1_text(NOW - DAY), word): ["0A"]}), "crl.pem")
    (entry,) = crl.parsed
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is reason
    assert crls.reason_of(entry) == word


def test_without_a_reason_it_is_unspecified(pki):
    (crl,) = crls.parse_crls(built(pki, {(times.asn1_text(NOW - DAY), None): ["0A"]}), "crl.pem")
    (entry,) = crl.parsed
    assert crls.reason_of(entry) == "unspecified"


def test_what_is_wrong_names_the_first_serial():
    with pytest.raises(MtlsError, match="serial 0A is revoked with the unknown reason"):
        crls.encode_revoked({(times.asn1_text(NOW), "bored"): ["0A", "0B"]})
    with pytest.raises(MtlsError, match="serial 0A was revoked on 261332000000Z"):
        crls.encode_revoked({("261332000000Z", None): ["0A", "0B"]})


def test_what_a_list_of_a_million_costs():
    assert "takes about 110.0 ms longer" in (crls.check_size(1_000_000, 10_000_000, "crl.pem") or "")
    with pytest.raises(MtlsError):
        crls.check_size(5, 5, "crl.pem")
    assert crls.check_size(9_999, 10_000, "crl.pem") is None


def test_a_crl_lists_exactly_what_it_was_made_of(pki):
    moment = times.asn1_text(NOW - DAY)
    (crl,) = crls.parse_crls(built(pki, {(moment, None): ["0A", "0B"]}), "crl.pem")
    same, fewer, others, nobody = (
        crls.encode_revoked({(moment, None): serials} if serials else {})
        for serials in (["0B", "0A"], ["0A"], ["0A", "0C"], [])
    )
    assert crls.lists_exactly(crl, same)
    assert not any(crls.lists_exactly(crl, one) for one in (fewer, others, nobody))
    (empty,) = crls.parse_crls(built(pki), "crl.pem")
    assert crls.lists_exactly(empty, nobody)
    assert not crls.lists_exactly(empty, same)


KEYS = {
    "RSA": functools.partial(rsa.generate_private_key, 65537, 2048),
    "P-256": functools.partial(ec.generate_private_key, ec.SECP256R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_signature_of_another_key_of_its_kind_is_none_of_ours(kind):
    ours, other = KEYS[kind](), KEYS[kind]()
    ca = profiles.ca_certificate(ours, named("x"), 1, profiles.Validity(NOW, NOW + DAY))
    for key, is_ours in ((ours, True), (other, False)):
        (crl,) = crls.parse_crls(crls.build_crl(profiles.Issuer(ca, key), crls.encode_revoked({}), state()), "x")
        # Without what would encode all of it again: ours are read once.
        assert crls.is_by(lean(crl.encoded, issuer=crl.parsed.issuer, signature=crl.parsed.signature), ca) is is_ours


@pytest.mark.parametrize("strange", ["inner", "outer"])
def test_both_places_must_name_the_algorithm(strange):
    ca = authority("x")
    ours, other = (
        parts(crls.parse_crls(listed(ca, digest=digest), "x")[0].encoded) for digest in (hashes.SHA256, hashes.SHA384)
    )
    (inner, outer), strangers = (each.encoded for each in ours[:2]), other[1].encoded
    if strange == "inner":
        inner = inner.replace(outer, strangers)
    else:
        outer = strangers
    signature = keys.sign(ca.key, inner)
    encoded = der.encode(der.SEQUENCE, inner + outer + der.encode(der.BIT_STRING, b"\0" + signature))
    # cryptography says so itself, and does not even read it from 47 on.
    crl = lean(encoded, issuer=ca.certificate.subject, signature=signature, is_signature_valid=lambda _key: False)
    assert crls.is_by(crl, ca.certificate) is False


def test_a_key_that_signs_nothing_has_signed_no_crl():
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    signer = ec.generate_private_key(ec.SECP256R1())
    agreeing = x25519.X25519PrivateKey.generate().public_key()
    ca = x509.CertificateBuilder(name, name, agreeing, 1, NOW, NOW + DAY).sign(signer, hashes.SHA256())
    builder = x509.CertificateRevocationListBuilder(name, NOW, NOW + DAY)
    pem = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (crl,) = crls.parse_crls(pem, "x")
    assert crls.is_by(crl, ca) is False


def test_what_is_no_base64_is_damaged(pki):
    with pytest.raises(MtlsError, match=r"^crl\.pem: is damaged; remove it"):
        crls.parse_crls(built(pki).replace(b"\nM", b"\n!M", 1), "crl.pem")


@pytest.mark.parametrize(
    ("digest", "name", "own_key", "counts"),
    [
        (hashes.SHA256, "x", True, True),
        (hashes.SHA256, "x", False, False),
        (hashes.SHA1, "x", True, True),
        (hashes.SHA1, "x", False, False),
        (hashes.SHA1, "y", True, False),
    ],
)
def test_what_a_weak_crl_lists_was_revoked_too(digest, name, own_key, counts):
    ca, other = authority("x"), authority(name)
    signer = profiles.Issuer(other.certificate, ca.key if own_key else other.key)
    (crl,) = crls.parse_crls(listed(signer) if digest is hashes.SHA256 else with_sha1(signer), "x")
    assert crls.was_signed_by(crl, ca.certificate) is counts
    assert crls.is_by(crl, ca.certificate) is (counts and digest is hashes.SHA256)


def with_sha1(issuer: profiles.Issuer) -> bytes:
    """A CRL as cryptography does not sign it any more."""
    weak = der.encode(der.SEQUENCE, der.oid("1.2.840.10045.4.1"))  # ecdsa-with-SHA1, RFC 3279
    version, _algorithm, *rest = fields(issuer)
    return signed(issuer, [version, weak, *rest], hashes.SHA1())


def fields(issuer: profiles.Issuer) -> list[bytes]:
    """The fields of a CRL by ``issuer``, up to its end date (RFC 5280, 5.1.2)."""
    (crl,) = crls.parse_crls(listed(issuer), "x")
    return [each.encoded for each in parts(parts(crl.encoded)[0].encoded)[:5]]


def signed(issuer: profiles.Issuer, fields: list[bytes], digest: hashes.HashAlgorithm | None = None) -> bytes:
    """A CRL of these fields."""
    inner = der.encode(der.SEQUENCE, b"".join(fields))
    signature = der.encode(der.BIT_STRING, b"\0" + issuer.key.sign(inner, ec.ECDSA(digest or hashes.SHA256())))
    crl = x509.load_der_x509_crl(der.encode(der.SEQUENCE, inner + fields[1] + signature))
    return crl.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    "extensions",
    [
        bytes.fromhex("300a0603551d140403020103" * 2),
        bytes.fromhex("300f0603551d1c04083006a004a002a300"),
        bytes.fromhex("30090603551d1404020400"),
    ],
    ids=["a number twice", "the name of a distribution point is an X.400 address", "a number that is none"],
)
def test_a_crl_whose_extensions_cannot_be_read_is_damaged(extensions):
    root = authority("root")
    more = der.encode(0xA0, der.encode(der.SEQUENCE, extensions))
    with pytest.raises(MtlsError, match=r"^crl\.pem: is damaged; remove it"):
        crls.parse_crls(signed(root, [*fields(root), more]), "crl.pem")


def test_dates_from_2050_on_are_written_in_full():
    ca = authority("x")
    late = CrlState(1, NOW, datetime(2051, 2, 3, tzinfo=NOW.tzinfo), 0)
    (crl,) = crls.parse_crls(crls.build_crl(ca, crls.encode_revoked({}), late), "x")
    assert crls.state_of(crl) == late
    assert parts(parts(crl.encoded)[0].encoded)[3].tag == der.UTC_TIME
    assert parts(parts(crl.encoded)[0].encoded)[4].tag == der.GENERALIZED_TIME


def test_a_block_on_one_line():
    assert crls.decode_pem(b"-----BEGIN X509 CRL-----AAAA-----END X509 CRL-----") == bytes(3)


@pytest.fixture
def still(monkeypatch):
    """The clock stands still."""
    monkeypatch.setattr(times, "now", lambda: NOW)


def test_the_crls_of_the_cas_above(still):
    root = authority("root")
    middle = authority("middle", root)
    chain = [each.certificate for each in (authority("lower", middle), middle, root)]

    def asked(*pems: bytes, days: int = 10) -> list[str]:
        return crls.check_above(chain, [crl for pem in pems for crl in crls.parse_crls(pem, "x")], "crl.pem", days)

    good = listed(middle, end=NOW + 30 * DAY)
    assert asked(good, listed(root, end=NOW + 10 * DAY + timedelta(seconds=1))) == []
    (soon,) = asked(good, listed(root, end=NOW + 10 * DAY))
    assert soon.startswith("crl.pem: the CRL of CN=root expires on ")
    (revoked,) = asked(good, listed(root, end=NOW + 30 * DAY, serials=[5]))
    assert revoked.startswith("crl.pem: CN=root has revoked CN=middle, so that hosts refuse every client")
    for pems, said in (
        ([good], "there is no CRL of CN=root"),
        ([listed(root)], "there is no CRL of CN=middle"),
        ([good, listed(root, end=NOW)], "the CRL of CN=root expired on "),
    ):
        with pytest.raises(MtlsError, match=f"^crl.pem: {said}"):
            asked(*pems)
    with pytest.raises(MtlsError, match=r"^parent_crl_warn_days: 3650000 days end after the year 9999"):
        asked(good, listed(root), days=3650000)


def endless(issuer: profiles.Issuer) -> bytes:
    """A CRL without an end, which is not for the internet (RFC 5280, 5.1.2.5)."""
    return signed(issuer, fields(issuer)[:4])


def test_what_a_host_may_be_given():
    root = authority("root")
    lower = authority("lower", root)

    def asked(content: bytes, *chain: profiles.Issuer) -> None:
        crls.check_shippable(content, bundle(*chain), NOW)

    covers = listed(lower)
    asked(listed(root), root)
    asked(listed(root, begin=NOW), root)
    asked(covers + listed(root), lower, root)
    asked(covers, lower)  # whoever signed it is not in the bundle
    # One that is good for it is enough.
    asked(covers + listed(root, point(FOR_CLIENTS)) + listed(root), lower, root)
    asked(covers + listed(root, point(FOR_CAS)), lower, root)
    asked(listed(root, point(FOR_CAS)) + listed(root), root)
    asked(listed(root, point({"indirect_crl": True})) + listed(root), root)
    for content, chain, said in (
        (listed(lower), [root], r"was not signed by this authority \(its issuer is CN=lower\)"),
        (listed(root, begin=NOW + timedelta(seconds=1)), [root], "is valid from "),
        (listed(root, end=NOW), [root], "expired on "),
        (endless(root), [root], "has no end date, and nginx would refuse"),
        (listed(root, x509.DeltaCRLIndicator(1)), [root], "the CRL of CN=root is a delta CRL"),
        (listed(root, point({"indirect_crl": True})), [root], "the CRL of CN=root is an indirect CRL"),
        (covers, [lower, root], "holds no CRL of CN=root"),
        (
            covers + listed(root, point(FOR_CLIENTS)) + listed(root, point(AT_ONE_POINT)),
            [lower, root],
            "the CRL of CN=root is for user certificates only, so it does not cover the CA CN=lower",
        ),
        (
            listed(lower, point(FOR_CAS)) + listed(root),
            [lower, root],
            "the CRL of CN=lower is for CA certificates only, so it covers no client",
        ),
    ):
        with pytest.raises(MtlsError, match=f"^crl.pem: {said}"):
            asked(content, *chain)


def test_one_file_for_the_whole_chain():
    root = authority("root")
    own, above = listed(authority("lower", root)), listed(root)
    assert crls.merge(own, crls.parse_crls(above, "x")) == own + above
