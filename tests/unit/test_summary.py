# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary at the end of a run says what was done, or would be, and whom the probe has seen; nothing else."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe

PATH = Path(__file__).parents[2] / "playbooks" / "callback_plugins" / "mtls_summary.py"


@pytest.fixture(scope="module")
def summary() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("mtls_summary", PATH)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mtls_summary"] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


def attempt(who: str, expect: int | None, status: int) -> dict:
    return probe.summary("nas", probe.ProbeOutcome(probe.Attempt(who, expect), status))


ATTEMPTS = [
    attempt("nobody (no certificate)", 400, 400),
    attempt("client 'phone', who may enter,", 204, 204),
    attempt("client 'tablet', who is not on the allow list,", 403, 403),
    attempt("client 'old, who is revoked', who is revoked,", 400, 400),
    attempt("somebody with the name of 'phone' from a CA of the same name", 400, 400),
]
ACCESS = {"compared": True, "authorities": ["/pki"], "changes": []}


def report(summary, *, attempts=None, **site):
    found = summary.HostReport()
    found.take_site({"installed": True, "accepted": None, "files": [], "access": ACCESS, **site})
    found.attempts = attempts
    return found


def test_who_was_let_in_and_who_was_kept_out_by_name(summary):
    lines = summary.render({"one": report(summary, attempts=ATTEMPTS)}, ["one"], [], check=False)
    assert " ".join(" ".join(lines).split()) == (
        "nothing changed; let in: phone; kept out: nobody (no certificate), tablet (not on the list), "
        "old, who is revoked (revoked), somebody with the name of 'phone' from a CA of the same name: one"
    )


def test_a_gate_with_nothing_behind_it_is_told_of_those_who_have_it(summary):
    why = "the gate opens, but http://127.0.0.1:23100 does not answer (502)"
    reports = {}
    for host in ("one", "two", "well"):
        reports[host] = report(summary)
        unanswered = [] if host == "well" else [{"service": "nas", "why": why}]
        reports[host].take_probe({"attempts": ATTEMPTS, "not_asked": [], "unanswered": unanswered})
    assert not reports["one"].quiet
    said = " ".join(" ".join(summary.render(reports, reports, [], check=False)).split())
    assert said.count(f"nas: {why}") == 1
    assert said.startswith("one, two (2 hosts) nas nothing changed; let in: phone;")
    assert "FAILED" not in said
    assert said.endswith(": well")


def test_what_stands_in_is_told_each_time(summary):
    why = "/etc/ssl/nas.pem is not there, so a certificate by the authority stands in"
    waiting = report(summary)
    waiting.take_site({"stand_ins": {"nas": why}, "obtained": []})
    assert not waiting.quiet
    assert f"nas: {why}" in waiting.lines(check=False)
    failed = report(summary)
    failed.take_site({"stand_ins": {"nas": why}, "msg": f"host one, service nas: {why}: put another one there"})
    assert failed.stand_ins == []  # the failure has said it
    done = report(summary)
    done.take_site({"stand_ins": {}, "obtained": ["nas"]})
    assert any("certificate obtained" in line for line in done.lines(check=False))


@pytest.mark.parametrize(("place", "called"), [("host", "the host itself"), ("bastion", "bastion")])
def test_from_where_a_service_was_asked(summary, place, called):
    one = report(summary)
    asked_from = [{"service": "nas", "place": place, "why": "as mtls_probe_from says"}]
    one.take_probe({"attempts": ATTEMPTS[-1:], "asked_from": asked_from})
    assert not one.quiet
    said = " ".join(" ".join(summary.render({"one": one}, ["one"], [], check=False)).split())
    assert f"nas: asked from {called}, as mtls_probe_from says; no client's key is sent to a host" in said


def test_a_good_certificate_that_the_list_keeps_out_was_not_let_in(summary):
    asked = [attempt("client 'phone', whose certificate is good,", None, status) for status in (204, 403)]
    for attempts, said in ((asked[:1], "let in: phone"), (asked[1:], "kept out: phone")):
        lines = summary.render({"one": report(summary, attempts=attempts)}, ["one"], [], check=False)
        assert lines == [f"nothing changed; {said}: one"]


