# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole authority in one encrypted file, to keep or to move, that can be opened without us in ten years.

A tar file with three members: README.txt; the directory as a compressed tar file, encrypted exactly as `openssl enc
-aes-256-cbc -pbkdf2` does; and a JSON object with an HMAC over that (encrypt-then-MAC), under a key of its own that is
derived from the same passphrase. Nothing is decrypted before the HMAC was found right.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import hmac
import io
import itertools
import json
import os
import secrets
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import audit, layout
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography.hazmat.primitives import padding
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
except ImportError:  # reported by entry.require_cryptography
    pass

_README, _ENCRYPTED, _SEAL = "README.txt", "authority.tar.gz.enc", "authority.tar.gz.enc.hmac.json"
_ITERATIONS = 600_000  # PBKDF2 with SHA-256: what OWASP asks for in 2023
_MOST_ITERATIONS = 10_000_000
_MAGIC = b"Salted__"
_BLOCK = 512  # of tar
_PIECE = 1 << 20
_README_TEXT = f"""\
The authority of an Ansible collection, mtls.nginx, encrypted with a passphrase.

To restore it:    the module mtls.nginx.ca_archive with state: restored
Without it:       openssl enc -d -aes-256-cbc -pbkdf2 -iter {_ITERATIONS} -md sha256 \\
                    -in {_ENCRYPTED} -out authority.tar.gz
                  tar -xzpf authority.tar.gz
Is it unchanged?  openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt pass:PASSPHRASE \\
                    -kdfopt hexsalt:SALT -kdfopt iter:{_ITERATIONS} PBKDF2
                  openssl mac -digest SHA256 -macopt hexkey:KEY -in {_ENCRYPTED} HMAC
                  SALT is in {_SEAL}, KEY what the first command prints, without
                  colons; the second one prints what is there as "hmac".
"""


@dataclass(frozen=True)
class _Seal:
    """The JSON object: ``content`` is a keyed digest of the directory, by which two states of it are compared."""

    salt: str
    iterations: int
    hmac: str
    content: str

    def key(self, passphrase: str) -> bytes:
        """Return the key of both digests."""
        return _derive(passphrase, bytes.fromhex(self.salt), self.iterations, 32)


@dataclass(frozen=True)
class _Part:
    """Where the encrypted part of an archive lies."""

    offset: int
    size: int


def export(ca_path: str, archive: str, passphrase: str, *, check: bool) -> bool:
    """Write the archive, unless the one that is there holds all of the authority as it is; return whether it differed.

    The audit log alone does not count: each export has a line there.

    :raises MtlsError: no authority; an archive in the way that is damaged or has another passphrase.
    """
    keys.check_passphrase(passphrase, archive)
    place = layout.Layout(ca_path)
    if not os.path.exists(place.certificate):
        raise MtlsError(f"{ca_path}: there is no authority (ca.crt is missing); check ca_path")
    inside = os.path.realpath(ca_path)
    if os.path.commonpath([inside, os.path.realpath(archive)]) == inside:
        raise MtlsError(f"{archive}: lies in the authority's own directory; choose another place")
    with contextlib.nullcontext() if check else files.lock(place.lock):
        content = _digest(ca_path)
        if os.path.exists(archive) and _holds(archive, passphrase, content):
            return False
        if not check:
            with audit.AuditLog(ca_path).noting([{"did": audit.EXPORTED, "to": archive}]):
                _write(ca_path, archive, passphrase, content)
        return True


def restore(ca_path: str, archive: str, passphrase: str, *, check: bool) -> bool:
    """Put the authority of the archive into ``ca_path``; return False when it is there as the archive has it.

    :raises MtlsError: an archive that is damaged or has another passphrase; anything else in ``ca_path``.
    """
    layout.check_path(ca_path)
    seal, part = _open(archive)
    key = _check(archive, seal, part, passphrase)
    if os.path.exists(ca_path) and (not os.path.isdir(ca_path) or os.listdir(ca_path)):
        if os.path.exists(layout.Layout(ca_path).certificate) and _keyed(key, _digest(ca_path)) == seal.content:
            return False
        raise MtlsError(
            f"{ca_path}: is there already, and differs from {archive}; move it away to restore the archived one"
        )
    if not check:
        _unpack(archive, part, passphrase, seal.iterations, ca_path)
    return True


def _members(directory: str) -> Iterator[str]:
    """Yield the relative paths of all that belongs in an archive, directories before what is in them."""
    for folder, folders, names in os.walk(directory):
        folders.sort()
        relative = os.path.relpath(folder, directory)
        if relative != ".":
            yield relative
        for name in sorted(names):
            if name not in (".lock", audit.PENDING_FILE) and not (name.startswith(".") and name.endswith(".new")):
                yield os.path.normpath(os.path.join(relative, name))


