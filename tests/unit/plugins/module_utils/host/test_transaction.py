# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import comparison, nginx_unit, transaction
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, WantedFile

MARKER = b"# Managed by mtls.nginx\n"
KEY = b"-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\n"


def kinds(outcome):
    return {os.path.basename(change.path): change.kind for change in outcome.changes}


def test_preview_compares_only(tmp_path):
    for name, content, mode in [("same.pem", b"a", 0o644), ("other.pem", b"a", 0o644), ("mode.pem", b"a", 0o600)]:
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(mode)
    (tmp_path / "gone.pem").write_bytes(b"a")
    (tmp_path / "dangling.pem").symlink_to("nowhere")
    wanted = [
        WantedFile(str(tmp_path / "same.pem"), b"a"),
        WantedFile(str(tmp_path / "other.pem"), b"b"),
        WantedFile(str(tmp_path / "mode.pem"), b"a"),
        WantedFile(str(tmp_path / "dangling.pem"), b"a"),
        WantedFile(str(tmp_path / "no/folder/new.pem"), b"a"),
    ]
    absent = [str(tmp_path / "gone.pem"), str(tmp_path / "never.pem")]
    outcome = transaction.preview(ChangeRequest(wanted=wanted, absent=absent, check=True), "/nowhere/nginx.conf")
    assert kinds(outcome) == {
        "other.pem": "changed",
        "mode.pem": "changed",
        "dangling.pem": "changed",
        "new.pem": "created",
        "gone.pem": "removed",
    }
    assert outcome.changed
    assert outcome.accepted is None


def test_a_file_of_another_owner_differs(tmp_path, monkeypatch):
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setattr(comparison.os, "geteuid", lambda: os.getuid() + 1)
    outcome = transaction.preview(
        ChangeRequest(wanted=[WantedFile(str(tmp_path / "key"), KEY, 0o600, secret=True)]), "/nowhere/nginx.conf"
    )
    assert kinds(outcome) == {"key": "changed"}


@pytest.mark.parametrize("path", ["conf.d/a.conf", "/etc/nginx/../a.conf", "/etc//a.conf", "/etc/./a.conf", ""])
def test_paths_must_be_absolute_and_plain(path):
    with pytest.raises(MtlsError, match="give an absolute path"):
        transaction.preview(ChangeRequest(wanted=[WantedFile(path, MARKER)]), "/nowhere/nginx.conf")


def test_a_file_named_twice():
    with pytest.raises(MtlsError, match=r"/nowhere/a.pem: named twice"):
        transaction.preview(
            ChangeRequest(wanted=[WantedFile("/nowhere/a.pem", b"")], absent=["/nowhere/a.pem"]), "/nowhere/nginx.conf"
        )


def test_our_configuration_files_must_carry_the_marker():
    with pytest.raises(MtlsError, match=r"a.conf: the new content lacks the line '# Managed by mtls.nginx'"):
        transaction.preview(
            ChangeRequest(wanted=[WantedFile("/nowhere/a.conf", b"server {}\n")]), "/nowhere/nginx.conf"
        )


def test_a_folder_in_the_way(tmp_path):
    with pytest.raises(MtlsError, match="there is a directory of that name"):
        transaction.preview(ChangeRequest(wanted=[WantedFile(str(tmp_path), b"")]), "/nowhere/nginx.conf")


def test_configuration_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        transaction.run(Nginx("/bin/true", str(tmp_path / "no" / "nginx.conf")), ChangeRequest())
    assert caught.value.filename == str(tmp_path / "no")


def diff_of(tmp_path, before, wanted):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
        path.chmod(0o644)
    absent = [] if wanted else [str(path)]
    outcome = transaction.preview(
        ChangeRequest(wanted=[wanted] if wanted else [], absent=absent), "/nowhere/nginx.conf"
    )
    (shown,) = transaction.diff(outcome.changes)
    return shown


def test_diff_of_a_new_file(tmp_path):
    path = str(tmp_path / "file")
    assert diff_of(tmp_path, None, WantedFile(path, b"new\n")) == {
        "before_header": path,
        "after_header": f"{path} (mode 0644)",
        "before": "",
        "after": "new\n",
    }


def test_diff_of_a_removed_file(tmp_path):
    path = str(tmp_path / "file")
    assert diff_of(tmp_path, b"old\n", None) == {
        "before_header": f"{path} (mode 0644)",
        "after_header": path,
        "before": "old\n",
        "after": "",
    }


@pytest.mark.parametrize("ending", ["p12", "mobileconfig"])
def test_diff_never_shows_a_key_behind_a_password(tmp_path, ending):
    path = tmp_path / f"mc-1.{ending}"
    path.write_bytes(b"SEALED")
    foreseen = transaction.preview(ChangeRequest(absent=[str(path)]), str(tmp_path / "nginx.conf"))
    (shown,) = transaction.diff(foreseen.changes)
    assert (shown["before"], shown["after"]) == ("<private key, not shown> (old)\n", "")


def test_diff_shows_that_a_key_changes_but_never_the_key(tmp_path):
    shown = diff_of(tmp_path, KEY, WantedFile(str(tmp_path / "file"), KEY.replace(b"MIG", b"MIH"), 0o600, secret=True))
    assert (shown["before"], shown["after"]) == ("<private key, not shown> (old)\n", "<private key, not shown> (new)\n")
    assert shown["after_header"].endswith("(mode 0600)")


@pytest.mark.parametrize("wanted", [None, b"no key\n"])
def test_diff_never_shows_a_key_that_goes_away(tmp_path, wanted):
    file = WantedFile(str(tmp_path / "file"), wanted) if wanted else None
    assert diff_of(tmp_path, KEY, file)["before"] == "<private key, not shown> (old)\n"


def test_diff_of_a_large_file_is_its_digest(tmp_path):
    shown = diff_of(tmp_path, None, WantedFile(str(tmp_path / "file"), b"x" * 200_000))
    assert shown["after"].startswith("<200000 bytes, SHA-256 ")
    assert len(shown["after"]) < 200


def test_a_bound_below_zero_is_refused():
    with pytest.raises(MtlsError, match="shutdown_timeout: is -1; use seconds, or 0 for no limit of ours"):
        transaction.preview(ChangeRequest(wanted=[], shutdown_timeout=-1), "/nowhere/nginx.conf")


def test_a_drop_in_that_systemd_does_not_read_is_a_warning(tmp_path, monkeypatch):
    """nginx serves by then, and the drop-in is for later."""
    path = str(tmp_path / "nginx.service.d" / "10-mtls-nginx.conf")
    monkeypatch.setattr(nginx_unit, "DROP_IN", path)
    monkeypatch.setattr(nginx_unit, "systemd_runs", lambda: True)
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho No bus\nexit 1\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = transaction.preview(ChangeRequest(wanted=[WantedFile(path, MARKER)]), "/nowhere/nginx.conf")
    transaction._write_drop_in(outcome)
    (warning,) = outcome.warnings
    assert warning == (
        "systemd does not restart nginx after a failure: systemctl daemon-reload: No bus; fix that, or set"
        " mtls_nginx_restart: false"
    )
    (tmp_path / "systemctl").unlink()
    transaction._write_drop_in(outcome)
    assert "failure: cannot run systemctl: No such file or directory; fix" in outcome.warnings[1]
