# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What certificates contain: the authority's own, a client's, a server's; and what is asked of a CSR.

Nothing is ever copied from a CSR but its public key: the inventory decides the subject, the profile the
extensions. ``openssl.cnf`` in layout.py says the same for ``openssl ca`` by hand.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.common import der, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

    # What reading the extensions of a certificate raises, which OpenSSL may take nevertheless.
    UNREADABLE = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
except ImportError:  # reported by entry.require_cryptography
    pass

_SMALLEST_CURVE = 224  # bits
_PSS = der.oid("1.2.840.113549.1.1.10")
CLIENT, SERVER = "client", "server"
INTERMEDIATE = "intermediate"  # a CA that issues for clients and servers, and for no further CA


@dataclass(frozen=True)
class Issuer:
    """A CA certificate with its private key, or with an object that signs like one."""

    certificate: x509.Certificate
    key: keys.PrivateKey

    @cached_property
    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """The AKI of everything this issuer signs (RFC 5280, 4.2.1.1)."""
        return authority_key_identifier(self.certificate)


@dataclass(frozen=True)
class Validity:
    """When a certificate begins to be valid, and when it expires."""

    not_before: datetime
    not_after: datetime


def authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the AKI that names ``issuer``: by its SKI, or by its key when it has none."""
    ski = subject_key_identifier(issuer)
    if ski is None:
        ski = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)


def subject_key_identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier | None:
    """Return the SKI of a certificate, if it has one."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None


def validity(days: int, now: datetime, issuer: x509.Certificate, owner: str) -> Validity:
    """Return the validity of a certificate for ``days`` from ``now``, begun a little earlier for slow clocks.

    :raises MtlsError: it would outlive its issuer.
    """
    end = issuer.not_valid_after_utc
    not_after = times.in_days(now, days, owner)
    if not_after > end:
        largest = (end - now).days
        remedy = f"use at most {largest} days" if largest > 0 else "set up a new authority first"
        raise MtlsError(
            f"{owner}: {days} days from now is {times.iso(not_after)}, after the end of the authority's own "
            f"certificate on {times.iso(end)}; {remedy}"
        )
    return Validity(max(now - times.CLOCK_SKEW, issuer.not_valid_before_utc), not_after)


def ca_validity(days: int, now: datetime) -> Validity:
    """Return the validity of an authority's own certificate.

    :raises MtlsError: it would end after the year 9999.
    """
    return Validity(now - times.CLOCK_SKEW, times.in_days(now, days, "days"))


def ca_certificate(key: keys.PrivateKey, subject: x509.Name, serial: int, validity: Validity) -> x509.Certificate:
    """Return a self-signed CA certificate that may sign certificates and CRLs."""
    public_key = key.public_key()
    ski = x509.SubjectKeyIdentifier.from_public_key(public_key)
    builder = x509.CertificateBuilder(subject, subject, public_key, serial, validity.not_before, validity.not_after)
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(certificates=True), critical=True)
        .add_extension(ski, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski), critical=False)
        .sign(key, keys.digest_for(key))
    )


def ca_request(key: keys.PrivateKey, subject: x509.Name) -> x509.CertificateSigningRequest:
    """Return what an external CA is asked to sign: an intermediate CA."""
    return (
        x509.CertificateSigningRequestBuilder(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificates=True), critical=True)
        .sign(key, keys.digest_for(key))
    )


def renewed_ca_certificate(
    key: keys.PrivateKey, current: x509.Certificate, serial: int, validity: Validity
) -> x509.Certificate:
    """Return a self-signed CA certificate again: same subject, key and extensions, other dates."""
    builder = x509.CertificateBuilder(
        current.subject, current.subject, key.public_key(), serial, validity.not_before, validity.not_after
    )
    for extension in current.extensions:
        value = extension.value
        if isinstance(value, x509.AuthorityKeyIdentifier):  # it may name the serial, which is another one now
            value = authority_key_identifier(current)
        builder = builder.add_extension(value, critical=extension.critical)
    return builder.sign(key, keys.digest_for(key))


def repaired_ca_certificate(key: keys.PrivateKey, current: x509.Certificate) -> x509.Certificate:
    """Return a self-signed CA certificate again with extensions that ``shortcoming`` finds no fault with.

    Key, subject, serial number and dates stay as they are, byte for byte, since OpenSSL finds the issuer of a
    certificate by these (RFC 5280, 4.2.1.1). Other extensions stay too, but for the purposes that leave out clients.
    """
    parts = list(der.elements(next(der.elements(current.tbs_certificate_bytes)).content))
    untagged = [part.encoded for part in parts if part.tag < 0x80]  # without version, unique identifiers and extensions
    serial, _algorithm, issuer, validity, subject, public_key = untagged
    algorithm = keys.signature_algorithm(key)
    to_be_signed = der.encode(
        der.SEQUENCE,
        der.encode(0xA0, der.integer(2))  # version 3
        + b"".join((serial, algorithm, issuer, validity, subject, public_key))
        + der.encode(0xA3, der.encode(der.SEQUENCE, b"".join(_repaired_extensions(current, parts)))),
    )
    signature = der.encode(der.BIT_STRING, b"\x00" + keys.sign(key, to_be_signed))
    return x509.load_der_x509_certificate(der.encode(der.SEQUENCE, to_be_signed + algorithm + signature))


