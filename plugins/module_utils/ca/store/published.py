# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is public of an authority in a directory: neither its key nor its lock is needed.

During a rollover that is two authorities, the old one and the next, and the hosts trust both.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Container, Iterator
from datetime import datetime
from functools import cached_property

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Entry
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, crls
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover, layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import Register, RegisterEntry
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError


class PublishedDirectory:
    """Implements authority.Published."""

    def __init__(self, path: str) -> None:
        self._path = path

    @cached_property
    def record(self) -> Index:
        """The index as it was when it was first asked for."""
        return Index.load(layout.Layout(self._path).index)

    @cached_property
    def _register(self) -> Register:
        return Register.load(self._path)

    def holders(self, name: str) -> list[RegisterEntry]:
        """Return the client's certificate, if it has one."""
        entry = self._register.get(name)
        return [] if entry is None else [entry]

    def names(self) -> Collection[str]:
        """Return the names of the clients."""
        return list(self._register)

    def chain(self) -> bytes:
        """Return ca.crt."""
        return read_chain(self._path)

    def crl(self) -> bytes:
        """Return crl.pem."""
        return read_crl(self._path)

    def crl_as_it_is(self) -> bytes | None:
        """Return crl.pem unchecked."""
        return crl_as_it_is(layout.Layout(self._path).crl)


def read_published(path: str, *, alone: bool = False) -> PublishedDirectory | PublishedRollover:
    """Return what the authority in ``path`` has published, and the one that is to follow it, if there is one.

    :arg alone: without the latter.

    :raises MtlsError: a rollover was interrupted in the middle of its end.
    """
    handover.refuse_interrupted(path)
    old = PublishedDirectory(path)
    if alone or not handover.is_begun(path):
        return old
    return PublishedRollover(old, PublishedDirectory(handover.next_path(path)))


class PublishedRollover:
    """Implements authority.Published for an authority and the one that is to follow it."""

    def __init__(self, old: PublishedDirectory, new: PublishedDirectory) -> None:
        self._both = (old, new)

    @cached_property
    def record(self) -> _BothRecords:
        """Both records as one."""
        old, new = self._both
        return _BothRecords(old.record, new.record)

    def holders(self, name: str) -> list[RegisterEntry]:
        """Return the client's certificates, that of the old authority first."""
        return [holder for published in self._both for holder in published.holders(name)]

    def names(self) -> Collection[str]:
        """Return the names of the clients of either."""
        return {name for published in self._both for name in published.names()}

    def chain(self) -> bytes:
        """Return both chains; the old authority still issues the server certificates."""
        return b"".join(published.chain() for published in self._both)

    def crl(self) -> bytes:
        """Return both CRLs."""
        return b"".join(published.crl() for published in self._both)

    def crl_as_it_is(self) -> bytes | None:
        """Return both CRLs unchecked, or the one that is there."""
        found = [crl for published in self._both if (crl := published.crl_as_it_is()) is not None]
        return b"".join(found) or None


class _BothRecords:
    """Implements authority.Record. A serial is random, so it is in one of the two at most."""

    def __init__(self, old: Index, new: Index) -> None:
        self._both = (old, new)

    def __len__(self) -> int:
        return sum(map(len, self._both))

    def __contains__(self, serial: str) -> bool:
        return any(serial in record for record in self._both)

    def get(self, serial: str) -> Entry | None:
        """Return what is recorded of a serial."""
        return next((record.get(serial) for record in self._both if serial in record), None)

    def is_valid(self, serial: str) -> bool:
        """Tell whether a serial is recorded and not revoked, by either."""
        return any(record.is_valid(serial) for record in self._both)

    def live(self, now: datetime, besides: Container[str] = ()) -> Iterator[tuple[str, str]]:
        """Yield what is live of both."""
        for record in self._both:
            yield from record.live(now, besides)

    def namesakes(self, subject: str) -> list[str]:
        """Return the serials with this subject, of both."""
        return [serial for record in self._both for serial in record.namesakes(subject)]

    def revocations(self, ended_by: datetime | None = None) -> dict[tuple[str, str | None], list[str]]:
        """Return what was revoked, by either."""
        found: dict[tuple[str, str | None], list[str]] = {}
        for record in self._both:
            for note, serials in record.revocations(ended_by).items():
                found.setdefault(note, []).extend(serials)
        return found


def read_chain(ca_path: str) -> bytes:
    """Return the CA bundle for the hosts in PEM, without the text that openssl puts beside it.

    :raises MtlsError: there is no authority, or its certificate is damaged.
    """
    path = layout.Layout(ca_path).certificate
    if not os.path.exists(path):
        raise layout.absent(ca_path)
    return chains.pem(read_certificates(path))


def crl_as_it_is(path: str) -> bytes | None:
    """Return a CRL file unchecked; None when there is none.

    Line ends are no content: hosts would get a new CRL because git changed them on the way.
    """
    pem = files.read_if_there(path)
    return None if pem is None else pem.replace(b"\r\n", b"\n")


def read_crl(ca_path: str) -> bytes:
    """Return the CRLs for the hosts in PEM, checked as ``crls.check_shippable`` describes.

    :raises MtlsError: there is none, or nginx must not be given it.
    """
    path = layout.Layout(ca_path).crl
    chain, pem = read_chain(ca_path), crl_as_it_is(path)
    if pem is None:
        raise MtlsError(f"{path}: is missing; run mtls.nginx.crl on the controller")
    crls.check_shippable(pem, chain, times.now(), path)
    return pem
