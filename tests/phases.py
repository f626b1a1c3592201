# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make test` consists of: each phase is a target of the Makefile. A table at the end says how long each took.

The first phases keep one processor busy or wait for downloads, and run in two lanes side by side, as do the last:
Molecule mostly waits for its hosts. The others use all processors, and come one after the other.
MTLS_PHASES="NAME=SECONDS …" is what was done before.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIRST = "environment"
LANES = (("requirements", "lint", "build", "sanity"), ("packages-integration", "images", "matrix-environments"))
TESTS = ("fuzz", "integration")
LAST = (("matrix-ends",), ("molecule",))
FAILED, NOT_REACHED = "FAILED", "not reached"


class Phases:
    """The results of the phases, in the order in which they ended."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float | None, str]] = []
        self.failed = False
        self._lock = threading.Lock()

    def run(self, name: str, *, captured: bool) -> None:
        """Make a target, unless one has failed. What runs beside others says what it has to say at its end."""
        if self.failed:
            self.rows.append((name, None, NOT_REACHED))
            return
        print(f"=== {name}: starts", flush=True)
        started = time.monotonic()
        command = ["make", "--no-print-directory", name]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if captured else {}
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False, **output)
        with self._lock:
            if captured:
                print(f"=== {name}: has said\n{done.stdout.decode(errors='replace')}", flush=True)
            self.failed = self.failed or done.returncode != 0
            self.rows.append((name, time.monotonic() - started, FAILED if done.returncode else ""))

    def lane(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.run(name, captured=True)

    def side_by_side(self, lanes: tuple[tuple[str, ...], ...]) -> None:
        threads = [threading.Thread(target=self.lane, args=(names,), daemon=True) for names in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def table(rows: list[tuple[str, float | None, str]], total: float) -> str:
    lines = ["", f"{'phase':<22}{'s':>6}"]
    for name, seconds, said in [*rows, ("all", total, "")]:
        lines.append(f"{name:<22}{'' if seconds is None else round(seconds):>6}  {said}".rstrip())
    return "\n".join(lines)


def main() -> int:
    started = time.monotonic()
    phases = Phases()
    for name, seconds in (word.split("=") for word in os.environ.get("MTLS_PHASES", "").split()):
        phases.rows.append((name, float(seconds), ""))
        started -= float(seconds)
    try:
        phases.run(FIRST, captured=False)
        phases.side_by_side(LANES)
        for name in TESTS:
            phases.run(name, captured=False)
        phases.side_by_side(LAST)
    finally:
        print(table(phases.rows, time.monotonic() - started), flush=True)
    return 1 if phases.failed else 0


if __name__ == "__main__":
    sys.exit(main())
