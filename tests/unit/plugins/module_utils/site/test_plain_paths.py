# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of plain characters is what the script makes of Unicode's data. nginx reads it in tests/gate."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import nginx_quote
from ansible_collections.mtls.nginx.plugins.module_utils.site import plain_characters, plain_paths
from ansible_collections.mtls.nginx.tests.lint import plain_characters as script


def lines(first: int, last: int) -> bytes:
    return "\n".join(map(chr, range(first, last + 1))).encode()


@functools.cache
def matching(expression: str) -> frozenset[int]:
    """All characters beyond ASCII that match in whole; a match of more than one character is an error."""
    pattern = re.compile(rb"^(?:%b)$" % expression.encode(), re.MULTILINE)
    return frozenset(ord(match.group().decode()) for match in pattern.finditer(everything()))


@functools.cache
def everything() -> bytes:
    return b"\n".join([lines(0x80, 0xD7FF), lines(0xE000, 0x10FFFF)])


def test_the_file_is_what_the_script_writes():
    if unicodedata.unidata_version == plain_characters.UNICODE:
        assert script.TARGET.read_text(encoding="ascii") == script.module()


@pytest.mark.slow
def test_no_program_reads_a_plain_character_otherwise():
    """As far as this Python's Unicode knows, which may be newer than the table."""
    plain = {code for code in matching(plain_characters.PLAIN) if unicodedata.category(chr(code)) not in ("Cn", "Co")}
    letters = plain & matching(plain_characters.LETTERS)
    spaces = matching(plain_characters.SPACES)
    wrong: dict[str, list[str]] = {"ignorable": [], "structure": [], "ASCII to some": [], "space": []}
    for code in sorted(plain):
        for what, is_so in (
            ("ignorable", script.is_ignorable(code)),
            ("structure", script.is_structure(code)),
            ("ASCII to some", code in letters and script.is_ascii_to_some(code)),
            ("space", code not in spaces and script.is_space(code)),
        ):
            if is_so:
                wrong[what].append(f"{code:X}")
    assert not any(wrong.values()), wrong
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
    keys = [nginx_quote(plain_paths.ODD_REQUEST), plain_paths.ODD_CHARACTERS, plain_paths.ODD_LETTERS]
    assert max(map(len, keys)) < 4000
    assert not any(re.search(r"""\\[^x]|["']""", key) for key in keys[1:])


# --- the keys, as nginx reads them: PCRE on octets, found anywhere


@functools.cache
def compiled(key: str) -> re.Pattern[bytes]:
    kind, expression = re.fullmatch(r"(?s)(~\*?)(.*)", key).groups()
    flags = re.IGNORECASE if kind == "~*" else 0
    return re.compile(expression.replace("(?<mtls_", "(?P<mtls_").encode(), flags)


def finds(key: str, text: bytes) -> re.Match[bytes] | None:
    return compiled(key).search(text)


def reads(key: str, text: bytes) -> bool:
    """Whether the map says that it is plain: of a request's path, or of a verdict and the characters of one."""
    begin = b"1:"
    if key == plain_paths.ODD_REQUEST:
        begin, text = b"/", finds(plain_paths.SENT, text)[plain_paths.SENT_VARIABLE]
    return not finds(key, text) and text.startswith(begin)


def may_stand(octet: int) -> bool:
    """Nothing that ends a path, leads out of it or is decoded again."""
    return (0x20 < octet < 0x7F and chr(octet) not in "%./;?#\\") or octet >= 0x80


RAW = [bytes([octet]) for octet in range(256)]
UPPER = [b"%%%02X" % octet for octet in range(256)]
LOWER = [b"%%%02x" % octet for octet in range(256)]
# Each piece of a segment, and whether it may stand at its beginning, or after that.
FIRST = {
    **{piece: piece.isascii() and may_stand(piece[0]) for piece in RAW},
    **{piece: may_stand(int(piece[1:], 16)) for piece in (*UPPER, *LOWER)},
    **dict.fromkeys((b"%", b"%2", b"%4", b"%G0", b"%4G", b"%%41", b"%.41"), False),
}
LATER = {**FIRST, b".": True, b"%20": True}


def test_which_piece_may_begin_a_segment():
    assert {piece for piece in FIRST if reads(plain_paths.ODD_REQUEST, b"/" + piece)} == {
        piece for piece, may in FIRST.items() if may or piece == b"?"
    }


def test_which_piece_may_follow_in_a_segment():
    """A slash begins the next one, a question mark ends the path."""
    assert {piece for piece in LATER if reads(plain_paths.ODD_REQUEST, b"/a" + piece + b"z/c")} == {
        piece for piece, may in LATER.items() if may
    } | {b"/", b"?"}
    assert {piece for piece in LATER if reads(plain_paths.ODD_REQUEST, b"/a/b" + piece)} == {
        piece for piece, may in LATER.items() if may
    } | {b"/", b"?"}


