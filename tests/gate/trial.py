# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try the tests of the gate: take each line of what is rendered away in turn, and see which case misses it.

    python tests/gate/trial.py                               every line, on the installed nginx (half an hour or so)
    python tests/gate/trial.py --nginx mainline              on another build
    python tests/gate/trial.py --only gate.j2:12             one line

Defaults of maps are turned round as well. First the suite runs once on the templates as they are, with a mark on each
line that shows which test files render it: only those can miss it. A line that nobody misses is printed, and ends the
trial with 1, unless `KNOWN` says why it may go.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from ansible_collections.mtls.nginx.tests import trials
from ansible_collections.mtls.nginx.tests.gate import nginxes

REPOSITORY = trials.REPOSITORY
TESTS = REPOSITORY / "tests" / "gate"
TEMPLATES = REPOSITORY / "roles" / "server" / "templates"
FILES = ("expiry.j2", "gate.j2", "mtls.conf.j2", "service.conf.j2", "snippet.conf.j2", "pages.conf.j2", "renewal.j2")
# What a map says where it says nothing else, and the opposite.
TURNED = {"0": "1", "1": "0", "refuse": "open", "every": "rest", "NONE": "SUCCESS", "upgrade": '""', '""': "upgrade"}
# Lines without which everything fails closed, or which no request can show: what they begin with, in a map after its
# variable. They are not tried, unless `--known` is given.
KNOWN = {
    "$mtls_plain_request default 0": "an empty verdict is no 1: nothing is plain then",
    "$mtls_plain_path default 0": "the same",
    "$mtls_plain_letters default 0": "the same",
    "$mtls_sent default //": "the same: what does not begin with a slash is not plain",
    "_dn default": "nginx's own default, which gixy-ng wants said",
    "_sn default": "the same",
    "_fp default": "the same",
    "_cert default": "the same",
    "access_log": "where requests are logged, not which are let in",
    "error_log": "where refusals are logged",
    "_named {{ key | nginx_quote }} {{ name | nginx_quote }};": "saves the maps above it, which say the same",
    "_named default /": "an empty value is no host either",
    '_told "00:SUCCESS"': "saves the expression below it, which says the same",
    '_bad "0:.:SUCCESS"': "saves asking for the issuer, of which nginx has made sure",
    "\"{{ '01' if service.public_paths else '00' }}:0:0:1:SUCCESS\"": "saves the one below it, which says the same",
    '_next default ""': "what a map says without a default",
    "resolver_timeout": "how long a request waits for a name server that says nothing",
    "map_hash_": "without it nginx only warns, or starts slowly; tests/gate/test_map_scale.py",
    "server_names_hash_": "without it nginx does not start; tests/gate/test_map_scale.py",
    "variables_hash_": "without it nginx only warns",
    "proxy_headers_hash_": "without it nginx only warns",
}
# What older builds do not know, and are not given.
SINCE = {"http2 on;": (1, 25, 1)}
_SECONDS = 3600  # for all cases on a busy machine
_ROUNDS = 2  # in which each test has one of its cases run, before all of the rest
_GAVE_UP = "ended by SIGALRM"


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


def _host_module() -> types.ModuleType:
    """Return tests/gate/host.py as pytest has imported it."""
    path = str(TESTS / "host.py")
    (host,) = (one for one in list(sys.modules.values()) if getattr(one, "__file__", "") == path)
    return host


