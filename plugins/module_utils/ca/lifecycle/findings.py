# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in somebody's folders: certificates, keys, CRLs and the records of openssl, known by their content.

Nothing is changed, and no layout is presupposed: easy-rsa's ``pki``, a directory of ``openssl ca`` and a folder of
PEM files are read alike. What looks like a part of an authority and cannot be used is not passed over: a revocation may
be in it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, keys
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

    _UNREADABLE = (MtlsError, ValueError, TypeError, UnsupportedAlgorithm)
except ImportError:  # reported by entry.require_cryptography
    pass

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import Crl
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.keys import PrivateKey

Tell = Callable[[str, int, int], None]  # what is counted, how many are done, and of how many
_TOLD_AFTER = 500  # files
_LARGEST = 64 << 20  # bytes: a CRL of a million certificates has less
_PEM_BEGIN = b"-----BEGIN "
_ENCRYPTED_KEY = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n%b-----END ENCRYPTED PRIVATE KEY-----\n"
_OF_NO_USE = re.compile(r".*(REQUEST|PARAMETERS|PUBLIC KEY)")  # kinds of PEM blocks: neither secret nor a record
_RECORD = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\r?\n)*[VRE]\t\d")  # how a record begins
_RECORD_WITHOUT_TABS = re.compile(rb"\s*[VRE] +\d{12}(?:\d\d)?Z ")
_BARE_BASE64 = re.compile(rb"\s*MI[A-Za-z0-9+/\s]{100,}={0,2}\s*")
_COUNTER = re.compile(r"serial(\.txt)?|crl_?num(ber)?(\.txt)?|.+\.srl", re.IGNORECASE)
_FORMER = re.compile(r".*(\.old|\.bak|\.orig|\.save|~|[.-]\d+)", re.IGNORECASE)
# What other programs keep keys and revocations in, by how it begins.
_STRANGE = {
    b"SQLite format 3\0": "is a database, as XCA has one: export certificates, keys and CRL from it, and name those",
    b"\xfe\xed\xfe\xed": "is a Java keystore: convert it with `keytool -importkeystore`, and name the .p12",
    b"Bdgr": "is a database, as step-ca has one: revocations that are only in there are not known here",
    b"PuTTY-User-Key-File": "is a key of PuTTY, which no CA has",
}
_LINK_TO_FOLDER = "is a link to a folder, which is not followed; name it too"
_LINK_TO_NOWHERE = "is a link that leads nowhere"
_HIDDEN_PEM = (
    (b"LS0tLS1CRUdJTi", "holds PEM in base64, as config.xml of pfSense and OPNsense: export CA, key and CRL there"),
    (b"-\0-\0-\0-\0-\0B\0E\0G\0I\0N", "is text in UTF-16: save it as UTF-8 or ASCII"),
)


