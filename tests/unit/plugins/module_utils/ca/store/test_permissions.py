# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modes that git, exFAT and ``cp`` without ``-p`` have lost: who could get in by that is told, with the command."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import permissions
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, Pki, tree


def wanted(pki) -> WantedAuthority:
    return WantedAuthority(str(pki.path), SUBJECT, keys.KeyKind("ecdsa"), None, 3650, 30)


def warnings_of(pki, *clients) -> list[str]:
    """What a run of client_cert says."""
    done = pki.serve(*clients)
    with pki.open(read_only=True) as authority:
        return [*authority.warnings, *done.warnings]


def checked_out(pki) -> None:
    """Give everything the modes that ``git clone`` gives under umask 022."""
    for path in [pki.path, *pki.path.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def run_remedy(warnings) -> None:
    """Run the command that each warning names."""
    for warning in warnings:
        command = warning.split("`")[1]
        path = warning.split(":")[0]
        subprocess.run(command if "/" in command else f"{command} {path}", shell=True, check=True)


def test_what_was_written_here_is_no_reason_to_warn(pki):
    assert warnings_of(pki, Client("phone"), Client("pad", mobileconfig=True)) == []


def test_after_a_checkout_all_that_lets_somebody_in_is_told_with_the_command(pki):
    pad = Client("pad", mobileconfig=True, p12_password="a pass phrase", formats=("pem",))
    clients = [Client("phone"), pad]
    pki.serve(*clients)
    checked_out(pki)
    for _known_at_a_glance in range(2):
        told = "\n".join(warnings_of(pki, *clients))
        assert f"{pki.path}: other users may look into it (mode 0755)" in told
        assert f"{pki.path}/ca.key: can be read by others" in told
        assert "clients/register.json: can be read by others" in told
        for secret in ("phone.key", "phone.p12", "phone.p12.password", "pad.key", "pad.p12"):
            assert secret in told
        assert "and 2 more" in told, "the profile and the .pem"
        assert f"run `chmod -R go= {pki.path}`" in told
    run_remedy(warnings_of(pki, *clients))
    assert warnings_of(pki, *clients) == []


def test_a_server_key_that_others_can_read_is_told(pki):
    with pki.open() as authority:
        wanted = [servers.Server("nas", "web", ("nas.lan",))]
        servers.reconcile(authority, wanted, new_key_type="ecdsa", check=False)
        assert authority.warnings == []
        (pki.path / "servers/nas/web.key").chmod(0o640)
        servers.reconcile(authority, wanted, new_key_type="ecdsa", check=False)
        (warning,) = authority.warnings
    assert warning.startswith(f"{pki.path}/servers/nas/web.key: private keys that others can read; run `chmod -R go=")


@pytest.mark.parametrize("name", ["", "index.txt", "newcerts", "ca.crt", "clients"])
def test_what_everybody_may_write_to_is_refused_whoever_asks(pki, name):
    pki.one(Client("phone"))
    (pki.path / name).chmod(0o777)
    before = tree(pki.path)
    asked = {
        "run": lambda: pki.one(Client("pad")),
        "check": lambda: pki.one(Client("pad"), check=True),
        "ca_init": lambda: creation.ensure(wanted(pki), check=False),
        "ca_init in check mode": lambda: creation.ensure(wanted(pki), check=True),
        "published": lambda: read_authority(str(pki.path)),
    }
    for ask in asked.values():
        with pytest.raises(MtlsError) as caught:
            ask()
        assert str(caught.value).startswith(f"{pki.path / name}: everybody on this machine may write to it")
        assert f"`chmod -R go= {pki.path}`" in str(caught.value)
    after = tree(pki.path)
    after.pop(str(pki.path / ".lock"), None)
    before.pop(str(pki.path / ".lock"), None)
    assert after == before


def test_what_the_group_may_write_to_is_told(pki):
    (pki.path / "index.txt").chmod(0o660)
    (pki.path / "newcerts").chmod(0o770)
    (warning,) = warnings_of(pki)
    assert warning.startswith(f"{pki.path}/index.txt, {pki.path}/newcerts: the members of its group may write")
    run_remedy([warning])
    assert warnings_of(pki) == []


def test_a_path_that_needs_quotes_and_one_that_is_not_there(tmp_path):
    (tmp_path / "our pki").mkdir(mode=0o755)
    (warning,) = permissions.check(str(tmp_path / "our pki"))
    run_remedy([warning])
    assert permissions.check(str(tmp_path / "our pki")) == []
    assert permissions.check(str(tmp_path / "nowhere")) == []


def test_an_authority_lives_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def link(source, target):
        raise OSError(errno.EPERM, "Operation not permitted", source, None, target)

    monkeypatch.setattr(os, "link", link)
    pki = Pki(tmp_path / "pki")
    assert creation.ensure(wanted(pki), check=False).created
    assert pki.one(Client("phone")).action == "issued"
    assert pki.one(Client("phone")).action == "unchanged"


def test_what_is_neither_file_nor_folder_is_nobodys_business(pki):
    os.mkfifo(pki.path / "queue")
    (pki.path / "queue").chmod(0o666)
    (pki.path / "nowhere").symlink_to(pki.path / "none")
    assert permissions.check(str(pki.path)) == []
