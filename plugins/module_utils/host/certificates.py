# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates and CRLs in PEM, as far as a host has to understand them: names, dates, numbers.

Nothing is verified here. The controller does that before anything is sent, and nginx does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.common import der, times

_CERTIFICATE, _CRL = b"CERTIFICATE", b"X509 CRL"
_VERSION_TAG = _CRL_EXTENSIONS_TAG = 0xA0
_KEY_IDENTIFIER_TAG = 0x80
_TIMES = (der.UTC_TIME, der.GENERALIZED_TIME)
_CRL_NUMBER, _AUTHORITY_KEY_IDENTIFIER = "2.5.29.20", "2.5.29.35"
_SUBJECT_ALT_NAME = "2.5.29.17"
_CERTIFICATE_EXTENSIONS_TAG, _DNS_NAME_TAG, _IP_ADDRESS_TAG = 0xA3, 0x82, 0x87
_DELTA_CRL, _ISSUING_DISTRIBUTION_POINT = "2.5.29.27", "2.5.29.28"
# An OID of up to 63 octets, a BOOLEAN that is true, and the beginning of an OCTET STRING.
_MAY_BE_CRITICAL = re.compile(
    b"\x06(?:"
    + b"|".join(re.escape(bytes((size,))) + b".{%d}" % size for size in range(1, 64))
    + b")\x01\x01[^\x00]\x04",
    re.DOTALL,
)
_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----")
_PEM_LINE = 64  # characters
# reasonCode certificateHold, as DER has it (RFC 5280, 5.3.1)
_ON_HOLD = der.encode(der.OID, b"\x55\x1d\x15") + der.encode(der.OCTET_STRING, der.encode(der.ENUMERATED, b"\x06"))
_SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}
_ENCODINGS = {der.BMP_STRING: "utf-16-be", der.UNIVERSAL_STRING: "utf-32-be", der.T61_STRING: "latin-1"}


@dataclass(frozen=True)
class HostCertificate:
    """A certificate: subject (for display), SHA-256 of it and of its public key.

    ``begin`` and ``end`` are notBefore and notAfter in seconds since 1970.
    """

    subject: str
    fingerprint: str
    key: str
    begin: int
    end: int


@dataclass(frozen=True)
class HostCrl:
    """A CRL: issuer (for display), SHA-256 of that name in DER, and the issuer's key identifier (empty without one).

    ``number`` is None in version 1. ``begin`` and ``end`` are thisUpdate and nextUpdate in seconds since 1970, ``end``
    is None without one. ``content`` is SHA-256 of the signed part.
    """

    issuer: str
    name: str
    key_identifier: str
    number: int | None
    begin: int
    end: int | None
    content: str

    def is_of_the_issuer_of(self, other: HostCrl) -> bool:
        """Tell whether both are by one CA. Two CAs of the same name have different keys."""
        same_key = self.key_identifier == other.key_identifier or not (self.key_identifier and other.key_identifier)
        return self.name == other.name and same_key


@dataclass(frozen=True)
class Contents:
    """The certificates and CRLs of a PEM file, in its order."""

    certificates: tuple[HostCertificate, ...] = ()
    crls: tuple[HostCrl, ...] = ()

    def as_answer(self) -> dict[str, Any]:
        """Return the form in which a host reports it; CRL numbers (up to 20 octets) are hexadecimal text."""
        answer = asdict(self)
        for crl in answer["crls"]:
            crl["number"] = None if crl["number"] is None else f"{crl['number']:x}"
        return answer

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Contents:
        """Return what ``as_answer`` was made of.

        :raises KeyError, TypeError, ValueError: ``answer`` has another form.
        """
        crls = [
            {**each, "number": None if each["number"] is None else int(each["number"], 16)} for each in answer["crls"]
        ]
        return cls(
            tuple(HostCertificate(**each) for each in answer["certificates"]), tuple(HostCrl(**each) for each in crls)
        )


def read(pem: bytes) -> Contents:
    """Return the contents of a PEM file. A damaged block counts as missing: nginx rejects such a file."""
    certificates, crls = [], []
    for kind, encoded in _blocks(pem):
        try:
            if kind == _CRL:
                crls.append(_crl(encoded))
            else:
                certificates.append(_certificate(encoded))
        except (ValueError, IndexError, StopIteration):
            continue
    return Contents(tuple(certificates), tuple(crls))


