# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of plain characters is what the script makes of Unicode's data. nginx reads it in tests/gate."""

from __future__ import annotations

import functools
import re
import unicodedata

from ansible_collections.mtls.nginx.plugins.module_utils.site import plain_characters, plain_paths
from ansible_collections.mtls.nginx.tests.lint import plain_characters as script


def lines(first: int, last: int) -> bytes:
    return "\n".join(map(chr, range(first, last + 1))).encode()


@functools.cache
def matching(expression: str) -> frozenset[int]:
    """All characters beyond ASCII that match in whole; a match of more than one character is an error."""
    pattern = re.compile(rb"^(?:%b)$" % expression.encode(), re.MULTILINE)
    everything = b"\n".join([lines(0x80, 0xD7FF), lines(0xE000, 0x10FFFF)])
    return frozenset(ord(match.group().decode()) for match in pattern.finditer(everything))


def test_the_file_is_what_the_script_writes():
    if unicodedata.unidata_version == plain_characters.UNICODE:
        assert script.TARGET.read_text(encoding="ascii") == script.module()


def test_no_program_reads_a_plain_character_otherwise():
    """As far as this Python's Unicode knows, which may be newer than the table."""
    plain = {code for code in matching(plain_characters.PLAIN) if unicodedata.category(chr(code)) not in ("Cn", "Co")}
    letters = plain & matching(plain_characters.LETTERS)
    spaces = matching(plain_characters.SPACES)
    assert [f"{code:X}" for code in sorted(plain) if script.is_ignorable(code) or script.is_structure(code)] == []
    assert [f"{code:X}" for code in sorted(letters) if script.is_ascii_to_some(code)] == []
    assert [f"{code:X}" for code in sorted(plain - spaces) if script.is_space(code)] == []
    assert {0x2024, 0xFF0F, 0x2215, 0x200B, 0xAD, 0xFE0F, 0x180B, 0x37E, 0x85, 0x2028}.isdisjoint(plain)
    assert {0xDF, 0x130, 0x17F, 0x212A, 0xFF41, 0xBA}.isdisjoint(letters)


def test_letters_of_their_own_are_plain():
    text = "José Ærøskøbing Łódź Việt Ελλάδα Москва 日本 한국 हिन्दी العربية € 😀".replace(" ", "")
    codes = {ord(letter) for letter in text if not letter.isascii()}
    assert codes <= matching(plain_characters.PLAIN) & matching(plain_characters.LETTERS)
    assert {ord("ß"), 0xA0, 0x3000} <= matching(plain_characters.PLAIN)


def test_ill_formed_utf8_matches_nothing():
    pattern = re.compile(plain_characters.PLAIN.encode())
    for octets in (
        b"\x80",
        b"\xc3",
        b"\xc0\xae",
        b"\xe0\x80\xae",
        b"\xed\xa0\x80",
        b"\xf0\x80\x80\xae",
        b"\xf4\x90\x80\x80",
    ):
        assert not pattern.match(octets)


def test_nginx_can_read_each_key():
    """A parameter has 4,095 bytes at most (NGX_CONF_BUFFER in src/core/ngx_conf_file.c)."""
    keys = [plain_paths.PLAIN_REQUEST.replace("\\", "\\\\"), plain_paths.PLAIN_CHARACTERS, plain_paths.PLAIN_LETTERS]
    assert max(map(len, keys)) < 4000
    assert not any(re.search(r"""\\[^xz]|["']""", key) for key in keys[1:])
