# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A target has Python 3.9 and nginx, and no library: what the nginx_* modules bring along must keep to that."""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
MODULE_UTILS = "ansible_collections.mtls.nginx.plugins.module_utils"
PACKAGES = [
    ".".join([MODULE_UTILS, *path.parent.relative_to(PLUGINS / "module_utils").parts])
    for path in PLUGINS.glob("module_utils/*/**/__init__.py")
]


def guarded(tree: ast.Module) -> set[ast.AST]:
    """The nodes inside a `try` that an ImportError does not stop."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        and any(isinstance(handler.type, ast.Name) and handler.type.id == "ImportError" for handler in node.handlers)
        for statement in node.body
        for inner in ast.walk(statement)
    }


def imported(tree: ast.Module) -> Iterator[str]:
    """The names of all modules that must be there; of guarded imports, those of the collection itself."""
    optional = guarded(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module in (MODULE_UTILS, *PACKAGES):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        else:
            continue
        yield from (name for name in names if node not in optional or name.startswith(MODULE_UTILS))


@functools.cache
def shipped() -> dict[Path, ast.Module]:
    """Every file that Ansible sends to a target, as Python 3.9 reads it."""
    found: dict[Path, ast.Module] = {}
    waiting = sorted((PLUGINS / "modules").glob("nginx_*.py"))
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = ast.parse(path.read_text(encoding="utf-8"), path.name, feature_version=(3, 9))
        for name in imported(found[path]):
            if name.startswith(f"{MODULE_UTILS}."):
                below = name.removeprefix(f"{MODULE_UTILS}.").replace(".", "/")
                waiting.append(PLUGINS / "module_utils" / f"{below}.py")
    return found


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in sorted(shipped())])
def test_needs_nothing_but_python_itself(path: Path) -> None:
    foreign = {
        name
        for name in imported(shipped()[path])
        if name.split(".")[0] not in sys.stdlib_module_names
        and not name.startswith(("ansible.module_utils.", f"{MODULE_UTILS}."))
    }

    assert foreign == set()


def first_of_ours(module: Path) -> str | None:
    """What a module imports first of the collection; None where it is only documentation of an action."""
    body = ast.parse(module.read_text(encoding="utf-8"), module.name, feature_version=(3, 8)).body
    imports = (node.module for node in body if isinstance(node, ast.ImportFrom) and node.module)
    return next((name for name in imports if name.startswith(MODULE_UTILS)), None)


FIRST = {path.stem: first_of_ours(path) for path in sorted((PLUGINS / "modules").glob("nginx_*.py"))}


@pytest.mark.parametrize("module", [name for name, first in FIRST.items() if first])
def test_an_older_python_is_refused_in_one_message(module):
    """The one of Ubuntu 20.04, which ansible-core 2.17 to 2.19 still take: before it reads what it would break at."""
    assert FIRST[module].startswith(f"{MODULE_UTILS}.common")
    program = f"import sys; sys.version_info = (3, 8, 10, 'final', 0); import {FIRST[module]}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert said["failed"] is True
    assert said["msg"].startswith(f"this host's Python is 3.8.10 ({sys.executable}), and 3.9 or newer is needed; ")


def test_what_refuses_it_is_read_by_it():
    ast.parse((PLUGINS / "module_utils" / "common" / "__init__.py").read_text(), feature_version=(3, 7))
