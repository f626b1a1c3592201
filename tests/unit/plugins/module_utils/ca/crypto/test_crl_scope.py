# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a CRL by its extensions. That nginx decides the same is tested with the real one in tests/gate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crl_scope, crls, keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
HERE = [x509.UniformResourceIdentifier("http://pki.example/ca.crl")]
ELSEWHERE = [x509.UniformResourceIdentifier("http://pki.example/other.crl")]


@pytest.fixture(scope="module")
def issuer(pristine) -> profiles.Issuer:
    certificate = x509.load_pem_x509_certificate((pristine / "ca.crt").read_bytes())
    return profiles.Issuer(certificate, keys.load_key(str(pristine / "ca.key")))


@pytest.fixture
def made(issuer):
    """Make a CRL with extensions of the list and of its one entry, each with whether it is critical."""

    def make(*extensions: tuple[x509.ExtensionType, bool], entry: tuple = ()) -> crls.Crl:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(NOW)
            .next_update(NOW + timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        revoked = x509.RevokedCertificateBuilder().serial_number(7).revocation_date(NOW)
        for extension, critical in entry:
            revoked = revoked.add_extension(extension, critical)
        crl = builder.add_revoked_certificate(revoked.build()).sign(issuer.key, hashes.SHA256())
        encoded = crl.public_bytes(serialization.Encoding.DER)
        return crls.Crl(encoded, x509.load_der_x509_crl(encoded))

    return make


def point(**given) -> tuple[x509.IssuingDistributionPoint, bool]:
    """An issuingDistributionPoint, critical as RFC 5280, 5.2.5 wants it."""
    nothing = {
        **dict.fromkeys(("full_name", "relative_name", "only_some_reasons")),
        **dict.fromkeys(("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl"), False),
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**nothing, **given}), True


def named(**given) -> tuple[x509.AuthorityKeyIdentifier, bool]:
    parts = dict.fromkeys(("key_identifier", "authority_cert_issuer", "authority_cert_serial_number"))
    return x509.AuthorityKeyIdentifier(**{**parts, **given}), False


