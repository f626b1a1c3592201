# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other ACME clients than Debian's certbot, and two machines whose own timers renew: against a real ACME server."""

from __future__ import annotations

import datetime
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

import pytest

from . import acme
from .booted import Booted
from .conftest import REPOSITORY
from .test_acme import BY_PEBBLE, PRIVATE, Public, gate, service

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not acme.PROGRAMS, reason="Pebble or certbot is not installed"),
]
DAY = datetime.timedelta(days=1)
MINUTE = 60  # seconds


@pytest.fixture(scope="module")
def sid(tmp_path_factory):
    """Debian's unstable Pebble, which has profiles, and acme.sh: unpacked, not installed."""
    root = tmp_path_factory.mktemp("sid") / "root"
    subprocess.run(
        [
            *("mmdebstrap", "--mode=root", "--variant=extract", "--aptopt=Acquire::Check-Valid-Until false"),
            *("--include=pebble,acme.sh", "sid", root),
        ],
        check=True,
        capture_output=True,
    )
    return root


@pytest.fixture(scope="module")
def newest_certbot(tmp_path_factory):
    """A folder with the newest certbot of PyPI, and no other program."""
    folder = tmp_path_factory.mktemp("certbot")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, capture_output=True)
    subprocess.run([folder / "venv/bin/pip", "install", "--quiet", "certbot"], check=True, capture_output=True)
    (folder / "bin").mkdir()
    (folder / "bin" / "certbot").symlink_to(folder / "venv/bin/certbot")
    return folder / "bin"


def lifetime(certificate):
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc


def test_the_newest_certbot_and_profiles(tmp_path, sid, newest_certbot):
    site = Public(tmp_path, {"nas.test": "127.0.0.1", "www.nas.test": "127.0.0.1"})
    try:
        site.pebble.stop()
        program = sid / "usr" / "bin" / "pebble"
        site.pebble = acme.Pebble(
            site.network, tmp_path / "newer", program=program, profiles={"classic": 90, "shortlived": 6}
        )
        site.trusting["REQUESTS_CA_BUNDLE"] = str(site.pebble.ca)
        site.trusting["PATH"] = f"{newest_certbot}:{os.environ['PATH']}"
        site.started_by = (*site.network.inside, "env", *(f"{name}={value}" for name, value in site.trusting.items()))
        site.all_vars["mtls_acme"]["profile"] = "shortlived"
        nas = service(server_names=["nas.test", "www.nas.test"])
        site.add_host("one", mtls_clients=[{"name": "phone"}], mtls_services=[nas])
        site.ok()
        first = site.certificate("nas.test")
        assert BY_PEBBLE.fullmatch(first.issuer.rfc4514_string())
        assert lifetime(first) <= 6 * DAY
        assert (gate(site), gate(site, "phone")) == (400, 204)
        again = site.ok("--diff")
        assert again.changed == 0, again.text

        # Before half its life there is nothing to do; what is renewed has the same profile.
        early = site.network.run(
            "faketime", "+48 hours", "certbot", "renew", "--no-random-sleep-on-renew", **site.trusting
        )
        assert "not yet due" in early.stdout, early.stdout
        assert "nginx reloaded" in site.renew("--force-renewal").stdout
        renewed = site.certificate("nas.test")
        assert renewed.serial_number != first.serial_number
        assert lifetime(renewed) <= 6 * DAY
        again = site.ok("--diff")
        assert again.changed == 0, again.text

        # A name fewer: certbot's timer would ask for it for ever.
        nas["server_names"] = ["nas.test"]
        site.ok()
        site.all_vars["mtls_acme"]["profile"] = "classic"
        site.ok()
        classic = site.certificate("nas.test")
        assert lifetime(classic) > 80 * DAY
        again = site.ok("--diff")
        assert again.changed == 0, again.text

        site.all_vars["mtls_acme"]["profile"] = "nosuch"
        said = site.refused()
        assert 'unrecognized profile name "nosuch"; see profile' in said
        site.all_vars["mtls_acme"]["profile"] = "classic"
        nas["server_names"] = ["nas.test", "elsewhere.test"]
        said = site.refused()
        assert re.search(r"elsewhere\.test: .*; it must reach port 80 of each name", said), said
        assert site.certificate("nas.test") == classic
        assert (gate(site), gate(site, "phone")) == (400, 204)
    finally:
        site.stop()


HOSTS = {"one": ("a.test", "10.23.0.2"), "two": ("b.test", "10.24.0.2")}
# certbot's timer, but every twenty seconds where it is twice a day.
OFTEN = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/20\nRandomizedDelaySec=0\nAccuracySec=1s\n"
VALID = 3 * MINUTE


