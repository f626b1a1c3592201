# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose clock is wrong: nginx takes a CRL by that clock, and refuses everybody where it does not like it."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import tree
from .test_state import carried, play, refused


class Clock:
    """The clock of the host `nas`: Python there, and the nginx that it starts, run with libfaketime."""

    def __init__(self, site) -> None:
        library = subprocess.run(
            ["faketime", "-f", "+0s", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
        )
        self._library = library.stdout.strip().split(":")[-1]
        self._python = pathlib.Path(site.folder) / "python-of-nas"
        self._site = site
        site.host_vars["nas"]["ansible_python_interpreter"] = str(self._python)
        self.set("+0s")

    def environment(self, offset: str) -> dict[str, str]:
        return {"LD_PRELOAD": self._library, "FAKETIME": offset, "NO_FAKE_STAT": "1"}

    def set(self, offset: str) -> None:
        """From now on, and nginx is stopped: the next run starts it with this clock."""
        self._site.hosts["nas"].stop()
        words = " ".join(f"{name}='{value}'" for name, value in self.environment(offset).items())
        self._python.write_text(f'#!/bin/sh\nexec env {words} {sys.executable} "$@"\n')
        self._python.chmod(0o755)


def shared() -> set[pathlib.Path]:
    """What processes with libfaketime share: nginx's workers leave it when they end."""
    return set(pathlib.Path("/dev/shm").glob("*faketime_s*"))


@pytest.fixture
def clock(site, upstream, monkeypatch):
    """The clock of a host that was set up ten days ago."""
    before = shared()
    site.port = free_port()
    site.add_host("nas", mtls_clients=[{"name": "phone"}, {"name": "laptop"}, {"name": "tablet"}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{site.port}", "upstream": upstream}
    ]
    made = Clock(site)
    made.set("-10d")
    with monkeypatch.context() as patch:
        for name, value in made.environment("-10d").items():
            patch.setenv(name, value)
        site.ok()
    shutil.copytree(site.pki / "clients", site.folder / "devices")
    made.set("+0s")
    site.ok()
    yield made
    site.stop()
    for path in shared() - before:
        path.unlink(missing_ok=True)


def entering(site):
    return [
        name for name in ("phone", "laptop", "tablet") if site.status(site.port, identity=carried(site, name)) == 200
    ]


def files(site):
    return tree(site.hosts["nas"].folder / "client-certs")


def test_a_revocation_reaches_a_host_whose_clock_is_hours_behind(site, clock):
    clock.set("-5h")
    assert "the clock of host nas is 5 hours behind that of the controller" in " ".join(site.ok().text.split())
    assert entering(site) == ["phone", "laptop", "tablet"]
    run = play(site, "revoke", "-e", "mtls_revoke=phone")
    assert run.returncode == 0, run.text
    assert entering(site) == ["laptop", "tablet"]
    assert "let in: laptop; kept out: nobody (no certificate), phone (revoked)" in " ".join(run.text.split())


def test_no_crl_is_installed_that_the_hosts_clock_does_not_agree_with(site, clock):
    before = files(site)
    clock.set("-3d")
    site.ok()
    said = refused(site, "revoke", "-e", "mtls_revoke=phone")
    assert "the clock of host nas says" in said
    assert "3 days behind that of the controller" in said
    assert "is not valid before" in said
    assert files(site) == before
    for name in ("site", "refresh_crl"):
        for arguments in ([], ["--check"]):
            said = refused(site, name, *arguments)
            assert "3 days behind that of the controller" in said
            assert "timedatectl set-ntp true" in said
    assert files(site) == before
    assert entering(site) == ["phone", "laptop", "tablet"]

    # Once it is right, it is all made up for.
    clock.set("+0s")
    site.ok()
    assert entering(site) == ["laptop", "tablet"]


def test_a_crl_that_has_expired_by_the_hosts_clock_is_told(site, clock):
    # Nothing differs, and nginx lets nobody in: the nightly job used to be content.
    clock.set("+40d")
    said = refused(site, "refresh_crl")
    assert "whose certificate is good, got 400" in said
    said = refused(site, "site", "--check")
    assert "40 days ahead of that of the controller" in said
    assert "has expired" in said
