# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A `worker_shutdown_timeout` of the host's own is told."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.tests.unit.actions import Controller, host_says

ANSWER = {
    "changed": False,
    "files": [],
    "reloaded": False,
    "started": False,
    "accepted": None,
    "own_shutdown_timeout": None,
    "unguarded": [],
    "snippet_gates": [],
    "nginx": {"version": "1.26.0"},
    "message": "nothing to do",
    "warnings": ["of the module"],
    "diff": None,
}


@pytest.mark.parametrize(
    ("own", "warned"),
    [
        (None, False),
        ({"value": "10s", "file": "/etc/nginx/nginx.conf"}, False),
        ({"value": "1h", "file": "/etc/nginx/nginx.conf"}, True),
    ],
)
def test_a_longer_one_is_warned_of(tmp_path, own, warned):
    action, variables = Controller(tmp_path / "site", {"nas": {}}).action("nginx_config", files=[], shutdown_timeout=60)
    host_says(action, nginx_config={**ANSWER, "own_shutdown_timeout": own})
    # From ansible-core 2.21 on they are objects.
    warnings = action.run(task_vars=variables)["warnings"]
    first, *others = (getattr(getattr(warning, "event", None), "msg", warning) for warning in warnings)
    assert first == "of the module"
    assert [("worker_shutdown_timeout" in warning, "/etc/nginx/nginx.conf" in warning) for warning in others] == [
        (True, True)
    ] * warned