@dataclass
class Reach:
    """`lines` are the test files that render a line, by `FILE:LINE`; `seconds` is what each file takes."""

    lines: dict[str, set[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def reached(nginx: str, tests: Sequence[str]) -> Reach:
    """Return which test files render a line. Files that have not changed since are not run again."""
    templates = b"".join(path.read_bytes() for path in sorted(TEMPLATES.iterdir()))
    kept = {}
    for test in tests:
        digest = hashlib.sha256(templates + (REPOSITORY / test).read_bytes()).hexdigest()
        kept[test] = trials.MEMORY / "marks" / f"{nginx}-{pathlib.Path(test).stem}-{digest[:16]}.json"

    def run_marked(forks: trials.Forks, session: pytest.Session) -> None:
        host = _host_module()
        render = host.host_files
        found: set[str] = set()

        def rendered(*arguments, **named):
            wanted = render(*arguments, **named)
            for item in [*wanted.files, *wanted.secrets]:
                found.update(re.findall(r"#@(\S+:\d+)@", item["content"]))
            return wanted

        with tempfile.TemporaryDirectory() as folder:
            write_marked(pathlib.Path(folder))
            host._TEMPLATES, host.host_files = folder, rendered
            for test, items in itertools.groupby(session.items, lambda item: item.nodeid.partition("::")[0]):
                found.clear()
                begun = time.monotonic()
                if failure := forks.run(list(items)):
                    pytest.exit(f"{failure[0]} fails on the templates as they are: {failure[1]}", returncode=9)
                kept[test].parent.mkdir(parents=True, exist_ok=True)
                kept[test].write_text(json.dumps({"lines": sorted(found), "seconds": time.monotonic() - begun}))

    if unknown := [test for test in tests if not kept[test].exists()]:
        code, output = trials.collected(run_marked, [f"--nginx={nginx}", *unknown])
        if code:
            raise SystemExit(output[-3000:])
    reach = Reach()
    for test, path in kept.items():
        known = json.loads(path.read_text())
        reach.seconds[test] = known["seconds"]
        for line in known["lines"]:
            reach.lines.setdefault(line, set()).add(test)
    return reach


def relevance(mutant: Mutant, tests: Collection[str]) -> dict[str, float]:
    """Return how much each test file has to do with a line: the words that they share, the rare ones above all."""
    texts = {test: (REPOSITORY / test).read_text() for test in tests}
    words = {word.rstrip("_") for word in re.findall(r"[A-Za-z][\w-]{3,}|\b\d{3}\b", f"{mutant.of} {mutant.line}")}
    relevant = dict.fromkeys(tests, 0.0)
    for word in words:
        having = [test for test, text in texts.items() if word in text]
        for test in having:
            relevant[test] += 1 / len(having)
    return relevant


# --- who misses it


def _needs(item: pytest.Item, *fixtures: str) -> bool:
    return not set(fixtures).isdisjoint(getattr(item, "fixturenames", ()))


def in_order(items: Sequence[pytest.Item], cost: Mapping[str, float], rank: Callable[[str], int]) -> list[pytest.Item]:
    """Return the cases of some files, the likeliest to notice first, those of a file together.

    One case of each test comes before the tests' other parameters.
    """
    seen: Counter[str] = Counter()
    keys = {}
    for item in items:
        test = item.nodeid.partition("[")[0]
        file = test.partition("::")[0]
        if file in cost:
            keys[item] = (rank(item.nodeid), min(seen[test], _ROUNDS), cost[file], file)
            seen[test] += 1
    return sorted(keys, key=keys.__getitem__)


def try_all(chosen: Sequence[Mutant], nginx: str, reach: Reach, seconds: int) -> dict[Mutant, str | None]:
    """Take the lines away one after the other; say and return what notices each."""
    memory = trials.Memory.load(f"gate-{nginx}")
    terminal = os.dup(1)

    def one_by_one(forks: trials.Forks, session: pytest.Session) -> None:
        host = _host_module()
        # The authority is made once for all forks. Servers would not be: their threads stay behind.
        forks.run([one for one in session.items if _needs(one, "authority") and not _needs(one, "upstream", "app")][:1])
        for number, mutant in enumerate(chosen):
            tests = reach.lines[f"{mutant.file}:{mutant.number}"]
            cost = {test: reach.seconds[test] / (0.02 + value) for test, value in relevance(mutant, tests).items()}
            items = in_order(session.items, cost, memory.rank(mutant.key, reach.seconds))
            with tempfile.TemporaryDirectory() as folder:
                mutant.write(pathlib.Path(folder))
                host._TEMPLATES = folder
                failure = forks.first_failure(items, lambda: True, seconds, twice=True)
            memory.learn(mutant.key, failure and failure.case)
            memory.save()
            said = f"{failure.case}\n    {failure.reason}" if failure else mutant.known or "MISSED by every case"
            os.write(terminal, f"{mutant}\n    {said}\n".encode())
            with results.open("a") as stream:
                stream.write(json.dumps([number, failure and failure.case]) + "\n")

    with tempfile.TemporaryDirectory(prefix="mtls-trial-") as place:
        results = pathlib.Path(place, "results")
        tests = sorted(set().union(*(reach.lines[f"{one.file}:{one.number}"] for one in chosen)))
        code, output = trials.collected(one_by_one, [f"--nginx={nginx}", *tests])
        if code:
            raise SystemExit(output[-3000:])
        found = dict(json.loads(line) for line in results.read_text().splitlines())
    return {mutant: found[number] for number, mutant in enumerate(chosen)}


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nginx", default="installed")
    parser.add_argument("--only", action="append", default=[], help="FILE or FILE:LINE")
    parser.add_argument("--known", action="store_true", help="try what KNOWN names, too")
    parser.add_argument("--give-up", type=int, default=_SECONDS, metavar="SECONDS", help="how long to try a line")
    options = parser.parse_args()
    trials.end_with_the_parent()
    tests = [path.relative_to(REPOSITORY).as_posix() for path in sorted(TESTS.glob("test_*.py"))]
    reach = reached(options.nginx, tests)
    version = nginxes.build(options.nginx).version
    every = [one for one in mutants() if version >= SINCE.get(one.line.strip(), version)]
    chosen = [one for one in every if not options.only or {one.file, f"{one.file}:{one.number}"} & set(options.only)]
    known = [] if options.known else [one for one in chosen if one.known]
    nowhere = [one for one in chosen if one not in known and f"{one.file}:{one.number}" not in reach.lines]
    tried = [one for one in chosen if one not in known and one not in nowhere]
    tried.sort(key=lambda one: one.line.strip() == "volatile;")  # these take longest: few cases notice
    for mutant in known:
        say(f"{mutant}\n    not tried: {mutant.known}")
    for mutant in nowhere:
        say(f"{mutant}\n    MISSED: no case renders it")
    results = try_all(tried, options.nginx, reach, options.give_up) if tried else {}
    missed = [*nowhere, *(one for one in tried if not results[one] and not one.known)]
    given_up = [one for one in tried if results[one] == _GAVE_UP]
    say(
        f"{len(every)} lines: {len(tried) - len(given_up)} tried, {len(given_up)} given up, {len(known)} not tried,"
        f" {len(missed)} missed"
    )
    return 1 if missed or given_up else 0


if __name__ == "__main__":
    sys.exit(main())
