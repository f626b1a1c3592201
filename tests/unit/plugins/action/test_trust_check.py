# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Before an authority is made, its hosts are asked which one they trust already."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates
from ansible_collections.mtls.nginx.tests.unit.actions import Controller, facts_of_a_host, host_says

WEB = {"name": "web", "server_names": ["web.lan"], "upstream": "http://127.0.0.1:8080"}


@pytest.fixture
def check(tmp_path):
    controller = Controller(tmp_path / "site", {"nas": {}})

    def run(answer, **options):
        own = str(tmp_path / "site" / "pki")
        given = {"authority": own, "missing": [own], "services": [WEB], **options}
        action, variables = controller.action("trust_check", **given)
        heard = host_says(action, nginx_facts=answer)
        return action.run(task_vars=variables), heard

    return run


def holding(pki):
    held = certificates.read((pki.path / "ca.crt").read_bytes()).as_answer()
    answer = facts_of_a_host()
    answer["nginx"]["trust"]["held"] = {"/etc/nginx/client-certs/ca.crt": held}
    return answer


def test_a_host_that_trusts_nobody_yet(check):
    done, heard = check(facts_of_a_host())
    assert done["asked"] is True
    assert not done.get("failed")
    ((_name, options),) = heard
    assert options["expected"] == {"/etc/nginx/client-certs/ca.crt": None, "/etc/nginx/client-certs/crl.pem": None}


def test_a_host_that_trusts_another_authority(check, pki):
    done, _heard = check(holding(pki))
    assert done["failed"]
    assert "host nas" in done["msg"]
    assert "CN=Test CA" in done["msg"]


def test_who_wants_to_replace_it_asks_nobody(check, pki):
    for options in ({"replace_authority": True}, {"missing": []}):
        done, heard = check(holding(pki), **options)
        assert (done["asked"], heard) == (False, [])


@pytest.mark.parametrize(
    "answer",
    [
        AnsibleConnectionFailure("no route to host"),
        {"failed": True, "msg": "no Python there"},
        {"changed": False, "nginx": "of course"},
    ],
)
def test_a_host_that_cannot_be_asked_holds_up_nobody(check, answer):
    done, _heard = check(answer)
    assert done["asked"] is False
    assert not done.get("failed")
    assert done["msg"].startswith("host nas cannot be asked: ")
