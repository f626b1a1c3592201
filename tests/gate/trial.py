# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try the tests of the gate: take each line of what is rendered away in turn, and see which case misses it.

    python tests/gate/trial.py                               every line, on the installed nginx (an hour or so)
    python tests/gate/trial.py --nginx mainline              on another build
    python tests/gate/trial.py --only gate.j2:12             one line

Defaults of maps are turned round as well. The case that missed a line in an earlier trial is asked first. For the rest
the suite runs once on the templates as they are, with a mark on each line that shows which test files render it: only
those can miss it. A line that nobody misses is printed, and ends the trial with 1, unless `KNOWN` says why it may go. A
trial that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import inspect
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
FILES = (
    *("expiry.j2", "gate.j2", "mtls.conf.j2", "service.conf.j2", "snippet.conf.j2", "pages.conf.j2", "renewal.j2"),
    "renewal_pages.conf.j2",
)
# What a map says where it says nothing else, and the opposite.
TURNED = {
    "0": "1",
    "1": "0",
    "9": "0",
    "refuse": "open",
    "every": "rest",
    "NONE": "SUCCESS",
    "upgrade": '""',
    '""': "upgrade",
}
# Lines without which everything fails closed, or which no request can show: what they begin with, in a map after its
# variable. They are not tried, unless `--known` is given.
KNOWN = {
    "ssl_session_tickets": "ssl_conf_command says the same where nginx knows it; test_resumption.py misses it on 1.18",
    "ssl_trusted_certificate": "our CRLs are none of another CA's, so whom it has issued is refused all the same",
    '$mtls_until_month default ""': "nginx's own default; without a month a date is past",
    '$mtls_until_month default ""; -> ': "the same",
    "$mtls_until default 0": "what is no date has no digit that is greater: past",
    "$mtls_until default 0; -> ": "the same",
    '$mtls_moment_month default ""': "nginx's own default; a moment without a month is after every date of that year",
    '$mtls_moment_month default ""; -> ': "the same",
    "$mtls_moment default 9": "an empty moment is after every date, too",
    '$mtls_upgrade default   ""': "nginx's own default, which gixy-ng wants said",
    "$mtls_plain_request default 0": "an empty verdict is no 1: nothing is plain then",
    "$mtls_plain_request default 0; -> ": "counts where PCRE gives up, which it does not with what cannot backtrack",
    "$mtls_plain_path default 0": "an empty verdict is no 1: nothing is plain then",
    "$mtls_plain_letters default 0": "the same",
    "$mtls_sent default //": "the same: what does not begin with a slash is not plain",
    "_proxy default 0": "an empty verdict is no 1: the log names the connection's own address",
    "_outer default refuse": "an empty verdict is not open: each request inside is judged for itself",
    "_net default 0": "an empty verdict is no 1: nobody is exempt then",
    "_alien default 1": "an empty verdict is no 0: whoever is not known to be ours is refused",
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
    '_next default ""; -> ': "begins like no kind of renewal, and no file has that name",
    '$mtls_https_address default                                      ""': "what a map says without a default",
    "resolver_timeout": "how long a request waits for a name server that says nothing",
    "proxy_headers_hash_max_size": "room for more names of headers; without it nginx only warns",
}
# What older builds do not know and are not given, or do not need: from 1.22 to 1.28 nginx resumes no session of another
# server block where two CAs have one name.
SINCE = {"http2 on;": (1, 25, 1), "return 421; #2": (1, 29)}
# What newer builds do by themselves.
UNTIL = {'proxy_set_header Connection               "";': (1, 29, 7)}
# Lines that no template has. In each: the file that has them on a host, an expression, and what stands in its place.
RENDERED = (
    ("sessions.conf", r"^ssl_session_cache .*\n", ""),
    ("sessions.conf", r"shared:\w+", "shared:mtls_always_the_same"),
    ("revoked.map", r"^\w+ 1;\n", ""),
    ("crl-end.map", r"^\".*\n", ""),
    ("renewals.map", r"^\".*\n", ""),
)
_SECONDS = 2 * 3600  # for all cases on a busy machine
_EACH = 90  # for one case
_ALONE = 30.0
_TOGETHER = 10  # lines that are taken away at once, where no case noticed one soon
_ROUNDS = 2  # in which each test has one of its cases run, before all of the rest


