# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts that no host has a say in, as Ansible itself keeps them."""

from __future__ import annotations

import json

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.plugin_utils.facts import refuse_facts
from ansible_collections.mtls.nginx.tests.unit.actions import Controller

INVENTORY = {
    "web_dir": "/srv/web",
    "fqdn": "web.lan",
    "base": "{{ web_dir }}/tls",
    "unrelated": 1,
    "mtls_ca_dir": "{{ inventory_dir }}/pki",
    "mtls_services": [{"name": "web", "server_names": ["{{ fqdn }}"], "root": "{% if true %}{{ base }}{% endif %}"}],
}


class Fleet:
    """Two hosts as a task of the first sees them."""

    def __init__(self, folder) -> None:
        (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"nas": {}, "web": {}}, "vars": INVENTORY}}))
        loader = DataLoader()
        inventory = InventoryManager(loader=loader, sources=[str(folder / "hosts.yml")])
        self.manager = VariableManager(loader=loader, inventory=inventory)
        self._hostvars = HostVars(inventory=inventory, variable_manager=self.manager, loader=loader)
        self._nas = inventory.get_host("nas")

    def check(self) -> None:
        variables = self.manager.get_vars(host=self._nas)
        refuse_facts({**variables, "hostvars": self._hostvars, "inventory_hostname": "nas"}, ["nas", "web"])


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path)


@pytest.mark.parametrize("host", ["nas", "web"])
@pytest.mark.parametrize(
    "name",
    [
        "mtls_ca_dir",
        "mtls__crl_only",
        "mtls_",
        "mtls_any\nthing\x1b",
        "vault_mtls_ca_passphrase",
        "inventory_dir",
        "inventory_file",
        "web_dir",
        "base",
        "fqdn",
    ],
)
def test_facts_that_stand_in_for_the_inventory_are_refused(fleet, host, name):
    fleet.check()
    # With the same value under Ansible's own prefix, too.
    fleet.manager.set_host_facts(host, {"ansible_distribution": "Debian", name: "x", f"ansible_{name}": "x"})
    said = rf"host {host}: its facts contain .*--flush-cache forgets cached facts"
    with pytest.raises(MtlsError, match=said) as caught:
        fleet.check()
    assert str(caught.value).isprintable()


def test_others_are_nothing_to_us(fleet):
    usual = {
        "ansible_fqdn": "x.lan",
        "ansible_mtls_br0": {},
        "ansible_web_dir": "x",
        "module_setup": True,
        "gather_subset": ["all"],
    }
    others = {"unrelated": 2, "mtls": 1, "packages": {}, "inventory_dirs": 1, "discovered_interpreter_python": "/x"}
    for host in ("nas", "web"):
        fleet.manager.set_host_facts(host, {**usual, **others})
    fleet.check()


def test_what_a_task_sets_is_no_fact(fleet):
    fleet.manager.set_nonpersistent_facts("nas", {"mtls_ca_dir": "/srv/pki", "web_dir": "/srv/other"})
    fleet.check()
    # It outranks a fact of the same name, so the host has no say.
    fleet.manager.set_host_facts("nas", {"web_dir": "x"})
    fleet.check()


def test_a_value_of_ours_that_is_no_text_refers_to_nothing(tmp_path):
    controller = Controller(tmp_path / "site", {"nas": {}}, mtls_ca_days=30, mtls_open=True, days="{{ 30 }}", count=3)
    controller.variables.set_host_facts("nas", {"days": "30", "count": 3})
    refuse_facts(controller.of("nas"), ["nas"])