class Machines(Public):
    """Two machines with Debian's nginx and certbot, started by their systemd; the controller is neither of them."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder, dict(HOSTS.values()))
        self.machines: dict[str, Booted] = {}
        self.pebble.restart(days=VALID / 86400)
        self.started_by = (*self.network.inside, "env", "ANSIBLE_PIPELINING=true")
        for name, (server_name, address) in HOSTS.items():
            (folder / name).mkdir()
            self.machines[name] = machine = Booted(folder / name)
            self.network.connect(machine.pid, address)
            python = folder / f"python-{name}"
            python.write_text(f'#!/bin/sh\nexec nsenter --target {machine.pid} --all /usr/bin/python3 "$@"\n')
            python.chmod(0o755)
            machine.run("sh", "-c", 'printf %s "$0" >>/etc/ssl/certs/ca-certificates.crt', self.pebble.ca.read_text())
            machine.run(
                *("sh", "-c", 'mkdir /etc/systemd/system/certbot.timer.d; printf "$0" >"$1"; rm -rf $2; $3'),
                *(OFTEN, "/etc/systemd/system/certbot.timer.d/often.conf"),
                "/etc/letsencrypt/*/ /etc/nginx/conf.d/* /etc/nginx/sites-enabled/* /etc/nginx/client-certs",
                "systemctl daemon-reload",
            )
            machine.run("systemctl", "enable", "--now", "nginx")
            self.add_host(
                f"at-{name}",
                mtls_services=[service(f"service-{name}", server_name)],
                ansible_python_interpreter=str(python),
                mtls_probe_address=address,
            )
            for variable in ("mtls_nginx_conf", "mtls_nginx_log_dir"):
                del self.host_vars[f"at-{name}"][variable]

    def served(self):
        return {name: self.certificate(*where) for name, where in HOSTS.items()}

    def stop(self) -> None:
        for machine in self.machines.values():
            machine.off()
        super().stop()


def test_two_machines_live_through_renewals_by_their_own_timers(tmp_path):
    site = Machines(tmp_path)
    try:
        site.all_vars["mtls_fleet_clients"] = [{"name": "phone"}]
        site.ok()
        seen = {name: {certificate.serial_number} for name, certificate in site.served().items()}
        assert all(BY_PEBBLE.fullmatch(site.issuer(*where)) for where in HOSTS.values())
        for machine in site.machines.values():
            assert machine.systemctl("is-enabled", "certbot.timer").strip() == "enabled"
            assert machine.systemctl("is-active", "certbot.timer").strip() == "active"
        started = {name: each.systemctl("show", "nginx", "--property=MainPID") for name, each in site.machines.items()}
        first_end = max(certificate.not_valid_after_utc for certificate in site.served().values())

        # Nobody touches them, until no certificate of the beginning is valid any more.
        deadline = time.monotonic() + 10 * MINUTE
        now = datetime.datetime.now(datetime.UTC)
        while now <= first_end or min(map(len, seen.values())) < 3:
            assert time.monotonic() < deadline, (
                site.machines["one"].run("journalctl", "-u", "certbot", check=False).stdout
            )
            time.sleep(2)
            now = datetime.datetime.now(datetime.UTC)
            for name, certificate in site.served().items():
                seen[name].add(certificate.serial_number)
                assert certificate.not_valid_after_utc > now
        for name, machine in site.machines.items():
            server_name, address = HOSTS[name]
            assert (gate(site, None, address, server_name), gate(site, "phone", address, server_name)) == (400, 204)
            assert machine.systemctl("show", "nginx", "--property=MainPID") == started[name]

        # Back to the authority's own: certbot has nothing to renew any more.
        for name in HOSTS:
            del site.host_vars[f"at-{name}"]["mtls_services"][0]["certificate"]
        site.ok()
        assert {site.issuer(*where) for where in HOSTS.values()} == {PRIVATE}
        for machine in site.machines.values():
            assert "No certificates found" in machine.run("certbot", "certificates").stdout
        again = site.ok("--diff")
        assert again.changed == 0, again.text
    finally:
        site.stop()


DOCS = (REPOSITORY / "docs" / "services.md").read_text(encoding="utf-8")
WEBROOT = "/var/www/acme"


def documented(client):
    """What docs/services.md has in the row of an ACME client: its lines of code."""
    (row,) = re.findall(rf"^\| {re.escape(client)} \| (.*) \|$", DOCS, re.MULTILINE)
    return re.findall(r"`([^`]+)`", row)


class Lego:
    """Debian's lego 4."""

    def __init__(self, site, name):
        self.site, self.name, self.folder = site, name, site.folder / "lego"
        self.path = self.folder / "certificates" / f"{name}.crt"
        self.key = self.folder / "certificates" / f"{name}.key"

    def _call(self, *words):
        common = ("--server", acme.DIRECTORY_URL, "--accept-tos", "--email", "ana@example.com", "--path", self.folder)
        where = ("--domains", self.name, "--http", "--http.webroot", WEBROOT)
        return self.site.network.run(
            "lego", *map(str, (*common, *where)), *words, LEGO_CA_CERTIFICATES=str(self.site.pebble.ca)
        )

    def obtain(self):
        line = shlex.split(documented("lego")[0])
        return self._call(*line[line.index("run") :])

    def renew(self):
        return self._call(*shlex.split(documented("lego")[1]), "--days", "1000", "--no-random-sleep")