@dataclass(frozen=True)
class Mutant:
    """One line of a template, and what stands in its place (empty: nothing).

    `of` is the variable of its map, `head` the map's first line; `nth` counts lines of a file that say the same.
    Without a number it is an expression for lines of a rendered file.
    """

    file: str
    number: int
    line: str
    instead: str = ""
    of: str = ""
    head: str = ""
    nth: int = 1

    def __str__(self) -> str:
        change = f"-> {self.instead.strip()}" if self.instead else "away"
        return f"{self.place}  {self.line.strip()}  {change}"

    @property
    def place(self) -> str:
        return f"{self.file}:{self.number}" if self.number else self.file

    @property
    def key(self) -> str:
        said = f"{self.file} {self.of} {self.line.strip()} -> {self.instead.strip()}"
        return said if self.nth == 1 else f"{said} #{self.nth}"

    def write(self, folder: pathlib.Path) -> None:
        """Change the template, in a folder that has all of them."""
        if self.number:
            lines = (folder / self.file).read_text().split("\n")
            lines[self.number - 1] = self.instead
            (folder / self.file).write_text("\n".join(lines))

    def applied(self, name: str, content: str) -> str:
        """Return what becomes of a rendered file."""
        if self.number or name != self.file:
            return content
        return re.sub(self.line, self.instead, content, flags=re.M)

    def is_beside(self, other: Mutant) -> bool:
        """Return whether one change could hide the other's effect: in one map, or on one line."""
        return self.place == other.place or (self.of != "" and self.of == other.of)

    @property
    def said(self) -> str:
        said = f"{self.of} {self.line.strip()}".strip()
        return said if self.nth == 1 else f"{said} #{self.nth}"

    @property
    def known(self) -> str | None:
        said = f"{self.said} -> {self.instead.strip()}" if self.instead else self.said
        return next(
            (why for start, why in KNOWN.items() if said.startswith(start) and (" -> " in start or not self.instead)),
            None,
        )


def mutants() -> Iterator[Mutant]:
    """Each directive that is one line of a template."""
    for file in FILES:
        of = head = ""
        seen: Counter[tuple[str, str]] = Counter()
        for number, line in enumerate((TEMPLATES / file).read_text().split("\n"), 1):
            text = re.sub(r"\{%.*?%\}", "", line).strip()
            if begin := re.match(r"(?:map|geo) .*?(\$\S+|\{\{.*\}\}\S*) \{$", text):
                of, head = begin[1].rpartition(" ")[2].removeprefix("}}"), text
            if text == "}":
                of = head = ""
            if not re.search(r"(?:;(?:\{\{[^{}]*\}\})?|^types \{ \})$", text) or text.startswith(("#", "{#")):
                continue
            seen[of, line.strip()] += 1
            nth = seen[of, line.strip()]
            yield Mutant(file, number, line, of=of, head=head, nth=nth)
            default = re.fullmatch(r"(\s*default\s+)(\S+);", line)
            if default and default[2] in TURNED:
                yield Mutant(file, number, line, f"{default[1]}{TURNED[default[2]]};", of, head, nth)
    for file, expression, instead in RENDERED:
        yield Mutant(file, 0, expression, instead)


# --- which test files render a line


def write_marked(folder: pathlib.Path) -> None:
    """Write the templates with a comment at each directive."""
    shutil.copytree(TEMPLATES, folder, dirs_exist_ok=True)
    for file in FILES:
        lines = (TEMPLATES / file).read_text().split("\n")
        for number in {mutant.number for mutant in mutants() if mutant.file == file and mutant.number}:
            before, end, after = lines[number - 1].rpartition(";" if ";" in lines[number - 1] else "}")
            lines[number - 1] = f"{before}{end} #@{file}:{number}@{after}"
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
    with tempfile.TemporaryDirectory() as folder:
        write_marked(pathlib.Path(folder))
        templates = b"".join(path.read_bytes() for path in sorted(pathlib.Path(folder).iterdir()))
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
                item["content"] = re.sub(r" #@\S+:\d+@", "", item["content"])
                found.add(pathlib.Path(item["path"]).name)
            return wanted

        with tempfile.TemporaryDirectory() as folder:
            write_marked(pathlib.Path(folder))
            host.TEMPLATES, host.host_files = folder, rendered
            # pytest puts cases that need no nginx elsewhere.
            in_files = sorted(session.items, key=lambda item: item.nodeid.partition("::")[0])
            for test, items in itertools.groupby(in_files, lambda item: item.nodeid.partition("::")[0]):
                found.clear()
                begun = time.monotonic()
                if failure := forks.run(list(items)):
                    pytest.exit(f"{failure[0]} fails on the templates as they are: {failure[1]}", returncode=9)
                kept[test].parent.mkdir(parents=True, exist_ok=True)
                kept[test].write_text(json.dumps({"lines": sorted(found), "seconds": time.monotonic() - begun}))

    if unknown := [test for test in tests if not kept[test].exists()]:
        code, output = trials.collected(run_marked, [f"--nginx={nginx}", *unknown])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            raise SystemExit(output[-3000:])
    reach = Reach()
    for test, path in kept.items():
        if not path.exists():  # all its cases are of the long run
            continue
        known = json.loads(path.read_text())
        reach.seconds[test] = known["seconds"]
        for line in known["lines"]:
            reach.lines.setdefault(line, set()).add(test)
    return reach