def leaf(pem: bytes) -> tuple[HostCertificate, tuple[str, ...]] | None:
    """Return the first certificate of a PEM file, with its DNS names and IP addresses (RFC 5280, 4.2.1.6).

    That is the one nginx proves its name with. None where it is damaged, or there is none.
    """
    for kind, encoded in _blocks(pem):
        if kind == _CERTIFICATE:
            try:
                return _certificate(encoded), _alternative_names(encoded)
            except (ValueError, IndexError, StopIteration):
                return None
    return None


def _alternative_names(encoded: bytes) -> tuple[str, ...]:
    names = []
    for field in der.elements(_signed(encoded).content):
        if field.tag != _CERTIFICATE_EXTENSIONS_TAG:
            continue
        for extension in der.elements(next(der.elements(field.content)).content):
            oid, *_critical, value = der.elements(extension.content)
            if der.dotted(oid.content) != _SUBJECT_ALT_NAME:
                continue
            for name in der.elements(next(der.elements(value.content)).content):
                if name.tag == _DNS_NAME_TAG:
                    names.append(name.content.decode("ascii", "replace").lower())
                elif name.tag == _IP_ADDRESS_TAG:
                    names.append(str(ipaddress.ip_address(name.content)))
    return tuple(names)


def has_crl(pem: bytes) -> bool:
    """Tell whether a PEM file contains a CRL."""
    return b"-----BEGIN X509 CRL-----" in pem


def revoked(pem: bytes) -> list[tuple[HostCrl, dict[str, bool]]]:
    """Return the CRLs of a PEM file, each with its serials as nginx writes them, and whether each is on hold."""
    found = []
    for kind, encoded in _blocks(pem):
        if kind != _CRL:
            continue
        try:
            entries = {}
            for entry in der.elements(_CrlFields.of(encoded).revoked):
                serial = next(der.elements(entry.content)).content.lstrip(b"\0").hex().upper() or "00"
                entries[serial] = _ON_HOLD in entry.encoded
            found.append((_crl(encoded), entries))
        except (ValueError, IndexError, StopIteration):
            continue
    return found


@dataclass(frozen=True)
class Scope:
    """What a CRL covers, as far as its extensions say so (RFC 5280, 5.2 and 5.3).

    ``point`` is the issuingDistributionPoint in DER, empty without one. ``delta``: it lists changes only. ``critical``:
    OpenSSL refuses it for a critical extension, of the CRL or of an entry.
    """

    point: bytes
    delta: bool
    critical: bool


def scopes(pem: bytes) -> list[tuple[HostCrl, Scope]]:
    """Return the CRLs of a PEM file, each with its scope.

    :raises ValueError, IndexError, StopIteration: a block is damaged.
    """
    found = []
    for kind, encoded in _blocks(pem):
        if kind == _CRL:
            fields = _CrlFields.of(encoded)
            extensions = {oid: (critical, whole) for oid, critical, whole in _extensions(fields.extensions)}
            known = (_ISSUING_DISTRIBUTION_POINT, _AUTHORITY_KEY_IDENTIFIER, _DELTA_CRL)
            scope = Scope(
                extensions.get(_ISSUING_DISTRIBUTION_POINT, (False, b""))[1],
                _DELTA_CRL in extensions,
                any(critical for oid, (critical, _whole) in extensions.items() if oid not in known)
                or _has_critical_entry(fields.revoked),
            )
            found.append((_crl(encoded), scope))
    return found


def _extensions(content: bytes) -> Iterator[tuple[str, bool, bytes]]:
    """Yield OID, whether it is critical, and DER of each extension of a CRL."""
    for extension in (each for whole in der.elements(content) for each in der.elements(whole.content)):
        oid, *critical, _value = der.elements(extension.content)
        yield der.dotted(oid.content), bool(critical and critical[0].content != b"\0"), extension.encoded


def _has_critical_entry(revoked_list: bytes) -> bool:
    """Look at each entry only where the octets of an OID and a critical flag occur: a long CRL takes seconds."""
    if not _MAY_BE_CRITICAL.search(revoked_list):
        return False
    for entry in der.elements(revoked_list):
        _serial, _moment, *extensions = der.elements(entry.content)
        for extension in der.elements(extensions[0].content) if extensions else ():
            if any(part.tag == der.BOOLEAN and part.content != b"\0" for part in der.elements(extension.content)):
                return True
    return False


