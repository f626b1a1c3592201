# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subjects: what the inventory may say, and the spellings of nginx and ``openssl ca``."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import (
    alike,
    are_one_name,
    common_name_of_index_subject,
    dn_of_index_subject,
    dn_of_plain_name,
    index_subject,
    nginx_dn,
    respelled,
    subject_name,
)
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import openssl

RFC2253 = 0x1110317  # XN_FLAG_RFC2253 of OpenSSL's x509.h
LARGE = 10_000


@functools.cache
def libcrypto() -> ctypes.CDLL:
    """The OpenSSL that nginx and the program use, not the one inside of cryptography."""
    library = ctypes.CDLL(ctypes.util.find_library("crypto"))
    for function in (library.d2i_X509_NAME, library.BIO_s_mem, library.BIO_new):
        function.restype = ctypes.c_void_p
    return library


@contextlib.contextmanager
def parsed(name: x509.Name) -> Iterator[ctypes.c_void_p]:
    encoded = name.public_bytes()
    start = ctypes.c_char_p(encoded)
    found = ctypes.c_void_p(libcrypto().d2i_X509_NAME(None, ctypes.byref(start), ctypes.c_long(len(encoded))))
    assert found
    yield found
    libcrypto().X509_NAME_free(found)


def rfc2253(name: x509.Name) -> str:
    """What nginx makes of a DN, by the same call, and `openssl x509 -subject -nameopt RFC2253`."""
    library, written = libcrypto(), ctypes.create_string_buffer(LARGE)
    memory = ctypes.c_void_p(library.BIO_new(ctypes.c_void_p(library.BIO_s_mem())))
    with parsed(name) as found:
        assert library.X509_NAME_print_ex(memory, found, 0, ctypes.c_ulong(RFC2253)) >= 0
    size = library.BIO_read(memory, written, LARGE)
    library.BIO_free(memory)
    assert 0 < size < LARGE
    return written.raw[:size].decode("latin-1")


def oneline(name: x509.Name) -> str:
    """What `openssl ca` writes into its index, by the same call."""
    written = ctypes.create_string_buffer(LARGE)
    with parsed(name) as found:
        assert libcrypto().X509_NAME_oneline(found, written, LARGE)
    return written.value.decode("latin-1")


OIDS = [
    "2.5.4.3",
    "2.5.4.6",
    "2.5.4.7",
    "2.5.4.9",
    "2.5.4.4",
    "2.5.4.5",
    "2.5.4.13",
    "2.5.4.97",
    "0.9.2342.19200300.100.1.1",
    "0.9.2342.19200300.100.1.25",
    "1.2.840.113549.1.9.1",
    "1.3.6.1.4.1.99999.1",
]
NASTY = st.text(
    st.sampled_from(' #,+"\\<>;=/$~ab\t\x00\x7fé日\U0001f600') | st.characters(exclude_categories=["Cs"]),
    min_size=1,
    max_size=12,
)


@st.composite
def attributes(draw):
    oid = draw(st.sampled_from(OIDS))
    if oid == "2.5.4.6":
        return x509.NameAttribute(x509.ObjectIdentifier(oid), draw(st.sampled_from(["ES", "DE"])))
    text = draw(NASTY)
    kinds = [_ASN1Type.UTF8String]
    if all(ord(letter) < 0x10000 for letter in text):
        kinds.append(_ASN1Type.BMPString)
    return x509.NameAttribute(x509.ObjectIdentifier(oid), text, draw(st.sampled_from(kinds)))


@st.composite
def names(draw):
    rdns = draw(st.lists(st.lists(attributes(), min_size=1, max_size=2), min_size=1, max_size=4))
    return x509.Name([x509.RelativeDistinguishedName({a.oid: a for a in rdn}.values()) for rdn in rdns])


@settings(max_examples=100, deadline=None)
@given(names())
def test_nginx_dn_is_what_openssl_prints_as_rfc2253(name):
    assert nginx_dn(name) == rfc2253(name)


