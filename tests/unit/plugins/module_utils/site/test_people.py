# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose certificate was good at a host's gate, and whose will be: with a real authority."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.site.access_plan import EXPIRED, REVOKED, Person
from ansible_collections.mtls.nginx.plugins.module_utils.site.people import (
    Turn,
    anything_issued,
    foreseen_revocations,
    is_renewed,
    people_of,
)
from ansible_collections.mtls.nginx.tests.unit.support import later


@pytest.fixture
def ours(pki):
    """An authority with a client, and one that is revoked."""
    pki.serve(Client("phone"), Client("lost"))
    pki.serve(Client("phone"), Client("lost", revoked=True))
    return pki


def serial_of(pki, name: str) -> str:
    with pki.open() as authority:
        return next(
            entry.serial
            for entry in map(authority.record.get, authority.record.namesakes(f"/CN={name}"))
            if entry is not None
        )


def people(pki, **turn) -> dict[str, tuple[bool, bool, str]]:
    """Good before, good after, and why not."""
    return {
        who.name: (who.before, who.after, who.why if not who.after else "")
        for who in people_of(str(pki.path), Turn(**turn))
    }


def test_what_a_host_knows_already_changes_nothing(ours):
    assert people(ours) == {"phone": (True, True, ""), "lost": (False, False, REVOKED)}
    assert [who.subjects for who in people_of(str(ours.path), Turn())] == [("CN=lost",), ("CN=phone",)]


def test_a_host_that_hears_of_a_revocation_now(ours):
    assert people(ours, added={serial_of(ours, "lost")})["lost"] == (True, False, REVOKED)


def test_a_host_that_hears_of_a_release_now(ours):
    assert people(ours, removed={serial_of(ours, "phone")})["phone"] == (False, True, "")


def test_what_check_mode_foresees(ours):
    phone, lost = serial_of(ours, "phone"), serial_of(ours, "lost")
    assert people(ours, revoking={phone})["phone"] == (True, False, REVOKED)
    assert people(ours, releasing={lost})["lost"] == (False, True, "")
    foreseen = people(ours, clients=[{"name": "phone", "state": "revoked"}, {"name": "lost"}, {"name": "new"}])
    assert foreseen == {"phone": (True, False, REVOKED), "lost": (False, True, ""), "new": (False, True, "")}


def test_what_was_issued_in_this_run_let_nobody_in_before(ours):
    began = time.time()
    past = began - 60
    for path in [ours.path / "newcerts", *(ours.path / "newcerts").iterdir()]:
        os.utime(path, (past, past))
    assert not anything_issued(str(ours.path), began)
    ours.serve(Client("phone"), Client("new"))
    assert anything_issued(str(ours.path), began - 5)
    assert not is_renewed(str(ours.path), time.time() + 5)
    (ours.path / "crl.pem").touch()
    assert is_renewed(str(ours.path), began - 5)
    found = people(ours, began=began - 5)
    assert (found["phone"], found["new"]) == ((True, True, ""), (False, True, ""))


def test_a_certificate_that_the_record_has_lost_is_no_change(ours):
    """As of a record that was restored from a backup: whoever issues next enters it again."""
    lost, phone = serial_of(ours, "lost"), serial_of(ours, "phone")
    lines = (ours.path / "index.txt").read_text().splitlines(keepends=True)
    (ours.path / "index.txt").write_text("".join(line for line in lines if phone not in line))
    assert people(ours, added={lost, phone}) == {"phone": (False, False, EXPIRED), "lost": (True, False, REVOKED)}


def test_an_expired_certificate_opens_nothing_and_that_is_why(ours, monkeypatch):
    later(monkeypatch, days=1000)
    assert people(ours)["phone"] == (False, False, EXPIRED)


def test_a_certificate_made_by_hand_is_known_by_its_cn(ours):
    serial = serial_of(ours, "lost")
    os.rename(ours.path / "clients", ours.path / "gone")
    assert people(ours, added={serial, "0123"}) == {"lost": (True, False, REVOKED)}


def test_before_the_first_run_everybody_is_new(tmp_path):
    clients = [{"name": "phone"}, {"name": "lost", "state": "revoked"}, {"name": "x", "subject": {"O": "A", "CN": "y"}}]
    assert people_of(str(tmp_path / "pki"), Turn(clients=clients)) == [
        Person("phone", ("CN=phone",), before=False, after=True),
        Person("lost", ("CN=lost",), before=False, after=False),
        Person("x", ("CN=y,O=A",), before=False, after=True),
    ]
    assert foreseen_revocations(str(tmp_path / "pki"), [{"name": "phone", "reason": "unspecified"}]) == {}
    assert not anything_issued(str(tmp_path / "pki"), 0)
    assert not is_renewed(str(tmp_path / "pki"), 0)


@pytest.mark.parametrize("kind", ["name", "serial", "fingerprint", "certificate"])
def test_what_mtls_revoked_would_do(ours, kind):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    path = ours.path / "clients/phone/phone.crt"
    fingerprint = x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(hashes.SHA256()).hex()
    value = {"name": "phone", "serial": serial_of(ours, "phone"), "fingerprint": fingerprint, "certificate": str(path)}
    found = foreseen_revocations(
        str(ours.path),
        [
            {kind: value[kind], "reason": "keyCompromise"},
            {"name": "lost", "reason": "unspecified"},  # is revoked already
            {"name": "nobody", "reason": "unspecified"},
        ],
    )
    assert found == {serial_of(ours, "phone"): "revoked"}
