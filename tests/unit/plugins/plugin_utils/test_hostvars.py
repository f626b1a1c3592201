# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions take from Ansible: plans, paths, addresses."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.plugin_utils import hostvars
from ansible_collections.mtls.nginx.tests.unit.actions import Controller, command_line

WEB = {"name": "web", "server_names": ["web.lan"], "upstream": "http://127.0.0.1:8080"}


def services(*definitions):
    return hostvars.inventory_reader().services("nas", {"mtls_services": list(definitions)}, None)


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Read the plan of an inventory."""
    command_line(monkeypatch, inventory=())

    def read(hosts, **variables):
        controller = Controller(tmp_path / "site", hosts, **variables)
        return hostvars.read_plan(controller.of(next(iter(hosts))))

    return read


def test_all_hosts_are_read_whoever_asks(plan, tmp_path):
    hosts = {"nas": {"mtls_services": [WEB]}, "web": {"mtls_services": [{**WEB, "allow": ["phone"]}]}, "other": {}}
    plans = plan(hosts, mtls_ca_dir="{{ inventory_dir }}/pki", mtls_clients=[{"name": "phone"}])
    (path,) = plans
    assert path == str(tmp_path / "site" / "pki")
    assert [client["name"] for client in plans[path].clients] == ["phone"]
    assert {host for host, _service in plans[path].services} == {"nas", "web"}


def test_a_variable_that_cannot_be_read_is_named(plan):
    # Before ansible-core 2.19 the template stays as it is.
    said = r"(variable mtls_clients cannot be read: .*no_such_variable|mtls_clients is not a list)"
    with pytest.raises(MtlsError, match=f"^host nas: {said}"):
        plan({"nas": {"mtls_services": [WEB], "mtls_clients": "{{ no_such_variable }}"}})


OF_FACTS = {**WEB, "server_names": ["{{ own_name }}"]}


def test_facts_that_nobody_has_gathered(plan):
    """Whichever ansible-core: before 2.19 the template stays as it is."""
    for own_name, fact in (("{{ ansible_facts.fqdn }}", "ansible_facts"), ("{{ ansible_fqdn }}", "ansible_fqdn")):
        with pytest.raises(MtlsError) as caught:
            plan({"nas": {"mtls_services": [OF_FACTS], "own_name": own_name}})
        assert str(caught.value).startswith(f"host nas: mtls_services is made of facts of that host ({fact}), which")
        assert "ansible -i INVENTORY all -m ansible.builtin.setup" in str(caught.value)
    (found,) = plan({"nas": {"mtls_services": [OF_FACTS], "own_name": "web.{{ inventory_hostname }}.lan"}}).values()
    assert found.services[0][1].server_names == ("web.nas.lan",)


def test_the_services_of_hosts_that_a_run_does_not_touch(tmp_path, monkeypatch):
    command_line(monkeypatch, inventory=())
    hosts = {
        "nas": {"mtls_services": [WEB]},
        "unknown": {"mtls_services": [OF_FACTS], "own_name": "{{ ansible_facts.fqdn }}"},
        "wrong": {"mtls_services": [{**WEB, "upstream": "nowhere"}]},
        "odd": {"mtls_services": [{**WEB, "allow": ["phnoe"]}]},
    }
    task_vars = Controller(tmp_path / "site", hosts, mtls_clients=[{"name": "phone"}]).of("nas")
    task_vars["ansible_play_hosts_all"] = ["nas"]
    plans = hostvars.read_plan(task_vars, crls_only=True)
    assert [host for plan in plans.values() for host, _service in plan.services] == ["nas"]
    told = hostvars.read_plan_to_revoke(task_vars)
    assert [each.partition(":")[0] for each in told.contradictions] == []
    assert told.left_out == {}
    with pytest.raises(MtlsError, match="host unknown: mtls_services is made of facts"):
        hostvars.read_plan(task_vars)
    # One that it does touch is named.
    task_vars["ansible_play_hosts_all"] = ["nas", "unknown", "wrong", "odd"]
    with pytest.raises(MtlsError, match="host unknown: mtls_services is made of facts"):
        hostvars.read_plan(task_vars, crls_only=True)
    told = hostvars.read_plan_to_revoke(task_vars)
    assert [each.partition(":")[0] for each in told.contradictions] == [
        "host unknown",
        "host wrong, service web",
        "host odd, service web",
    ]
    assert told.left_out == {}


def test_a_serial_that_a_template_makes_of_a_number(tmp_path, monkeypatch):
    """Before ansible-core 2.19 the template has made text of it, which is the serial of somebody else."""
    command_line(monkeypatch, inventory=())
    hosts = {
        "nas": {"mtls_services": [WEB]},
        "odd": {"mtls_revoked": [{"serial": "{{ named }}"}], "named": "{{ number }}", "number": 5349},  # 012345 to YAML
    }
    controller = Controller(tmp_path / "site", hosts)
    with pytest.raises(MtlsError, match=r"^host odd: mtls_revoked, item 1, serial: is not text, .*\(5349\)"):
        hostvars.read_plan(controller.of("nas"))
    # Who is to be locked out, is; what this host has revoked is not certain.
    found = hostvars.read_plan_to_revoke(controller.of("nas"))
    assert list(found.authorities) == [str(tmp_path / "site" / "pki")]
    assert list(found.left_out) == ["host odd"]
    assert "host odd: mtls_revoked, item 1, serial: is not text" in found.left_out["host odd"]
    assert found.contradictions == []


def test_a_misspelled_word_about_the_revocation_itself_keeps_it_from_being_made(tmp_path, monkeypatch):
    """One that is made is for ever; what else is misspelled must not keep anybody in."""
    command_line(monkeypatch, inventory=())
    task_vars = Controller(tmp_path / "site", {"nas": {}}, mtls_crl_dys=3, mtls_revokd=[]).of("nas")
    assert len(hostvars.read_plan_to_revoke(task_vars).contradictions) == 1
    given = task_vars["hostvars"]._variable_manager.extra_vars
    for name in ("mtls_revoke", "mtls_revoke_by", "mtls_crl_dys"):
        monkeypatch.setitem(given, name, "name")
    assert len(hostvars.read_plan_to_revoke(task_vars).contradictions) == 1
    monkeypatch.setitem(given, "mtls_revoke_resaon", "certificateHold")
    with pytest.raises(MtlsError, match=r"no variable mtls_revoke_resaon; did you mean mtls_revoke_reason\?"):
        hostvars.read_plan_to_revoke(task_vars)


def test_a_variable_that_nothing_reads_is_refused(plan):
    with pytest.raises(MtlsError, match=r"there is no variable mtls_service_s; did you mean mtls_services\?"):
        plan({"nas": {"mtls_service_s": [WEB]}})
    with pytest.raises(MtlsError, match=r"there is no variable mtls_xyzzyplugh; docs/variables.md lists all"):
        plan({"nas": {"mtls_xyzzyplugh": 1}})
    with pytest.raises(MtlsError, match=r"mtls_client is for one run \(-e mtls_client=...\) and does nothing"):
        plan({"nas": {"mtls_client": "phone"}})


@pytest.mark.parametrize("ignored", [False, True])
def test_no_key_comes_to_lie_where_ansible_reads_inventory(tmp_path, monkeypatch, ignored):
    folder = tmp_path / "inventory"
    (folder / "pki").mkdir(parents=True)
    command_line(monkeypatch, inventory=(str(tmp_path / "a file"), str(folder)))
    (tmp_path / "a file").touch()
    path = str(folder / ("group_vars.retry" if ignored else "pki"))
    if ignored:  # by Ansible's own patterns
        hostvars.refuse_as_inventory("the authority", path)
        return
    with pytest.raises(MtlsError, match=r"would lie inside the inventory folder .* ignore_patterns = \^pki\$"):
        hostvars.refuse_as_inventory("the authority", path)
    with pytest.raises(MtlsError, match=r"would lie inside .* or choose a folder outside of it$"):
        hostvars.refuse_as_inventory("the authority", str(folder))
    for outside in (tmp_path / "pki", tmp_path / "inventory-pki", tmp_path):
        hostvars.refuse_as_inventory("the authority", str(outside))


def test_the_inventory_of_the_configuration_counts_too(tmp_path, monkeypatch):
    command_line(monkeypatch, inventory=None)
    monkeypatch.setattr(hostvars.C, "DEFAULT_HOST_LIST", [str(tmp_path)])
    with pytest.raises(MtlsError, match=r"the status .* would lie inside the inventory folder"):
        hostvars.refuse_as_inventory("the status", str(tmp_path / "status"))


def test_where_relative_paths_start():
    assert hostvars.base_dir({"inventory_dir": "/srv/site"}) == "/srv/site"
    assert hostvars.base_dir({}) is None


def test_the_authorities_of_a_host(tmp_path):
    base = str(tmp_path)
    (tmp_path / "pki").mkdir()
    found = hostvars.authorities_of(
        services(
            WEB,
            {**WEB, "name": "gone", "state": "absent"},
            {**WEB, "name": "guests", "server_names": ["guests.lan"], "authority": "visitors"},
        ),
        "pki",
        base,
    )
    entered = {path: [service.name for service in each] for path, each in found.values()}
    assert entered == {f"{base}/pki": ["web"], f"{base}/visitors": ["guests"]}
    nothing = hostvars.authorities_of(services(), "pki", base)
    assert [each for _path, each in nothing.values()] == [[]] * len(nothing)


def test_where_a_service_is_reached():
    (service,) = services(WEB)
    variables = {"inventory_hostname": "nas"}
    assert hostvars.probe_address("192.0.2.9", service, variables) == "192.0.2.9"
    assert hostvars.probe_address(None, service, variables) == "nas"
    assert hostvars.probe_address("", service, {**variables, "ansible_host": "192.0.2.7"}) == "192.0.2.7"
    for name in ("local", "ansible.builtin.local", "ansible.legacy.local"):
        local = {**variables, "ansible_connection": name, "ansible_host": "192.0.2.7"}
        assert hostvars.is_local(local)
        assert hostvars.probe_address(None, service, local) == service.local_address
    assert not hostvars.is_local({**variables, "ansible_connection": "ssh"})


def test_a_service_on_one_address_is_reached_there():
    variables = {"inventory_hostname": "nas", "ansible_host": "192.0.2.7"}
    (narrow,) = services({**WEB, "listen": "192.0.2.8:443"})
    assert hostvars.probe_address(None, narrow, variables) == "192.0.2.8"
    assert hostvars.probe_address("192.0.2.9", narrow, variables) == "192.0.2.9"
    local = {**variables, "ansible_connection": "local"}
    assert hostvars.address_for_others(narrow, local) == "192.0.2.8"
    (wide,) = services(WEB)
    assert hostvars.address_for_others(wide, local) == "192.0.2.7", "not the loopback address of another machine"
    (at_loopback,) = services({**WEB, "listen": "127.0.0.8:443"})
    assert hostvars.probe_address(None, at_loopback, variables) == "192.0.2.7", "not the controller's own loopback"
    (told,) = services({**WEB, "listen": "192.0.2.8:443", "probe_address": "192.0.2.10"})
    assert hostvars.probe_address("192.0.2.9", told, variables) == "192.0.2.10"


def test_where_the_access_plan_goes(tmp_path, monkeypatch):
    command_line(monkeypatch, inventory=())
    variables = {"inventory_dir": str(tmp_path)}
    assert hostvars.plan_file("", variables) is None
    assert hostvars.plan_file("plan.md", variables) == str(tmp_path / "plan.md")
    with pytest.raises(MtlsError, match=rf"^mtls_plan_file: {tmp_path}/out/plan\.md: there is no folder {tmp_path}/"):
        hostvars.plan_file("out/plan.md", variables)


def test_variables_that_go_in_a_circle(plan):
    round_and_round = {"mtls_ca_passphrase": "{{ one }}", "one": "{{ other }}", "other": "{{ one }}"}
    with pytest.raises(MtlsError, match=r"^host nas: variable mtls_ca_passphrase cannot be read: "):
        plan({"nas": {"mtls_services": [WEB], **round_and_round}})
