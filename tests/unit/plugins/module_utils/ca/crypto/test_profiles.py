# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What certificates contain, and which CA certificates may issue, with openssl as the judge."""

from __future__ import annotations

import base64
import ipaddress
import re
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import subject_name
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.by_hand import rsa_key
from ansible_collections.mtls.nginx.tests.unit.support import openssl, pss_key

NOW = times.now()
DAY = timedelta(days=1)
PEM = serialization.Encoding.PEM
NAME = subject_name({"O": "Acme", "CN": "Test CA"}, "the test")


@pytest.fixture(scope="module")
def issuer() -> profiles.Issuer:
    key = keys.new_key(keys.KeyKind("ecdsa"))
    return profiles.Issuer(profiles.ca_certificate(key, NAME, 1, profiles.ca_validity(100, NOW)), key)


def issued(issuer: profiles.Issuer, profile: str, **order: object) -> x509.Certificate:
    key = keys.new_key(keys.KeyKind("ecdsa"))
    validity = profiles.validity(10, NOW, issuer.certificate, "client a")
    subject = order.pop("subject", None) or subject_name({"CN": "a"}, "the test")
    return profiles.issued_certificate(
        issuer, Order(keys.public_der(key.public_key()), subject, profile, validity, **order), 0xABC
    )


@pytest.mark.parametrize(
    ("profile", "purpose", "others"),
    [
        (profiles.CLIENT, "sslclient", ["sslserver"]),
        (profiles.SERVER, "sslserver", ["sslclient"]),
    ],
)
def test_openssl_takes_each_for_its_purpose_only(tmp_path, issuer, profile, purpose, others):
    (tmp_path / "ca.crt").write_bytes(issuer.certificate.public_bytes(PEM))
    (tmp_path / "a.crt").write_bytes(issued(issuer, profile, names=("nas.test",)).public_bytes(PEM))
    arguments = ("verify", "-x509_strict", "-CAfile", "ca.crt")

    openssl(*arguments, "-purpose", purpose, "a.crt", cwd=tmp_path)
    for other in others:
        openssl(*arguments, "-purpose", other, "a.crt", cwd=tmp_path, ok=False)


def intermediate(issuer: profiles.Issuer, serial: int) -> profiles.Issuer:
    key = keys.new_key(keys.KeyKind("ecdsa"))
    validity = profiles.validity(10, NOW, issuer.certificate, "the CA below")
    name = subject_name({"CN": f"Below {serial}"}, "the test")
    order = Order(keys.public_der(key.public_key()), name, profiles.INTERMEDIATE, validity)
    return profiles.Issuer(profiles.issued_certificate(issuer, order, serial), key)


def test_an_intermediate_issues_clients_and_no_further_ca(tmp_path, issuer):
    below = intermediate(issuer, 2)
    deeper = intermediate(below, 3)

    assert profiles.is_ca(below.certificate)
    assert profiles.path_length(below.certificate) == 0
    profiles.check_ca(below.certificate, "ca.crt", NOW)
    (tmp_path / "root.crt").write_bytes(issuer.certificate.public_bytes(PEM))
    (tmp_path / "chain.crt").write_bytes(b"".join(one.certificate.public_bytes(PEM) for one in (below, deeper)))
    (tmp_path / "a.crt").write_bytes(issued(below, profiles.CLIENT).public_bytes(PEM))
    (tmp_path / "b.crt").write_bytes(issued(deeper, profiles.CLIENT).public_bytes(PEM))
    arguments = ("verify", "-CAfile", "root.crt", "-untrusted", "chain.crt")
    openssl(*arguments, "-x509_strict", "a.crt", cwd=tmp_path)
    assert "path length constraint exceeded" in openssl(*arguments, "b.crt", cwd=tmp_path, ok=False)


def test_names_and_addresses_of_a_server_and_a_mail_address(issuer):
    subject = subject_name({"CN": "a", "emailAddress": "ana@example.com"}, "")
    names = ("nas.test", "192.0.2.7", "2001:db8::7")
    found = issued(issuer, profiles.SERVER, names=names, subject=subject)
    said = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert said.get_values_for_type(x509.DNSName) == ["nas.test"]
    assert said.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address(name) for name in names[1:]]
    assert said.get_values_for_type(x509.RFC822Name) == ["ana@example.com"]


