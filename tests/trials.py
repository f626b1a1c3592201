# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs pytest again and again, once for each change that some case should miss, and remembers what it learns.

Each run is a fork of a process that has imported what belongs to others, and ends at the first case that fails. The
cases that are likely to fail come first: the one that noticed this change last time, then those that noticed most.
What is remembered only orders cases. A change counts as missed when every case has passed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import itertools
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any, Generic, TypeVar

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
MEMORY = REPOSITORY / "build" / "mutants"
# What tests import and no trial changes: each fork has it already. What is not installed is not needed.
_OTHERS = (
    *("ansible.module_utils.basic", "ansible.plugins.loader", "ansible.template", "asyncio", "concurrent.futures"),
    *("cryptography.hazmat.primitives.serialization.pkcs12", "cryptography.x509", "http.client", "http.server"),
    *("hypothesis", "jinja2", "jinja2.sandbox", "pkcs11", "ssl", "yaml"),
)
_BUSIEST = 6  # cases that go ahead because they notice most

T = TypeVar("T")


@dataclass
class Memory:
    """What earlier runs of one set of tests have taught; lives in `build/`, and may be deleted."""

    path: pathlib.Path
    killers: dict[str, str] = field(default_factory=dict)  # case by change
    seconds: dict[str, float] = field(default_factory=dict)  # by test file

    @classmethod
    def load(cls, name: str) -> Memory:
        path = MEMORY / f"{name}.json"
        return cls(path, **json.loads(path.read_text())) if path.exists() else cls(path)

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"killers": self.killers, "seconds": self.seconds}, indent=1)
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)

    def learn(self, run: Run[Any], case: str | None, seconds: dict[str, float]) -> None:
        if run.change is None:
            self.seconds.update(seconds)
        elif case and "::" in case:
            self.killers[run.key] = case
        else:
            self.killers.pop(run.key, None)
        self.save()

    def rank(self, key: str) -> Callable[[str], tuple[float, ...]]:
        """Return what sorts node ids, the likeliest first; cases of one file stay together after the first few."""
        counted = Counter(self.killers.values())
        busiest = [case for case, _count in counted.most_common(_BUSIEST)]
        files = Counter(case.partition("::")[0] for case in self.killers.values())

        def place(case: str) -> tuple[float, ...]:
            if case == self.killers.get(key):
                return (0,)
            if case in busiest:
                return (1, busiest.index(case))
            file = case.partition("::")[0]
            return (2, self.seconds.get(file, 1.0) / (1 + files[file]))

        return place


class _InOrder:
    """A plugin of pytest: runs the likeliest cases first, and writes down which fails first."""

    def __init__(self, place: Callable[[str], tuple[float, ...]], without: frozenset[str], notes: pathlib.Path) -> None:
        self._place = place
        self._without = without
        self._notes = notes
        self._seconds: Counter[str] = Counter()
        self._failed: str | None = None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid not in self._without]
        items.sort(key=lambda item: self._place(item.nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("::")[0]] += report.duration
        if report.failed and self._failed is None:
            self._failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self._failed is None:
            self._failed = report.nodeid

    def pytest_sessionfinish(self) -> None:
        self._notes.write_text(json.dumps({"failed": self._failed, "seconds": self._seconds}))


@dataclass(frozen=True)
class Verdict(Generic[T]):
    """`case` is the one that noticed `change`, or how the run ended otherwise; None where every case passed."""

    change: T
    case: str | None
    output: str


@dataclass(frozen=True)
class Run(Generic[T]):
    """One run to be made. `prepare` is called in its process, with an empty folder, and returns plugins for pytest.

    Where `change` is None, everything is as it is, and all cases run.
    """

    change: T
    key: str
    tests: Sequence[str]
    prepare: Callable[[pathlib.Path], Sequence[Any]]
    seconds: int
    arguments: Sequence[str] = ()
    twice: bool = False  # a failure counts if the case fails again, alone: for tests with servers on a busy machine
    without: frozenset[str] = frozenset()  # cases that failed, and then did not
    suspect: str | None = None  # the case that has failed once


class BrokenRun(Exception):
    """pytest ended in a way that says nothing of the change: an unknown file, an internal error."""


def import_others() -> None:
    for name in _OTHERS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def verdicts(runs: Iterable[Run[T]], memory: Memory, jobs: int = 1) -> Iterator[Verdict[T]]:
    """Make the runs, so many at a time, and yield what came of each as soon as it has ended."""
    import_others()
    fork = multiprocessing.get_context("fork")
    waiting, numbers, again, busy = iter(runs), itertools.count(), [], {}
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="mtls-trials-") as folder:
        try:
            while True:
                while len(busy) < jobs and (run := again.pop() if again else next(waiting, None)):
                    place = pathlib.Path(folder, str(next(numbers)))
                    place.mkdir()
                    process = fork.Process(target=_run, args=(run, memory.rank(run.key), place))
                    process.start()
                    busy[process.sentinel] = process, run, place
                if not busy:
                    return
                for sentinel in connection.wait(busy):
                    process, run, place = busy.pop(sentinel)
                    process.join()
                    _end_group(process.pid)
                    case, seconds = _outcome(run, process.exitcode, place)
                    output = (place / "output").read_text(errors="replace")
                    shutil.rmtree(place)
                    if more := _once_more(run, case):
                        again.append(more)
                        continue
                    memory.learn(run, case, seconds)
                    yield Verdict(run.change, case, output)
        finally:
            for process, *_rest in busy.values():
                _end_group(process.pid)


def _once_more(run: Run[T], case: str | None) -> Run[T] | None:
    """Return the run that must follow before anything is said: the case alone, or all the others."""
    if run.suspect is None:
        return dataclasses.replace(run, suspect=case) if run.twice and case and "::" in case else None
    if case is None:
        return dataclasses.replace(run, suspect=None, without=run.without | {run.suspect})
    return None


def _run(run: Run[T], place: Callable[[str], tuple[float, ...]], folder: pathlib.Path) -> None:
    os.setsid()
    with (folder / "output").open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(REPOSITORY)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.alarm(run.seconds)  # a change may make it run for ever
    plugins = [_InOrder(place, run.without, folder / "notes"), *run.prepare(folder)]
    stops = () if run.change is None else ("-x",)
    tests = [run.suspect] if run.suspect else run.tests
    arguments = ["-q", *stops, "-o", f"cache_dir={folder}/cache", *run.arguments, *tests]
    os._exit(pytest.main(arguments, plugins=plugins))


def _end_group(group: int) -> None:
    """End what the run has left behind: servers of a test that never came to their end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _outcome(run: Run[T], code: int, place: pathlib.Path) -> tuple[str | None, dict[str, float]]:
    if code == -signal.SIGALRM:
        return f"not done within {run.seconds} seconds", {}
    notes = place / "notes"
    said = json.loads(notes.read_text()) if notes.exists() else {"failed": None, "seconds": {}}
    if code == 0:
        return None, said["seconds"]
    if said["failed"]:
        return said["failed"], said["seconds"]
    output = (place / "output").read_text(errors="replace")
    if "ImportError while loading conftest" in output:
        return "the tests' own conftest", {}
    raise BrokenRun(f"{run.key}: pytest ended with {code}:\n{output[-3000:]}")
