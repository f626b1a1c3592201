# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of one client in ``clients/<name>/``: where they are, what they hold, how they are written."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates, was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import p12, readers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.mobileconfig import ProfileMaker
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import RegisterEntry, Stamp, entry_of
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.batch import Batch
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass

# Where a private key is: in a file of its own, in the .p12 only, or in a .p12 that no password known here opens.
IN_FILE, IN_P12, SEALED = "file", "p12", "sealed"
_WHOLE_KEY = re.compile(rb"-----END [A-Z ]*PRIVATE KEY-----")  # RFC 7468, and OpenSSL's older labels


@dataclass(frozen=True)
class Examined:
    """What was found on disk of one client.

    ``entry`` describes the certificate, if there is one by this authority; ``matches`` tells whether it is for
    the client's public key, which is the CSR's or the private key's; ``key_at`` tells where that is, ``key_is_weak``
    whether nginx refuses it.
    """

    entry: RegisterEntry | None
    certificate: bytes | None
    public_key: bytes | None
    key_at: str | None
    key_is_weak: bool
    matches: bool
    p12_good: bool
    profile_good: bool
    pem_good: bool
    foreign: bool

    def parsed(self) -> x509.Certificate | None:
        """Return the certificate."""
        return x509.load_der_x509_certificate(self.certificate) if self.certificate else None


def examine(
    client: Client, place: ClientFiles, maker: ProfileMaker, remembered: RegisterEntry | None = None
) -> Examined:
    """Open all files of a client and see what they are good for; ``remembered`` is what was written last.

    :raises MtlsError: a file that is damaged, a CSR that must not be signed, a key of the wrong kind, a .p12 that
        is to be made anew and cannot be opened, a .pem that would replace another key.
    """
    chain = maker.chain
    certificate = read_certificates(place.certificate)[0] if os.path.exists(place.certificate) else None
    foreign = certificate is not None and not was_issued_by(certificate, chain[0])
    if foreign:
        certificate = None
    entry = entry_of(place.certificate, certificate) if certificate is not None else None
    public_key, key_at = (None, None) if client.revoked else _find_public_key(client, place, remembered)
    if key_at == SEALED and certificate is not None:
        _check_readers(client, certificate.public_key(), place.certificate, "move the .p12 away to get a new key")
    if client.has_pem and not client.revoked:
        _check_pem_can_be_made(client, place, key_at, remembered)
    public = keys.public_der(public_key) if public_key is not None else None
    matches = certificate is not None and (public is None or public == keys.public_der(certificate.public_key()))
    stamps = dict(entry.files) if entry is not None else {}
    for kind, path in stamped_paths(client, place).items():
        if kind != "crt" and os.path.exists(path):
            stamps[kind] = Stamp.of(path)
    if entry is not None:
        former = tuple(entry_of(path).serial for path in place.archived_certificates())
        entry = entry._replace(files=stamps, former=former)
    return Examined(
        entry=entry,
        certificate=certificate.public_bytes(serialization.Encoding.DER) if certificate is not None else None,
        public_key=public,
        key_at=key_at,
        key_is_weak=public_key is not None and keys.is_weak(public_key),
        matches=matches,
        p12_good=matches and certificate is not None and _p12_is_good(client, place, certificate, chain),
        profile_good=_profile_is_good(client, place, maker, files.read_if_there(place.p12), remembered),
        pem_good=matches and certificate is not None and _pem_is_good(client, place, certificate),
        foreign=foreign,
    )


def stamped_paths(client: Client, place: ClientFiles) -> dict[str, str]:
    """Return the files whose change would be noticed, by kind; not all of them need to exist."""
    if client.csr is not None:
        return {"crt": place.certificate, "csr": client.csr}
    stem = place.stem  # and not its properties: a run asks for all files of all clients
    paths = {"crt": f"{stem}.crt", "key": f"{stem}.key", "p12": f"{stem}.p12", "password": f"{stem}.p12.password"}
    if client.has_profile:
        paths["mobileconfig"] = place.mobileconfig
    if client.has_pem:
        paths["pem"] = place.pem
    return paths


def key_in_p12(client: Client, place: ClientFiles) -> keys.PrivateKey | None:
    """Return the private key in the .p12, or None when there is none or no password known here opens it.

    It may be a weak one, which is only good to be found out.
    """
    data = files.read_if_there(place.p12)
    if data is None:
        return None
    for password in (client.p12_password, _read_password(place)):
        key = p12.key_in(data, password) if password else None
        if key is not None:
            return keys.supported(key, f"{client.owner}: {place.p12}")
    return None


