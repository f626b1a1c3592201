# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With a systemd that has booted: tests/integration/test_systemd.py."""

from __future__ import annotations

import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import comparison, nginx_conf, nginx_process, nginx_unit
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest

DEBIAN = "[Service]\nType=forking\nExecReload=/usr/sbin/nginx -s reload\n"


@pytest.fixture
def units(tmp_path, monkeypatch):
    """systemd's folders, those of the administrator and of packages."""
    folders = (tmp_path / "etc", tmp_path / "lib")
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(nginx_unit, "FOLDERS", tuple(map(str, folders)))
    monkeypatch.setattr(nginx_unit, "DROP_IN", str(folders[0] / "nginx.service.d" / "10-mtls-nginx.conf"))
    monkeypatch.setattr(nginx_unit, "systemd_runs", lambda: True)
    return folders


def wanted(conf_path=nginx_process.DEFAULT_CONF, *, restart=True):
    return nginx_unit.drop_in(conf_path, restart=restart)


@pytest.mark.parametrize(
    ("package", "own", "starts_it"),
    [
        (DEBIAN, None, True),
        (None, None, False),
        (f"{DEBIAN}Restart=no\n", None, True),
        (f"{DEBIAN}Restart=always\n", None, False),
        (f"{DEBIAN}#Restart=always\n", None, True),
        (DEBIAN, f"{DEBIAN}Restart = on-abnormal\n", False),
        (f"{DEBIAN}Restart=always\n", DEBIAN, True),
    ],
    ids=["debian", "none", "no", "always", "comment", "own", "own-without"],
)
def test_only_a_unit_that_leaves_nginx_down_gets_it(units, package, own, starts_it):
    for folder, text in zip(units, (own, package), strict=True):
        if text is not None:
            (folder / "nginx.service").write_text(text)
    content = wanted()[nginx_unit.DROP_IN]
    assert (content is not None) is starts_it
    if content:
        assert nginx_conf.is_managed(content)
        assert b"\nRestart=on-failure\nRestartSec=5\n" in content


def test_nor_a_masked_one_nor_where_systemd_does_not_run(units, monkeypatch):
    (units[1] / "nginx.service").write_text(DEBIAN)
    (units[0] / "nginx.service").symlink_to("/dev/null")
    assert wanted() == {nginx_unit.DROP_IN: None}
    (units[0] / "nginx.service").unlink()
    assert wanted()[nginx_unit.DROP_IN]
    monkeypatch.setattr(nginx_unit, "systemd_runs", lambda: False)
    assert wanted() == {nginx_unit.DROP_IN: None}


def test_it_is_removed_and_left_alone(units):
    (units[1] / "nginx.service").write_text(DEBIAN)
    assert wanted(restart=False) == {nginx_unit.DROP_IN: None}
    assert wanted("/srv/nginx.conf") == {}
    for restart, files in ((None, 0), (True, 1), (False, 0)):
        request = comparison.with_restart(ChangeRequest(restart=restart), nginx_process.DEFAULT_CONF)
        assert len(request.wanted) == files
        assert list(request.absent) == ([nginx_unit.DROP_IN] if restart is False else [])


def test_where_systemd_does_not_run_it_is_removed_all_the_same(units, monkeypatch):
    monkeypatch.setattr(nginx_unit, "systemd_runs", lambda: False)
    nginx_unit.put_in_place(b"[Service]\n")
    other = units[0] / "nginx.service.d" / "own.conf"
    other.write_text("")
    nginx_unit.put_in_place(None)
    assert os.listdir(other.parent) == ["own.conf"]
    other.unlink()
    nginx_unit.put_in_place(b"[Service]\n")
    nginx_unit.put_in_place(None)
    assert not other.parent.exists()


def test_systemd_reads_it_or_says_why_not(units, monkeypatch, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "systemctl"
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def says(script):
        program.write_text(f'#!/bin/sh\necho "$*" >>{folder}/called\n{script}\n')
        program.chmod(0o755)

    says("")
    nginx_unit.put_in_place(b"[Service]\n")
    nginx_unit.put_in_place(None)
    assert (folder / "called").read_text() == "daemon-reload\n" * 2
    says("echo 'Failed to connect to bus: Connection refused' >&2; exit 1")
    with pytest.raises(MtlsError, match=r"^systemctl daemon-reload: Failed to connect to bus: Connection refused$"):
        nginx_unit.put_in_place(b"[Service]\n")
    says("exec sleep 30")
    monkeypatch.setattr(nginx_process, "COMMAND_TIMEOUT", 0.1)
    with pytest.raises(MtlsError, match=r"^'systemctl daemon-reload' did not finish within 0 seconds$"):
        nginx_unit.put_in_place(b"[Service]\n")


def test_what_confines_nginx_is_quoted(units):
    assert nginx_unit.confinement(nginx_process.DEFAULT_CONF) == ""
    folder = units[0] / "nginx.service.d"
    folder.mkdir()
    (folder / "a.conf").write_text("[Service]\nUser=www-data\nEnvironment=A=b\n# Group=x\nCapabilityBoundingSet=\n")
    said = f" (nginx.service is confined by {folder}/a.conf: User=www-data, CapabilityBoundingSet=)"
    assert nginx_unit.confinement(nginx_process.DEFAULT_CONF) == said
    assert nginx_unit.confinement("/srv/nginx.conf") == ""


def test_what_shows_an_old_file_elsewhere(units):
    folder = units[0] / "nginx.service.d"
    folder.mkdir()
    (folder / "a.conf").write_text(
        "[Service]\nBindReadOnlyPaths=/c/crl.pem /c/ca.crt:/c/ca.crt -/c/crl.pem:/d/crl.pem:norbind\n"
        "LoadCredential=x:/c/ca.crt\nLoadCredential=y\n"
    )
    paths = ["/c/crl.pem", "/c/ca.crt"]
    said = [text.partition("(")[2].partition(")")[0] for text in nginx_unit.copies(paths)]
    assert said == ["BindReadOnlyPaths=-/c/crl.pem:/d/crl.pem:norbind", "LoadCredential=x:/c/ca.crt"]


def test_nginx_in_the_same_place_sees_the_same(tmp_path):
    myself = nginx_process.Process(os.getpid(), 1, 1, "")
    assert nginx_unit.unseen(myself, [str(tmp_path / "not" / "there")]) is None
