# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README names whatever there is: variables, playbooks, pages. Links on it and in docs/ lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "ci" / "README.md"]


def variables() -> Iterator[tuple[str, dict]]:
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            yield from entry["options"].items()


def anchors(text: str) -> set[str]:
    """How a heading is linked to: in lower case, without marks, a dash for each space."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_it_names_each_variable_of_the_roles():
    assert [name for name, _spec in variables() if f"`{name}`" not in README] == []


@pytest.mark.parametrize("variable", ["mtls_clients", "mtls_services"])
def test_it_names_each_option_of_clients_and_services(variable):
    (options,) = {tuple(spec["options"]) for name, spec in variables() if name == variable}
    (row,) = (line for line in README.splitlines() if line.startswith(f"| `{variable}`"))
    assert [option for option in options if f"`{option}`" not in row] == []


def test_it_names_each_playbook():
    assert [path.stem for path in (ROOT / "playbooks").glob("*.yml") if f"| `{path.stem}` |" not in README] == []


def test_it_lists_each_page():
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"(docs/{path.name})" not in README] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        linked = (page.parent / target) if target else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text()), f"{target}#{anchor}"
