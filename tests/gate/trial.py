# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try the tests of the gate: take each line of what is rendered away in turn, and see which case misses it.

    python tests/gate/trial.py                               every line, on the installed nginx (hours)
    python tests/gate/trial.py --nginx bullseye --jobs 4     on another build, four at a time
    python tests/gate/trial.py --only gate.j2:12             one line

Defaults of maps are turned round as well. A line that nobody misses is printed, and ends the trial with 1, unless
`KNOWN` says why it may go.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

REPOSITORY = pathlib.Path(__file__).parents[2]
TEMPLATES = REPOSITORY / "roles" / "server" / "templates"
FILES = ("gate.j2", "mtls.conf.j2", "service.conf.j2", "snippet.conf.j2", "pages.conf.j2")
# What a map says where it says nothing else, and the opposite.
TURNED = {"0": "1", "1": "0", "refuse": "open", "every": "rest", "NONE": "SUCCESS", "upgrade": '""', '""': "upgrade"}
# Lines without which everything fails closed, or which no request can show: what they begin with, in a map after its
# variable.
KNOWN = {
    "$mtls_plain_request default 0": "an empty verdict is no 1: nothing is plain then",
    "$mtls_plain_path default 0": "the same",
    "$mtls_plain_letters default 0": "the same",
    "access_log": "where requests are logged, not which are let in",
    "error_log": "where refusals are logged",
    "map_hash_": "without it nginx only warns, or starts slowly; tests/gate/test_map_scale.py",
    "variables_hash_": "without it nginx only warns",
    "proxy_headers_hash_": "without it nginx only warns",
}


@dataclass(frozen=True)
class Mutant:
    """One line of a template, and what stands in its place (empty: nothing). `of` is the variable of its map."""

    file: str
    number: int
    line: str
    instead: str = ""
    of: str = ""

    def __str__(self) -> str:
        change = f"-> {self.instead.strip()}" if self.instead else "away"
        return f"{self.file}:{self.number}  {self.line.strip()}  {change}"

    def write(self, folder: pathlib.Path) -> None:
        shutil.copytree(TEMPLATES, folder, dirs_exist_ok=True)
        lines = (TEMPLATES / self.file).read_text().split("\n")
        lines[self.number - 1] = self.instead
        (folder / self.file).write_text("\n".join(lines))

    @property
    def known(self) -> str | None:
        if self.instead:
            return None
        said = f"{self.of} {self.line.strip()}".strip()
        return next((why for start, why in KNOWN.items() if said.startswith(start)), None)


def mutants() -> Iterator[Mutant]:
    """Each directive that is one line of a template."""
    for file in FILES:
        of = ""
        for number, line in enumerate((TEMPLATES / file).read_text().split("\n"), 1):
            text = re.sub(r"\{%.*?%\}", "", line).strip()
            if begin := re.match(r"(?:map|geo) .*?(\$\S+|\{\{.*\}\}\S*) \{$", text):
                of = begin[1].rpartition(" ")[2].removeprefix("}}")
            if text == "}":
                of = ""
            if not text.endswith(";") or text.startswith(("#", "{#")):
                continue
            yield Mutant(file, number, line, of=of)
            default = re.fullmatch(r"(\s*default\s+)(\S+);", line)
            if default and default[2] in TURNED:
                yield Mutant(file, number, line, f"{default[1]}{TURNED[default[2]]};", of)


def noticed_by(mutant: Mutant, nginx: str, tests: list[str]) -> str | None:
    """The first case that fails; None where all pass."""
    with tempfile.TemporaryDirectory(prefix="mtls-trial-") as folder:
        mutant.write(pathlib.Path(folder))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", f"--nginx={nginx}", *tests],
            cwd=REPOSITORY,
            env={**os.environ, "MTLS_GATE_TEMPLATES": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return None
    found = re.search(r"(?m)^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout)
    if done.returncode != 1 or found is None:
        raise RuntimeError(
            f"{mutant}: pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    refused = re.search(r"did not start: .*?\[emerg\][^:]*: (.*)", done.stdout)
    return found[1] + (f" (nginx refuses it: {refused[1]})" if refused else "")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nginx", default="installed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", help="FILE or FILE:LINE")
    parser.add_argument("tests", nargs="*", default=["tests/gate"])
    options = parser.parse_args()
    chosen = [one for one in mutants() if options.only in ("", one.file, f"{one.file}:{one.number}")]
    missed = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda one: noticed_by(one, options.nginx, options.tests), chosen)
        for mutant, case in zip(chosen, results, strict=True):
            say(f"{mutant}\n    {case or mutant.known or 'MISSED by every case'}")
            if case is None and mutant.known is None:
                missed.append(mutant)
    say(f"{len(chosen)} lines, {len(missed)} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
