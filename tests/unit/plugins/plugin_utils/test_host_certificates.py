# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps, one after the other; each of them is tested with a real nginx and a real ACME server elsewhere."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.plugins.plugin_utils import host_certificates
from ansible_collections.mtls.nginx.plugins.plugin_utils.host_certificates import HostCertificates, Steps

DONE = {"changed": True, "reloaded": True, "started": False, "message": "put in place"}
GOOD = {"path": "/live/fullchain.pem", "state": "good", "why": None, "in_use": True, "stale": False}
MISSING = {**GOOD, "state": "missing", "why": "/live/fullchain.pem is not there", "in_use": False}


class Machine:
    """A host that answers in turn, and notes what it was asked."""

    def __init__(
        self, *facts, obtained=(), failures=(), installed=(True,), packages=None, transacted=None, looked=None
    ):
        self.facts = list(facts)
        self.answers = [
            {"changed": each, "installed": each, "failures": list(failures), "obtained": list(obtained)}
            for each in installed
        ]
        self.packages = packages or {"changed": True}
        self.transacted = list(transacted or [DONE])
        self.looked = looked
        self.calls = []
        self.steps = Steps(self.look, self.transact, self.ask, self.install)

    def look(self):
        self.calls.append("look")
        return self.looked or {"nginx": self.facts.pop(0)}

    def transact(self, facts, choice):
        self.calls.append(f"transact, {len(choice.stand_ins)} stand in")
        return dict(self.transacted.pop(0) if len(self.transacted) > 1 else self.transacted[0])

    def ask(self, module, options, spec):
        self.calls.append(f"{module} {[each['service'] for each in options['orders']]} {options['forget']}")
        return self.answers.pop(0)

    def install(self, package, program):
        self.calls.append(f"install {package}")
        return self.packages


def seen(found, abandoned=(), outdated=()):
    return {
        "running": True,
        "certificates": {"nas": found},
        "acme": {"outdated": list(outdated), "abandoned": list(abandoned)},
    }


def bring(machine, first, *, check=False, certificate="acme"):
    nas = {"name": "nas", "server_names": ["nas.example.com"], "root": "/srv", "certificate": certificate}
    certificates = HostCertificates("web", "/etc/nginx", parse_services("web", [nas]), {"nas"}, check=check)
    result, choice = certificates.bring(machine.steps, first)
    return result if result.get("failed") else certificates.tell(result, choice)


def test_nothing_is_due():
    machine = Machine()
    assert bring(machine, seen(GOOD)) == {**DONE, "stand_ins": {}}
    assert machine.calls == ["transact, 0 stand in"]


def test_from_nothing_certbot_first():
    machine = Machine(seen(GOOD), obtained=["nas"], installed=(False, True))
    result = bring(machine, seen(MISSING))
    order = "nginx_acme ['nas'] []"
    assert machine.calls == ["transact, 1 stand in", order, "install certbot", order, "look", "transact, 0 stand in"]
    assert result["message"] == "put in place; certificates obtained for nas; put in place"
    assert (result["obtained"], result["stand_ins"]) == (["nas"], {})


def test_check_mode_says_it():
    machine = Machine()
    result = bring(machine, seen(MISSING), check=True)
    assert result["message"] == "put in place; a certificate for nas would be obtained"
    assert (result["changed"], machine.calls) == (True, ["transact, 1 stand in"])


def test_what_was_not_obtained_fails_after_all_else_is_done():
    machine = Machine(seen(MISSING), failures=["service nas: no certificate"])
    result = bring(machine, seen(MISSING))
    assert (result["failed"], result["msg"]) == (True, "host web, service nas: no certificate")
    assert list(result["stand_ins"]) == ["nas"]
    assert machine.calls[-1] == "transact, 1 stand in"


def test_one_that_nobody_wants_is_forgotten_without_another_transaction():
    machine = Machine(seen(GOOD))
    bring(machine, seen(GOOD, abandoned=["mtls-old"]))
    assert machine.calls == ["transact, 0 stand in", "nginx_acme [] ['mtls-old']", "look"]


def test_another_one_is_served_also_after_a_reload():
    stale = {**GOOD, "stale": True}
    assert "even after a reload" in bring(Machine(seen(stale)), seen(stale))["msg"]
    assert "failed" not in bring(Machine(seen(GOOD)), seen(stale))


def test_a_step_that_fails_is_the_last():
    failed = {"failed": True, "msg": "no"}
    machine = Machine(transacted=[failed])
    assert bring(machine, seen(MISSING)) == failed
    assert machine.calls == ["transact, 1 stand in"]
    machine = Machine(installed=(False,), packages=failed)
    assert bring(machine, seen(MISSING)) == {**DONE, **failed}
    assert machine.calls[-1] == "install certbot"


def test_a_step_that_fails_hides_nothing_that_was_done_before(tmp_path):
    """Who gains or loses entry, the first one has decided, and it is in force."""
    failed, done = {"failed": True, "msg": "no"}, {**DONE, "files": ["a.conf"], "access": {"changes": ["phone"]}}
    machine = Machine(looked=failed, obtained=["nas"], transacted=[done])
    result = bring(machine, seen(MISSING))
    assert machine.calls[-1] == "look"
    message = "put in place; certificates obtained for nas"
    expected = {**done, **failed, "message": message, "obtained": ["nas"], "handover": None}
    assert result == expected
    assert bring(Machine(seen(GOOD), transacted=[done, failed], obtained=["nas"]), seen(MISSING)) == expected


def test_a_package_without_its_program():
    with pytest.raises(MtlsError, match="there is no program certbot"):
        bring(Machine(installed=(False, False)), seen(MISSING))


def test_what_each_step_changed_is_told():
    steps = [
        {**DONE, "files": ["a.conf"], "warnings": ["first"]},
        {**DONE, "files": ["b.conf"], "warnings": ["second"], "diff": [{"before": "", "after": "b"}]},
    ]
    result = bring(Machine(seen(GOOD), transacted=steps), seen(MISSING))
    assert (result["files"], result["warnings"]) == (["a.conf", "b.conf"], ["first", "second"])
    assert result["diff"] == [{"before": "", "after": "b"}]


def test_what_fails_the_run_is_not_warned_of_as_well(monkeypatch):
    warned = []
    monkeypatch.setattr(host_certificates.display, "warning", warned.append)
    own = {"path": "/own/cert.pem", "key": "/own/key.pem"}
    unfit = {**GOOD, "state": "unfit", "why": "/own/cert.pem expired on 2026-01-02", "in_use": False}
    result = bring(Machine(), seen(unfit), certificate=own)
    assert result["msg"].startswith("host web, service nas: /own/cert.pem expired on 2026-01-02, so a certificate by")
    assert warned == []
    bring(Machine(), seen({**unfit, "state": "missing"}), certificate=own)
    (said,) = warned
    assert said.startswith("host web, service nas: /own/cert.pem expired on 2026-01-02, so a certificate by")
