# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests of tls_probe, where there is nobody to answer. tests/integration asks a real nginx."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.unit.actions import Controller


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