@pytest.mark.parametrize("attempts", [None, []])
def test_nothing_is_claimed_of_a_probe_that_was_not_made(summary, attempts):
    lines = summary.render({"one": report(summary, attempts=attempts)}, ["one"], [], check=False)
    assert lines == ["nothing changed: one"]


def test_services_that_answered_differently_are_told_apart(summary):
    attempts = [*ATTEMPTS[:2], {**ATTEMPTS[0], "service": "wiki"}]
    lines = summary.render({"one": report(summary, attempts=attempts)}, ["one"], [], check=False)
    assert lines[0].startswith(
        "nothing changed; nas: let in: phone; kept out: nobody (no certificate); wiki: kept out:"
    )


def test_check_mode_says_would(summary):
    files = [
        {"path": "/etc/nginx/conf.d/mtls-nas.conf", "change": "created"},
        {"path": "/etc/nginx/conf.d/mtls.conf", "change": "changed"},
    ]
    lines = summary.render({"one": report(summary, files=files, accepted=True)}, ["one"], [], check=True)
    assert lines == [
        "one",
        "  nas    server block would be created",
        "  (all)  who may enter would be changed",
        "  nginx would accept it",
    ]
    assert summary.render({"one": report(summary)}, ["one"], [], check=True) == ["nothing to change: one"]


def test_a_crl_that_check_mode_has_not_written_is_a_change_of_its_hosts(summary):
    found = report(summary)
    found.expect_crl()
    found.expect_crl()
    assert summary.render({"one": found}, ["one"], [], check=True) == ["one", "  (all)  CRL would be changed"]


def test_a_host_that_could_not_be_compared_is_not_called_unchanged(summary):
    found = report(summary, access={**ACCESS, "compared": False})
    lines = " ".join(summary.render({"one": found}, ["one"], [], check=False))
    assert "who could enter before could not be read" in lines
    assert "nothing changed" not in lines


def test_a_large_fleet_has_a_short_plan(summary):
    clients = [f"client-{number:04}" for number in range(1000)]
    reports = {}
    for number in range(200):
        change = {
            "service": f"service-{number}",
            "path": "",
            "state": "",
            "opened": [],
            "closed": [],
            "gained": clients[: number + 1],
            "lost": [["lost", "revoked"]],
        }
        reports[f"host-{number}"] = report(summary, access={**ACCESS, "changes": [change]})
    lines = summary.render(reports, reports, [], check=True)
    plan = [line for line in lines if " + " in line or "more changes" in line]
    assert lines[: len(plan)] == plan
    assert len(plan) < 60
    document = summary.access_plan.document(summary.plan_of(reports, reports), [], check=True)
    assert len(document.splitlines()) < 60


def test_clients_and_certificates(summary):
    values = {
        "clients": [{"name": "a", "action": "issued"}, {"name": "b", "action": "unchanged"}],
        "unmanaged": [{"name": "c"}],
        "unmanaged_count": 3,
    }
    unmanaged = "clients unmanaged, still valid: c, and 2 more"
    assert summary._of_clients(values, check=False) == ["clients issued: a", unmanaged]
    assert summary._of_clients(values, check=True) == ["clients that would be issued: a", unmanaged]
    many = {"clients": [{"name": f"c{number}", "action": "issued"} for number in range(1000)]}
    assert " ".join(summary._of_clients(many, check=False)[0].split()).endswith("c38, c39, and 960 more")
    revoked = {
        "revoked": [
            {"client": "x", "serial": "01", "action": "revoked"},
            {"client": "y", "serial": "02", "action": "unchanged"},
            {"client": "z", "serial": "03", "action": "revoked"},
        ]
    }
    assert summary._of_revocations(revoked, {"z"}, check=False) == ["certificates revoked: x (01)"]
    assert summary._of_revocations(revoked, {"z"}, check=True) == ["certificates that would be revoked: x (01)"]


def test_a_loop_that_failed_says_what_its_items_said(summary):
    items = [{"failed": True, "msg": "one"}, {"changed": True}, {"failed": True, "msg": "two"}]
    assert summary._why({"msg": "One or more items failed", "results": items}) == "one; two"
    assert summary._why({"msg": "alone"}) == "alone"
    assert summary._why({}) == "see above"