def _find_public_key(
    client: Client, place: ClientFiles, remembered: RegisterEntry | None
) -> tuple[keys.AnyPublicKey | None, str | None]:
    """Return the key that a client's certificate is for, and where its private half is."""
    written = remembered.files if remembered is not None else {}
    if client.csr is not None:
        asked = profiles.read_csr(client.csr, client.owner).public_key()
        _check_readers(client, asked, client.csr, "make a new key and CSR")
        return asked, None
    key: keys.PrivateKey | None
    if os.path.exists(place.key):
        path, key_at, key = place.key, IN_FILE, keys.load_key(place.key, validate=False)
    elif client.keep_key and "key" in written:
        return None, None  # its file was moved away, which is how a new key is asked for
    else:
        path, key_at, key = place.p12, IN_P12, key_in_p12(client, place)
    if key is None:
        return None, SEALED if _is_sealed(client, place, written.get("p12")) else None
    found = keys.key_type(key.public_key())
    if client.key_type is not None and found != client.key_type:
        raise MtlsError(
            f"{client.owner}: key_type is {client.key_type}, and {path} is {found}; set key_type: {found}, or "
            "move the key away to get a new one"
        )
    _check_readers(client, key.public_key(), path, "move the key away to get a new one")
    if found == keys.ED25519 and client.has_profile:
        raise refused_profile(client, f"{path} is an Ed25519 key")
    return key.public_key(), key_at


def _check_readers(client: Client, key: keys.AnyPublicKey, path: str, remedy: str) -> None:
    key_type = str(keys.key_type(key))
    readers.check_key(client.owner, client.used_by, key_type, f"the key of {path} is {key_type}", remedy)


def refused_profile(client: Client, because: str) -> MtlsError:
    """Return the error of a client that asks for a profile, in which Apple's devices take no Ed25519 key."""
    return MtlsError(
        f"{client.owner}: {because}, which Apple's devices do not take from a .mobileconfig; set mobileconfig: false"
        " for it (mtls_client_mobileconfig for all), or give it a key of type ecdsa"
    )


def _is_sealed(client: Client, place: ClientFiles, written: Stamp | None) -> bool:
    """Tell whether the key is in the .p12 although that cannot be looked at: it is the file that was ``written``."""
    data = files.read_if_there(place.p12)
    if data is None or written is None or written.digest != Stamp.digest_of(data):
        return False
    if client.p12_password is not None or not client.has_p12 or not p12.is_kind(data, client.p12):
        raise MtlsError(
            f"{client.owner}: its key is only in {place.p12}, which is to change and which no password known here "
            f"opens; put the one it has into {place.password} for one run, or move the .p12 away to get a new key"
        )
    return True


def _p12_is_good(
    client: Client, place: ClientFiles, certificate: x509.Certificate, chain: Sequence[x509.Certificate]
) -> bool:
    data = files.read_if_there(place.p12) if client.has_p12 else None
    password = client.p12_password or _read_password(place)
    if data is None or password is None or (client.p12_password and os.path.exists(place.password)):
        return False
    return p12.holds(data, client.name, certificate, chain, password, client.p12)


def _profile_is_good(
    client: Client, place: ClientFiles, maker: ProfileMaker, content: bytes | None, remembered: RegisterEntry | None
) -> bool:
    """Tell whether the .mobileconfig is one of the .p12 with this ``content``."""
    data = files.read_if_there(place.mobileconfig)
    if not client.has_profile or data is None or content is None:
        return False
    return maker.is_good(data, client.name, content, remembered and remembered.files.get("mobileconfig"))


def _pem(certificate: x509.Certificate, key: bytes) -> bytes:
    """Return the content of a .pem; programs take either order."""
    return certificate.public_bytes(serialization.Encoding.PEM) + key


def _pem_is_good(client: Client, place: ClientFiles, certificate: x509.Certificate) -> bool:
    data, key = (files.read_if_there(path) for path in (place.pem, place.key)) if client.has_pem else (None, None)
    return data is not None and key is not None and data == _pem(certificate, key)


def _check_pem_can_be_made(
    client: Client, place: ClientFiles, key_at: str | None, remembered: RegisterEntry | None
) -> None:
    """Raise MtlsError where the key cannot be had, or where a file of somebody's would be lost."""
    if key_at == SEALED:
        raise MtlsError(
            f"{client.owner}: formats asks for a .pem with its key, which is only in {place.p12}, and no password known"
            f" here opens that; put the one it has into {place.password} for one run, or remove formats"
        )
    if not _pem_may_go(place, remembered):
        raise MtlsError(
            f"{client.owner}: {place.pem} is in the place of the file that formats asks for, and holds another key than"
            f" {place.key}; move it away, or remove formats"
        )


