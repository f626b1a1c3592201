# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single certificates to be revoked, named by serial or by file: what ``crl`` is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.mtls.nginx.plugins.module_utils.ca import numbers, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.chains import was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.directory import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.errors import MtlsError

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True)
class Wanted:
    """One certificate that should be revoked: by ``serial`` or by the file ``certificate``."""

    serial: str | None
    certificate: str | None
    reason: str


@dataclass(frozen=True)
class Found:
    """What the authority knows of it; ``unrecorded`` is set when it is ours but not in the record."""

    serial: str
    subject: str
    reason: str
    already: bool
    unrecorded: x509.Certificate | None = None


def find(authority: Authority, wanted: Wanted) -> Found:
    """Return the certificate that is meant.

    :raises MtlsError: never issued by this authority.
    """
    if wanted.certificate is not None:
        certificate = read_certificates(wanted.certificate)[0]
        if not was_issued_by(certificate, authority.chain[0]):
            raise MtlsError(
                f"{wanted.certificate}: was issued by {subjects.nginx_dn(certificate.issuer)}, not by "
                f"{subjects.nginx_dn(authority.chain[0].subject)}; ask the right authority"
            )
        serial = numbers.hexadecimal(certificate.serial_number)
    else:
        certificate, serial = None, numbers.parse_serial(wanted.serial or "")
    entry = authority.record.get(serial)
    if entry is not None:
        return Found(serial, entry.subject, wanted.reason, already=entry.status == "revoked")
    if certificate is None:
        raise MtlsError(
            f"serial {serial}: was never issued by the authority in {authority.path}; "
            "look it up in index.txt, or name the certificate's file"
        )
    subject = subjects.index_subject(certificate.subject)
    return Found(serial, subject, wanted.reason, already=False, unrecorded=certificate)


def revoke(authority: Authority, found: Sequence[Found]) -> None:
    """Revoke what ``find`` returned."""
    authority.enter([item.unrecorded for item in found if item.unrecorded is not None])
    authority.revoke({item.serial: item.reason for item in found})
