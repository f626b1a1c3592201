# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts the program that fetches a CRL where there is no systemd."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_timer, nginx_process
from ansible_collections.mtls.nginx.plugins.module_utils.host.crl_place import Place
from ansible_collections.mtls.nginx.plugins.module_utils.site import crl_program
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.tests.unit.crl_programs import NGINX, URL
from ansible_collections.mtls.nginx.tests.unit.crl_programs import files as program


@pytest.fixture
def place(tmp_path):
    for name in ("data", "units", "cron"):
        (tmp_path / name).mkdir()
    return Place("mtls-crl", str(tmp_path / "data"), str(tmp_path / "units"), str(tmp_path / "cron"))


@pytest.fixture
def timer(place):
    return crl_timer.Timer(place, systemd=False)


def files(tmp_path):
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


def test_nothing_is_there(timer, place):
    assert (timer.digest(), place.exists) == (None, False)


def test_cron_starts_it(timer, place, tmp_path):
    wanted = program()
    timer.install(wanted)
    assert timer.digest() == crl_timer.fingerprint(wanted)
    comment, line = (tmp_path / "cron" / "mtls-crl").read_text().splitlines()
    assert comment.startswith("# Written by mtls.nginx")
    assert line == f"*/20 * * * * root {sys.executable} -I -B {place.program} {place.folder}"
    # The program itself, with nothing but Python; there is no nginx that it could guard.
    done = subprocess.run([sys.executable, "-I", "-S", "-B", place.program, place.folder], check=False)
    assert done.returncode == 1
    failure = json.loads((tmp_path / "data" / "mtls-crl" / "state.json").read_text())[""]["failure"]
    missing = "/etc/nginx/client-certs/crl.pem: is missing, and only the controller installs the first one"
    assert failure == f"{missing}; run mtls.nginx.site"
    # What it remembers is no difference.
    assert timer.digest() == crl_timer.fingerprint(wanted)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data/mtls-crl/settings.json", "{}"),
        ("data/mtls-crl/program/__main__.py", "import os"),
        ("data/mtls-crl/program/more.py", ""),
        ("cron/mtls-crl", "# nothing"),
        ("data/mtls-crl/minutes", "soon"),
    ],
)
def test_whatever_was_changed_is_put_right(timer, tmp_path, name, text):
    wanted = program()
    timer.install(wanted)
    before = files(tmp_path)
    (tmp_path / name).write_text(text)
    assert timer.digest() != crl_timer.fingerprint(wanted)
    timer.install(wanted)
    assert timer.digest() == crl_timer.fingerprint(wanted)
    assert files(tmp_path) == before


def test_another_address_or_another_interval_is_a_difference(timer):
    timer.install(program())
    assert timer.digest() != crl_timer.fingerprint(program(minutes=30))
    assert timer.digest() != crl_timer.fingerprint(program({"": "http://other/crl.pem"}))


def test_all_of_it_is_removed(timer, place, tmp_path):
    metrics = tmp_path / "mtls_nginx_crl_fetch.prom"
    metrics.write_text("")
    textfile = {"path": str(tmp_path / "mtls_nginx.prom"), "authorities": [], "certificates": []}
    timer.install(program(textfile=textfile))
    assert place.exists
    timer.remove()
    assert files(tmp_path) == []
    assert (timer.digest(), place.exists) == (None, False)
    timer.remove()


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """In the place of systemd's program: it says what the test wants, and keeps its arguments."""
    (tmp_path / "bin").mkdir()
    path = tmp_path / "bin" / "systemctl"

    def says(script):
        path.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/bin/called\n{script}\n')
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    says("echo ActiveState=active; echo UnitFileState=enabled")
    return says


def test_systemd_takes_over_from_cron_and_gives_back(systemctl, place, timer, tmp_path):
    """As where systemd comes to a host later, or an image is moved into a container."""
    wanted, other = program(), crl_timer.Timer(place, systemd=True)
    timer.install(wanted)
    other.install(wanted)
    assert sorted(path.name for path in (tmp_path / "units").iterdir()) == ["mtls-crl.service", "mtls-crl.timer"]
    assert not (tmp_path / "cron" / "mtls-crl").exists()
    called = (tmp_path / "bin" / "called").read_text().splitlines()
    assert called == ["daemon-reload", "enable mtls-crl.timer", "restart mtls-crl.timer"]
    assert "OnUnitActiveSec=20min\n" in (tmp_path / "units" / "mtls-crl.timer").read_text()
    assert "RandomizedDelaySec=120s\n" in (tmp_path / "units" / "mtls-crl.timer").read_text()  # a tenth of that
    assert (other.digest(), timer.digest()) == (crl_timer.fingerprint(wanted), None)
    systemctl("echo ActiveState=inactive; echo UnitFileState=enabled")
    assert other.digest() is None
    timer.install(wanted)
    assert list((tmp_path / "units").iterdir()) == []
    assert timer.digest() == crl_timer.fingerprint(wanted)


def test_what_systemd_says_is_said(systemctl, place, tmp_path, monkeypatch):
    timer = crl_timer.Timer(place, systemd=True)
    systemctl('case $1 in enable) echo "Unit is masked." >&2; exit 1;; esac')
    with pytest.raises(MtlsError, match=r"^systemctl enable mtls-crl\.timer: Unit is masked\.$"):
        timer.install(program())
    with monkeypatch.context() as patched:
        patched.setattr(nginx_process, "COMMAND_TIMEOUT", 0.1)
        systemctl("exec sleep 30")
        with pytest.raises(MtlsError, match=r"^'systemctl daemon-reload' did not finish within 0 seconds$"):
            timer.install(program())
    # A failure that nothing has is none.
    systemctl("case $1 in reset-failed) exit 1;; esac")
    timer.remove()
    assert files(tmp_path) == ["bin/called", "bin/systemctl"]
    called = (tmp_path / "bin" / "called").read_text().splitlines()
    assert called[-3:] == ["disable --now mtls-crl.timer", "daemon-reload", "reset-failed mtls-crl.service"]


def test_a_host_without_services_fetches_nothing():
    assert program(state="absent") is None


def test_each_authority_has_an_address_of_its_own():
    services = parse_services(
        "nas",
        [
            {"name": "nas", "server_names": ["a"], "root": "/srv"},
            {"name": "wiki", "server_names": ["b"], "root": "/srv", "authority": "/pki/partners"},
        ],
    )
    urls = {"": URL, "partners": "http://partners.example.com/crl.pem", "gone": "http://gone.example.com/crl.pem"}
    found = crl_program.program_files("/etc/nginx", services, urls, minutes=60, nginx=NGINX, textfile=None)
    sources = json.loads(found["settings.json"])["sources"]
    assert [(source["name"], source["url"], source["crl"]) for source in sources] == [
        ("", URL, "/etc/nginx/client-certs/crl.pem"),
        ("partners", "http://partners.example.com/crl.pem", "/etc/nginx/client-certs/partners/crl.pem"),
    ]


@pytest.mark.parametrize("url", ["crl.example.com", "ftp://a/crl.pem", "https://a/crl .pem", "https://a/\n"])
def test_no_address(url):
    with pytest.raises(crl_program.MtlsError, match="is not an address; write https://"):
        program({"": url})


@pytest.mark.parametrize(
    ("minutes", "fields"), [(1, "*/1 * * * *"), (30, "*/30 * * * *"), (60, "7 */1 * * *"), (1440, "7 */24 * * *")]
)
def test_crons_words(minutes, fields):
    assert crl_timer.cron_of(minutes) == fields
