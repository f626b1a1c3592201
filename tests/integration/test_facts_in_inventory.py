# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory that is made of facts, while nobody has gathered them, or only those of the hosts of the run."""

from __future__ import annotations

import subprocess

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY

REVOKE, REFRESH = (REPOSITORY / "playbooks" / f"{name}.yml" for name in ("revoke", "refresh_crl"))


def test_facts_that_are_missing(site, upstream):
    for name in ("one", "two"):
        site.add_host(name)
        listen = f"127.0.0.1:{free_port()}"
        service = {"name": "nas", "server_names": ["nas.lan"], "listen": listen, "upstream": upstream}
        site.host_vars[name]["mtls_services"] = [service]
    site.host_vars["one"]["mtls_clients"] = [{"name": "phone"}, {"name": "lost"}]
    site.ok()
    crls = {name: host.folder / "client-certs" / "crl.pem" for name, host in site.hosts.items()}
    before = {name: path.read_bytes() for name, path in crls.items()}

    site.host_vars["two"]["mtls_services"][0]["server_names"] = ["{{ ansible_facts.fqdn }}", "nas.lan"]
    said = site.refused("--limit", "one")
    assert "host two: mtls_services is made of facts of that host (ansible_facts), which this run does not have" in said
    assert "ansible -i INVENTORY all -m ansible.builtin.setup" in said

    # What is about CRLs needs nothing of the host that it does not touch.
    run = site.run("--limit", "one", playbook=REFRESH)
    assert run.returncode == 0, run.text
    run = site.run("--limit", "one", "-e", "mtls_revoke=lost", playbook=REVOKE)
    assert run.returncode == 0, run.text
    assert "made of facts" not in run.text
    assert crls["one"].read_bytes() != before["one"]
    assert crls["two"].read_bytes() == before["two"]

    # As the message says.
    (site.folder / "ansible.cfg").write_text("[defaults]\nfact_caching = jsonfile\nfact_caching_connection = .facts\n")
    command = ["ansible", "all", "-i", site.source, "-m", "ansible.builtin.setup"]
    subprocess.run(command, cwd=site.folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    site.host_vars["one"]["mtls_clients"][1]["state"] = "revoked"
    site.ok("--limit", "one")
    site.ok()
    assert crls["two"].read_bytes() == crls["one"].read_bytes()