def test_a_renewed_ca_certificate_has_the_same_key_name_and_identifier(issuer, tmp_path):
    renewed = profiles.renewed_ca_certificate(issuer.key, issuer.certificate, 99, profiles.ca_validity(1000, NOW))

    assert renewed.serial_number == 99
    assert renewed.subject == issuer.certificate.subject
    assert profiles.subject_key_identifier(renewed) == profiles.subject_key_identifier(issuer.certificate)
    (tmp_path / "renewed.crt").write_bytes(renewed.public_bytes(PEM))
    (tmp_path / "a.crt").write_bytes(issued(issuer, profiles.CLIENT).public_bytes(PEM))
    openssl("verify", "-x509_strict", "-CAfile", "renewed.crt", "a.crt", cwd=tmp_path)


def test_nothing_outlives_its_issuer(issuer):
    assert profiles.validity(99, NOW, issuer.certificate, "client a").not_after == NOW + 99 * DAY
    with pytest.raises(MtlsError, match=r"^client a: 101 days from now is .*; use at most 100 days$"):
        profiles.validity(101, NOW, issuer.certificate, "client a")
    with pytest.raises(MtlsError, match="set up a new authority first"):
        profiles.validity(1, NOW + 100 * DAY, issuer.certificate, "client a")


def made_by_hand(*extensions: x509.ExtensionType, begins: int = -1, ends: int = 1) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(NAME, NAME, key.public_key(), 1, NOW + begins * DAY, NOW + ends * DAY)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, hashes.SHA256())


def usage(**signs: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return x509.KeyUsage(**dict.fromkeys(names, False), encipher_only=False, decipher_only=False, **signs)


CA = x509.BasicConstraints(ca=True, path_length=None)
BROKEN = x509.UnrecognizedExtension(x509.ExtensionOID.BASIC_CONSTRAINTS, b"\x04\x00")


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        (made_by_hand(), "is not the certificate of a CA"),
        (made_by_hand(x509.BasicConstraints(False, None)), "is not the certificate of a CA"),
        (made_by_hand(CA, usage(key_cert_sign=False, crl_sign=True)), "lacks keyCertSign"),
        (made_by_hand(CA, usage(key_cert_sign=True, crl_sign=False)), "lacks cRLSign"),
        (made_by_hand(CA, begins=-2, ends=-1), "expired on"),
        (made_by_hand(CA, begins=1, ends=2), "is not valid before"),
        (made_by_hand(BROKEN), r"has an extension that cannot be read \(error parsing .*have its CA issue a new one$"),
    ],
    ids=["v3 without", "not a CA", "no certificates", "no CRLs", "expired", "not yet", "broken"],
)
def test_what_is_no_ca_of_today(certificate, said):
    with pytest.raises(MtlsError, match=f"^ca.crt: .*{said}"):
        profiles.check_ca(certificate, "ca.crt", NOW)


@pytest.mark.parametrize("extensions", [(CA,), (CA, usage(key_cert_sign=True, crl_sign=True))])
def test_what_is(extensions):
    profiles.check_ca(made_by_hand(*extensions), "ca.crt", NOW)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file on the controller; check the path"),
        (b"", "is not a certificate signing request in PEM; make a new one"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "is not a certificate"),
    ],
)
def test_files_that_are_no_request(tmp_path, content, said):
    path = tmp_path / "a.csr"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MtlsError) as error:
        profiles.read_csr(str(path), "client a")
    assert str(error.value).startswith(f"client a: CSR {path}: {said}")


def test_a_request_with_a_key_that_cannot_be_used(tmp_path):
    key = ed448.Ed448PrivateKey.generate()
    path = tmp_path / "a.csr"
    path.write_bytes(x509.CertificateSigningRequestBuilder(NAME).sign(key, None).public_bytes(PEM))
    with pytest.raises(MtlsError, match=r"the key is not an RSA, ECDSA or Ed25519 key, but Ed448; make one of these"):
        profiles.read_csr(str(path), "client a")


