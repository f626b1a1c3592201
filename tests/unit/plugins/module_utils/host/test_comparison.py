# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has, against what it should have."""

from __future__ import annotations

import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import comparison
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


@pytest.mark.parametrize(("make", "said"), [(os.mkdir, "there is a directory"), (os.mkfifo, "is no regular file")])
def test_only_regular_files_are_read(tmp_path, make, said):
    path = str(tmp_path / "crl.pem")
    assert comparison.read(path) is None
    make(path)
    with pytest.raises(MtlsError, match=said):
        comparison.read(path)
