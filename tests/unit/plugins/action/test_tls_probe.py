# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests of tls_probe, where there is nobody to answer. tests/integration asks a real nginx."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.mtls.nginx.plugins.action import tls_probe
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common.probe import ProbeOutcome
from ansible_collections.mtls.nginx.plugins.module_utils.site.served_certificate import Served
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
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


@pytest.mark.parametrize(
    ("answer", "probe_from", "said"),
    [
        (
            AnsibleConnectionFailure("no route"),
            "bastion",
            "host nas, service web: bastion, which asks it (mtls_probe_from), does not answer: no route;",
        ),
        (
            {"failed": True, "msg": "no memory"},
            "bastion",
            "host bastion: it could not ask service web of host nas: no memory",
        ),
        ({"failed": True, "msg": "no memory"}, "host", "host nas: it could not ask its own service web: no memory"),
    ],
)
def test_a_host_that_fails_to_ask_is_named(tmp_path, options, answer, probe_from, said):
    options = {**options, "services": options["services"][:1]}
    far = {"ansible_connection": "ssh", "ansible_host": "192.0.2.7"}
    done, _heard = asked_from(tmp_path, options, answer, mtls_probe_from=probe_from, **far)
    assert (done["failed"], done.get("unreachable")) == (True, None)
    assert done["msg"].startswith(said)


def gate(**changes) -> dict:
    """What a host says of a server block with the snippet `own`."""
    block = {"service": "own", "place": "/etc/nginx/own.conf, line 1", "port": 443, "server_name": "own.lan"}
    return {**block, "address": None, "proxy_protocol": False, "own_pages": False, "trouble": None, **changes}


BLIND = "its own error pages hide what the gate answers"
NO_TLS = "it does not listen with TLS, so the snippet refuses everybody there"


def test_which_server_blocks_another_host_can_ask(tmp_path, options):
    """Each is told of once: it was asked from there, or it was not asked."""
    listens = {"place": "/etc/nginx/a.conf, line 1"}, {"place": "/etc/nginx/b.conf, line 1", "port": 8443}
    gates = [gate(**at) for at in listens] + [gate(port=9443, own_pages=True), gate(port=None, trouble=NO_TLS)]
    options = {**options, "services": options["services"][1:2], "snippet_gates": gates}
    done, heard = asked_from(tmp_path, options, facts_of_a_host(asked=[REFUSED] * 2))
    assert not done.get("failed"), done
    assert [{each["port"] for each in told["ask"]} for _module, told in heard] == [{443}, {8443}]
    assert done["asked_from"] == [{"service": "own", "place": "bastion", "why": "as mtls_probe_from says"}]
    assert [each["why"].partition(" could not be asked: ")[2] for each in done["not_asked"]] == [BLIND, NO_TLS]

    done, heard = asked_from(tmp_path, {**options, "snippet_gates": gates[2:]}, [])
    assert (heard, done["attempts"], done["asked_from"]) == ([], [], [])
    assert len(done["not_asked"]) == 2


@pytest.mark.parametrize(
    ("allow", "own_pages", "why"),
    [
        (["phone"], False, "own.lan at 127.0.0.1:{port}: connection refused"),
        (["phone"], True, "own.lan at 127.0.0.1:{port}: connection refused"),
        ([], True, BLIND),
    ],
)
def test_a_server_block_that_cannot_be_asked_from_here(controller, options, allow, own_pages, why):
    port = free_port()
    options["services"] = [{**options["services"][1], "allow": allow}]
    options["snippet_gates"] = [gate(port=port, own_pages=own_pages)]
    done = controller.run("tls_probe", **options)
    assert not done.get("failed"), done
    assert done["attempts"] == []
    (told,) = done["not_asked"]
    assert told["why"] == f"the server block in /etc/nginx/own.conf, line 1 could not be asked: {why.format(port=port)}"


