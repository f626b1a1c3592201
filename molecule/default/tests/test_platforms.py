# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every platform, guarded: who gets in from outside, and what the host's own service manager says."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import subprocess

import pytest
import yaml

HOSTS = tuple(
    yaml.safe_load((pathlib.Path(__file__).parents[1] / "inventory" / "hosts.yml").read_text())["mtls_servers"]["hosts"]
)
each_host = pytest.mark.parametrize("name", HOSTS)


@each_host
def test_only_who_is_on_the_list_sees_the_page(site, name):
    service = f"{name}.test"
    answer = site.ask(name, service, client="phone")
    assert (answer.status, answer.body.strip()) == (200, f"Inside {name}")
    assert site.status(name, service, client="laptop") == 403
    assert site.status(name, service) == 400


@each_host
def test_without_a_list_every_client_passes_the_gate(site, name):
    service = f"photos.{name}.test"
    # Nothing runs behind this gate: 502 is said by who has got past it.
    assert [site.status(name, service, client=client) for client in ("phone", "laptop", None)] == [502, 502, 400]


@each_host
def test_the_public_path_needs_no_certificate(site, name):
    assert site.status(name, f"{name}.test", "/public/nothing-here") == 404
    assert site.status(name, f"{name}.test", "/private") == 400


@each_host
def test_the_service_manager_runs_nginx_now_and_at_boot(on, name):
    nginx = on(name).service("nginx")
    assert nginx.is_running
    assert nginx.is_enabled


@each_host
def test_no_key_but_the_servers_own_is_on_the_host(on, name):
    found = on(name).run("grep -rl 'PRIVATE KEY' /etc/nginx").stdout.split()
    assert sorted(found) == ["/etc/nginx/server-certs/nas.key", "/etc/nginx/server-certs/photos.key"]
    for path in found:
        file = on(name).file(path)
        assert (file.user, file.mode) == ("root", 0o600)


@each_host
def test_a_restart_of_the_host_keeps_the_gate(site, on, name):
    assert on(name).run("systemctl restart nginx").rc == 0
    assert site.status(name, f"{name}.test", client="phone") == 200
    assert site.status(name, f"{name}.test") == 400


def test_what_was_really_run_is_written_down(on):
    """The rows of docs/platforms.md."""
    rows = []
    for name in HOSTS:
        host = on(name)
        image = subprocess.run(
            ["docker", "inspect", "--format", '{{index .Config.Labels "mtls.nginx.origin"}}', name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        rows.append(
            {
                "host": name,
                "image": image,
                "system": host.check_output("sed -n 's/^PRETTY_NAME=//p' /etc/os-release").strip('"'),
                "nginx": host.check_output("nginx -v 2>&1").rpartition("/")[2],
                "python": host.check_output("/usr/bin/python3 --version").split()[1],
                "ansible-core": importlib.metadata.version("ansible-core"),
            }
        )
    report = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "build" / "molecule" / "platforms.json"
    report.write_text(json.dumps(rows, indent=2) + "\n")
    assert all(row["image"] for row in rows)
