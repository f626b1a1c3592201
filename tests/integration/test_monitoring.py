# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs as a run makes them, and the commands of docs/monitoring.md, run as they stand there."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import gate, logrotate
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY, Site

DOC = (REPOSITORY / "docs" / "monitoring.md").read_text()
PLUGINS = "/usr/lib/nagios/plugins"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A service with a client that may enter, one that may not, and one that is revoked, each of whom came."""
    site = Site(tmp_path_factory.mktemp("monitored"))
    site.port = free_port()
    service = {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{site.port}", "root": "/srv"}
    nginx = site.add_host("nas", mtls_services=[{**service, "allow": ["monitor"]}])
    lost = {"name": "lost", "state": "present"}
    site.host_vars["nas"]["mtls_clients"] = [{"name": "monitor"}, {"name": "guest"}, lost]
    site.logs = nginx.folder / "log"
    site.ok()
    site.first = site.logs.joinpath("mtls-nas.access.log").stat(), site.logs.joinpath("mtls-nas.error.log").stat()
    lost["state"] = "revoked"
    site.ok()
    for client, status in (("monitor", 204), ("guest", 403), ("lost", 400), (None, 400)):
        assert site.status(site.port, "/.mtls-nginx-gate", client=client) == status
    yield site
    site.stop()


def command(program: str, served) -> list[str]:
    """The command of the page, with the paths and addresses of the test."""
    (text,) = re.findall(rf"^# ({program} .*)$", DOC, re.MULTILINE)
    certificate, key = served.identity("monitor")
    for documented, here in {
        "/var/log/nginx": str(served.logs),
        "192.0.2.7": "127.0.0.1",
        "nas.example.com": "nas.lan",
        "-p 443": f"-p {served.port}",
        "monitor.crt": certificate,
        "monitor.key": key,
        "report.json": str(served.folder / "report.json"),
    }.items():
        text = text.replace(documented, here)
    return shlex.split(text)


def run(words: list[str], folder) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:{PLUGINS}", "HOME": str(folder), "TERM": "dumb"}
    return subprocess.run(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_new_logs_are_as_logrotate_makes_them(served):
    wanted = logrotate.ownership()
    for status in served.first:
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (wanted.mode, wanted.uid, wanted.gid)
    if "create 0640 www-data adm" in Path("/etc/logrotate.d/nginx").read_text():  # Debian's own
        www_data, adm = pwd.getpwnam("www-data").pw_uid, grp.getgrnam("adm").gr_gid
        assert wanted == logrotate.Ownership(0o640, www_data, adm)


def test_goaccess_counts_the_clients(served):
    done = run(command("goaccess", served), served.folder)
    assert done.returncode == 0, done.stderr
    report = json.loads((served.folder / "report.json").read_text())
    assert report["general"]["failed_requests"] == 0
    assert {"CN=monitor", "CN=guest", "CN=lost", "-"} <= {each["data"] for each in report["remote_user"]["data"]}


def test_lnav_says_who_was_refused_and_why(served):
    shown = run(command("lnav", served), served.folder).stdout
    assert re.search(r"^ *204 SUCCESS +CN=monitor ", shown, re.MULTILINE), shown
    assert re.search(r"^ *403 SUCCESS +CN=guest ", shown, re.MULTILINE), shown
    assert re.search(r"^ *400 FAILED:certificate revoked +CN=lost ", shown, re.MULTILINE), shown


def test_check_http_is_content_where_the_gate_opens_and_nowhere_else(served):
    words = command("check_http", served)
    done = run(words, served.folder)
    assert (done.returncode, done.stdout[:7]) == (0, "HTTP OK"), done.stdout
    monitor, guest = served.identity("monitor"), served.identity("guest")
    refused = [word.replace(monitor[0], guest[0]).replace(monitor[1], guest[1]) for word in words]
    assert run(refused, served.folder).returncode == 2
    at = words.index("-J")
    assert run(words[:at] + words[at + 4 :], served.folder).returncode == 2
    # What the page warns of: any refusal passes.
    assert run([*refused[:-1], "HTTP/1.1 403"], served.folder).returncode == 0
    assert run([*words[:at], "-e", "400"], served.folder).returncode == 0


def test_what_each_run_leaves_in_the_error_log_is_no_error_to_the_doctor(served):
    """nginx writes that line for a certificate of the CA's name and another key, which the probe shows."""
    log = (served.logs / "mtls-nas.error.log").read_text()
    assert "[alert]" in log
    assert "ignoring stale global SSL error" in log
    nothing = str(served.folder / "nothing")
    paths = dict.fromkeys(("server_block", "maps", "ca", "crl", "revoked"), nothing)
    found = gate.state(gate.Gate(service="nas", variable="", log_dir=str(served.logs), **paths), "", "")["errors"]
    assert found
    assert not any("stale" in line for line in found)
