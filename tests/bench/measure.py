# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How things are timed: in processes of their own, both sides in turn, as often as asked."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build"
HERE = pathlib.Path(__file__).parent
MODULES = "ansible_collections.mtls.nginx.plugins.modules"


class BenchError(Exception):
    """A side that did not do its work, or cannot here: no number comes of it."""


class Skipped(Exception):
    """What a row needs and this machine does not have."""


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, the largest memory of any of its processes in bytes, and what it printed."""

    seconds: float
    peak: int
    text: str

    @property
    def result(self) -> dict:
        """The result of a module."""
        return json.loads(self.text)


@dataclass
class Measured:
    """One value a run for ours and, unless there is no peer, for the peer's; in seconds if not said otherwise.

    `details` are further values by what they are; `curve` is cost against n: (n, seconds, bytes).
    """

    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    unit: str = "s"
    peak: int = 0
    details: dict[str, list[float]] = field(default_factory=dict)
    curve: list[tuple[int, float, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Goal:
    """`at_most`: ours by the peer's. `at_least`: the peer's by ours, which is how many times faster ours is."""

    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table; `{n}` in its texts is how much of it there is, `tiny` how much in a smoke run."""

    name: str
    work: str
    against: str
    n: int
    tiny: int
    take: Callable[[Bench, int], Measured]
    goal: Goal | None = None

    def size(self, bench: Bench) -> int:
        return self.tiny if bench.tiny else self.n

    def work_of(self, bench: Bench) -> str:
        return self.work.format(n=f"{self.size(bench):,}")

    def against_of(self, bench: Bench) -> str:
        return self.against.format(n=f"{self.size(bench):,}")

    def measure(self, bench: Bench) -> Measured:
        bench.folder.mkdir(parents=True, exist_ok=True)
        return self.take(bench, self.size(bench))


@dataclass
class Bench:
    """Where one row works, and how often."""

    folder: pathlib.Path
    runs: int
    tiny: bool

    def turns(self) -> Iterator[tuple[int, bool]]:
        """Yield the number of each run and whether ours goes first: every other time."""
        for run in range(self.runs):
            yield run, run % 2 == 0

    def in_turns(self, ours: Callable[[], Cost], peer: Callable[[], Cost]) -> Measured:
        """Measure both sides, run by run."""
        measured = Measured()
        for _run, ours_first in self.turns():
            sides = [(measured.ours, ours), (measured.peer, peer)]
            for values, side in sides if ours_first else reversed(sides):
                cost = side()
                values.append(cost.seconds)
                if side is ours:
                    measured.peak = max(measured.peak, cost.peak)
        return measured

    def fresh(self, name: str, template: pathlib.Path | None = None) -> pathlib.Path:
        """Return a folder that is not there yet, or a copy of `template`.

        What is there is moved away, not removed: for minutes after that, ext4 without a journal searches for inodes
        that were not freed lately, which takes a new file longer the more there are.
        """
        folder = self.folder / name
        if folder.exists():
            folder.rename(tempfile.mkdtemp(prefix=f"{name}.", dir=self.folder))
        if template:
            shutil.copytree(template, folder)
        os.sync()  # what the preparation left to be written must not be paid for by what is measured
        return folder


def process(
    command: Sequence[object], *, given: str = "", folder: pathlib.Path | None = None, **environment: str
) -> Cost:
    """Run a command to its end; raises BenchError when it fails."""
    # Both sides' libraries are compiled once, as they are by default.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+") as stdin, tempfile.TemporaryFile("w+") as output:
        stdin.write(given)
        stdin.seek(0)
        start = time.perf_counter()
        started = subprocess.Popen(
            [*map(str, command)],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**inherited, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
        )
        # Not Popen.wait(): wait4 tells the memory of this process and of those it waited for.
        _pid, status, usage = os.wait4(started.pid, 0)
        seconds = time.perf_counter() - start
        started.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if started.returncode:
        raise BenchError(f"{' '.join(map(str, command))}: {text[-2000:]}")
    return Cost(seconds, usage.ru_maxrss * 1024, text)


def module(name: str, **options: object) -> Cost:
    """Run one of the collection's modules in a process of its own, Python's start included, Ansible's not."""
    return process([sys.executable, "-m", f"{MODULES}.{name}"], given=module_arguments(options))


def module_arguments(options: dict[str, object]) -> str:
    return json.dumps({"ANSIBLE_MODULE_ARGS": options})


def peer(*arguments: object) -> Cost:
    """Run one of the bare scripts in peers.py in a process of its own."""
    return process([sys.executable, HERE / "peers.py", *arguments])


def inside(cost: Cost) -> Cost:
    """Return what a script says of its work alone, without its start: the last line it printed."""
    return Cost(float(cost.text.splitlines()[-1]), cost.peak, cost.text)
