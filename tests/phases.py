# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make test` consists of: each phase is a target of the Makefile. A table at the end says how long each took.

The phases run in two lanes side by side, so that no processor is idle: what keeps one processor busy, or waits for
downloads or for hosts, has others beside it. MTLS_PHASES="NAME=SECONDS ..." is what was done before.
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
# Molecule mostly waits for its hosts: it leaves the processors to the integration tests, which use all of them.
LANES = (
    ("requirements", "lint", "build", "sanity", "fuzz", "molecule"),
    ("packages-integration", "images", "matrix-environments", "matrix-ends", "integration"),
)
NEEDS = {  # of the other lane
    "fuzz": ("packages-integration",),
    "molecule": ("images",),
    "matrix-ends": ("requirements",),
    "integration": ("requirements",),
}
SHOWN_AT_ONCE = (FIRST, "integration")  # the longest; what others have to say comes when they end
# Of the processors, for tests with something else beside them.
HALF = f"PARALLEL=--numprocesses={max(1, (os.cpu_count() or 1) // 2)} --dist=worksteal"
ARGUMENTS = {"fuzz": (HALF,), "matrix-ends": (HALF,)}
FAILED, NOT_REACHED = "FAILED", "not reached"


class Phases:
    """The results of the phases, in the order in which they ended."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float | None, str]] = []
        self.failed = False
        self._changed = threading.Condition()

    def run(self, name: str) -> None:
        """Make a target as soon as what it needs is there, unless one has failed."""
        with self._changed:
            self._changed.wait_for(lambda: self.failed or self._are_done(NEEDS.get(name, ())))
            if self.failed:
                self.rows.append((name, None, NOT_REACHED))
                return
        print(f"=== {name}: starts", flush=True)
        started = time.monotonic()
        command = ["make", "--no-print-directory", name, *ARGUMENTS.get(name, ())]
        captured = name not in SHOWN_AT_ONCE
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if captured else {}
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False, **output)
        with self._changed:
            if captured:
                print(f"=== {name}: has said\n{done.stdout.decode(errors='replace')}", flush=True)
            self.failed = self.failed or done.returncode != 0
            self.rows.append((name, time.monotonic() - started, FAILED if done.returncode else ""))
            self._changed.notify_all()

    def _are_done(self, names: tuple[str, ...]) -> bool:
        return set(names) <= {name for name, _seconds, _said in self.rows}

    def side_by_side(self) -> None:
        threads = [threading.Thread(target=self._lane, args=(names,), daemon=True) for names in LANES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _lane(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.run(name)


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
        phases.run(FIRST)
        phases.side_by_side()
    finally:
        print(table(phases.rows, time.monotonic() - started), flush=True)
    return 1 if phases.failed else 0


if __name__ == "__main__":
    sys.exit(main())
