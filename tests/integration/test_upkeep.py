# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upkeep on a machine whose systemd has booted, from its installation to its removal. Each test builds on the last."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .booted import Booted
from .conftest import PASSPHRASE, REPOSITORY, Site

PASSWORD = "what opens the vault"
TIMER = "mtls-upkeep-nightly.timer"
NIGHTLY, WEEKLY = "mtls-upkeep-nightly.service", "mtls-upkeep-weekly.service"


class Home:
    """A server at home that is its own controller, with a vault."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder / "home")
        self.site.add_host("nas")
        self.site.host_vars["nas"] |= {
            "mtls_clients": [{"name": "phone"}],
            "mtls_services": [{"name": "nas", "server_names": ["nas.lan"], "listen": "127.0.0.1:8443", "root": "/srv"}],
        }
        self.site.all_vars |= {"mtls_ca_passphrase": "{{ vault_mtls_ca_passphrase }}", "ansible_become": False}
        self.password = folder / "password"
        self.password.write_text(f"{PASSWORD}\n")
        self.password.chmod(0o600)
        vault = self.site.inventory / "group_vars" / "all" / "vault.yml"
        vault.write_text(f"vault_mtls_ca_passphrase: {PASSPHRASE}\n")
        self.environment = {
            "PATH": os.environ["PATH"],
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "build" / "collections"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
        }
        subprocess.run(
            ["ansible-vault", "encrypt", "--vault-password-file", self.password, vault],
            check=True,
            capture_output=True,
            env={**os.environ, **self.environment},
        )
        self.messages = folder / "messages"
        self.messages.mkdir()
        notify = folder / "notify"
        notify.write_text(f"#!/bin/sh\ncat >{self.messages}/$(date +%s%N)\n")
        notify.chmod(0o755)
        self.site.all_vars["mtls_notify_command"] = [str(notify)]
        self.machine = Booted(folder, folder, REPOSITORY, Path(sys.prefix), Path(sys.base_prefix))

    def play(self, playbook: str, *arguments: object, hidden: str = "") -> subprocess.CompletedProcess[str]:
        """Run a playbook as somebody who types the vault's password; `hidden` is a folder that looks empty to it."""
        self.site.write()
        command = ["ansible-playbook", "-i", self.site.source, "--vault-password-file", self.password, playbook]
        before = (
            ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {hidden} && exec "$@"', "sh"] if hidden else []
        )
        return self.machine.run(*before, *command, *arguments, check=False, **self.environment)

    @property
    def told(self) -> list[str]:
        """The messages since the last time."""
        found = sorted(self.messages.iterdir())
        texts = [path.read_text() for path in found]
        for path in found:
            path.unlink()
        return texts

    def journal(self) -> str:
        return self.machine.run("journalctl", "--no-pager", "--output=cat", "--unit=mtls-upkeep-*").stdout

    def left(self) -> str:
        """The files of upkeep that are anywhere on the machine."""
        return self.machine.run("find", "/etc", "/var", "/usr/local", "/root", "-name", "*mtls-upkeep*").stdout

    def wait_for(self, *units: str) -> None:
        """Until they have run to their end."""
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline:
            states = self.machine.run("systemctl", "is-active", *units, check=False).stdout.split()
            if all(state in ("inactive", "failed") for state in states):
                return
            time.sleep(0.3)
        raise AssertionError(self.journal())

    def succeeded(self) -> dict[str, str]:
        return json.loads((self.site.inventory / "status" / "upkeep.json").read_text())["succeeded"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = Home(tmp_path_factory.mktemp("upkeep"))
    yield made
    made.machine.off()


@pytest.fixture
def installed(home):
    """The same with upkeep, whichever tests came before: a module's tests may be shared out among processes."""
    home.site.all_vars["mtls_upkeep_vault_password_file"] = str(home.password)
    if not home.left():
        home.play("mtls.nginx.upkeep")
    return home


@pytest.fixture
def working(installed):
    """The same, and each of its jobs has succeeded."""
    home = installed
    status = home.site.inventory / "status" / "upkeep.json"
    for unit in (WEEKLY, NIGHTLY) if not status.exists() or len(home.succeeded()) < 2 else ():
        home.machine.systemctl("start", "--no-block", unit)
        home.wait_for(unit)
    return home


@pytest.fixture
def settled(home):
    """The same, with an authority and an nginx, whichever tests came before."""
    if not home.site.pki.exists():
        run = home.play("mtls.nginx.site")
        assert run.returncode == 0, run.stdout
    return home


def line(run: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in run.stdout, run.stdout
    return " ".join(run.stdout.split())


def test_a_vault_that_a_timer_could_not_open_is_refused_before_anything_is_installed(home):
    run = home.play("mtls.nginx.upkeep")
    assert run.returncode != 0
    assert "the timers cannot ask for the vault password; write it to a file that only you can read" in line(run)
    assert home.left() == ""


def test_it_is_installed_and_its_first_run_fails_and_notifies(home):
    home.site.all_vars["mtls_upkeep_vault_password_file"] = str(home.password)
    run = home.play("mtls.nginx.upkeep")
    assert run.returncode != 0
    missing = f"{home.site.pki}: there is no authority (ca.crt is missing)"
    assert "Upkeep is installed, but its first run failed. mtls.nginx.refresh_crl failed on nas" in line(run)
    assert missing in line(run)
    (message,) = home.told
    assert re.match(r"mtls\.nginx on \S+: 2 things to do: mtls\.nginx\.refresh_crl failed on nas\n\n", message)
    assert missing in message
    assert f"There is no authority yet: {home.site.pki}\n" in message
    assert f"ansible-playbook -i {home.site.source} mtls.nginx.site" in message
    assert home.machine.run("systemctl", "is-failed", NIGHTLY).stdout.strip() == "failed"


def test_its_units_are_what_systemd_expects(installed):
    home = installed
    units = [
        f"/etc/systemd/system/mtls-upkeep-{job}.{kind}"
        for job in ("nightly", "weekly")
        for kind in ("service", "timer")
    ]
    assert home.machine.run("systemd-analyze", "verify", "--man=no", *units).stdout == ""
    listed = home.machine.systemctl("list-timers", "--no-legend", "mtls-upkeep-*")
    assert re.findall(r"mtls-upkeep-\w+\.timer", listed) == [TIMER, "mtls-upkeep-weekly.timer"]
    for timer in (TIMER, "mtls-upkeep-weekly.timer"):
        assert home.machine.systemctl("is-enabled", timer) == "enabled\n"
        assert home.machine.systemctl("is-active", timer) == "active\n"
        shown = home.machine.systemctl("show", timer, "--property=Persistent,RandomizedDelayUSec")
        assert shown.split() == ["RandomizedDelayUSec=15min", "Persistent=yes"]
    shown = home.machine.systemctl("show", NIGHTLY, "--property=Type,TimeoutStartUSec,Before")
    assert {"Type=oneshot", "TimeoutStartUSec=6h"} <= set(shown.split())
    assert "nginx" not in shown


def test_two_jobs_at_once_wait_for_each_other_and_then_all_is_well(installed):
    home = installed
    home.machine.systemctl("start", "--no-block", WEEKLY)
    while home.machine.run("grep", "weekly", "/var/lib/mtls-upkeep/lock", check=False).returncode != 0:
        time.sleep(0.1)
    home.machine.systemctl("start", "--no-block", NIGHTLY)
    home.wait_for(WEEKLY, NIGHTLY)
    said = home.journal()
    assert re.search(r"nightly waits, at most \d+ seconds, for weekly of root \(process \d+, since 20\S+Z\)", said), (
        said
    )
    assert "mtls.nginx.site: done in" in said
    assert home.machine.run("systemctl", "is-failed", NIGHTLY, WEEKLY, check=False).stdout.split() == ["inactive"] * 2
    assert set(home.succeeded()) == {"refresh_crl", "site"}
    assert "all is well again" in home.told[-1]
    assert (home.site.pki / "crl.pem").exists()


def test_installed_again_nothing_changes(working):
    home = working
    assert len(home.told) <= 2  # of what came before
    run = home.play("mtls.nginx.upkeep")
    assert "changed=0" in run.stdout, run.stdout
    assert "failed=0" in run.stdout
    assert home.told == []


def test_a_machine_that_was_off_at_the_time_does_the_job_when_it_is_back(working):
    home = working
    before = home.succeeded()["refresh_crl"]
    # The random delay would make the test wait; the rest is as installed.
    folder = f"/run/systemd/system/{TIMER}.d"
    home.machine.run("mkdir", "-p", folder)
    home.machine.run("sh", "-c", f"printf '[Timer]\\nRandomizedDelaySec=0\\n' >{folder}/now.conf")
    home.machine.systemctl("daemon-reload")
    home.machine.systemctl("stop", TIMER)
    home.machine.run("touch", "-d", "3 days ago", f"/var/lib/systemd/timers/stamp-{TIMER}")
    home.machine.systemctl("start", TIMER)
    deadline = time.monotonic() + 120
    while home.succeeded()["refresh_crl"] == before and time.monotonic() < deadline:
        time.sleep(0.3)
    home.wait_for(NIGHTLY)
    assert home.succeeded()["refresh_crl"] > before


def test_no_secret_is_in_a_unit_the_settings_or_the_journal(working):
    home = working
    text = (
        home.journal()
        + home.machine.run("sh", "-c", "cat /etc/systemd/system/mtls-upkeep-* /var/lib/mtls-upkeep/*").stdout
    )
    assert "mtls.nginx.refresh_crl: done in" in text
    assert PASSWORD not in text
    assert PASSPHRASE not in text


@pytest.mark.long
def test_the_password_from_a_credential_that_only_systemd_can_read(settled):
    home = settled
    home.machine.run("sh", "-c", f"systemd-creds encrypt --name=mtls-vault {home.password} /etc/mtls-vault.cred")
    home.site.all_vars.pop("mtls_upkeep_vault_password_file", None)
    home.site.all_vars["mtls_upkeep_vault_credential"] = "/etc/mtls-vault.cred"
    run = home.play("mtls.nginx.upkeep")
    assert run.returncode == 0, run.stdout
    assert "LoadCredentialEncrypted=mtls-vault:/etc/mtls-vault.cred" in home.machine.systemctl("cat", NIGHTLY)
    *_before, message = home.told
    assert "upkeep is installed" in message

    # Without it systemd starts no program that could tell.
    home.machine.run("mv", "/etc/mtls-vault.cred", "/etc/kept.cred")
    assert home.machine.run("systemctl", "start", NIGHTLY, check=False).returncode != 0
    (message,) = home.told
    assert "The nightly job cannot run: systemd cannot decrypt /etc/mtls-vault.cred" in message
    home.machine.run("mv", "/etc/kept.cred", "/etc/mtls-vault.cred")
    home.machine.systemctl("start", NIGHTLY)
    (message,) = home.told
    assert "all is well again" in message


@pytest.mark.long
def test_a_disk_that_is_full_or_read_only_is_told(working):
    home, folder = working, "/var/lib/mtls-upkeep"
    home.machine.run("mount", "--bind", folder, folder)
    home.machine.run("mount", "-o", "remount,bind,ro", folder)
    assert home.machine.run("systemctl", "start", NIGHTLY, check=False).returncode != 0
    home.machine.run("umount", folder)
    assert f"cannot record what it has reported: {folder}/state.json.new: Read-only file system" in home.told[-1]

    home.machine.run("cp", "-r", folder, "/root/copy")
    home.machine.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder)
    home.machine.run("sh", "-c", f"cp /root/copy/* {folder}; cat /dev/zero >{folder}/zero", check=False)
    assert home.machine.run("systemctl", "start", NIGHTLY, check=False).returncode != 0
    home.machine.run("umount", folder)
    home.machine.run("rm", "-r", "/root/copy")
    (message,) = home.told
    assert f"cannot record what it has reported: {folder}/state.json.new: No space left on device" in message
    home.machine.systemctl("start", NIGHTLY)
    assert home.told == []  # of what it could not note


@pytest.mark.long
def test_where_there_is_no_systemd_cron_does_it(settled):
    home = settled
    home.site.all_vars["mtls_upkeep_vault_password_file"] = str(home.password)
    home.site.all_vars.pop("mtls_upkeep_vault_credential", None)
    home.machine.run("mkdir", "-p", "/etc/cron.d")
    run = home.play("mtls.nginx.upkeep", hidden="/run/systemd")
    assert run.returncode == 0, run.stdout
    entries = home.machine.run("cat", "/etc/cron.d/mtls-upkeep").stdout
    nightly, weekly = re.findall(r"^(\S+ \S+ \S+ \S+ \S+) root (.*)$", entries, re.MULTILINE)
    assert (nightly[0], weekly[0]) == ("15 3 * * *", "15 4 * * 0")
    before = home.succeeded()["refresh_crl"]
    time.sleep(1)
    home.machine.run("env", "-i", "/bin/sh", "-c", nightly[1])
    assert home.succeeded()["refresh_crl"] > before


def test_absent_removes_all_of_it_and_nothing_else(working):
    home = working
    run = home.play("mtls.nginx.upkeep", "-e", "mtls_upkeep_state=absent")
    assert run.returncode == 0, run.stdout
    assert home.left() == ""
    assert not home.machine.systemctl("list-units", "--all", "--no-legend", "mtls-upkeep-*").strip()
    status = home.site.inventory / "status"
    assert sorted(path.name for path in status.iterdir()) == ["mtls_status.prom", "status.html", "status.json"]
    assert (home.site.pki / "ca.key").exists()
    run = home.play("mtls.nginx.upkeep", "-e", "mtls_upkeep_state=absent")
    assert "changed=0" in run.stdout, run.stdout


@pytest.mark.long
def test_a_user_has_timers_of_their_own(settled):
    home = settled
    home.site.all_vars |= {"mtls_upkeep_vault_password_file": str(home.password)}
    home.site.all_vars.pop("mtls_upkeep_vault_credential", None)
    home.site.write()
    machine, folder = home.machine, Path("/home/ana")
    machine.run("useradd", "--create-home", "ana")
    uid = machine.run("id", "--user", "ana").stdout.strip()
    # What the machine's own user has: the same site below their home, and a way to Ansible.
    machine.run("cp", "-r", home.site.folder, folder / "home")
    machine.run("cp", home.password, folder / "password")
    texts = machine.run("grep", "-rl", home.site.folder, folder / "home").stdout.split()
    machine.run("sed", "-i", f"s,{home.site.folder},{folder}/home,", *texts)
    machine.run("sed", "-i", f"s,{home.password},{folder}/password,", folder / "home/inventory/group_vars/all/mtls.yml")
    machine.run("chown", "-R", "ana:ana", folder)
    machine.run("sh", "-c", "pkill nginx; sleep 1", check=False)
    machine.run("chmod", "o+x", *{*Path(sys.base_prefix).parents, *REPOSITORY.parents, *home.messages.parents})
    machine.run("chmod", "o+rwx", home.messages)
    machine.systemctl("start", "dbus.socket", "systemd-logind.service")
    play = [
        *("ansible-playbook", "-i", folder / "home/inventory/hosts.yml", "--vault-password-file", folder / "password"),
        "mtls.nginx.upkeep",
    ]
    environment = {**home.environment, "HOME": str(folder)}
    run = machine.run(*play, user="ana", check=False, **environment)
    assert "run `sudo loginctl enable-linger ana` once, or install upkeep as root" in line(run)

    machine.run("loginctl", "enable-linger", "ana")
    machine.systemctl("start", f"user@{uid}.service")
    run = machine.run(*play, user="ana", check=False, **environment)
    assert run.returncode == 0, run.stdout
    ask = {"user": "ana", "XDG_RUNTIME_DIR": f"/run/user/{uid}", "HOME": str(folder)}
    listed = machine.run("systemctl", "--user", "list-timers", "--no-legend", "mtls-upkeep-*", **ask).stdout
    assert len(re.findall(r"mtls-upkeep-\w+\.timer", listed)) == 2
    assert "upkeep is installed" in home.told[-1]
    run = machine.run(*play, "-e", "mtls_upkeep_state=absent", user="ana", check=False, **environment)
    assert run.returncode == 0, run.stdout
    assert machine.run("find", folder, "-name", "*mtls-upkeep*").stdout == ""
