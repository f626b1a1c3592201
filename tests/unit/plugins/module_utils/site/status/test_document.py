# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document for programs: complete, readable line by line, the same as long as nothing changes."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site.status import document as status_json
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import Status, Upkeep

NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u202e\n\\{{ 7*7 }}"


def test_the_document(mixed):
    document = json.loads(status_json.render(mixed, NOW))
    assert document["version"] == 1
    assert document["generated"] == "2026-11-23T18:30:00Z"
    assert document["due"] is True
    (authority,) = document["authorities"]
    assert len(authority["clients"]) == 18
    assert {client["certificate"]["state"] for client in authority["clients"]} == {"valid", "soon", "ended", "none"}
    assert authority["services"][-1]["everybody"] is True
    assert status_json.generated_at(status_json.render(mixed, NOW)) == NOW
    lines = status_json.render(mixed, NOW).decode().splitlines()
    assert sum('"enters"' in line for line in lines) == 18


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"generated": 3}', b"[" * 100_000])
def test_a_document_that_is_none_has_no_time(content):
    assert status_json.generated_at(content) is None


def test_hostile_names_in_the_document(attacked):
    name = f"{HOSTILE}\udcff"
    authority = dataclasses.replace(attacked(HOSTILE).authorities[0], path=name)
    status = dataclasses.replace(attacked(HOSTILE), authorities=(authority,))
    assert json.loads(status_json.render(status, NOW))["authorities"][0]["path"] == name


def test_the_same_all_day(mixed):
    """What `changed` rests on: the file differs when something does, and not because a minute has passed."""
    morning, evening = (dataclasses.replace(mixed, now=NOW.replace(hour=hour)) for hour in (3, 22))
    assert status_json.render(morning, NOW) == status_json.render(evening, NOW)


def test_when_upkeep_last_succeeded():
    left = b"""{"warn_days": 3, "since": "2026-11-01T12:00:00Z",
                "succeeded": {"refresh_crl": "2026-11-23T03:15:00Z"}}"""
    upkeep = status_json.upkeep_from(left)
    assert upkeep == Upkeep(
        3, datetime(2026, 11, 1, 12, tzinfo=UTC), {"refresh_crl": datetime(2026, 11, 23, 3, 15, tzinfo=UTC)}
    )
    status = Status(NOW, None, (), upkeep=upkeep)
    assert json.loads(status_json.render(status, NOW))["upkeep"] == json.loads(left)
    assert json.loads(status_json.render(Status(NOW, None, ()), NOW))["upkeep"] is None


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"warn_days": 3}', b'{"warn_days": 3, "succeeded": {}}'])
def test_something_else_in_upkeeps_place_counts_as_none(left):
    assert status_json.upkeep_from(left) is None
