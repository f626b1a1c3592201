# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection needs of an authority, whoever keeps the key.

The packages in ``backends/`` implement it. Everything above speaks to the protocol only; ``access.py`` alone knows
who implements it.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

if TYPE_CHECKING:
    from cryptography import x509


REASONS = (  # RFC 5280, 5.3.1, as openssl spells them; removeFromCRL belongs to delta CRLs
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
class Entry:
    """What the authority recorded of one certificate; ``subject`` in the format of ``index.txt``.

    Whether it has expired is for ``not_after`` to say.
    """

    serial: str
    subject: str
    status: str  # valid or revoked
    not_after: datetime
    revoked_at: datetime | None = None
    reason: str | None = None

    @property
    def on_hold(self) -> bool:
        """Whether its revocation can be taken back."""
        return self.status == "revoked" and self.reason == HOLD

    def needs_revoking(self, reason: str | None) -> bool:
        """Tell whether a revocation for ``reason`` is news: it is valid, or on hold and this is for good."""
        return self.status != "revoked" or (self.on_hold and reason != HOLD)


class Record(Protocol):
    """Every certificate ever issued, by serial in the spelling of numbers.hexadecimal."""

    def __len__(self) -> int: ...

    def __contains__(self, serial: str) -> bool: ...

    def get(self, serial: str) -> Entry | None:
        """Return what is recorded of a serial, or None."""

    def is_valid(self, serial: str) -> bool:
        """Tell whether a serial is recorded and not revoked; its certificate may have expired."""

    def live(self, now: datetime, besides: Container[str] = ()) -> Iterable[tuple[str, str]]:
        """Yield serial and ``index.txt`` subject of what is neither revoked nor expired, without ``besides``."""

    def namesakes(self, subject: str) -> list[str]:
        """Return the serials, oldest first, whose subjects differ from ``subject`` in case at most."""

    def revocations(self, ended_by: datetime | None = None) -> Mapping[tuple[str, str | None], Sequence[str]]:
        """Return the revoked serials by time (as ASN.1 text) and reason, without what had expired by ``ended_by``."""


class Holder(Protocol):
    """Somebody with a certificate: its serial, and its subject in nginx's DN format."""

    @property
    def serial(self) -> str:
        """In the spelling of numbers.hexadecimal; empty where an external CA has issued it."""

    @property
    def dn(self) -> str:
        """The subject."""


class Published(Protocol):
    """What anybody may know of an authority; neither its key nor its lock is needed.

    Each member raises MtlsError for what a user can put right.
    """

    @property
    def record(self) -> Record:
        """What is recorded of each certificate."""

    def holders(self, name: str) -> Sequence[Holder]:
        """Return the certificates of a client; more than one while it moves from one authority to the next."""

    def names(self) -> Collection[str]:
        """Return the names of all clients that have, or had, a certificate."""

    def chain(self) -> bytes:
        """Return the CA bundle for the hosts in PEM, the issuing CA first."""

    def crl(self) -> bytes:
        """Return the CRLs for the hosts in PEM, checked to be such that nginx may be given them."""

    def crl_as_it_is(self) -> bytes | None:
        """Return what ``crl`` would check, fit for nginx or not; None when there is none."""


class Authority(Protocol):
    """Issues and revokes; each method raises MtlsError for what a user can put right."""

    issues: bool  # False: somebody else does, and whatever changes something raises
    path: str
    chunk: int  # so many orders at a time
    shared: bool  # other controllers issue too, and have the private keys of what they asked for
    chain: tuple[x509.Certificate, ...]  # the issuing CA first
    warnings: list[str]

    @property
    def record(self) -> Record:
        """What is recorded of each certificate."""

    def begin(self) -> None:
        """Note that files of holders are about to be written: if the run is killed, the next one clears up."""

    def certificate(self, serial: str) -> x509.Certificate:
        """Return an issued certificate.

        :raises CertificateMissing: its file is gone.
        """

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

    def crl_due(self, refresh_before: int, *, prune: bool = True) -> str | None:
        """Return why a new CRL is needed (it expires within ``refresh_before`` days, or lists others), or None.

        With ``prune`` it need not list certificates that have expired long enough ago.
        """

    def take_crls(self, pem: bytes, path: str) -> None:
        """Take CRLs of the CAs above the issuing one, from ``path``; they go where the own one goes."""

    def write_crl(self, days: int, *, prune: bool = True) -> CrlState:
        """Sign and store a CRL that is good for ``days``, of everything revoked or, with ``prune``, what matters."""


Noted = TypeVar("Noted")


@runtime_checkable
class ExternalAuthority(Protocol[Noted]):
    """What an authority offers besides when it is an external CA: it issues nothing, and clients are noted only."""

    def admit(self, clients: Mapping[str, Noted]) -> None:
        """Note clients, by name, that allow lists may name, beside those noted before."""

    def admitted(self) -> Mapping[str, Noted]:
        """Return the clients that were noted, by name."""


class CertificateMissing(MtlsError):
    """A certificate that is recorded has no file: records are taken over without theirs, and files get lost."""


def check_on_hold(serial: str, entry: Entry | None) -> Entry:
    """Return ``entry``; raise MtlsError unless it is of a certificate on hold."""
    if entry is not None and entry.on_hold:
        return entry
    said = "is not on hold"
    if entry is not None and entry.status == "revoked":
        said = f"is revoked for good (reason: {entry.reason or 'unspecified'})"
    raise MtlsError(f"serial {serial}: {said}, and only {HOLD} can be released; issue a new certificate")