def _pem_may_go(place: ClientFiles, remembered: RegisterEntry | None) -> bool:
    """Tell whether no key is lost with the .pem: it is as it was written, or has this client's key, or no whole one."""
    data, key = files.read_if_there(place.pem), files.read_if_there(place.key)
    if data is None or _WHOLE_KEY.search(data) is None or (key is not None and key in data):
        return True
    written = remembered.files.get("pem") if remembered is not None else None
    return written is not None and written.digest == Stamp.digest_of(data)


def _read_password(place: ClientFiles) -> str | None:
    data = files.read_if_there(place.password)
    password = data.decode("ascii", "replace").strip() if data is not None else ""
    return password if password and p12.is_ascii(password) else None


def archive_certificate(place: ClientFiles, serial: str) -> None:
    """Keep the certificate of a subject that is given up, so that a revocation of the client still finds it."""
    files.rename_file(place.certificate, place.path(f"-{serial}.crt"))


def archive_key(place: ClientFiles, serial: str) -> None:
    """Take the key of a certificate that is given up out of use; one file that holds it is kept."""
    files.remove_file(place.mobileconfig)
    key = files.read_if_there(place.key)
    if key is not None:
        if key in (files.read_if_there(place.pem) or b""):
            files.remove_file(place.pem)
        files.remove_file(place.password)
        files.remove_file(place.p12)
        files.rename_file(place.key, place.path(f"-{serial}.key"))
        return
    for path, ending in ((place.p12, ".p12"), (place.password, ".p12.password")):
        if os.path.exists(path):
            files.rename_file(path, place.path(f"-{serial}{ending}"))


def write(
    client: Client,
    place: ClientFiles,
    certificate: x509.Certificate,
    maker: ProfileMaker,
    key: keys.PrivateKey | None,
    definition: str,
    batch: Batch,
    remembered: RegisterEntry | None = None,
) -> RegisterEntry:
    """Put what a client should have into ``batch``, and return its entry for the register.

    A file that holds what it should already stays as it is. A key that is to be in the .p12 only is removed when
    that is on disk, and not before.
    """
    files.make_directory(place.directory, 0o700)
    stamps = {}

    def put(kind: str, path: str, data: bytes, mode: int) -> bytes:
        stamps[kind] = Stamp.of_written(data, batch.write(path, data, mode))
        return data

    if not os.path.exists(place.certificate) or read_certificates(place.certificate)[0] != certificate:
        put("crt", place.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    if client.csr is not None:
        with open(client.csr, "rb") as stream:
            batch.write(place.csr, stream.read(), 0o644)
    elif key is not None and client.keeps_key_file and not os.path.exists(place.key):
        pem = keys.encoded(key, None, place.key)
        stamps["key"] = Stamp.of_written(pem, batch.create(place.key, pem, 0o600))
    content = files.read_if_there(place.p12)
    if client.has_p12 and key is not None and not _p12_is_good(client, place, certificate, maker.chain):
        password = client.p12_password or _read_password(place) or p12.new_password()
        if client.p12_password is None:
            put("password", place.password, f"{password}\n".encode(), 0o600)
        packed = p12.pack(client.name, key, certificate, maker.chain, password, client.p12)
        content = put("p12", place.p12, packed, 0o600)
        if client.p12_password is not None:
            batch.remove(place.password)  # not before: the key may have been in the former .p12 only
    elif client.p12 == p12.NONE:
        batch.remove(place.p12)
        batch.remove(place.password)
    if content is None or not client.has_profile:
        batch.remove(place.mobileconfig)
    elif not _profile_is_good(client, place, maker, content, remembered):
        put("mobileconfig", place.mobileconfig, maker.make(client.name, content), 0o600)
    if client.has_pem and key is not None and not _pem_is_good(client, place, certificate):
        own = files.read_if_there(place.key) or keys.encoded(key, None, place.key)
        put("pem", place.pem, _pem(certificate, own), 0o600)
    elif not client.has_pem and remembered is not None and "pem" in remembered.files and _pem_may_go(place, remembered):
        batch.remove(place.pem)
    if key is not None and not client.keeps_key_file:
        batch.remove(place.key)
    for kind, path in stamped_paths(client, place).items():
        if kind not in stamps and os.path.exists(path) and not batch.removes(path):
            stamps[kind] = Stamp.of(path)
    entry = entry_of(place.certificate, certificate, stamps["crt"])
    former = tuple(entry_of(path).serial for path in place.archived_certificates())
    return entry._replace(definition=definition, former=former, files=stamps)
