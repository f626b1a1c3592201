# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of one client in ``clients/<name>/``: where they are, what they hold, how they are written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.mtls.nginx.plugins.module_utils import files
from ansible_collections.mtls.nginx.plugins.module_utils.ca import keys, p12, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.chains import was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.directory import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.register import RegisterEntry, Stamp, entry_of
from ansible_collections.mtls.nginx.plugins.module_utils.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass

if TYPE_CHECKING:
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.subjects import Subject


@dataclass(frozen=True)
class Client:
    """What the inventory says of one client; None stands for what it leaves open."""

    name: str
    subject: Subject | None = None
    key_type: str | None = None
    csr: str | None = None
    days: int = 365
    renew_before: int = 30
    p12: str = p12.COMPATIBLE
    p12_password: str | None = None
    revoked: bool = False
    reason: str = "unspecified"

    @property
    def owner(self) -> str:
        """How errors name it."""
        return f"client {self.name!r}"

    @property
    def has_p12(self) -> bool:
        """Whether it gets a .p12, if its key is here."""
        return self.p12 != p12.NONE and self.csr is None


@dataclass(frozen=True)
class ClientFiles:
    """The paths of a client's files."""

    directory: str
    name: str

    def path(self, ending: str) -> str:
        """Return ``<directory>/<name><ending>``."""
        return f"{self.directory}/{self.name}{ending}"

    @classmethod
    def of(cls, clients_directory: str, name: str) -> ClientFiles:
        """Return the paths of the client ``name``."""
        return cls(f"{clients_directory}/{name}", name)

    @property
    def certificate(self) -> str:
        """The current certificate."""
        return self.path(".crt")

    @property
    def key(self) -> str:
        """The private key, mode 0600."""
        return self.path(".key")

    @property
    def csr(self) -> str:
        """A copy of the CSR, for a client whose key never left the device."""
        return self.path(".csr")

    @property
    def p12(self) -> str:
        """Key, certificate and chain in one file."""
        return self.path(".p12")

    @property
    def password(self) -> str:
        """The generated password of the .p12, mode 0600."""
        return self.path(".p12.password")

    def archived_certificates(self) -> list[str]:
        """Return the files of earlier certificates with other subjects: ``<name>-<SERIAL>.crt``."""
        if not os.path.isdir(self.directory):
            return []
        found = sorted(os.listdir(self.directory))
        return [
            os.path.join(self.directory, name)
            for name in found
            if name.startswith(f"{self.name}-") and name.endswith(".crt")
        ]


@dataclass(frozen=True)
class Examined:
    """What was found on disk of one client.

    ``entry`` describes the certificate, if there is one by this authority; ``matches`` tells whether it is for
    the client's public key, which is the CSR's or the key file's.
    """

    entry: RegisterEntry | None
    certificate: bytes | None
    public_key: bytes | None
    key_type: str | None
    matches: bool
    p12_good: bool
    foreign: bool

    def parsed(self) -> x509.Certificate | None:
        """Return the certificate."""
        return x509.load_der_x509_certificate(self.certificate) if self.certificate else None


def examine(client: Client, place: ClientFiles, chain: Sequence[x509.Certificate]) -> Examined:
    """Open all files of a client and see what they are good for.

    :raises MtlsError: a file that is damaged, a CSR that must not be signed, a key of the wrong kind.
    """
    certificate = read_certificates(place.certificate)[0] if os.path.exists(place.certificate) else None
    foreign = certificate is not None and not was_issued_by(certificate, chain[0])
    if foreign:
        certificate = None
    entry = entry_of(place.certificate, certificate) if certificate is not None else None
    public_key = None if client.revoked else read_public_key(client, place)
    public = keys.public_der(public_key) if public_key is not None else None
    matches = certificate is not None and (public is None or public == keys.public_der(certificate.public_key()))
    stamps = dict(entry.files) if entry is not None else {}
    for kind, path in stamped_paths(client, place).items():
        if kind != "crt" and os.path.exists(path):
            stamps[kind] = Stamp.of(path)
    if entry is not None:
        former = tuple(entry_of(path).serial for path in place.archived_certificates())
        entry = replace(entry, files=stamps, former=former)
    return Examined(
        entry=entry,
        certificate=certificate.public_bytes(serialization.Encoding.DER) if certificate is not None else None,
        public_key=public,
        key_type=keys.key_type(public_key) if public_key is not None else None,
        matches=matches,
        p12_good=matches and _p12_is_good(client, place, certificate, chain),
        foreign=foreign,
    )


