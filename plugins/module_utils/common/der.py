# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The little DER (X.690) that ``cryptography`` does not offer: names as raw values, CRL entries by the thousand."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID, ENUMERATED = 0x01, 0x02, 0x03, 0x04, 0x06, 0x0A
UTF8_STRING, T61_STRING, IA5_STRING, UTC_TIME, GENERALIZED_TIME = 0x0C, 0x14, 0x16, 0x17, 0x18
UNIVERSAL_STRING, BMP_STRING, SEQUENCE = 0x1C, 0x1E, 0x30


class Element(NamedTuple):
    """One tag-length-value: its tag, its content, and all its bytes."""

    tag: int
    content: bytes
    encoded: bytes


def encode(tag: int, content: bytes) -> bytes:
    """Return the element ``tag`` with ``content``, length in the shortest form."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    """Return a non-negative INTEGER (or ENUMERATED)."""
    return encode(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    content = bytearray()
    for number in (first * 40 + second, *rest):
        septets = [number & 0x7F]
        while number := number >> 7:
            septets.append(0x80 | number & 0x7F)
        content += bytes(reversed(septets))
    return encode(OID, bytes(content))


def whole_length(data: bytes) -> int:
    """Return how many octets the first element of ``data`` says that it has, all in all.

    :raises IndexError: there is not even its length.
    """
    first = data[1]
    if not first & 0x80:
        return 2 + first
    size = first & 0x7F
    return 2 + size + int.from_bytes(data[2 : 2 + size], "big")


def elements(data: bytes) -> Iterator[Element]:
    """Yield the elements that ``data`` is made of; the caller knows the data to be valid DER."""
    position = 0
    while position < len(data):
        start = position
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[position : position + size], "big")
            position += size
        end = position + length
        yield Element(tag, data[position:end], data[start:end])
        position = end


@functools.lru_cache(maxsize=256)
def dotted(content: bytes) -> str:
    """Return the dotted text of an OBJECT IDENTIFIER's content."""
    numbers, number = [], 0
    for octet in content:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(part) for part in (first, numbers[0] - 40 * first, *numbers[1:]))
