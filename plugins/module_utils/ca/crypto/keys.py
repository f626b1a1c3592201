# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private keys: made, saved once and never overwritten, loaded with errors in clear words."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from ansible_collections.mtls.nginx.plugins.module_utils.common import der, files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
except ImportError:  # reported by entry.require_cryptography
    pass

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes

    PrivateKey = Union[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey]
    PublicKey = Union[rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey]
    AnyPublicKey = Union[CertificatePublicKeyTypes, PublicKeyTypes]

SMALLEST_RSA = 2048
LARGEST_RSA = 16384  # openssl verifies nothing larger
SHORT_PASSPHRASE = 12  # characters: what is shorter can be tried out by whoever has the file
_LONGEST_PASSPHRASE = 1023  # bytes, openssl's limit
CURVES = ("P-256", "P-384")
RSA, ECDSA, ED25519 = "rsa", "ecdsa", "ed25519"
TYPES = (RSA, ECDSA, ED25519)
SERVER_TYPES = (RSA, ECDSA)  # browsers take no Ed25519 key of a server
# Of the older form of encrypted keys (RFC 1421), those that `cryptography` opens.
_CIPHERS = {b"DES-EDE3-CBC", b"AES-128-CBC", b"AES-192-CBC", b"AES-256-CBC"}
_CURVES_TAKEN = {"secp256r1", "secp384r1", "secp521r1"}


@dataclass(frozen=True)
class KeyKind:
    """What key to make: ``rsa`` with ``size`` bits, ``ecdsa`` on ``curve``, or ``ed25519``."""

    type: str
    size: int = 2048
    curve: str = "P-256"


def new_key(kind: KeyKind) -> PrivateKey:
    """Return a new private key."""
    if kind.type == RSA:
        return rsa.generate_private_key(65537, kind.size)
    if kind.type == ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP384R1() if kind.curve == "P-384" else ec.SECP256R1())


def save_new_key(path: str, key: PrivateKey, passphrase: str | None = None) -> None:
    """Write ``key`` to a new file with mode 0600: PKCS #8 PEM, encrypted when there is a passphrase.

    :raises FileExistsError: there is a file already; it stays as it is.
    """
    files.create_file(path, encoded(key, passphrase, path), 0o600)


