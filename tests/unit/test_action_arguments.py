# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an action takes is what the documentation of its module says: nothing else compares the two.

``ansible-test sanity`` compares a module's documentation with the module's own arguments, and the module of such an
action has none: its file is documentation only.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

PLUGINS = Path(__file__).parents[2] / "plugins"
COLLECTION = "ansible_collections.mtls.nginx.plugins"

# What a documented option says of its values, and an argument specification too; the latter leaves out defaults.
COMPARED = {"type": "str", "required": False, "default": None, "choices": None, "elements": None, "no_log": None}


def with_own_arguments() -> list[str]:
    """The actions that check arguments themselves, and do not run a module that does."""
    names = []
    for path in sorted((PLUGINS / "action").glob("*.py")):
        if hasattr(importlib.import_module(f"{COLLECTION}.action.{path.stem}"), "ARGUMENTS"):
            names.append(path.stem)
    return names


def documented(name: str) -> dict[str, Any]:
    options = yaml.safe_load(importlib.import_module(f"{COLLECTION}.modules.{name}").DOCUMENTATION).get("options", {})
    return {option: comparable(said) for option, said in options.items()}


def comparable(said: dict[str, Any]) -> dict[str, Any]:
    found = {key: said.get(key, default) for key, default in COMPARED.items()}
    below = said.get("suboptions") or said.get("options")
    if below:
        found["options"] = {option: comparable(each) for option, each in below.items()}
    return found


def test_there_are_such_actions() -> None:
    assert {"nginx_site", "tls_probe", "status", "doctor", "handouts"} <= set(with_own_arguments())


@pytest.mark.parametrize("name", with_own_arguments())
def test_an_action_takes_what_its_module_documents(name: str) -> None:
    taken = importlib.import_module(f"{COLLECTION}.action.{name}").ARGUMENTS

    assert {option: comparable(said) for option, said in taken.items()} == documented(name)


@pytest.mark.parametrize("path", sorted((PLUGINS / "action").glob("*.py")), ids=lambda path: path.stem)
def test_each_action_has_a_module_that_documents_it(path: Path) -> None:
    assert (PLUGINS / "modules" / path.name).is_file()
