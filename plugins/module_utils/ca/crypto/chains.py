# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains of CA certificates, the issuing one first and a self-signed root last: put in order, and checked.

nginx trusts nothing below a root (nginx facts, section 2), so a chain is complete or good for nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, profiles, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass

if TYPE_CHECKING:
    Chain = tuple[x509.Certificate, ...]


def was_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether ``issuer`` signed ``certificate``, be it with SHA-1 or MD5, which nginx takes no more.

    The names are compared as OpenSSL compares them: what it lets in must be known here.
    """
    if profiles.signature_weakness(certificate) is None:
        with contextlib.suppress(Exception):  # the names differ, or what is said below
            certificate.verify_directly_issued_by(issuer)
            return True
    try:
        if not subjects.are_one_name(subjects.raw_names(certificate)[0], subjects.raw_names(issuer)[1]):
            return False
        digest, scheme = certificate.signature_hash_algorithm, certificate.signature_algorithm_parameters
        keys.verify(issuer.public_key(), certificate.signature, certificate.tbs_certificate_bytes, digest, scheme)
    except Exception:  # InvalidSignature, or an algorithm that the issuer's key cannot have used
        return False
    return True


def arrange(found: Sequence[x509.Certificate], public_key: bytes, path: str, now: datetime) -> Chain:
    """Return the certificates of the file ``path`` from that of ``public_key`` up to the root, fit to be used.

    :raises MtlsError: that is no chain for an authority with this key; see also ``check``.
    """
    rest = list(dict.fromkeys(found))
    ours = [certificate for certificate in rest if keys.public_der(certificate.public_key()) == public_key]
    if len(ours) != 1:
        count = f"{len(ours)} certificates are" if ours else "no certificate is"
        raise MtlsError(f"{path}: {count} for this authority's key; put the one there that was made from its ca.csr")
    chain = ours
    rest.remove(chain[0])
    while not _is_root(chain[-1]):
        above = [certificate for certificate in rest if was_issued_by(chain[-1], certificate)]
        if not above:
            raise MtlsError(f"{path}: {_missing(chain[-1])}")
        chain.append(above[0])
        rest.remove(above[0])
    if rest:
        raise MtlsError(f"{path}: {_dn(rest[0])} is not above {_dn(chain[0])}, and hosts would trust it; remove it")
    check(chain, path, now)
    for lower, upper in zip(chain, chain[1:]):
        if upper.not_valid_after_utc < lower.not_valid_after_utc:
            raise MtlsError(
                f"{path}: {_dn(upper)} expires on {times.iso(upper.not_valid_after_utc)}, before {_dn(lower)} below "
                f"it; have that one signed for less time, or {_dn(upper)} renewed first"
            )
    return tuple(chain)


def check(found: Sequence[x509.Certificate], path: str, now: datetime) -> Chain:
    """Return the chain with which the file ``path`` begins; what follows its root is not looked at.

    :raises MtlsError: it is not complete, or not that of a CA that may issue clients today.
    """
    profiles.check_ca(found[0], path, now)
    if not profiles.is_for(found[0], profiles.CLIENT):
        remedy = profiles.how_to_repair(found[0]) if _is_root(found[0]) else "have it signed without that"
        raise MtlsError(f"{path}: {_dn(found[0])} is not for clients (extendedKeyUsage); {remedy}")
    depth, lower = 0, found[0]
    while not _is_root(lower):
        if depth + 1 == len(found):
            raise MtlsError(f"{path}: {_missing(lower)}")
        upper = found[depth + 1]
        if not was_issued_by(lower, upper):
            raise MtlsError(
                f"{path}: {_dn(lower)} is followed by {_dn(upper)}, which did not issue it; put the certificates in "
                "order, the issuing CA first and its root last"
            )
        check_above(upper, depth, path, now)
        depth, lower = depth + 1, upper
    return tuple(found[: depth + 1])


def check_above(certificate: x509.Certificate, below: int, path: str, now: datetime) -> None:
    """Check a CA above the issuing one, with ``below`` others between the two."""
    what = f"{path}: {_dn(certificate)}"
    profiles.check_ca(certificate, what, now)
    keys.check_strength(certificate.public_key(), what)
    longest = profiles.path_length(certificate)
    if longest is not None and longest <= below:
        raise MtlsError(f"{what}: must not have {below + 1} CAs below it (pathlen:{longest}); use another parent")


def first_to_end(chain: Sequence[x509.Certificate]) -> x509.Certificate:
    """Return the certificate that expires first: nothing below it is good for longer."""
    return min(chain, key=lambda certificate: certificate.not_valid_after_utc)


def issuing(chain: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Return those CAs of a bundle that stand above no other: clients are theirs, and nobody else's.

    To nginx every CA of the bundle is as good as any other, so what the root issues besides, or has issued for
    another department, would get in as well. A CA's former certificate, of the same name and key, stands beside it.
    """
    return [
        upper
        for upper in chain
        if not any(not _are_one_ca(upper, lower) and was_issued_by(lower, upper) for lower in chain)
    ]


def _are_one_ca(one: x509.Certificate, another: x509.Certificate) -> bool:
    return one.subject == another.subject and keys.public_der(one.public_key()) == keys.public_der(another.public_key())


def read(text: str) -> list[x509.Certificate]:
    """Return the certificates that ``pem`` wrote."""
    return x509.load_pem_x509_certificates(text.encode())


def pem(chain: Sequence[x509.Certificate]) -> bytes:
    """Return certificates in PEM, without any text beside."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)


def _is_root(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _missing(certificate: x509.Certificate) -> str:
    issuer = subjects.nginx_dn(certificate.issuer)
    return f"lacks {issuer}, the issuer of {_dn(certificate)}; append it and those above it, up to the root"


def _dn(certificate: x509.Certificate) -> str:
    return subjects.nginx_dn(certificate.subject)


def read_certificates(path: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM file; text between them, as openssl writes it, is skipped.

    :raises MtlsError: none, or a damaged one.
    """
    with open(path, "rb") as stream:
        data = stream.read()
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError as error:
        raise MtlsError(f"{path}: is damaged, or holds no certificate in PEM; restore it from a backup") from error


def read_one(path: str) -> x509.Certificate:
    """Return the first certificate of a file in PEM or DER, which somebody has named.

    :raises MtlsError: it cannot be read, or there is none in it.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except OSError as error:
        raise MtlsError(f"{path}: {(error.strerror or str(error)).lower()}; name a certificate file") from error
    try:
        if b"-----BEGIN " in data:
            return x509.load_pem_x509_certificates(data)[0]
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise MtlsError(
            f"{path}: holds no certificate in PEM or DER; take it out of a .p12 with: openssl pkcs12 -nokeys -clcerts"
            " -in FILE"
        ) from error
