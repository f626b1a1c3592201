# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A parent signs the CA below it once; ``test_chains.py`` has what comes of it."""

from __future__ import annotations

import shutil
from types import MappingProxyType

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, keys, profiles, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import parents
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Parent
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import later, tree


def child(days=100, subject=MappingProxyType({"CN": "Below"})) -> parents.Child:
    return parents.Child("/below", subjects.subject_name(subject, "test"), days)


@pytest.fixture
def parent(pki) -> Parent:
    access = Access(str(pki.path))
    return Parent(str(pki.path), lambda read_only: open_authority(access, read_only=read_only))


def test_a_run_that_was_killed_finds_what_was_signed_for_the_same_key(pki, parent):
    key = keys.new_key(keys.KeyKind("ecdsa")).public_key()
    first, _warnings = parents.sign(parent, child(), key)
    again, _warnings = parents.sign(parent, child(), key)
    assert again == first
    assert first[1:] == parent.chain
    assert profiles.is_ca(first[0])
    assert profiles.path_length(first[0]) == 0
    assert [row[5] for row in pki.index()] == ["/CN=Below"]
    (pki.path / "newcerts" / f"{first[0].serial_number:X}.pem").unlink()
    (anew, _root), _warnings = parents.sign(parent, child(), key)
    assert anew.serial_number != first[0].serial_number


def test_what_has_expired_since_is_signed_anew(parent, monkeypatch):
    key = keys.new_key(keys.KeyKind("ecdsa")).public_key()
    (first, _root), _warnings = parents.sign(parent, child(100), key)
    later(monkeypatch, days=101)
    (anew, _root), _warnings = parents.sign(parent, child(100), key)
    assert first.not_valid_after_utc < times.now() < anew.not_valid_after_utc


def test_clients_are_those_of_the_ca_below_and_of_each_of_its_certificates(pki, parent):
    """What the root issues besides, or for another department, is nobody's client; it may be alone, too."""
    key = keys.new_key(keys.KeyKind("ecdsa")).public_key()
    (below, root), _warnings = parents.sign(parent, child(), key)
    (following, _root), _warnings = parents.sign(parent, child(200), key, follows=below)
    assert chains.issuing([root]) == [root]
    assert chains.issuing([below, root]) == [below]
    assert chains.issuing([following, below, root]) == [following, below]


def test_another_key_or_what_is_to_follow_it_is_signed_anew(pki, parent):
    key = keys.new_key(keys.KeyKind("ecdsa")).public_key()
    (first, _root), _warnings = parents.sign(parent, child(), key)
    (other, _root), _warnings = parents.sign(parent, child(), keys.new_key(keys.KeyKind("ecdsa")).public_key())
    (following, _root), _warnings = parents.sign(parent, child(200), key, follows=first)
    assert len({one.serial_number for one in (first, other, following)}) == 3
    assert parents.life(following) > parents.life(first)
    with pki.open() as authority:
        authority.revoke({f"{following.serial_number:X}": "superseded"})
    (again, _root), _warnings = parents.sign(parent, child(300), key, follows=first)
    assert again.serial_number not in (first.serial_number, following.serial_number)


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        (child(3700), "authority /below: 3700 days from now is"),
        (child(subject={"C": "ES", "O": "ACME", "CN": "test ca"}), "/below: has the subject of the authority above it"),
    ],
)
def test_what_a_parent_must_not_sign_changes_nothing(pki, parent, wanted, complaint):
    before = tree(pki.path)
    with pytest.raises(MtlsError, match=complaint):
        parents.check_signable(parent, wanted)
    assert tree(pki.path) == before
    key = keys.new_key(keys.KeyKind("ecdsa")).public_key()
    with pytest.raises(MtlsError, match=complaint):
        parents.sign(parent, wanted, key)
    assert pki.index() == []


def test_a_parent_in_a_safe_has_no_chain(pki, parent, tmp_path):
    shutil.move(pki.path, tmp_path / "safe")
    assert parent.chain is None
    parents.check_signed(parent, (), "ca.crt")
