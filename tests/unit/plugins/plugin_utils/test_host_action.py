# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No answer of a host gets past what reads it."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import yaml
from ansible.plugins.action import ActionBase

PLUGINS = Path(__file__).parents[4] / "plugins"
READS_ANSWERS = {
    *("nginx_site", "nginx_facts", "nginx_config", "nginx_gate", "nginx_crls", "nginx_crl_fetch", "nginx_install"),
    *("access_log", "doctor"),
}


def test_ansible_still_reads_answers_where_we_take_hold_of_them():
    """Private methods, the same in ansible-core 2.17 to 2.20. Without the first, `HostAction` refuses to go on."""
    source = inspect.getsource(ActionBase._execute_module)
    assert "self._parse_returned_data(res" in source
    assert "self._low_level_execute_command(" in source


def test_whoever_asks_a_host_reads_its_answer():
    """Only `HostAction`, and the authority's modules on another machine of the operator's, call `_execute_module`."""
    callers = {
        path.stem
        for path in PLUGINS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "_execute_module"
    }
    assert callers == {"host_action", "authority_action"}


def test_each_module_that_runs_on_hosts_has_an_action_that_reads_its_answer():
    on_hosts = {path.stem for path in PLUGINS.glob("modules/nginx_*.py")} | {"access_log", "doctor"}
    assert on_hosts == READS_ANSWERS
    for name in READS_ANSWERS:
        assert "class ActionModule(HostAction)" in (PLUGINS / "action" / f"{name}.py").read_text(encoding="utf-8")


def test_our_playbooks_and_roles_run_nothing_else_on_hosts():
    """Whatever another module returned as facts would be variables. The role upkeep runs on the controller."""
    root = PLUGINS.parent
    (block,) = yaml.safe_load((root / "roles" / "upkeep" / "tasks" / "main.yml").read_text(encoding="utf-8"))
    assert block["delegate_to"] == "localhost"
    allowed = {"assert", "debug", "fail", "import_playbook", "import_role", "import_tasks", "include_tasks", "set_fact"}
    found = {
        line.split("ansible.builtin.")[1].split(":")[0]
        for folder in (
            "playbooks",
            *(f"roles/{role.name}" for role in (root / "roles").iterdir() if role.name != "upkeep"),
        )
        for path in (root / folder).rglob("*.yml")
        if "meta" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().removeprefix("- ").startswith("ansible.builtin.")
    }
    assert found <= allowed
