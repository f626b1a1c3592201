# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Become, and hosts that are not there: what Ansible itself is told makes no run do something else, or nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY, tree

# All but the one that is about the controller alone.
PLAYBOOKS = {path.stem: path for path in sorted((REPOSITORY / "playbooks").glob("*.yml")) if path.stem != "upkeep"}
# What each one needs to be told beside the inventory.
ASKING = {
    "site": (),
    "refresh_crl": (),
    "status": ("-e", "mtls_status_live=true"),
    "doctor": ("-e", "mtls_service=nas", "-e", "mtls_client=phone"),
    "rollover": ("-e", "mtls_step=begin", "-e", '{"mtls_rollover_subject": {"CN": "Next"}}'),
    "revoke": ("-e", "mtls_revoke=lost"),
    "recover": (),
}


@pytest.fixture
def guarded(site, upstream):
    """A host with one service; its port is `site.port`."""
    site.port = free_port()
    site.add_host("nas", mtls_clients=[{"name": "phone"}, {"name": "lost"}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{site.port}", "upstream": upstream}
    ]
    return site


def test_every_playbook_is_here():
    assert PLAYBOOKS.keys() == ASKING.keys()


def test_where_pipelining_is_set(tmp_path):
    """Under [defaults] every connection heeds it; under [ssh_connection] the local one writes module files."""
    put, python = {}, f"ansible_python_interpreter={sys.executable}"
    for section in ("defaults", "ssh_connection"):
        (tmp_path / "ansible.cfg").write_text(f"[{section}]\npipelining = True\n")
        done = subprocess.run(
            ["ansible", "-i", "localhost,", "-c", "local", "-e", python, "-m", "ansible.builtin.ping", "-vvv", "all"],
            env={**os.environ, "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        put[section] = " PUT " in done.stdout
    assert put == {"defaults": False, "ssh_connection": True}


@pytest.fixture
def not_root(guarded):
    """The same, run in a namespace where the user is not root, and nobody else could be."""
    command = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "sh", "-c", "id -u; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"1000\n"
        guarded.started_by = ("nsenter", "--user", "--preserve-credentials", f"--target={holder.pid}")
        guarded.all_vars["ansible_remote_tmp"] = str(guarded.folder / "tmp")  # the user has no home
        yield guarded
        guarded.stop()
        holder.stdin.close()


def test_the_controller_never_becomes_whatever_the_inventory_says(not_root):
    site = not_root
    # For the controller too: it is a host of the group "all".
    site.all_vars |= {"ansible_become": True, "ansible_become_user": "root", "ansible_become_password": "secret"}
    site.host_vars["nas"]["ansible_become"] = False
    for name, arguments in ASKING.items():
        run = site.run(*arguments, playbook=PLAYBOOKS[name])
        assert run.returncode == 0, run.text
    assert [site.status(site.port, client=client) for client in ("phone", "lost")] == [200, 400]


def test_the_controller_never_becomes_whatever_the_command_line_says(not_root):
    site = not_root
    site.host_vars["localhost"] = {"ansible_become": True}
    for arguments in (("-b",), ("-e", "ansible_become=true")):
        run = site.run(*arguments)
        # The host is to become, and cannot.
        assert re.search(r"TASK \[mtls.nginx.server : .*\n.*(sudo|become)", run.text), run.text
        assert run.hosts["nas"]["failures"] == 1
        assert "clients/phone/phone.p12" in tree(site.pki)


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_no_host_is_no_success(guarded, name):
    site, arguments = guarded, ASKING[name]
    said = refused(site, name, *arguments, "-e", "mtls_hosts=servrs")
    assert f"no host of the inventory {site.source} matches 'servrs'" in said
    assert "mtls_servers" in said
    site.source = site.folder / "inventroy" / "hosts.yml"
    for more in ((), ("--limit", "nas")):
        said = refused(site, name, *arguments, *more)
        assert f"no host of the inventory {site.source} matches 'mtls_servers'" in said
        assert "-i" in said
    assert not site.pki.exists()


def test_a_limit_that_leaves_nobody_is_no_success(guarded):
    site = guarded
    site.add_host("other")
    said = refused(site, "site", "--limit", "other", "-e", "mtls_hosts=nas")
    assert "no host is left of the 1 that match 'nas': none of them is among 'other' of --limit" in said
    assert "ignoring: nsa" in refused(site, "site", "--limit", "nsa")
    made_up = refused(site, "site", "-e", "mtls_hosts=localhost")
    assert f"no host of the inventory {site.source} matches 'localhost'" in made_up
    assert not site.pki.exists()


def test_hosts_can_be_said_in_every_way_that_ansible_knows(guarded):
    site = guarded
    site.add_host("other")
    for hosts in ('"nas"', '["nas"]', '"mtls_servers:!other"', '"~n.s"', '"nas,nobody"'):
        run = site.run("-e", f'{{"mtls_hosts": {hosts}}}', "--list-hosts")
        assert run.returncode == 0, run.text
        assert re.findall(r"^      (\w+)$", run.text, re.MULTILINE) == ["nas"] * 3, "one play after another"


def refused(site, name, *arguments) -> str:
    run = site.run(*arguments, playbook=PLAYBOOKS[name])
    assert run.returncode != 0, run.text
    assert "Traceback" not in run.text, run.text
    return " ".join(run.text.split())