def pem_blocks(pem: bytes) -> list[tuple[str, bytes]]:
    """Return the type of each block of a PEM file, of any type, and the block anew, from what was decoded here.

    So nobody else reads something different out of odd text in it.

    :raises ValueError: one is damaged.
    """
    blocks = list(_PEM_BLOCK.finditer(pem))
    if len(blocks) != pem.count(b"-----BEGIN ") or len(blocks) != pem.count(b"-----END "):
        raise ValueError("a block is cut off")
    found = []
    for match in blocks:
        encoded = base64.b64encode(base64.b64decode(match[2].translate(None, b" \t\r\n"), validate=True))
        lines = [encoded[start : start + _PEM_LINE] for start in range(0, len(encoded), _PEM_LINE)]
        kind = match[1]
        text = b"\n".join([b"-----BEGIN " + kind + b"-----", *lines, b"-----END " + kind + b"-----", b""])
        found.append((kind.decode(), text))
    return found


def _blocks(pem: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and DER of each block that is a certificate or a CRL."""
    for part in pem.split(b"-----BEGIN ")[1:]:
        kind, _dashes, rest = part.partition(b"-----")
        text, ending, _rest = rest.partition(b"-----END " + kind + b"-----")
        if kind in (_CERTIFICATE, _CRL) and ending:
            try:
                yield kind, binascii.a2b_base64(text)
            except ValueError:
                continue


def _certificate(encoded: bytes) -> HostCertificate:
    """Return what a certificate in DER says.

    RFC 5280, 4.1: version (absent in version 1), serialNumber, signature, issuer, validity, subject, key.
    """
    fields = list(der.elements(_signed(encoded).content))
    validity, subject, key = fields[4:7] if fields[0].tag == _VERSION_TAG else fields[3:6]
    begin, end = der.elements(validity.content)
    return HostCertificate(
        _name(subject),
        hashlib.sha256(encoded).hexdigest(),
        hashlib.sha256(key.encoded).hexdigest(),
        _seconds(begin),
        _seconds(end),
    )


@dataclass(frozen=True)
class _CrlFields:
    """The fields of a CRL.

    RFC 5280, 5.1: version (absent in version 1), signature, issuer, thisUpdate, nextUpdate, the list, extensions.
    """

    signed: bytes
    issuer: der.Element
    begin: der.Element
    end: der.Element | None
    revoked: bytes
    extensions: bytes

    @classmethod
    def of(cls, encoded: bytes) -> _CrlFields:
        signed = _signed(encoded)
        fields = list(der.elements(signed.content))
        start = 2 if fields[0].tag == der.INTEGER else 1
        issuer, begin, *rest = fields[start:]
        end = next((field for field in rest[:1] if field.tag in _TIMES), None)
        entries = next((field.content for field in rest if field.tag == der.SEQUENCE), b"")
        extensions = next((field.content for field in rest if field.tag == _CRL_EXTENSIONS_TAG), b"")
        return cls(signed.encoded, issuer, begin, end, entries, extensions)


def _crl(encoded: bytes) -> HostCrl:
    fields = _CrlFields.of(encoded)
    number, key_identifier = None, ""
    for extension in der.elements(next(der.elements(fields.extensions)).content) if fields.extensions else ():
        oid, *_critical, value = der.elements(extension.content)
        if der.dotted(oid.content) == _CRL_NUMBER:
            number = int.from_bytes(next(der.elements(value.content)).content, "big")
        elif der.dotted(oid.content) == _AUTHORITY_KEY_IDENTIFIER:
            parts = der.elements(next(der.elements(value.content)).content)
            key_identifier = next((part.content.hex() for part in parts if part.tag == _KEY_IDENTIFIER_TAG), "")
    return HostCrl(
        _name(fields.issuer),
        hashlib.sha256(fields.issuer.encoded).hexdigest(),
        key_identifier,
        number,
        _seconds(fields.begin),
        _seconds(fields.end) if fields.end else None,
        hashlib.sha256(fields.signed).hexdigest(),
    )


def _signed(encoded: bytes) -> der.Element:
    """Return the signed part of a certificate or a CRL."""
    if der.whole_length(encoded) != len(encoded):
        raise ValueError("it is cut off, or something follows it")
    (whole,) = der.elements(encoded)
    return next(der.elements(whole.content))


def _name(name: der.Element) -> str:
    """Return a name for display, in the order of RFC 4514."""
    parts = []
    for together in der.elements(name.content):
        for attribute in der.elements(together.content):
            kind, value = der.elements(attribute.content)
            dotted = der.dotted(kind.content)
            text = value.content.decode(_ENCODINGS.get(value.tag, "utf-8"), "replace")
            parts.append(f"{_SHORT_NAMES.get(dotted, dotted)}={text}")
    return ",".join(reversed(parts))


def _seconds(time: der.Element) -> int:
    if time.tag not in _TIMES:
        raise ValueError("no date")
    return int(times.from_asn1(time.content.decode("ascii")).timestamp())
