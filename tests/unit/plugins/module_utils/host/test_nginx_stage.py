# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx finds in the scratch folder; tests/integration/test_transaction.py asks the real one."""

from __future__ import annotations

import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_stage import try_out


@pytest.fixture
def conf(tmp_path):
    conf = tmp_path / "conf"
    (conf / "conf.d").mkdir(parents=True)
    (conf / "keys").mkdir()
    (conf / "keys" / "nas.key").write_text("old key")
    (conf / "mime.types").write_text("types {}\n")
    (conf / "nginx.conf").write_text(
        f"pid /run/nginx.pid;\nhttp {{ include mime.types; include {conf}/conf.d/*.conf;"
        f" access_log {tmp_path}/access.log; }}\n"
    )
    (conf / "conf.d" / "gone.conf").write_text("server {}\n")
    return conf


@pytest.fixture
def tried(conf, tmp_path):
    """The tree below the scratch folder, as the program finds it that is asked in nginx's place."""
    binary = tmp_path / "nginx"
    binary.write_text(
        f'#!/bin/sh\n[ "$1" = -V ] && exit 0\ncd "${{4%/*}}" && cp -rL . {tmp_path}/seen\n'
        f'find . -type f > {tmp_path}/files; echo "[emerg] bad $4:1" >&2; exit 1\n'
    )
    binary.chmod(0o755)

    def work(changes, secrets=()):
        verdict = try_out(Nginx(str(binary), str(conf / "nginx.conf")), changes, secrets, str(tmp_path))
        return verdict, tmp_path / "seen", (tmp_path / "files").read_text().split()

    return work


def test_the_folder_is_mirrored_with_the_changes(conf, tried, tmp_path):
    before = sorted(os.listdir(tmp_path))
    new = str(conf / "conf.d" / "mtls-nas.conf")
    verdict, seen, _files = tried({new: b"server { listen 443; }\n", str(conf / "conf.d" / "gone.conf"): None})
    assert not verdict.accepted
    assert verdict.problems == (f"[emerg] bad {conf}/nginx.conf:1",)
    assert sorted(os.listdir(seen / "conf.d")) == ["mtls-nas.conf"]
    assert (seen / "mime.types").read_text() == "types {}\n"
    main = (seen / "nginx.conf").read_text()
    assert str(conf) not in main
    for created in ("/run/nginx.pid", f"{tmp_path}/access.log"):
        assert created not in main
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "files", "seen"])
    assert (conf / "conf.d" / "gone.conf").exists()


def test_a_secret_is_in_no_file(conf, tried):
    path = str(conf / "keys" / "nas.key")
    _verdict, seen, files = tried({path: b"new key"}, [path])
    assert (seen / "keys" / "nas.key").read_text() == "new key"
    assert "./keys/nas.key" not in files


def test_a_main_file_that_cannot_be_parsed_is_named(conf, tried):
    (conf / "nginx.conf").write_text("http {\n")
    with pytest.raises(MtlsError, match=r"nginx\.conf: unexpected end of file.*; fix it"):
        tried({})
