# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DER against cryptography and openssl, which decode what is encoded here, and the other way round."""

from __future__ import annotations

import re
import subprocess

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.common import der


@given(st.integers(0, 1 << 170))
def test_integers_are_as_short_as_they_can_be_and_never_negative(number):
    (element,) = der.elements(der.integer(number))

    assert element.tag == der.INTEGER
    assert int.from_bytes(element.content, "big", signed=True) == number
    assert len(element.content) == number.bit_length() // 8 + 1


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths_in_their_shortest_form(length):
    encoded = der.encode(der.OCTET_STRING, bytes(length))
    said = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER"], input=encoded, capture_output=True, check=True
    ).stdout.decode()

    assert re.search(rf"hl={len(encoded) - length} l= *{length} prim: OCTET STRING", said)
    (element,) = der.elements(encoded)
    assert (element.content, element.encoded) == (bytes(length), encoded)


@pytest.mark.parametrize("text", ["2.5.4.3", "1.2.840.113549.1.9.1", "0.9.2342.19200300.100.1.25", "2.999.1", "1.3.0"])
def test_object_identifiers_both_ways(text):
    (element,) = der.elements(der.oid(text))

    assert element.tag == der.OID
    assert der.dotted(element.content) == text
    name = x509.Name([x509.NameAttribute(x509.ObjectIdentifier(text), "x")])
    assert element.encoded in name.public_bytes()


def test_elements_one_after_another():
    data = der.integer(1) + der.encode(der.SEQUENCE, der.integer(2)) + der.oid("2.5.4.3")

    assert [element.tag for element in der.elements(data)] == [der.INTEGER, der.SEQUENCE, der.OID]
    assert b"".join(element.encoded for element in der.elements(data)) == data


@pytest.mark.parametrize("size", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x10000])
def test_an_element_says_how_long_it_is(size):
    encoded = der.encode(0x04, bytes(size))
    assert der.whole_length(encoded) == len(encoded)
    assert der.whole_length(encoded[: max(6, len(encoded) // 2)] + b"more") == len(encoded)
