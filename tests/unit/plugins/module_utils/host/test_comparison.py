# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has, against what it should have."""

from __future__ import annotations

import hashlib
import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import comparison, swap
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, WantedFile

MARKER = b"# Managed by mtls.nginx\n"


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "nginx.conf").write_text("http { include conf.d/*.conf; }\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "mtls-nas.conf").write_bytes(MARKER)
    (tmp_path / "conf.d" / "mtls-nas.conf").chmod(0o644)
    return tmp_path


def look(conf, *names, **options):
    return comparison.look(
        str(conf / "nginx.conf"), [str(conf / "conf.d" / name) for name in names], ChangeRequest(**options)
    )


def test_the_fingerprint_is_that_of_the_wanted_file(conf):
    found = look(conf, "mtls-nas.conf", "mtls-photos.conf")
    assert found.settled
    assert found.fingerprints == {
        str(conf / "conf.d" / "mtls-nas.conf"): comparison.fingerprint(MARKER, 0o644),
        str(conf / "conf.d" / "mtls-photos.conf"): None,
    }


def test_a_file_of_another_owner_and_a_dangling_link_are_not_ours(conf, monkeypatch):
    (conf / "conf.d" / "mtls-photos.conf").symlink_to("nowhere")
    assert look(conf, "mtls-photos.conf").fingerprints == {str(conf / "conf.d" / "mtls-photos.conf"): "not ours"}
    monkeypatch.setattr(comparison.os, "geteuid", lambda: os.getuid() + 1)
    assert look(conf, "mtls-nas.conf").fingerprints == {str(conf / "conf.d" / "mtls-nas.conf"): "not ours"}


def test_files_of_ours_that_nobody_wants_are_refused(conf):
    (conf / "conf.d" / "mtls-own.conf").write_text("server {}\n")
    owned = [str(conf / "conf.d" / "mtls-*.conf")]
    with pytest.raises(MtlsError, match=r"^[^,]*/mtls-nas\.conf: written by mtls\.nginx for a service"):
        comparison.refuse_strays(ChangeRequest(owned=owned))
    comparison.refuse_strays(ChangeRequest(owned=owned, absent=[str(conf / "conf.d" / "mtls-nas.conf")]))


def test_in_a_shared_folder_nothing_is_read_through_a_link(conf, tmp_path):
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "mtls.prom"
    path.symlink_to(tmp_path / "secret")
    (change,) = comparison.compare(ChangeRequest(wanted=[WantedFile(str(path), b"new", shared_folder=True)]))
    assert (change.kind, change.before) == ("changed", None)


@pytest.mark.parametrize(("make", "said"), [(os.mkdir, "there is a directory"), (os.mkfifo, "is not a regular file")])
def test_only_regular_files_are_read(tmp_path, make, said):
    path = str(tmp_path / "crl.pem")
    assert comparison.read(path) is None
    make(path)
    with pytest.raises(MtlsError, match=said):
        comparison.read(path)


def file(path, content=b"new", mode=0o644):
    path.write_bytes(content)
    path.chmod(mode)
    return path


def changes(*wanted, absent=()):
    found = comparison.compare(ChangeRequest(wanted=wanted, absent=[str(path) for path in absent]))
    return [(os.path.basename(each.path), each.kind, each.before, each.before_mode) for each in found]


def test_each_difference_counts_and_nothing_else(tmp_path):
    uid, gid = os.geteuid(), os.getegid()
    same = str(file(tmp_path / "same", mode=0o755))
    for wanted, before in (
        (WantedFile(same, b"new", 0o755), []),
        (WantedFile(same, b"new", 0o755, owner=(uid, gid + 1)), []),
        (WantedFile(same, b"new", 0o755, group=gid), []),
        (WantedFile(same, b"new", 0o755, shared_folder=True), []),
        (WantedFile(same, b"other", 0o755), [("same", "changed", b"new", 0o755)]),
        (WantedFile(same, b"new", 0o754), [("same", "changed", b"new", 0o755)]),
        (WantedFile(same, b"new", 0o755, owner=(uid + 1, gid)), [("same", "changed", b"new", 0o755)]),
        (WantedFile(same, b"new", 0o755, group=gid + 1), [("same", "changed", b"new", 0o755)]),
        (WantedFile(str(tmp_path / "no"), b"new"), [("no", "created", None, None)]),
        (WantedFile(str(tmp_path / "no"), b"new", shared_folder=True), [("no", "created", None, None)]),
    ):
        assert changes(wanted) == before


def test_all_files_are_compared(tmp_path):
    (tmp_path / "a").symlink_to("nowhere")
    wanted = [
        WantedFile(str(tmp_path / "a"), b"new", shared_folder=True),
        WantedFile(str(tmp_path / "b"), b"new"),
        WantedFile(str(file(tmp_path / "c", b"old")), b"new"),
    ]
    file(tmp_path / "d", mode=0o755)
    (tmp_path / "e").symlink_to("nowhere")
    assert changes(*wanted, absent=[tmp_path / name for name in "def"]) == [
        ("a", "changed", None, None),
        ("b", "created", None, None),
        ("c", "changed", b"old", 0o644),
        ("d", "removed", b"new", 0o755),
        ("e", "removed", None, 0o777),
    ]


def test_where_nobody_else_writes_a_link_is_what_it_leads_to(tmp_path):
    file(tmp_path / "there", mode=0o755)
    link = tmp_path / "link"
    link.symlink_to("there")
    assert changes(WantedFile(str(link), b"new", 0o755)) == []
    assert comparison.read(str(link)) == b"new"
    assert comparison.fingerprint_of(str(link)) == comparison.fingerprint(b"new", 0o755)
    assert comparison.fingerprint(b"", 0o755) == f"0755 {hashlib.sha256().hexdigest()}"


def test_what_cannot_be_read_is_no_missing_file(tmp_path):
    with pytest.raises(OSError, match="File name too long"):
        comparison.read(str(tmp_path / ("x" * 300)))


def test_what_is_wanted_or_absent_is_no_stray(conf):
    nas = str(conf / "conf.d" / "mtls-nas.conf")
    owned = [str(conf / "conf.d" / "mtls-*.conf")]
    comparison.refuse_strays(ChangeRequest(owned=owned, wanted=[WantedFile(nas, b"")]))
    with pytest.raises(MtlsError, match=r"mtls-nas\.conf: written by mtls\.nginx"):
        look(conf, owned=owned)
    assert look(conf, "mtls-nas.conf", owned=owned).settled


def test_after_an_interrupted_run_nothing_is_settled(conf):
    (conf / swap.JOURNAL).write_text('{"state": "swapping", "existed": {}, "directories": [], "unread": false}')
    assert not look(conf, "mtls-nas.conf").settled


def test_the_limit_of_connections_and_the_restart_are_compared_too(conf, monkeypatch):
    """Both as the host needs them: a file of its own, none, or a line in nginx.conf, whose mode and owner stay."""
    main, nothing = str(conf / "nginx.conf"), ChangeRequest(wanted=[WantedFile("/w", b"")], absent=["/a"])
    (conf / "nginx.conf").chmod(0o755)
    assert comparison.with_bound(nothing, main) == (nothing, None)
    assert comparison.with_restart(nothing, main) is nothing
    found, own = comparison.with_bound(nothing._replace(shutdown_timeout=60), main)
    assert own is None
    assert found.absent == ["/a"]
    assert found.wanted[:-1] == [WantedFile("/w", b"")]
    assert b"worker_shutdown_timeout 60s;" in found.wanted[-1].content
    owner = (os.geteuid(), os.getegid())
    assert found.wanted[-1] == WantedFile(main, found.wanted[-1].content, 0o755, owner=owner)
    assert not look(conf, shutdown_timeout=60).settled
    (conf / "nginx.conf").write_text("include main.d/*.conf;\nworker_shutdown_timeout 9s;\n")
    found, own = comparison.with_bound(nothing._replace(shutdown_timeout=60), main)
    assert own is not None
    assert (own.value, found.wanted, found.absent) == ("9s", [WantedFile("/w", b"")], ["/a", *found.absent[1:]])
    (conf / "nginx.conf").write_text("include main.d/*.conf;\n")
    for seconds, wanted, absent in ((60, 1, 0), (0, 0, 1)):
        found, _own = comparison.with_bound(nothing._replace(shutdown_timeout=seconds), main)
        assert (len(found.wanted), len(found.absent)) == (1 + wanted, 1 + absent)
    drop_in = {"/unit": b"[Service]\n", "/old": None}
    monkeypatch.setattr(comparison.nginx_unit, "drop_in", lambda _path, restart: drop_in if restart else {})
    found = comparison.with_restart(nothing._replace(restart=True), main)
    assert found.wanted == [WantedFile("/w", b""), WantedFile("/unit", b"[Service]\n")]
    assert found.absent == ["/a", "/old"]
