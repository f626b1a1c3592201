# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority's modules in Ansible's own process: where that is the same, and what is said of arguments."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail
from ansible.plugins.loader import become_loader

from ansible_collections.mtls.nginx.plugins.plugin_utils import authority_action
from ansible_collections.mtls.nginx.tests.unit.actions import Controller
from ansible_collections.mtls.nginx.tests.unit.support import tree

ELSEWHERE = {
    "another interpreter": {"ansible_python_interpreter": "/usr/bin/python-of-another-venv"},
    "another environment": {},
    "in the background": {},
    "as another user": {},
    "on another host": {},
}


@pytest.fixture
def controller(tmp_path) -> Controller:
    return Controller(tmp_path / "site", {"nas": {}, "web": {"ansible_python_interpreter": "/of/the/other"}})


def test_it_runs_here_with_the_result_of_the_module(controller, pki):
    done = controller.run("crl", ca_path=str(pki.path), days=30)
    assert done["changed"] is False
    assert done["crl"]["number"] == 1


def test_check_mode_reaches_the_module(controller, pki):
    before = tree(pki.path)
    done = controller.run("crl", check=True, ca_path=str(pki.path), days=40, refresh_before=35)
    assert done["changed"] is True
    assert tree(pki.path) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "missing required arguments: ca_path"),
        ({"ca_path": "/nowhere", "dais": 3}, "Unsupported parameters for (mtls.nginx.crl) module: dais"),
        ({"ca_path": "/nowhere", "days": "soon"}, "days"),
        ({"ca_path": "/nowhere/pki"}, "/nowhere/pki"),
    ],
)
def test_a_mistake_is_one_message(controller, options, said):
    done = controller.run("crl", **options)
    assert done["failed"]
    assert said in done["msg"]
    assert "\n" not in done["msg"]


def test_no_passphrase_is_in_what_is_said_of_it(controller, pki):
    """Since ansible-core 2.22, Ansible masks it where it shows it."""
    done = controller.run("crl", ca_path=str(pki.path), ca_passphrase="open sesame", days="open sesame")
    assert done["failed"]
    if authority_action._MASKED_BY_HAND:
        assert "open sesame" not in str(done)


def test_warnings_of_the_module_are_the_tasks(controller, pki):
    pki.path.chmod(0o755)
    (warning,) = controller.run("crl", ca_path=str(pki.path))["warnings"]
    assert "other users may look into it" in warning


def test_facts_of_a_host_are_no_variables_of_ours(controller, pki):
    controller.variables.set_host_facts("nas", {"mtls_ca_dir": "/of/the/attacker"})
    with pytest.raises(AnsibleActionFail, match="its facts contain mtls_ca_dir, which no host may decide"):
        controller.run("crl", ca_path=str(pki.path))


@pytest.mark.parametrize("reason", ELSEWHERE)
def test_in_any_other_place_it_runs_as_any_module(controller, pki, monkeypatch, reason):
    """With what Ansible itself would do then; tests/integration does it."""
    task = {
        "another environment": {"environment": [{"HTTPS_PROXY": "http://proxy.lan"}]},
        "in the background": {"async_val": 60},
    }.get(reason, {})
    action, variables = controller.action("crl", task=task, ca_path=str(pki.path))
    variables = {**variables, **ELSEWHERE[reason]}
    if reason == "as another user":
        action._connection.set_become_plugin(become_loader.get("sudo"))
    if reason == "on another host":
        action._task.delegate_to = "web"
        variables["ansible_delegated_vars"] = {"web": controller.of("web")}
    given = []
    monkeypatch.setattr(action, "_execute_module", lambda **options: given.append(options) or {"changed": True})
    assert action.run(task_vars=variables)["changed"] is True
    assert [options["wrap_async"] for options in given] == [reason == "in the background"]


def test_become_for_the_hosts_is_not_for_the_controller(controller, pki):
    """`-e ansible_become=true` outranks what the task says, unless the action sees to it."""
    action, variables = controller.action("crl", task={"vars": {"ansible_become": False}}, ca_path=str(pki.path))
    action._connection.set_become_plugin(become_loader.get("sudo"))
    assert action.run(task_vars=variables)["changed"] is False
    assert action._connection.become is None
