# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try the tests of the gate: take each line of what is rendered away in turn, and see which case misses it.

    python tests/gate/trial.py                               every line, on the installed nginx (half an hour or so)
    python tests/gate/trial.py --nginx mainline --jobs 4     on another build, four at a time
    python tests/gate/trial.py --only gate.j2:12             one line

Defaults of maps are turned round as well. First the suite runs once on the templates as they are, with a mark on each
line that shows which test files render it: only those can miss it. A line that nobody misses is printed, and ends the
trial with 1, unless `KNOWN` says why it may go.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.tests import trials

REPOSITORY = trials.REPOSITORY
TESTS = REPOSITORY / "tests" / "gate"
TEMPLATES = REPOSITORY / "roles" / "server" / "templates"
FILES = ("gate.j2", "mtls.conf.j2", "service.conf.j2", "snippet.conf.j2", "pages.conf.j2")
# What a map says where it says nothing else, and the opposite.
TURNED = {"0": "1", "1": "0", "refuse": "open", "every": "rest", "NONE": "SUCCESS", "upgrade": '""', '""': "upgrade"}
# Lines without which everything fails closed, or which no request can show: what they begin with, in a map after its
# variable. They are not tried, unless `--known` is given.
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
_A_FILE, _ALL = 900, 3600  # seconds


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

    @property
    def key(self) -> str:
        return f"{self.file} {self.of} {self.line.strip()} -> {self.instead.strip()}"

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
            if not re.search(r";(\{\{[^{}]*\}\})?$", text) or text.startswith(("#", "{#")):
                continue
            yield Mutant(file, number, line, of=of)
            default = re.fullmatch(r"(\s*default\s+)(\S+);", line)
            if default and default[2] in TURNED:
                yield Mutant(file, number, line, f"{default[1]}{TURNED[default[2]]};", of)


# --- which test files render a line


def write_marked(folder: pathlib.Path) -> None:
    """Write the templates with a comment at each directive."""
    shutil.copytree(TEMPLATES, folder, dirs_exist_ok=True)
    for file in FILES:
        lines = (TEMPLATES / file).read_text().split("\n")
        for number in {mutant.number for mutant in mutants() if mutant.file == file}:
            before, semicolon, after = lines[number - 1].rpartition(";")
            lines[number - 1] = f"{before}{semicolon} #@{file}:{number}@{after}"
        (folder / file).write_text("\n".join(lines))


class _Marks:
    """A plugin of pytest: writes down which marks are in what the tests have rendered."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._found: set[str] = set()

    def pytest_collection_finish(self) -> None:
        (host,) = (one for one in list(sys.modules.values()) if getattr(one, "__file__", "") == str(TESTS / "host.py"))
        render = host.host_files

        def rendered(*arguments, **named):
            wanted = render(*arguments, **named)
            for item in [*wanted.files, *wanted.secrets]:
                self._found.update(re.findall(r"#@(\S+:\d+)@", item["content"]))
            return wanted

        host.host_files = rendered

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(sorted(self._found)))


def _use(folder: pathlib.Path) -> pathlib.Path:
    templates = folder / "templates"
    os.environ["MTLS_GATE_TEMPLATES"] = str(templates)
    return templates


def reached(nginx: str, tests: Sequence[str], memory: trials.Memory, jobs: int) -> dict[str, list[str]]:
    """Return the test files that render a line, by `FILE:LINE`. Files that have not changed since are not run again."""
    templates = b"".join(path.read_bytes() for path in sorted(TEMPLATES.iterdir()))
    marks = {}
    for test in tests:
        digest = hashlib.sha256(templates + (REPOSITORY / test).read_bytes()).hexdigest()
        marks[test] = trials.MEMORY / "marks" / f"{nginx}-{pathlib.Path(test).stem}-{digest[:16]}.json"

    def prepare(test: str, folder: pathlib.Path) -> list[object]:
        write_marked(_use(folder))
        return [_Marks(marks[test])]

    runs = [
        trials.Run(None, test, [test], functools.partial(prepare, test), _A_FILE, [f"--nginx={nginx}"])
        for test in tests
        if not marks[test].exists()
    ]
    for verdict in trials.verdicts(runs, memory, jobs):
        if verdict.case:
            raise SystemExit(f"{verdict.case} fails on the templates as they are:\n{verdict.output[-3000:]}")
    found: dict[str, list[str]] = {}
    for test, path in marks.items():
        for mark in json.loads(path.read_text()):
            found.setdefault(mark, []).append(test)
    return found


# --- who misses it


def runs(chosen: Sequence[Mutant], nginx: str, reach: dict[str, list[str]]) -> Iterator[trials.Run[Mutant]]:
    def prepare(mutant: Mutant, folder: pathlib.Path) -> list[object]:
        mutant.write(_use(folder))
        return []

    for mutant in chosen:
        tests = reach[f"{mutant.file}:{mutant.number}"]
        made = functools.partial(prepare, mutant)
        yield trials.Run(mutant, mutant.key, tests, made, _ALL, [f"--nginx={nginx}"], twice=True)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nginx", default="installed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], help="FILE or FILE:LINE")
    parser.add_argument("--known", action="store_true", help="try what KNOWN names, too")
    options = parser.parse_args()
    tests = [path.relative_to(REPOSITORY).as_posix() for path in sorted(TESTS.glob("test_*.py"))]
    memory = trials.Memory.load(f"gate-{options.nginx}")
    reach = reached(options.nginx, tests, memory, options.jobs)
    every = list(mutants())
    chosen = [one for one in every if not options.only or {one.file, f"{one.file}:{one.number}"} & set(options.only)]
    known = [] if options.known else [one for one in chosen if one.known]
    nowhere = [one for one in chosen if one not in known and f"{one.file}:{one.number}" not in reach]
    tried = [one for one in chosen if one not in known and one not in nowhere]
    tried.sort(key=lambda one: one.line.strip() == "volatile;")  # these take longest: few cases notice
    for mutant in known:
        say(f"{mutant}\n    not tried: {mutant.known}")
    for mutant in nowhere:
        say(f"{mutant}\n    MISSED: no case renders it")
    missed = len(nowhere)
    for verdict in trials.verdicts(runs(tried, options.nginx, reach), memory, options.jobs):
        said = re.search(r"(?m)^E +(.{1,160})", verdict.output) if verdict.case else None
        case = verdict.case and verdict.case + (f"\n    {said[1]}" if said else "")
        say(f"{verdict.change}\n    {case or verdict.change.known or 'MISSED by every case'}")
        missed += verdict.case is None and verdict.change.known is None
    say(f"{len(tried)} of {len(every)} lines tried, {len(known)} known to be missed by nobody, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
