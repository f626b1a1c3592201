# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutation testing of the files that decide who enters: change one thing, and some unit test must fail.

    python tests/mutants.py                              every file (a quarter of an hour)
    python tests/mutants.py --only store/index.py        one file
    python tests/mutants.py --only store/index.py:97     one line
    python tests/mutants.py --list                       the mutants, without running them

The mutants are those of cosmic-ray, and four kinds of our own: a text that decides is another, an expression for
nginx or for `re` lacks a character, a refusal or call is not made, an exception is not caught. Nothing is written. A
change in a function, and one of a constant, is made in a fork of a process that has collected the tests, and only those
that reach the function run; for any other, a process imports the mutant in place of the file. A mutant that survives
ends the command with 1, unless tests/survivors.txt gives a reason.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib.abc
import importlib.machinery
import importlib.metadata
import itertools
import json
import pathlib
import platform
import re
import sys
import tempfile
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider

from ansible_collections.mtls.nginx.tests import trials, warm

ROOT = trials.REPOSITORY
CODE = ROOT / "plugins" / "module_utils"
REASONS = ROOT / "tests" / "survivors.txt"
PACKAGE = "ansible_collections.mtls.nginx.plugins.module_utils"
_SECONDS = 600  # for all cases on a busy machine

# Each file that decides who enters, and the unit tests that should notice, below tests/unit/plugins/module_utils.
# Not among them: site/plain_characters.py, a table that tests/lint/plain_characters.py writes and tests recompute; what
# only tells who may enter (site/access_plan.py, people.py, host/gates.py) or where to ask (site/snippet_targets.py);
# nginx_glance, which says what host/comparison.py does.
FILES = {
    "ca/holders/revoking.py": ["ca/holders/test_revoking.py", "ca/holders/test_ownership.py"],
    "ca/store/index.py": ["ca/store/test_index.py"],
    "ca/lifecycle/records.py": ["ca/lifecycle/test_records.py"],
    "ca/store/published.py": ["ca/store/test_published.py", "ca/store/test_handover.py"],
    "ca/crypto/crls.py": ["ca/crypto/test_crls.py"],
    "ca/crypto/crl_scope.py": ["ca/crypto/test_crl_scope.py"],
    "ca/holders/ownership.py": ["ca/holders/test_ownership.py", "ca/holders/test_client_plan.py"],
    "site/plain_paths.py": ["site/test_plain_paths.py"],
    "site/answers.py": ["site/test_answers.py"],
    "host/setback.py": ["host/test_setback.py"],
    "site/networks.py": ["site/test_networks.py"],
    "host/crl_lines.py": ["host/test_crl_lines.py", "site/test_crl_maps.py"],
    "site/crl_maps.py": ["site/test_crl_maps.py"],
    "site/host_view.py": ["site/test_host_view.py", "site/test_host_files.py"],
    "site/allow_lists.py": ["site/test_allow_lists.py"],
    "host/sessions.py": ["host/test_sessions.py"],
    "host/crl_check.py": ["host/test_crl_check.py"],
    "host/comparison.py": ["host/test_comparison.py"],
    "host/survey.py": ["host/test_survey.py"],
    "common/valid_items.py": ["common/test_valid_items.py"],
    "site/publication.py": ["site/test_publication.py"],
    "site/missed_crls.py": ["site/test_missed_crls.py"],
    "site/services.py": ["site/test_services.py", "site/test_certificate_option.py"],
    "host/swap.py": ["host/test_swap.py"],
    "host/crl_place.py": ["host/test_crl_place.py"],
    "site/standing.py": ["site/test_standing.py"],
}
# Of cosmic-ray's operators: those below. Of those that put one operator in place of another, what a slip of the pen
# would be: ten others in place of each `+` fail for one reason, and nobody writes `<=` between names.
_SLIPS = {
    "Binary": {
        *(
            ("Add", "Sub"),
            ("Sub", "Add"),
            ("Mul", "FloorDiv"),
            ("FloorDiv", "Mul"),
            ("Mod", "FloorDiv"),
            ("Div", "Mul"),
        ),
        *(("BitOr", "BitAnd"), ("BitAnd", "BitOr"), ("LShift", "RShift"), ("RShift", "LShift")),
    },
    "Comparison": {
        *(("Eq", "NotEq"), ("NotEq", "Eq"), ("Is", "IsNot"), ("IsNot", "Is")),
        *(("Lt", "LtE"), ("Lt", "GtE"), ("LtE", "Lt"), ("LtE", "Gt"), ("Gt", "GtE"), ("Gt", "LtE"), ("GtE", "Gt")),
        ("GtE", "Lt"),
    },
    "Unary": {("USub", "UAdd"), ("Delete", "Not")},
}
_OTHERS = (
    *("AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer", "RemoveDecorator"),
    "ZeroIterationForLoop",
)


