# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of clients' next certificates, between runs and hosts."""

from __future__ import annotations

import stat

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewal_notes import Note, Notes
from ansible_collections.mtls.nginx.tests.unit.support import later

OLD = "1A"
MOMENTS = ("2026-11-29T10:00:00Z", "2026-11-29T11:00:00Z", "2026-11-29T12:00:00Z")


def caller(serial, last=MOMENTS[1], status=200, fetched=None):
    return {"serial": serial, "last": last, "status": status, "fetched": fetched}


@pytest.fixture
def serial(pki):
    return pki.one(Client("phone", days=20, renew_before=2)).entry.serial


def notes(pki):
    return Notes(str(pki.path))


def test_nothing_is_known_at_first(pki, serial):
    assert notes(pki).of(serial) == Note()
    notes(pki).save()
    assert not (pki.path / "clients" / "renewals.json").exists()


def test_fetched_by_who_has_the_old_one_and_used_by_who_has_the_next(pki, serial):
    found = notes(pki)
    found.note_callers({serial: {OLD: "ab"}}, [caller(OLD, fetched=MOMENTS[0]), caller(OLD, fetched=None)])
    assert found.of(serial) == Note(fetched=MOMENTS[0])
    found.note_callers({serial: {OLD: "ab"}}, [caller(OLD, fetched=MOMENTS[2]), caller("FF", fetched=MOMENTS[2])])
    assert found.of(serial) == Note(fetched=MOMENTS[2])
    found.note_callers({serial: {OLD: "ab"}}, [caller(serial, last=MOMENTS[1])])
    found.note_callers({serial: {OLD: "ab"}}, [caller(serial, last=MOMENTS[2])])
    assert found.of(serial) == Note(fetched=MOMENTS[2], used=MOMENTS[1])


@pytest.mark.parametrize("status", [400, 403, 421])
def test_who_was_refused_does_not_use_it_yet(pki, serial, status):
    found = notes(pki)
    found.note_callers({serial: {OLD: "ab"}}, [caller(serial, status=status)])
    assert found.of(serial) == Note()


def test_what_two_hosts_turns_note_is_kept_of_both(pki, serial):
    one, other = notes(pki), notes(pki)
    one.note_strong(serial, "digest")
    other.note_callers({serial: {OLD: "ab"}}, [caller(OLD, fetched=MOMENTS[0])])
    one.save()
    other.save()
    assert notes(pki).of(serial) == Note(fetched=MOMENTS[0], strong="digest")
    path = pki.path / "clients" / "renewals.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_has_expired_is_forgotten(pki, serial, monkeypatch):
    found = notes(pki)
    found.note_strong(serial, "digest")
    found.save()
    later(monkeypatch, days=21)
    found = notes(pki)
    found.note_strong("FF", "digest")
    found.save()
    assert notes(pki).of(serial) == notes(pki).of("FF") == Note()


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2}', '{"version": 1, "renewals": {"AB": {"odd": 1}}}', "{"])
def test_something_else_in_its_place_counts_as_nothing(pki, serial, content):
    (pki.path / "clients" / "renewals.json").write_text(content)
    assert notes(pki).of(serial) == Note()
