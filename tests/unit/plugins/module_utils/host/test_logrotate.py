# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import stat

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import logrotate
from ansible_collections.mtls.nginx.plugins.module_utils.host.logrotate import Ownership

DEBIAN = "/var/log/nginx/*.log {\n\tdaily\n\tcreate 0640 root daemon\n\tsharedscripts\n}\n"


@pytest.fixture
def said(tmp_path, monkeypatch):
    """What the host's configuration of logrotate for nginx says."""
    path = tmp_path / "logrotate"
    monkeypatch.setattr(logrotate, "_OF_NGINX", str(path))
    return path.write_text


MYSELF = (os.geteuid(), os.getegid())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (DEBIAN, Ownership(0o640, 0, 1)),
        (DEBIAN.replace("0640", "600"), Ownership(0o600, 0, 1)),
        (DEBIAN.replace("root daemon", "nobody-of-that-name daemon"), Ownership(0o640, *MYSELF)),
        (DEBIAN.replace("create 0640 root daemon", "nocreate"), Ownership(0o640, *MYSELF)),
        ("", Ownership(0o640, *MYSELF)),
    ],
)
def test_logs_are_as_logrotate_makes_them(said, text, wanted):
    said(text)
    assert logrotate.ownership() == wanted


def test_what_is_missing_is_created_and_nothing_else_touched(said, tmp_path):
    said(DEBIAN.replace("root daemon", "no such-group"))
    new, old, link = (tmp_path / name for name in ("new.log", "old.log", "link.log"))
    old.write_text("kept")
    old.chmod(0o604)
    link.symlink_to(tmp_path / "elsewhere")
    logrotate.create_missing(map(str, (new, old, link, tmp_path / "no folder" / "a.log")))
    assert (new.read_text(), stat.S_IMODE(new.stat().st_mode)) == ("", 0o640)
    assert (old.read_text(), stat.S_IMODE(old.stat().st_mode)) == ("kept", 0o604)
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "no folder").exists()


@pytest.mark.parametrize("why", [errno.EPERM, errno.EINVAL], ids=["not_root", "rootless_container"])
def test_whoever_cannot_give_a_log_away_keeps_it(said, tmp_path, monkeypatch, why):
    said(DEBIAN)

    def refuse(*_):
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr(os, "fchown", refuse)
    logrotate.create_missing([str(tmp_path / "new.log")])
    assert stat.S_IMODE((tmp_path / "new.log").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\xfd7zXZ\x00\x00", "xz"),
        (b"BZh9", "bzip2"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
        (b"\x1f\x8b\x08", None),
        (b"", None),
        (b"B", None),
    ],
)
def test_what_a_log_is_compressed_with(tmp_path, start, name):
    path = tmp_path / "log"
    path.write_bytes(start)
    assert logrotate.compression(str(path)) == name


def test_what_is_not_there_is_compressed_with_nothing(tmp_path):
    assert logrotate.compression(str(tmp_path / "log")) is None
    assert logrotate.folders(str(tmp_path / "nowhere")) == []