def _digest(directory: str) -> bytes:
    digest = hashlib.sha256()
    for name in _members(directory):
        path = os.path.join(directory, name)
        status = os.stat(path)
        if name in (audit.NAME, audit.PENDING):
            continue
        digest.update(f"{name}\0{status.st_mode:o}\0".encode("utf-8", "surrogateescape"))
        if not os.path.isdir(path):
            with open(path, "rb") as stream:
                digest.update(hashlib.sha256(stream.read()).digest())
    return digest.digest()


def _holds(archive: str, passphrase: str, content: bytes) -> bool:
    seal, part = _open(archive)
    return _keyed(_check(archive, seal, part, passphrase), content) == seal.content


def _keyed(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _derive(passphrase: str, salt: bytes, iterations: int, length: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, iterations, length)


def _cipher(passphrase: str, salt: bytes, iterations: int) -> Cipher[modes.CBC]:
    """Return the cipher of `openssl enc`: key and IV from one derivation."""
    material = _derive(passphrase, salt, iterations, 48)
    return Cipher(algorithms.AES(material[:32]), modes.CBC(material[32:]))


def _write(ca_path: str, archive: str, passphrase: str, content: bytes) -> None:
    mac_salt = secrets.token_bytes(16)
    key = _derive(passphrase, mac_salt, _ITERATIONS, 32)
    with files.replacing(archive, 0o600) as out:
        _add(out, _README, _README_TEXT.encode())
        header = out.tell()
        out.write(bytes(_BLOCK))  # its size is not known yet
        sealing = _Sealing(out, passphrase, key)
        with (
            gzip.GzipFile(fileobj=sealing, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in _members(ca_path):
                _add_member(tar, os.path.join(ca_path, name), name)
        sealing.finish()
        size = out.tell() - header - _BLOCK
        out.write(bytes(-size % _BLOCK))
        end = out.tell()
        out.seek(header)
        out.write(_header(_ENCRYPTED, size))
        out.seek(end)
        seal = _Seal(mac_salt.hex(), _ITERATIONS, sealing.mac.hexdigest(), _keyed(key, content))
        _add(out, _SEAL, f"{json.dumps(vars(seal), indent=2)}\n".encode())
        out.write(bytes(2 * _BLOCK))


def _add_member(tar: tarfile.TarFile, path: str, name: str) -> None:
    info = tar.gettarinfo(path, arcname=name)
    changed = os.stat(path).st_mtime_ns  # to the nanosecond, by which the registers know an untouched file
    info.pax_headers = {"mtime": f"{changed // 10**9}.{changed % 10**9:09d}"}
    if info.isdir():
        tar.addfile(info)
        return
    with open(path, "rb") as stream:
        tar.addfile(info, stream)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.GNU_FORMAT)


def _add(out: BinaryIO, name: str, data: bytes) -> None:
    out.write(_header(name, len(data)) + data + bytes(-len(data) % _BLOCK))


class _Sealing:
    """A stream that encrypts what is written to it, and keeps the HMAC of the result."""

    def __init__(self, out: BinaryIO, passphrase: str, key: bytes) -> None:
        salt = secrets.token_bytes(8)
        self.mac = hmac.new(key, digestmod=hashlib.sha256)
        self._out = out
        self._encryptor = _cipher(passphrase, salt, _ITERATIONS).encryptor()
        self._padder = padding.PKCS7(128).padder()
        self._put(_MAGIC + salt)

    def write(self, data: bytes) -> int:
        """Encrypt a piece."""
        self._put(self._encryptor.update(self._padder.update(bytes(data))))
        return len(data)

    def flush(self) -> None:
        """Do nothing; what is left waits for ``finish``."""

    def finish(self) -> None:
        """Encrypt what is left."""
        self._put(self._encryptor.update(self._padder.finalize()) + self._encryptor.finalize())

    def _put(self, data: bytes) -> None:
        self.mac.update(data)
        self._out.write(data)


def _open(archive: str) -> tuple[_Seal, _Part]:
    """Return what an archive says of itself; raises MtlsError when it is none, or incomplete."""
    if not os.path.exists(archive):
        raise MtlsError(f"{archive}: there is no such archive on the controller; check the path")
    try:
        with tarfile.open(archive, "r:") as tar:
            members = {member.name: member for member in tar}
            encrypted = members[_ENCRYPTED]
            seal_file = tar.extractfile(members[_SEAL])
            if seal_file is None:
                raise ValueError
            raw: dict[str, Any] = json.load(seal_file)
        seal = _Seal(str(raw["salt"]), int(raw["iterations"]), str(raw["hmac"]), str(raw["content"]))
        bytes.fromhex(seal.salt)
        if not 1 <= seal.iterations <= _MOST_ITERATIONS or encrypted.size <= len(_MAGIC) + 8:
            raise ValueError
    except (tarfile.TarError, KeyError, ValueError, TypeError, AttributeError, EOFError) as error:
        raise MtlsError(
            f"{archive}: is not an archive made by mtls.nginx.ca_archive, or is damaged; name another file"
        ) from error
    return seal, _Part(encrypted.offset_data, encrypted.size)


def _pieces(archive: str, part: _Part) -> Iterator[bytes]:
    with open(archive, "rb") as stream:
        stream.seek(part.offset)
        left = part.size
        while left and (piece := stream.read(min(_PIECE, left))):
            left -= len(piece)
            yield piece


def _check(archive: str, seal: _Seal, part: _Part, passphrase: str) -> bytes:
    """Return the key of the digests when the passphrase is right and nothing was changed."""
    keys.check_passphrase(passphrase, archive)
    key = seal.key(passphrase)
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for piece in _pieces(archive, part):
        mac.update(piece)
    if not hmac.compare_digest(mac.hexdigest(), seal.hmac):
        raise MtlsError(f"{archive}: the passphrase is wrong, or the archive is damaged; give the right one")
    return key


class _Unsealing(io.RawIOBase):
    """A stream of what the encrypted part of an archive holds."""

    def __init__(self, pieces: Iterator[bytes], passphrase: str, iterations: int) -> None:
        super().__init__()
        first = next(pieces)
        start = len(_MAGIC) + 8
        self._pieces = itertools.chain([first[start:]], pieces)
        self._decryptor = _cipher(passphrase, first[len(_MAGIC) : start], iterations).decryptor()
        self._unpadder = padding.PKCS7(128).unpadder()
        self._clear = b""
        self._ended = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Decrypt until there is something to return."""
        while not self._clear and not self._ended:
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
                self._clear = self._unpadder.update(self._decryptor.finalize()) + self._unpadder.finalize()
            else:
                self._clear = self._unpadder.update(self._decryptor.update(piece))
        count = min(len(buffer), len(self._clear))
        buffer[:count] = self._clear[:count]
        self._clear = self._clear[count:]
        return count


def _unpack(archive: str, part: _Part, passphrase: str, iterations: int, ca_path: str) -> None:
    """Unpack beside ``ca_path`` and rename into it: all of it is there, or nothing."""
    parent, name = os.path.split(os.path.abspath(ca_path))
    files.make_directory(parent, 0o700)
    staged = os.path.join(parent, f".{name}.restoring")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        files.make_directory(staged, 0o700)
        stream = io.BufferedReader(_Unsealing(_pieces(archive, part), passphrase, iterations), _PIECE)
        try:
            with gzip.GzipFile(fileobj=stream) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
                for member in tar:
                    _put_back(archive, tar, member, staged)
        except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError) as error:
            raise MtlsError(f"{archive}: holds no directory that can be unpacked; use another archive") from error
        os.sync()  # all at once: one by one, a hundred thousand files would take half an hour
        with audit.AuditLog(staged).noting([{"did": audit.RESTORED, "from": archive}]):
            pass  # what is done here counts when the directory has its name
        os.rename(staged, ca_path)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    files.sync_directory(parent)


def _put_back(archive: str, tar: tarfile.TarFile, member: tarfile.TarInfo, directory: str) -> None:
    parts = member.name.split("/")
    content = tar.extractfile(member) if member.isfile() else None
    if os.path.isabs(member.name) or os.pardir in parts or not (content is not None or member.isdir()):
        raise MtlsError(f"{archive}: holds {member.name!r}, which no authority has; use another archive")
    path, mode = os.path.join(directory, *parts), member.mode & 0o777
    if content is None:
        os.mkdir(path, mode)
        os.chmod(path, mode)
        return
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as stream:
        os.fchmod(stream.fileno(), mode)  # the umask may have taken bits away
        shutil.copyfileobj(content, stream)
    seconds, _point, fraction = member.pax_headers.get("mtime", str(int(member.mtime))).partition(".")
    moment = int(seconds) * 10**9 + int(fraction.ljust(9, "0")[:9] or 0)
    os.utime(path, ns=(moment, moment))
