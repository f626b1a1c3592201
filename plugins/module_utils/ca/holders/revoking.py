# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates to be revoked or released, by whatever is known of a lost device: what ``crl`` is asked for."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Callable, Union

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import (
    HOLD,
    REASONS,
    Authority,
    Entry,
    Published,
    Record,
    check_on_hold,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, numbers, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates, was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.ownership import (
    Ownership,
    cannot_be_revoked,
    certificates_on_file,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover, issued
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles, Layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import read_published
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import check_client_name, nearest

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass

SERIAL, CERTIFICATE, NAME, FINGERPRINT, ANYTHING = "serial", "certificate", "name", "fingerprint", "anything"
KINDS = (SERIAL, CERTIFICATE, NAME, FINGERPRINT, ANYTHING)
REVOKED, RELEASED, UNCHANGED = "revoked", "released", "unchanged"
# The option `revoked` of modules; plugins/doc_fragments/revoked.py describes it.
ARGUMENTS = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        SERIAL: {"type": "str"},
        CERTIFICATE: {"type": "path"},
        NAME: {"type": "str"},
        FINGERPRINT: {"type": "str"},
        ANYTHING: {"type": "str"},
        "state": {"type": "str", "choices": [REVOKED, RELEASED], "default": REVOKED},
        "reason": {"type": "str", "choices": list(REASONS), "default": "unspecified"},
    },
    "required_one_of": [KINDS],
    "mutually_exclusive": [KINDS],
}
_FINGERPRINT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
if TYPE_CHECKING:
    # By serial, in the order in which they were found: what is recorded, or the certificate where nothing is.
    _Meant = dict[str, Union[Entry, x509.Certificate]]
    _Search = Callable[[str], _Meant]


class UnknownError(MtlsError):
    """What is to be revoked was never issued by this authority. ``meant`` is a client's name that is much like it."""

    def __init__(self, message: str, meant: str | None = None) -> None:
        super().__init__(message)
        self.meant = meant


class LostError(MtlsError):
    """All that is known of a client's certificates is their serials, and that is not enough to revoke them."""


@dataclass(frozen=True)
class RevocationRequest:
    """What should be revoked, or with ``release`` be on hold no more: ``value`` is a ``kind`` of KINDS."""

    kind: str
    value: str
    reason: str
    release: bool = False

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> RevocationRequest:
        """Return what an item of the option that ARGUMENTS describes asks for; what it leaves out is None."""
        kind = next(kind for kind in KINDS if item.get(kind) is not None)
        return cls(kind, item[kind], item["reason"], item.get("state") == RELEASED)


@dataclass(frozen=True)
class Found:
    """One certificate; ``client`` is whose it is, ``unrecorded`` is set when it is ours but not in the record.

    ``action`` is what is to be done: revoked, released or unchanged. ``on_hold`` tells that it can be taken back then.
    """

    serial: str
    subject: str
    client: str
    reason: str
    action: str
    not_after: datetime
    unrecorded: x509.Certificate | None
    on_hold: bool


