# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests stand where the code stands: who changes a file finds its tests, and sees that it has some."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

UNIT = Path(__file__).parent
ROOT = UNIT.parents[1]
# A module is run whole: from its arguments to its result, in a process of its own.
RUN_WHOLE = {
    "plugins/modules": "modules/test_controller_modules.py and, with a real nginx, tests/integration",
}
# No code of its own, or what makes sense only between two machines: there each has its tests.
ELSEWHERE = {
    "plugins/action/nginx_acme.py": "plugin_utils/host_action.py: it hands on what was read",
    "plugins/module_utils/host/acme_hook.py": "tests/integration/test_acme.py: certbot runs it",
    "plugins/module_utils/site/acme_program.py": "tests/integration/test_acme.py: certbot runs it",
    "plugins/module_utils/site/host_sources.py": "tests/integration/test_acme.py and test_crl_timer.py: it runs",
    "plugins/plugin_utils/package_action.py": "plugins/action/test_nginx_install.py",
    "plugins/action/nginx_glance.py": "plugin_utils/host_action.py: it hands on what was read",
    "plugins/action/nginx_facts.py": "plugin_utils/host_action.py: it hands on what was read",
    "plugins/module_utils/common/__init__.py": "tests/unit/test_target_code.py, in a process of its own",
    "plugins/action/nginx_gate.py": "plugin_utils/host_action.py: it hands on what was read",
}


def does_something(path: Path) -> bool:
    return re.search(r"^ *def ", path.read_text(encoding="utf-8"), re.MULTILINE) is not None


CODE = [path.relative_to(ROOT) for path in sorted((ROOT / "plugins").rglob("*.py")) if does_something(path)]


@pytest.mark.parametrize("path", CODE, ids=str)
def test_each_file_has_its_tests(path: Path) -> None:
    if str(path.parent) in RUN_WHOLE or str(path) in ELSEWHERE:
        return
    assert (UNIT / path.parent / f"test_{path.name}").is_file()


def test_the_exceptions_are_there() -> None:
    assert [name for name in (*RUN_WHOLE, *ELSEWHERE) if not (ROOT / name).exists()] == []


def test_no_tests_are_left_of_a_file_that_is_gone() -> None:
    allowed = {  # of several files
        "modules/test_controller_modules.py",
        "modules/test_crl_distribution_point.py",
        "module_utils/ca/lifecycle/test_repair.py",
        "module_utils/ca/store/test_line_ends.py",
    }
    left = []
    for path in (UNIT / "plugins").rglob("test_*.py"):
        tested = path.relative_to(UNIT / "plugins")
        if not (ROOT / "plugins" / tested.parent / tested.name.removeprefix("test_")).is_file():
            left.append(str(tested))
    assert set(left) <= allowed
