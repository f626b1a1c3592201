# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of clients' next certificates: who may read it, and what is noticed of it."""

from __future__ import annotations

import grp
import os
import stat

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import comparison, renewals
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, Renewals
from ansible_collections.mtls.nginx.plugins.module_utils.host.swap import NewFile, Swap

GROUP = grp.getgrgid(os.getegid()).gr_name
FILES = {"mc-1.p12": b"\x00\xff", "mc-1.pem": b"PEM"}


@pytest.fixture
def nginx(tmp_path):
    return configured(tmp_path, f"user root {GROUP};\n")


def configured(folder, text):
    program = folder / "nginx"
    program.write_text("#!/bin/sh\necho 'configure arguments: --prefix=/etc/nginx --user=daemon --group=daemon' >&2\n")
    program.chmod(0o755)
    (folder / "nginx.conf").write_text(text)
    return Nginx(str(program), str(folder / "nginx.conf"))


def wanted(nginx, folder, files, stay=()):
    return renewals.with_renewals(ChangeRequest(renewals=Renewals(str(folder), files, stay)), nginx)


def put(request):
    """What the transaction does with a request."""
    new = [
        NewFile(each.path, each.content, each.mode, (os.geteuid(), each.group if each.group is not None else -1))
        for each in request.wanted
    ]
    swap = Swap(os.path.dirname(os.path.dirname(new[0].path)))
    swap.apply(new)
    swap.decide()
    swap.finish()


def test_whoever_runs_nginx_writes_and_its_workers_read(nginx, tmp_path):
    request = wanted(nginx, tmp_path / "folder", FILES)
    assert {(each.mode, each.secret, each.group) for each in request.wanted} == {(0o640, True, os.getegid())}
    put(request)
    for name, content in FILES.items():
        path = tmp_path / "folder" / name
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert comparison.compare(request) == []


def test_whatever_else_is_in_the_folder_goes(nginx, tmp_path):
    put(wanted(nginx, tmp_path / "folder", {**FILES, "old.p12": b"", "kept.p12": b""}))
    request = wanted(nginx, tmp_path / "folder", FILES, ["kept.p12"])
    assert request.absent == [str(tmp_path / "folder" / "old.p12")]
    assert wanted(nginx, tmp_path / "none", {}).absent == []


def test_a_folder_that_is_left_alone(nginx):
    request = ChangeRequest()
    assert renewals.with_renewals(request, nginx) is request


def test_a_folder_as_it_should_be_is_known_by_its_digest(nginx, tmp_path):
    folder = tmp_path / "folder"
    assert renewals.look(str(folder), nginx) is None is renewals.fingerprint({})
    put(wanted(nginx, folder, FILES))
    assert renewals.look(str(folder), nginx) == renewals.fingerprint(FILES)
    assert renewals.fingerprint(FILES) != renewals.fingerprint({**FILES, "mc-1.pem": b"other"})
    assert renewals.fingerprint(FILES) != renewals.fingerprint(dict.fromkeys(FILES, b""))


@pytest.mark.parametrize("damage", ["content", "mode", "group", "link", "more"])
def test_what_was_altered_is_noticed(nginx, tmp_path, damage):
    folder = tmp_path / "folder"
    put(wanted(nginx, folder, FILES))
    path = folder / "mc-1.p12"
    if damage == "content":
        path.write_bytes(b"other")
    elif damage == "mode":
        path.chmod(0o644)
    elif damage == "group":
        if os.geteuid() != 0:
            pytest.skip("needs root")
        os.chown(path, -1, grp.getgrnam("nogroup" if GROUP != "nogroup" else "daemon").gr_gid)
    elif damage == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        (folder / "more.p12").write_bytes(b"")
    assert renewals.look(str(folder), nginx) != renewals.fingerprint(FILES)
    if damage not in ("link", "more"):
        assert [change.path for change in comparison.compare(wanted(nginx, folder, FILES))] == [str(path)]


@pytest.mark.skipif(os.geteuid() != 0, reason="nginx of somebody else runs its workers as that one")
@pytest.mark.parametrize(
    ("text", "group"),
    [("user root daemon;", "daemon"), ("user daemon;", "daemon"), ("events {}", "daemon"), ("user nobody none;", None)],
)
def test_the_group_of_the_workers(tmp_path, text, group):
    found = renewals.worker_group(configured(tmp_path, text))
    assert found == (grp.getgrnam(group).gr_gid if group else 65534)


@pytest.mark.skipif(os.geteuid() != 0, reason="nginx of somebody else runs its workers as that one")
def test_a_group_that_is_none(tmp_path):
    with pytest.raises(MtlsError, match="belong to the group 'gone', which does not exist on this host"):
        renewals.worker_group(configured(tmp_path, "user gone;"))


def test_an_nginx_of_somebody_else_has_no_other_group(nginx, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert renewals.worker_group(nginx) is None