def relevance(mutant: Mutant, texts: Mapping[str, str]) -> dict[str, float]:
    """Return how much each of these texts has to do with a line: the words that they share, the rare ones above all."""
    line = f"{mutant.file.removesuffix('.j2')} {mutant.of} {mutant.head} {mutant.line}"
    words = {word.rstrip("_") for word in re.findall(r"[A-Za-z][\w-]{3,}|\b\d{3}\b", line)}
    relevant = dict.fromkeys(texts, 0.0)
    for word in words:
        having = [name for name, text in texts.items() if word in text]
        for name in having:
            relevant[name] += 1 / len(having)
    return relevant


# --- who misses it


def _needs(item: pytest.Item, *fixtures: str) -> bool:
    return not set(fixtures).isdisjoint(getattr(item, "fixturenames", ()))


def in_order(items: Sequence[pytest.Item], cost: Mapping[str, float], rank: Callable[[str], int]) -> list[pytest.Item]:
    """Return the cases of some tests, the likeliest to notice first.

    One case of each test comes before the tests' other parameters.
    """
    seen: Counter[str] = Counter()
    keys = {}
    for item in items:
        test = item.nodeid.partition("[")[0]
        if test in cost:
            keys[item] = (rank(item.nodeid), min(seen[test], _ROUNDS), cost[test], test)
            seen[test] += 1
    return sorted(keys, key=keys.__getitem__)


@dataclass
class Results:
    """What noticed each line on one build, also in earlier trials: a line is not tried again while nothing changes.

    What counts is the line's template and the test file that noticed, or all templates and test files that may.
    """

    path: pathlib.Path
    reach: Callable[[], Reach]
    found: dict[str, dict[str, str | None]] = field(default_factory=dict)

    @classmethod
    def load(cls, nginx: str, reach: Callable[[], Reach]) -> Results:
        path = trials.MEMORY / f"gate-{nginx}-results.json"
        return cls(path, reach, json.loads(path.read_text()) if path.exists() else {})

    def put(self, mutant: Mutant, case: str | None) -> None:
        self.found[mutant.key] = {"case": case, "digest": self._digest(mutant, case)}
        self._save()

    def forget(self, chosen: Sequence[Mutant]) -> None:
        for mutant in chosen:
            self.found.pop(mutant.key, None)
        self._save()

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.found, indent=1))
        new.replace(self.path)

    def has(self, mutant: Mutant) -> bool:
        known = self.found.get(mutant.key)
        return known is not None and known["digest"] == self._digest(mutant, known["case"])

    def is_noticed(self, mutant: Mutant) -> bool:
        return self.found.get(mutant.key, {}).get("case") is not None and self.has(mutant)

    def case(self, mutant: Mutant) -> str | None:
        return self.found[mutant.key]["case"]

    def _digest(self, mutant: Mutant, case: str | None) -> str:
        tests = [case.partition("::")[0]] if case else sorted(self.reach().lines.get(mutant.place, ()))
        one = (TEMPLATES / mutant.file).is_file() and case
        templates = [TEMPLATES / mutant.file] if one else sorted(TEMPLATES.iterdir())
        paths = [*templates, *(REPOSITORY / test for test in tests)]
        return hashlib.sha256(b"".join(path.read_bytes() for path in paths if path.is_file())).hexdigest()[:16]


