# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout over several hosts: batches, a stop at the first bad one, and a summary of what happened."""

from __future__ import annotations

import re

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port

NAMES = ("h1", "h2", "h3", "h4", "h5", "h6")


@pytest.fixture
def fleet(site, upstream):
    """Six hosts, each with one service."""
    site.ports = {}
    site.all_vars["mtls_fleet_clients"] = [{"name": "phone"}, {"name": "tablet"}]
    for name in NAMES:
        site.ports[name] = free_port()
        service = {
            "name": "nas",
            "server_names": ["nas.lan"],
            "listen": f"127.0.0.1:{site.ports[name]}",
            "upstream": upstream,
            "allow": ["phone"],
        }
        site.add_host(name, mtls_services=[service])
    return site


def summary(run) -> str:
    """What the run says at its end, as one line."""
    return " ".join(re.split(r"MTLS (?:SUMMARY|PLAN) \**", run.text)[1].split())


def batches(run) -> list[list[str]]:
    """The hosts of each batch, as their probes say."""
    plays = run.text.split("PLAY [The services")[1:]
    own = [re.split(r"\nPLAY (?:\[|RECAP)", play)[0] for play in plays]  # the CRL's play comes after the last
    return [sorted(set(re.findall(r"(?:ok|changed|fatal): \[(h\d)", play))) for play in own]


def test_one_host_goes_ahead_and_the_inventory_or_the_command_line_may_say_otherwise(fleet):
    plan = fleet.ok("--check", "--diff")
    assert batches(plan) == [list(NAMES)]
    assert "h1, h2, h3, h4, h5, h6 (6 hosts)" in summary(plan)
    assert "nginx would accept it" in summary(plan)

    first = fleet.ok()
    assert batches(first) == [["h1"], ["h2", "h3"], ["h4", "h5"], ["h6"]]
    assert "clients issued: phone, tablet" in summary(first)
    assert "let in: phone; kept out: nobody (no certificate), tablet (not on the list)" in summary(first)

    fleet.all_vars["mtls_batch"] = [4, "50%"]
    again = fleet.ok()
    assert batches(again) == [["h1", "h2", "h3", "h4"], ["h5", "h6"]]
    assert "nothing changed; let in: phone; kept out: nobody (no certificate), tablet (not on the list)" in summary(
        again
    )
    assert ": h1, h2, h3, h4, h5, h6 (6 hosts)" in summary(again)

    assert batches(fleet.ok("-e", "mtls_batch=3")) == [["h1", "h2", "h3"], ["h4", "h5", "h6"]]
    assert batches(fleet.ok("-e", "mtls_batch=100%", "--limit", "h2,h5")) == [["h2", "h5"]]


def test_a_bad_host_stops_the_rollout_and_the_next_run_completes_it(fleet):
    fleet.all_vars["mtls_batch"] = [1, 2, 3]
    fleet.ok()
    for name in NAMES:
        fleet.host_vars[name]["mtls_services"][0]["allow"] = ["tablet"]
    good = fleet.hosts["h3"].conf.read_text()
    fleet.hosts["h3"].conf.write_text(good + "nonsense;\n")

    # The plan already says which host would refuse, and goes on to the others.
    plan = fleet.run("--check", "--diff")
    assert plan.returncode != 0
    assert re.search(r"h3 .*FAILED: .*nonsense", summary(plan))
    assert "h1, h2, h4, h5, h6 (5 hosts)" in summary(plan)

    stopped = fleet.run()
    assert stopped.returncode != 0
    assert [fleet.status(fleet.ports[name], client="tablet") for name in NAMES[:1]] == [200]
    assert [fleet.status(fleet.ports[name], client="phone") for name in NAMES[2:]] == [200, 200, 200, 200]
    assert re.search(r"h3 .*FAILED: .*nonsense", summary(stopped))
    assert "NOT REACHED, the run stopped before: h4, h5, h6 (3 hosts)" in summary(stopped)

    fleet.hosts["h3"].conf.write_text(good)
    done = fleet.ok()
    assert done.hosts["h1"]["changed"] == 0
    assert [fleet.status(fleet.ports[name], client="tablet") for name in NAMES] == [200] * 6


def test_a_probe_that_fails_stops_the_rollout(fleet):
    fleet.all_vars["mtls_batch"] = 1
    # Nobody listens where the probe asks.
    fleet.host_vars["h2"]["mtls_probe_address"] = "127.0.0.3"
    stopped = fleet.run()
    assert stopped.returncode != 0
    assert batches(stopped) == [["h1"], ["h2"]]
    assert re.search(r"h2 nas .*PROBE: nobody \(no certificate\) got", summary(stopped))
    assert "NOT REACHED, the run stopped before: h3, h4, h5, h6 (4 hosts)" in summary(stopped)


def test_a_host_that_cannot_be_reached_does_not_keep_the_others_from_a_revocation(fleet):
    fleet.ok("-e", "mtls_batch=6")
    fleet.host_vars["h2"] |= {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": free_port()}
    fleet.all_vars["mtls_fleet_clients"][0]["state"] = "revoked"
    run = fleet.run("-e", '{"mtls_batch": [1, 2]}')
    assert run.returncode != 0
    assert [fleet.status(fleet.ports[name], client="phone") for name in ("h1", "h3", "h4", "h5", "h6")] == [400] * 5
    assert "h2 FAILED: it cannot be reached" in summary(run)
    assert "clients revoked: phone" in summary(run)


def test_no_setting_of_the_strategy_lets_the_next_batch_start_after_a_failure(fleet, monkeypatch):
    monkeypatch.setenv("ANSIBLE_STRATEGY", "free")
    fleet.hosts["h1"].conf.write_text("nonsense;\n")
    stopped = fleet.run()
    assert stopped.returncode != 0
    assert batches(stopped) == [["h1"]]
    assert [host.pid for host in fleet.hosts.values()] == [None] * 6