def _is_chosen(name: str) -> bool:
    if found := re.fullmatch(r"Replace(Binary|Comparison|Unary)Operator_([^_]+)_([^_]+)", name):
        return (found[2], found[3]) in _SLIPS[found[1]]
    return name in _OTHERS


@dataclass(frozen=True)
class Mutant:
    """A file with one change. `before` and `after` are the first line that differs."""

    file: str
    line: int
    before: str
    after: str
    source: str

    @property
    def key(self) -> str:
        return f"{self.file}: {self.before} -> {self.after}"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}\n    - {self.before}\n    + {self.after}"


def mutants(file: str) -> list[Mutant]:
    """Return the mutants of a file, each different one once."""
    return sorted(_mutants(file), key=lambda mutant: (mutant.line, mutant.key))


def _mutants(file: str) -> Iterator[Mutant]:
    source = (CODE / file).read_text(encoding="utf-8")
    seen = {_meaning(source)}
    for start, end in _statements(source):
        part = source[start:end]
        for changed in (*_by_cosmic_ray(part), *_by_ours(part)):
            whole = source[:start] + changed + source[end:]
            try:
                meaning = _meaning(whole)
            except SyntaxError:
                continue
            if meaning in seen:
                continue
            seen.add(meaning)
            yield _described(file, source, whole)


def _statements(source: str) -> Iterator[tuple[int, int]]:
    """Yield where the statements of a module begin and end: one is parsed faster than all of them."""
    offset = 0
    for child in get_ast(source).children:
        length = len(child.get_code())
        if child.type != "endmarker" and "from __future__" not in child.get_code():
            yield offset, offset + length
        offset += length


