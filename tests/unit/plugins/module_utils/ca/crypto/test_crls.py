# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CRLs as openssl reads them, and CRL files that are none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.numbers import hexadecimal
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import lint, openssl

NOW = times.now()
DAY = timedelta(days=1)


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
    with pytest.raises(MtlsError, match="contains a CERTIFICATE, and may contain CRLs only"):
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
    with pytest.raises(MtlsError, match="from 100,000 on that must be allowed"):
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


def test_a_key_that_signs_nothing_signed_no_crl(pki):
    """X25519 only agrees on secrets (RFC 8410); a certificate may hold it all the same."""
    (crl,) = crls.parse_crls((pki.path / "crl.pem").read_bytes(), "crl.pem")
    ca = x509.load_pem_x509_certificate((pki.path / "ca.crt").read_bytes())
    key = keys.load_key(str(pki.path / "ca.key"))
    dates = (ca.not_valid_before_utc, ca.not_valid_after_utc)
    builder = x509.CertificateBuilder(
        ca.subject, ca.subject, x25519.X25519PrivateKey.generate().public_key(), 5, *dates
    )
    assert crls.is_by(crl, ca)
    assert not crls.is_by(crl, builder.sign(key, hashes.SHA256()))
