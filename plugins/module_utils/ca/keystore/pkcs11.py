# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An authority's private key in a PKCS#11 token: it is made there, signs there, and never leaves it.

Digests are computed here and the token signs them (CKM_RSA_PKCS, CKM_ECDSA): every token can, and a large CRL
does not have to go through its interface. A session does not survive fork(), so only the process that opened it
signs.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Union, cast

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
except ImportError:  # reported by entry.require_cryptography
    pass
try:
    import pkcs11
    from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, TokenFlag
    from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
except ImportError:  # reported by TokenKey; only those who have a token need it
    _AT_HAND = False
else:
    _AT_HAND = True
    _SIGN_ONLY = MechanismFlag.SIGN | MechanismFlag.VERIFY

if TYPE_CHECKING:
    TokenPublicKey = Union[rsa.RSAPublicKey, ec.EllipticCurvePublicKey]

PIN_VARIABLE = "MTLS_PKCS11_PIN"
_CURVES = {"P-256": "secp256r1", "P-384": "secp384r1"}
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # before the digest: RFC 8017, 9.2, note 1
_TRIAL = b"mtls.nginx asks whether this key signs"


class TokenKey:
    """Implements ca_key.CaKey. Logs in once, when the key is first needed."""

    survives_fork = False
    lost = "look with `pkcs11-tool --list-objects` whether the label is right, or restore the token from its backup"
    mismatch = "give the label of the key that belongs to it"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take the options ``pkcs11`` of the modules.

        :raises MtlsError: python-pkcs11 is missing.
        """
        if not _AT_HAND:
            raise MtlsError(
                f"token {settings['token']!r}: the Python of the controller ({sys.executable}) lacks python-pkcs11; "
                "install it with `python -m pip install python-pkcs11`"
            )
        self._library = settings["module"]
        self._label = settings["token"]
        self._key_label = settings["key"]
        self._pin = settings.get("pin")
        self._pin_file = settings.get("pin_file")
        self.warnings: list[str] = []
        self.where = f"key {self._key_label!r} in token {self._label!r}"
        self.name = f"pkcs11:token={self._label};object={self._key_label}"

    def exists(self) -> bool:
        """Tell whether the token has a private key of this label."""
        return self._private is not None

    def protected(self) -> bool:
        """Tell that the key is not in the authority's directory."""
        return True

    def create(self, kind: keys.KeyKind) -> keys.PrivateKey:
        """Make a key pair in the token, of which the private half is sensitive and cannot be extracted.

        It may only sign. Where the token makes no such pair (tpm2-pkcs11, whose TPM keys decrypt as well), it may
        decrypt too, and a warning says so. To be called after ``exists``, which logs in.
        """
        try:
            self._generate(kind, _SIGN_ONLY)
        except pkcs11.PKCS11Error:
            try:
                self._generate(kind, _SIGN_ONLY | MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT)
            except pkcs11.PKCS11Error as error:
                raise MtlsError(
                    f"{self.where}: the token does not make this key pair ({_said(error)}); {self._can_make()}; choose "
                    "with mtls_ca_key_type and mtls_ca_key_size, or make a pair with the token's own tools, under "
                    "this label"
                ) from error
            self.warnings.append(f"{self.where}: may decrypt too, because the token makes no key that only signs")
        del self.__dict__["_private"]
        return self.load()

    def _generate(self, kind: keys.KeyKind, capabilities: MechanismFlag) -> None:
        where = {
            "label": self._key_label,
            "id": secrets.token_bytes(8),
            "store": True,
            "capabilities": capabilities,
            "private_template": {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        }
        with self._token.open(rw=True) as session:  # the login counts for all sessions of a process
            if kind.type == "rsa":
                session.generate_keypair(KeyType.RSA, kind.size, **where)
            else:
                curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[kind.curve])}
                session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(**where)

    def _can_make(self) -> str:
        """Return what the token says of the keys that it makes (PKCS#11 v2.40, CK_MECHANISM_INFO)."""
        makes = []
        for name, mechanism in (("RSA", Mechanism.RSA_PKCS_KEY_PAIR_GEN), ("ECDSA", Mechanism.EC_KEY_PAIR_GEN)):
            try:
                of = self._token.slot.get_mechanism_info(mechanism)
            except pkcs11.PKCS11Error:  # it makes none
                continue
            makes.append(f"{name} of {of.min_key_length} to {of.max_key_length} bits")
        return f"it says that it makes {' and '.join(makes)}" if makes else "it says that it makes none"

    def load(self) -> keys.PrivateKey:
        """Return what signs with the key, after a first signature to see that it does.

        :raises MtlsError: it may not sign, is too weak, of another kind than RSA and ECDSA, or its public half is not
            there.
        """
        private = self._private
        public = self._public_key(private)
        keys.check_strength(public, self.where)
        if not _attribute(private, Attribute.SIGN):
            raise MtlsError(f"{self.where}: may not sign (CKA_SIGN is false); give the label of one that may")
        key = (
            RsaTokenKey(private, public, self.where)
            if isinstance(public, rsa.RSAPublicKey)
            else EcTokenKey(private, public, self.where)
        )
        key.check()
        return cast("keys.PrivateKey", key)  # registered as one, below

    def _public_key(self, private: Any) -> TokenPublicKey:
        """Return the public half. Only RSA's can be read from the private key itself."""
        kind = _attribute(private, Attribute.KEY_TYPE)
        if kind not in (KeyType.RSA, KeyType.EC):
            raise MtlsError(f"{self.where}: is neither an RSA nor an ECDSA key; give the label of one that is")
        identity = _attribute(private, Attribute.ID)
        halves = self._find(ObjectClass.PUBLIC_KEY, {Attribute.ID: identity}) if identity else []
        halves += self._find(ObjectClass.PUBLIC_KEY, {Attribute.LABEL: self._key_label})
        for half in [*halves, private]:
            if _attribute(half, Attribute.KEY_TYPE) != kind:
                continue
            try:
                return _rsa_public_key(half) if kind == KeyType.RSA else _ec_public_key(half)
            except (pkcs11.PKCS11Error, ValueError, UnsupportedAlgorithm):  # no such attribute, or an odd curve
                continue
        raise MtlsError(
            f"{self.where}: its public key is not in the token, or on a curve that is not supported; put it there "
            "under the same label"
        )

    @cached_property
    def _private(self) -> Any:
        found = self._find(ObjectClass.PRIVATE_KEY, {Attribute.LABEL: self._key_label})
        if len(found) > 1:
            raise MtlsError(f"{self.where}: there are {len(found)} private keys of this label; rename the others")
        return found[0] if found else None

    def _find(self, kind: Any, attributes: dict[Any, Any]) -> list[Any]:
        try:
            return list(self._session.get_objects({Attribute.CLASS: kind, **attributes}))
        except pkcs11.PKCS11Error as error:
            raise MtlsError(
                f"{self.where}: the token does not list its keys ({_said(error)}); check the token"
            ) from error

    @cached_property
    def _session(self) -> Any:
        """The one session of this run. A wrong PIN is tried once, and never when that would lock the token."""
        token, where = self._token, f"token {self._label!r}"
        if token.flags & TokenFlag.USER_PIN_LOCKED:
            raise _locked(where)
        if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
            raise MtlsError(
                f"{where}: one more wrong PIN would lock it, so this run does not try; log in once with its own tools"
            )
        if token.flags & TokenFlag.USER_PIN_COUNT_LOW:
            self.warnings.append(f"{where}: somebody has given a wrong PIN since the last login")
        pin = self._read_pin(where)
        try:
            return token.open(user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:
            return token.open()  # by another key of the same token
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
            raise MtlsError(
                f"{where}: the PIN is wrong; correct it before the next run, because a token locks itself after a few"
            ) from None
        except pkcs11.PinLocked:
            raise _locked(where) from None
        except pkcs11.PKCS11Error as error:
            raise MtlsError(f"{where}: refuses the login ({_said(error)}); check the token") from error

    @cached_property
    def _token(self) -> Any:
        present = []
        try:
            for slot in pkcs11.lib(self._library).get_slots(token_present=True):
                try:
                    present.append(slot.get_token())
                except pkcs11.PKCS11Error:  # something else that is plugged in
                    continue
        except pkcs11.PKCS11Error as error:
            raise MtlsError(
                f"PKCS#11 library {self._library}: cannot be used ({_said(error)}); correct module in mtls_ca_pkcs11, "
                "or the library's own configuration"
            ) from error
        found = [token for token in present if token.label == self._label]
        if len(found) > 1:
            raise MtlsError(f"token {self._label!r}: {len(found)} tokens have this label; rename the others")
        if not found:
            labels = sorted(repr(token.label) for token in present if token.flags & TokenFlag.TOKEN_INITIALIZED)
            there = f"there are {', '.join(labels)}" if labels else "there is no other either"
            raise MtlsError(f"token {self._label!r}: is not there, {there}; plug it in, or correct mtls_ca_pkcs11")
        return found[0]

    def _read_pin(self, where: str) -> str:
        if self._pin_file and not self._pin:
            with open(self._pin_file, encoding="utf-8", errors="replace") as stream:
                pin = stream.read().strip("\r\n")
            if keys.readable_by_others(os.stat(self._pin_file)):
                self.warnings.append(f"{self._pin_file}: can be read by others; run `chmod 600` on it")
        else:
            pin = self._pin or os.environ.get(PIN_VARIABLE, "")
        if not pin:
            raise MtlsError(
                f"{where}: there is no PIN; set pin or pin_file in mtls_ca_pkcs11, or {PIN_VARIABLE} in the environment"
            )
        return pin


class _SigningKey:
    """Part of what both kinds share; ``cryptography`` takes it for a private key."""

    def __init__(self, private: Any, public: TokenPublicKey, where: str) -> None:
        self._private = private
        self._public = public
        self._where = where

    def public_key(self) -> TokenPublicKey:
        """Return the public half."""
        return self._public

    @property
    def key_size(self) -> int:
        """The bits of the key."""
        return self._public.key_size

    def _ask(self, digest: bytes, mechanism: Any) -> bytes:
        try:
            signature: bytes = self._private.sign(digest, mechanism=mechanism)
        except pkcs11.PKCS11Error as error:
            raise MtlsError(
                f"{self._where}: the token does not sign with {mechanism.name} ({_said(error)}); check the token and "
                "run again: what was done is kept"
            ) from error
        return signature

    def _refute(self) -> None:
        raise MtlsError(
            f"{self._where}: what it signs does not fit the public key in the token; remove the wrong one of the two"
        )


class RsaTokenKey(_SigningKey):
    """Implements as much of rsa.RSAPrivateKey as signing needs."""

    _public: rsa.RSAPublicKey

    def sign(self, data: bytes, scheme: padding.AsymmetricPadding, algorithm: hashes.HashAlgorithm) -> bytes:
        """Return a signature of PKCS #1 v1.5 with SHA-256 (RFC 8017, 8.2), the only one that the authority makes."""
        if not (isinstance(scheme, padding.PKCS1v15) and isinstance(algorithm, hashes.SHA256)):
            raise NotImplementedError(f"{scheme.name} with {algorithm.name}")
        return self._ask(_SHA256_INFO + _digest(data, algorithm), Mechanism.RSA_PKCS)

    def check(self) -> None:
        """Raise MtlsError unless the token signs with it, and so that its public half agrees."""
        signature = self.sign(_TRIAL, padding.PKCS1v15(), hashes.SHA256())
        try:
            self._public.verify(signature, _TRIAL, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            self._refute()


class EcTokenKey(_SigningKey):
    """Implements as much of ec.EllipticCurvePrivateKey as signing needs."""

    _public: ec.EllipticCurvePublicKey

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve of the key."""
        return self._public.curve

    def sign(self, data: bytes, signature_algorithm: ec.ECDSA) -> bytes:
        """Return a signature as X.509 has it: the token answers r and s side by side (PKCS#11 v2.40, 2.3.1)."""
        algorithm = signature_algorithm.algorithm
        if not isinstance(algorithm, hashes.HashAlgorithm):
            raise NotImplementedError("a digest made elsewhere")
        raw = self._ask(_digest(data, algorithm), Mechanism.ECDSA)
        half = len(raw) // 2
        return utils.encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

    def check(self) -> None:
        """Raise MtlsError unless the token signs with it, and so that its public half agrees."""
        signature = self.sign(_TRIAL, ec.ECDSA(hashes.SHA256()))
        try:
            self._public.verify(signature, _TRIAL, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            self._refute()


try:
    rsa.RSAPrivateKey.register(RsaTokenKey)
    ec.EllipticCurvePrivateKey.register(EcTokenKey)
except NameError:  # without cryptography, which entry.require_cryptography reports
    pass


def _digest(data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def _rsa_public_key(item: Any) -> rsa.RSAPublicKey:
    exponent, modulus = (int.from_bytes(item[name], "big") for name in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _ec_public_key(item: Any) -> ec.EllipticCurvePublicKey:
    return cast("ec.EllipticCurvePublicKey", serialization.load_der_public_key(encode_ec_public_key(item)))


def _attribute(item: Any, attribute: Any) -> Any:
    """Return an attribute of an object in the token, or None when it has none such."""
    try:
        return item[attribute]
    except (pkcs11.PKCS11Error, ValueError):
        return None


def _locked(where: str) -> MtlsError:
    return MtlsError(f"{where}: is locked after too many wrong PINs; unlock it with its security officer's PIN")


def _said(error: Exception) -> str:
    """Return what a library's error says: its name, for most have no text. No PIN is ever in it."""
    return " ".join([type(error).__name__, *map(str, error.args)])
