# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs tests again and again, once for each change that some case should miss.

pytest collects once. For each change its process forks, and the fork makes the change and runs cases until one fails.
A change counts as missed when every case has passed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import math
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
MEMORY = REPOSITORY / "build" / "mutants"
# What tests import and no trial changes: each fork has it already. What is not installed is not needed.
_OTHERS = (
    *("ansible.module_utils.basic", "ansible.plugins.loader", "ansible.template", "asyncio", "concurrent.futures"),
    *("cryptography.hazmat.primitives.serialization.pkcs12", "cryptography.x509", "http.client", "http.server"),
    *("jinja2", "jinja2.sandbox", "pkcs11", "ssl", "yaml"),
)
_BUSIEST = 6  # cases that go ahead because they notice most
NOTHING_CHANGED = "nothing changed"
GAVE_UP = "gave up"


@dataclass(frozen=True)
class Failure:
    """The case that noticed a change, or how its process ended otherwise, and what it said."""

    case: str
    reason: str = ""


@dataclass
class Memory:
    """Which case noticed a change last time; lives in `build/`, may be deleted, and only orders cases."""

    path: pathlib.Path
    killers: dict[str, str] = field(default_factory=dict)  # case by change

    @classmethod
    def load(cls, name: str) -> Memory:
        path = MEMORY / f"{name}.json"
        return cls(path, json.loads(path.read_text()) if path.exists() else {})

    def learn(self, key: str, case: str | None) -> None:
        if case and "::" in case:
            self.killers[key] = case
        else:
            self.killers.pop(key, None)

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.killers, indent=1))

    def rank(self, key: str, seconds: Mapping[str, float]) -> Callable[[str], int]:
        """Return what sorts node ids: the case that noticed last time, those that notice most, all others.

        :arg seconds: what each test file takes: a case of a slow one must notice more to go ahead.
        """
        noticed = Counter(self.killers.values())
        worth = {case: count / seconds.get(case.partition("::")[0], 1.0) for case, count in noticed.items()}
        busiest = sorted(worth, key=lambda case: -worth[case])[:_BUSIEST]
        first = [case for case in (self.killers.get(key), *busiest) if case]
        return lambda case: first.index(case) if case in first else len(first)


