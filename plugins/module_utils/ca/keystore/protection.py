# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The passphrase of the authority's key: changed, given to a key in clear, taken away on demand."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError


@dataclass(frozen=True)
class Protection:
    """How a key should be stored: encrypted with ``passphrase``, or in clear with ``decrypt``.

    ``old_passphrase`` opens it where ``passphrase`` does not yet.
    """

    passphrase: str | None
    old_passphrase: str | None = None
    decrypt: bool = False


@dataclass(frozen=True)
class Change:
    """What is to be done to a key file: ``pem`` is its new content, ``opened_by`` what opens the old one."""

    what: str
    pem: bytes
    opened_by: str | None


def judge(path: str, wanted: Protection) -> Change | None:
    """Return what has to change, or None when the key file is as it should be.

    :raises MtlsError: no passphrase that was given opens the key.
    """
    if not keys.is_encrypted_file(path):
        if wanted.decrypt or not wanted.passphrase:
            return None
        return _change(path, "encrypted", None, wanted.passphrase)
    opened_by = _opening(path, wanted)
    if wanted.decrypt:
        return _change(path, "decrypted", opened_by, None)
    if not wanted.passphrase:
        raise MtlsError(f"{path}: the old passphrase was given, but no new one; give the new passphrase")
    return _change(path, "passphrase changed", opened_by, wanted.passphrase) if opened_by != wanted.passphrase else None


def replace(path: str, change: Change) -> None:
    """Put the key file in place, 0600 from its first byte; killed anywhere, one of the two files is there, whole."""
    files.write_file(path, change.pem, 0o600)


def _opening(path: str, wanted: Protection) -> str:
    given = [text for text in (wanted.passphrase, wanted.old_passphrase) if text]
    for number, passphrase in enumerate(given, 1):
        try:
            keys.load_key(path, passphrase, validate=False)
            return passphrase
        except MtlsError:
            if len(given) == 1:
                raise
            if number == len(given):
                raise MtlsError(
                    f"{path}: neither the passphrase nor the old one opens the key, or the file is damaged; give the "
                    "right one"
                ) from None
    raise MtlsError(f"{path}: the key is encrypted and no passphrase was given; set mtls_ca_passphrase")


def _change(path: str, what: str, opened_by: str | None, passphrase: str | None) -> Change:
    return Change(what, keys.encoded(keys.load_key(path, opened_by), passphrase, path), opened_by)
