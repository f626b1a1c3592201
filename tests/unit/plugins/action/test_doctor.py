# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor must be told, and what it says of a host that says nothing."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.unit.actions import Controller, command_line, host_says

GATE = {
    "clock": 1_796_310_000.5,
    "running": False,
    "configured": False,
    "included": None,
    "allow": None,
    "certificate": None,
    "ca": None,
    "crl": None,
    "crl_begin": None,
    "crl_end": None,
    "revoked": False,
    "requests": [],
    "without": [],
    "http3": False,
    "errors": [],
    "unread": [],
}


@pytest.fixture
def ask(tmp_path, pki, monkeypatch):
    command_line(monkeypatch, inventory=())
    pki.serve(Client("phone"))
    port = free_port()
    services = [
        {"name": "web", "server_names": ["web.lan"], "upstream": "http://127.0.0.1:1", "listen": port},
        {"name": "own", "server_names": ["own.lan"], "snippet": True},
    ]
    variables = {"mtls_services": services, "mtls_ca_dir": str(pki.path), "mtls_clients": [{"name": "phone"}]}
    controller = Controller(tmp_path / "site", {"nas": variables, "web": {}})

    def run(answer=None, on="nas", **options):
        action, task_vars = controller.action("doctor", on, **options)
        heard = host_says(action, nginx_gate=answer or {"changed": False, "gate": GATE})
        return action.run(task_vars=task_vars), heard

    return run


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"client": "phone"}, "say which service, with -e mtls_service=NAME; it has own, web"),
        ({"client": "phone", "on": "web"}, "say which service, with -e mtls_service=NAME; it has none"),
        ({"service": "web"}, "say who, with either -e mtls_client=NAME or -e mtls_certificate=FILE"),
        ({"service": "web", "client": "phone", "certificate": "/tmp/phone.crt"}, "say who, with either"),
    ],
)
def test_a_question_that_is_not_complete(ask, options, said):
    done, heard = ask(**options)
    assert done["failed"]
    assert said in done["msg"]
    assert heard == []


@pytest.mark.parametrize(
    "answer",
    [
        AnsibleConnectionFailure("no route\x1b to host"),
        {"failed": True, "msg": "no route\x1b to host\n"},
        {"changed": False, "gate": {"clock": "no route\x1b to host"}},
    ],
)
def test_a_host_that_says_nothing_is_reported_and_the_rest_is_said(ask, answer):
    done, _heard = ask(answer, service="web", client="phone")
    assert not done.get("failed")
    assert done["intent"] == "let in"
    assert "\x1b" not in done["msg"]
    assert "no route" in str(done["causes"]) or "cannot be trusted" in str(done["causes"])


def test_a_request_is_made_before_the_host_is_looked_at(ask):
    done, heard = ask(service="web", client="phone", address="127.0.0.1")
    assert [name for name, _options in heard] == ["nginx_gate"]
    assert heard[0][1]["service"] == "web"
    assert heard[0][1]["dn"] == "CN=phone"
    assert done["verdict"] == "not let in"
    assert done["as_intended"] is False
    assert {"cause", "text", "remedy"} == set(done["causes"][0])


def test_where_no_request_can_be_made(ask, tmp_path):
    """Into somebody's own server block, or as a client whose key is not here."""
    done, heard = ask(service="own", client="phone")
    assert heard[0][1]["snippet"] is True
    assert done["verdict"] in ("unknown", "not let in")

    done, _heard = ask(service="web", certificate=str(tmp_path / "pki/clients/phone/phone.crt"))
    assert not done.get("failed")


def test_a_host_that_is_not_to_have_the_service_is_not_asked(ask):
    done, heard = ask(on="web", service="web", client="phone")
    assert heard == []
    assert (done["verdict"], done["intent"], done["as_intended"]) == ("not let in", "not let in", True)
    assert [cause["text"] for cause in done["causes"]] == ["the inventory has no service web on web, but on nas"]


def test_a_service_that_there_is_not(ask):
    done, heard = ask(service="photos", client="phone")
    assert "photos" in done["msg"]
    assert heard == []