def silent(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


class FoundCertificate(NamedTuple):
    """A certificate, and all the files that it is in."""

    certificate: x509.Certificate
    paths: list[str]


@dataclass(frozen=True)
class LockedKey:
    """A private key that needs a passphrase."""

    path: str
    pem: bytes


@dataclass
class Findings:
    """All that was found; ``keys`` by their public key (SubjectPublicKeyInfo in DER), ``skipped`` says why by path.

    ``counters`` are files in which openssl counts serial or CRL numbers.
    """

    certificates: dict[bytes, FoundCertificate] = field(default_factory=dict)
    keys: dict[bytes, tuple[PrivateKey, str]] = field(default_factory=dict)
    locked: list[LockedKey] = field(default_factory=list)
    crls: list[tuple[Crl, str]] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    counters: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    noted: int = 0

    def add_certificate(self, certificate: x509.Certificate, path: str, der: bytes | None = None) -> None:
        """Note a certificate, of which the DER may be at hand; one that is there twice counts once."""
        self.noted += 1
        if der is None:
            der = certificate.public_bytes(serialization.Encoding.DER)
        known = self.certificates.get(der)
        if known is None:
            self.certificates[der] = FoundCertificate(certificate, [path])
        elif path not in known.paths:
            known.paths.append(path)

    def add_key(self, key: PrivateKeyTypes, path: str) -> None:
        """Note a private key; one of a kind that is not supported is skipped."""
        try:
            supported = keys.supported(key, path)
        except MtlsError:
            self.skipped[path] = f"the key is not an RSA, ECDSA or Ed25519 key, but {keys.kind_of(key)}"
        else:
            self.noted += 1
            self.keys.setdefault(keys.public_der(supported.public_key()), (supported, path))

    def add_crls(self, found: Iterable[Crl], path: str) -> None:
        """Note CRLs."""
        for crl in found:
            self.noted += 1
            self.crls.append((crl, path))

    def add_locked(self, pem: bytes, path: str) -> None:
        """Note a private key that needs a passphrase."""
        self.noted += 1
        self.locked.append(LockedKey(path, pem))

    def unlock(self, passphrase: str) -> None:
        """Open those of the locked keys that the passphrase opens."""
        secret = keys.check_passphrase(passphrase, "source_passphrase")
        for locked in list(self.locked):
            try:
                self.add_key(serialization.load_pem_private_key(locked.pem, secret), locked.path)
            except _UNREADABLE:
                continue
            self.locked.remove(locked)


def is_former(path: str) -> bool:
    """Tell whether a file is, by its name, what openssl or a person kept of an earlier state."""
    return _FORMER.fullmatch(os.path.basename(path)) is not None


def search(paths: Iterable[str], passphrase: str | None, tell: Tell = silent) -> Findings:
    """Read all files at and below ``paths``; the passphrase is for PKCS #12 files. ``tell`` is told how far it is.

    :raises MtlsError: a path that is not there, or a file among ``paths`` that holds nothing of an authority.
    """
    found = Findings()
    tops = []
    for top in paths:
        if os.path.islink(top) and not os.path.exists(top):
            raise MtlsError(f"{top}: is a symbolic link that leads nowhere; correct it, or name another path")
        if not os.path.exists(top):
            raise MtlsError(f"{top}: there is no such file or directory on the controller; check the path")
        tops.append((top, list(_files_below(top, found))))
    total, done = sum(len(below) for _top, below in tops), 0
    for top, below in tops:
        before = found.noted
        for path in below:
            _read(path, passphrase, found)
            done += 1
            if done % _TOLD_AFTER == 0:
                tell("files read", done, total)
        if os.path.isfile(top) and found.noted == before:
            why = found.skipped.get(top, "holds no certificate, key, CRL or record")
            raise MtlsError(f"{top}: {why}; correct it, or leave it out of source")
    return found


def _files_below(top: str, found: Findings) -> Iterator[str]:
    """Yield the regular files, each folder's before those of the folders in it; links to folders are not followed."""
    if os.path.isfile(top):
        yield top
        return
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            found.skipped[folder] = f"cannot be searched ({(error.strerror or str(error)).lower()})"
            continue
        below = []
        for entry in inside:
            if entry.is_symlink() and not os.path.isfile(entry.path):
                found.skipped[entry.path] = _LINK_TO_FOLDER if os.path.isdir(entry.path) else _LINK_TO_NOWHERE
            elif entry.is_dir():
                below.append(entry.path)
            elif entry.is_file():
                yield entry.path
        waiting += reversed(below)


def _read(path: str, passphrase: str | None, found: Findings) -> None:
    with open(path, "rb") as stream:
        if os.fstat(stream.fileno()).st_size > _LARGEST:
            found.skipped[path] = f"has more than {_LARGEST >> 20} MB; take out what does not belong there"
            return
        data = stream.read()
    name = os.path.basename(path)
    try:
        if _PEM_BEGIN in data:
            _read_pem(data, path, found)
        elif name == "index.txt" or _RECORD.match(data):
            found.records.append(path)
            found.noted += 1
        elif _COUNTER.fullmatch(name) and not is_former(path):
            found.counters.append(path)
            found.noted += 1
        elif data[:1] == b"\x30":
            _read_der(data, path, passphrase, found)
        elif _BARE_BASE64.fullmatch(data):  # as cfssl writes CRLs
            _read_der(base64.b64decode(data), path, passphrase, found)
        else:
            _judge_other(data, path, found)
    except _UNREADABLE as error:
        found.skipped[path] = f"is damaged or of an unknown kind ({str(error)[:80]})"


def _judge_other(data: bytes, path: str, found: Findings) -> None:
    """Say of a file what it is, if it may hold a key or a revocation in a form that is not read."""
    for beginning, why in _STRANGE.items():
        if data.startswith(beginning):
            found.skipped[path] = why
    for part, why in _HIDDEN_PEM:
        if part in data:
            found.skipped[path] = why
    if _RECORD_WITHOUT_TABS.match(data):
        found.skipped[path] = "looks like a record of `openssl ca` whose tabs have become spaces; take the original"


def _read_pem(data: bytes, path: str, found: Findings) -> None:
    if b"\\n" in data:  # PEM in JSON, as cfssl writes it
        data = data.replace(b"\\n", b"\n")
    data = data.replace(b"\r\n", b"\n")
    blocks = list(crls.PEM_BLOCK.finditer(data))
    if len(blocks) != data.count(_PEM_BEGIN):
        found.skipped[path] = "is damaged: a PEM block in it has no end"
    for block in blocks:
        _read_block(block[1].decode(), block[0], path, found)


def _read_block(kind: str, pem: bytes, path: str, found: Findings) -> None:
    if kind in ("CERTIFICATE", "X509 CERTIFICATE"):
        der = crls.decode_pem(pem)
        found.add_certificate(x509.load_der_x509_certificate(der), path, der)
    elif kind == "TRUSTED CERTIFICATE":
        found.skipped[path] = f"is a {kind}; convert it with `openssl x509`"
    elif kind == "X509 CRL":
        found.add_crls(crls.parse_crls(pem, path), path)
    elif kind in ("PKCS7", "CMS"):
        for certificate in pkcs7.load_der_pkcs7_certificates(crls.decode_pem(pem)):
            found.add_certificate(certificate, path)
    elif kind.endswith("PRIVATE KEY"):
        if keys.is_encrypted(pem):
            found.add_locked(pem, path)
        else:
            found.add_key(serialization.load_pem_private_key(pem, None), path)
    elif not _OF_NO_USE.fullmatch(kind):
        found.skipped[path] = f"has a {kind}, which is not read"


def _read_der(data: bytes, path: str, passphrase: str | None, found: Findings) -> None:
    """Note what the DER is; raises what its readers raise when it is nothing that they know."""
    header = 2 + (data[1] & 0x7F if data[1] > 0x80 else 0)
    if data[header : header + 3] == b"\x02\x01\x03":  # PFX of RFC 7292, version 3
        _read_pkcs12(data, path, passphrase, found)
        return
    with contextlib.suppress(ValueError):
        found.add_certificate(x509.load_der_x509_certificate(data), path)
        return
    with contextlib.suppress(ValueError):
        found.add_crls([crls.Crl(data, x509.load_der_x509_crl(data))], path)
        return
    with contextlib.suppress(ValueError):
        x509.load_der_x509_csr(data)
        return  # of no use
    with contextlib.suppress(ValueError):
        for certificate in pkcs7.load_der_pkcs7_certificates(data):
            found.add_certificate(certificate, path)
        return
    try:
        found.add_key(serialization.load_der_private_key(data, None), path)
    except TypeError:
        text = base64.encodebytes(data)
        found.add_locked(_ENCRYPTED_KEY % text, path)


def _read_pkcs12(data: bytes, path: str, passphrase: str | None, found: Findings) -> None:
    for password in [passphrase.encode() if passphrase else None, b""]:
        with contextlib.suppress(ValueError):
            content = pkcs12.load_pkcs12(data, password)
            break
    else:
        found.skipped[path] = (
            "source_passphrase does not open it, or it is damaged; give the password it was exported with"
        )
        return
    for part in filter(None, [content.cert, *content.additional_certs]):
        found.add_certificate(part.certificate, path)
    if content.key is not None:
        found.add_key(content.key, path)
