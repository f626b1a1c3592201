# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``clients/register.json`` and ``servers/register.json``: what is known of the files below, without opening them.

The register is derived: lost, damaged or out of date, it is made again from the certificates. It has mode 0600,
as the private keys beside it, because it holds keyed digests of what the inventory says, passwords included.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, KeysView, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import layout
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
except ImportError:  # reported by entry.require_cryptography
    pass

CLIENTS, SERVERS = "clients", "servers"
_NAME = "register.json"
_VERSION = 1
_SALT_BYTES = 16
_SEAL = '{"digest":"%s",'  # before all the rest: only a file that is as it was written is believed


class Stamp(NamedTuple):
    """A file as it was: size, time of change in nanoseconds, digest of the content."""

    size: int
    changed: int
    digest: str

    @classmethod
    def of(cls, path: str) -> Stamp:
        """Return the stamp of a file; raises OSError."""
        status = os.stat(path)
        with open(path, "rb") as stream:
            return cls.of_written(stream.read(), status)

    @classmethod
    def of_written(cls, data: bytes, status: os.stat_result) -> Stamp:
        """Return the stamp of a file by what was written and the status that it got."""
        return cls(status.st_size, status.st_mtime_ns, cls.digest_of(data))

    @staticmethod
    def digest_of(data: bytes) -> str:
        """Return the digest that the stamp of a file with this content has."""
        return hashlib.sha256(data).hexdigest()[:32]

    def fits(self, status: os.stat_result | None) -> bool:
        """Tell by its status whether the file is there and untouched."""
        return status is not None and status.st_mtime_ns == self.changed and status.st_size == self.size


class _Stamps(Mapping[str, Stamp]):
    """The stamps of a remembered entry, each made when somebody asks for it: most runs ask for none."""

    __slots__ = ("_written",)

    def __init__(self, written: Mapping[str, Sequence[Any]]) -> None:
        self._written = written

    def __getitem__(self, kind: str) -> Stamp:
        return Stamp(*self._written[kind])

    def __contains__(self, kind: object) -> bool:
        return kind in self._written

    def __iter__(self) -> Iterator[str]:
        return iter(self._written)

    def __len__(self) -> int:
        return len(self._written)

    def keys(self) -> KeysView[str]:
        return self._written.keys()


class RegisterEntry(NamedTuple):
    """One holder's certificate, and the files that belong to it by their kind (``crt``, ``key``, ``p12`` ...).

    ``definition`` is the digest of what the inventory said; ``former`` are the serials of earlier certificates
    with other subjects.
    """

    serial: str
    subject: str  # as in index.txt
    dn: str  # in nginx's DN format
    not_after: str  # 2026-11-23T14:39:00Z
    fingerprint: str  # SHA-1, as in nginx's $ssl_client_fingerprint
    definition: str = ""
    former: tuple[str, ...] = ()
    files: Mapping[str, Stamp] = MappingProxyType({})