@pytest.mark.parametrize(
    ("extensions", "entry", "said"),
    [
        ([], [], None),
        ([(x509.CRLNumber(3), False)], [(x509.CRLReason(x509.ReasonFlags.superseded), False)], None),
        ([(x509.CRLNumber(3), True)], [], "has the critical extension 2.5.29.20, which nginx does not know"),
        (
            [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)],
            [],
            "has the critical extension 1.2.3.4, which nginx does not know",
        ),
        ([(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False)], [], None),
        # The octets of a critical flag, in something else.
        ([(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x01\x01\xff"), False)], [], None),
        (
            [],
            [(x509.CRLReason(x509.ReasonFlags.superseded), True)],
            "has an entry with a critical extension, which nginx does not know",
        ),
        ([], [(x509.CertificateIssuer([x509.DNSName("ca.example")]), True)], None),
        ([point(full_name=HERE)], [], None),
        ([point(only_contains_user_certs=True)], [], None),
        ([point(only_contains_ca_certs=True)], [], None),
        ([point(indirect_crl=True)], [], "is an indirect CRL, which nginx does not accept"),
        (
            [point(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))],
            [],
            "is for some reasons of revocation only, which nginx does not accept",
        ),
        ([point(only_contains_attribute_certs=True)], [], "is for attribute certificates only"),
    ],
)
def test_what_openssl_accepts_for_no_certificate(made, issuer, extensions, entry, said):
    crl = made(*extensions, entry=entry)
    assert crl_scope.unusable(crl.parsed, crl.signed_part, issuer.certificate) == said


# In DER, where the library would not write it: an issuingDistributionPoint for user and for CA certificates only
# (RFC 5280, 5.2.5 forbids it), a number that is none.
UNREADABLE = [
    x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.28"), bytes.fromhex("30068101ff8201ff")),
    x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.20"), b"\x04\x00"),
]


@pytest.mark.parametrize("extension", UNREADABLE, ids=["contradiction", "number"])
def test_a_crl_whose_extensions_cannot_be_read_is_damaged(made, extension):
    pem = made((extension, True)).parsed.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(MtlsError, match=r"their\.pem: is damaged"):
        crls.parse_crls(pem, "their.pem")


@pytest.mark.parametrize(
    "extensions",
    [
        [x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.21"), b"\x04\x00")],
        # A certificateIssuer that is an X.400 address.
        [x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.29"), bytes.fromhex("3002a300"))],
        # The reason twice, which the library would not write: see below.
        [
            x509.UnrecognizedExtension(x509.ObjectIdentifier(number), b"\x0a\x01\x04")
            for number in ("2.5.29.21", "2.5.29.99")
        ],
    ],
    ids=["a reason that is none", "an X.400 address", "twice"],
)
def test_an_entry_that_cannot_be_read(made, issuer, extensions):
    crl = made(entry=[(each, True) for each in extensions])
    encoded = crl.encoded.replace(bytes.fromhex("551d63"), bytes.fromhex("551d15"))
    crl = crls.Crl(encoded, x509.load_der_x509_crl(encoded))
    assert crl_scope.unusable(crl.parsed, crl.signed_part, issuer.certificate) == "has an entry that cannot be read"


@pytest.mark.parametrize("part", ["key", "serial", "both", "directory"])
@pytest.mark.parametrize("right", [True, False])
def test_the_issuing_certificate_that_a_crl_names(made, issuer, part, right):
    own = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    key = own if right else b"x" * 20
    serial = issuer.certificate.serial_number if right else 5
    name = issuer.certificate.issuer if right else x509.Name.from_rfc4514_string("CN=Other")
    others = issuer.certificate.issuer if not right else x509.Name.from_rfc4514_string("CN=Other")
    authority = [x509.DNSName("ca.example"), x509.DirectoryName(name), x509.DirectoryName(others)]  # the first counts
    parts = {
        "key": {"key_identifier": key},
        "serial": {"authority_cert_issuer": [x509.DNSName("ca.example")], "authority_cert_serial_number": serial},
        "both": {
            "key_identifier": own,
            "authority_cert_issuer": [x509.DirectoryName(issuer.certificate.issuer)],
            "authority_cert_serial_number": serial,
        },
        "directory": {
            "authority_cert_issuer": authority,
            "authority_cert_serial_number": issuer.certificate.serial_number,
        },
    }
    crl = made(named(**parts[part]))
    said = crl_scope.unusable(crl.parsed, crl.signed_part, issuer.certificate)
    assert said == (None if right else "names another issuing certificate in its authorityKeyIdentifier")


def test_an_issuer_without_a_key_identifier_is_named_by_any(made, issuer):
    key = issuer.key
    certificate = (
        x509.CertificateBuilder(
            issuer.certificate.subject,
            issuer.certificate.subject,
            key.public_key(),
            5,
            NOW,
            NOW + timedelta(days=1),
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    crl = made(named(key_identifier=b"x" * 20))
    assert crl_scope.unusable(crl.parsed, crl.signed_part, certificate) is None


def test_a_delta_crl_lists_changes_only(made):
    assert crl_scope.is_delta(made((x509.DeltaCRLIndicator(3), True)).parsed)
    assert not crl_scope.is_delta(made((x509.CRLNumber(3), False)).parsed)


@pytest.mark.parametrize(
    ("extensions", "points", "said"),
    [
        ([], None, None),
        ([point(only_contains_ca_certs=True)], None, None),
        ([point(only_contains_user_certs=True)], None, "is for user certificates only"),
        ([point(full_name=HERE)], [[*ELSEWHERE], [*HERE, *ELSEWHERE]], None),
        *(
            ([each], points, "is for one distribution point only, which the certificate does not name")
            for each in (
                point(full_name=HERE),
                point(
                    relative_name=x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])
                ),
            )
            for points in (None, [[*ELSEWHERE]], [None])
        ),
    ],
)
def test_a_crl_that_does_not_cover_a_ca(made, issuer, extensions, points, said):
    builder = x509.CertificateBuilder(
        x509.Name.from_rfc4514_string("CN=Below"),
        issuer.certificate.subject,
        issuer.key.public_key(),
        5,
        NOW,
        NOW + timedelta(days=1),
    )
    if points is not None:
        by = [x509.DNSName("ca.example")]
        value = [x509.DistributionPoint(names, None, None, None if names else by) for names in points]
        builder = builder.add_extension(x509.CRLDistributionPoints(value), critical=False)
    certificate = builder.sign(issuer.key, hashes.SHA256())
    assert crl_scope.excludes(made(*extensions).parsed, certificate) == said


def test_a_crl_that_covers_no_client(made):
    assert crl_scope.excludes_clients(made().parsed) is None
    assert crl_scope.excludes_clients(made(point(full_name=HERE)).parsed) is None
    assert crl_scope.excludes_clients(made(point(only_contains_ca_certs=True)).parsed) == "is for CA certificates only"