class Dehydrated:
    """Debian's dehydrated."""

    def __init__(self, site, name):
        self.site, self.name, self.folder = site, name, site.folder / "dehydrated"
        self.path = self.folder / "certs" / name / "fullchain.pem"
        self.key = self.folder / "certs" / name / "privkey.pem"
        self.folder.mkdir()
        hook = self.folder / "hook.sh"
        hook.write_text(f"#!/bin/sh\n{documented('dehydrated')[-1]}\n")
        hook.chmod(0o755)
        (self.folder / "config").write_text(
            f"CA={acme.DIRECTORY_URL}\nWELLKNOWN={WEBROOT}/.well-known/acme-challenge\nHOOK={hook}\n"
            f"BASEDIR={self.folder}\nCURL_OPTS='--cacert {site.pebble.ca}'\n"
        )

    def _call(self, *words):
        return self.site.network.run("dehydrated", "--config", str(self.folder / "config"), *words)

    def obtain(self):
        registered = self._call("--register", "--accept-terms")
        assert registered.returncode == 0, registered.stdout
        return self._call("--cron", "--domain", self.name)

    def renew(self):
        return self._call("--cron", "--force", "--domain", self.name)


class AcmeSh:
    """acme.sh of Debian's unstable."""

    def __init__(self, site, name, script):
        self.site, self.name, self.folder, self.script = site, name, site.folder / "acme.sh", script
        self.path, self.key = self.folder / "fullchain.pem", self.folder / "key.pem"
        self.folder.mkdir()

    def _call(self, *words):
        home = ("--home", str(self.folder), "--ca-bundle", str(self.site.pebble.ca))
        return self.site.network.run("sh", str(self.script), *words, *home, CURL_CA_BUNDLE=str(self.site.pebble.ca))

    def obtain(self):
        how = ("--issue", "--domain", self.name, "--webroot", WEBROOT, "--server", acme.DIRECTORY_URL)
        issued = self._call(*how)
        assert issued.returncode == 0, issued.stdout
        _program, *line = shlex.split(documented("acme.sh")[0])
        there = {"photos.example.com": self.name, "fullchain.pem": str(self.path), "key.pem": str(self.key)}
        return self._call(*(there.get(pathlib.PurePath(word).name, word) for word in line))

    def renew(self):
        return self._call("--renew", "--force", "--domain", self.name, "--server", acme.DIRECTORY_URL)


@pytest.mark.skipif(not all(map(shutil.which, ("lego", "dehydrated"))), reason="lego or dehydrated is not installed")
def test_the_hooks_of_the_documentation(tmp_path, sid):
    """Each client obtains through port 80 of the gate; what it renews is served without a run."""
    names = ("nas.test", "www.nas.test", "b.test")
    site = Public(tmp_path, dict.fromkeys(names, "127.0.0.1"))
    try:
        clients = [
            Lego(site, names[0]),
            Dehydrated(site, names[1]),
            AcmeSh(site, names[2], sid / "usr/share/acme.sh/acme.sh"),
        ]
        services = [
            service(
                f"by-{type(client).__name__.lower()}",
                client.name,
                certificate={"path": str(client.path), "key": str(client.key)},
                redirect_http=True,
                acme_root=WEBROOT,
            )
            for client in clients
        ]
        one = site.add_host("one", mtls_clients=[{"name": "phone"}], mtls_services=services)
        # Where the hooks' nginx looks.
        conf = one.conf.read_text().replace("include conf.d", f"include {one.folder}/conf.d")
        site.network.run("sh", "-c", f'printf %s "$0" >/etc/nginx/nginx.conf; mkdir -p {WEBROOT}', conf)
        site.ok()
        assert {site.issuer(name) for name in names} == {PRIVATE}
        for client in clients:
            said = client.obtain()
            assert said.returncode == 0, said.stdout
        site.ok()
        for client in clients:
            before = site.certificate(client.name)
            assert BY_PEBBLE.fullmatch(before.issuer.rfc4514_string())
            said = client.renew()
            assert said.returncode == 0, said.stdout
            deadline = time.monotonic() + 20
            while site.certificate(client.name) == before:
                assert time.monotonic() < deadline, said.stdout
                time.sleep(0.2)
            assert (gate(site, None, name=client.name), gate(site, "phone", name=client.name)) == (400, 204)
        again = site.ok("--diff")
        assert again.changed == 0, again.text
    finally:
        site.stop()
