# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chunks follow each other closely, and one that fails leaves those before it whole."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import Register
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

pytestmark = pytest.mark.usefixtures("two_cores")
WANTED = [Client(f"phone-{number:02}", p12="none") for number in range(23)]


@pytest.mark.slow
def test_many_chunks_in_order(pki, monkeypatch):
    with pki.open() as authority:
        monkeypatch.setattr(type(authority), "chunk", 5)
        done = clients.reconcile(authority, WANTED, new_key_type="ecdsa", check=False)
    assert [result.client.name for result in done.results] == [client.name for client in WANTED]
    assert {result.action for result in done.results} == {"issued"}
    assert [result.entry.dn for result in done.results] == [f"CN={client.name}" for client in WANTED]
    assert {result.action for result in pki.serve(*WANTED).results} == {"unchanged"}


@pytest.mark.slow
@pytest.mark.parametrize("failing", [1, 2, 3, 5])
def test_a_chunk_that_is_not_signed(pki, monkeypatch, failing):
    with pki.open() as authority:
        monkeypatch.setattr(type(authority), "chunk", 5)
        issue, calls = authority.issue, []

        def fail_once(orders):
            calls.append(len(orders))
            if len(calls) == failing:
                raise MtlsError("the authority is gone")
            return issue(orders)

        authority.issue = fail_once
        with pytest.raises(MtlsError, match="the authority is gone"):
            clients.reconcile(authority, WANTED, new_key_type="ecdsa", check=False)
    before = 5 * (failing - 1)
    assert sorted(Register.load(str(pki.path))) == [client.name for client in WANTED[:before]]
    assert [result.action for result in pki.serve(*WANTED).results] == ["unchanged"] * before + ["issued"] * (
        len(WANTED) - before
    )
    assert len(pki.index()) == len(WANTED)


@pytest.mark.slow
def test_a_key_that_cannot_be_used(pki, monkeypatch):
    """A mistake that only the making of a chunk's keys finds does not undo the chunk before."""
    with pki.open() as authority:
        monkeypatch.setattr(type(authority), "chunk", 5)
        issue = authority.issue

        def sabotage(orders):
            path = pki.file("phone-12", ".key")
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text("no key")
            return issue(orders)

        authority.issue = sabotage
        with pytest.raises(MtlsError, match="phone-12"):
            clients.reconcile(authority, WANTED, new_key_type="ecdsa", check=False)
    assert sorted(Register.load(str(pki.path)))[:5] == [client.name for client in WANTED[:5]]
