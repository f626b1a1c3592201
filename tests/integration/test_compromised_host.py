# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host lies to the controller: it may spoil what is said of itself, and nothing else."""

from __future__ import annotations

import json
import sys

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY, tree
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
        # Asked before an authority is made, and before its files are made.
        nginx_facts=[{"first": 2, "set": [(["nginx", "installed"], False)]}],
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
    assert f"{site.pki}: no roll" in run.text


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
    assert "revoked: phone" not in run.text
    assert "phone (revoked)" not in run.text


def test_no_host_chooses_where_the_access_plan_goes(two_hosts, monkeypatch):
    site = two_hosts
    with_fact_cache(site, monkeypatch)
    site.ok()
    gather = site.folder / "gather.yml"
    gather.write_text("[{hosts: web, tasks: []}]", encoding="utf-8")
    plan = site.folder / "plan.md"
    site.liar.tell(setup=[facts(mtls_plan_file=str(plan))])
    assert site.run("--flush-cache", playbook=gather).returncode == 0
    run = site.run("--limit", "web")
    assert "host web: its facts contain mtls_plan_file" in " ".join(run.text.split())
    assert not plan.exists()


def test_a_poisoned_fact_cache_is_refused(two_hosts, monkeypatch):
    """A play of somebody else's gathers facts, and the host says in them what the inventory should say."""
    site = two_hosts
    with_fact_cache(site, monkeypatch)
    site.all_vars |= {"our_page": "", "mtls_error_page_template": "{{ our_page }}"}
    site.ok()
    gather = site.folder / "gather.yml"
    gather.write_text("[{hosts: web, tasks: []}]", encoding="utf-8")
    for poison in (
        {"mtls_error_page_template": str(site.pki / "ca.key")},
        {"our_page": str(site.pki / "ca.key")},
        {"mtls__crl_only": True},
        {"vault_mtls_ca_passphrase": "x"},
        {"inventory_dir": "/nowhere"},
    ):
        site.liar.tell(setup=[facts(**poison)])
        assert site.run("--flush-cache", playbook=gather).returncode == 0
        (name,) = poison
        for playbook, more in (
            ("site", ()),
            ("refresh_crl", ()),
            ("revoke", ("-e", "mtls_revoke=laptop")),
            ("status", ("-e", "mtls_status_live=true")),
            ("doctor", ("-e", "mtls_service=nas", "-e", "mtls_client=phone", "--limit", "nas")),
            ("rollover", ("-e", "mtls_step=begin")),
        )[: None if name.startswith("mtls_e") else 1]:
            pki, web = tree(site.pki), everything(site.hosts["web"].folder / "conf.d")
            run = site.run(*more, playbook=PLAYBOOKS / f"{playbook}.yml")
            assert run.returncode != 0, run.text
            said = " ".join(run.text.split())
            assert f"host web: its facts contain {name}, which no host may decide" in said, (playbook, said)
            assert "Traceback" not in said
            assert tree(site.pki) == pki
            assert everything(site.hosts["web"].folder / "conf.d") == web
            assert not (site.inventory / "status").exists()

    # The facts of a host are its own again once they are forgotten, and what a task sets is no fact.
    site.liar.tell()
    assert site.run("--flush-cache").returncode == 0
    own = site.folder / "own.yml"
    own.write_text(
        json.dumps(
            [
                {
                    "hosts": "mtls_servers",
                    "gather_facts": True,
                    "tasks": [{"ansible.builtin.set_fact": {"mtls_error_pages": False}}],
                },
                {"import_playbook": str(PLAYBOOKS / "site.yml")},
            ]
        ),
        encoding="utf-8",
    )
    run = site.run(playbook=own)
    assert run.returncode == 0, run.text
    assert not (site.hosts["web"].folder / "client-certs" / "pages.conf").exists()


