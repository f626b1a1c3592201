# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who came to which service is said by its own host, and by no other."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.tests.unit.actions import Controller, host_says

CALLER = {
    "serial": "AB",
    "dn": "CN=phone",
    "last": "2026-11-23T18:30:00Z",
    "status": 200,
    "fetched": None,
    "requests": 3,
}


@pytest.fixture
def asked(tmp_path):
    controller = Controller(tmp_path / "site", {"nas": {}, "web": {}})

    def ask(*callers, **answer):
        action, variables = controller.action("access_log", services=["photos"], host="nas")
        host_says(action, access_log={"changed": False, "unread": [], "callers": list(callers), **answer})
        return action.run(task_vars=variables)

    return ask


def test_each_caller_is_of_the_host_that_was_asked(asked):
    done = asked({**CALLER, "service": "photos", "host": "web"})
    assert done["callers"] == [{**CALLER, "service": "photos", "host": "nas"}]


def test_a_service_that_nobody_asked_for(asked):
    done = asked({**CALLER, "service": "photos"}, {**CALLER, "service": "bank"})
    assert done["failed"]
    assert "nobody asked for service bank; find out what on that host has been altered" in done["msg"]
    assert "callers" not in done


def test_a_failure_is_the_hosts_own(asked):
    done = asked(failed=True, msg="no such file", callers=[{"service": "bank"}])
    assert done["failed"]
    assert done["msg"] == "no such file"
