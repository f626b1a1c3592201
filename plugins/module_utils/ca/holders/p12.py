# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PKCS #12 files (RFC 7292): key, certificate and chain in the one file that devices import.

``compatible`` is 3DES with SHA-1, what iOS, macOS, Windows and Android of the last ten years take; where a
device does not know an encoding it says "wrong password". ``modern`` is AES-256 with SHA-256.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.serialization import pkcs12
except ImportError:  # reported by entry.require_cryptography
    pass

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.keys import PrivateKey

COMPATIBLE, MODERN, NONE = "compatible", "modern", "none"

# The MAC is always derived with 2,048 rounds and can be attacked first: more rounds here would only cost time.
_ROUNDS = 2048
_3DES = bytes.fromhex("060a2a864886f70d010c0103")  # pbeWithSHA1And3-KeyTripleDES-CBC
_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # no 0, o, 1, l, i: a password is copied by eye to a phone


def new_password() -> str:
    """Return a random password of 118 bits, in groups that can be typed: ``k7wq-...``."""
    number, letters = secrets.randbelow(len(_LETTERS) ** 24), []
    for _letter in range(24):
        number, letter = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[letter])
    return "-".join("".join(letters[start : start + 4]) for start in range(0, 24, 4))


def is_generated(password: str) -> bool:
    """Tell whether a password is one that ``new_password`` makes."""
    return re.fullmatch(rf"[{_LETTERS}]{{4}}(?:-[{_LETTERS}]{{4}}){{5}}", password) is not None


def check_password(password: str, owner: str) -> None:
    """Raise MtlsError for a password that some devices cannot take."""
    if not password:
        raise MtlsError(f"{owner}: the p12_password is empty, which macOS refuses; give one, or leave it out")
    if not is_ascii(password):
        raise MtlsError(f"{owner}: the p12_password is not ASCII, which Java reads otherwise; use ASCII only")


def is_ascii(password: str) -> bool:
    """Tell whether every device reads a password as the same bytes."""
    return all(" " <= letter <= "~" for letter in password)


def pack(
    name: str,
    key: PrivateKey,
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    password: str,
    kind: str,
) -> bytes:
    """Return a PKCS #12 file; ``name`` is what the device shows as its name."""
    builder = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(_ROUNDS)
    if kind == COMPATIBLE:
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())
    else:
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA256())
    protection = builder.build(password.encode("ascii"))
    return pkcs12.serialize_key_and_certificates(_friendly_name(name), key, certificate, list(chain), protection)


def _friendly_name(name: str) -> bytes:
    """Return a name that fits into the BMPString it is stored in: two bytes a character."""
    return "".join(letter if letter <= "\uffff" else "\ufffd" for letter in name).encode()


def is_kind(data: bytes, kind: str) -> bool:
    """Tell by its algorithms, which need no password, whether a PKCS #12 file is of this kind."""
    wanted, other = (_3DES, _PBES2) if kind == COMPATIBLE else (_PBES2, _3DES)
    return wanted in data and other not in data


def key_in(data: bytes, password: str) -> PrivateKeyTypes | None:
    """Return the private key in a PKCS #12 file, of whatever kind, or None when the password does not open it."""
    try:
        return pkcs12.load_pkcs12(data, password.encode("ascii")).key
    except ValueError:
        return None


def holds(
    data: bytes,
    name: str,
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    password: str,
    kind: str,
) -> bool:
    """Tell whether a PKCS #12 file is what ``pack`` would make: the bytes always differ, the content need not."""
    if not is_kind(data, kind):
        return False
    try:
        content = pkcs12.load_pkcs12(data, password.encode("ascii"))
    except ValueError:
        return False
    return (
        content.cert is not None
        and content.cert.certificate == certificate
        and content.cert.friendly_name == _friendly_name(name)
        and content.key is not None
        and content.key.public_key() == certificate.public_key()
        and {extra.certificate for extra in content.additional_certs} == set(chain)
    )
