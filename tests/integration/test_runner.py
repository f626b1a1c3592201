# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As AWX does it: the job under ansible-runner, and an execution environment by ansible-builder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import ansible_runner
import pytest
import yaml

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY


def test_the_job_runs_unchanged_under_ansible_runner(site, upstream, tmp_path):
    port = free_port()
    site.all_vars["mtls_fleet_clients"] = [{"name": "phone"}]
    service = {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
    site.add_host("nas", mtls_services=[service])
    site.write()

    def job():
        return ansible_runner.run(
            private_data_dir=str(tmp_path / "job"),
            playbook="mtls.nginx.site",
            inventory=str(site.source),
            envvars={"ANSIBLE_NOCOLOR": "1"},
            quiet=True,
        )

    (tmp_path / "job").mkdir()
    first = job()
    assert (first.status, first.rc) == ("successful", 0), first.stdout.read()
    assert site.status(port, client="phone") == 200
    assert site.status(port) == 400
    assert "MTLS SUMMARY" in first.stdout.read()
    assert job().stats["changed"] == {}


@pytest.fixture
def installed(tmp_path):
    """The collection as `ansible-galaxy` installs it, and its tarball where the example expects it."""
    galaxy = yaml.safe_load((REPOSITORY / "galaxy.yml").read_text())
    example = REPOSITORY / "examples" / "execution-environment" / "execution-environment.yml"
    there = tmp_path / example.relative_to(REPOSITORY)
    there.parent.mkdir(parents=True)
    shutil.copy(example, there)
    # Nothing else on the paths: what is installed somewhere already is not installed again.
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path)}
    environment.pop("PYTHONPATH", None)
    for command in (
        ["build", "--output-path", tmp_path / "build", REPOSITORY],
        ["install", "--offline", "--collections-path", tmp_path, tmp_path / "build" / tarball(galaxy)],
    ):
        subprocess.run(["ansible-galaxy", "collection", *command], env=environment, check=True, capture_output=True)
    return tmp_path, there


def tarball(galaxy) -> str:
    return f"{galaxy['namespace']}-{galaxy['name']}-{galaxy['version']}.tar.gz"


def test_an_execution_environment_gets_what_the_collection_needs(installed):
    folder, definition = installed
    context = folder / "context"
    done = subprocess.run(
        ["ansible-builder", "create", "--file", definition, "--context", context],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((context / "_build" / "collection").glob("mtls-nginx-*.tar.gz"))
    assert "mtls-nginx" in (context / "_build" / "requirements.yml").read_text()

    # What `ansible-builder build` then runs inside: it reads the collection's meta/execution-environment.yml.
    introspect = context / "_build" / "scripts" / "introspect.py"
    needed = subprocess.run(
        [sys.executable, introspect, "introspect", folder], capture_output=True, text=True, check=True
    ).stdout
    assert "cryptography>=42" in needed
