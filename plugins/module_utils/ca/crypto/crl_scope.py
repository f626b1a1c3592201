# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether OpenSSL, as nginx calls it, accepts a CRL for a certificate.

nginx checks every certificate of a client's chain, the root too, and a CRL that is out of scope for one of them locks
every client out. The rules are those of ``get_crl_score`` and ``crl_crldp_check`` in OpenSSL's ``x509_vfy.c``, without
extended CRL support, which nginx does not switch on; the sections are of RFC 5280. Versions differ: the strictest
counts.
"""

from __future__ import annotations

from typing import TypeVar

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass

T = TypeVar("T", bound="x509.ExtensionType")
_TRUE = b"\x01\x01\xff"  # a critical flag, in DER


def is_delta(crl: x509.CertificateRevocationList) -> bool:
    """Tell whether a CRL lists changes only (5.2.4). OpenSSL takes one that lies alone for complete."""
    return _extension(crl, x509.DeltaCRLIndicator) is not None


def unusable(crl: x509.CertificateRevocationList, signed_part: bytes, issuer: x509.Certificate) -> str | None:
    """Return why OpenSSL accepts a CRL by ``issuer`` for no certificate at all, or None.

    :arg signed_part: its TBSCertList, in DER.
    :returns: the end of a sentence that begins with the name of the CRL.
    """
    for extension in crl.extensions:
        if extension.critical and not isinstance(
            extension.value, (x509.IssuingDistributionPoint, x509.AuthorityKeyIdentifier, x509.DeltaCRLIndicator)
        ):
            return f"has the critical extension {extension.oid.dotted_string}, which nginx does not know"
    try:
        if _has_critical_entry(crl, signed_part):
            return "has an entry with a critical extension, which nginx does not know"
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return "has an entry that cannot be read"
    point = _distribution_point(crl)
    if point is not None:
        if point.indirect_crl:
            return "is an indirect CRL, which nginx does not accept"
        if point.only_some_reasons:
            return "is for some reasons of revocation only, which nginx does not accept"
        if point.only_contains_attribute_certs:
            return "is for attribute certificates only"
    if not _names(crl, issuer):
        return "names another issuing certificate in its authorityKeyIdentifier"
    return None


def excludes(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> str | None:
    """Return why a usable CRL by a CA's issuer does not cover that CA's ``certificate``, or None."""
    point = _distribution_point(crl)
    if point is None:
        return None
    if point.only_contains_user_certs:
        return "is for user certificates only"
    if point.full_name is None and point.relative_name is None:
        return None
    named = _extension(certificate, x509.CRLDistributionPoints)
    wanted = set(point.full_name or ())
    if named is not None and any(wanted & set(each.full_name or ()) for each in named):
        return None
    return "is for one distribution point only, which the certificate does not name"


def excludes_clients(crl: x509.CertificateRevocationList) -> str | None:
    """Return why a usable CRL covers no client of its issuer, or None.

    With a distribution point it covers those that name the same one: whoever issues them knows.
    """
    point = _distribution_point(crl)
    return "is for CA certificates only" if point is not None and point.only_contains_ca_certs else None


def _extension(bearer: x509.CertificateRevocationList | x509.Certificate, kind: type[T]) -> T | None:
    """Return an extension of a CRL or a certificate, or None."""
    try:
        return bearer.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _distribution_point(crl: x509.CertificateRevocationList) -> x509.IssuingDistributionPoint | None:
    return _extension(crl, x509.IssuingDistributionPoint)


def _names(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Tell whether a CRL's AKI fits its issuer, as far as both say something (``X509_check_akid``)."""
    named = _extension(crl, x509.AuthorityKeyIdentifier)
    if named is None:
        return True
    own = _extension(issuer, x509.SubjectKeyIdentifier)
    if own is not None and named.key_identifier is not None and named.key_identifier != own.digest:
        return False
    if named.authority_cert_serial_number is None:
        return True
    directories = [name.value for name in named.authority_cert_issuer or () if isinstance(name, x509.DirectoryName)]
    return named.authority_cert_serial_number == issuer.serial_number and (
        not directories or directories[0] == issuer.issuer
    )


def _has_critical_entry(crl: x509.CertificateRevocationList, signed_part: bytes) -> bool:
    """Look at each entry only where the octets of a critical flag occur: a long CRL takes a second."""
    if _TRUE not in signed_part:
        return False
    return any(
        extension.critical and not isinstance(extension.value, x509.CertificateIssuer)
        for entry in crl
        for extension in entry.extensions
    )
