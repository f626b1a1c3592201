# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file may import which: what docs/architecture.md says of the layers."""

from __future__ import annotations

import ast
import functools
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
COLLECTION = "ansible_collections.mtls.nginx.plugins"

# What each folder may import besides itself and what lies below it. `ca` stands for all of its rooms.
MAY_IMPORT = {
    "module_utils/common": [],
    "module_utils/host": ["module_utils/common"],
    "module_utils/ca": ["module_utils/common"],
    "module_utils/site": ["module_utils/common", "module_utils/ca", "module_utils/host"],
    "doc_fragments": [],
    "plugin_utils": ["module_utils"],
    "action": ["module_utils", "plugin_utils", "modules"],
    "lookup": ["module_utils/common"],
    "modules": ["module_utils"],
}
# The rooms of the authority, lowest first: each may import those before it, and the protocol in `ca` itself.
ROOMS = ["crypto", "keystore", "store", "backends", "lifecycle", "holders"]
# In `ca` itself: the protocol, and words that all backends share; `access` knows who implements the protocol.
PROTOCOL = {"authority", "options", "wanted"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PLUGINS).with_suffix("").parts)


FILES = {module_of(path): path for path in PLUGINS.rglob("*.py") if path.name != "__init__.py"}


def imports_of(path: Path) -> set[str]:
    """The collection's own modules that a file imports, for its types and inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(f"{COLLECTION}."):
            continue
        source = node.module.removeprefix(f"{COLLECTION}.")
        for alias in node.names:
            whole = f"{source}.{alias.name}"
            found.add(whole if whole in FILES else source)
    return found


@functools.cache
def imports() -> dict[str, set[str]]:
    return {module: imports_of(path) for module, path in FILES.items()}


def folder_of(module: str) -> str:
    return next(folder for folder in MAY_IMPORT if f"{module.replace('.', '/')}/".startswith(f"{folder}/"))


def test_every_import_is_of_a_file_that_is_there() -> None:
    assert {name for names in imports().values() for name in names} <= set(FILES)


def test_no_two_files_import_each_other_by_whatever_way() -> None:
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        pytest.fail(f"they import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", sorted(FILES))
def test_imports_only_what_lies_below(module: str) -> None:
    own = folder_of(module)
    above = {
        name
        for name in imports()[module]
        if folder_of(name) != own and not folder_of(name).startswith(tuple(MAY_IMPORT[own]))
    }

    assert above == set()


@pytest.mark.parametrize("module", sorted(name for name in FILES if name.startswith("module_utils.ca.")))
def test_rooms_of_the_authority(module: str) -> None:
    room = module.removeprefix("module_utils.ca.").rpartition(".")[0].split(".")[0]
    if not room and module.removeprefix("module_utils.ca.") not in PROTOCOL:
        return
    below = ROOMS[: ROOMS.index(room)] if room else ["crypto", "keystore", "store"]
    above = set()
    for name in imports()[module]:
        if not name.startswith("module_utils.ca."):
            continue
        target = name.removeprefix("module_utils.ca.")
        in_room = target.split(".")[0] if "." in target else ""
        if in_room != room and not (in_room in below or (not in_room and target in PROTOCOL)):
            above.add(name)

    assert above == set()


@pytest.mark.parametrize("module", sorted(name for name in FILES if name.startswith("module_utils.ca.holders.")))
def test_who_has_certificates_is_the_same_whoever_signs(module: str) -> None:
    assert not {name for name in imports()[module] if name.startswith("module_utils.ca.backends.")}


def sent_with(module: str) -> set[str]:
    """What Ansible sends with a module: all that an import statement names, needed or not."""
    found, due = set(), [module]
    while due:
        more = imports()[due.pop()] - found
        found |= more
        due += more
    return found


def test_what_a_host_without_changes_is_sent() -> None:
    """Python reads it anew on each host, in each run. What few hosts need is not in it."""
    names = {name.removeprefix("module_utils.") for name in sent_with("modules.nginx_glance")}
    rooms = (
        "addresses",
        "comparison",
        "crl_place",
        "facts",
        "nginx_conf",
        "nginx_process",
        "nginx_unit",
        "ports",
        "request",
    )
    rooms += ("shutdown", "swap")
    common = {f"common.{name}" for name in ("entry", "errors", "files", "times")}
    assert names == common | {f"host.{room}" for room in rooms}
