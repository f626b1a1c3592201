# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host reads of certificates and CRLs with the standard library, against what `cryptography` reads."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers
from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates

START = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
END = datetime.datetime(2050, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
OIDS = x509.NameOID


def name(*attributes):
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


CA = name((OIDS.COUNTRY_NAME, "ES"), (OIDS.ORGANIZATION_NAME, "Peña & Söhne"), (OIDS.COMMON_NAME, "Root CA"))


def pem(made):
    return made.public_bytes(serialization.Encoding.PEM)


def certificate(subject=CA, key=KEY, names=()):
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.not_valid_before(START).not_valid_after(END).sign(key, hashes.SHA256())


def crl(number=None, entries=(), key=KEY, issuer=CA, begin=START, end=END):
    builder = x509.CertificateRevocationListBuilder(issuer, begin, end)
    for serial, reason in entries:
        entry = x509.RevokedCertificateBuilder(serial, START)
        if reason:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    if number is not None:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        builder = builder.add_extension(x509.CRLNumber(number), critical=False).add_extension(
            identifier, critical=False
        )
    return builder.sign(key, hashes.SHA256())


def test_a_certificate():
    made = certificate()
    (read,) = certificates.read(b"what openssl writes beside it\n" + pem(made)).certificates
    assert read.subject == "CN=Root CA,O=Peña & Söhne,C=ES"
    assert read.fingerprint == made.fingerprint(hashes.SHA256()).hex()
    assert (read.begin, read.end) == (START.timestamp(), END.timestamp())
    (other,) = certificates.read(pem(certificate(name((OIDS.COMMON_NAME, "other"))))).certificates
    assert other.key == read.key
    strange = certificate(key=ec.generate_private_key(ec.SECP256R1()))
    assert certificates.read(pem(strange)).certificates[0].key != read.key


@pytest.mark.parametrize("number", [0, 1, 127, 128, 255, 256, 1 << 100])
def test_a_crl(number):
    made = crl(number)
    (read,) = certificates.read(pem(made)).crls
    assert (read.issuer, read.number) == ("CN=Root CA,O=Peña & Söhne,C=ES", number)
    assert (read.begin, read.end) == (START.timestamp(), END.timestamp())
    identifier = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()).digest.hex()
    assert read.key_identifier == identifier
    (with_one,) = certificates.read(pem(crl(number, [(5, None)]))).crls
    assert with_one.content != read.content


def test_a_crl_without_extensions():
    (read,) = certificates.read(pem(crl())).crls
    assert (read.number, read.key_identifier) == (None, "")


def test_the_serials_that_a_crl_lists():
    made = random.Random(7)
    reasons = [None, *x509.ReasonFlags]
    reasons.remove(x509.ReasonFlags.remove_from_crl)
    for count in (0, 1, 300):
        entries = {
            made.getrandbits(made.choice((8, 16, 63, 64, 127, 159))) or 1: made.choice(reasons) for _n in range(count)
        }
        ((of, listed),) = certificates.revoked(pem(crl(9, entries.items())))
        assert of.number == 9
        assert listed == {
            numbers.hexadecimal(serial): reason == x509.ReasonFlags.certificate_hold
            for serial, reason in entries.items()
        }


def test_several_of_both_and_the_way_through_json():
    text = pem(certificate()) + pem(crl(1)) + pem(crl(2)) + pem(certificate())
    read = certificates.read(text)
    assert (len(read.certificates), [each.number for each in read.crls]) == (2, [1, 2])
    assert certificates.Contents.of(read.as_answer()) == read


def test_nginx_proves_its_name_with_the_first_certificate_whatever_stands_before_it():
    """OpenSSL passes over blocks of other types (PEM_read_bio_X509_AUX); of the names, callers have two kinds."""
    names = [
        x509.RFC822Name("ana@example.com"),
        x509.DNSName("A.example.com"),
        x509.UniformResourceIdentifier("https://b.example.com/"),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    ]
    made = certificate(names=names)
    found = certificates.leaf(pem(crl(1)) + pem(made) + pem(certificate()))
    assert found is not None
    assert (found[0].fingerprint, found[1]) == (
        made.fingerprint(hashes.SHA256()).hex(),
        ("a.example.com", "2001:db8::1"),
    )
    assert certificates.leaf(pem(crl(1))) is None


def test_the_scope_of_the_crls_among_other_blocks():
    """The serial has the octets of a critical extension: an OID, the BOOLEAN true, an OCTET STRING."""
    serial = int.from_bytes(b"\x11\x06\x03\x55\x1d\x15\x01\x01\xff\x04\x03", "big")
    made = crl(7, [(5, None), (serial, x509.ReasonFlags.superseded)])
    ((of, scope),) = certificates.scopes(pem(certificate()) + pem(made))
    assert (of.number, scope) == (7, certificates.Scope(b"", delta=False, critical=False))


@pytest.mark.parametrize("made", [certificate(), crl(1)], ids=["certificate", "crl"])
def test_what_has_something_else_in_the_place_of_its_date_is_damaged(made):
    """As a UTF8String; OpenSSL does not read such a file either."""
    encoded = made.public_bytes(serialization.Encoding.DER)
    date = b"\x17\x0d240506070809Z"
    kind = b"X509 CRL" if isinstance(made, x509.CertificateRevocationList) else b"CERTIFICATE"
    for tag, found in ((b"\x17", 1), (b"\x0c", 0)):
        changed = base64.encodebytes(encoded.replace(date, tag + date[1:]))
        text = b"-----BEGIN %b-----\n%b-----END %b-----\n" % (kind, changed, kind)
        read = certificates.read(text)
        assert len(read.certificates + read.crls) == found


def test_whose_crl_it_is():
    ours, next_of_ours = (certificates.read(pem(crl(number))).crls[0] for number in (1, 2))
    strange = certificates.read(pem(crl(3, key=ec.generate_private_key(ec.SECP256R1())))).crls[0]
    by_hand = certificates.read(pem(crl())).crls[0]
    elsewhere = certificates.read(pem(crl(1, issuer=name((OIDS.COMMON_NAME, "b"))))).crls[0]
    assert ours.is_of_the_issuer_of(next_of_ours)
    assert ours.is_of_the_issuer_of(by_hand)
    assert not ours.is_of_the_issuer_of(strange)
    assert not ours.is_of_the_issuer_of(elsewhere)


def test_what_is_damaged_is_not_there_and_nothing_else_happens():
    made = random.Random(11)
    encoded = crl(5, [(7, x509.ReasonFlags.key_compromise)]).public_bytes(serialization.Encoding.DER)
    good = certificate().public_bytes(serialization.Encoding.DER)
    for number in range(600):
        kind, der = (b"X509 CRL", encoded) if number % 2 else (b"CERTIFICATE", good)
        bad = bytearray(der[: made.randrange(len(der) + 1)])
        for _change in range(made.randrange(4)):
            if bad:
                bad[made.randrange(len(bad))] = made.randrange(256)
        text = b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (kind, base64.b64encode(bytes(bad)), kind)
        certificates.read(text)
        certificates.revoked(text)
    assert certificates.read(b"-----BEGIN CERTIFICATE-----\nnot base64 \xff\n-----END CERTIFICATE-----\n") == (
        certificates.Contents()
    )
    assert certificates.read(pem(certificate()).partition(b"-----END")[0]) == certificates.Contents()