def in_a_fork(work: Callable[[], Any], seconds: float, cpu: float = 0) -> tuple[Any, int]:
    """Run something in a fork; return what it returned, as JSON has it, and its exit status.

    It may take so many seconds at most, and `cpu` seconds of a processor, if that is not 0.

    Whatever it has started ends with it.
    """
    receives, sends = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, seconds)  # a change may make it run for ever
            signal.setitimer(signal.ITIMER_PROF, cpu)
            os.write(sends, json.dumps(work()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(sends)
    ended = False
    try:
        _pid, status = os.waitpid(pid, 0)
        ended = True
    finally:
        if not ended:  # it is told to end what it has started
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    with os.fdopen(receives, "rb") as stream:
        said = stream.read() if status == 0 else b""
    return json.loads(said) if said else None, status


class Forks:
    """A plugin of pytest that collects, and then runs `trial` in place of the tests."""

    def __init__(self, trial: Callable[[Forks, pytest.Session], None]) -> None:
        self._trial = trial
        self._failure: tuple[str, str] | None = None
        self.seconds: Counter[str] = Counter()  # by case

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed and self._failure is None:
            said = re.search(r"(?m)^E +(.{1,160})", report.longreprtext)
            self._failure = report.nodeid, said[1] if said else ""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._trial(self, session)
        return True

    def run(
        self, items: Sequence[pytest.Item], *, seconds: float = math.inf, each: float = 0
    ) -> tuple[str, str] | None:
        """Run cases until one fails, and return it with what it said. What lives as long as the session lives on.

        :arg seconds: how long; `GAVE_UP` is returned when there are cases left then.
        :arg each: how long one case may take, if that is not 0.
        """
        until = time.monotonic() + seconds
        for item, following in zip(items, [*items, None][1:], strict=True):
            if time.monotonic() > until:
                return GAVE_UP, ""
            nobody = types.SimpleNamespace(listchain=lambda item=item: [item.session])
            with _alarm(each):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following or nobody)
            if self._failure:
                return self._failure
        return None

    def first_failure(
        self,
        items: Sequence[pytest.Item],
        change: Callable[[], bool],
        seconds: float,
        *,
        cpu: float = 0,
        each: float = 0,
        twice: bool = False,
    ) -> Failure | None:
        """Return what fails after a change, None if nothing does.

        :arg change: makes it, and tells whether there was something to be changed.
        :arg each: how long one case may take, if that is not 0; then `seconds` end with `GAVE_UP`, between two cases.
        :arg twice: a failure counts if the case fails again, alone: for tests with servers on a busy machine.
        """

        def work(chosen: Sequence[pytest.Item]) -> tuple[str, str] | None:
            try:
                if not change():
                    return NOTHING_CHANGED, ""
            except Exception as error:
                return "cannot be imported", repr(error)
            return self.run(chosen, seconds=seconds, each=each) if each else self.run(chosen)

        def changed(chosen: Sequence[pytest.Item]) -> Failure | None:
            with _tidy():
                found, status = in_a_fork(functools.partial(work, chosen), seconds + 2 * each, cpu)
            if os.WIFSIGNALED(status):
                return Failure(f"ended by {signal.Signals(os.WTERMSIG(status)).name}")
            if status:
                raise RuntimeError(f"a fork ended with {os.WEXITSTATUS(status)}")
            return Failure(*found) if found else None

        left = list(items)
        while failure := changed(left):
            again = [item for item in left if item.nodeid == failure.case]
            if not twice or not again or changed(again):
                return failure
            left.remove(again[0])
        return None


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in here after so many seconds, if that is not 0. The alarm that rang before rings after."""

    def ring(*_signal: object) -> None:
        raise TimeoutError(f"it takes more than {seconds:.0f} seconds")

    if not seconds:
        yield
        return
    handler = signal.signal(signal.SIGALRM, ring)
    left, _every = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, handler)


@contextlib.contextmanager
def _tidy() -> Iterator[None]:
    """Remove what a fork's tests leave below the folder of `collected`, which it could not do itself."""
    root = pathlib.Path(os.environ["PYTEST_DEBUG_TEMPROOT"])
    before = set(root.glob("pytest-of-*/*/*"))
    try:
        yield
    finally:
        for path in set(root.glob("pytest-of-*/*/*")) - before:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def import_others() -> None:
    for name in _OTHERS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def collected(
    trial: Callable[[Forks, pytest.Session], None], arguments: Sequence[str], *, plugins: Sequence[object] = ()
) -> tuple[int, str]:
    """Let pytest collect, in a fork, and run `trial` in place of the tests; return its exit status and its output."""
    import_others()
    with tempfile.TemporaryDirectory(prefix="mtls-trials-") as folder:
        output = pathlib.Path(folder, "output")

        def work() -> int:
            end_with_the_parent()
            # The same examples for each change, however busy the machine is.
            hypothesis.settings.register_profile("trial", deadline=None, database=None, derandomize=True)
            hypothesis.settings.load_profile("trial")
            with output.open("wb") as stream:
                os.dup2(stream.fileno(), 1)
                os.dup2(stream.fileno(), 2)
            os.chdir(REPOSITORY)
            os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
            options = ["-q", "-p", "no:xdist", "-o", f"cache_dir={folder}/cache"]
            return int(pytest.main([*options, *arguments], plugins=[Forks(trial), *plugins]))

        code, status = in_a_fork(work, 24 * 3600)
        return code if status == 0 else status, output.read_text(errors="replace")


def end_with_the_parent() -> None:
    """End forks too when this process is told to end."""
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(1))
