# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a long run is: a file that its processes write and the action plugin client_cert.py reads.

The file has a line with the number of certificates and then one octet for each half of one: its key, its files. It goes
with the run; what a killed one leaves goes with the next, by its name (``files.remove_unfinished``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Callable

_NAME = ".progress.new"
_FEWEST = 100  # certificates; a run of fewer is over at once
_HALVES = 2


@contextlib.contextmanager
def shown(ca_path: str, total: int) -> Iterator[Callable[[], None]]:
    """Keep the file for the length of the ``with``; yield what is to be called after each half of a certificate.

    It may be called in forked processes. A disk that is full is no reason to stop here.
    """
    if total < _FEWEST:
        yield lambda: None
        return
    path = os.path.join(ca_path, _NAME)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def count(octets: bytes = b".") -> None:
        with contextlib.suppress(OSError):
            os.write(descriptor, octets)

    try:
        count(b"%d\n" % total)
        yield count
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def read(ca_path: str, since: float) -> tuple[int, int] | None:
    """Return how many certificates are done and how many there are in all.

    None when no long run has been at work ``since`` then, in seconds since the epoch: a killed one leaves its file.
    """
    try:
        with open(os.path.join(ca_path, _NAME), "rb") as stream:
            if os.fstat(stream.fileno()).st_mtime < since:
                return None
            total, _newline, halves = stream.read().partition(b"\n")
    except OSError:
        return None
    return (len(halves) // _HALVES, int(total)) if total.isdigit() else None
