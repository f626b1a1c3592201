# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host trusts already, before an authority is made; and for the status, what it has of the authorities."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates
from ansible_collections.mtls.nginx.tests.unit.actions import Controller, facts_of_a_host, host_says

WEB = {"name": "web", "server_names": ["web.lan"], "upstream": "http://127.0.0.1:8080"}


@pytest.fixture
def check(tmp_path):
    controller = Controller(tmp_path / "site", {"nas": {}})

    def run(answer, crls=None, **options):
        own = str(tmp_path / "site" / "pki")
        given = {"authority": own, "missing": [own], "services": [WEB], **options}
        given = {name: value for name, value in given.items() if value is not None}
        action, variables = controller.action("trust_check", **given)
        heard = host_says(action, nginx_facts=answer, nginx_crls=crls)
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


CRL_PATH = "/etc/nginx/client-certs/crl.pem"


@pytest.fixture
def late(pki):
    """The CRL of a host from before the only client was revoked, as the authority on the controller has it."""
    pki.serve(Client("phone"))
    with pki.open() as authority:
        authority.write_crl(30)
    held = (pki.path / "crl.pem").read_bytes()
    pki.serve(Client("phone", revoked=True))
    with pki.open() as authority:
        authority.write_crl(30)
    return held


def having(pem: bytes) -> dict:
    answer = facts_of_a_host()
    answer["nginx"]["trust"]["held"] = {CRL_PATH: certificates.read(pem).as_answer()}
    return answer


def test_a_host_that_has_missed_a_revocation(check, pki, late):
    crls = {"changed": False, "crls": [{"path": CRL_PATH, "content": late.decode()}]}
    options = {"missing": None, "authority": str(pki.path)}
    done, heard = check(having(late), crls, **options)
    assert not done.get("failed")
    (said,) = done["behind"]
    assert f"{CRL_PATH} does not list what {pki.path} has revoked: phone (" in said
    assert [name for name, _options in heard] == ["nginx_facts", "nginx_crls"]

    done, heard = check(facts_of_a_host(), crls, **options)
    assert (done["asked"], done["behind"]) == (True, [])
    assert [name for name, _options in heard] == ["nginx_facts"], "its CRL is the authority's"

    done, _heard = check(having(late), {"failed": True, "msg": "permission denied"}, **options)
    assert done["failed"]
    assert "the CRLs of host nas cannot be read: permission denied" in done["msg"]


def test_a_host_that_is_ahead_of_the_controller(check, pki, late):
    now = (pki.path / "crl.pem").read_bytes()
    (pki.path / "crl.pem").write_bytes(late)
    done, _heard = check(having(now), missing=None, authority=str(pki.path))
    assert done["failed"]
    assert "which is older" in done["msg"]


def test_an_authority_that_cannot_be_read_is_no_matter_of_the_host(check, pki):
    (pki.path / "ca.crt").write_text("damaged")
    done, heard = check(facts_of_a_host(), missing=None, authority=str(pki.path))
    assert (done["asked"], done.get("failed"), heard) == (False, None, [])