def _meaning(source: str) -> int:
    """Return a hash of what runs: without annotations, casts, `frozen`, which mypy holds, and the text's form."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(0)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.test, node.body = ast.Constant(0), [ast.Pass()]
        elif isinstance(node, ast.keyword) and node.arg == "frozen":
            node.value = ast.Constant(0)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("cast"):
            node.args[0] = ast.Constant(0)
    return hash(ast.dump(tree))


def _by_cosmic_ray(part: str) -> Iterator[str]:
    operators = OperatorProvider()
    for name in filter(_is_chosen, operators):
        operator = operators[name]()
        places = sum(len(list(operator.mutation_positions(node))) for node in ast_nodes(get_ast(part)))
        for occurrence in range(places):
            yield mutate_code(part, operator, occurrence)


def _by_ours(part: str) -> Iterator[str]:
    try:
        tree = ast.parse(part)
    except SyntaxError:
        return
    lines = [0]
    for line in part.encode().split(b"\n"):
        lines.append(lines[-1] + len(line) + 1)

    def replaced(node: ast.expr | ast.stmt, text: str) -> str:
        octets = part.encode()
        start = lines[node.lineno - 1] + node.col_offset
        end = lines[node.end_lineno - 1] + node.end_col_offset
        return (octets[:start] + text.encode() + octets[end:]).decode()

    wording, deciding = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Compare, ast.Return, ast.Subscript)):
            deciding.update(map(id, ast.walk(node)))
        if isinstance(node, ast.Raise) or (isinstance(node, ast.JoinedStr) and not _is_expression(_text(node))):
            wording.update(map(id, ast.walk(node)))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            wording.add(id(node.value))  # a docstring
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            yield replaced(node, "pass")
        elif isinstance(node, ast.ExceptHandler) and node.type:  # that of cosmic-ray knows no name with a dot
            for kind in node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]:
                yield replaced(kind, "StopAsyncIteration")
        elif id(node) in wording:
            continue
        elif isinstance(node, ast.JoinedStr) and _is_expression(_text(node)):
            wording.update(map(id, ast.walk(node)))
            text = ast.get_source_segment(part, node) or ""
            for at in _droppable(text):
                yield replaced(node, text[:at] + text[at + 1 :])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = ast.get_source_segment(part, node) or ""
            if _is_expression(node.value) and "\n" not in text:
                for at in _droppable(text):
                    yield replaced(node, text[:at] + text[at + 1 :])
            elif id(node) in deciding:
                yield replaced(node, repr(f"{node.value}x"))


def _text(node: ast.JoinedStr) -> str:
    return "".join(part.value for part in node.values if isinstance(part, ast.Constant))


def _is_expression(text: str) -> bool:
    return re.search(r"\[.+\]|\\[dwxzsS]|\(\?", text) is not None and "; " not in text


def _droppable(text: str) -> Iterator[int]:
    """Yield where a character of an expression is: not of its quotes and prefix, nor of what is put in by name."""
    inner = re.fullmatch(r"""(?s)[a-zA-Z]*("{3}|"|')(.*)\1""", text)
    if inner is None:
        return
    depth = 0
    for at in range(*inner.span(2)):
        depth += (text[at] == "{") - (text[at - 1] == "}")
        if text[at] not in "{}" and not (depth > 0 and text[: inner.start(1)].lower().count("f")):
            yield at


def _described(file: str, source: str, changed: str) -> Mutant:
    old, new = source.split("\n"), changed.split("\n")
    number = next(n for n, (a, b) in enumerate(itertools.zip_longest(old, new)) if a != b)
    after = new[number] if number < len(new) else ""
    return Mutant(file, number + 1, old[number].strip(), after.strip(), changed)


def _module_name(file: str) -> str:
    return f"{PACKAGE}.{file.removesuffix('.py').replace('/', '.')}"


class _Mutated(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Imports the mutant in place of the file."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        super().__init__(_module_name(mutant.file), str(CODE / mutant.file))

    def find_spec(self, fullname, path, target=None):
        if fullname != self.name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=self.path)

    def get_code(self, fullname):
        return compile(self._mutant.source, self.path, "exec", dont_inherit=True)


@dataclass(frozen=True)
class _Reason:
    file: str
    before: str
    after: str
    why: str

    def covers(self, mutant: Mutant) -> bool:
        return self.file in ("*", mutant.file) and self.before == mutant.before and self.after in ("*", mutant.after)


def reasons() -> list[_Reason]:
    """Return why mutants may survive: blocks of a file's name or `*`, a `-` line, a `+` line or `+ *`, the reason."""
    found = []
    text = "\n".join(line for line in REASONS.read_text().splitlines() if not line.startswith("#"))
    for block in filter(None, (part.strip() for part in text.split("\n\n"))):
        file, before, after, *why = block.splitlines()
        found.append(_Reason(file, before[1:].strip(), after[1:].strip(), " ".join(why)))
    return found


def _paths(file: str) -> list[str]:
    return [f"tests/unit/plugins/module_utils/{name}" for name in FILES[file]]


# --- in a fork of a process that has everything


class _InForks:
    """Runs all cases once, and notes which lines they reach; then, for each mutant, those cases."""

    def __init__(self, chosen: Sequence[Mutant], results: pathlib.Path) -> None:
        self._chosen = chosen
        self._results = results

    def __call__(self, forks: trials.Forks, session: pytest.Session) -> None:
        module = sys.modules[_module_name(self._chosen[0].file)]
        reached: dict[str, set[int]] = {}
        begun = time.process_time()
        for item in session.items:
            reached[item.nodeid] = _lines_of(str(module.__file__), functools.partial(forks.run, [item]))
        warm._server.cache_clear()  # each fork starts its own
        cpu = 5 + 2 * (time.process_time() - begun)  # a mutant may make it run for ever
        if forks.first_failure(session.items, lambda: True, _SECONDS):  # in a fork they pass as well
            return
        with self._results.open("w") as results:
            for number, mutant in enumerate(self._chosen):
                body = _function_at(mutant)
                items = [item for item in session.items if not body or reached[item.nodeid].intersection(body)]
                items.sort(key=lambda item: (mutant.line not in reached[item.nodeid], forks.seconds[item.nodeid]))
                put = _transplanted if body else _with_other_values
                change = functools.partial(put, module, mutant.source)
                failure = forks.first_failure(items, change, _SECONDS, cpu=cpu)
                results.write(json.dumps([number, failure and failure.case]) + "\n")
                results.flush()


def _lines_of(path: str, call: Callable[[], None]) -> set[int]:
    """Return the lines of a file that run while ``call`` does."""
    lines: set[int] = set()

    def trace(frame, _event, _argument):
        if frame.f_code.co_filename != path:
            return None
        return trace_lines(frame, _event, _argument)

    def trace_lines(frame, _event, _argument):
        lines.add(frame.f_lineno)
        return trace_lines

    sys.settrace(trace)
    threading.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)
        threading.settrace(None)
    return lines