def encoded(key: PrivateKey, passphrase: str | None, path: str) -> bytes:
    """Return ``key`` for the file ``path``: PKCS #8 PEM, encrypted when there is a passphrase.

    :raises MtlsError: a passphrase that cannot be.
    """
    protection = (
        serialization.BestAvailableEncryption(check_passphrase(passphrase, path))
        if passphrase
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def load_key(path: str, passphrase: str | None = None, *, validate: bool = True) -> PrivateKey:
    """Load a private key; the passphrase is ignored when the key is stored in clear.

    With ``validate=False`` the arithmetic of an RSA key is not checked, which takes most of the time: for keys
    that are compared with a certificate's public key anyway.

    :raises MtlsError: unreadable, of another kind than ``TYPES``, or a passphrase that is wrong or missing.
    """
    with open(path, "rb") as stream:
        data = stream.read()
    encrypted = is_encrypted(data)
    if encrypted and not passphrase:
        raise MtlsError(f"{path}: the key is encrypted and no passphrase was given; give the passphrase")
    try:
        key = serialization.load_pem_private_key(
            data,
            check_passphrase(passphrase, path) if encrypted and passphrase else None,
            unsafe_skip_rsa_key_validation=not validate,
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        unsupported = unsupported_cipher(data)
        if unsupported is not None:
            raise MtlsError(f"{path}: {unsupported}") from error
        if encrypted:
            raise MtlsError(f"{path}: the passphrase is wrong, or the file is damaged; give the right one") from error
        raise MtlsError(f"{path}: holds no private key in PEM; restore it from a backup, or move it away") from error
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        raise MtlsError(f"{path}: is not an RSA, ECDSA or Ed25519 key, but {kind_of(key)}; move it away")
    return key


def check_passphrase(passphrase: str, path: str) -> bytes:
    """Return the passphrase as openssl takes it; raises MtlsError for one that cannot be."""
    try:
        secret = passphrase.encode()
    except UnicodeEncodeError:
        raise MtlsError(f"{path}: the passphrase is not text in UTF-8; give another one") from None
    if len(secret) > _LONGEST_PASSPHRASE:
        raise MtlsError(
            f"{path}: the passphrase has {len(secret)} bytes, and at most {_LONGEST_PASSPHRASE} are possible; "
            "shorten it"
        )
    return secret


def is_encrypted(pem: bytes) -> bool:
    """Tell whether a PEM key needs a passphrase, in PKCS #8 or in openssl's older form."""
    return b"ENCRYPTED" in pem


def unsupported_cipher(pem: bytes) -> str | None:
    """Return what to say of a PEM key that no passphrase opens here, or None."""
    found = re.search(rb"DEK-Info: ([A-Z0-9-]+)", pem)
    if found is None or found[1] in _CIPHERS:
        return None
    return (
        f"is encrypted with {found[1].decode()}, and this cipher is not supported; "
        "convert it with `openssl pkey -aes256 -provider legacy -provider default`"
    )


def is_encrypted_file(path: str) -> bool:
    """Tell whether the key in a PEM file needs a passphrase."""
    with open(path, "rb") as stream:
        return is_encrypted(stream.read())


def key_type(public_key: object) -> str | None:
    """Return one of ``TYPES``, or None for any other kind."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return RSA
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return ED25519
    return ECDSA if isinstance(public_key, ec.EllipticCurvePublicKey) else None


def kind_of(key: object) -> str:
    """Return what a key of a kind that is not supported is called, for messages: ``Ed448``."""
    return type(key).__name__.lstrip("_").removesuffix("PrivateKey").removesuffix("PublicKey")


def check_strength(public_key: object, owner: str) -> None:
    """Raise MtlsError when a key is too weak, or of a kind that nginx hosts and devices do not share."""
    if isinstance(public_key, rsa.RSAPublicKey):
        if public_key.key_size < SMALLEST_RSA:
            raise MtlsError(
                f"{owner}: the RSA key has {public_key.key_size} bits; make one with at least {SMALLEST_RSA}"
            )
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        if public_key.curve.name not in _CURVES_TAKEN:
            raise MtlsError(f"{owner}: the key is on curve {public_key.curve.name}; make one on P-256 or P-384")
    elif not isinstance(public_key, ed25519.Ed25519PublicKey):
        raise MtlsError(
            f"{owner}: the key is not an RSA, ECDSA or Ed25519 key, but {kind_of(public_key)}; make one of these"
        )


def is_weak(public_key: object) -> bool:
    """Tell whether ``check_strength`` would raise."""
    try:
        check_strength(public_key, "")
    except MtlsError:
        return True
    return False


def supported(key: object, where: str) -> PrivateKey:
    """Return a private key of a kind that is supported; ``where`` it was read from begins the error.

    :raises MtlsError: it is of another kind.
    """
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        raise MtlsError(f"{where}: the key is not an RSA, ECDSA or Ed25519 key, but {kind_of(key)}; make one of these")
    return key


def public_der(public_key: AnyPublicKey) -> bytes:
    """Return the SubjectPublicKeyInfo, by which public keys are compared."""
    return public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_public_der(encoded_key: bytes) -> PublicKey:
    """Return what ``public_der`` has encoded.

    :raises TypeError: of another kind than ``TYPES``, which ``check_strength`` refuses.
    """
    public_key = serialization.load_der_public_key(encoded_key)
    if not isinstance(public_key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)):
        raise TypeError(f"a key of type {type(public_key).__name__}")
    return public_key


def load_private_der(encoded_key: bytes) -> PrivateKey:
    """Return a private key of PKCS #8 in DER that this collection has made.

    :raises TypeError: of another kind than ``TYPES``.
    """
    key = serialization.load_der_private_key(encoded_key, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        raise TypeError(f"a key of type {type(key).__name__}")
    return key


def signature_algorithm(key: PrivateKey | PublicKey) -> bytes:
    """Return the AlgorithmIdentifier, in DER, of what ``sign`` makes with this kind of key."""
    if isinstance(key, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)):
        return der.encode(der.SEQUENCE, der.oid("1.2.840.10045.4.3.2"))  # ecdsa-with-SHA256, RFC 5758
    if isinstance(key, (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey)):
        return der.encode(der.SEQUENCE, der.oid("1.3.101.112"))  # RFC 8410
    return der.encode(der.SEQUENCE, der.oid("1.2.840.113549.1.1.11") + b"\x05\x00")  # RFC 4055


def digest_for(key: PrivateKey) -> hashes.SHA256 | None:
    """Return the digest that this kind of key signs with; Ed25519 has its own (RFC 8032)."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def sign(key: PrivateKey, data: bytes) -> bytes:
    """Return the signature of ``data``, with what ``digest_for`` says."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hashes.SHA256()))
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def verify(
    key: object, signature: bytes, data: bytes, digest: hashes.HashAlgorithm | None, scheme: object = None
) -> None:
    """Check a signature with a digest that ``cryptography`` takes no more for certificates, CRLs or names.

    :arg scheme: the padding of an RSA signature, where it may be PSS.
    :raises InvalidSignature: it is not by this key.
    """
    if isinstance(key, rsa.RSAPublicKey) and digest is not None:
        how = scheme if isinstance(scheme, padding.PSS) else padding.PKCS1v15()
        key.verify(signature, data, how, digest)
    elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
        key.verify(signature, data, ec.ECDSA(digest))
    elif isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        key.verify(signature, data)
    else:
        raise InvalidSignature


def readable_by_others(status: os.stat_result) -> bool:
    """Tell whether a key file's permissions let anybody but its owner at it."""
    return bool(status.st_mode & 0o077)