class Register(Mapping[str, RegisterEntry]):
    """Holders by name: ``<client>`` or ``<host>/<service>``.

    As a mapping it always tells what the certificate files say now: a file that has changed since is read again.
    That needs neither the lock nor the authority's key.
    """

    def __init__(self, directory: str, authority: str, content: dict[str, Any]) -> None:
        self.directory = directory
        self._authority = authority
        self._salt: str = content.get("salt") or secrets.token_hex(_SALT_BYTES)
        self._entries: dict[str, dict[str, Any]] = content.get("entries", {})
        self._changed = False

    @classmethod
    def load(cls, ca_path: str, kind: str = CLIENTS) -> Register:
        """Read the register of an authority's clients or servers.

        :raises MtlsError: there is no authority, or its certificate is damaged.
        """
        place = layout.Layout(ca_path)
        if not os.path.exists(place.certificate):
            raise layout.absent(ca_path)
        chain = b"".join(ca.fingerprint(hashes.SHA256()) for ca in read_certificates(place.certificate))
        authority = hashlib.sha256(chain).hexdigest()
        directory = place.file(kind)
        data = files.read_if_there(os.path.join(directory, _NAME)) or b""
        content = json.loads(data) if _is_sealed(data) else {}
        if content.get("version") != _VERSION or content.get("authority") != authority:
            content = {}
        return cls(directory, authority, content)

    def certificate_path(self, name: str) -> str:
        """Return where the current certificate of a holder is."""
        if os.path.basename(self.directory) == SERVERS:
            return os.path.join(self.directory, f"{name}.crt")
        return layout.ClientFiles.of(self.directory, name).certificate

    def __getitem__(self, name: str) -> RegisterEntry:
        path = self.certificate_path(name)
        entry = self.remembered(name)
        if entry is not None and "crt" in entry.files and entry.files["crt"].fits(files.status(path)):
            return entry
        try:
            return entry_of(path)
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        if not os.path.isdir(self.directory):
            return
        for holder in sorted(os.listdir(self.directory)):
            if os.path.basename(self.directory) == CLIENTS:
                names = [holder]
            elif os.path.isdir(os.path.join(self.directory, holder)):
                found = sorted(os.listdir(os.path.join(self.directory, holder)))
                names = [f"{holder}/{name[:-4]}" for name in found if name.endswith(".crt")]
            else:
                names = []
            yield from (name for name in names if os.path.exists(self.certificate_path(name)))

    def __len__(self) -> int:
        return sum(1 for _name in self)

    def remembered(self, name: str) -> RegisterEntry | None:
        """Return what was written down last, whether it still holds or not."""
        raw = self._entries.get(name)
        if raw is None:
            return None
        return RegisterEntry(
            raw["serial"],
            raw["subject"],
            raw["dn"],
            raw["not_after"],
            raw["fingerprint"],
            raw["definition"],
            tuple(raw["former"]),
            _Stamps(raw["files"]),
        )

    def stamps(self, name: str) -> Mapping[str, tuple[int, int, str]] | None:
        """Return the stamps of the files of ``name`` by kind, in the order of ``Stamp``; None where nobody knows it."""
        raw = self._entries.get(name)
        return None if raw is None else raw["files"]

    def names(self) -> Iterator[str]:
        """Return whom the register remembers, whether they still have files or not."""
        return iter(self._entries)

    def remember(self, name: str, entry: RegisterEntry) -> None:
        """Write down what ``name`` has."""
        raw = {
            "serial": entry.serial,
            "subject": entry.subject,
            "dn": entry.dn,
            "not_after": entry.not_after,
            "fingerprint": entry.fingerprint,
            "definition": entry.definition,
            "former": list(entry.former),
            "files": {kind: list(stamp) for kind, stamp in entry.files.items()},
        }
        if raw != self._entries.get(name):
            self._entries[name] = raw
            self._changed = True

    def owners(self) -> dict[str, str]:
        """Return whose the remembered serials are, former ones included."""
        owners = {}
        for name, raw in self._entries.items():
            for serial in (raw["serial"], *raw["former"]):
                owners[serial] = name
        return owners

    def digest(self, definition: Any) -> str:
        """Return a keyed digest of something that JSON can express."""
        text = json.dumps(definition)
        return hashlib.blake2b(text.encode(), key=self._salt.encode(), digest_size=16).hexdigest()

    def save(self) -> None:
        """Write the register when something in it changed."""
        if not self._changed:
            return
        content = {
            "version": _VERSION,
            "authority": self._authority,
            "salt": self._salt,
            "entries": self._entries,
        }
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()[1:]
        files.write_file(os.path.join(self.directory, _NAME), _seal(body) + body, 0o600)
        self._changed = False


def _seal(body: bytes | memoryview) -> bytes:
    return (_SEAL % hashlib.blake2b(body, digest_size=16).hexdigest()).encode()


def _is_sealed(data: bytes) -> bool:
    length = len(_seal(b""))
    return data[:length] == _seal(memoryview(data)[length:])


def entry_of(path: str, certificate: x509.Certificate | None = None, stamp: Stamp | None = None) -> RegisterEntry:
    """Return the entry of a certificate file, which may have been read already, or is still to come with this stamp.

    :raises MtlsError: it is damaged.
    """
    if certificate is None:
        certificate = read_certificates(path)[0]
    return RegisterEntry(
        serial=numbers.hexadecimal(certificate.serial_number),
        subject=subjects.index_subject(certificate.subject),
        dn=subjects.nginx_dn(certificate.subject),
        not_after=times.iso(certificate.not_valid_after_utc),
        fingerprint=certificate.fingerprint(hashes.SHA1()).hex(),
        files={"crt": stamp or Stamp.of(path)},
    )


def client_entry(name: x509.Name) -> RegisterEntry:
    """Return what is known of a client: its subject. Serial, dates and fingerprint are with whoever issued it."""
    return RegisterEntry("", subjects.index_subject(name), subjects.nginx_dn(name), "", "")