def _transplanted(module: types.ModuleType, source: str) -> bool:
    """Put the code of the mutant's functions into those of the module; tell whether that has changed any."""
    namespace = {"__name__": module.__name__, "__file__": module.__file__}
    exec(compile(source, str(module.__file__), "exec", dont_inherit=True), namespace)
    changed = False
    for name, old in _functions(vars(module), module.__name__):
        new = dict(_functions(namespace, module.__name__)).get(name)
        if new is not None and new.__code__ != old.__code__:
            if new.__code__.co_freevars != old.__code__.co_freevars:
                return False
            old.__code__ = new.__code__
            changed = True
    return changed


def _with_other_values(module: types.ModuleType, source: str) -> bool:
    """Put the mutant's constants into the module, and wherever they were imported; tell whether any is another.

    An object of one of the module's own classes stays, and gets what the mutant's has, so that all who hold it see it.
    """
    statements = [
        node
        for node in ast.parse(source).body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) or getattr(node, "module", None) == "__future__"
    ]
    before, new = dict(vars(module)), dict(vars(module))
    exec(compile(ast.Module(statements, []), str(module.__file__), "exec", dont_inherit=True), new)
    own = {value for value in before.values() if isinstance(value, type) and value.__module__ == module.__name__}
    changed = []
    for name, old in before.items():
        if type(old) in own and type(new[name]) is type(old):
            if new[name] != old:
                vars(old).clear()
                vars(old).update(vars(new[name]))
                changed.append(name)
        elif _is_plain(old) and new[name] != old:
            changed.append(name)
            for user in [one for key, one in sys.modules.items() if key.startswith("ansible_collections.mtls.nginx")]:
                for held, value in list(vars(user).items()):
                    if value is old and (user is module) <= (held == name):
                        setattr(user, held, new[name])
    return bool(changed)


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(map(_is_plain, value))
    return isinstance(value, (str, bytes, int, float, re.Pattern, type(None)))


def _functions(names: Mapping[str, object], module: str) -> Iterator[tuple[str, types.FunctionType]]:
    for name, value in list(names.items()):
        if isinstance(value, type) and value.__module__ == module:
            for inner, function in _functions(vars(value), module):
                yield f"{name}.{inner}", function
            continue
        for wrapped in ("__func__", "fget", "func", "__wrapped__"):
            value = getattr(value, wrapped, value)
        if isinstance(value, types.FunctionType) and value.__module__ == module:
            yield name, value


