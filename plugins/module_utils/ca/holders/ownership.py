# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a certificate is, and whether it is live, on hold, expired or revoked: who else asks, asks here.

A certificate belongs to the client or service whose register entry has its serial. One that no register knows, because
``openssl ca`` made it by hand or a run was killed, belongs to the client that has its subject.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Record
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates, was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import (
    common_name_of_index_subject,
    dn_of_index_subject,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import SERVERS, Register, RegisterEntry
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import first_few

if TYPE_CHECKING:
    from cryptography import x509

# How a certificate stands. Of what is revoked, only ON_HOLD can be released; UNRECORDED is not in the record at all.
LIVE, ON_HOLD, EXPIRED, REVOKED, UNRECORDED = "live", "on hold", "expired", "revoked", "unrecorded"


@dataclass(frozen=True)
class Unmanaged:
    """A live certificate that belongs to nobody in the inventory: its holder's name or CN, its DN in nginx's format."""

    name: str
    serial: str
    dn: str
    not_after: datetime


def certificates_on_file(
    place: ClientFiles, issuers: Sequence[x509.Certificate]
) -> dict[str, tuple[str, x509.Certificate]]:
    """Return by serial what a client has from one of the issuers, today's and former ones, and the file of each.

    :raises MtlsError: a file is damaged.
    """
    found = {}
    for path in (place.certificate, *place.archived_certificates()):
        if os.path.exists(path):
            certificate = read_certificates(path)[0]
            if any(was_issued_by(certificate, issuer) for issuer in issuers):
                found[numbers.hexadecimal(certificate.serial_number)] = (path, certificate)
    return found


def cannot_be_revoked(owner: str, serials: Collection[str]) -> str:
    """Return what is said of certificates that only the register knows: to revoke one takes its subject and its end."""
    return (
        f"{owner}: its certificate {first_few(serials)} is neither in index.txt nor on file any more, so it cannot be "
        "revoked and stays valid until it expires; restore index.txt or the certificate's file from a backup"
    )


class Ownership:
    """What one authority's record and registers say of its certificates at the moment ``now``."""

    def __init__(self, record: Record, clients: Register, servers: Register, now: datetime) -> None:
        self._record = record
        self._clients = clients
        self._server_register = servers
        self._now = now
        self._released: set[str] = set()
        self._doomed: set[str] = set()

    @classmethod
    def of(cls, path: str, record: Record, now: datetime) -> Ownership:
        """Return the ownership of the certificates of the authority in ``path``.

        :raises MtlsError: there is no authority, or its certificate is damaged.
        """
        return cls(record, Register.load(path), Register.load(path, SERVERS), now)

    # Whose

    @cached_property
    def _owners(self) -> dict[str, str]:
        return self._clients.owners()

    @cached_property
    def _servers(self) -> dict[str, str]:
        return self._server_register.owners()

    @cached_property
    def _registered(self) -> dict[str, list[str]]:
        registered: dict[str, list[str]] = {}
        for serial, name in self._owners.items():
            registered.setdefault(name, []).append(serial)
        return registered

    def names(self) -> Collection[str]:
        """Return the names of the clients that the register knows."""
        return self._registered.keys()

    def holder(self, serial: str, subject: str) -> str:
        """Return the name of the client or service with ``serial``; where none is registered, the CN of ``subject``."""
        return self._owners.get(serial) or self._servers.get(serial) or common_name_of_index_subject(subject)

    def may_be_of(self, name: str, serial: str) -> bool:
        """Tell whether a certificate with one of this client's subjects is its own: nobody else's by the registers."""
        return serial not in self._servers and self._owners.get(serial, name) == name

    def serials_of(self, name: str, subjects: Iterable[str], serials: Iterable[str] = ()) -> list[str]:
        """Return the serials of all certificates of the client ``name``, whatever their state, each once.

        :arg subjects: subjects that it has, in the format of index.txt.
        :arg serials: serials that are known to be its own, by its files for instance.
        """
        own = [*serials, *self._registered.get(name, ())]
        recorded = [entry for entry in map(self._record.get, own) if entry is not None]
        for subject in dict.fromkeys([*subjects, *(entry.subject for entry in recorded)]):
            for serial in self._record.namesakes(subject):
                namesake = self._record.get(serial)
                if namesake is not None and namesake.subject == subject and self.may_be_of(name, serial):
                    own.append(serial)
        return list(dict.fromkeys(own))

    def live_with_common_name(self, name: str, besides: Container[str]) -> set[str]:
        """Return the subjects, in the format of index.txt, of the live certificates whose CN is ``name``."""
        live = self._record.live(self._now, besides=besides)
        return {subject for _serial, subject in live if common_name_of_index_subject(subject) == name}

    def unmanaged(
        self, clients: Container[str], held: Iterable[RegisterEntry], coming: Iterable[str] = ()
    ) -> list[str]:
        """Return the serials of live certificates that are neither a service's nor a wanted client's, oldest first.

        :arg clients: the names of the wanted clients.
        :arg held: the certificates that these and the services have now.
        :arg coming: the subjects of those that they are about to get, in the format of index.txt.
        """
        known = set(self._servers)
        known.update(serial for serial, owner in self._owners.items() if owner in clients)
        held = list(held)
        known.update(entry.serial for entry in held)
        unknown = list(self._record.live(self._now, besides=known))
        if not unknown:
            return []  # as nearly always, and subjects need not be looked at
        subjects = {*coming, *(entry.subject for entry in held)}
        return [serial for serial, subject in unknown if subject not in subjects or serial in self._owners]

    def describe(self, serials: Sequence[str]) -> list[Unmanaged]:
        """Return what is known of unmanaged certificates."""
        return [
            Unmanaged(
                name=self.holder(entry.serial, entry.subject),
                serial=entry.serial,
                dn=dn_of_index_subject(entry.subject),
                not_after=entry.not_after,
            )
            for entry in map(self._record.get, serials)
            if entry is not None
        ]

    # How it stands

    def state(self, serial: str) -> str:
        """Return LIVE, ON_HOLD, EXPIRED, REVOKED or UNRECORDED. What was on hold when it expired is REVOKED."""
        entry = self._record.get(serial)
        if entry is None:
            return UNRECORDED
        if entry.status == "revoked" and serial not in self._released:
            return ON_HOLD if entry.on_hold and entry.not_after > self._now else REVOKED
        if serial in self._doomed:
            return REVOKED
        return LIVE if entry.not_after > self._now else EXPIRED

    def is_live(self, serial: str) -> bool:
        """Tell whether nginx would let it in: recorded, not revoked, not expired."""
        return self.state(serial) == LIVE

    def is_on_hold(self, serial: str) -> bool:
        """Tell whether its revocation can be taken back, and would let it in again."""
        return self.state(serial) == ON_HOLD

    def is_revoked(self, serial: str) -> bool:
        """Tell whether it is revoked, for good or on hold."""
        return self.state(serial) in (ON_HOLD, REVOKED)

    def count_as_released(self, serials: Iterable[str]) -> None:
        """Take serials that are on hold for valid from now on: a plan is to release them."""
        self._released.update(serials)

    def count_as_revoked(self, serials: Iterable[str]) -> None:
        """Take serials that are valid for revoked from now on: this run is to revoke them."""
        self._doomed.update(serials)
