# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each CRL comes with the name of the host that has it."""

from __future__ import annotations

from ansible_collections.mtls.nginx.tests.unit.actions import Controller, host_says


def ask(tmp_path, **answer):
    action, variables = Controller(tmp_path / "site", {"nas": {}}).action("nginx_crls", paths=[])
    host_says(action, nginx_crls={"changed": False, **answer})
    return action.run(task_vars=variables)


def test_crls_of_a_host(tmp_path):
    done = ask(tmp_path, crls=[{"path": "/etc/nginx/mtls/crl.pem", "content": "x\n", "host": "web"}])
    assert done["crls"] == [{"path": "/etc/nginx/mtls/crl.pem", "content": "x\n", "host": "nas"}]


def test_a_failure_has_none(tmp_path):
    done = ask(tmp_path, failed=True, msg="no such folder", crls=[])
    assert (done["failed"], done["msg"]) == (True, "no such folder")
    assert "crls" not in done


def test_a_path_that_is_none_of_ours(tmp_path):
    done = ask(tmp_path, crls=[{"path": "/etc/shadow", "content": ""}])
    assert done["failed"]
    assert "cannot be trusted: crls[0].path is '/etc/shadow'" in done["msg"]