def test_a_request_that_was_tampered_with(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    der = bytearray(
        x509.CertificateSigningRequestBuilder(NAME).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    )
    position = der.index(b"Test CA")
    der[position] = ord("B")
    path = tmp_path / "a.csr"
    path.write_bytes(x509.load_der_x509_csr(bytes(der)).public_bytes(PEM))
    with pytest.raises(MtlsError, match="its signature is not by its own key; make a new one on the device"):
        profiles.read_csr(str(path), "client a")


NOT_TAKEN = "uses an algorithm that is not supported; make a new one with RSA, or with ECDSA on P-256, and SHA-256"
TOO_WEAK = "is signed with {}, which is no longer accepted; make a new one with SHA-256"


@pytest.mark.parametrize(
    ("algorithm", "digest", "said"),
    [
        ("RSA", "sha1", TOO_WEAK.format("SHA-1")),
        ("RSA", "md5", TOO_WEAK.format("MD5")),
        ("RSA", "sha512-256", NOT_TAKEN),
        ("SM2", "sm3", NOT_TAKEN),
        ("secp112r1", "sha256", NOT_TAKEN),
    ],
)
def test_a_request_by_an_algorithm_that_is_not_taken(tmp_path, algorithm, digest, said):
    """It is signed by its own key: another one made in the same way would not do. An older cryptography takes some."""
    if algorithm == "RSA":
        (tmp_path / "a.key").write_bytes(rsa_key(0))
    else:
        made = ("-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{algorithm}")
        openssl("genpkey", *made, "-out", "a.key", cwd=tmp_path)
    openssl("req", "-new", "-key", "a.key", f"-{digest}", "-subj", "/CN=a", "-out", "a.csr", cwd=tmp_path)
    found, refused = None, ""
    try:
        found = profiles.read_csr(str(tmp_path / "a.csr"), "client a").public_key()
    except MtlsError as error:
        refused = str(error)
    if found is None:
        assert refused == f"client a: CSR {tmp_path}/a.csr: {said}"
    else:
        assert digest in ("sha1", "md5")
        assert found == serialization.load_pem_private_key(rsa_key(0), None).public_key()


def test_a_request_for_an_rsa_pss_key(tmp_path):
    """cryptography reads its key as plain RSA, and a certificate for that would not fit the device's key."""
    (tmp_path / "a.key").write_bytes(pss_key())
    openssl("req", "-new", "-key", "a.key", "-subj", "/CN=a", "-out", "a.csr", cwd=tmp_path)
    with pytest.raises(MtlsError, match="is for an RSA-PSS key, which browsers do not use; make it with RSA"):
        profiles.read_csr(str(tmp_path / "a.csr"), "client a")


@pytest.mark.parametrize("name", ["build_agent", "ana@example"])
def test_a_request_with_a_printable_string_that_is_none(tmp_path, name):
    """openssl and cryptography 42 take it; where cryptography does not, its owner is told how to make a good one."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
    der, path = request.sign(key, hashes.SHA256()), tmp_path / "a.csr"
    to_sign = der.tbs_certrequest_bytes
    odd = to_sign.replace(bytes([0x0C, len(name)]) + name.encode(), bytes([0x13, len(name)]) + name.encode())
    assert odd != to_sign
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    signature = b"\0" + key.sign(odd, ec.ECDSA(hashes.SHA256()))
    body = odd + algorithm + bytes([0x03, len(signature)]) + signature
    text = base64.encodebytes(b"\x30\x81" + bytes([len(body)]) + body).decode()
    path.write_text(f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n")
    openssl("req", "-in", "a.csr", "-noout", "-verify", cwd=tmp_path)
    refused = ""
    try:
        found = profiles.read_csr(str(path), "client a").public_key()
    except MtlsError as error:
        found, refused = None, str(error)
    assert found == key.public_key() or re.search(
        r"subject is a PrintableString with a character that it must not contain, .*string_mask = utf8only",
        refused,
    )


@pytest.mark.parametrize("algorithm", ["RSA", "EC"])
def test_requests_that_openssl_makes_by_default(tmp_path, algorithm):
    if algorithm == "RSA":
        (tmp_path / "a.key").write_bytes(rsa_key(0))
    else:
        kind = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        openssl("genpkey", *kind, "-out", "a.key", cwd=tmp_path)
    openssl("req", "-new", "-key", "a.key", "-subj", "/CN=a", "-out", "a.csr", cwd=tmp_path)

    assert profiles.read_csr(str(tmp_path / "a.csr"), "client a").subject == subject_name({"CN": "a"}, "the test")


def test_a_curve_that_is_too_small_and_an_issuer_without_a_key_identifier():
    key = ec.generate_private_key(ec.SECP192R1())
    builder = x509.CertificateBuilder(NAME, NAME, key.public_key(), 1, NOW - DAY, NOW + DAY)
    assert profiles.weakness(builder.sign(key, hashes.SHA256())) == "has a key on the curve secp192r1"

    plain = made_by_hand(CA)
    expected = x509.SubjectKeyIdentifier.from_public_key(plain.public_key()).digest
    assert profiles.authority_key_identifier(plain).key_identifier == expected
