# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in somebody's folders: certificates, keys, CRLs and the records of openssl, known by their content.

Nothing is changed, and no layout is presupposed: easy-rsa's ``pki``, a directory of ``openssl ca`` and a folder of
PEM files are read alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, keys
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import pkcs12
except ImportError:  # reported by entry.require_cryptography
    pass

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.keys import PrivateKey

_LARGEST = 64 << 20  # bytes: a CRL of a million certificates has less
_PKCS12 = (".p12", ".pfx")
_DER = (".cer", ".crt", ".der")


@dataclass(frozen=True)
class LockedKey:
    """A private key that needs a passphrase."""

    path: str
    pem: bytes


@dataclass
class Findings:
    """All that was found; ``keys`` by their public key (SubjectPublicKeyInfo in DER), ``skipped`` says why by path."""

    certificates: dict[bytes, tuple[x509.Certificate, str]] = field(default_factory=dict)
    keys: dict[bytes, PrivateKey] = field(default_factory=dict)
    locked: list[LockedKey] = field(default_factory=list)
    crls: list[crls.Crl] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def add_certificate(self, certificate: x509.Certificate, path: str) -> None:
        """Note a certificate; one that is there twice counts once."""
        der = certificate.public_bytes(serialization.Encoding.DER)
        self.certificates.setdefault(der, (certificate, path))

    def add_key(self, key: PrivateKeyTypes, path: str) -> None:
        """Note a private key; one of a kind that is not supported is skipped."""
        try:
            supported = keys.supported(key, path)
        except MtlsError:
            self.skipped[path] = "the key is neither RSA nor ECDSA"
        else:
            self.keys.setdefault(keys.public_der(supported.public_key()), supported)

    def unlock(self, passphrase: str) -> None:
        """Open those of the locked keys that the passphrase opens."""
        secret = keys.check_passphrase(passphrase, "source_passphrase")
        for locked in list(self.locked):
            try:
                self.add_key(serialization.load_pem_private_key(locked.pem, secret), locked.path)
            except (ValueError, TypeError):
                continue
            self.locked.remove(locked)


def search(paths: Iterable[str], passphrase: str | None) -> Findings:
    """Read all files at and below ``paths``; the passphrase is for PKCS #12 files among ``paths`` themselves.

    :raises MtlsError: a path that is not there, or a PKCS #12 file that the passphrase does not open.
    """
    found = Findings()
    for top in paths:
        if not os.path.exists(top):
            raise MtlsError(f"{top}: there is no such file or directory on the controller; check the path")
        if os.path.isfile(top) and top.lower().endswith(_PKCS12):
            _read_pkcs12(top, passphrase, found)
            continue
        for path in _files_below(top):
            _read(path, found)
    return found


def _files_below(top: str) -> Iterator[str]:
    if os.path.isfile(top):
        yield top
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and os.path.getsize(path) <= _LARGEST:
                yield path


def _read(path: str, found: Findings) -> None:
    if os.path.basename(path) == "index.txt":
        found.indexes.append(path)
        return
    with open(path, "rb") as stream:
        data = stream.read()
    blocks = list(crls.PEM_BLOCK.finditer(data))
    try:
        for block in blocks:
            _read_block(block[1].decode(), block[0], path, found)
        if not blocks and data[:1] == b"\x30" and path.lower().endswith(_DER):
            found.add_certificate(x509.load_der_x509_certificate(data), path)
    except (MtlsError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        found.skipped[path] = f"is damaged or of an unknown kind ({str(error)[:80]})"


def _read_block(kind: str, pem: bytes, path: str, found: Findings) -> None:
    if kind in ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"):
        if kind != "CERTIFICATE":
            found.skipped[path] = f"is a {kind}; convert it with `openssl x509`"
            return
        found.add_certificate(x509.load_pem_x509_certificate(pem), path)
    elif kind == "X509 CRL":
        found.crls += crls.parse_crls(pem, path)
    elif kind.endswith("PRIVATE KEY"):
        if keys.is_encrypted(pem):
            found.locked.append(LockedKey(path, pem))
        else:
            found.add_key(serialization.load_pem_private_key(pem, None), path)


def _read_pkcs12(path: str, passphrase: str | None, found: Findings) -> None:
    with open(path, "rb") as stream:
        data = stream.read()
    try:
        content = pkcs12.load_pkcs12(data, (passphrase or "").encode() or None)
    except ValueError as error:
        raise MtlsError(
            f"{path}: source_passphrase does not open it, or it is damaged; give the password it was exported with"
        ) from error
    for part in filter(None, [content.cert, *content.additional_certs]):
        found.add_certificate(part.certificate, path)
    if content.key is not None:
        found.add_key(content.key, path)
