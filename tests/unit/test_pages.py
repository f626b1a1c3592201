# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pages say of the code is so: the messages they quote, the doctor's causes, the files CONTRIBUTING.md names."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "plugins").rglob("*.py"))
OF_THE_AUTHORITY = ("mtls.nginx.ca_adopt", "mtls.nginx.ca_archive")


def strings(tree: ast.AST) -> Iterator[str]:
    """The strings of a file, with `…` for whatever is filled in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)


@functools.cache
def messages() -> str:
    """All strings of all files."""
    return "\n".join(text for path in SOURCES for text in strings(ast.parse(path.read_text())))


def quoted(page: str) -> list[str]:
    """The messages in the first column of a page's table of messages."""
    text = (ROOT / "docs" / page).read_text()
    (table,) = re.findall(r"^\| message \| remedy \|\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [message for row in table.splitlines() for message in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


@pytest.mark.parametrize(("page", "message"), [(p, m) for p in ("openbao.md", "tokens.md") for m in quoted(p)])
def test_a_quoted_message_is_one_of_ours(page, message):
    # A page has an example, or `…`, where the message has whatever is meant. What it is about is a string of its own.
    for part in message.split(": "):
        pieces = re.split(r"\s*(?:…\S*|'\w+'|\bPOST pki/sign/client\b)\s*", part)
        assert re.search(r"[^\n]*".join(re.escape(piece) for piece in pieces if piece), messages()), part


def test_the_doctors_page_lists_each_cause():
    (table,) = re.findall(
        r"^\| cause \|.*\n\|[-|]+\n((?:\|.*\n)+)", (ROOT / "docs" / "doctor.md").read_text(), re.MULTILINE
    )
    listed = [cause for row in table.splitlines() for cause in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    source = (ROOT / "plugins" / "module_utils" / "site" / "diagnosis.py").read_text()
    found = re.findall(r"\bCause\(\s*\"(\w+)\"", source)
    assert sorted(listed) == sorted(set(found))


def test_contributing_names_files_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"(?<![\w/.])((?:plugins|roles|playbooks|tests|docs|changelogs)/[\w./]*)", text)
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []
    rooms = re.findall(r"`(\w+)/`", text)
    parents = (ROOT, ROOT / "plugins" / "module_utils", ROOT / "plugins" / "module_utils" / "ca")
    assert [room for room in rooms if not any((parent / room).is_dir() for parent in parents)] == []


def test_the_status_pages_example_of_a_summary_has_our_titles():
    (line,) = re.findall(r"^18 clients, 5 services: (.*)$", (ROOT / "docs" / "status.md").read_text(), re.MULTILINE)
    titles = re.findall(r"(?:^|; )([A-Z][^:]+): ", line)
    assert len(titles) == 2
    assert [title for title in titles if title not in messages()] == []


def plays() -> Iterator[tuple[str, dict]]:
    """Each play that a page shows, with the page's name."""
    for page in sorted(ROOT.glob("docs/*.md")):
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            shown = yaml.safe_load(block)
            for play in shown if isinstance(shown, list) else ():
                if "hosts" in play:
                    yield page.name, play


def test_a_play_of_a_page_has_what_its_templates_name():
    """The localhost that Ansible makes up is in no inventory, so it has no inventory_dir."""
    found = list(plays())
    assert len(found) > 1
    assert [page for page, play in found if play["hosts"] == "localhost" and "inventory_dir" in str(play)] == []
    tasks = [task for _page, play in found for task in play["tasks"] if any(name in task for name in OF_THE_AUTHORITY)]
    assert len(tasks) > 1
    assert all((task["delegate_to"], task["run_once"]) == ("localhost", True) for task in tasks)
