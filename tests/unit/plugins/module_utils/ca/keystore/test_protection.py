# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The passphrase of the authority's key: changed, given, taken away; and never a key in clear by accident."""

from __future__ import annotations

import os
import signal
import stat

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured, WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, openssl, run_module, tree

OLD, NEW = "the first passphrase", "the second passphrase"


def ensure(path, passphrase=None, *, check=False, **options) -> Ensured:
    wanted = WantedAuthority(str(path), SUBJECT, keys.KeyKind("ecdsa"), passphrase, 3650, 30, **options)
    return creation.ensure(wanted, check=check)


@pytest.fixture
def locked(pki):
    """An authority whose key is encrypted with OLD."""
    assert ensure(pki.path, OLD).updated == {"ca.key": "encrypted"}
    pki.passphrase = OLD
    return pki


def test_a_key_in_clear_is_encrypted_once_there_is_a_passphrase(pki):
    before = tree(pki.path)
    foreseen = ensure(pki.path, OLD, check=True)
    assert (foreseen.updated, foreseen.key_encrypted) == ({"ca.key": "encrypted"}, True)
    assert tree(pki.path) == before
    outcome = ensure(pki.path, OLD)
    assert (outcome.updated, outcome.warnings) == ({"ca.key": "encrypted"}, [])
    assert "ENCRYPTED" in (pki.path / "ca.key").read_text()
    assert stat.S_IMODE((pki.path / "ca.key").stat().st_mode) == 0o600
    before = tree(pki.path)
    assert ensure(pki.path, OLD).updated == {}
    assert tree(pki.path) == before
    pki.passphrase = OLD
    assert pki.one(Client("a")).action == "issued"


def test_the_passphrase_changes_and_the_key_stays(locked):
    path = locked.path
    public = openssl("pkey", "-in", "ca.key", "-passin", f"pass:{OLD}", "-pubout", cwd=path)
    assert ensure(path, NEW, old_passphrase=OLD, check=True).updated == {"ca.key": "passphrase changed"}
    assert ensure(path, NEW, old_passphrase=OLD).updated == {"ca.key": "passphrase changed"}
    assert openssl("pkey", "-in", "ca.key", "-passin", f"pass:{NEW}", "-pubout", cwd=path) == public
    openssl("pkey", "-in", "ca.key", "-passin", f"pass:{OLD}", "-pubout", cwd=path, ok=False)
    before = tree(path)
    assert ensure(path, NEW, old_passphrase=OLD).updated == {}
    assert tree(path) == before


def test_only_on_demand_is_the_key_decrypted(locked):
    for options in ({}, {"old_passphrase": OLD}):
        before = tree(locked.path)
        with pytest.raises(MtlsError, match=r"no passphrase was given|give the new passphrase"):
            ensure(locked.path, **options)
        assert tree(locked.path) == before
    outcome = ensure(locked.path, OLD, decrypt=True)
    assert outcome.updated == {"ca.key": "decrypted"}
    assert any("stored unencrypted" in warning for warning in outcome.warnings)
    assert "ENCRYPTED" not in (locked.path / "ca.key").read_text()
    assert stat.S_IMODE((locked.path / "ca.key").stat().st_mode) == 0o600
    assert ensure(locked.path, decrypt=True).updated == {}


@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_when_neither_passphrase_is_right_it_is_said_once_and_nothing_changes(locked, check):
    before = tree(locked.path)
    with pytest.raises(MtlsError, match=r"ca\.key: neither the passphrase nor the old one opens the key"):
        ensure(locked.path, NEW, old_passphrase="wrong", check=check)
    with pytest.raises(MtlsError, match=r"ca\.key: the passphrase is wrong"):
        ensure(locked.path, NEW, check=check)
    assert tree(locked.path) == before


def test_the_key_of_another_authority_is_not_touched(pki):
    (pki.path / "ca.key").write_text(
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", cwd=pki.path)
    )
    before = tree(pki.path)
    with pytest.raises(MtlsError, match=r"ca\.key: is not the key of"):
        ensure(pki.path, OLD)
    assert tree(pki.path) == before


def test_killed_before_the_rename_the_old_passphrase_still_opens_and_nothing_is_left(locked):
    def die(source, target):
        if str(target).endswith("ca.key"):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    replace = os.replace
    child = os.fork()
    if not child:
        os.replace = die  # in this process only, which cleans up nothing
        try:
            ensure(locked.path, NEW, old_passphrase=OLD)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = locked.path / ".ca.key.new"
    assert "ENCRYPTED" in left.read_text()
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    with locked.open():
        assert not left.exists()
    assert ensure(locked.path, NEW, old_passphrase=OLD).updated == {"ca.key": "passphrase changed"}
    assert not [path for path in locked.path.iterdir() if path.name.endswith(".new")]


def test_the_module_shows_no_passphrase(locked):
    options = {"path": str(locked.path), "key_type": "ecdsa", "passphrase": NEW, "old_passphrase": OLD}
    foreseen = run_module("ca_init", check=True, diff=True, **options)
    done = run_module("ca_init", diff=True, **options)
    assert (done["changed"], done["adopted"], done["updated"]) == (True, False, {"ca.key": "passphrase changed"})
    assert done["diff"] == foreseen["diff"]
    assert "ca.key: passphrase changed" in done["diff"]["after"]
    assert not run_module("ca_init", **options)["changed"]
    for result in (foreseen, done):
        assert OLD not in result["raw"]
        assert NEW not in result["raw"]
