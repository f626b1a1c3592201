# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates to be revoked or released, by whatever is known of a lost device: what ``crl`` is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import (
    HOLD,
    REASONS,
    Authority,
    Entry,
    check_on_hold,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates, was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import SERVERS, Register
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import check_client_name, nearest

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


class UnknownError(MtlsError):
    """What is to be revoked was never issued by this authority."""


@dataclass(frozen=True)
class Wanted:
    """What should be revoked, or with ``release`` be on hold no more: ``value`` is a ``kind`` of KINDS."""

    kind: str
    value: str
    reason: str
    release: bool = False

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Wanted:
        """Return what an item of the option that ARGUMENTS describes asks for."""
        kind = next(kind for kind in KINDS if item[kind] is not None)
        return cls(kind, item[kind], item["reason"], item["state"] == RELEASED)


@dataclass(frozen=True)
class Found:
    """One certificate; ``client`` is whose it is, ``unrecorded`` is set when it is ours but not in the record.

    ``action`` is what is to be done: revoked, released or unchanged.
    """

    serial: str
    subject: str
    client: str
    reason: str
    action: str
    unrecorded: x509.Certificate | None = None


class Finder:
    """Finds certificates of one authority."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._record = authority.record

    @cached_property
    def _register(self) -> Register:
        return Register.load(self._authority.path)

    @cached_property
    def _owners(self) -> dict[str, str]:
        return self._register.owners()

    @cached_property
    def _servers(self) -> dict[str, str]:
        return Register.load(self._authority.path, SERVERS).owners()

    def find(self, wanted: Wanted) -> list[Found]:
        """Return the certificates that are meant, one at least.

        :raises UnknownError: there is none.
        :raises MtlsError: a text that cannot be what it should be, or that fits two things.
        """
        search = {
            SERIAL: self._by_serial,
            CERTIFICATE: self._by_certificate,
            NAME: self._by_name,
            FINGERPRINT: self._by_fingerprint,
            ANYTHING: self._by_anything,
        }[wanted.kind]
        meant = search(wanted.value)
        if wanted.release:  # of all that a client has, it is about what is on hold
            meant = {serial: None for serial in meant if self._is_on_hold(serial)} or meant
        return [self._found(serial, certificate, wanted) for serial, certificate in meant.items()]

    def _found(self, serial: str, certificate: x509.Certificate | None, wanted: Wanted) -> Found:
        entry = self._record.get(serial)
        subject = entry.subject if entry is not None else subjects.index_subject(certificate.subject)
        client = self._owners.get(serial) or subjects.common_name_of_index_subject(subject)
        action = _action(serial, entry, wanted)
        return Found(serial, subject, client, wanted.reason, action, certificate if entry is None else None)

    def _by_serial(self, text: str) -> dict[str, None]:
        serial = numbers.parse_serial(text)
        if serial not in self._record:
            raise UnknownError(
                f"serial {serial}: was never issued by the authority in {self._authority.path}; "
                "look it up in index.txt, or name the certificate's file"
            )
        return {serial: None}

    def _by_certificate(self, path: str) -> dict[str, x509.Certificate]:
        certificate = _read_certificate(path)
        issuer = self._authority.chain[0]
        if not was_issued_by(certificate, issuer):
            raise UnknownError(
                f"{path}: was issued by {subjects.nginx_dn(certificate.issuer)}, not by "
                f"{subjects.nginx_dn(issuer.subject)}; ask the right authority"
            )
        return {numbers.hexadecimal(certificate.serial_number): certificate}

    def _by_fingerprint(self, text: str) -> dict[str, None]:
        fingerprint = _plain(text)
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise MtlsError(
                f"fingerprint {text!r}: is neither SHA-1 (40 hexadecimal digits) nor SHA-256 (64); copy it from "
                "`openssl x509 -fingerprint`"
            )
        serial = self._authority.find_by_fingerprint(fingerprint)
        if serial is None or serial not in self._record:
            raise UnknownError(
                f"fingerprint {text}: is that of no certificate that the authority in {self._authority.path} has; "
                "name the client, the serial or the certificate's file"
            )
        return {serial: None}

    def _by_name(self, name: str) -> dict[str, x509.Certificate | None]:
        """Return all of a client: what is remembered and on file, and what has its CN or one of its subjects."""
        check_client_name(name)
        found: dict[str, x509.Certificate | None] = {s: None for s, owner in self._owners.items() if owner == name}
        place = ClientFiles.of(self._register.directory, name)
        for path in (place.certificate, *place.archived_certificates()):
            if os.path.exists(path):
                certificate = read_certificates(path)[0]
                if was_issued_by(certificate, self._authority.chain[0]):
                    found.setdefault(numbers.hexadecimal(certificate.serial_number), certificate)
        now = times.now()
        named = [
            subject
            for _serial, subject in self._record.live(now, besides=found)
            if subjects.common_name_of_index_subject(subject) == name
        ]
        known = [entry for entry in map(self._record.get, found) if entry is not None]
        plain = subjects.index_subject(subjects.subject_name({"CN": name}, f"client {name!r}"))
        for subject in {plain, *named, *(entry.subject for entry in known)}:
            for serial in self._record.namesakes(subject):
                namesake = self._record.get(serial)
                if namesake is not None and namesake.subject == subject and self._may_be_of(name, serial):
                    found.setdefault(serial, None)
        if not found:
            close = nearest(name, set(self._owners.values()))
            hint = f"did you mean {close!r}?" if close else "look it up in index.txt"
            raise UnknownError(f"client {name!r}: the authority in {self._authority.path} has nothing of it; {hint}")
        live = {serial: certificate for serial, certificate in found.items() if not self._ended(serial)}
        return live or found

    def _may_be_of(self, name: str, serial: str) -> bool:
        return serial not in self._servers and self._owners.get(serial, name) == name

    def _is_on_hold(self, serial: str) -> bool:
        entry = self._record.get(serial)
        return entry is not None and entry.on_hold

    def _ended(self, serial: str) -> bool:
        entry = self._record.get(serial)
        return entry is not None and entry.not_after <= times.now()

    def _by_anything(self, text: str) -> dict[str, x509.Certificate | None]:
        """Return what the text fits, which must be one thing."""
        fits: dict[str, dict[str, x509.Certificate | None]] = {}
        for kind, search in self._possible(text):
            try:
                fits[kind] = search(text)
            except UnknownError:
                continue
        if not fits:
            raise UnknownError(
                f"{text!r}: the authority in {self._authority.path} has no client, serial or fingerprint like this, "
                "and there is no such file of one of its certificates; look it up in index.txt"
            )
        if len({frozenset(serials) for serials in fits.values()}) > 1:
            raise MtlsError(f"{text!r}: fits as {' and as '.join(fits)}; say which of them is meant")
        return next(iter(fits.values()))

    def _possible(self, text: str) -> Iterable[tuple[str, object]]:
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


def _action(serial: str, entry: Entry | None, wanted: Wanted) -> str:
    if wanted.release:
        if entry is not None and entry.status != "revoked":
            return UNCHANGED
        check_on_hold(serial, entry)
        return RELEASED
    if entry is not None and entry.status == "revoked" and not (entry.on_hold and wanted.reason != HOLD):
        return UNCHANGED
    return REVOKED


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
