# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What anybody may know of an authority: without its key, without its lock, and nothing that nginx must not get."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import PublishedRollover, read_published
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.authorities import new_authority
from ansible_collections.mtls.nginx.tests.unit.support import Pki, later


@pytest.fixture
def served(pki):
    pki.serve(Client("a"), Client("b", revoked=True))
    return pki


def test_it_needs_no_key_and_takes_no_lock(served):
    (served.path / "ca.key").unlink()
    with files.lock(str(served.path / ".lock")):
        published = read_published(str(served.path))
        assert [holder.dn for holder in published.holders("a")] == ["CN=a"]
        assert published.holders("nobody") == []
        assert list(published.names()) == ["a"]
        assert published.record.is_valid(published.holders("a")[0].serial)
        assert b"BEGIN CERTIFICATE" in published.chain()


def test_the_crl_is_checked_and_can_be_had_unchecked(served, monkeypatch):
    with served.open() as authority:
        authority.write_crl(10)
    published = read_published(str(served.path))
    assert published.crl() == published.crl_as_it_is()

    later(monkeypatch, days=11)
    with pytest.raises(MtlsError, match=r"expired on .*, and nginx would refuse every client"):
        published.crl()
    assert published.crl_as_it_is() is not None


def test_a_crl_that_is_missing(served):
    (served.path / "crl.pem").unlink(missing_ok=True)
    published = read_published(str(served.path))

    assert published.crl_as_it_is() is None
    with pytest.raises(MtlsError, match=r"crl.pem: is missing; run mtls.nginx.crl on the controller"):
        published.crl()


def test_where_there_is_no_authority(tmp_path):
    with pytest.raises(MtlsError, match="there is no authority"):
        read_published(str(tmp_path)).chain()


@pytest.fixture
def rolling(served) -> tuple[Pki, Pki]:
    """An authority and the one that is to follow it."""
    path = handover.next_path(str(served.path))
    new_authority(path, {"CN": "Next CA"})
    follower = Pki(served.path / "next")
    follower.serve(Client("a"), Client("new"))
    return served, follower


def test_during_a_rollover_both_count(rolling):
    old, _follower = rolling
    published = read_published(str(old.path))

    assert isinstance(published, PublishedRollover)
    assert len(published.holders("a")) == 2
    assert set(published.names()) == {"a", "new"}
    assert published.chain().count(b"BEGIN CERTIFICATE") == 2
    serials = {holder.serial for holder in published.holders("a")}
    assert all(serial in published.record and published.record.is_valid(serial) for serial in serials)
    assert len(published.record) == sum(len(pki.index()) for pki in rolling)
    assert {serial for serial, _subject in published.record.live(times.now())} >= serials


def test_during_a_rollover_a_crl_of_either_is_one_that_hosts_may_have(rolling):
    published = read_published(str(rolling[0].path))
    crls = [(pki.path / "crl.pem").read_bytes() for pki in rolling]
    assert published.crl_as_it_is() == published.crl() == b"".join(crls)
    (rolling[0].path / "crl.pem").unlink()
    assert published.crl_as_it_is() == crls[1]
    (rolling[1].path / "crl.pem").unlink()
    assert published.crl_as_it_is() is None


def test_what_either_of_both_has_revoked_is_revoked(rolling, monkeypatch):
    """Some at the same moment and for the same reason, and what has expired since is left out when asked."""
    for pki, names in zip(rolling, (("a",), ("a", "new")), strict=True):
        pki.serve(*(Client(name, days=40) for name in ("short", *names)))
        with monkeypatch.context() as at_noon:
            at_noon.setattr(times, "now", lambda: times.from_asn1("270101120000Z"))
            gone = [Client(name, revoked=True, reason="superseded") for name in ("short", *names)]
            pki.serve(*gone[:-1], gone[-1]._replace(reason="keyCompromise"))
    serials = [{row[3] for row in pki.index() if row[0] == "R"} for pki in rolling]
    revocations = read_published(str(rolling[0].path)).record.revocations()
    assert {note: len(found) for note, found in revocations.items()} == {
        ("270101120000Z", "superseded"): 3,
        ("270101120000Z", "keyCompromise"): 2,
    }
    assert {serial for found in revocations.values() for serial in found} == serials[0] | serials[1]
    end = read_published(str(rolling[0].path)).record.revocations(times.in_days(times.now(), 60, ""))
    assert sum(map(len, end.values())) == 3
