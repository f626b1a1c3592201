# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of a long run, while Ansible shows nothing."""

from __future__ import annotations

import threading
import time

import pytest

from ansible_collections.mtls.nginx.plugins.action import client_cert
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import progress
from ansible_collections.mtls.nginx.tests.unit.actions import Controller


@pytest.fixture
def controller(tmp_path) -> Controller:
    return Controller(tmp_path / "site", {"nas": {}})


@pytest.fixture
def shown(monkeypatch) -> list[str]:
    lines: list[str] = []

    def display(_self, text, **_options) -> None:
        if text.startswith("client_cert: "):  # and not what Ansible itself has to say
            lines.append(text)

    monkeypatch.setattr(client_cert.Display, "display", display)
    monkeypatch.setattr(client_cert, "_LOOK", 0.01)
    return lines


def test_a_long_run_is_told_and_a_short_one_is_not(controller, shown, pki, monkeypatch):
    def long(_call) -> dict:
        with progress.shown(str(pki.path), 1200) as count:
            deadline = time.monotonic() + 10
            while not shown and time.monotonic() < deadline:
                count()
                time.sleep(0.01)
        return {"changed": True}

    monkeypatch.setattr(client_cert.client_cert, "work", long)
    assert controller.run("client_cert", ca_path=str(pki.path), clients=[{"name": "phone"}])["changed"]
    assert len(shown) == 1, "the next line comes seconds later"
    assert shown[0].endswith(" of 1,200 certificates")

    monkeypatch.setattr(client_cert.client_cert, "work", lambda _call: time.sleep(0.05) or {"changed": False})
    controller.run("client_cert", ca_path=str(pki.path), clients=[{"name": "phone"}])
    assert len(shown) == 1


@pytest.mark.parametrize("why", ["in the background", "on another host", "without a path"])
def test_where_nobody_looks_no_thread_is_begun(controller, pki, monkeypatch, why):
    path = {} if why == "without a path" else {"ca_path": str(pki.path)}
    task = {"async_val": 60} if why == "in the background" else {}
    action, variables = controller.action("client_cert", task=task, clients=[{"name": "phone"}], **path)
    if why == "on another host":
        monkeypatch.setattr(type(action._connection), "transport", "ssh")
    threads = []
    monkeypatch.setattr(action, "_execute_module", lambda **_options: threads.append(threading.active_count()) or {})
    monkeypatch.setattr(client_cert.client_cert, "work", lambda _call: threads.append(threading.active_count()) or {})
    before = threading.active_count()
    action.run(task_vars=variables)
    assert threads in ([before], [])


def test_a_run_that_fails_ends_it_too(controller, shown, pki, monkeypatch):
    def work(_call):
        raise ZeroDivisionError

    monkeypatch.setattr(client_cert.client_cert, "work", work)
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        controller.run("client_cert", ca_path=str(pki.path), clients=[{"name": "phone"}])
    assert threading.active_count() == before


def test_the_role_s_clients_come_from_its_plan(controller, pki, monkeypatch):
    asked = []
    monkeypatch.setattr(client_cert.client_cert, "work", lambda call: asked.append(call.params["clients"]) or {})
    action, variables = controller.action("client_cert", ca_path=str(pki.path), clients=[])
    plan = {
        "mtls__inventory": {"authorities": {str(pki.path): {"clients": [{"name": "phone"}]}, "/b": {"clients": []}}}
    }
    action.run(task_vars={**variables, **plan})
    action.run(task_vars={**variables, **plan, "mtls__clients_of_plan": True})
    assert [[client["name"] for client in clients] for clients in asked] == [[], ["phone"]]