def _repaired_extensions(current: x509.Certificate, parts: Sequence[der.Element]) -> Iterator[bytes]:
    """Yield the extensions, in DER, of the certificate whose TBSCertificate has these parts."""
    constraints = x509.BasicConstraints(True, path_length(current) if is_ca(current) else None)
    yield _extension(constraints, critical=True)
    yield _extension(_with_signing(_usage(current)), critical=True)
    if subject_key_identifier(current) is None:
        yield _extension(x509.SubjectKeyIdentifier.from_public_key(current.public_key()), critical=False)
    replaced = {constraints.oid.dotted_string, ExtensionOID.KEY_USAGE.dotted_string}
    if not is_for(current, CLIENT):
        replaced.add(ExtensionOID.EXTENDED_KEY_USAGE.dotted_string)
    for explicit in (part for part in parts if part.tag == 0xA3):
        (extensions,) = der.elements(explicit.content)
        for extension in der.elements(extensions.content):
            oid, *_critical_and_value = der.elements(extension.content)
            if der.dotted(oid.content) not in replaced:
                yield extension.encoded


def _extension(value: x509.ExtensionType, *, critical: bool) -> bytes:
    flag = der.encode(der.BOOLEAN, b"\xff") if critical else b""
    return der.encode(
        der.SEQUENCE, der.oid(value.oid.dotted_string) + flag + der.encode(der.OCTET_STRING, value.public_bytes())
    )


def _with_signing(usage: x509.KeyUsage | None) -> x509.KeyUsage:
    """Return a keyUsage for a CA that may do what it could do before."""
    if usage is None:
        return _key_usage(certificates=True)
    return x509.KeyUsage(
        usage.digital_signature,
        usage.content_commitment,
        usage.key_encipherment,
        usage.data_encipherment,
        usage.key_agreement,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=usage.key_agreement and usage.encipher_only,
        decipher_only=usage.key_agreement and usage.decipher_only,
    )


def issued_certificate(issuer: Issuer, order: Order, serial: int) -> x509.Certificate:
    """Return the signed certificate of a client, a server, or an intermediate CA."""
    is_ca = order.profile == INTERMEDIATE
    public_key = keys.load_public_der(order.public_key)
    builder = x509.CertificateBuilder(
        issuer.certificate.subject,
        order.subject,
        public_key,
        serial,
        order.validity.not_before,
        order.validity.not_after,
    )
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(_key_usage(certificates=is_ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(issuer.key_identifier, critical=False)
    )
    if not is_ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([_purpose(order.profile)]), critical=False)
    names = alternative_names(order)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if order.crl_point:
        # RFC 5280, 4.2.1.13. Our CRLs name no distribution point, so they cover certificates with and without one.
        uri = x509.UniformResourceIdentifier(order.crl_point)
        points = x509.CRLDistributionPoints([x509.DistributionPoint([uri], None, None, None)])
        builder = builder.add_extension(points, critical=False)
    return builder.sign(issuer.key, keys.digest_for(issuer.key))


def alternative_names(order: Order) -> list[x509.GeneralName]:
    """Return what the subjectAltName of a certificate must hold."""
    return [*map(general_name, order.names), *mail_names(order.subject)]


def mail_names(subject: x509.Name) -> list[x509.GeneralName]:
    """Return the addresses of a subject, which must be in the subjectAltName too (RFC 5280, 4.1.2.6)."""
    addresses = subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
    return [x509.RFC822Name(str(mail.value)) for mail in addresses]


def check_crl_point(address: str) -> None:
    """Raise MtlsError unless a certificate may name ``address`` as its CRL distribution point."""
    if not re.fullmatch(r"https?://[!-~]+", address):
        raise MtlsError(
            f"crl_distribution_point: {address!r} is not an address; write it as http://crl.example.com/crl.der"
        )


def is_for(certificate: x509.Certificate, profile: str) -> bool:
    """Tell whether OpenSSL takes a certificate as a client's or a server's: without the extension, or by its purpose.

    anyExtendedKeyUsage, which RFC 5280 (4.2.1.12) lets applications refuse, does not do there.
    """
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return _purpose(profile) in purposes


