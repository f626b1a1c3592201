# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server at home that nobody touches, for three CRL lifetimes and one renewal of a client's certificate.

Every program on the machine but its systemd sees a clock that the test moves on (libfaketime); the jobs are started in
the place of their timers, which wait by systemd's clock. The device is given its certificate once, and fetches the
next one through the gate.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.common import times

from .test_upkeep import NIGHTLY, WEEKLY, Home

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
DAYS = 100  # three lifetimes of a CRL, 30 days each, and more
STEP = 12  # from one run of both jobs to the next: less often than upkeep does them


class Clock:
    """The machine's clock."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.days = 0
        self.move(0)
        home.machine.run("sh", "-c", f"echo {LIBRARIES[0]} >/etc/ld.so.preload")

    def move(self, days: int) -> None:
        self.days += days
        self._home.machine.run("sh", "-c", f"echo +{self.days}d >/etc/faketimerc")


class Device:
    """The phone: what was handed over once, and what it does by itself."""

    def __init__(self, home: Home) -> None:
        self._machine = home.machine
        self.folder = home.site.folder / "device"
        self.folder.mkdir()
        for ending in ("crt", "key"):
            shutil.copy(home.site.pki / "clients" / "phone" / f"phone.{ending}", self.folder)

    def _curl(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        identity = ("--cert", self.folder / "phone.crt", "--key", self.folder / "phone.key")
        to = ("--connect-to", "nas.lan:443:127.0.0.1:8443")
        return self._machine.run("curl", "--silent", "--insecure", *identity, *to, *arguments, check=False)

    def asks(self) -> tuple[str, str]:
        """The status that it gets, and nginx's date."""
        shown = ("--output", "/dev/null", "--write-out", "%{http_code} %header{date}")
        status, _space, date = self._curl(*shown, "https://nas.lan/").stdout.partition(" ")
        return status, date

    def renews(self) -> bool:
        """What it does every day: fetch the next certificate, if there is one."""
        address = "https://nas.lan/.mtls/renewal.pem"
        if self._curl("--fail", "--output", self.folder / "next.crt", address).returncode != 0:
            return False
        (self.folder / "next.crt").replace(self.folder / "phone.crt")
        return True


def status_at(device: Device, clock: Clock) -> str:
    """What the device gets, once nginx has seen the clock: libfaketime looks every ten seconds."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status, date = device.asks()
        if date and parsedate_to_datetime(date) > datetime.now(UTC) + timedelta(days=clock.days - 1):
            return status
        time.sleep(0.5)
    raise AssertionError(f"nginx's date stays at {date!r}")


@pytest.mark.long
def test_nobody_touches_it_for_three_crl_lifetimes_and_a_renewal(tmp_path):
    assert LIBRARIES, "libfaketime is not installed"
    home = Home(tmp_path)
    try:
        lives(home)
    finally:
        home.machine.off()


def lives(home: Home) -> None:
    home.machine.run("sh", "-c", "mkdir -p /srv && echo inside >/srv/index.html && chmod -R a+rX /srv")
    home.site.all_vars["mtls_upkeep_vault_password_file"] = str(home.password)
    home.site.host_vars["nas"]["mtls_clients"] = [{"name": "phone", "days": 60, "renew_before": 30}]
    home.site.host_vars["nas"]["mtls_self_renewal"] = True
    clock = Clock(home)
    assert home.play("mtls.nginx.site").returncode == 0
    run = home.play("mtls.nginx.upkeep")
    assert run.returncode == 0, run.stdout
    device = Device(home)
    phone = device.folder / "phone.crt"
    first = phone.read_bytes()
    crls, renewals = set(), 0
    while clock.days < DAYS:
        clock.move(STEP)
        assert status_at(device, clock) == "200", f"day {clock.days}, before the jobs"
        for job in (NIGHTLY, WEEKLY):
            home.machine.systemctl("start", job)
        renewals += device.renews()
        assert status_at(device, clock) == "200", f"day {clock.days}, after the jobs"
        crls.add((home.site.pki / "crl.pem").read_bytes())
    assert len(crls) >= 4
    assert renewals >= 2
    assert phone.read_bytes() != first
    expires = x509.load_pem_x509_certificate(phone.read_bytes()).not_valid_after_utc
    assert expires > times.now() + timedelta(days=clock.days)
    assert not [message for message in home.told if "failed" in message]

    # Without upkeep: the clock is one that nginx goes by.
    clock.move(31)
    assert status_at(device, clock) == "400"
