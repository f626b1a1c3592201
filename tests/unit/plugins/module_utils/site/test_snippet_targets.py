# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says of where its snippets are asked, and what is made of it: never a connection to somewhere else."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers, snippet_targets
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services

GATE = {
    "service": "photos",
    "place": "/etc/nginx/own.conf, line 2",
    "port": 8443,
    "server_name": "photos.lan",
    "address": None,
    "proxy_protocol": False,
    "own_pages": False,
    "trouble": None,
}


def photos(*names):
    (service,) = parse_services("nas", [{"name": "photos", "server_names": list(names), "snippet": True}])
    return service


def targets(*gates, names=("photos.lan", "*.wild.lan"), address="127.0.0.1"):
    read = answers.read_snippet_gates("nas", [{**GATE, **gate} for gate in gates])
    return snippet_targets.targets(photos(*names), read, address)


def test_port_and_name_are_the_host_s_and_the_address_is_ours():
    (found,) = targets({"address": "127.0.0.1", "proxy_protocol": True, "own_pages": True})
    assert found.target == probe.Target("127.0.0.1", 8443, "photos.lan", True)
    assert found.own_pages
    (found,) = targets({"server_name": "a.b.wild.lan"}, address="192.0.2.7")
    assert found.target == probe.Target("192.0.2.7", 8443, "a.b.wild.lan")


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        ({"trouble": "it does not listen with TLS"}, "it does not listen with TLS"),
        ({"port": None}, "did not say where"),
        ({"server_name": None}, "did not say where"),
        ({"server_name": "other.lan"}, "other.lan is not a name of the service"),
        ({"server_name": "wild.lan"}, "wild.lan is not a name of the service"),
        ({"server_name": "evilphotos.lan"}, "is not a name of the service"),
        ({"address": "192.0.2.66"}, "it listens on 192.0.2.66 only, and 127.0.0.1 is asked; see mtls_probe_address"),
        ({"address": "::1"}, "it listens on ::1 only"),
    ],
)
def test_what_is_not_asked_and_why(gate, why):
    (found,) = targets(gate)
    assert found.target is None
    assert found.not_asked.startswith("the server block in /etc/nginx/own.conf, line 2 could not be asked: ")
    assert why in found.not_asked


def test_an_address_that_is_not_known_is_not_asked():
    (found,) = targets({"address": "192.0.2.66"}, address="nobody.invalid")
    assert found.target is None


def test_of_other_services_it_says_nothing_and_twice_is_once():
    assert targets({"service": "nas"}) == []
    assert len(targets({}, {})) == 1
    assert len(targets({}, {"port": 443})) == 2


@pytest.mark.parametrize(
    "lie",
    [
        {"port": 0},
        {"port": 65536},
        {"port": "443"},
        {"port": True},
        {"server_name": "photos.lan\r\nX: y"},
        {"server_name": "{{ lookup('pipe', 'id') }}"},
        {"server_name": "-x"},
        {"server_name": ""},
        {"server_name": "~^photos"},
        {"server_name": "a" * 254},
        {"address": "evil.example.com"},
        {"address": "127.0.0.1\n"},
        {"service": None},
        {"proxy_protocol": "yes"},
        {"place": 1},
    ],
)
def test_a_lie_is_that_host_s_failure(lie):
    with pytest.raises(MtlsError, match="host nas: its answer to tls_probe cannot be trusted: snippet_gates"):
        targets(lie)


def test_what_is_no_list():
    for value in ({}, "x", None, [1], [{**GATE}] * 2001):
        with pytest.raises(MtlsError, match="cannot be trusted"):
            answers.read_snippet_gates("nas", value)


def test_where_own_pages_hide_the_answers():
    nobody, lost = probe.Attempt("nobody", 400), probe.Attempt("lost", 400, "/c", "/k")
    guest, phone = probe.Attempt("guest", 403, "/c", "/k"), probe.Attempt("phone", 204, "/c", "/k")
    assert snippet_targets.with_own_pages([nobody, lost, guest]) == []
    found = snippet_targets.with_own_pages([nobody, phone, guest, lost])
    assert [(each.who, probe.ProbeOutcome(each, None).expected) for each in found] == [
        ("nobody", "anything but 204"),
        ("phone", "204"),
        ("guest", "anything but 204"),
        ("lost", "anything but 204"),
    ]
    for attempt, status in zip(found, (302, 204, 200, 400), strict=True):
        assert probe.ProbeOutcome(attempt, status).ok
    assert not probe.ProbeOutcome(found[0], 204).ok
    assert not probe.ProbeOutcome(found[0], None, "refused").ok
