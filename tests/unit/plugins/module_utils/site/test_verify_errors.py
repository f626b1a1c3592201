# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our table of verify errors has the words of the OpenSSL that is installed, and those of older ones."""

from __future__ import annotations

import ctypes
import ctypes.util

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site.verify_errors import VERIFY_ERRORS, explain, words_of

# What x509_vfy.h has of CRLs, chains, dates, purpose and strength.
NUMBERS = {2, 3, 5, 7, 8, 9, 10, 11, 12, 18, 19, 20, 21, 22, 23, 26, 33, 35, 36, 44, 47, 48, 54, 66, 67, 68}


def test_the_words_are_openssls_own():
    """It is the library that says them, and nginx logs them as they are."""
    said = ctypes.CDLL(ctypes.util.find_library("crypto")).X509_verify_cert_error_string
    said.argtypes, said.restype = [ctypes.c_long], ctypes.c_char_p
    assert {error.number for error in VERIFY_ERRORS.values()} == NUMBERS
    explained = {number: explain(said(number).decode()) for number in NUMBERS}
    assert {number: error and error.number for number, error in explained.items()} == {one: one for one in NUMBERS}


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("self signed certificate", 18),
        ("self signed certificate in certificate chain", 19),
        ("unsupported certificate purpose", 26),
        ("certificate is not yet valid or the system clock is incorrect", 9),
        ("a new error", None),
    ],
)
def test_older_words_and_new_ones(words, number):
    error = explain(words)
    assert (error and error.number) == number


@pytest.mark.parametrize(
    ("verify", "words"), [("FAILED:certificate revoked", "certificate revoked"), ("SUCCESS", None), ("NONE", None)]
)
def test_what_nginx_logs(verify, words):
    assert words_of(verify) == words


def test_each_error_has_a_sentence_of_its_own():
    sentences = [error.sentence for error in VERIFY_ERRORS.values()]
    assert len(set(sentences)) == len(sentences)
