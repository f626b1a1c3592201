# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules, each in a process of its own that need not start Python and import everything first.

A process that has imported the modules, and done nothing else, forks for each run. It ends with the one that asks.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn


@functools.cache
def _server(_thread: int) -> subprocess.Popen[str]:
    """One for each thread: what they ask at the same time runs at the same time."""
    server = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    atexit.register(server.communicate)
    return server


def run(module: str, given: str) -> tuple[str, str]:
    """Run a module by its Python name with ``given`` as its standard input; return its output and its error output."""
    server = _server(threading.get_ident())
    request = {"module": module, "given": given, "environment": dict(os.environ), "folder": os.getcwd()}
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    output, errors = json.loads(server.stdout.readline())
    return output, errors


def _serve() -> None:
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        main = importlib.import_module(request["module"]).main
        gc.freeze()  # so that no process searches what it has inherited, and has it copied by that
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            given.write(request["given"].encode())
            given.seek(0)
            pid = os.fork()
            if pid == 0:
                for number, file in enumerate((given, output, errors)):
                    os.dup2(file.fileno(), number)
                sys.stdin = os.fdopen(0)  # not what this process has read ahead
                os.environ.clear()
                os.environ.update(request["environment"])
                os.chdir(request["folder"])
                _end_of(main)
            os.waitpid(pid, 0)
            for file in (output, errors):
                file.seek(0)
            sys.stdout.write(json.dumps([file.read().decode() for file in (output, errors)]) + "\n")
            sys.stdout.flush()


def _end_of(main: Callable[[], None]) -> NoReturn:
    """Run a module to its end, with all that it does there, but without taking everything imported down in order."""
    try:
        main()
    except SystemExit:
        pass
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    _serve()
