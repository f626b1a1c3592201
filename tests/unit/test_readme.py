# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README is short and names whatever there is: playbooks, pages. Links on it and in docs/ lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples" / "ci" / "README.md",
]


def anchors(text: str) -> set[str]:
    """How a heading is linked to: in lower case, without marks, a dash for each space."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_it_is_read_in_five_minutes():
    assert len(README.split()) < 1200


def test_it_asks_for_the_versions_that_are_required():
    required = (ROOT / "requirements" / "controller.txt").read_text()
    without_links = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", README)
    for package in ("ansible-core", "cryptography"):
        oldest = re.search(rf"^{package}>=([0-9.]+)", required, re.MULTILINE)[1]
        assert f"{package} {oldest}" in without_links


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
