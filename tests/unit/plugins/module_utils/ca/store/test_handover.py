# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last step of a rollover: the next authority takes the old one's place, whoever is killed meanwhile."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import read_published
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.authorities import new_authority
from ansible_collections.mtls.nginx.tests.unit.support import Pki, tree


@pytest.fixture
def served(pki):
    pki.serve(Client("a"), Client("b", revoked=True))
    return pki


@pytest.fixture
def rolling(served) -> tuple[Pki, Pki]:
    """An authority and the one that is to follow it."""
    path = handover.next_path(str(served.path))
    new_authority(path, {"CN": "Next CA"})
    follower = Pki(served.path / "next")
    follower.serve(Client("a"), Client("new"))
    return served, follower


def test_the_next_one_takes_the_others_place_and_nothing_is_lost(rolling):
    old, _follower = rolling
    before = [pki.index() for pki in rolling]
    former = handover.take_over(str(old.path), "0A")

    assert former == os.path.join(str(old.path), handover.FORMER, "0A")
    assert Pki(old.path).index() == before[1]
    assert Pki(old.path / "former" / "0A").index() == before[0]
    assert not handover.is_begun(str(old.path))
    assert isinstance(read_published(str(old.path)).chain(), bytes)


def test_who_comes_before_and_after_an_authority(rolling):
    path = str(rolling[0].path)
    following = handover.next_path(path)
    assert (handover.relatives(path), handover.relatives(following)) == ([following], [path])
    former = handover.take_over(path, "0A")
    assert handover.relatives(path) == [former]
    new_authority(following, {"CN": "Third CA"})
    assert handover.relatives(path) == [following, former]
    assert handover.relatives(following) == [path, former]
    assert handover.relatives(former) == []


@pytest.mark.parametrize("killed_at", range(1, 9))
def test_killed_in_the_middle_it_is_completed_by_the_next_run(rolling, monkeypatch, killed_at):
    old, _follower = rolling
    before = [pki.index() for pki in rolling]
    renames = iter(range(1, 1000))
    rename = os.rename

    def mortal(source: str, target: str) -> None:
        if next(renames) == killed_at:
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", mortal)
        with pytest.raises(KeyboardInterrupt):
            handover.take_over(str(old.path), "0A")

    assert handover.is_interrupted(str(old.path))
    with pytest.raises(MtlsError, match=r"was interrupted; run site.yml without --check, which completes it"):
        read_published(str(old.path))
    handover.complete_interrupted(str(old.path))
    assert Pki(old.path).index() == before[1]
    assert Pki(old.path / "former" / "0A").index() == before[0]


def test_a_handover_that_was_killed_at_its_very_end_is_completed(pki):
    """The next authority has taken its place, and its folder is gone: only the note of it is left."""
    before = tree(pki.path)
    journal = pki.path / "rollover.json"
    journal.write_text(json.dumps({"former": "AB", "step": "in"}))
    with pytest.raises(MtlsError, match=r"a rollover was interrupted; run site.yml without --check"):
        handover.refuse_interrupted(str(pki.path))
    handover.complete_interrupted(str(pki.path))
    assert not journal.exists()
    assert {path: content for path, content in tree(pki.path).items() if path in before and path != str(pki.path)} == {
        path: content for path, content in before.items() if path != str(pki.path)
    }
