# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serial numbers in one spelling, and the files that openssl counts on in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import openssl


@given(st.integers(0, 1 << 160))
def test_one_spelling(number):
    text = numbers.hexadecimal(number)

    assert int(text, 16) == number
    assert len(text) % 2 == 0
    assert text == text.upper()
    assert numbers.parse_serial(text.lower()) == text


@pytest.mark.parametrize("typed", ["0abc", "0ABC", "0xabc", "0a:bc", " 0A BC ", "ABC"])
def test_what_people_type(typed):
    assert numbers.parse_serial(typed) == "0ABC"


@pytest.mark.parametrize("typed", ["", "0x", "12g4", "-1", "1.5", "F" * 65])
def test_what_is_no_serial(typed):
    with pytest.raises(MtlsError, match="is not hexadecimal; copy it from index"):
        numbers.parse_serial(typed)


def test_random_ones_have_nine_octets_and_are_positive():
    found = {numbers.random_serial() for _time in range(100)}

    assert len(found) == 100
    assert {number.bit_length() for number in found} == {71}
    assert not any(map(numbers.is_sequential, found))


def test_openssl_goes_on_from_a_number_that_was_written(pki):
    numbers.write_number(str(pki.path / "crlnumber"), 0x2A)
    pki.ca("-gencrl", "-out", "by-hand.pem")

    assert "2A" in openssl("crl", "-in", "by-hand.pem", "-noout", "-crlnumber", cwd=pki.path).upper()
    assert numbers.read_number(str(pki.path / "crlnumber")) == 0x2B
    assert (pki.path / "crlnumber").stat().st_mode & 0o777 in (0o600, 0o644)


@pytest.mark.parametrize("content", ["", "xyz", "1" * 41, "12 34", "\0"])
def test_a_number_file_with_something_else(tmp_path, content):
    path = tmp_path / "serial"
    path.write_text(content)
    with pytest.raises(MtlsError, match=r"serial: holds .*, not a hexadecimal number; restore it from a backup"):
        numbers.read_number(str(path))


def test_a_crl_number_of_more_than_twenty_octets():
    numbers.check_crl_number((1 << 159) - 1, "crlnumber")
    with pytest.raises(MtlsError, match="a CRL number has 20 octets at most"):
        numbers.check_crl_number(1 << 159, "crlnumber")
