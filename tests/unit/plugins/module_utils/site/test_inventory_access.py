# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gains and who loses entry between two states of an inventory."""

from __future__ import annotations

import json

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory_access import access_of, markdown
from ansible_collections.mtls.nginx.plugins.plugin_utils import hostvars
from ansible_collections.mtls.nginx.tests.unit.actions import Controller, command_line

WEB = {"name": "web", "server_names": ["web.lan"], "upstream": "http://127.0.0.1:8080", "allow": ["phone"]}
PHONE, TABLET = {"name": "phone"}, {"name": "tablet"}


@pytest.fixture
def access(tmp_path, monkeypatch):
    """What an inventory says, as a file between two runs has it."""
    command_line(monkeypatch, inventory=())

    def read(*services, clients=(PHONE, TABLET), revoked=()):
        variables = {"mtls_services": list(services), "mtls_clients": list(clients), "mtls_revoked": list(revoked)}
        controller = Controller(tmp_path / "site", {"nas": {**variables, "mtls_ca_dir": "pki"}})
        plans = hostvars.read_plan(controller.of("nas"))
        return json.loads(json.dumps(access_of(plans, str(tmp_path / "site"))))

    return read


def test_an_authority_is_named_as_in_any_checkout(access):
    found = access(WEB, {**WEB, "name": "gone", "state": "absent"})
    assert list(found) == ["pki"]
    assert found["pki"]["clients"] == {"phone": True, "tablet": True}
    assert [gate["service"] for gate in found["pki"]["gates"]["nas"]] == ["web"]


def test_who_gains_and_who_loses(access):
    before = access(WEB)
    assert "tablet" not in markdown(before, before)
    gained = markdown(before, access({**WEB, "allow": ["phone", "tablet"]}))
    assert "tablet" in gained
    assert gained != markdown(access({**WEB, "allow": ["phone", "tablet"]}), before)
    assert "phone" in markdown(None, before)


def test_what_is_revoked_is_told_once(access):
    before = access(WEB)
    after = access(WEB, clients=[{**PHONE, "state": "revoked"}, TABLET], revoked=[{"serial": "AB"}])
    assert after["pki"]["clients"] == {"phone": False, "tablet": True}
    assert after["pki"]["revoked"] == ["serial AB is revoked"]
    assert "pki: serial AB is revoked" in markdown(before, after)
    assert "serial AB" not in markdown(after, after)


def test_a_list_for_a_path_is_a_gate_of_its_own(access):
    found = access({**WEB, "paths": [{"path": "/admin/", "allow": ["tablet"]}]})
    assert len(found["pki"]["gates"]["nas"]) == 2


@pytest.mark.parametrize(
    "before", [{"pki": {}}, {"pki": 5}, {"pki": {"clients": [], "gates": {"nas": [1]}, "revoked": []}}]
)
def test_what_is_no_access_is_refused(access, before):
    with pytest.raises(MtlsError, match="access_before: is not what inventory_plan has returned; plan again"):
        markdown(before, access(WEB))


def test_a_subject_on_a_list_is_told_as_it_stands(access):
    without = access(WEB)
    listed = access({**WEB, "allow": ["phone", {"dn": "CN=a+UID=7,O=Acme"}]})
    assert "+ `CN=a+UID=7,O=Acme`" in markdown(without, listed)
    assert "`CN=a+UID=7,O=Acme` (off the list)" in markdown(listed, without)
