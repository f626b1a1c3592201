# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that fetches its CRL, on a machine whose systemd has booted. Each test builds on the last.

`web` serves the CRL, `home` fetches it, and the controller that revokes never reaches `home`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host.crl_place import Place

from .booted import Booted
from .conftest import REPOSITORY, Site


class Home:
    """A machine with two hosts, which is its own controller."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder / "home")
        for name, port in (("web", 8443), ("home", 8444)):
            self.site.add_host(name)
            self.site.host_vars[name] |= {
                "mtls_services": [
                    {"name": name, "server_names": [f"{name}.lan"], "listen": f"127.0.0.1:{port}", "root": "/srv"}
                ],
                "mtls_textfile_dir": str(folder / name),
            }
        self.metrics = folder / "home" / "mtls_nginx_crl_fetch.prom"
        self.site.host_vars["home"] |= {"mtls_crl_url": "http://crl.lan:8081/crl.pem", "mtls_crl_fetch_minutes": 5}
        self.published = folder / "published" / "crl.pem"
        self.site.all_vars |= {
            "ansible_become": False,
            "mtls_fleet_clients": [{"name": "phone"}, {"name": "laptop"}],
            "mtls_crl_publish": {
                "host": "web",
                "server_name": "crl.lan",
                "port": 8081,
                "file": str(self.published),
                "command": ["tee", str(folder / "by-command")],
            },
        }
        self.name = Place.of(str(self.site.hosts["home"].conf)).name
        self.service, self.timer = f"{self.name}.service", f"{self.name}.timer"
        self.by_command = folder / "by-command"
        self.environment = {
            "PATH": os.environ["PATH"],
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "build" / "collections"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
        }
        self.machine = Booted(folder, folder, REPOSITORY, Path(sys.prefix), Path(sys.base_prefix))
        self.machine.run("sh", "-c", "echo 127.0.0.1 localhost crl.lan >/etc/hosts")

    def play(self, playbook: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        self.site.write()
        command = ["ansible-playbook", "-i", self.site.source, playbook]
        run = self.machine.run(*command, *arguments, check=False, **self.environment)
        assert "Traceback" not in run.stdout, run.stdout
        return run

    def fetch(self) -> bool:
        """What the timer does."""
        return self.machine.run("systemctl", "start", self.service, check=False).returncode == 0

    def journal(self) -> str:
        return self.machine.run("journalctl", "--no-pager", "--output=cat", f"--unit={self.service}").stdout

    def left(self) -> str:
        """The files of fetching that are anywhere on the machine."""
        return self.machine.run("find", "/etc", "/var", "-name", "*mtls-crl*").stdout

    def status(self, client: str) -> str:
        """What `home` answers somebody who asks for the gate."""
        stem = self.site.pki / "clients" / client / client
        address = "https://home.lan:8444/.mtls-nginx-gate"
        to = ("--resolve", "home.lan:8444:127.0.0.1", "--cert", f"{stem}.crt", "--key", f"{stem}.key")
        shown = ("--silent", "--insecure", "--output", "/dev/null", "--write-out", "%{http_code}")
        return self.machine.run("curl", *shown, *to, address).stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = Home(tmp_path_factory.mktemp("crl"))
    yield made
    made.machine.off()


def test_it_is_installed_and_started(home):
    run = home.play("mtls.nginx.site")
    assert run.returncode == 0, run.stdout
    units = [f"/etc/systemd/system/{unit}" for unit in (home.service, home.timer)]
    assert home.machine.run("systemd-analyze", "verify", "--man=no", *units).stdout == ""
    assert home.machine.systemctl("is-enabled", home.timer) == "enabled\n"
    assert home.machine.systemctl("is-active", home.timer) == "active\n"
    shown = home.machine.systemctl("show", home.timer, "--property=TimersMonotonic,RandomizedDelayUSec")
    assert "OnUnitActiveUSec=5min" in shown
    assert "RandomizedDelayUSec=30s" in shown
    crl = (home.site.pki / "crl.pem").read_bytes()
    assert home.published.read_bytes() == home.by_command.read_bytes() == crl
    served = home.machine.run("curl", "--silent", "--include", "http://crl.lan:8081/crl.pem").stdout
    assert "Cache-Control: no-cache" in served
    assert served.endswith(crl.decode())
    assert home.machine.run("curl", "--silent", "http://crl.lan:8081/nas", "--write-out", "%{http_code}").stdout[
        -3:
    ] == ("404")


def test_a_second_run_changes_nothing(home):
    run = home.play("mtls.nginx.site")
    assert re.findall(r"changed=(\d+)", run.stdout) == ["0", "0"], run.stdout
    assert "nginx_crl_fetch" not in run.stdout


def test_who_is_revoked_where_the_host_is_not_reached_is_out_after_the_next_fetch(home):
    assert home.fetch()
    run = home.play("mtls.nginx.revoke", "-e", "mtls_revoke=phone", "-e", "mtls_hosts=web")
    assert run.returncode == 0, run.stdout
    assert home.status("phone") == "204"
    assert home.fetch(), home.journal()
    assert home.status("phone") == "400"
    assert home.status("laptop") == "204"
    assert "CRL 2 of CN=Test Root CA,O=Test,C=ES is in place (files: " in home.journal()
    assert "mtls_nginx_crl_fetch_failed 0\n" in home.metrics.read_text()


def test_the_next_run_finds_everything_as_it_should_be(home):
    home.site.all_vars["mtls_fleet_clients"][0]["state"] = "revoked"
    run = home.play("mtls.nginx.site")
    assert re.search(r"^home +: ok=\d+ +changed=0 .*failed=0", run.stdout, re.MULTILINE), run.stdout


def test_what_goes_wrong_is_in_the_journal_in_the_metrics_and_in_the_status(home):
    home.site.host_vars["home"]["mtls_crl_url"] = "http://crl.lan:8082/crl.pem"
    run = home.play("mtls.nginx.site", "--limit", "home")
    assert run.returncode == 0, run.stdout
    assert "the first time failed: http://crl.lan:8082/crl.pem: cannot be fetched" in " ".join(run.stdout.split())
    assert not home.fetch()
    refused = "http://crl.lan:8082/crl.pem: cannot be fetched ([Errno 111] Connection refused); check that server"
    assert refused in home.journal()
    assert "mtls_nginx_crl_fetch_failed 1\n" in home.metrics.read_text()
    run = home.play("mtls.nginx.status", "-e", "mtls_status_live=true")
    assert f"Hosts that cannot fetch their CRL: home ({refused})" in " ".join(run.stdout.split())
    assert home.status("phone") == "400"
    assert home.status("laptop") == "204"


def test_a_timer_that_somebody_stopped_is_started_again(home):
    home.site.host_vars["home"]["mtls_crl_url"] = "http://crl.lan:8081/crl.pem"
    home.machine.systemctl("stop", home.timer)
    assert home.play("mtls.nginx.site").returncode == 0
    assert home.machine.systemctl("is-active", home.timer) == "active\n"
    assert home.fetch(), home.journal()


def test_a_crl_that_cannot_be_published_reaches_the_hosts_and_fails_the_run(home):
    home.site.all_vars["mtls_crl_publish"]["command"] = ["false"]
    run = home.play("mtls.nginx.revoke", "-e", "mtls_revoke=laptop")
    assert run.returncode != 0
    said = " ".join(run.stdout.split())
    assert "since it was not published: mtls_crl_publish: false ended with status 1: it said nothing." in said
    assert home.status("laptop") == "400"
    home.site.all_vars["mtls_crl_publish"]["command"] = []


def test_a_host_that_the_controller_does_not_reach_tells_somebody(home):
    said = home.site.folder / "said"
    command = home.site.folder / "notify"
    command.write_text(f"#!/bin/sh\ncat >>{said}\n")
    command.chmod(0o755)
    # Which fetches nothing, and watches all the same.
    del home.site.host_vars["home"]["mtls_crl_url"]
    home.site.host_vars["home"] |= {"mtls_host_notify_command": [str(command)], "mtls_upkeep_warn_days": 2}
    assert home.play("mtls.nginx.site", "--limit", "home").returncode == 0
    assert home.machine.systemctl("is-active", home.timer) == "active\n"
    run = home.play("mtls.nginx.site", "--limit", "home")
    assert re.search(r"^home +: ok=\d+ +changed=0 .*failed=0", run.stdout, re.MULTILINE), run.stdout
    assert home.fetch(), home.journal()
    assert not said.exists()
    home.machine.run("touch", "--date=3 days ago", f"/var/lib/{home.name}/heard")
    assert home.fetch(), home.journal()
    assert ": no word from the controller for 3 days\n\n" in said.read_text()
    assert "mtls_nginx_upkeep_late 1\n" in home.metrics.read_text()
    home.play("mtls.nginx.status", "-e", "mtls_status_live=true")  # which only looks
    assert home.fetch(), home.journal()
    assert said.read_text().count("mtls.nginx on ") == 1
    # An unchanged host is reached by one question.
    assert home.play("mtls.nginx.site", "--limit", "home").returncode == 0
    assert home.fetch(), home.journal()
    assert said.read_text().splitlines()[-3].endswith(": all is well again")
    assert "mtls_nginx_upkeep_late 0\n" in home.metrics.read_text()


def test_nothing_of_it_is_left(home):
    home.site.host_vars["home"]["mtls_host_notify_command"] = []
    home.site.all_vars["mtls_fleet_clients"][1]["state"] = "revoked"
    run = home.play("mtls.nginx.site")
    assert run.returncode == 0, run.stdout
    assert home.left() == ""
    assert not home.metrics.exists()
    assert home.machine.systemctl("list-units", "--all", "--no-legend", "mtls-crl*") == ""
