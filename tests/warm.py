# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Python programs, each in a process of its own that need not start Python and import everything first.

A process that has imported a program, and done nothing else, forks for each run. It ends with the one that asks.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import gc
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn

_PATIENCE = 300  # seconds for one run


@dataclasses.dataclass
class Done:
    """What a program said, and its exit status: below zero the signal that ended it."""

    status: int
    output: str
    errors: str


def run(
    program: str,
    *arguments: str,
    given: str = "",
    ahead: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    folder: str | os.PathLike[str] = ".",
    merged: bool = False,
) -> Done:
    """Run `main()` of a Python module with `given` as its standard input, in this process's environment or another.

    `ahead` are more modules to import before. What is imported sees the environment, if one is given. `merged` has what
    goes to the error output in the output too, in its place.
    """
    server = _server(threading.get_ident(), None if environment is None else tuple(sorted(environment.items())))
    request = {
        "program": program,
        "arguments": [*map(str, arguments)],
        "given": given,
        "ahead": ahead,
        "environment": dict(os.environ) if environment is None else environment,
        "folder": os.path.abspath(folder),
        "merged": merged,
    }
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return Done(*json.loads(server.stdout.readline()))


@functools.cache
def _server(_thread: int, environment: tuple[tuple[str, str], ...] | None) -> subprocess.Popen[str]:
    """One for each thread: what they ask at the same time runs at the same time."""
    given = dict(os.environ if environment is None else environment)
    paths = [*given.get("PYTHONPATH", "").split(os.pathsep), *sys.path]
    server = subprocess.Popen(
        [sys.executable, "-P", __file__],  # not by its name: Ansible imports ansible_collections in its own way
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**given, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, paths)))},
    )
    atexit.register(server.communicate)
    return server


def _serve() -> None:
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        for name in request["ahead"]:
            importlib.import_module(name)
        main = importlib.import_module(request["program"]).main
        gc.freeze()  # so that no process searches what it has inherited, and has it copied by that
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            given.write(request["given"].encode())
            given.seek(0)
            pid = os.fork()
            if pid == 0:
                for number, file in enumerate((given, output, output if request["merged"] else errors)):
                    os.dup2(file.fileno(), number)
                sys.stdin = os.fdopen(0)  # not what this process has read ahead
                os.environ.clear()
                os.environ.update(request["environment"])
                os.chdir(request["folder"])
                sys.argv = [request["program"], *request["arguments"]]
                _own_temporary_folder()
                signal.alarm(_PATIENCE)
                _end_of(main)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            for file in (output, errors):
                file.seek(0)
            said = [file.read().decode(errors="replace") for file in (output, errors)]
            sys.stdout.write(json.dumps([status, *said]) + "\n")
            sys.stdout.flush()


def _own_temporary_folder() -> None:
    """Ansible makes a folder when it is imported, for the process that imports it, and removes it at its end.

    What it keeps there of modules, ready for hosts, is the same for all.
    """
    constants = sys.modules.get("ansible.constants")
    if constants is not None:
        modules = os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")
        os.makedirs(modules, exist_ok=True)
        parent, prefix = os.path.split(constants.DEFAULT_LOCAL_TMP)
        constants.DEFAULT_LOCAL_TMP = tempfile.mkdtemp(dir=parent, prefix=f"{prefix}-{os.getpid()}-")
        atexit.register(shutil.rmtree, constants.DEFAULT_LOCAL_TMP, ignore_errors=True)
        os.symlink(modules, os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache"))


def _end_of(main: Callable[[], None]) -> NoReturn:
    """Run a program to its end, with all that it does there, but without taking everything imported down in order."""
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
