# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an exception to a task's failure: only the user's own mistakes lose their traceback."""

from __future__ import annotations

import errno
import os
import pwd
import sys

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import entry
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError


def failing(error: Exception):
    def work():
        raise error

    return lambda: entry.result_of(work)


def test_a_result_is_handed_on():
    assert entry.result_of(lambda: {"changed": True}) == {"changed": True}


def test_a_users_mistake():
    assert failing(MtlsError("x: is wrong; do y"))() == {"failed": True, "msg": "x: is wrong; do y"}


def test_an_operating_system_error_names_its_file():
    said = failing(OSError(errno.ENOSPC, "No space left on device", "/srv/pki/index.txt"))()

    assert said["msg"] == "/srv/pki/index.txt: no space left on device; free some space and run again"


@pytest.mark.parametrize("there", [True, False])
def test_permission_denied_names_the_owner_if_that_is_somebody_else(tmp_path, monkeypatch, there):
    path = tmp_path / "pki" / ".lock"
    path.parent.mkdir()
    if there:
        path.touch()
    refusal = PermissionError(13, "Permission denied", str(path))
    plain = f"{path}: permission denied; run as a user who may do this, or change the permissions"
    assert entry.describe(refusal) == plain
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    owner = pwd.getpwuid(path.parent.stat().st_uid).pw_name
    about = f"it belongs to {owner}, and this is user 4000000; "
    assert entry.describe(refusal) == plain.replace("; run", f"; {about}run")


def test_permission_denied_below_what_cannot_be_looked_at_names_no_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    path = tmp_path / "closed" / "pki" / ".lock"
    assert entry.describe(PermissionError(13, "Permission denied", str(path))) == (
        f"{path}: permission denied; run as a user who may do this, or change the permissions"
    )


def test_one_without_a_remedy():
    assert failing(OSError(errno.EIO, "Input/output error", "/srv/pki"))()["msg"] == "/srv/pki: input/output error"


@pytest.mark.parametrize("error", [OSError(errno.EPIPE, "Broken pipe"), KeyError("certificate"), RuntimeError("oops")])
def test_a_defect_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        failing(error)()


def test_numbers_that_must_be_positive():
    entry.check_at_least_one({"days": 1, "crl_days": None}, "days", "crl_days")
    with pytest.raises(MtlsError, match=r"^days: is 0; use 1 or more$"):
        entry.check_at_least_one({"days": 0}, "days")


@pytest.mark.parametrize("version", ["41.0.7", "3.4"])
def test_a_cryptography_that_is_too_old(monkeypatch, version):
    entry.require_cryptography()
    monkeypatch.setattr("cryptography.__version__", version)
    with pytest.raises(MtlsError, match=rf"^cryptography {version} is too old: install cryptography >= 42$"):
        entry.require_cryptography()


def test_no_cryptography_at_all(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MtlsError, match="Failed to import the required Python library"):
        entry.require_cryptography()
