# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs of site.yml at once, each with a slice of the hosts, as AWX starts them: both sign, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
import yaml

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import SITE, tree

SLICES = ("one", "two")


@pytest.fixture
def sliced(site, upstream):
    """Two hosts, each with a client of its own, and clients of the whole fleet."""
    site.ports = {}
    site.all_vars["mtls_fleet_clients"] = [{"name": f"phone-{number}"} for number in range(20)]
    for name in SLICES:
        site.ports[name] = free_port()
        listen = f"127.0.0.1:{site.ports[name]}"
        site.add_host(name, mtls_clients=[{"name": f"laptop-{name}"}])
        site.host_vars[name]["mtls_services"] = [
            {"name": "nas", "server_names": ["nas.lan"], "listen": listen, "upstream": upstream}
        ]
    return site


def run_at_once(site) -> None:
    """Each with an inventory that has its own hosts only."""
    site.write()
    running = []
    for name in SLICES:
        inventory = site.inventory / f"slice-{name}.yml"
        inventory.write_text(yaml.safe_dump({"mtls_servers": {"hosts": {name: {}}}}))
        running.append(
            subprocess.Popen(
                ["ansible-playbook", "-i", inventory, SITE],
                cwd=site.folder,
                env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    for process in running:
        text, _nothing = process.communicate(timeout=300)
        assert process.returncode == 0, text


def test_in_one_directory_its_lock_holds_them_apart(sliced):
    site = sliced
    run_at_once(site)
    lines = [line.split("\t") for line in (site.pki / "index.txt").read_text().splitlines()]
    subjects = sorted(line[5] for line in lines if "phone" in line[5] or "laptop" in line[5])
    assert subjects == sorted(
        [f"/CN=phone-{number}" for number in range(20)] + [f"/CN=laptop-{name}" for name in SLICES]
    )
    assert len({line[3] for line in lines}) == len(lines) == 24  # and two server certificates
    assert {site.status(port, client="phone-7") for port in site.ports.values()} == {200}


def test_with_a_server_each_has_a_directory_of_its_own(sliced, openbao):
    site = sliced
    del site.all_vars["mtls_ca_passphrase"], site.all_vars["mtls_ca_subject"]
    settings = openbao.authority()
    site.all_vars |= {"mtls_ca_backend": "openbao", "mtls_ca_openbao": settings}
    for name in SLICES:
        site.host_vars[name]["mtls_ca_dir"] = f"pki-{name}"
    run_at_once(site)
    issued = openbao.ask("LIST", f"{settings['mount']}/certs")["keys"]
    assert len(issued) == 25, "20 of the fleet once, a laptop and a server each, and the CA"
    for name, port in site.ports.items():
        folder = site.inventory / f"pki-{name}" / "clients" / f"laptop-{name}"
        identity = (str(folder / f"laptop-{name}.crt"), str(folder / f"laptop-{name}.key"))
        assert site.status(port, identity=identity) == 200


def test_a_copy_for_each_job_signs_nothing(sliced, monkeypatch, tmp_path):
    """AWX: each slice has a checkout of its own, with an authority in it that would be forgotten."""
    site = sliced
    site.ok()
    for name in SLICES:
        checkout = tmp_path / f"awx_{name}" / "project"
        shutil.copytree(site.inventory, checkout)
        inventory = checkout / f"slice-{name}.yml"
        inventory.write_text(yaml.safe_dump({"mtls_servers": {"hosts": {name: {}}}}))
        fleet = {"mtls_fleet_clients": [{"name": f"new-{name}"}]}
        (checkout / "group_vars" / "all" / "more.yml").write_text(yaml.safe_dump(fleet))
        before = tree(checkout / "pki")
        job = {"AWX_PRIVATE_DATA_DIR": str(checkout.parent), "AWX_ISOLATED_DATA_DIR": "/runner/artifacts/61"}
        for extra in ([], ["--check"], ["-e", "mtls_replace_authority=true"]):
            done = subprocess.run(
                ["ansible-playbook", "-i", inventory, SITE, *extra],
                cwd=checkout,
                env={**os.environ, "ANSIBLE_NOCOLOR": "1", **job},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode != 0
            said = " ".join((done.stdout + done.stderr).split())
            assert f"{checkout}/pki: lies in the folder of this AWX job" in said
            assert "Traceback" not in said
        assert tree(checkout / "pki") == before
    # Where the directory is somewhere else, it is one for all.
    monkeypatch.setenv("AWX_PRIVATE_DATA_DIR", str(tmp_path / "awx_one"))
    assert site.ok().changed == 0
