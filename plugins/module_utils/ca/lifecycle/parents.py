# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An authority below another one that is on this controller too: that one signs its certificate, and later the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Authority, CertificateMissing
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, keys, profiles, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Parent
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass


@dataclass(frozen=True)
class Child:
    """What is to be signed: the CA in the directory ``path``, for ``days``."""

    path: str
    name: x509.Name
    days: int


def check_signable(parent: Parent, child: Child) -> None:
    """Raise MtlsError when the parent must not sign this, or would expire before; nothing is changed."""
    with parent.open(True) as authority:
        _validity(authority, child)


def sign(
    parent: Parent, child: Child, public_key: keys.AnyPublicKey, *, follows: x509.Certificate | None = None
) -> tuple[Sequence[x509.Certificate], Sequence[str]]:
    """Return the chain of a certificate that the parent signs now, or has signed for a run that was killed; warnings.

    :arg follows: the certificate whose place it is to take, for the same key.
    :raises MtlsError: the parent must not sign this, or would expire before.
    """
    public, now = keys.public_der(public_key), times.now()
    with parent.open(False) as authority:
        validity = _validity(authority, child)
        for serial in reversed(authority.record.namesakes(subjects.index_subject(child.name))):
            if authority.record.is_valid(serial):
                try:
                    certificate = authority.certificate(serial)
                except CertificateMissing:
                    continue
                is_later = follows is None or life(certificate) > life(follows)
                is_good = is_later and certificate.not_valid_after_utc > now
                if is_good and keys.public_der(certificate.public_key()) == public and profiles.is_ca(certificate):
                    return (certificate, *authority.chain), authority.warnings
        issued = authority.issue([Order(public, child.name, profiles.INTERMEDIATE, validity)])
        return (*issued, *authority.chain), authority.warnings


def check_signed(parent: Parent, chain: Sequence[x509.Certificate], path: str) -> None:
    """Raise MtlsError when the CA whose chain is in the file ``path`` has another parent."""
    if parent.chain and not chains.was_issued_by(chain[0], parent.chain[0]):
        raise MtlsError(
            f"{path}: was not signed by the parent in {parent.path}; an authority below it needs "
            "a directory of its own, or correct the parent"
        )


def check_distinct(name: x509.Name, upper: x509.Certificate, path: str) -> None:
    """Raise MtlsError when a CA has the name of one above it: nobody could tell what either has issued."""
    dn = subjects.nginx_dn(name)
    if dn.lower() == subjects.nginx_dn(upper.subject).lower():
        raise MtlsError(f"{path}: has the subject of the authority above it ({dn}); give it a subject of its own")


def life(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """Return the two dates of a certificate; the greatest of several is the newest."""
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _validity(authority: Authority, child: Child) -> profiles.Validity:
    now = times.now()
    for depth, upper in enumerate(authority.chain):
        chains.check_above(upper, depth, authority.path, now)
        check_distinct(child.name, upper, child.path)
    return profiles.validity(child.days, now, chains.first_to_end(authority.chain), f"authority {child.path}")