def is_only_for(certificate: x509.Certificate, profile: str) -> bool:
    """Tell whether a certificate has exactly the purpose that we give to a client's or a server's, and may sign."""
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return list(purposes) == [_purpose(profile)] and usage.digital_signature


def _purpose(profile: str) -> x509.ObjectIdentifier:
    return ExtendedKeyUsageOID.SERVER_AUTH if profile == SERVER else ExtendedKeyUsageOID.CLIENT_AUTH


def general_name(name: str) -> x509.GeneralName:
    """Return an IP address or a DNS name for a subjectAltName."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def is_ca(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate is a CA's (RFC 5280, 4.2.1.9)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def weakness(certificate: x509.Certificate) -> str | None:
    """Return what nginx's OpenSSL refuses a certificate for, as the end of a sentence, or None.

    From security level 1 on, the default everywhere, that is a signature with SHA-1; at level 2, the default of Debian
    and Ubuntu, also an RSA key of less than 2048 bits or a curve of less than 224 (SSL_CTX_set_security_level(3)).
    """
    by = signature_weakness(certificate)
    return f"is signed with {by}" if by is not None else key_weakness(certificate)


def key_weakness(certificate: x509.Certificate) -> str | None:
    """Return what OpenSSL at security level 2 refuses the key of a certificate for, as the end of a sentence."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < keys.SMALLEST_RSA:
        return f"has an RSA key of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < _SMALLEST_CURVE:
        return f"has a key on the curve {key.curve.name}"
    return None


def signature_weakness(certificate: x509.Certificate) -> str | None:
    """Return the name of the digest in a certificate's signature when OpenSSL 3 takes it no more, or None."""
    try:
        return _weak_digest(certificate.signature_hash_algorithm)
    except UnsupportedAlgorithm:
        return None


def _weak_digest(digest: hashes.HashAlgorithm | None) -> str | None:
    if isinstance(digest, (hashes.MD5, hashes.SHA1)):
        return "MD5" if isinstance(digest, hashes.MD5) else "SHA-1"
    return None


def path_length(certificate: x509.Certificate) -> int | None:
    """Return how many CAs there may be below a CA; None for any number."""
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length


def shortcoming(certificate: x509.Certificate) -> str | None:
    """Return what the extensions of a CA certificate lack to issue clients and CRLs for nginx, or None.

    It is the end of a sentence. What nginx does about it was measured: nginx takes the clients of an X.509 version 1
    certificate, and refuses those of one of version 3 that does not say that it is a CA's.
    """
    if not is_ca(certificate):
        if certificate.version is x509.Version.v1:
            return "is of X.509 version 1, which cannot say that it is the certificate of a CA"
        return (
            "is not the certificate of a CA: basicConstraints CA:TRUE is missing, so nginx refuses every client that "
            "it has issued"
        )
    usage = _usage(certificate)
    if usage and not usage.key_cert_sign:
        return "its keyUsage lacks keyCertSign, so nginx refuses every client that it has issued"
    if usage and not usage.crl_sign:
        return "its keyUsage lacks cRLSign, so nginx refuses every client as soon as it has a CRL (error 35)"
    return None


def is_repairable(certificate: x509.Certificate) -> bool:
    """Tell whether a CA certificate is one that nginx cannot work with, and that its own key can reissue."""
    is_fit = shortcoming(certificate) is None and is_for(certificate, CLIENT)
    return not is_fit and certificate.issuer == certificate.subject


def how_to_repair(certificate: x509.Certificate) -> str:
    """Return what to do about a CA certificate with a shortcoming."""
    if certificate.issuer != certificate.subject:
        return "if it is a CA's, have the CA above sign it again with basicConstraints CA:TRUE and cRLSign"
    return (
        "if it is a CA's, whoever has its key can reissue it with mtls_ca_repair: true (the option repair of "
        "mtls.nginx.ca_init and ca_adopt): same key, subject and serial number, so that clients keep their certificates"
    )


