# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer of a host that is to fetch its CRL."""

from __future__ import annotations

from ansible_collections.mtls.nginx.tests.unit.actions import Controller, host_says


def ask(tmp_path, **answer):
    action, variables = Controller(tmp_path / "site", {"nas": {}}).action("nginx_crl_fetch", files={})
    heard = host_says(action, nginx_crl_fetch={"changed": True, **answer})
    return action.run(task_vars=variables), heard


def test_what_was_done(tmp_path):
    done, heard = ask(tmp_path, message="the CRL is fetched every 60 minutes", warnings=["the first time failed"])
    assert (done["changed"], done["message"]) == (True, "the CRL is fetched every 60 minutes")
    (warning,) = done["warnings"]  # an object, with newer ansible-core
    assert "the first time failed" in str(warning)
    assert heard == [("nginx_crl_fetch", {"files": {}})]


def test_nothing_else_of_the_answer_is_believed(tmp_path):
    done, _heard = ask(tmp_path, message="done", ansible_facts={"mtls_ca_dir": "/tmp"}, extra=1)
    assert "ansible_facts" not in done
    assert "extra" not in done


def test_a_failure_is_the_hosts_own(tmp_path):
    done, _heard = ask(tmp_path, failed=True, msg="there is no program openssl")
    assert (done["failed"], done["msg"]) == (True, "there is no program openssl")
