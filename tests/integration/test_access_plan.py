# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gains and who loses entry, as check mode, the run and the Markdown file say it, with a real nginx."""

from __future__ import annotations

import re

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site.access_plan import MARKER
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY

HOSTS = ("one", "two")
REVOKE = REPOSITORY / "playbooks" / "revoke.yml"
REFRESH = REPOSITORY / "playbooks" / "refresh_crl.yml"


@pytest.fixture
def fleet(site, upstream):
    """Two hosts with the same service, and one with a service that is open to every client."""
    site.all_vars["mtls_fleet_clients"] = [{"name": name} for name in ("phone", "tablet", "laptop", "lost-phone")]
    site.ports = {}

    def service(name: str, host: str, **options: object) -> dict:
        port = site.ports[host, name] = free_port()
        names = [f"{name}.lan"]
        return {"name": name, "server_names": names, "listen": f"127.0.0.1:{port}", "upstream": upstream, **options}

    for host in HOSTS:
        site.add_host(host, mtls_services=[service("wiki", host, allow=["phone", "lost-phone"])])
    site.host_vars["one"]["mtls_services"].append(service("open", "one"))
    return site


def said(run) -> str:
    """The plan or summary, as one line."""
    assert "Traceback" not in run.text, run.text
    return " ".join(re.split(r"MTLS (?:SUMMARY|PLAN) \**", run.text)[1].split())


def wiki(fleet, host: str) -> dict:
    return fleet.host_vars[host]["mtls_services"][0]


def test_the_plan_and_the_run_say_who_and_why_and_the_hosts_agree(fleet):
    plan_file = fleet.folder / "plan.md"
    more = ("-e", f"mtls_plan_file={plan_file}")
    # All is new: what is open to every client stands first.
    new = "open: open to every client; new — on one wiki: new; + lost-phone, phone — on one, two"
    plan = said(fleet.ok("--check", *more))
    assert plan.startswith(new), plan
    assert plan_file.read_text().splitlines()[:2] == [MARKER, "### Access plan: who would gain and lose entry"]
    assert "- **`open`**: **`open to every client`**; new — on `one`\n" in plan_file.read_text()
    assert not list(fleet.pki.parent.glob("pki"))  # the file, and nothing else
    assert said(fleet.ok(*more)).startswith(new)
    assert plan_file.read_text().splitlines()[1] == "### Who gained and who lost entry"

    # Nothing changes: nothing is said.
    nothing = said(fleet.ok("--check", *more))
    assert "+" not in nothing
    assert "nothing to change: one, two (2 hosts)" in nothing
    assert "Nobody gains or loses entry." in plan_file.read_text()

    # Hosts with the same change share a line; each loss has its reason.
    for host in HOSTS:
        wiki(fleet, host)["allow"] = ["laptop", "tablet", "lost-phone"]
    fleet.all_vars["mtls_fleet_clients"][3]["state"] = "revoked"
    fleet.all_vars["mtls_fleet_clients"].append({"name": "newcomer"})
    expected = (
        "open: + newcomer; \N{MINUS SIGN} lost-phone (revoked) — on one"
        " wiki: + laptop, tablet; \N{MINUS SIGN} lost-phone (revoked), phone (off the list) — on one, two"
    )
    foreseen = said(fleet.ok("--check", *more))
    assert foreseen.startswith(expected), foreseen
    lost = "`lost-phone` (revoked), `phone` (off the list)"
    item = f"- **`wiki`**: + `laptop`, `tablet`; \N{MINUS SIGN} {lost} — on `one`, `two`"
    assert item in plan_file.read_text().splitlines()
    for word in ("clients that would be revoked: lost-phone", "CRL would be written", "CRL would be changed"):
        assert word in foreseen
    assert "clients issued" not in foreseen
    done = said(fleet.ok(*more))
    assert done.startswith(expected), done
    assert "clients revoked: lost-phone" in done
    assert "let in: laptop; kept out: nobody (no certificate)" in done
    assert "lost-phone (revoked)" in done
    for host in HOSTS:
        port = fleet.ports[host, "wiki"]
        assert [fleet.status(port, client=name, host="wiki.lan") for name in ("laptop", "phone", "lost-phone")] == [
            200,
            403,
            400,
        ]
    assert "+" not in said(fleet.ok("--check"))


def test_what_one_host_missed_is_in_its_plan_and_not_in_that_of_the_others(fleet):
    """The last commit knows nothing of that."""
    fleet.ok()
    for host in HOSTS:
        wiki(fleet, host)["allow"] = ["phone", "tablet"]
    fleet.ok("--limit", "one")
    plan = said(fleet.ok("--check"))
    assert "wiki: + tablet; \N{MINUS SIGN} lost-phone (off the list) — on two" in plan
    assert "nothing to change: one" in plan