def test_an_escape_has_two_digits():
    digits = set(b"0123456789abcdefABCDEF")
    wrong = [
        text
        for text in (b"/%" + bytes(pair) for pair in itertools.product(range(128), repeat=2))
        if reads(plain_paths.ODD_REQUEST, text) != (set(text[2:]) <= digits and may_stand(int(text[2:], 16)))
    ]
    assert wrong == []


def test_what_may_follow_a_dot_that_begins_a_segment():
    letters = {bytes([octet]) for octet in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"}
    assert {piece for piece in LATER if reads(plain_paths.ODD_REQUEST, b"/." + piece)} == letters


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/?a=/../b",
        b"/a",
        b"/a/",
        b"/a?",
        b"/a?b=/../c",
        b"/a/?x",
        b"/a.b..c./d",
        b"/.well-known/-x",
        b"/a%20b%20",
        b"/%C3%a9",
    ],
)
def test_plain_as_sent(path):
    assert reads(plain_paths.ODD_REQUEST, path)


@pytest.mark.parametrize(
    "path",
    [b"", b"?", b"a", b"*", b"//", b"//a", b"/a//", b"/a//b", b"/a//?", b"/..", b"/a/../b", b"/a/.", b"/a/./b", b"/...",
     b"/a\n", b"/\n", b"/a/\n", b"http://h/a", b"x/a", b"/a#b", b"/a%", b"/a%2", b"/a%2E", b"/a%2f", b"/a;b", b"/%20a"],
)  # fmt: skip
def test_not_plain_as_sent(path):
    assert not reads(plain_paths.ODD_REQUEST, path)


def test_any_two_pieces_of_a_segment():
    pieces = [*RAW[:128], *UPPER]
    odd = {b".", b"/", b"?"}
    wrong = [
        first + second
        for first, second in itertools.product(pieces, pieces)
        if not odd & {first, second}
        and reads(plain_paths.ODD_REQUEST, b"/" + first + second) != (FIRST[first] and LATER[second])
    ]
    assert wrong == []


@pytest.mark.parametrize("key", [plain_paths.ODD_CHARACTERS, plain_paths.ODD_LETTERS])
def test_which_octets_are_plain_when_decoded(key):
    printable = set(range(0x20, 0x7F))
    assert {octet for octet in range(256) if reads(key, b"1:/a" + bytes([octet]) + b"z")} == printable
    assert {octet for octet in range(256) if reads(key, b"1:/" + bytes([octet]))} == printable
    assert reads(key, b"1:/a/\xc3\xa9/") is True
    assert reads(key, b"1:/%s" % (b"ab/" * 500))
    for text in (
        b"",
        b"1",
        b":/a",
        b"0:/a",
        b"11:/a",
        b"01:/a",
        b"1/a",
        b"1:/a\n",
        b"1:/\xc3",
        b"x1:/a",
    ):
        assert not reads(key, text)
    assert reads(key, "1:/a\u2024".encode()) is (key == plain_paths.ODD_LETTERS)  # a dot to some, no letter


def test_bytes_that_are_no_character_are_never_plain():
    """All pairs and triples around the edges of UTF-8, as a decoder sees them."""
    edges = [0x41, 0x7F, 0x80, 0x8F, 0x9F, 0xA9, 0xBF, 0xC0, 0xC1, 0xC2, 0xC3, 0xDF, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xFF]
    plain = matching(plain_characters.PLAIN)
    wrong = []
    for octets in map(bytes, itertools.chain.from_iterable(itertools.product(edges, repeat=n) for n in (1, 2, 3, 4))):
        try:
            decoded = octets.decode()
        except UnicodeDecodeError:
            decoded = None
        meant = decoded is not None and all(one == "A" or ord(one) in plain for one in decoded)
        if reads(plain_paths.ODD_CHARACTERS, b"1:/x" + octets) != meant:
            wrong.append(octets)
    assert wrong == []


def test_a_space_of_any_kind_begins_no_segment():
    spaces = [chr(code).encode() for code in sorted(matching(plain_characters.SPACES))]
    assert spaces
    assert [text for text in spaces if reads(plain_paths.ODD_CHARACTERS, b"1:/a/" + text)] == []
    assert [text for text in spaces if not reads(plain_paths.ODD_CHARACTERS, b"1:/a" + text)] == []


def test_a_character_that_is_ascii_to_some_is_plain_and_no_letter_of_its_own():
    for text in ("\u212a", "\u017f", "\u00ba"):
        assert reads(plain_paths.ODD_CHARACTERS, f"1:/a{text}".encode()) != reads(
            plain_paths.ODD_LETTERS, f"1:/a{text}".encode()
        )