def planned(authority: Authority, items: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the serials that the option of ARGUMENTS revokes or puts on hold, and those on hold that it keeps so.

    What cannot be found is left out: the module ``crl`` says so.

    :raises MtlsError: as ``Finder.find``.
    """
    requests = [request for request in map(RevocationRequest.of, items) if not request.release]
    requests = [request for request in requests if not _is_done(authority.record, request)]
    if not requests:
        return set()  # without the registers, whose reading is a tenth of a run with nothing to do
    finder = Finder.of(authority)
    serials: set[str] = set()
    for request in requests:
        with contextlib.suppress(UnknownError, LostError):
            serials.update(found.serial for found in finder.find(request))
    return serials


def _is_done(record: Record, request: RevocationRequest) -> bool:
    """Tell whether a serial is revoked for good, at a glance."""
    entry = record.get(numbers.parse_serial(request.value)) if request.kind == SERIAL else None
    return entry is not None and entry.status == "revoked" and not entry.on_hold


class Finder:
    """Finds certificates of one authority.

    ``issuers`` are the CA certificates of the authority itself; ``by_fingerprint`` returns the serial of an issued
    certificate, as ``Authority.find_by_fingerprint`` does; ``path`` is the authority's directory.
    """

    def __init__(
        self,
        path: str,
        record: Record,
        ownership: Ownership,
        issuers: Sequence[x509.Certificate],
        by_fingerprint: Callable[[str], str | None],
    ) -> None:
        self._path = path
        self._record = record
        self._ownership = ownership
        self._issuers = issuers
        self._find_by_fingerprint = by_fingerprint
        self.warnings: list[str] = []  # what was meant too, and cannot be revoked

    @classmethod
    def of(cls, authority: Authority) -> Finder:
        """Return the finder of an authority that is open.

        :raises MtlsError: its certificate is damaged.
        """
        ownership = Ownership.of(authority.path, authority.record, times.now())
        return cls(authority.path, authority.record, ownership, authority.chain[:1], authority.find_by_fingerprint)

    @classmethod
    def of_published(cls, path: str, published: Published) -> Finder:
        """Return the finder of the authority in ``path``, whose key and lock it does without.

        :raises MtlsError: its files cannot be read.
        """
        record, issued_folder = published.record, Layout(path).issued
        return cls(
            path,
            record,
            Ownership.of(path, record, times.now()),
            chains.read(published.chain().decode())[:1],
            lambda fingerprint: issued.find_by_fingerprint(issued_folder, fingerprint),
        )

    def find(self, wanted: RevocationRequest) -> list[Found]:
        """Return the certificates that are meant, one at least.

        :raises UnknownError: there is none.
        :raises LostError: only the register knows of some.
        :raises MtlsError: a text that cannot be what it should be, or that fits two things; to be released, and
            revoked for good.
        """
        search: dict[str, _Search] = {
            SERIAL: self._by_serial,
            CERTIFICATE: self._by_certificate,
            NAME: self._by_name,
            FINGERPRINT: self._by_fingerprint,
            ANYTHING: self._by_anything,
        }
        meant = search[wanted.kind](wanted.value)
        if wanted.release:  # of all that a client has, it is about what is on hold
            meant = {serial: found for serial, found in meant.items() if self._ownership.is_on_hold(serial)} or meant
        return [self._found(serial, found, wanted) for serial, found in meant.items()]

    def is_known_beside(self, wanted: RevocationRequest) -> bool:
        """Tell whether another authority of the same rollover, one before or after this one, has what is meant.

        What the inventory revokes it names to each of them, and it stays there when the rollover is over.
        """
        for finder in self._beside:
            with contextlib.suppress(MtlsError):
                finder.find(wanted)
                return True
        return False

    @functools.cached_property
    def _beside(self) -> list[Finder]:
        finders = []
        for path in handover.relatives(self._path):
            with contextlib.suppress(MtlsError):
                finders.append(Finder.of_published(path, read_published(path, alone=True)))
        return finders

    def _found(self, serial: str, found: Entry | x509.Certificate, wanted: RevocationRequest) -> Found:
        if isinstance(found, x509.Certificate):
            entry, unrecorded = None, found
            subject, not_after = subjects.index_subject(found.subject), found.not_valid_after_utc
        else:
            entry, unrecorded = found, None
            subject, not_after = found.subject, found.not_after
        client = self._ownership.holder(serial, subject)
        action = _action(serial, entry, wanted)
        kept = entry is not None and entry.on_hold and not wanted.release
        on_hold = wanted.reason == HOLD if action == REVOKED else kept
        return Found(serial, subject, client, wanted.reason, action, not_after, unrecorded, on_hold)

    def _by_serial(self, text: str) -> _Meant:
        serial = numbers.parse_serial(text)
        entry = self._record.get(serial)
        if entry is None:
            raise UnknownError(
                f"serial {serial}: was never issued by the authority in {self._path}; "
                "look it up in index.txt, or name the certificate's file"
            )
        return {serial: entry}

    def _by_certificate(self, path: str) -> _Meant:
        certificate = _read_certificate(path)
        if not self._is_ours(certificate):
            raise UnknownError(
                f"{path}: was issued by {subjects.nginx_dn(certificate.issuer)}, not by "
                f"{subjects.nginx_dn(self._issuers[0].subject)}; ask the right authority"
            )
        serial = numbers.hexadecimal(certificate.serial_number)
        return {serial: self._record.get(serial) or certificate}

    def _by_fingerprint(self, text: str) -> _Meant:
        fingerprint = _plain(text)
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise MtlsError(
                f"fingerprint {text!r}: is neither SHA-1 (40 hexadecimal digits) nor SHA-256 (64); copy it from "
                "`openssl x509 -fingerprint`"
            )
        serial = self._find_by_fingerprint(fingerprint)
        entry = self._record.get(serial) if serial is not None else None
        if serial is None or entry is None:
            raise UnknownError(
                f"fingerprint {text}: is that of no certificate that the authority in {self._path} has; "
                "name the client, the serial or the certificate's file"
            )
        return {serial: entry}

    def _by_name(self, name: str) -> _Meant:
        """Return all of a client: what is remembered and on file, and what has its CN or one of its subjects."""
        check_client_name(name)
        place = ClientFiles.of(Layout(self._path).clients, name)
        on_file = {serial: each for serial, (_path, each) in certificates_on_file(place, self._issuers).items()}
        own = self._ownership
        plain = subjects.index_subject(subjects.subject_name({"CN": name}, f"client {name!r}"))
        named = own.live_with_common_name(name, besides=on_file)
        recorded = {serial: self._record.get(serial) for serial in own.serials_of(name, {plain, *named}, on_file)}
        found: _Meant = {**on_file, **{serial: entry for serial, entry in recorded.items() if entry is not None}}
        lost = [serial for serial in recorded if serial not in found]
        if lost:
            lacks = cannot_be_revoked(f"client {name!r}", lost)
            if not found:
                raise LostError(lacks)
            self.warnings.append(lacks)
        if not found:
            close = nearest(name, set(own.names()))
            raise UnknownError(
                f"client {name!r}: the authority in {self._path} has nothing of it; {_hint(close)}", close
            )
        now = times.now()
        expired = {serial for serial, each in found.items() if isinstance(each, Entry) and each.not_after <= now}
        return {serial: each for serial, each in found.items() if serial not in expired} or found

    def _is_ours(self, certificate: x509.Certificate) -> bool:
        return any(was_issued_by(certificate, issuer) for issuer in self._issuers)

    def _by_anything(self, text: str) -> _Meant:
        """Return what the text fits, which must be one thing."""
        fits: dict[str, _Meant] = {}
        lost: LostError | None = None
        for kind, search in self._possible(text):
            try:
                fits[kind] = search(text)
            except LostError as error:
                lost = error
            except UnknownError:
                continue
        if lost and not fits:
            raise lost
        if not fits:
            close = nearest(text, set(self._ownership.names()))
            raise UnknownError(
                f"{text!r}: the authority in {self._path} has no client, serial or fingerprint like this, "
                f"and there is no such file of one of its certificates; {_hint(close)}",
                close,
            )
        if len({frozenset(serials) for serials in fits.values()}) > 1:
            raise MtlsError(f"{text!r}: matches {' and '.join(f'a {fit}' for fit in fits)}; say which one is meant")
        return next(iter(fits.values()))

    def _possible(self, text: str) -> Iterable[tuple[str, _Search]]:
        try:
            check_client_name(text)
            yield NAME, self._by_name
        except MtlsError:
            pass
        try:
            numbers.parse_serial(text)
            yield SERIAL, self._by_serial
        except MtlsError:
            pass
        if _FINGERPRINT.fullmatch(_plain(text)):
            yield FINGERPRINT, self._by_fingerprint
        if os.path.isfile(text):
            yield CERTIFICATE, self._by_certificate


def carry_out(authority: Authority, found: Sequence[Found]) -> None:
    """Revoke and release what ``Finder`` found."""
    authority.enter([item.unrecorded for item in found if item.unrecorded is not None])
    authority.release([item.serial for item in found if item.action == RELEASED])
    authority.revoke({item.serial: item.reason for item in found if item.action == REVOKED})


def said_of_return(client: str, *, on_hold: bool) -> str:
    """Return what to say of a client that is revoked, and that the inventory still wants to have a certificate.

    One that is ``on_hold`` gets no other: the hold is over with the next run.
    """
    follows, remedy = (
        (
            "lets it in again with the same certificate and key",
            f"to keep it out, set state: revoked and reason: {HOLD} on it",
        )
        if on_hold
        else ("gives it a new certificate with a new key", "set state: revoked on it")
    )
    return (
        f"client {client!r}: the inventory still has it as present, so the next site.yml {follows}; {remedy}, or take "
        "it out of the inventory"
    )


def _action(serial: str, entry: Entry | None, wanted: RevocationRequest) -> str:
    if wanted.release:
        if entry is not None and entry.status != "revoked":
            return UNCHANGED
        check_on_hold(serial, entry)
        return RELEASED
    return REVOKED if entry is None or entry.needs_revoking(wanted.reason) else UNCHANGED


def _hint(meant: str | None) -> str:
    return f"did you mean {meant!r}?" if meant else "look it up in index.txt"


def _plain(fingerprint: str) -> str:
    """Return a fingerprint as digits: openssl writes ``sha256 Fingerprint=AB:CD...``."""
    return re.sub(r"[:\s]", "", fingerprint.rpartition("=")[2]).lower()


def _read_certificate(path: str) -> x509.Certificate:
    """Return the certificate in a file, PEM or DER; raises MtlsError."""
    with open(path, "rb") as stream:
        data = stream.read()
    if data[:1] != b"\x30":
        return read_certificates(path)[0]
    try:
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise MtlsError(f"{path}: is damaged, or holds no certificate in DER or PEM; name another file") from error
