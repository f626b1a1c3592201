# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our table of verify errors has the words of the OpenSSL that is installed, and those of older ones."""

from __future__ import annotations

import ctypes
import ctypes.util

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site.verify_errors import VERIFY_ERRORS, explain, words_of

# What x509_vfy.h has and nginx never logs, for what nginx does not ask OpenSSL to do.
NEVER = {
    "success": {0},
    "only told to a callback that asks why each CA was not taken": {29, 30, 31, 76, 77},
    "proxy certificates": {37, 38, 72},
    "purposes that are no TLS client's": {39},
    "policies": {42, 43, 45},
    "a callback of the program's own": {50},
    "only with proxies": {55},
    "Suite B": set(range(56, 62)),
    "names of servers": {62, 63, 64, 65},
    "other services": {71, 73, 74, 75},
    "X509_V_FLAG_X509_STRICT": {78, *range(80, 95)},
}
LAST = 94  # of OpenSSL 3.0
# Of OpenSSL's own failures nobody can say more than of the first one.
FAILURES = {1, 69, 70}
NUMBERS = set(range(LAST + 1)) - set().union(*NEVER.values()) - FAILURES | {1}


def test_the_words_are_openssls_own():
    """It is the library that says them, and nginx logs them as they are."""
    said = ctypes.CDLL(ctypes.util.find_library("crypto")).X509_verify_cert_error_string
    said.argtypes, said.restype = [ctypes.c_long], ctypes.c_char_p
    assert {error.number for error in VERIFY_ERRORS.values()} == NUMBERS
    explained = {number: explain(said(number).decode()) for number in NUMBERS}
    assert {number: error and error.number for number, error in explained.items()} == {one: one for one in NUMBERS}
    assert {explain(said(number).decode()).number for number in FAILURES} == {1}


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
