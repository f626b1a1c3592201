# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host lies to the controller: it may spoil what is said of itself, and nothing else."""

from __future__ import annotations

import json

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY
from .liar import Liar, everything

PLAYBOOKS = REPOSITORY / "playbooks"


@pytest.fixture
def two_hosts(site, upstream):
    """`nas` is honest; `web` has a Python of its own."""
    for name in ("nas", "web"):
        port = free_port()
        service = {"name": name, "server_names": [f"{name}.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
        site.add_host(name, mtls_services=[service], mtls_batch=2)
    site.host_vars["nas"]["mtls_clients"] = [{"name": "phone"}, {"name": "laptop"}]
    site.liar = Liar(site, "web")
    return site


def facts(**facts):
    return {"set": [(["ansible_facts"], facts)]}


def with_fact_cache(site, monkeypatch):
    """What a host is known by stays from run to run."""
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN", "ansible.builtin.jsonfile")
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN_CONNECTION", str(site.folder / "facts"))


def test_it_is_not_handed_the_key_of_the_authority(two_hosts):
    """It has no nginx, it says, and names the key as the template of its error pages while one is installed."""
    site = two_hosts
    site.liar.tell(
        nginx_facts=[{"only_first": True, "set": [(["nginx", "installed"], False)]}],
        setup=[
            facts(
                mtls_error_page_template=str(site.pki / "ca.key"),
                ansible_pkg_mgr="apt",
                ansible_service_mgr="other",
            )
        ],
        apt=[{"print": json.dumps({"changed": False})}],
    )
    run = site.run()
    assert "Traceback" not in run.text
    assert "apt" in site.liar.heard, run.text
    assert b"ENCRYPTED PRIVATE KEY" in (site.pki / "ca.key").read_bytes()
    assert b"ENCRYPTED PRIVATE KEY" not in everything(site.hosts["web"].folder), run.text
    assert site.hosts["nas"].pid
    assert site.hosts["web"].pid


def test_it_does_not_choose_where_the_status_is_written(two_hosts):
    site = two_hosts
    site.ok()
    site.liar.tell(nginx_facts=[facts(mtls_status_dir=str(site.folder / "elsewhere"), inventory_dir="/nowhere")])
    run = site.run("-e", "mtls_status_live=true", "--limit", "web", playbook=PLAYBOOKS / "status.yml")
    assert not (site.folder / "elsewhere").exists()
    assert run.returncode == 0, run.text
    assert (site.inventory / "status" / "status.html").exists()


def test_it_does_not_choose_the_authority_of_a_rollover(two_hosts):
    site = two_hosts
    site.ok()
    site.liar.tell(access_log=[facts(mtls_rollover_dir=str(site.folder / "elsewhere"), mtls_rollover_quiet_days=0)])
    run = site.run("-e", "mtls_step=report", "--limit", "web", playbook=PLAYBOOKS / "rollover.yml")
    assert "elsewhere" not in run.text
    assert f"{site.pki}: no roll-over has begun" in run.text


@pytest.mark.parametrize("playbook", ["site", "refresh_crl", "revoke", "doctor"])
def test_nothing_of_it_is_remembered(two_hosts, monkeypatch, playbook):
    """What it adds to an answer revokes nobody in the next run."""
    site = two_hosts
    with_fact_cache(site, monkeypatch)
    site.ok()
    poison = [facts(mtls_revoked=[{"name": "phone"}], mtls_fleet_clients=[{"name": "eve"}])]
    site.liar.tell(nginx_facts=poison, nginx_config=poison, nginx_gate=poison)
    site.host_vars["web"]["mtls_error_pages"] = False  # so that something is changed
    more = {"revoke": ("-e", "mtls_revoke=laptop"), "doctor": ("-e", "mtls_service=web", "-e", "mtls_client=phone")}
    site.run(*more.get(playbook, ()), "--limit", "web", playbook=PLAYBOOKS / f"{playbook}.yml")
    assert site.liar.heard
    site.liar.tell()
    run = site.ok()
    assert not (site.pki / "clients" / "eve").exists(), run.text
    assert "phone" not in run.text
