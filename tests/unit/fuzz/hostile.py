# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Input nobody wants, and what may come of it: a result, or one line that names what is wrong."""

from __future__ import annotations

import base64
from collections.abc import Callable

from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.common import entry
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

ODD_CHARACTERS = "\0\n\t\r\x1b\x7f\x85\u2028\u202e\ud800\udcff\ufeff'\"\\/.,+=<>;#$ {}%éÉßﬁ日😀"
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from(ODD_CHARACTERS)), max_size=70)
WORDS = st.one_of(TEXTS, st.from_regex(r"[a-z0-9][a-zA-Z0-9 ._@-]{0,20}", fullmatch=True))
NUMBERS = st.one_of(
    st.integers(-3, 400), st.sampled_from([10**6, 10**9, -(10**9), 10**12, 2**31, 2**63, 2**64, 10**40])
)
SCALARS = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.floats(allow_nan=False), st.dates(), st.datetimes(), WORDS, st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, st.integers()), inner, max_size=3)
    ),
    max_leaves=6,
)


def message_of(work: Callable[[], object]) -> str | None:
    """Return the line that ``entry.result_of`` would fail with, or None; anything else that is raised is a defect."""
    try:
        work()
    except MtlsError as error:
        message = str(error)
    except OSError as error:
        if error.filename is None:
            raise
        message = entry.describe(error)
    else:
        return None
    assert len(message.splitlines()) == 1, repr(message)
    return message


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Something that once was ``good``: cut off, with bytes changed, moved, doubled or put in."""
    data = bytearray(good)
    for _change in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        change = draw(st.sampled_from(["cut", "remove", "insert", "replace", "double", "flip"]))
        if change == "cut":
            del data[start:]
        elif change == "remove":
            del data[start:end]
        elif change == "insert":
            data[start:start] = draw(st.binary(max_size=20))
        elif change == "replace":
            data[start:end] = draw(st.binary(min_size=end - start, max_size=end - start))
        elif change == "double":
            data[start:start] = data[start:end]
        elif start < len(data):
            data[start] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


@st.composite
def damaged_pem(draw: st.DrawFn, good: bytes) -> bytes:
    """A PEM file, damaged as text or in the DER it holds."""
    if draw(st.booleans()):
        return draw(damaged(good))
    first, *lines, last = good.strip().splitlines()
    der = draw(damaged(base64.b64decode(b"".join(lines))))
    return b"\n".join((first, base64.encodebytes(der).strip(), last, b""))
