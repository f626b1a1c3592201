# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""branches.py ARGUMENT…: run pytest with these arguments, and say which branches of plugins/ no test has taken.

Fails where a test fails, where fewer than REQUIRED percent of the branches are taken, or where a file is never read.
Which branches no test takes, and why, is in unreached.toml: others are listed. `branches.py --report` says all this of
the last run again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "coverage"
REPORT = WORK / "report.json"
REASONS = ROOT / "tests" / "unreached.toml"
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


def not_taken(files: Mapping[str, Mapping[str, list[list[int]]]]) -> Iterator[tuple[str, str]]:
    """The branches that no test takes: where, and what unreached.toml calls it, which outlasts the lines' numbers."""
    for name, found in sorted(files.items()):
        lines = [line.strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
        for begin, end in found["missing_branches"]:
            yield f"{name}:{begin}", f"{name}: {lines[begin - 1]} -> {lines[end - 1] if end > 0 else 'the end'}"


def named() -> set[str]:
    """The branches with a reason."""
    return {
        branch for group in tomllib.loads(REASONS.read_text(encoding="utf-8"))["group"] for branch in group["branches"]
    }


def judge() -> int:
    """Say what the report says; return whether something is wrong with it."""
    measured = json.loads(REPORT.read_text())
    percent = measured["totals"]["percent_branches_covered"]
    missing, reasons = list(not_taken(measured["files"])), named()
    unread = never_read(measured["files"])
    unnamed = [(place, branch) for place, branch in missing if branch not in reasons]
    outdated = sorted(reasons - {branch for _place, branch in missing})
    if unread:
        print(f"Never read: {', '.join(unread)}")
    if unnamed:
        print("No test takes these; write one, or give the reason in tests/unreached.toml:")
        print(*(f"  {place}\n    {branch}" for place, branch in unnamed), sep="\n")
    if outdated:
        print("In tests/unreached.toml, but taken, or not there any more:")
        print(*(f"  {branch}" for branch in outdated), sep="\n")
    print(f"Branches: {percent:.1f} % taken, {REQUIRED:.0f} % required. Line by line: {WORK}/html/index.html")
    return 1 if unread or percent < REQUIRED else 0


def main(arguments: list[str]) -> int:
    if arguments == ["--report"]:
        return judge()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    tests = coverage("run", "-m", "pytest", *arguments)
    if coverage("combine") or coverage("report") or coverage("html", f"--directory={WORK}/html", "--quiet"):
        return 1
    coverage("json", "-o", str(REPORT), "--quiet")
    return judge() or tests


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