def test_each_way_to_open_a_gate_stands_first_and_in_words(fleet):
    fleet.ok()
    wiki(fleet, "one")["allow"].append("tablet")
    del wiki(fleet, "two")["allow"]
    wiki(fleet, "two").update(public_paths=["/.well-known/a.b"], exempt_networks=["192.0.2.0/24"])
    opened = (
        "wiki: open to every client; /.well-known/a.b open to everybody, without a certificate;"
        " open without a certificate from 192.0.2.0/24 — on two wiki: + tablet — on one"
    )
    assert said(fleet.ok("--check")).startswith(opened)
    assert said(fleet.ok()).startswith(opened)
    wiki(fleet, "two")["allow"] = ["phone", "lost-phone"]
    closed = said(fleet.ok("--check"))
    assert (
        "wiki: no longer open to every client; \N{MINUS SIGN} laptop (off the list), tablet (off the list) — on two"
        in closed
    )


def test_a_path_with_a_list_of_its_own_and_a_service_that_goes(fleet):
    wiki(fleet, "one")["paths"] = [{"path": "/admin/", "allow": ["phone"]}]
    fleet.ok()
    wiki(fleet, "one")["paths"][0]["allow"] = ["tablet"]
    wiki(fleet, "two")["state"] = "absent"
    plan = said(fleet.ok("--check"))
    assert "wiki /admin/: + tablet; \N{MINUS SIGN} phone (off the list) — on one" in plan
    assert "wiki: gone; \N{MINUS SIGN} lost-phone, phone — on two" in plan
    first = plan.partition(" — on two")[0]
    assert said(fleet.ok()).startswith(first)


def test_revoke_says_who_is_out_and_claims_nothing_in_check_mode(fleet):
    fleet.ok()
    expected = (
        "open: \N{MINUS SIGN} lost-phone (revoked) — on one wiki: \N{MINUS SIGN} lost-phone (revoked) — on one, two"
    )
    plan = fleet.run("-e", "mtls_revoke=lost-phone", "--check", playbook=REVOKE)
    assert plan.returncode == 0, plan.text
    assert said(plan).startswith(expected), said(plan)
    assert "would be revoked" in plan.text
    assert not re.search(r"certificate \S+ is revoked", " ".join(plan.text.split()))
    for lie in ("nothing to change", "nothing changed", "as expected", "let in", "CRL written"):
        assert lie not in said(plan)
    done = fleet.run("-e", "mtls_revoke=lost-phone", playbook=REVOKE)
    assert said(done).startswith(expected), said(done)
    assert "certificates revoked: lost-phone" in said(done)
    for host in HOSTS:
        assert fleet.status(fleet.ports[host, "wiki"], client="lost-phone", host="wiki.lan") == 400
    # The line in the map still goes, but nobody loses entry by that.
    fleet.all_vars["mtls_fleet_clients"][3]["state"] = "revoked"
    later = said(fleet.ok("--check"))
    assert "lost-phone (" not in later
    # It comes back with a new certificate, while the map still has its line.
    fleet.all_vars["mtls_fleet_clients"][3]["state"] = "present"
    back = "open: + lost-phone — on one wiki: + lost-phone — on one, two"
    assert said(fleet.ok("--check")).startswith(back)
    assert said(fleet.ok()).startswith(back)


def test_a_refresh_claims_no_probe_that_it_did_not_make(fleet):
    fleet.ok()
    # Hosts whose services wait for site.yml are not asked.
    for host in HOSTS:
        wiki(fleet, host)["listen"] = f"127.0.0.1:{free_port()}"
    fleet.host_vars["one"]["mtls_services"].pop()
    done = fleet.run(playbook=REFRESH)
    assert "nothing changed: one, two (2 hosts)" in said(done), done.text


def test_a_run_that_stops_early_ends_with_a_summary_that_says_why(fleet):
    wiki(fleet, "two")["allow"] = ["phnoe"]
    plan_file = fleet.folder / "plan.md"
    early = fleet.run("-e", f"mtls_plan_file={plan_file}")
    assert early.returncode != 0
    assert "one FAILED: host two, service wiki: allow names 'phnoe'" in said(early)
    assert "NOT REACHED, the run stopped before: two" in said(early)
    assert "host two, service wiki: allow names 'phnoe'" in plan_file.read_text()


def test_a_service_without_a_list_can_be_forbidden(fleet):
    fleet.all_vars["mtls_require_allow"] = True
    assert "host one, service open: has no allow, so it is open to every client" in fleet.refused("--check")
    fleet.host_vars["one"]["mtls_services"][1]["allow"] = []
    fleet.ok("--check")
