# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is revoked and still gets in at a host, because it has missed a CRL: for the live status.

A probe cannot show it where the key of a revoked certificate never was on the controller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.ownership import Ownership
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import first_few
from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates
from ansible_collections.mtls.nginx.plugins.module_utils.site.standing import Standing, TrustAnswer


def to_read(standings: Sequence[Standing], answer: TrustAnswer) -> list[Standing]:
    """Return the authorities of which the host has another CRL than ours."""
    return [
        standing
        for standing in standings
        if standing.crl is not None
        and standing.crl_path in answer.held
        and answer.held[standing.crl_path].crls != certificates.read(standing.crl).crls
    ]


def describe(standings: Sequence[Standing], held: Mapping[str, bytes], now: datetime) -> list[str]:
    """Return a sentence for each authority that has revoked what the host's CRL does not list.

    :arg held: the contents of the host's CRLs, by path.
    :raises MtlsError: an authority's record is damaged.
    """
    said = []
    for standing in standings:
        missing = list(_missing(standing.crl or b"", held.get(standing.crl_path, b"")))
        names = _still_valid(standing.directory, missing, now)
        if names:
            said.append(
                f"{standing.crl_path} does not list what {standing.directory} has revoked: {first_few(names)}. Whoever"
                " has such a certificate gets in"
            )
    return said


def _missing(ours: bytes, held: bytes) -> Iterator[str]:
    """Yield the serials on our CRLs that the host's CRLs by the same CA do not list.

    Where it has none of a CA, nginx refuses that CA's clients anyway.
    """
    theirs = certificates.revoked(held)
    for crl, serials in certificates.revoked(ours):
        listed = [entries for each, entries in theirs if each.is_of_the_issuer_of(crl)]
        if listed:
            yield from serials.keys() - set().union(*listed)


def _still_valid(directory: str, serials: Sequence[str], now: datetime) -> list[str]:
    """Return whose these certificates are, without those that are known to have expired."""
    if not serials:
        return []
    record = read_authority(directory).record
    ownership = Ownership.of(directory, record, now)
    names = []
    for serial in sorted(serials):
        entry = record.get(serial)
        if entry is None:  # of a CA above, or of an external one
            names.append(serial)
        elif entry.not_after > now:
            names.append(f"{ownership.holder(serial, entry.subject)} ({serial})")
    return names
