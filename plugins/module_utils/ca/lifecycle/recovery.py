# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory that is older than the hosts, brought forward by the CRLs that they have.

A CRL is signed by the authority, so whoever keeps it, what it lists was revoked. What else has happened since the copy
was made is in no CRL: certificates that were issued and are good.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import HOLD, Entry
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, numbers, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
except ImportError:  # reported by entry.require_cryptography
    pass

if TYPE_CHECKING:
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import DirectoryAuthority
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index


@dataclass
class Recovery:
    """What the hosts' CRLs know and the directory does not.

    ``newest`` is the newest CRL of the authority that any host has, None where none has one. ``revoked`` are the
    entries that the record gets. ``behind``: the directory was signing from an older state, so that a new CRL is due.
    """

    newest: CrlState | None = None
    revoked: list[Entry] = field(default_factory=list)
    behind: bool = False


def signed_by(ca: x509.Certificate, files: Iterable[tuple[str, bytes]]) -> tuple[list[crls.Crl], list[str]]:
    """Return the CRLs that ``ca`` has signed, of files by name, and a warning for each file without one."""
    found, warnings = [], []
    for name, pem in files:
        try:
            every = crls.parse_crls(pem, name)
            ours = [crl for crl in every if crls.is_by(crl, ca)]
            issuers = "; ".join(dict.fromkeys(subjects.nginx_dn(crl.parsed.issuer) for crl in every))
        except (MtlsError, UnsupportedAlgorithm, ValueError):
            warnings.append(f"{name}: was skipped, because it is damaged, or is not a CRL in PEM")
            continue
        if not ours:
            warnings.append(f"{name}: was skipped, because this authority did not sign it (issuer: {issuers})")
        found += ours
    return found, warnings


def bring_forward(authority: DirectoryAuthority, found: Sequence[crls.Crl], *, check: bool) -> Recovery:
    """Record what CRLs list that this authority has signed, and go on after their numbers; with ``check`` only look.

    CRLs of others are left out. A hold counts only where nothing newer is here that may have released it.
    """
    ca, own = authority.chain[0], authority.crl_state()
    ours = [crl for crl in found if crls.is_by(crl, ca)]
    ours.sort(key=lambda crl: crls.state_of(crl).number, reverse=True)
    newest = crls.newest_by(ca, ours)
    if newest is None:
        return Recovery()
    state = crls.state_of(newest)
    record = authority.record.copy(authority.record.path) if check else authority.record
    serials: dict[str, None] = {}
    for crl in ours:
        as_new = crl is newest and (own is None or state.number >= own.number)
        serials.update(dict.fromkeys(honour(crl, record, ca, holds=as_new)))
    here = crls.parse_crls(authority.crl() or b"", authority.path) if own is not None else []
    is_known = any(crl.signed_part == newest.signed_part for crl in here)
    recovery = Recovery(
        state,
        [entry for serial in serials if (entry := record.get(serial)) is not None],
        behind=bool(serials) or not (is_known or (own is not None and own.number > state.number)),
    )
    if recovery.behind and not check:
        authority.note_recovered(recovery.revoked, state.number)
    return recovery


def honour(crl: crls.Crl, index: Index, ca: x509.Certificate, *, holds: bool = True) -> list[str]:
    """Note in the index what a CRL says is revoked and the index does not; return these serials.

    What the index does not have is entered as one that is good as long as the authority.
    """
    changed = []
    for revoked in crl.parsed:
        reason = crls.reason_of(revoked)
        if reason == HOLD and not holds:
            continue
        serial = numbers.hexadecimal(revoked.serial_number)
        if index.take_from_crl(serial, revoked.revocation_date_utc, reason, ca.not_valid_after_utc):
            changed.append(serial)
    return changed
