# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on many items in as many processes as there are cores, at once or while something else is done."""

from __future__ import annotations

import gc
import os
import pickle
import struct
from collections.abc import Sequence
from typing import Any, Callable, Generic, TypeVar

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

T = TypeVar("T")
R = TypeVar("R")

_TICKET = struct.Struct("=I")
_MOST_TICKETS = 8192  # they wait in a pipe, and a pipe holds 64 KiB
_FEWEST_ITEMS = 4  # below, a fork costs more than it saves


def spread(work: Callable[[T], R], items: Sequence[T], conclude: Callable[[], None] | None = None) -> list[R]:
    """Return ``[work(item) for item in items]``, computed by forked processes.

    Each process takes the next item when it is free, so that slow ones do not hold up the rest; when there are none,
    or after an error, it calls ``conclude``. ``work`` and the items are inherited, results and exceptions come back
    pickled. A process whose parent was killed finishes what is left and ends: it never waits for anybody. Raises
    what ``work`` raised first.
    """
    results: list[R] = []
    for start in range(0, len(items), _MOST_TICKETS):
        results += Spread(work, items[start : start + _MOST_TICKETS], conclude).results()
    return results


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Spread(Generic[T, R]):
    """What ``spread`` does with up to 8,192 items, begun at once; ``results`` waits for it and is called once."""

    def __init__(self, work: Callable[[T], R], items: Sequence[T], conclude: Callable[[], None] | None = None) -> None:
        self._work = work
        self._items = items
        self._conclude = conclude or _nothing_more
        self._workers: list[tuple[int, int]] = []
        count = min(cores(), len(items))
        if count < 2 or len(items) < _FEWEST_ITEMS:
            return  # then ``results`` does it all
        tickets, dispenser = os.pipe()
        os.write(dispenser, b"".join(_TICKET.pack(number) for number in range(len(items))))
        os.close(dispenser)
        self._workers = [_start(work, items, tickets, self._conclude) for _worker in range(count)]
        os.close(tickets)

    def results(self) -> list[R]:
        """Return what ``spread`` returns; raises what it raises."""
        if not self._workers:
            try:
                return [self._work(item) for item in self._items]
            finally:
                self._conclude()
        results: dict[int, R] = {}
        failure: BaseException | None = None
        for process, channel in self._workers:
            with open(channel, "rb") as stream:
                answer = stream.read()
            _pid, status = os.waitpid(process, 0)
            if status:
                failure = failure or MtlsError(
                    f"a process of this run was ended from outside (wait status {status}), perhaps for lack of memory; "
                    "run again: what was done is kept"
                )
                continue
            done, error = pickle.loads(answer)
            results.update(done)
            failure = failure or error
        if failure:
            raise failure
        return [results[number] for number in range(len(self._items))]


def _nothing_more() -> None:
    pass


def _start(
    work: Callable[[Any], Any], items: Sequence[Any], tickets: int, conclude: Callable[[], None]
) -> tuple[int, int]:
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return process, reader
    status = 1
    try:
        os.close(reader)
        gc.freeze()  # what was inherited is never garbage here, and need not be searched for it
        answer = pickle.dumps(_take_tickets(work, items, tickets, conclude))
        with open(writer, "wb") as stream:
            stream.write(answer)
        status = 0
    finally:
        os._exit(status)  # never run what the parent has registered for its own end


def _take_tickets(
    work: Callable[[Any], Any], items: Sequence[Any], tickets: int, conclude: Callable[[], None]
) -> tuple[dict[int, Any], Exception | None]:
    done: dict[int, Any] = {}
    failure: Exception | None = None
    while failure is None and (ticket := os.read(tickets, _TICKET.size)):
        (number,) = _TICKET.unpack(ticket)
        try:
            done[number] = work(items[number])
        except Exception as error:
            failure = error
            while os.read(tickets, 1 << 16):  # the others need not go on
                pass
    try:
        conclude()
    except Exception as error:
        failure = failure or error
    return done, failure
