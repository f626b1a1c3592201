# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection needs of an authority, whoever keeps the key.

The directory on the controller (directory.py) is one; a key in an HSM or a Vault would be others. Everything
above this file speaks to the protocol only; ``backends.py`` knows who implements it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.mtls.nginx.plugins.module_utils.ca.profiles import Validity

REASONS = (  # RFC 5280, 5.3.1, in openssl's spelling; removeFromCRL belongs to delta CRLs
    "unspecified",
    "keyCompromise",
    "CACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
)
HOLD = "certificateHold"  # the one reason that can be taken back


@dataclass(frozen=True)
class Order:
    """One certificate to be issued: ``public_key`` is SubjectPublicKeyInfo in DER, ``names`` its subjectAltName.

    ``act`` is what the audit log calls it: issued or renewed.
    """

    public_key: bytes
    subject: x509.Name
    profile: str
    validity: Validity
    names: tuple[str, ...] = ()
    act: str = "issued"


@dataclass(frozen=True)
class Entry:
    """What the authority recorded of one certificate; ``subject`` in the spelling of ``index.txt``."""

    serial: str
    subject: str
    status: str  # valid, revoked or expired
    not_after: datetime
    revoked_at: datetime | None = None
    reason: str | None = None

    @property
    def on_hold(self) -> bool:
        """Whether its revocation can be taken back."""
        return self.status == "revoked" and self.reason == HOLD


@dataclass(frozen=True)
class CrlState:
    """A CRL's number, its two dates, and how many certificates it lists."""

    number: int
    last_update: datetime
    next_update: datetime
    entries: int


class Record(Protocol):
    """Every certificate ever issued, by serial in the spelling of numbers.hexadecimal."""

    def __len__(self) -> int: ...

    def __contains__(self, serial: str) -> bool: ...

    def get(self, serial: str) -> Entry | None: ...

    def is_valid(self, serial: str) -> bool: ...

    def live(self, now: datetime, besides: Container[str] = ()) -> Iterator[Entry]: ...

    def namesakes(self, subject: str) -> list[str]: ...


class Published(Protocol):
    """What anybody may know of an authority; neither its key nor its lock is needed.

    Each member raises MtlsError for what a user can put right.
    """

    record: Record

    def chain(self) -> bytes:
        """Return the CA bundle for the hosts in PEM, the issuing CA first."""

    def crl(self) -> bytes:
        """Return the CRLs for the hosts in PEM, checked to be such that nginx may be given them."""


class Authority(Protocol):
    """Issues and revokes; each method raises MtlsError for what a user can put right."""

    path: str
    chain: tuple[x509.Certificate, ...]  # the issuing CA first
    record: Record
    warnings: list[str]

    def certificate(self, serial: str) -> x509.Certificate:
        """Return an issued certificate."""

    def find_by_fingerprint(self, fingerprint: str) -> str | None:
        """Return the serial of the issued certificate with this SHA-1 or SHA-256 fingerprint, in lower-case digits."""

    def issue(self, orders: Sequence[Order]) -> list[x509.Certificate]:
        """Sign all ``orders``; each certificate and its entry in the record are on disk when this returns."""

    def revoke(self, reasons: Mapping[str, str]) -> None:
        """Revoke recorded serials, each with its reason, a lasting one those on hold too.

        The record is on disk when this returns.
        """

    def release(self, serials: Sequence[str]) -> None:
        """Make serials that are on hold valid again."""

    def enter(self, certificates: Sequence[x509.Certificate]) -> None:
        """Record certificates that the authority's key signed without recording them."""

    def crl(self) -> bytes | None:
        """Return the current CRL in PEM, or None when there is none yet."""

    def crl_state(self) -> CrlState | None:
        """Return what the current CRL says, or None when there is none that can be read."""

    def crl_due(self, refresh_before: int) -> str | None:
        """Return why a new CRL is needed (it ends within ``refresh_before`` days, or lists others), or None."""

    def write_crl(self, days: int) -> CrlState:
        """Sign and store a CRL of everything revoked that is good for ``days``."""
