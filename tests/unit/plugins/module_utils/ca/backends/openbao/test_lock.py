# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may take the lock, by what the KV engine says of it. That two cannot is tested with the real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao import lock
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.loopback import Reply

NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
PATH = "/v1/secret/data/mtls-nginx/pki"
FREE = Reply(404, {"errors": []})
METADATA = {"metadata": {"created_time": "2026-11-23T18:00:00Z", "version": 3}}
WRITTEN = Reply(200, {"data": {"created_time": "2026-11-23T18:30:00.5Z", "version": 8}})
BEATEN = Reply(400, {"errors": ["check-and-set parameter did not match the current version"]})


def document(*, controller: str | None = "another", seconds_ago: float = 1, version: object = 7) -> Reply:
    """The lock as the KV engine returns it, with the server's clock at NOW."""
    written = (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%S.945319214Z")
    content = {"controller": controller, "holder": "attic, process 12"}
    data = {"data": content, "metadata": {"created_time": written, "version": version}}
    return Reply(200, {"data": data}, {"Date": format_datetime(NOW, usegmt=True)})


@pytest.fixture
def ours(bao, server, tmp_path, monkeypatch) -> lock.Lock:
    monkeypatch.setattr(lock, "_POLL", 0.0)
    (tmp_path / "lock").touch()
    return lock.Lock(server, "secret", "pki", str(tmp_path / "lock"))


def written(bao) -> list[tuple[int, str | None]]:
    """What was written: the version that it follows, and the controller."""
    bodies = [request.body for request in bao.heard if request.method == "POST"]
    return [(body["options"]["cas"], body["data"]["controller"]) for body in bodies]


@pytest.mark.parametrize(
    ("found", "version"),
    [
        (FREE, 0),
        (document(controller=None), 7),
        (document(seconds_ago=lock.LEASE + 2), 7),
        # Deleted: what is left is the number that its next version follows.
        (Reply(404, {"data": {"data": None, **METADATA}}), 3),
    ],
)
def test_it_is_taken_where_nobody_can_have_it_and_given_back(bao, ours, found, version):
    bao.says("GET", PATH, found)
    bao.says("POST", PATH, WRITTEN)
    with ours.held():
        ((follows, controller),) = written(bao)
        assert follows == version
        assert controller
    assert written(bao)[1:] == [(8, None)]


def test_of_a_run_with_the_same_local_lock_it_is_taken(bao, ours, server, tmp_path):
    bao.says("GET", PATH, FREE)
    bao.says("POST", PATH, WRITTEN)
    with ours.held():
        ((_follows, controller),) = written(bao)
    bao.heard.clear()
    bao.says("GET", PATH, document(controller=controller))
    with ours.held():
        assert written(bao) == [(7, controller)]

    # Another directory is another controller, on the same machine too.
    (tmp_path / "other").touch()
    other = lock.Lock(server, "secret", "pki", str(tmp_path / "other"))
    bao.heard.clear()
    bao.says("GET", PATH, document(controller=controller), FREE)
    with other.held():
        assert [name for _follows, name in written(bao)] != [controller]
    assert len([request for request in bao.heard if request.method == "GET"]) == 2


def test_who_is_beaten_to_it_looks_again(bao, ours):
    bao.says("GET", PATH, FREE, document(), document(controller=None, version=9))
    bao.says("POST", PATH, BEATEN, WRITTEN)
    with ours.held():
        assert [follows for follows, _controller in written(bao)] == [0, 9]


def test_who_holds_it_for_too_long_is_named(bao, ours, monkeypatch):
    monkeypatch.setattr(lock, "WAIT", 0.0)
    bao.says("GET", PATH, document())
    with (
        pytest.raises(MtlsError, match=r"another controller \(attic, process 12\) is still working .* run again"),
        ours.held(),
    ):
        pass
    bao.says("GET", PATH, FREE)
    bao.says("POST", PATH, BEATEN)
    with pytest.raises(MtlsError, match=r"another controller \(it changes\) is still working"), ours.held():
        pass


def test_without_the_servers_clock_ours_counts(bao, ours, monkeypatch):
    monkeypatch.setattr(lock, "WAIT", 0.0)
    monkeypatch.setattr(lock.times, "now", lambda: NOW)
    held = document()
    bao.says("GET", PATH, Reply(200, held.body))
    with pytest.raises(MtlsError, match="is still working with this authority"), ours.held():
        pass
    monkeypatch.setattr(lock.times, "now", lambda: NOW + timedelta(seconds=lock.LEASE + 2))
    bao.says("POST", PATH, WRITTEN)
    with ours.held():
        assert written(bao)


@pytest.mark.parametrize(
    ("found", "wrote", "said"),
    [
        (Reply(404, {"errors": ['no handler for route "secret/data/x"']}), None, "there is no KV engine at secret"),
        (FREE, Reply(204), "is not in a KV engine, version 2; correct lock_mount"),  # version 1
        (Reply(200, {"data": {"a": "secret of somebody"}}), WRITTEN, "is not a document of a KV engine, version 2"),
        (document(version="new"), None, "is not a document of a KV engine, version 2; correct lock_mount"),
        (Reply(200, {"data": {"metadata": {"version": 1}}}), None, "is not a document of a KV engine, version 2"),
        (
            Reply(200, {"data": {"metadata": {"version": 1, "created_time": "soon"}}}),
            None,
            "is not a document of a KV engine, version 2",
        ),
        (Reply(200, {"data": {"metadata": [1]}}), None, "is not a document of a KV engine, version 2"),
        (Reply(200, {"data": {**METADATA, "data": "text"}}), WRITTEN, "is not a document of a KV engine, version 2"),
        (FREE, Reply(400, {"errors": ["no data provided"]}), r"cannot be written \(no data provided\)"),
        (FREE, Reply(200, {"data": {"version": "new"}}), "is not in a KV engine, version 2"),
    ],
)
def test_what_is_no_lock_is_left_alone(bao, ours, found, wrote, said):
    bao.says("GET", PATH, found)
    if wrote is not None:
        bao.says("POST", PATH, wrote)
    with pytest.raises(MtlsError, match=said) as caught, ours.held():
        pass
    assert "secret of somebody" not in str(caught.value)


def test_it_is_renewed_before_its_lease_ends_and_no_earlier(bao, ours, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(lock.time, "monotonic", lambda: clock[0])
    bao.says("GET", PATH, FREE)
    bao.says("POST", PATH, WRITTEN, Reply(200, {"data": {"version": 9}}), BEATEN)
    with ours.held():
        ours.renew()
        assert len(written(bao)) == 1
        clock[0] += lock.LEASE / 5
        ours.renew()
        assert [follows for follows, _controller in written(bao)] == [0, 8]
        clock[0] += lock.LEASE * 2
        with pytest.raises(MtlsError, match=r"stalled for 600 seconds and lost the lock to another controller"):
            ours.renew()
    assert written(bao)[-1] == (9, None)


def test_a_lock_that_cannot_be_given_back_hides_no_result(bao, ours):
    bao.says("GET", PATH, FREE)
    bao.says("POST", PATH, WRITTEN, Reply(503, {"errors": ["Vault is sealed"]}))
    with ours.held():
        pass
    assert written(bao)[-1] == (8, None)
