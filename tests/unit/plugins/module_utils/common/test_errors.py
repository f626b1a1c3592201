# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user reads is one line, whatever is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few, one_line


@given(st.text())
def test_one_printable_line(text):
    assert one_line(text).isprintable()
    assert str(MtlsError(text)) == one_line(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("José's file", "José's file"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("back\u202ewards", r"back\u202ewards"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text, said):
    assert one_line(text) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [([], ""), (["a"], "a"), (list("abcde"), "a, b, c, d, e"), (dict.fromkeys("abcdefg"), "a, b, c, d, e and 2 more")],
)
def test_of_many_names_the_first_few_and_how_many_more(names, said):
    assert first_few(names) == said
    assert first_few(names, 3) == (said if len(names) < 4 else f"a, b, c and {len(names) - 3} more")