@settings(max_examples=50, deadline=None)
@given(names())
def test_index_subject_is_what_openssl_prints_as_oneline(name):
    assert index_subject(name) == oneline(name)


def cn(value: str | bytes, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.Name:
    oid = x509.NameOID.X500_UNIQUE_IDENTIFIER if kind == _ASN1Type.BitString else x509.NameOID.COMMON_NAME
    return x509.Name([x509.NameAttribute(oid, value, kind)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (cn("An A"), cn(" an  a ")),
        (cn("An A"), cn("AN A", _ASN1Type.PrintableString)),
        (cn("An A"), cn("an a", _ASN1Type.BMPString)),
        (cn("An A"), cn("An B")),
        (cn("1 2", _ASN1Type.NumericString), cn("1 2", _ASN1Type.NumericString)),
        (cn("1 2", _ASN1Type.NumericString), cn("1  2", _ASN1Type.NumericString)),
        (cn("1 2", _ASN1Type.NumericString), cn("1 2")),
        (cn(b"\0ab", _ASN1Type.BitString), cn(b"\0ab", _ASN1Type.BitString)),
        (cn(b"\0ab", _ASN1Type.BitString), cn(b"\0AB", _ASN1Type.BitString)),
        (cn("É"), cn("é")),
    ],
)
def test_names_are_one_where_openssl_says_so(one, other):
    """Of texts that it compares as texts, and of the rest, which must be the same to the last octet."""
    with parsed(one) as first, parsed(other) as second:
        same = libcrypto().X509_NAME_cmp(first, second) == 0
    assert are_one_name(one.public_bytes(), other.public_bytes()) is same
    assert are_one_name(other.public_bytes(), one.public_bytes()) is same


def test_the_program_prints_what_its_library_writes(tmp_path):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'é,"日\t#'), *subject_name({"C": "ES"}, "a")])
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    (tmp_path / "x.crt").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    for option, expected in (("RFC2253", rfc2253(name)), ("compat", oneline(name))):
        said = openssl("x509", "-in", "x.crt", "-noout", "-subject", "-nameopt", option, cwd=tmp_path)
        assert said.removesuffix("\n").removeprefix("subject=") == expected


def test_the_inventory_s_order_is_kept_and_lists_become_several_attributes():
    name = subject_name({"C": "ES", "O": "Acme", "OU": ["IT", "Ops"], "CN": 'José "Pepe" García, IT'}, "client 'pepe'")
    assert nginx_dn(name) == r"CN=Jos\C3\A9 \"Pepe\" Garc\C3\ADa\, IT,OU=Ops,OU=IT,O=Acme,C=ES"
    assert index_subject(name) == r'/C=ES/O=Acme/OU=IT/OU=Ops/CN=Jos\xC3\xA9 "Pepe" Garc\xC3\xADa, IT'


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("client-000001", True),
        ("Ana_9.nas@example.com", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("José", False),
        ("a,b", False),
        ("#a", False),
        ("-a", False),
        ("a b", False),
        ("a\n", False),
        ("", False),
    ],
)
def test_the_dn_of_a_plain_name_needs_no_certificate_s_name(name, plain):
    assert dn_of_plain_name(name) == (nginx_dn(subject_name({"CN": name}, "it")) if plain else None)


def test_long_names_of_openssl_are_understood():
    assert nginx_dn(subject_name({"countryName": "ES", "commonName": "a"}, "client 'a'")) == "CN=a,C=ES"


