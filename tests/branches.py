# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""branches.py ARGUMENT…: run pytest with these arguments, and say which branches of plugins/ no test has taken.

Fails where a test fails, or where fewer than REQUIRED percent of the branches are taken.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "coverage"
REQUIRED = 97.0


def coverage(*arguments: str) -> int:
    command = [sys.executable, "-m", "coverage", *arguments]
    environment = {**os.environ, "COVERAGE_RCFILE": str(ROOT / "tests" / "coverage.toml"), "MTLS_CHECKOUT": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def taken(report: Path) -> float:
    """Percent of the branches."""
    totals = json.loads(report.read_text())["totals"]
    return 100 * totals["covered_branches"] / totals["num_branches"]


def main(arguments: list[str]) -> int:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    tests = coverage("run", "-m", "pytest", *arguments)
    report = WORK / "report.json"
    if coverage("combine") or coverage("report") or coverage("html", f"--directory={WORK}/html", "--quiet"):
        return 1
    coverage("json", "-o", str(report), "--quiet")
    percent = taken(report)
    print(f"Branches: {percent:.1f} % taken, {REQUIRED:.0f} % required. Line by line: {WORK}/html/index.html")
    return 1 if tests or percent < REQUIRED else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