def _function_at(mutant: Mutant) -> range:
    """Return the lines of the function in whose body the change is, so that its code is all that differs."""
    found = range(0)
    for node in ast.walk(ast.parse((CODE / mutant.file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.body[0].lineno <= mutant.line <= (node.end_lineno or 0):
            found = range(node.body[0].lineno, (node.end_lineno or 0) + 1)
    return found


def _in_forks(file: str, chosen: Sequence[Mutant]) -> list[str | None]:
    """Return what noticed each mutant, in their order."""
    with tempfile.TemporaryDirectory(prefix="mtls-mutants-") as folder:
        results = pathlib.Path(folder, "results")
        _code, output = trials.collected(_InForks(chosen, results), _paths(file))
        if not results.exists():
            raise SystemExit(f"The tests of {file} fail without any mutant:\n{output[-3000:]}")
        found = dict(json.loads(line) for line in results.read_text().splitlines())
    return [found[number] for number in range(len(chosen))]


# --- with the mutant in place of the file


def _afresh(mutant: Mutant, memory: trials.Memory) -> str | None:
    """Return what notices a mutant that is imported in place of the file."""

    def all_of_them(forks: trials.Forks, session: pytest.Session) -> None:
        rank = memory.rank(mutant.key, {})
        if failure := forks.run(sorted(session.items, key=lambda item: rank(item.nodeid))):
            pytest.exit(f"noticed by {failure[0]}", returncode=9)

    sys.meta_path.insert(0, _Mutated(mutant))
    try:
        code, output = trials.collected(all_of_them, _paths(mutant.file))
    finally:
        sys.meta_path.pop(0)
    noticed = re.search(r"noticed by (.+?) !", output)
    case = None if code == 0 else noticed[1] if noticed else f"pytest ends with {code}"
    memory.learn(mutant.key, case)
    memory.save()
    return case


def tried(file: str, chosen: Sequence[Mutant]) -> Iterator[tuple[Mutant, str | None]]:
    """Yield each mutant, and the case that has noticed it or None."""
    memory = trials.Memory.load(f"unit-{file.replace('/', '-').removesuffix('.py')}")
    for mutant, case in zip(chosen, _in_forks(file, chosen) if chosen else [], strict=True):
        if case == trials.NOTHING_CHANGED or (case is None and not _function_at(mutant)):
            case = _afresh(mutant, memory)
        yield mutant, case


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="FILE[:LINE]")
    parser.add_argument("--list", action="store_true", help="the mutants, without running them")
    options = parser.parse_args()
    wanted = [(file, line) for file, _colon, line in (only.partition(":") for only in options.only)]
    trials.end_with_the_parent()
    known, totals = reasons(), {}
    unexplained = 0
    for file in FILES:
        lines = {line for end, line in wanted if file.endswith(end)}
        if wanted and not lines:
            continue
        chosen = [mutant for mutant in mutants(file) if lines <= {""} or str(mutant.line) in lines]
        if options.list:
            for mutant in chosen:
                say(str(mutant))
            continue
        counts: Counter[str] = Counter()
        for mutant, case in tried(file, chosen):
            why = next((each.why for each in known if each.covers(mutant)), None)
            fate = "killed" if case else "explained" if why else "survived"
            counts[fate] += 1
            if not case:
                say(f"{mutant}\n    {why or 'SURVIVED'}")
        totals[file] = counts
        unexplained += counts["survived"]
        say(_line(file, counts))
    if options.list:
        return 0
    whole = sum(totals.values(), Counter())
    say(_line("all", whole))
    say(f"cosmic-ray {importlib.metadata.version('cosmic-ray')}, Python {platform.python_version()}")
    return 1 if unexplained else 0


def _percent(counts: Counter[str]) -> float:
    return 100 * counts["killed"] / max(counts.total(), 1)


def _line(name: str, counts: Counter[str]) -> str:
    return (
        f"{name}: {counts.total()} mutants, {counts['killed']} killed ({_percent(counts):.1f} %),"
        f" {counts['explained']} survive for a known reason, {counts['survived']} for none"
    )


if __name__ == "__main__":
    sys.exit(main())
