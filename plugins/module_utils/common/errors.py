# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception a user is meant to read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any


class MtlsError(Exception):
    """A mistake or obstacle the user can remove.

    The text names the host, client or file, says what is wrong with it and what to do about it.
    ``entry.result_of`` makes it the task's failure message, without a traceback. It is one line, whatever
    characters are in the names it quotes. ``result`` is what the failed task returns beside it.
    """

    def __init__(self, text: str, result: Mapping[str, Any] | None = None) -> None:
        super().__init__(one_line(text))
        self.result = dict(result or {})


def one_line(text: str) -> str:
    """Return ``text`` with line breaks, control and invisible characters written as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def first_few(names: Collection[str], most: int = 5) -> str:
    """Return the first ``most`` of some names, and how many there are besides, for a message."""
    more = len(names) - most
    return ", ".join(islice(names, most)) + (f" and {more} more" if more > 0 else "")