class Search:
    """Looks for a case that notices each line: the one of last time, or any one.

    For any one it looks for half a minute line by line, and then in groups, with every case.
    """

    def __init__(
        self, forks: trials.Forks, session: pytest.Session, nginx: str, results: Results, terminal: int
    ) -> None:
        self._forks = forks
        self._items = session.items
        self._sources = {item.nodeid.partition("[")[0]: inspect.getsource(item.function) for item in session.items}
        self._tests = Counter(test.partition("::")[0] for test in self._sources)
        self._cases = Counter(item.nodeid.partition("::")[0] for item in session.items)
        self._results = results
        self._memory = memory(nginx)
        self._terminal = terminal
        # The authority is made once for all forks. Servers would not be: their threads stay behind.
        items = [one for one in self._items if _needs(one, "authority") and not _needs(one, "upstream", "app")]
        forks.run(items[:1])

    def again(self, chosen: Sequence[Mutant]) -> None:
        """Try each line with the case that noticed it last time."""
        killers = {self._memory.killers[mutant.key] for mutant in chosen}
        items = [item for item in self._items if item.nodeid in killers]
        if failure := self._forks.first_failure(items, lambda: True, _SECONDS, each=_EACH, twice=True):
            pytest.exit(f"{failure.case} fails on the templates as they are: {failure.reason}", returncode=9)
        for mutant in chosen:
            items = [item for item in self._items if item.nodeid == self._memory.killers[mutant.key]]
            found = self._first(items, [mutant], _EACH, twice=False) if items else None
            if found and found.case != trials.GAVE_UP:
                self._settle(mutant, found)

    def run(self, chosen: Sequence[Mutant], seconds: float) -> None:
        missed = [mutant for mutant in chosen if not self._one(mutant, seconds)]
        if missed:
            self._say(f"{len(missed)} lines that nobody missed within {seconds:.0f} seconds, now with every case")
        for group in self._groups(missed):
            self._all(group, self._ordered(group))

    def _one(self, mutant: Mutant, seconds: float) -> bool:
        found = self._first(self._ordered([mutant]), [mutant], seconds)
        if found is None or found.case != trials.GAVE_UP:
            self._settle(mutant, found)
            return True
        self._say(f"{mutant}\n    no case noticed it within {seconds:.0f} seconds: later, with every case")
        return False

    def _groups(self, missed: Sequence[Mutant]) -> list[list[Mutant]]:
        """Return the lines in groups that are taken away together: at most one of each map."""
        groups: list[list[Mutant]] = []
        for mutant in sorted(missed, key=lambda one: sorted(self._results.reach().lines[one.place])):
            for group in groups:
                if len(group) < _TOGETHER and not any(mutant.is_beside(other) for other in group):
                    group.append(mutant)
                    break
            else:
                groups.append([mutant])
        return groups

    def _all(self, group: list[Mutant], items: list[pytest.Item]) -> None:
        """Settle each line of a group, with all of these cases."""
        while group:
            found = self._first(items, group, _SECONDS)
            if found is None:
                for mutant in group:
                    self._settle(mutant, None)
                return
            item = [one for one in items if one.nodeid == found.case]
            alone = {mutant: self._first(item, [mutant], _SECONDS) for mutant in group} if item else {}
            noticed = [mutant for mutant, failure in alone.items() if failure]
            for mutant in noticed:
                self._settle(mutant, alone[mutant])
            if not noticed and len(group) == 1:
                raise SystemExit(f"{group[0]}: {found.case} fails at times: {found.reason}")
            if not noticed:  # only together
                self._all(group[len(group) // 2 :], items)
                group = group[: len(group) // 2]
            group = [mutant for mutant in group if mutant not in noticed]

    def _ordered(self, group: Sequence[Mutant]) -> list[pytest.Item]:
        """Return the cases that render one of these lines."""
        files = set().union(*(self._results.reach().lines[mutant.place] for mutant in group))
        sources = {test: text for test, text in self._sources.items() if test.partition("::")[0] in files}
        relevant: Counter[str] = Counter()
        for mutant in group:
            relevant.update(relevance(mutant, {file: (REPOSITORY / file).read_text() for file in files}))
            relevant.update(relevance(mutant, sources))
        cost = {}
        for test in sources:
            file = test.partition("::")[0]
            seconds = self._results.reach().seconds[file] / self._cases[file]
            cost[test] = seconds / (0.02 + relevant[file] / self._tests[file] + relevant[test])
        return in_order(self._items, cost, self._memory.rank(group[0].key, self._results.reach().seconds))

    def _first(
        self, items: Sequence[pytest.Item], group: Sequence[Mutant], seconds: float, *, twice: bool = True
    ) -> trials.Failure | None:
        with tempfile.TemporaryDirectory() as folder:
            change = functools.partial(_take_away, group, pathlib.Path(folder))
            return self._forks.first_failure(items, change, seconds, each=_EACH, twice=twice)

    def _settle(self, mutant: Mutant, failure: trials.Failure | None) -> None:
        self._memory.learn(mutant.key, failure and failure.case)
        self._memory.save()
        self._results.put(mutant, failure and failure.case)
        said = f"{failure.case}\n    {failure.reason}" if failure else mutant.known or "MISSED by every case"
        self._say(f"{mutant}\n    {said}")

    def _say(self, text: str) -> None:
        os.write(self._terminal, f"{text}\n".encode())


def _take_away(group: Sequence[Mutant], folder: pathlib.Path) -> bool:
    """Have all hosts of this process rendered without these lines."""
    host = _host_module()
    shutil.copytree(TEMPLATES, folder, dirs_exist_ok=True)
    for mutant in group:
        mutant.write(folder)
    render = host.host_files

    def rendered(*arguments, **named):
        wanted = render(*arguments, **named)
        for item in wanted.files:
            for mutant in group:
                item["content"] = mutant.applied(pathlib.Path(item["path"]).name, item["content"])
        return wanted

    host.TEMPLATES, host.host_files = str(folder), rendered
    return True


def memory(nginx: str) -> trials.Memory:
    """Return what noticed each line last time; where nothing has, what did on the installed build."""
    remembered = trials.Memory.load(f"gate-{nginx}")
    elsewhere = trials.Memory.load(f"gate-{nginxes.INSTALLED}").killers
    cases = {key: case.replace(nginxes.INSTALLED, nginx) for key, case in elsewhere.items()}
    remembered.killers = {**cases, **remembered.killers}
    return remembered


def try_again(chosen: Sequence[Mutant], nginx: str, results: Results) -> None:
    """Take the lines away one after the other, each for the case that noticed it last time."""
    killers = memory(nginx).killers
    remembered = [one for one in chosen if one.key in killers]
    tests = {killers[one.key].partition("::")[0] for one in remembered}
    there = [test for test in tests if (REPOSITORY / test).exists()]
    if there:
        _search(lambda search: search.again(remembered), nginx, results, there)


def try_all(chosen: Sequence[Mutant], nginx: str, results: Results, seconds: float) -> None:
    """Take the lines away one after the other; say what notices each, and keep it."""
    tests = set().union(*(results.reach().lines[one.place] for one in chosen))
    _search(lambda search: search.run(chosen, seconds), nginx, results, tests)


def _search(work: Callable[[Search], None], nginx: str, results: Results, tests: Collection[str]) -> None:
    terminal = os.dup(1)

    def searched(forks: trials.Forks, session: pytest.Session) -> None:
        work(Search(forks, session, nginx, results, terminal))

    code, output = trials.collected(searched, [f"--nginx={nginx}", *sorted(tests)])
    if code:
        raise SystemExit(output[-3000:])


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nginx", default="installed")
    parser.add_argument("--only", action="append", default=[], help="FILE or FILE:LINE")
    parser.add_argument("--known", action="store_true", help="try what KNOWN names, too")
    parser.add_argument("--afresh", action="store_true", help="try again what was tried before")
    parser.add_argument(
        "--alone",
        type=float,
        default=_ALONE,
        metavar="SECONDS",
        help="how long a line is tried before it is one of a group",
    )
    options = parser.parse_args()
    trials.end_with_the_parent()
    tests = [path.relative_to(REPOSITORY).as_posix() for path in sorted(TESTS.glob("test_*.py"))]
    reach = functools.cache(functools.partial(reached, options.nginx, tests))
    version = nginxes.build(options.nginx).version
    every = [one for one in mutants() if SINCE.get(one.said, (0,)) <= version < UNTIL.get(one.said, (9,))]
    chosen = [one for one in every if not options.only or {one.file, one.place} & set(options.only)]
    known = [] if options.known else [one for one in chosen if one.known]
    tried = [one for one in chosen if one not in known]
    results = Results.load(options.nginx, reach)
    if options.afresh:
        results.forget(tried)
    try_again([one for one in tried if not results.is_noticed(one)], options.nginx, results)
    results = Results.load(options.nginx, reach)
    left = [one for one in tried if not results.has(one)]
    nowhere = [one for one in left if one.place not in reach().lines]
    if left := [one for one in left if one not in nowhere]:
        try_all(left, options.nginx, results, options.alone)
        results = Results.load(options.nginx, reach)
    missed = [*nowhere, *(one for one in tried if one not in nowhere and not results.case(one) and not one.known)]
    for mutant in missed:
        say(f"MISSED{' (no case renders it)' if mutant in nowhere else ''}: {mutant}")
    say(f"{len(every)} changes: {len(tried)} tried, {len(known)} named in KNOWN, {len(missed)} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
