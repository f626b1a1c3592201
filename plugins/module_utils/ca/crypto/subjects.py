# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subjects of certificates: from the inventory, and in the two spellings others write them.

nginx writes ``$ssl_client_s_dn`` as RFC 2253 with openssl's names (nginx fact 1.2), ``openssl ca`` writes
``index.txt`` as ``X509_NAME_oneline``. Both are made from the raw DER here, because ``rfc4514_string()`` of
``cryptography`` is neither.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Union

from ansible_collections.mtls.nginx.plugins.module_utils.common import der
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass

Subject = Mapping[str, Union[str, Sequence[str]]]


@dataclass(frozen=True)
class _Attribute:
    """What a subject may hold: where it is registered, how long it may be, which characters its type has."""

    oid: str
    longest: int
    letters: str = "utf8"


# Bounds: RFC 5280 appendix A.1; street and postalCode X.520 (2001).
_ATTRIBUTES = {
    "C": _Attribute("2.5.4.6", 2, "printable"),
    "ST": _Attribute("2.5.4.8", 128),
    "L": _Attribute("2.5.4.7", 128),
    "O": _Attribute("2.5.4.10", 64),
    "OU": _Attribute("2.5.4.11", 64),
    "CN": _Attribute("2.5.4.3", 64),
    "SN": _Attribute("2.5.4.4", 64),
    "GN": _Attribute("2.5.4.42", 64),
    "initials": _Attribute("2.5.4.43", 64),
    "generationQualifier": _Attribute("2.5.4.44", 64),
    "title": _Attribute("2.5.4.12", 64),
    "pseudonym": _Attribute("2.5.4.65", 128),
    "street": _Attribute("2.5.4.9", 128),
    "postalCode": _Attribute("2.5.4.17", 40),
    "organizationIdentifier": _Attribute("2.5.4.97", 64),
    "serialNumber": _Attribute("2.5.4.5", 64, "printable"),
    "dnQualifier": _Attribute("2.5.4.46", 64, "printable"),
    "UID": _Attribute("0.9.2342.19200300.100.1.1", 256),
    "DC": _Attribute("0.9.2342.19200300.100.1.25", 63, "ascii"),
    "emailAddress": _Attribute("1.2.840.113549.1.9.1", 255, "ascii"),
}
_LONG_NAMES = {
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "commonName": "CN",
    "surname": "SN",
    "givenName": "GN",
    "streetAddress": "street",
    "userId": "UID",
    "domainComponent": "DC",
}
_LETTERS = {
    "printable": (re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*"), "letters without accents, digits and '()+,-./:=?"),
    "ascii": (re.compile(r"[ -~]*"), "ASCII characters"),
    "utf8": (re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*"), "characters that are not control characters"),
}

# openssl's short names (`openssl list -objects`); an OID that is not here is written in digits.
_SHORT_NAMES = {attribute.oid: name for name, attribute in _ATTRIBUTES.items()} | {
    "2.5.4.13": "description",
    "2.5.4.14": "searchGuide",
    "2.5.4.15": "businessCategory",
    "2.5.4.16": "postalAddress",
    "2.5.4.18": "postOfficeBox",
    "2.5.4.19": "physicalDeliveryOfficeName",
    "2.5.4.20": "telephoneNumber",
    "2.5.4.23": "facsimileTelephoneNumber",
    "2.5.4.41": "name",
    "2.5.4.45": "x500UniqueIdentifier",
    "2.5.4.49": "distinguishedName",
    "2.5.4.51": "houseIdentifier",
    "2.5.4.54": "dmdName",
    "2.5.4.72": "role",
    "0.9.2342.19200300.100.1.3": "mail",
    "0.9.2342.19200300.100.1.9": "host",
    "0.9.2342.19200300.100.1.44": "uid",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}
_OIDS = {name: oid for oid, name in _SHORT_NAMES.items()}
_SPELLED = {name.lower(): name for name in (*_SHORT_NAMES.values(), *_ATTRIBUTES)}
_DOTTED = re.compile(r"[0-2](?:\.[0-9]+)+")
_HEX_VALUE = re.compile(r"#(?:[0-9A-Fa-f]{2})+")
_DN_ESCAPE = re.compile(rb"\\(?:([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_PART = re.compile(r"((?:\\.|[^\\,+])*)([,+]|\Z)", re.DOTALL)
_ENCODINGS = {der.BMP_STRING: "utf-16-be", der.UNIVERSAL_STRING: "utf-32-be"}
_ONE_BYTE_STRINGS = frozenset({0x12, 0x13, 0x14, 0x16, 0x1A, 0x17, 0x18})  # Numeric ... Visible, and times
_STRINGS = _ONE_BYTE_STRINGS | set(_ENCODINGS) | {der.UTF8_STRING}
_CANONICAL_STRINGS = frozenset({der.UTF8_STRING, 0x13, der.T61_STRING, der.IA5_STRING, 0x1A, *_ENCODINGS})
_ONELINE_ESCAPE = re.compile(rb"\\([/+])|\\x([0-9A-F]{2})")
_PLAIN_ONELINE = re.compile(r"(?:/[A-Za-z]+=[A-Za-z0-9_.@:-]+)+")  # nothing to escape in either spelling
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}", re.ASCII)  # a CN in which nothing is escaped
_ATTRIBUTE = re.compile(r"(?:^|(?<!\\)[,+])([A-Za-z0-9.]+)=")
_ESCAPES = re.compile(r"((?:\\[0-9A-F]{2})+)|\\(.)")
_REMEMBERED = 1 << 14  # spellings
_PLAIN_VALUE = re.compile(rb"[A-Za-z0-9_.@:-]+")  # the same octets in both spellings, whatever string type of one octet
_BY_HAND = re.compile(rb'[,+"\\<>;]')


def subject_name(subject: Subject, owner: str) -> x509.Name:
    """Return the name that ``subject`` describes, in its order.

    :arg subject: openssl's attribute names, short or long, each with a text or a list of texts; a list makes
        one RDN of each text.
    :arg owner: whom an error is about, for instance ``client 'pepe'``.
    :raises MtlsError: an unknown attribute, or a value its type cannot hold (RFC 5280, appendix A.1).
    """
    if not subject:
        raise MtlsError(f"{owner}: the subject is empty; give it at least a CN")
    attributes = []
    for key, value in subject.items():
        name = _LONG_NAMES.get(key, key)
        known = _ATTRIBUTES.get(name)
        if known is None:
            raise MtlsError(f"{owner}: unknown subject attribute {key!r}; known are {', '.join(_ATTRIBUTES)}")
        texts = value if isinstance(value, (list, tuple)) else ["" if value is None else value]
        attributes += [_attribute(known, name, text, owner) for text in texts or [""]]
    return x509.Name(attributes)


def _attribute(known: _Attribute, name: str, text: object, owner: str) -> x509.NameAttribute[str]:
    if not isinstance(text, str):
        raise MtlsError(f"{owner}: subject attribute {name} is {text!r}, not text; put it in quotes")
    pattern, allowed = _LETTERS[known.letters]
    if not text.strip():
        raise MtlsError(f"{owner}: subject attribute {name} is empty; fill it in or leave it out")
    if not pattern.fullmatch(text):
        raise MtlsError(f"{owner}: subject attribute {name} is {text!r}, and its type allows only {allowed}")
    if name == "C" and not re.fullmatch("[A-Z]{2}", text):
        raise MtlsError(f"{owner}: subject attribute C is {text!r}; it takes a country's two capital letters")
    if name == "emailAddress" and not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        raise MtlsError(
            f"{owner}: subject attribute emailAddress is {text!r}, which is not an e-mail address; correct it"
        )
    if len(text) > known.longest:
        raise MtlsError(
            f"{owner}: subject attribute {name} has {len(text)} characters, X.509 allows at most {known.longest}; "
            "shorten it"
        )
    size = len(text.encode())
    if name == "CN" and size > known.longest:  # X.509 counts characters, `cryptography` bytes
        raise MtlsError(
            f"{owner}: subject attribute CN has {size} bytes in UTF-8, and at most {known.longest} are "
            "possible; shorten it"
        )
    return x509.NameAttribute(x509.ObjectIdentifier(known.oid), text)


def raw_names(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    """Return issuer and subject in DER, also of a certificate whose names ``cryptography`` cannot read."""
    parts = der.elements(next(der.elements(certificate.tbs_certificate_bytes)).content)
    _serial, _algorithm, issuer, _validity, subject, *_rest = (part.encoded for part in parts if part.tag < 0x80)
    return issuer, subject


def are_one_name(one: bytes, other: bytes) -> bool:
    """Tell whether OpenSSL takes two names, in DER, for one (X509_NAME_cmp; RFC 5280, 7.1).

    Neither the type of a string counts, nor the case of ASCII letters, nor spaces at its ends or more than one.
    """
    return one == other or _canonical(one) == _canonical(other)


def begins_with(name: bytes, beginning: bytes) -> bool:
    """Tell whether the first attributes of a name are those of another one, both in DER, as OpenSSL compares them."""
    first = _canonical(beginning)
    return _canonical(name)[: len(first)] == first


@functools.lru_cache(maxsize=_REMEMBERED)
def _canonical(name: bytes) -> tuple[tuple[object, ...], ...]:
    return tuple(tuple(sorted((oid, *_canonical_value(element)) for oid, element in rdn)) for rdn in _attributes(name))


def _canonical_value(element: der.Element) -> tuple[int, bytes]:
    if element.tag not in _CANONICAL_STRINGS:
        return element.tag, element.content
    encoding = "utf-8" if element.tag == der.UTF8_STRING else _ENCODINGS.get(element.tag, "latin-1")
    try:
        utf8 = element.content.decode(encoding).encode()
    except UnicodeError:
        return element.tag, element.content
    return der.UTF8_STRING, b" ".join(utf8.split()).lower()  # bytes.lower and split know ASCII only


def nginx_dn(name: x509.Name) -> str:
    """Return ``name`` exactly as nginx 1.11.6 and newer put it into ``$ssl_client_s_dn``."""
    return _nginx_dn(name.public_bytes())


def dn_of_plain_name(name: str) -> str | None:
    """Return what ``nginx_dn`` makes of a subject of nothing but this CN; None where that takes ``subject_name``."""
    return f"CN={name}" if _PLAIN_NAME.fullmatch(name) else None


def nginx_dn_of(certificate: x509.Certificate) -> str:
    """Return what ``nginx_dn`` does of a certificate's subject, also of one that ``cryptography`` cannot read."""
    return _nginx_dn(raw_names(certificate)[1])


def index_subject(name: x509.Name) -> str:
    """Return ``name`` exactly as OpenSSL 3 writes it into ``index.txt``: ``/C=ES/CN=...``."""
    return raw_index_subject(name.public_bytes())


# Each is asked for several times on the way of one certificate, before and after processes are forked.
@functools.lru_cache(maxsize=_REMEMBERED)
def _nginx_dn(name: bytes) -> str:
    return _written(name, _rfc2253_value, ",", reverse=True)


@functools.lru_cache(maxsize=_REMEMBERED)
def raw_index_subject(name: bytes) -> str:
    """Return what ``index_subject`` does, of a name in DER."""
    return "/" + _written(name, _oneline_value, "/", reverse=False)


def _written(name: bytes, value: Callable[[str, der.Element], str], separator: str, *, reverse: bool) -> str:
    rdns = list(_attributes(name))
    if reverse:
        rdns = [list(reversed(rdn)) for rdn in reversed(rdns)]
    return separator.join(
        "+".join(f"{_SHORT_NAMES.get(oid, oid)}={value(oid, element)}" for oid, element in rdn) for rdn in rdns
    )


def _attributes(name: bytes) -> Iterator[list[tuple[str, der.Element]]]:
    (sequence,) = der.elements(name)
    for rdn in der.elements(sequence.content):
        pairs = (der.elements(pair.content) for pair in der.elements(rdn.content))
        yield [(der.dotted(oid.content), value) for oid, value in pairs]


def _rfc2253_value(oid: str, element: der.Element) -> str:
    if oid not in _SHORT_NAMES or element.tag not in _STRINGS:
        return "#" + element.encoded.hex().upper()
    utf8 = element.content
    if element.tag not in _ENCODINGS and _PLAIN_VALUE.fullmatch(utf8):
        return utf8.decode("ascii")
    if element.tag != der.UTF8_STRING:
        text = utf8.decode(_ENCODINGS.get(element.tag, "latin-1"), "surrogatepass")
        utf8 = text.encode("utf-8", "surrogatepass")
    escaped = _BY_HAND.sub(rb"\\\g<0>", utf8)
    if utf8[:1] == b" " or (utf8[:1] == b"#" and utf8 != b"#"):
        escaped = b"\\" + escaped
    if len(utf8) > 1 and utf8[-1:] == b" ":
        escaped = escaped[:-1] + b"\\ "
    return "".join(chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:02X}" for octet in escaped)


def _oneline_value(_oid: str, element: der.Element) -> str:
    if _PLAIN_VALUE.fullmatch(element.content):
        return element.content.decode("ascii")
    return "".join(
        f"\\{chr(octet)}" if octet in b"/+" else chr(octet) if 0x20 <= octet < 0x7F else f"\\x{octet:02X}"
        for octet in element.content
    )


def dn_of_index_subject(text: str) -> str:
    """Return what ``nginx_dn`` makes of the name that ``index_subject`` wrote as ``text``.

    For lists of many certificates, whose files need not be opened then. The values are taken for UTF-8.
    """
    if _PLAIN_ONELINE.fullmatch(text):
        return ",".join(reversed(text[1:].split("/")))
    rdns = []
    for rdn in _parse_oneline(text):
        values = [f"{name}={_rfc2253_value(_OIDS.get(name, name), _utf8(value))}" for name, value in rdn]
        rdns.append("+".join(reversed(values)))
    return ",".join(reversed(rdns))


def common_name_of_index_subject(text: str) -> str:
    """Return the last CN of a subject in ``index.txt``, or the whole subject when it has none."""
    names = [value for rdn in _parse_oneline(text) for name, value in rdn if name == "CN"]
    return names[-1].decode("utf-8", "replace") if names else text


def _parse_oneline(text: str) -> Iterator[list[tuple[str, bytes]]]:
    for rdn in _split(text[1:], "/"):
        pairs = (pair.partition("=") for pair in _split(rdn, "+"))
        yield [(name, _ONELINE_ESCAPE.sub(_unescape, _bytes(value))) for name, _equals, value in pairs]


def _split(text: str, separator: str) -> list[str]:
    return re.split(rf"(?<!\\)\{separator}(?=[A-Za-z0-9.]+=)", text)


def _bytes(text: str) -> bytes:
    """Return what stands in the file, which should be ASCII only."""
    return text.encode("utf-8", "surrogateescape")


def _unescape(found: re.Match[bytes]) -> bytes:
    return found[1] or bytes((int(found[2], 16),))


def _utf8(value: bytes) -> der.Element:
    return der.Element(der.UTF8_STRING, value, der.encode(der.UTF8_STRING, value))


def respelled(text: str) -> str | None:
    """Return a subject that somebody wrote as nginx writes it, None where it is not a subject.

    The attributes keep their order, which nobody but the certificate knows.
    """
    if text.startswith("/"):
        text = dn_of_index_subject(text)
    written, separator = [], ","
    parts = _PART.finditer(text)
    while separator:  # there is always a last part, which ends where the text does
        part, separator = next(parts).groups()
        name, equals, value = part.partition("=")
        name = name.strip()
        if not _DOTTED.fullmatch(name):
            name = name if name in _OIDS else _SPELLED.get(name.lower(), "")
        value = value.lstrip(" ")
        bare = value.rstrip(" ")
        if bare != value and (len(bare) - len(bare.rstrip("\\"))) % 2:  # the first space is escaped
            bare += " "
        is_hex = _HEX_VALUE.fullmatch(bare) is not None
        if not (name and equals and bare) or (_DOTTED.fullmatch(name) and not is_hex):
            return None
        octets = _DN_ESCAPE.sub(_unescape_dn, bare.encode("utf-8", "surrogateescape"))
        value = bare.upper() if is_hex else _rfc2253_value(_OIDS[name], _utf8(octets))
        written.append(f"{name}={value}{separator}")
    return "".join(written)


def _unescape_dn(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode("ascii")) if found[1] else found[2]


def alike(dn: str, other: str) -> bool:
    """Tell whether a person takes two subjects in nginx's DN format for the same.

    They differ in the order of their attributes, in case, accents or spaces at most.
    """
    return _to_the_eye(dn) == _to_the_eye(other)


def _to_the_eye(dn: str) -> list[str]:
    starts = [found.start(1) for found in _ATTRIBUTE.finditer(dn)]
    ends = [*(start - 1 for start in starts[1:]), len(dn)]
    return sorted(_plain(_ESCAPES.sub(_readable, dn[start:end])) for start, end in zip(starts, ends))


def _readable(found: re.Match[str]) -> str:
    return bytes.fromhex(found[1].replace("\\", "")).decode("utf-8", "replace") if found[1] else found[2]


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text)
    return "".join(each for each in letters if not unicodedata.combining(each) and not each.isspace()).casefold()
