# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""branches.py ARGUMENT…: run pytest with these arguments, and say which branches of plugins/ no test has taken.

Fails where a test fails, where fewer than REQUIRED percent of the branches are taken, or where a file is never read.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Container
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "coverage"
REQUIRED = 97.0


def coverage(*arguments: str) -> int:
    command = [sys.executable, "-m", "coverage", *arguments]
    environment = {**os.environ, "COVERAGE_RCFILE": str(ROOT / "tests" / "coverage.toml"), "MTLS_CHECKOUT": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def never_read(measured: Container[str]) -> list[str]:
    """The files that no process of the tests has imported: coverage.py does not know of them."""
    files = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "plugins").rglob("*.py"))
    code = [name for name in files if not name.endswith("/__init__.py") and "/doc_fragments/" not in name]
    return [name for name in code if name not in measured]


def main(arguments: list[str]) -> int:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    tests = coverage("run", "-m", "pytest", *arguments)
    report = WORK / "report.json"
    if coverage("combine") or coverage("report") or coverage("html", f"--directory={WORK}/html", "--quiet"):
        return 1
    coverage("json", "-o", str(report), "--quiet")
    measured = json.loads(report.read_text())
    percent = measured["totals"]["percent_branches_covered"]
    if unread := never_read(measured["files"]):
        print(f"Never read: {', '.join(unread)}")
    print(f"Branches: {percent:.1f} % taken, {REQUIRED:.0f} % required. Line by line: {WORK}/html/index.html")
    return 1 if tests or unread or percent < REQUIRED else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
