# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No answer of a host gets past what reads it."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
import yaml
from ansible.plugins.action import ActionBase

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers
from ansible_collections.mtls.nginx.tests.unit.actions import Controller, host_says

PLUGINS = Path(__file__).parents[4] / "plugins"
READS_ANSWERS = {
    *(
        "nginx_site",
        "nginx_facts",
        "nginx_glance",
        "nginx_config",
        "nginx_gate",
        "nginx_crls",
        "nginx_crl_fetch",
        "nginx_install",
    ),
    *("access_log", "doctor", "nginx_acme"),
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
        assert re.search(
            r"^class ActionModule\((Host|Package)Action\):$",
            (PLUGINS / "action" / f"{name}.py").read_text(encoding="utf-8"),
            re.MULTILINE,
        )


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


@pytest.fixture
def asking(tmp_path):
    """An action that asks a host for its CRLs, and what to run it with."""
    return Controller(tmp_path / "site", {"nas": {}}).action("nginx_crls", paths=[])


HONEST = {"changed": False, "crls": []}


def test_of_facts_only_the_python_that_ansible_found_is_kept(asking):
    action, variables = asking
    host_says(action, nginx_crls={**HONEST, "ansible_facts": {"mtls_ca_dir": "/of/the/attacker"}})
    execute = action._execute_module
    found = {"discovered_interpreter_python": "/usr/bin/python3", "mtls_ca_dir": "/of/the/attacker"}
    action._execute_module = lambda **options: {**execute(**options), "ansible_facts": found}
    assert action.run(task_vars=variables)["ansible_facts"] == {"discovered_interpreter_python": "/usr/bin/python3"}


def test_an_ansible_that_uses_an_answer_before_it_was_read_is_not_trusted(asking):
    action, variables = asking
    action._execute_module = lambda **_options: HONEST
    done = action.run(task_vars=variables)
    assert done["failed"]
    assert done["msg"] == "host nas: this ansible-core does not show the answer to nginx_crls before using it"


def test_an_answer_of_which_nobody_said_what_is_expected_goes_no_further(asking):
    action, variables = asking
    host_says(action, nginx_crls=HONEST)
    assert not action.run(task_vars=variables).get("failed")
    with pytest.raises(RuntimeError, match="no telling what an honest host would answer"):
        action._execute_module(module_name="nginx_crls", module_args={}, task_vars=variables)


DEEP = f'{{"crls": {"[" * 100_000}{"]" * 100_000}}}'


@pytest.mark.parametrize("answer", ['"text"', "[]", "no JSON", '{"crls": 5}', DEEP], ids=lambda answer: answer[:9])
def test_what_is_no_answer_is_one_message(asking, answer):
    action, variables = asking
    profile = ("legacy",) if "profile" in inspect.signature(ActionBase._parse_returned_data).parameters else ()
    said = {"rc": 0, "stdout": answer, "stderr": ""}

    def execute_module(**_options) -> dict:
        parsed = action._parse_returned_data(said, *profile)
        return parsed if isinstance(parsed, dict) else parsed.as_result_dict(for_round_trip=True)  # from 2.21 on

    action._execute_module = execute_module
    done = action.run(task_vars=variables)
    assert done["failed"]
    assert 20 < len(done["msg"]) < 500
    assert done.keys().isdisjoint({"crls", "exception", "module_stdout"} if answer == DEEP else {"crls"})


def test_around_an_answer_nothing_moves_the_cursor(asking, monkeypatch):
    action, variables = asking
    action._task_vars = variables
    done = action._low_level_execute_command(r"printf 'a\033[2Jb\n'; printf 'c\033d' >&2", sudoable=False)
    assert done["stdout"] == "a\\x1b[2Jb\n"
    assert "c\\x1bd" in done["stderr"]

    monkeypatch.setattr(answers, "LARGEST", 10)
    with pytest.raises(MtlsError, match="its answer to a command cannot be trusted: it has 26 characters"):
        action._low_level_execute_command("printf abcdefghijklmnopqrstuvwxyz", sudoable=False)
    action._expected = ("nginx_crls", answers.NGINX_CRLS)
    with pytest.raises(MtlsError, match="its answer to nginx_crls cannot be trusted: it has 26 characters"):
        action._low_level_execute_command("printf abcdefghijklmnopqrstuvwxyz", sudoable=False)


@pytest.fixture
def two(tmp_path):
    """An action of a host, and another host."""
    hosts = {"nas": {}, "bastion": {"ansible_remote_tmp": str(tmp_path / "there")}}
    return Controller(tmp_path / "site", hosts).action("nginx_crls", "nas", paths=[])


def test_another_host_is_asked_for_a_while(two):
    action, variables = two
    action._task_vars = variables
    own = action._connection
    heard = host_says(action, nginx_crls=HONEST)
    execute = action._execute_module
    seen = []

    def execute_module(**options) -> dict:
        seen.append((action._task.delegate_to, action._connection is own, action._asked_host))
        assert ("ansible_delegated_vars" in options["task_vars"]) is (action._asked_host == "bastion")
        found = {"discovered_interpreter_python": f"/usr/bin/of-{action._asked_host}"}
        return {**execute(**options), "ansible_facts": found}

    action._execute_module = execute_module
    action._ask("nginx_crls", {}, answers.NGINX_CRLS)
    with action._at("bastion"):
        action._ask("nginx_crls", {}, answers.NGINX_CRLS)
    assert seen == [(None, True, "nas"), ("bastion", False, "bastion")]
    assert len(heard) == 2
    assert (action._connection, action._task.delegate_to, action._task_vars) == (own, None, variables)
    # Python is looked for on each host.
    assert action._found_python == {"discovered_interpreter_python": "/usr/bin/of-nas"}


def test_of_another_host_is_believed_as_little_and_it_is_named(two):
    action, variables = two
    action._task_vars = variables
    own = action._connection
    host_says(action, nginx_crls={"crls": 5})
    with pytest.raises(MtlsError, match=r"^host bastion: "), action._at("bastion"):
        action._ask("nginx_crls", {}, answers.NGINX_CRLS)
    assert (action._connection, action._task.delegate_to, action._task_vars) == (own, None, variables)
