# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the private key of an authority in a directory is: in a file of it, or in a token (``pkcs11.py``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

if TYPE_CHECKING:
    from cryptography import x509

PASSPHRASE_REMEDY = "set mtls_ca_passphrase (the option ca_passphrase, or passphrase of mtls.nginx.ca_init)"


class CaKey(Protocol):
    """Keeps an authority's private key; each method raises MtlsError for what a user can put right."""

    name: str  # in lists of what was added
    where: str  # at the beginning of errors
    lost: str  # what to do when it is gone
    mismatch: str  # what to do when it is another certificate's
    survives_fork: bool  # whether forked processes can sign with it
    warnings: list[str]

    def exists(self) -> bool:
        """Tell whether there is a key."""

    def create(self, kind: keys.KeyKind) -> keys.PrivateKey:
        """Make the key where there is none."""

    def load(self) -> keys.PrivateKey:
        """Return the key, or what signs with it."""

    def protected(self) -> bool:
        """Tell whether the key is of no use to somebody who can read the authority's directory, and nothing else."""


class KeyFile:
    """Implements CaKey: PKCS #8 in PEM, encrypted when there is a passphrase."""

    survives_fork = True
    lost = "restore it from a backup"
    mismatch = "restore the two files that belong together"

    def __init__(self, path: str, passphrase: str | None) -> None:
        self.name = os.path.basename(path)
        self.where = path
        self.warnings: list[str] = []
        self._passphrase = passphrase

    def exists(self) -> bool:
        """Tell whether the file is there."""
        return os.path.exists(self.where)

    def create(self, kind: keys.KeyKind) -> keys.PrivateKey:
        """Make a key and save it."""
        key = keys.new_key(kind)
        keys.save_new_key(self.where, key, self._passphrase)
        return key

    def load(self) -> keys.PrivateKey:
        """Return the key in the file."""
        encrypted = keys.is_encrypted_file(self.where)
        if encrypted and not self._passphrase:
            raise MtlsError(f"{self.where}: the key is encrypted and no passphrase was given; {PASSPHRASE_REMEDY}")
        key = keys.load_key(self.where, self._passphrase, validate=False)
        self.warnings = []
        if self._passphrase and not encrypted:
            self.warnings.append(
                f"{self.where}: is stored unencrypted although a passphrase is set; encrypt it with "
                "`openssl pkey -aes256 -in ca.key -out new.key` and put new.key in its place"
            )
        if keys.readable_by_others(os.stat(self.where)):
            self.warnings.append(f"{self.where}: can be read by others; run `chmod 600` on it")
        return key

    def protected(self) -> bool:
        """Tell whether the file is, or would be, encrypted."""
        return keys.is_encrypted_file(self.where) if self.exists() else bool(self._passphrase)


def load_for(ca_key: CaKey, chain: Sequence[x509.Certificate], path: str) -> keys.PrivateKey:
    """Return the key of the first of the CA certificates in ``path``.

    :raises MtlsError: it is gone, cannot be used, or is another certificate's.
    """
    check_exists(ca_key)
    key = ca_key.load()
    public = keys.public_der(key.public_key())
    holders = [keys.public_der(certificate.public_key()) == public for certificate in chain]
    if not any(holders):
        raise MtlsError(f"{ca_key.where}: is not the key of {path}; {ca_key.mismatch}")
    if not holders[0]:
        raise MtlsError(f"{path}: does not begin with the certificate of the issuing CA; put it first, the root last")
    return key


def check_exists(ca_key: CaKey) -> None:
    """Raise MtlsError when the key of an authority that exists is not there."""
    if not ca_key.exists():
        raise MtlsError(f"{ca_key.where}: is missing, and nothing can be signed without it; {ca_key.lost}")


def check_belongs(key: keys.PrivateKey, certificate: x509.Certificate, key_path: str, path: str) -> None:
    """Raise MtlsError unless ``key``, of the file ``key_path``, is that of the authority's certificate in ``path``."""
    if keys.public_der(key.public_key()) != keys.public_der(certificate.public_key()):
        raise MtlsError(f"{key_path}: is not the key of {path}; restore the two files that belong together")