def stamped_paths(client: Client, place: ClientFiles) -> dict[str, str]:
    """Return the files whose change would be noticed, by kind; not all of them need to exist."""
    if client.csr is not None:
        return {"crt": place.certificate, "csr": client.csr}
    return {"crt": place.certificate, "key": place.key, "p12": place.p12, "password": place.password}


def read_public_key(client: Client, place: ClientFiles) -> keys.PublicKey | None:
    """Return the key that a client's certificate is for: the CSR's, the key file's, or None without either.

    :raises MtlsError: as ``examine``.
    """
    if client.csr is not None:
        return profiles.read_csr(client.csr, client.owner).public_key()
    if not os.path.exists(place.key):
        return None
    key = keys.load_key(place.key, validate=False).public_key()
    found = keys.key_type(key)
    if client.key_type is not None and found != client.key_type:
        raise MtlsError(
            f"{client.owner}: key_type is {client.key_type}, and {place.key} is {found}; set key_type: {found}, or "
            "move the key away to get a new one"
        )
    return key


def _p12_is_good(
    client: Client, place: ClientFiles, certificate: x509.Certificate, chain: Sequence[x509.Certificate]
) -> bool:
    if not client.has_p12 or not os.path.exists(place.p12):
        return False
    password = client.p12_password or _read_password(place)
    if password is None or (client.p12_password and os.path.exists(place.password)):
        return False
    with open(place.p12, "rb") as stream:
        return p12.holds(stream.read(), client.name, certificate, chain, password, client.p12)


def _read_password(place: ClientFiles) -> str | None:
    try:
        with open(place.password, encoding="ascii", errors="replace") as stream:
            password = stream.read().strip()
    except FileNotFoundError:
        return None
    return password if password and p12.is_ascii(password) else None


def archive_certificate(place: ClientFiles, serial: str) -> None:
    """Keep the certificate of a subject that is given up, so that a revocation of the client still finds it."""
    files.rename_file(place.certificate, place.path(f"-{serial}.crt"))


def archive_key(place: ClientFiles, serial: str) -> None:
    """Take the key of a revoked certificate out of use, with the .p12 it is in and that one's password."""
    files.remove_file(place.password)
    files.remove_file(place.p12)
    if os.path.exists(place.key):
        files.rename_file(place.key, place.path(f"-{serial}.key"))


def write(
    client: Client,
    place: ClientFiles,
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    key: keys.PrivateKey | None,
    definition: str,
) -> RegisterEntry:
    """Write certificate, .p12 and password of a client, durably, and return their entry for the register.

    A certificate file that holds this certificate already stays as it is.
    """
    files.make_directory(place.directory, 0o700)
    stamps = {}

    def put(kind: str, path: str, data: bytes, mode: int) -> None:
        files.write_file(path, data, mode, sync_parent=False)
        stamps[kind] = Stamp.of(path, data)

    if not os.path.exists(place.certificate) or read_certificates(place.certificate)[0] != certificate:
        put("crt", place.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    if client.csr is not None:
        with open(client.csr, "rb") as stream:
            files.write_file(place.csr, stream.read(), 0o644, sync_parent=False)
        stamps["csr"] = Stamp.of(client.csr)
    elif key is not None:
        stamps["key"] = Stamp.of(place.key)
    if client.has_p12 and key is not None:
        password = client.p12_password or _read_password(place) or p12.new_password()
        if client.p12_password is None:
            put("password", place.password, f"{password}\n".encode(), 0o600)
        else:
            files.remove_file(place.password)
        put("p12", place.p12, p12.pack(client.name, key, certificate, chain, password, client.p12), 0o600)
    elif client.p12 == p12.NONE:
        files.remove_file(place.p12)
        files.remove_file(place.password)
    files.sync_directory(place.directory)
    entry = entry_of(place.certificate, certificate)
    former = tuple(entry_of(path).serial for path in place.archived_certificates())
    return replace(entry, definition=definition, former=former, files={**entry.files, **stamps})