@pytest.mark.parametrize("knows", ["option", "this run", "host", "host that fails"])
def test_who_knows_that_the_host_lacks_an_address(tmp_path, options, knows):
    """A host is asked for it only where nobody has asked it in this run; where nobody knows, the service is asked."""
    web = {**options["services"][0], "listen": f"192.0.2.7:{free_port()}", "probe_address": "127.0.0.1"}
    options = {**options, "services": [web]}
    if knows == "option":
        options["away"] = ["192.0.2.7"]
    variables = {"mtls__site": {"away": ["192.0.2.7"]}} if knows == "this run" else {}
    action, found = Controller(tmp_path / "site", {"nas": {}}).action("tls_probe", **options)
    facts = facts_of_a_host(away=["192.0.2.7"]) if knows == "host" else {"failed": True, "msg": "no memory"}
    heard = host_says(action, nginx_facts=facts)
    done = action.run(task_vars={**found, **variables})
    assert [told.get("addresses") for _module, told in heard] == ([["192.0.2.7"]] if "host" in knows else [])
    if knows != "host that fails":
        assert done["attempts"] == []
        assert "the host does not have the address 192.0.2.7 now, and" in done["not_asked"][0]["why"]
    else:
        assert done["not_asked"] == []
        assert "got connection refused instead of 400 (at 127.0.0.1:" in done["msg"]


def test_no_host_is_asked_for_what_the_crl_changes(tmp_path, options):
    options = {**options, "services": options["services"][:1], "crl_only": True}
    done, heard = asked_from(tmp_path, options, [])
    assert (heard, done["attempts"]) == ([], [])
    assert done["not_asked"][0]["why"].startswith("as mtls_probe_from says, and no client's key is sent to a host")


def test_a_host_that_is_not_in_the_inventory(tmp_path, options):
    done, _heard = asked_from(tmp_path, options, [], mtls_probe_from="bastoin")
    assert "mtls_probe_from is 'bastoin', which is not a host of the inventory; did you mean bastion?" in done["msg"]


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"redirect_http": True}, 301, None),
        (
            {"redirect_http": True},
            204,
            "asked without the PROXY protocol (http_proxy_protocol), does not redirect",
        ),
        ({"redirect_http": True, "http_proxy_protocol": True}, 204, "asked with the PROXY protocol, does not redirect"),
        ({}, 204, None),
    ],
)
def test_port_80_that_does_not_redirect_is_told(monkeypatch, options, status, said):
    monkeypatch.setattr(tls_probe.probe, "ask", lambda _target, attempt: ProbeOutcome(attempt, status))
    web = {"name": "web", "server_names": ["web.lan"], "listen": "8443", "root": "/srv"}
    if "http_proxy_protocol" in options:
        options = {**options, "proxy_protocol_from": ["192.0.2.1"]}
    (service,) = parse_services("nas", [{**web, **options}])
    found = tls_probe._no_redirect(service, "192.0.2.7")
    assert found is None if said is None else said in found


NOT_OURS = "it does not serve the certificate that the authority has issued, but one by"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"issued": None}, None),  # nobody knows which it should be
        (
            {"issued": False},
            f"{NOT_OURS} CN=R11; see which program answers there, or reload nginx",
        ),
        ({"issued": False, "own": True}, None),
        (
            {"own": True, "trouble": "expired on 2026-11-28"},
            "the certificate that it serves (CN=R11) expired on 2026-11-28",
        ),
        (
            {"issued": False, "trouble": "is for a.lan, and not for web.lan"},
            "the certificate that it serves (CN=R11) is for a.lan, and not for web.lan",
        ),
    ],
)
def test_a_certificate_that_programs_refuse_fails_and_not_where_only_the_crl_is_brought(
    controller, monkeypatch, options, changes, said
):
    """Whatever the gate answers, they do not go on to it."""
    begin = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
    good = Served("web", "CN=R11", "00", ("web.lan",), begin, begin, own=False, issued=True, trouble=None)
    monkeypatch.setattr(tls_probe.served_certificate, "of", lambda *_about: replace(good, **changes))
    monkeypatch.setattr(tls_probe.probe, "ask", lambda _target, attempt: ProbeOutcome(attempt, attempt.expect or 204))
    options["services"] = options["services"][:1]
    done = controller.run("tls_probe", **options)
    assert done.get("msg") == (f"host nas, service web: {said}" if said else None)
    assert (bool(done.get("failed")), len(done["certificates"])) == (bool(said), 1)
    assert not controller.run("tls_probe", crl_only=True, **options).get("failed")
