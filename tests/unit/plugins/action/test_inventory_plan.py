# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as the playbooks get it: which authorities are to be made, and one of them alone."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.mtls.nginx.plugins.action import inventory_plan
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.tests.unit.actions import Controller, command_line

WEB = {"name": "web", "server_names": ["web.lan"], "upstream": "http://127.0.0.1:8080"}
HOSTS = {
    "nas": {"mtls_services": [WEB], "mtls_ca_dir": "pki"},
    "web": {"mtls_services": [WEB], "mtls_ca_dir": "other"},
    "bao": {
        "mtls_services": [WEB],
        "mtls_ca_dir": "mirror",
        "mtls_ca_backend": "openbao",
        "mtls_ca_openbao": {"url": "https://bao.lan"},
    },
}


@pytest.fixture
def controller(tmp_path, monkeypatch) -> Controller:
    command_line(monkeypatch, inventory=())
    return Controller(tmp_path / "site", HOSTS)


def test_an_authority_is_missing_where_it_would_be_made(controller, tmp_path):
    site = tmp_path / "site"
    (site / "other").mkdir()
    (site / "other" / "ca.crt").touch()
    done = controller.run("inventory_plan")
    assert set(done["authorities"]) == {str(site / name) for name in ("pki", "other", "mirror")}
    assert done["missing"] == [str(site / "pki")]
    assert done["_ansible_no_log"] is True
    assert done["changed"] is False


def test_the_plan_of_one_authority(controller, tmp_path):
    done = controller.run("inventory_plan", only="other")
    assert list(done["authorities"]) == [str(tmp_path / "site" / "other")]
    with pytest.raises(AnsibleActionFail, match=r"site/none: no host uses this authority; known are .*site/pki"):
        controller.run("inventory_plan", only="none")


def test_no_host_no_authority(tmp_path, monkeypatch):
    command_line(monkeypatch, inventory=())
    controller = Controller(tmp_path / "empty", {"nas": {}})
    with pytest.raises(AnsibleActionFail, match="no host uses this authority; known are none"):
        controller.run("inventory_plan", only="pki")


def test_who_is_to_be_revoked_where_not_every_authority_is_known(tmp_path, monkeypatch):
    """Those that are, are asked; where none is, nobody would be revoked, and that is a failure."""
    command_line(monkeypatch, inventory=())
    warned = []
    monkeypatch.setattr(inventory_plan.display, "warning", warned.append)
    odd = {"mtls_clients": "phone", "mtls_ca_dir": "other"}
    said = "host web: mtls_clients is not a list; write one item a line, with a dash in front"
    controller = Controller(tmp_path / "site", {"nas": HOSTS["nas"], "web": odd})
    done = controller.run("inventory_plan", to_revoke=True)
    assert list(done["authorities"]) == [str(tmp_path / "site" / "pki")]
    assert done["left_out"] == [said]
    assert said in warned
    controller = Controller(tmp_path / "alone", {"web": odd})
    with pytest.raises(AnsibleActionFail) as caught:
        controller.run("inventory_plan", to_revoke=True)
    assert str(caught.value).endswith(said)


def test_who_moves_to_the_next_authority(pki, tmp_path, monkeypatch):
    command_line(monkeypatch, inventory=())
    clients = {"mtls_clients": [{"name": "phone"}, {"name": "tablet"}]}
    controller = Controller(
        tmp_path / "site", {"nas": {"mtls_services": [WEB], "mtls_ca_dir": str(pki.path), **clients}}
    )
    following = handover.next_path(str(pki.path))
    creation.ensure(WantedAuthority(following, {"CN": "Next CA"}, keys.KeyKind("ecdsa"), None, 3650, 30), check=False)

    def served(**options) -> list[str]:
        plans = controller.run("inventory_plan", only=str(pki.path), **options)["authorities"]
        assert list(plans) == [str(pki.path), following]
        return [client["name"] for client in plans[following]["clients"]]

    assert served() == []
    with pytest.raises(AnsibleActionFail, match=r"next: no host uses this authority; known are [^,]*/pki$"):
        controller.run("inventory_plan", only=following)
    assert served(move=True, move_count=1) == ["phone"]
    assert served(move=True, move_clients=["tablet"]) == ["tablet"]
    assert served(move=True) == ["phone", "tablet"]
    with pytest.raises(AnsibleActionFail, match=r"'phon' is to move .*, but is not a client; did you mean 'phone'"):
        served(move=True, move_clients=["phon"])
