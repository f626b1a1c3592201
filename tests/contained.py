# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""contained.py COMMAND…: run a command, then end every process it has left behind. Linux only.

A daemon detaches itself from the command that started it. While this process is a "child subreaper" (prctl(2)) such
daemons become its children, and none is missed. Services that a service manager starts are the manager's children.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 10.0  # seconds between asking a process to end and ending it


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def reap() -> None:
    """Take leave of the children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end_leftovers() -> None:
    """Terminate, then kill. What a process leaves behind in its turn becomes our child: hence the loop."""
    deadline = time.monotonic() + PATIENCE
    asked: set[int] = set()
    reap()
    while pids := children():
        for pid in pids:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            elif pid not in asked:
                asked.add(pid)
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
                print("Still running at the end, stopped:", *words, file=sys.stderr)
                os.kill(pid, signal.SIGTERM)
        time.sleep(0.1)
        reap()


def interrupted(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main(command: list[str]) -> int:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)
    try:
        process = subprocess.Popen(command)
        while True:
            pid, status = os.wait()  # orphans that end meanwhile are reaped here
            if pid == process.pid:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
    finally:
        end_leftovers()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