def test_an_odd_answer_is_one_hosts_affair(site, upstream):
    """Whatever hosts answer, the honest one is served, and neither a terminal nor a template obeys."""
    canary = site.folder / "canary"
    template = f"{{{{ lookup('pipe', 'touch {canary}') }}}}"
    odd = {
        "garbled": {"print": "\x1b[2J\x9b31m no answer", "stderr": "\x1b]0;mine\x07", "code": 1},
        "junk": {"print": '{"changed": false}\n\x1b[2J\x9b31m'},
        "nested": {"print": '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"},
        "scalars": {"print": json.dumps({"changed": 1, "stdout": 5, "ansible_facts": [1], "results": 1, "rc": "x"})},
        "escapes": {"print": json.dumps({"failed": True, "msg": f"\x1b[2J\x9b31m {template}", "exception": 7})},
        "warning": {"print": json.dumps({"changed": False, "warnings": ["\x1b[2J"], "_ansible_x": "\x1b[2J"})},
        "template": {"print": json.dumps(dict.fromkeys(("changed", "nginx", "gate", "callers", "msg"), template))},
        "tagged": {"print": json.dumps({"changed": {"__ansible_type": "TrustedAsTemplate", "value": template}})},
        "nan": {"print": '{"changed": NaN, "nginx": {"version": Infinity}, "gate": {"clock": NaN}}'},
    }
    port = free_port()
    service = {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
    site.add_host("nas", mtls_services=[service], mtls_clients=[{"name": "phone"}, {"name": "lost"}])
    for name, lie in odd.items():
        listen = f"127.0.0.1:{free_port()}"
        service = {"name": name, "server_names": [f"{name}.lan"], "listen": listen, "upstream": upstream}
        site.add_host(name, mtls_services=[service])
        Liar(site, name).tell(nginx_facts=[lie], nginx_config=[lie], nginx_gate=[lie], access_log=[lie])
    # Text for people may say what it likes.
    listen = f"127.0.0.1:{free_port()}"
    service = {"name": "worded", "server_names": ["worded.lan"], "listen": listen, "upstream": upstream}
    site.add_host("worded", mtls_services=[service])
    caller = {"service": "worded", "serial": "AB", "dn": template, "last": "2026-01-01T00:00:00Z"}
    Liar(site, "worded").tell(
        nginx_facts=[{"set": [(["nginx", "config_error"], f"\x1b[2J{template}")]}],
        nginx_config=[{"set": [(["message"], template), (["files", 0, "path"], template)]}],
        nginx_gate=[{"set": [(["gate", "errors"], [f"\x1b[2J{template} SSL"]), (["gate", "ca"], None)]}],
        access_log=[{"set": [(["callers"], [{**caller, "status": 200, "requests": 1}])]}],
    )
    site.all_vars["mtls_batch"] = "100%"

    def run(playbook, *arguments):
        done = site.run(*arguments, playbook=PLAYBOOKS / f"{playbook}.yml")
        assert "Traceback" not in done.text, done.text
        assert done.text.replace("\n", "").replace("\t", "").isprintable(), ascii(done.text)
        assert not canary.exists(), done.text
        return done

    done = run("site")
    assert {name for name, stats in done.hosts.items() if stats["failures"]} == set(odd), done.text
    assert site.status(port, client="phone", host="nas.lan") == 200
    assert {name for name, nginx in site.hosts.items() if nginx.pid} == {"nas", "worded"}

    run("status", "-e", "mtls_status_live=true")
    document = json.loads((site.inventory / "status" / "status.json").read_text(encoding="utf-8"))
    states = {host["name"]: host["state"] for host in document["hosts"]}
    assert states == {"nas": "as it should be", **dict.fromkeys([*odd, "worded"], "wrong")}
    assert template in str(document)
    for path in (site.inventory / "status").iterdir():
        assert path.read_text(encoding="utf-8").replace("\n", "").replace("\t", "").isprintable(), path

    done = run("doctor", "-e", "mtls_service=nas", "-e", "mtls_client=phone", "--limit", "nas")
    assert done.returncode == 0, done.text
    run("doctor", "-e", "mtls_service=worded", "-e", "mtls_client=phone", "--limit", "worded")
    for name in odd:
        done = run("doctor", "-e", f"mtls_service={name}", "-e", "mtls_client=phone", "--limit", name)
        assert f"{name} itself could not be examined (" in done.text, done.text

    run("rollover", "-e", "mtls_step=begin")
    done = run("rollover", "-e", "mtls_step=report")
    assert {name for name, stats in done.hosts.items() if stats["failures"]} == set(odd), done.text

    run("revoke", "-e", "mtls_revoke=lost")
    assert site.status(port, client="phone", host="nas.lan") == 200
    assert site.status(port, client="lost", host="nas.lan") == 400
    run("refresh_crl", "-e", "mtls_crl_refresh_before=29")
    assert site.status(port, client="phone", host="nas.lan") == 200


def test_a_package_manager_is_one_that_ansible_knows(two_hosts):
    """`ansible.builtin.package` would run whatever module a host names as its package manager."""
    site = two_hosts
    site.liar.tell(
        nginx_facts=[{"set": [(["nginx", "installed"], False)]}],
        setup=[facts(ansible_pkg_mgr="command")],
    )
    run = site.run("--limit", "web")
    assert run.returncode != 0
    said = " ".join(run.text.split())
    assert "host web: has no package manager that Ansible knows (command); install nginx yourself" in said
    assert site.liar.heard == ["nginx_facts", "nginx_facts", "setup"]


def test_a_python_that_ansible_has_found_is_not_looked_for_again(two_hosts):
    """Which Python there is, is the one fact that stays: the controller's own finding, not the host's answer."""
    site = two_hosts
    site.ok()
    del site.host_vars["nas"]["ansible_python_interpreter"]
    site.host_vars["nas"]["ansible_interpreter_python_fallback"] = [sys.executable]
    look = site.folder / "look.yml"
    task = {"mtls.nginx.nginx_facts": {"test": False}}
    look.write_text(json.dumps([{"hosts": "nas", "gather_facts": False, "tasks": [task, task]}]), encoding="utf-8")
    run = site.run("-vvv", playbook=look)
    assert run.returncode == 0, run.text
    assert run.text.count("interpreter discovery") == 1, run.text
