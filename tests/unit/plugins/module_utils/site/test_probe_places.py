# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From where a service is asked."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import probe_places
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services

TARGET = probe.Target("192.0.2.1", 443, "nas.lan", proxy_protocol=True)


def service(listen):
    (one,) = parse_services("web", [{"name": "nas", "server_names": ["nas.lan"], "root": "/srv", "listen": listen}])
    return one


def test_what_is_not_asked():
    assert probe_places.not_asked(service("443"), "none", ()) == "mtls_probe_from is none"
    assert probe_places.not_asked(service("443"), None, ["192.0.2.1"]) is None
    assert probe_places.not_asked(service("192.0.2.1:443"), "host", ["192.0.2.2"]) is None
    why = probe_places.not_asked(service("192.0.2.1:443"), None, ["192.0.2.1"])
    assert why.startswith("the host does not have the address 192.0.2.1 now, and another machine may answer there")


@pytest.mark.parametrize(
    ("listen", "wanted", "local", "explicit", "why"),
    [
        ("443", None, False, False, None),
        ("443", "host", False, False, "as mtls_probe_from says"),
        ("443", "host", True, False, None),
        ("443", "bastion", False, False, "as mtls_probe_from says"),
        ("443", "bastion", True, True, "as mtls_probe_from says"),
        ("127.0.0.8:443", None, False, False, "since it listens on 127.0.0.8 only"),
        ("127.0.0.8:443", None, False, True, None),
        ("127.0.0.8:443", None, True, False, None),
        ("127.0.0.8:443", "controller", False, False, None),
        ("192.0.2.1:443", None, False, False, None),
    ],
)
def test_who_asks(listen, wanted, local, explicit, why):
    assert probe_places.from_host(service(listen), wanted, local=local, explicit=explicit) == why


def test_which_other_host_asks():
    assert probe_places.another_host("bastion") == "bastion"
    for wanted in (None, "controller", "host", "none"):
        assert probe_places.another_host(wanted) is None


def test_what_another_host_cannot_reach():
    why = probe_places.out_of_reach(service("127.0.0.8:443"), "bastion", explicit=False)
    assert why.startswith("it listens on 127.0.0.8 only, where bastion (mtls_probe_from) cannot connect; set")
    assert probe_places.out_of_reach(service("127.0.0.8:443"), "bastion", explicit=True) is None
    assert probe_places.out_of_reach(service("127.0.0.8:443"), None, explicit=False) is None
    for listen in ("443", "192.0.2.1:443"):
        assert probe_places.out_of_reach(service(listen), "bastion", explicit=False) is None


def test_why_the_controller_does_not():
    attempt = probe.Attempt("nobody", 400)
    said = probe_places.unreached(TARGET, probe.ProbeOutcome(attempt, None, "no answer within 10 s", reached=False))
    assert said.endswith(
        "192.0.2.1:443: no answer within 10 s (a firewall is in between, or has banned the controller)"
    )
    said = probe_places.unreached(TARGET, probe.ProbeOutcome(attempt, None, "connection refused", reached=False))
    assert said.endswith("192.0.2.1:443: connection refused")


def test_no_key_of_a_client_goes_to_a_host(tmp_path):
    forged = tmp_path / "forged.pem"
    forged.write_text("forged")
    (tmp_path / "phone.key").write_text("secret")
    key = str(tmp_path / "phone.key")
    attempts = [
        probe.Attempt("nobody", 400),
        probe.Attempt("client", 204, str(forged), key),
        probe.Attempt("revoked", 400, str(forged), key),
        probe.Attempt("client in one file", 204, str(forged)),
        probe.Attempt("impostor", 400, str(forged)),
    ]
    found = probe_places.questions(TARGET, attempts)
    assert [(attempt.who, gate["identity"]) for attempt, gate in found] == [("nobody", None), ("impostor", "forged")]
    place = {"address": "192.0.2.1", "port": 443, "server_name": "nas.lan", "proxy_protocol": True}
    assert [{**gate, "identity": None} for _attempt, gate in found] == [{**place, "identity": None}] * 2


def test_what_the_host_has_seen():
    attempt = probe.Attempt("nobody", 400)
    (outcome,) = probe_places.outcomes("nas", [attempt], [{"status": 400, "error": None}])
    assert outcome.ok
    for asked in (None, [], [{"status": 400, "error": None}] * 2):
        with pytest.raises(MtlsError, match="host nas: it did not say what its services answer"):
            probe_places.outcomes("nas", [attempt], asked)
