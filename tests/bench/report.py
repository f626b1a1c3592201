# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results: a table in Markdown, everything in JSON, the curves as an SVG."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
from collections.abc import Sequence

import plot
from measure import Bench, Goal, Measured, Row

HEAD = "| row | work | ours | against | theirs | ratio | goal |\n|---|---|---|---|---|---|---|\n"


def write(folder: pathlib.Path, done: Sequence[tuple[Row, Measured]], bench: Bench) -> None:
    """Write all that was measured so far."""
    machine = about_machine(folder)
    (folder / "results.json").write_text(
        json.dumps({"machine": machine, "runs": bench.runs, "rows": [as_json(*one, bench) for one in done]}, indent=1)
    )
    (folder / "results.md").write_text(markdown(machine, done, bench))
    curves = {row.name: measured.curve for row, measured in done if measured.curve}
    if curves:
        (folder / "growth.svg").write_text(plot.growth(curves))


def as_json(row: Row, measured: Measured, bench: Bench) -> dict[str, object]:
    return {
        "row": row.name,
        "work": row.work_of(bench),
        "against": row.against_of(bench),
        "n": row.size(bench),
        "goal": row.goal and {key: value for key, value in vars(row.goal).items() if value is not None},
        "ratios": ratios(measured, row.goal),
        **vars(measured),
    }


def ratios(measured: Measured, goal: Goal | None) -> list[float]:
    """One ratio a run, of the values that were measured next to each other."""
    pairs = zip(measured.ours, measured.peer, strict=True)
    return [theirs / ours if goal and goal.at_least else ours / theirs for ours, theirs in pairs]


def markdown(machine: dict[str, str], done: Sequence[tuple[Row, Measured]], bench: Bench) -> str:
    lines = [f"{machine['date']}; {', '.join(text for key, text in machine.items() if key != 'date')}. "]
    lines.append(f"Medians of {bench.runs} runs, in brackets the smallest and the largest.\n\n")
    lines.append(HEAD)
    lines += [line(row, measured, bench) for row, measured in done if measured.peer]
    others = [(row, measured) for row, measured in done if measured.details or measured.peak]
    if others:
        lines.append("\n| besides | | |\n|---|---|---|\n")
        for row, measured in others:
            for what, values in measured.details.items():
                lines.append(f"| {row.name} | {what} | {spread(values, measured.unit)} |\n")
            if measured.peak:
                lines.append(f"| {row.name} | most memory of a process | {measured.peak / 1e6:.0f} MB |\n")
    curves = [(row, measured) for row, measured in done if measured.curve]
    if curves:
        lines.append("\n| growth | n | seconds | a thousand | bytes |\n|---|---|---|---|---|\n")
        for row, measured in curves:
            for n, seconds, size in measured.curve:
                lines.append(f"| {row.name} | {n:,} | {seconds:.2f} | {1000 * seconds / n:.4f} | {size:,} |\n")
    return "".join(lines)


def line(row: Row, measured: Measured, bench: Bench) -> str:
    found = ratios(measured, row.goal)
    cells = [
        row.name,
        row.work_of(bench),
        spread(measured.ours, measured.unit),
        row.against_of(bench),
        spread(measured.peer, measured.unit),
        spread(found, "x"),
        aim(row.goal),
    ]
    return f"| {' | '.join(cells)} |\n"


def spread(values: Sequence[float], unit: str) -> str:
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2 if middle >= 0.1 else 3
    low, high = min(values), max(values)
    return f"{middle:,.{digits}f} {unit} ({low:,.{digits}f} to {high:,.{digits}f})"


def aim(goal: Goal | None) -> str:
    if goal is None:
        return ""
    return f"at most {goal.at_most:g} x" if goal.at_most else f"at least {goal.at_least:g} x faster"


def about_machine(folder: pathlib.Path) -> dict[str, str]:
    found = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "date": datetime.date.today().isoformat(),
        "cores": f"{len(os.sched_getaffinity(0))} cores ({found[1] if found else platform.machine()})",
        "load": f"load {os.getloadavg()[0]:.1f} at the end",
        "file system": said("df", "--output=fstype", str(folder)).split()[-1],
        "kernel": f"Linux {platform.release()}",
        "python": f"Python {platform.python_version()}",
        "ansible": f"ansible-core {importlib.metadata.version('ansible-core')}",
        "cryptography": f"cryptography {importlib.metadata.version('cryptography')}",
        "openssl": " ".join(said("openssl", "version").split()[:2]),
        "nginx": said("nginx", "-v").removeprefix("nginx version: "),
    }


def said(*command: str) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except FileNotFoundError:
        return f"no {command[0]}"
    return done.stdout.strip()