def _usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def check_ca(certificate: x509.Certificate, path: str, now: datetime) -> None:
    """Raise MtlsError unless ``certificate`` is a currently valid CA certificate with keyCertSign and cRLSign.

    A CA without keyUsage may do both (RFC 5280, 4.2.1.3): the usual manual procedure makes such.
    """
    try:
        len(certificate.extensions)  # which are read when they are asked for
    except UNREADABLE as error:
        raise MtlsError(
            f"{path}: has an extension that cannot be read ({error}); have its CA issue a new one"
        ) from error
    fault = shortcoming(certificate)
    if fault is not None:
        raise MtlsError(f"{path}: {fault}; {how_to_repair(certificate)}")
    by = signature_weakness(certificate)
    if by is not None and certificate.issuer != certificate.subject:  # nobody checks the signature of a root
        raise MtlsError(
            f"{path}: is signed with {by}, so nginx would refuse every client (error 68); have the CA above sign it "
            "again with SHA-256"
        )
    if now > certificate.not_valid_after_utc:
        by_itself = certificate.issuer == certificate.subject
        elsewhere = "" if by_itself else ", or bring what the CA above has signed again as mtls_ca_certificate"
        raise MtlsError(
            f"{path}: the authority's certificate expired on {times.iso(certificate.not_valid_after_utc)}; renew it "
            f"with mtls_ca_renew_before (the option renew_before of mtls.nginx.ca_init){elsewhere}, or set up a new one"
        )
    if now < certificate.not_valid_before_utc:
        raise MtlsError(
            f"{path}: the authority's certificate is not valid before "
            f"{times.iso(certificate.not_valid_before_utc)}; check this machine's clock"
        )


def read_csr(path: str, owner: str) -> x509.CertificateSigningRequest:
    """Return the certificate signing request in ``path`` (PEM).

    ``cryptography`` calls a signature false also when it does not check it, for the digest.

    :raises MtlsError: missing, malformed, not signed by its own key with SHA-2, or a key that is too weak.
    """
    what = f"{owner}: CSR {path}"
    try:
        with open(path, "rb") as stream:
            csr = x509.load_pem_x509_csr(stream.read())
        public_key = csr.public_key()
        genuine = csr.is_signature_valid
        weak = None if genuine else _weak_digest(csr.signature_hash_algorithm)
    except FileNotFoundError as error:
        raise MtlsError(f"{what}: there is no such file on the controller; check the path") from error
    except ValueError as error:
        if "PrintableString" in str(error):  # it says where in the request it stopped
            raise MtlsError(
                f"{what}: its subject is a PrintableString with a character that it must not contain, such as _ or @ "
                "(X.680, 41.4); make a new one with UTF8String (string_mask = utf8only in openssl's configuration)"
            ) from error
        raise MtlsError(f"{what}: is not a certificate signing request in PEM; make a new one") from error
    except UnsupportedAlgorithm as error:
        raise MtlsError(
            f"{what}: uses an algorithm that is not supported; make a new one with RSA, or with ECDSA on P-256, and "
            "SHA-256"
        ) from error
    if _is_for_pss(csr):
        raise MtlsError(f"{what}: is for an RSA-PSS key, which browsers do not use; make it with RSA or ECDSA")
    keys.check_strength(public_key, what)
    if weak is not None:
        raise MtlsError(f"{what}: is signed with {weak}, which is no longer accepted; make a new one with SHA-256")
    if not genuine:
        raise MtlsError(f"{what}: its signature is not by its own key; make a new one on the device")
    return csr


def _is_for_pss(csr: x509.CertificateSigningRequest) -> bool:
    """Tell whether a request's key is RSASSA-PSS (RFC 4055, 1.2): ``cryptography`` takes it for plain RSA.

    A certificate for plain RSA would not fit the key on the device.
    """
    _version, _subject, key, *_attributes = der.elements(next(der.elements(csr.tbs_certrequest_bytes)).content)
    return _is_pss(key)


def has_pss_key(certificate: x509.Certificate) -> bool:
    """Tell the same of a certificate's key."""
    if _PSS not in certificate.tbs_certificate_bytes:
        return False
    parts = der.elements(next(der.elements(certificate.tbs_certificate_bytes)).content)
    _serial, _algorithm, _issuer, _validity, _subject, key = (part for part in parts if part.tag < 0x80)
    return _is_pss(key)


def check_not_pss(certificate: x509.Certificate, path: str) -> None:
    """Raise MtlsError for a CA whose key would be taken for plain RSA, so that nothing it signs would be right."""
    if has_pss_key(certificate):
        raise MtlsError(f"{path}: has an RSA-PSS key, which cannot be used here; set up a new authority")


def _is_pss(public_key: der.Element) -> bool:
    algorithm = next(der.elements(next(der.elements(public_key.content)).content))
    return algorithm.encoded == _PSS


@dataclass(frozen=True)
class Order:
    """One certificate to be issued: ``public_key`` is SubjectPublicKeyInfo in DER, ``names`` its subjectAltName.

    An authority that is asked by certificate signing request makes one with ``private_key`` (PKCS #8 in DER), or
    passes on ``csr`` (PEM) for a key that never was here. Others need neither.
    ``act`` is what the audit log calls it: issued or renewed. ``crl_point`` is where its CRL can be fetched.
    """

    public_key: bytes
    subject: x509.Name
    profile: str
    validity: Validity
    names: tuple[str, ...] = ()
    private_key: bytes | None = field(default=None, repr=False)
    csr: bytes | None = None
    act: str = "issued"
    crl_point: str | None = None