@pytest.mark.parametrize(
    ("subject", "complaint"),
    [
        ({}, "the subject is empty"),
        ({"XX": "a"}, "unknown subject attribute 'XX'; known are C, ST"),
        ({"C": "Spain"}, "two capital letters"),
        ({"C": "es"}, "two capital letters"),
        ({"CN": ""}, "CN is empty"),
        ({"CN": []}, "CN is empty"),
        ({"CN": None}, "CN is empty"),
        ({"CN": 12}, "put it in quotes"),
        ({"CN": 1.5}, "put it in quotes"),
        ({"CN": {"a": "b"}}, "put it in quotes"),
        ({"CN": ["a", ["b"]]}, "put it in quotes"),
        ({"CN": "é" * 40}, "80 bytes in UTF-8, and at most 64 are possible; shorten it"),
        ({"CN": "a\nb"}, "control characters"),
        ({"CN": "x" * 65}, "65 characters, X.509 allows at most 64; shorten it"),
        ({"O": "x" * 65}, "65 characters, X.509 allows at most 64; shorten it"),
        ({"emailAddress": "josé@example.com"}, "ASCII"),
        ({"emailAddress": "josé"}, "ASCII"),
        ({"emailAddress": "pepe"}, "is not an e-mail address"),
        ({"serialNumber": "12_3"}, "allows only letters"),
    ],
)
def test_a_subject_that_cannot_be_is_refused_by_name(subject, complaint):
    with pytest.raises(MtlsError, match="client 'pepe': ") as caught:
        subject_name(subject, "client 'pepe'")
    assert complaint in str(caught.value)


def test_an_index_in_utf_8_is_read_for_what_it_means():
    """openssl escapes what is not ASCII; a person who edits the file may not."""
    assert dn_of_index_subject("/CN=é") == dn_of_index_subject("/CN=\\xC3\\xA9") == "CN=\\C3\\A9"
    assert common_name_of_index_subject("/CN=日\udcff") == "日\ufffd"


def test_a_message_is_one_line_whatever_it_quotes():
    assert str(MtlsError("host a\nb\u2028\udcff: é")) == "host a\\nb\\u2028\\udcff: é"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CN=phone,O=Acme", "O=acme,CN=Phone", True),
        (r"CN=Jos\C3\A9", "CN=Jose", True),
        (r"CN=Jos\C3\A9", r"CN=Jose\CC\81", True),
        (r"CN=a\, b,O=c", r"O=c,CN=a\,b", True),
        (r"CN=a\,O=c", "CN=a,O=c", False),
        ("CN=phone", "CN=phone,O=Acme", False),
        ("CN=phone", "CN=phone2", False),
    ],
)
def test_subjects_that_a_person_takes_for_the_same(one, other, same):
    assert alike(one, other) is same
    assert alike(other, one) is same


@settings(max_examples=100, deadline=None)
@given(names())
def test_what_openssl_prints_is_taken_as_it_stands(name):
    assert respelled(nginx_dn(name)) == nginx_dn(name)


@pytest.mark.parametrize(
    ("written", "dn"),
    [
        ("CN = phone , O = a\\, b ", "CN=phone,O=a\\, b"),
        ("commonname=phone", None),
        ("/O=Acme/CN=a\\/b", "CN=a/b,O=Acme"),
        ("/phone", None),
        ("uid=7+CN=anna", "uid=7+CN=anna"),
        ("cn=phone,EMAILADDRESS=a@b", "CN=phone,emailAddress=a@b"),
        ("CN=Jos\N{LATIN SMALL LETTER E WITH ACUTE}", "CN=Jos\\C3\\A9"),
        ("CN=a\\C3", "CN=a\\C3"),
        ("CN=a\\c3\\a9", "CN=a\\C3\\A9"),
        ("CN=a\\ ", "CN=a\\ "),
        ("CN=a\\\\ ", "CN=a\\\\"),
        ("1.2.3=#0c0161", "1.2.3=#0C0161"),
        ("1.2.3=a", None),
        ("CN=a,", None),
        ("CN=a\\", None),
        ("CN=a,O=b\\", None),
        ("CN=", None),
        ("", None),
    ],
)
def test_a_subject_as_people_write_it(written, dn):
    assert respelled(written) == dn
