# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests of tls_probe, where there is nobody to answer. tests/integration asks a real nginx."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.unit.actions import Controller, facts_of_a_host, host_says


@pytest.fixture
def controller(tmp_path) -> Controller:
    return Controller(tmp_path / "site", {"nas": {}})


@pytest.fixture
def options(pki) -> dict:
    pki.serve(Client("phone"))
    with pki.open() as authority:
        authority.write_crl(30)
    service = {"name": "web", "server_names": ["web.lan"], "upstream": "http://127.0.0.1:1", "listen": free_port()}
    snippet = {"name": "own", "server_names": ["own.lan"], "snippet": True}
    gone = {"name": "gone", "server_names": ["gone.lan"], "upstream": "http://127.0.0.1:1", "state": "absent"}
    return {"authority": str(pki.path), "services": [service, snippet, gone], "address": "127.0.0.1"}


def test_check_mode_asks_nobody(controller, options):
    done = controller.run("tls_probe", check=True, **options)
    assert (done["skipped"], done["changed"], done["attempts"]) == (True, False, [])


@pytest.mark.parametrize("crl_only", [False, True])
def test_who_does_not_answer_is_named_with_the_service(controller, options, crl_only):
    done = controller.run("tls_probe", crl_only=crl_only, **options)
    assert {attempt["service"] for attempt in done["attempts"]} <= {"web"}
    if crl_only:  # a service that does not answer at all waits for site.yml
        assert done["attempts"] == []
        assert not done.get("failed")
    else:
        assert done["failed"]
        assert done["msg"].startswith("host nas, service web: ")
        assert "connection refused" in done["msg"]


def test_without_the_authority_there_is_nobody_to_ask_as(controller, options, tmp_path):
    done = controller.run("tls_probe", **{**options, "authority": str(tmp_path / "none")})
    assert done["failed"]
    assert "none" in done["msg"]


def asked_from(tmp_path, options, answer, **variables):
    """The result where nas is asked from the bastion, which answers so, and what the bastion was told."""
    hosts = {"nas": {"ansible_host": "192.0.2.7", "mtls_probe_from": "bastion", **variables}, "bastion": {}}
    task = {"vars": {"mtls__probe_from": "{{ mtls_probe_from }}"}}
    action, found = Controller(tmp_path / "site", hosts).action("tls_probe", "nas", task=task, **options)
    found["mtls__probe_from"] = found["mtls_probe_from"]
    heard = host_says(action, nginx_facts=answer)
    return action.run(task_vars=found), heard


REFUSED = {"status": 400, "error": None}


def test_another_host_asks_without_any_key(tmp_path, options):
    options = {**options, "address": None, "services": options["services"][:1]}
    done, heard = asked_from(tmp_path, options, facts_of_a_host(asked=[REFUSED] * 2))
    assert not done.get("failed"), done
    assert done["asked_from"] == [{"service": "web", "place": "bastion", "why": "as mtls_probe_from says"}]
    assert all(attempt["ok"] for attempt in done["attempts"])
    ((module, told),) = heard
    assert (module, told["test"]) == ("nginx_facts", False)
    # Where others reach it: the connection is local, and the bastion is another machine.
    assert [gate["address"] for gate in told["ask"]] == ["192.0.2.7"] * 2
    nobody, forged = told["ask"]
    assert nobody["identity"] is None
    key = (tmp_path / "site").parent.rglob("phone.key")
    assert not [line for path in key for line in path.read_text().splitlines()[1:-1] if line in forged["identity"]]


def test_a_service_that_another_host_cannot_reach_is_told(tmp_path, options):
    web = {**options["services"][0], "listen": "127.0.0.8:443"}
    done, heard = asked_from(tmp_path, {**options, "address": None, "services": [web]}, [])
    assert heard == []
    ((service, why),) = [(each["service"], each["why"]) for each in done["not_asked"]]
    assert (service, why.partition(" (")[0]) == ("web", "it listens on 127.0.0.8 only, where bastion")


def test_another_host_that_fails_is_named(tmp_path, options):
    options = {**options, "services": options["services"][:1]}
    done, _heard = asked_from(tmp_path, options, AnsibleConnectionFailure("no route"))
    assert (done["failed"], done.get("unreachable")) == (True, None)
    assert done["msg"].startswith("host nas, service web: bastion, which asks it (mtls_probe_from), does not")
    assert "does not answer: no route; see why" in done["msg"]


def test_no_host_is_asked_for_what_the_crl_changes(tmp_path, options):
    options = {**options, "services": options["services"][:1], "crl_only": True}
    done, heard = asked_from(tmp_path, options, [])
    assert (heard, done["attempts"]) == ([], [])
    assert done["not_asked"][0]["why"].startswith("as mtls_probe_from says, and no client's key is sent to a host")


def test_a_host_that_is_not_in_the_inventory(tmp_path, options):
    done, _heard = asked_from(tmp_path, options, [], mtls_probe_from="bastoin")
    assert "mtls_probe_from is 'bastoin', which is not a host of the inventory; did you mean bastion?" in done["msg"]
