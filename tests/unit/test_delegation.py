# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles do on the controller they do as whoever runs the playbook, whatever the inventory says of becoming."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mtls.nginx.tests.unit.support import read_yaml

ROOT = Path(__file__).parents[2]
FILES = [*sorted(ROOT.glob("roles/*/tasks/*.yml")), *sorted(ROOT.glob("playbooks/**/*.yml"))]


def delegated(tasks: Any) -> Iterator[dict[str, Any]]:
    """All tasks and blocks that say where they run."""
    for task in tasks if isinstance(tasks, list) else []:
        if not isinstance(task, dict):
            continue
        if "delegate_to" in task:
            yield task
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
            yield from delegated(task.get(part))


TASKS = [
    pytest.param(task, id=f"{path.relative_to(ROOT)}: {task['name']}")
    for path in FILES
    for task in delegated(read_yaml(path))
]


def test_the_roles_do_something_on_the_controller() -> None:
    assert len(TASKS) >= 5


@pytest.mark.parametrize("task", TASKS)
def test_it_never_becomes(task: dict[str, Any]) -> None:
    assert task["delegate_to"] == "localhost"
    assert task["become"] is False
    # An inventory's ansible_become outranks the keyword.
    assert task["vars"]["ansible_become"] is False
    assert task["vars"]["ansible_connection"] == "local"
    assert task["vars"]["ansible_python_interpreter"] == "{{ ansible_playbook_python }}"
