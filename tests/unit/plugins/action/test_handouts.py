# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of clients, as a task writes them."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.tests.unit.actions import Controller
from ansible_collections.mtls.nginx.tests.unit.support import tree

SERVICES = [{"name": "web", "urls": ["https://web.lan/"]}]


@pytest.fixture
def controller(tmp_path) -> Controller:
    return Controller(tmp_path / "site", {"nas": {}})


def test_pages_are_written_once_and_removed(controller, pki):
    pki.serve(Client("phone"))
    page = pki.file("phone", ".html")
    before = tree(pki.path)
    foreseen = controller.run("handouts", check=True, ca_path=str(pki.path), services=SERVICES)
    assert foreseen["written"] == ["phone"]
    assert tree(pki.path) == before

    done = controller.run("handouts", ca_path=str(pki.path), services=SERVICES)
    assert (done["changed"], done["written"], done["diff"]) == (True, ["phone"], foreseen["diff"])
    assert "https://web.lan/" in page.read_text()
    assert controller.run("handouts", ca_path=str(pki.path), services=SERVICES)["changed"] is False

    done = controller.run("handouts", ca_path=str(pki.path), services=SERVICES, state="absent")
    assert (done["changed"], done["removed"]) == (True, ["phone"])
    assert not page.exists()


def test_before_there_is_an_authority(controller, tmp_path):
    done = controller.run("handouts", ca_path=str(tmp_path / "none"), services=SERVICES)
    assert (done["changed"], done["written"]) == (False, [])
    assert not (tmp_path / "none").exists()


def test_another_run_is_waited_for(controller, pki, monkeypatch):
    pki.serve(Client("phone"))
    taken = []
    lock = files.lock
    monkeypatch.setattr(files, "lock", lambda path: taken.append(path) or lock(path))
    controller.run("handouts", check=True, ca_path=str(pki.path), services=SERVICES)
    assert taken == []
    controller.run("handouts", ca_path=str(pki.path), services=SERVICES)
    assert taken == [str(pki.path / ".lock")]


def test_a_mistake_is_one_message(controller, pki, tmp_path):
    pki.serve(Client("phone"))
    with pytest.raises(AnsibleActionFail, match=r"none\.j2"):
        controller.run("handouts", ca_path=str(pki.path), services=SERVICES, template=str(tmp_path / "none.j2"))
    pki.file("phone", ".html").mkdir()
    with pytest.raises(AnsibleActionFail, match=r"phone\.html.*: Is a directory"):
        controller.run("handouts", ca_path=str(pki.path), services=SERVICES)


def test_facts_of_a_host_are_no_variables_of_ours(controller, pki):
    controller.variables.set_host_facts("nas", {"mtls_ca_dir": "/of/the/attacker"})
    with pytest.raises(AnsibleActionFail, match="which no host may decide"):
        controller.run("handouts", ca_path=str(pki.path), services=SERVICES)
