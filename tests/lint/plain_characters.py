# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work out which characters of a path are plain, and write them as regular expressions over their UTF-8.

    python tests/lint/plain_characters.py

The result is the same on each Python whose `unicodedata` is of the same Unicode version. A newer one adds nothing to
what must not be plain: what is unassigned now, in a block that is empty or holds compatibility forms, is not either.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

TARGET = Path(__file__).resolve().parents[2] / "plugins" / "module_utils" / "site" / "plain_characters.py"
# What the raw path may not hold either: characters that mean something in a path, and control characters.
STRUCTURE = frozenset("./\\;%?#\x7f") | {chr(code) for code in range(0x20)}
# Characters without a compatibility form that programs take for one of these all the same.
TAKEN_FOR = {
    # Microsoft's best fit for code page 1252 (https://www.unicode.org/Public/MAPPINGS/VENDORS/MICSFT/WindowsBestFit/)
    0x2044: "/",
    0x2215: "/",
    0x2216: "\\",
    # Larger ones of the same shape (Unicode chart U2980)
    0x29F8: "/",
    0x29F5: "\\",
    0x29F9: "\\",
    # The byte 5C in code pages 932 and 949
    0x00A5: "\\",
    0x20A9: "\\",
    # Full stops for IDNA (RFC 3490, section 3.1)
    0x3002: ".",
    0xFF61: ".",
}
# Default_Ignorable_Code_Point of https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt, as far as it
# is not in category Cf; assigned or not.
IGNORABLE = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
)
_BLOCK = 64  # code points that share all bytes of their UTF-8 but the last


@dataclass(frozen=True)
class Characters:
    """Code points from 80 up: `plain`, of these `spaces` (for some programs) and `letters` (no ASCII to anybody)."""

    plain: frozenset[int]
    spaces: frozenset[int]
    letters: frozenset[int]


@functools.lru_cache(maxsize=1)  # three questions about each
def meanings(character: str) -> str:
    """What programs make of a character that fold case or use compatibility forms (UAX #15, UTS #46), all in a row.

    Not what is left of it without its accents: é stays a letter of its own.
    """
    compatible = unicodedata.normalize("NFKC", character)
    folded = unicodedata.normalize("NFKC", compatible.casefold())
    return "".join([compatible, folded, character.casefold(), character.upper(), character.lower(), character.title()])


def is_ignorable(code: int) -> bool:
    """Whether programs drop it, or end a line there."""
    category = unicodedata.category(chr(code))
    return category in ("Cc", "Cf", "Zl", "Zp") or any(first <= code <= last for first, last in IGNORABLE)


def is_structure(code: int) -> bool:
    return any(one in STRUCTURE or ord(one) in TAKEN_FOR for one in chr(code) + meanings(chr(code)))


def is_space(code: int) -> bool:
    return unicodedata.category(chr(code)) == "Zs" or " " in meanings(chr(code))


def is_ascii_to_some(code: int) -> bool:
    return any(one.isascii() for one in meanings(chr(code)))


@functools.cache
def characters() -> Characters:
    codes = [code for code in range(0x80, 0x110000) if not 0xD800 <= code <= 0xDFFF]
    unassigned = {code for code in codes if unicodedata.category(chr(code)) == "Cn"}
    known = [code for code in codes if code not in unassigned]
    spaces = {code for code in known if is_space(code)}
    foreign = {code for code in known if is_structure(code) or is_ascii_to_some(code)}
    refused = {code for code in codes if is_ignorable(code)} | {code for code in known if is_structure(code)}
    for start in range(0x80, 0x110000, _BLOCK):
        block = range(start, start + _BLOCK)
        if foreign.intersection(block) or all(code in unassigned for code in block):
            refused.update(unassigned.intersection(block))
    plain = frozenset(codes) - refused
    # Who looks at letters has asked whether all is plain: what is not may be either, and the expression is shorter.
    return Characters(plain, plain & spaces, frozenset(codes) - (plain & foreign))


def expression(codes: Iterable[int]) -> str:
    """A regular expression for one of these code points in UTF-8, in which no alternative begins like another."""
    tree: dict[int, dict] = {}
    for code in codes:
        node = tree
        for byte in chr(code).encode():
            node = node.setdefault(byte, {})
    return _alternatives(tree)


def _alternatives(tree: Mapping[int, Mapping]) -> str:
    by_rest: dict[str, list[int]] = {}
    for byte, rest in tree.items():
        by_rest.setdefault(_alternatives(rest) if rest else "", []).append(byte)
    found = [_class(first) + rest for rest, first in sorted(by_rest.items(), key=lambda item: min(item[1]))]
    return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"


def _class(octets: Collection[int]) -> str:
    ranges: list[list[int]] = []
    for octet in sorted(octets):
        if ranges and ranges[-1][1] == octet - 1:
            ranges[-1][1] = octet
        else:
            ranges.append([octet, octet])
    parts = [
        f"\\x{first:02X}" + ("" if first == last else f"{'-' if last > first + 1 else ''}\\x{last:02X}")
        for first, last in ranges
    ]
    return parts[0] if len(octets) == 1 else f"[{''.join(parts)}]"


def module() -> str:
    """The file's text."""
    found = characters()
    parts = [
        "# Copyright (c) 2026, the mtls.nginx authors",
        "# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)",
        "# SPDX-License-Identifier: GPL-3.0-or-later",
        "",
        '"""Which characters of a path are plain, in UTF-8. Written by tests/lint/plain_characters.py."""',
        "",
        "from __future__ import annotations",
        "",
        f'UNICODE = "{unicodedata.unidata_version}"',
        "# No program takes one of these for a dot, a slash or the like, and none drops it.",
        *_assignment("PLAIN", found.plain),
        "# Some of them mean a space to somebody.",
        *_assignment("SPACES", found.spaces),
        "# No program takes one of these for an ASCII letter, digit or sign (or it is not among the plain ones).",
        *_assignment("LETTERS", found.letters),
    ]
    return "\n".join(parts) + "\n"


def _assignment(name: str, codes: Iterable[int]) -> list[str]:
    text = expression(codes)
    pieces = []
    while text:
        # A piece must not end within an escape.
        end = len(text) if len(text) <= 100 else text.rfind("\\", 0, 100)
        pieces.append(f'    r"{text[:end]}"')
        text = text[end:]
    return [f"{name} = (", *pieces, ")"]


if __name__ == "__main__":
    TARGET.write_text(module(), encoding="ascii")
