# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is served, by what a host says of its own certificates."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import own_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services

FILES = {"path": "/etc/ssl/nas.pem", "key": "/etc/ssl/nas.key"}
NAS = {"name": "nas", "server_names": ["nas.example.com"], "root": "/srv"}
WHY = "/etc/ssl/nas.pem: expired on 2026-11-28"


def services(**options):
    return parse_services("web", [{**NAS, "certificate": FILES, **options}])


def choose(state, *, in_use=False, stale=False, running=True, known=("nas",), acme=None, **options):
    found = {"path": FILES["path"], "state": state, "why": None if state == "good" else WHY}
    facts = {
        "running": running,
        "acme": acme,
        "certificates": {"nas": {**found, "in_use": in_use, "stale": stale}},
    }
    return own_certificates.choose("web", "/etc/nginx", services(**options), facts, known)


@pytest.mark.parametrize(
    ("state", "in_use", "stands_in", "fails"),
    [
        ("good", False, False, False),
        ("good", True, False, False),
        ("missing", False, True, False),
        ("missing", True, True, False),
        ("unfit", False, True, True),
        ("unfit", True, False, True),
        ("unusable", False, True, True),
    ],
)
def test_what_is_served(state, in_use, stands_in, fails):
    choice = choose(state, in_use=in_use)
    assert choice.stand_ins == ({"nas"} if stands_in else set())
    assert bool(choice.notes) is stands_in
    assert bool(choice.failures) is fails
    for text in choice.failures.values():
        assert text.startswith(f"host web, service nas: {WHY}")


def test_what_nginx_has_read_is_not_given_up_for_the_authoritys():
    with pytest.raises(
        MtlsError, match="nothing was changed, and nginx keeps using the certificate that it has loaded"
    ):
        choose("unusable", in_use=True)
    assert choose("unusable", in_use=True, running=False).stand_ins == {"nas"}


@pytest.mark.parametrize("state", ["missing", "unusable", "unfit"])
def test_without_a_certificate_by_the_authority(state):
    with pytest.raises(MtlsError, match=f"{WHY}, and the authority has no certificate that could stand in"):
        choose(state, known=())


def test_a_service_of_which_the_host_says_nothing():
    facts = {"running": True, "acme": None, "certificates": {}}
    choice = own_certificates.choose("web", "/etc/nginx", services(), facts, ["nas"])
    assert choice.notes == {"nas": "/etc/ssl/nas.pem is not there, so a certificate by the authority stands in"}


def test_a_renewed_one_is_to_be_read():
    assert choose("good", in_use=True, stale=True).stale == {"nas"}


def test_what_is_to_be_obtained():
    kept = {"outdated": [], "abandoned": []}
    assert choose("good", certificate="acme", acme=kept).due == []
    assert [each.name for each in choose("good", certificate="acme", acme={**kept, "outdated": ["mtls-nas"]}).due] == [
        "nas"
    ]
    late = choose("unfit", certificate="acme", in_use=True, acme=kept)
    assert [each.name for each in late.due] == ["nas"]
    assert late.failures
    assert late.to_be_obtained().failures == {}
    assert choose("missing").due == []


def test_what_a_host_is_asked():
    assert own_certificates.to_look_at("/etc/nginx", services(certificate=None)) == []
    (asked,) = own_certificates.to_look_at("/etc/nginx", services(certificate="acme", listen="192.0.2.1:8443"))
    assert asked == {
        "service": "nas",
        "path": "/etc/letsencrypt/live/mtls-nas/fullchain.pem",
        "key": "/etc/letsencrypt/live/mtls-nas/privkey.pem",
        "server_names": ["nas.example.com"],
        "server_block": "/etc/nginx/conf.d/mtls-nas.conf",
        "address": "192.0.2.1",
        "port": 8443,
        "server_name": "nas.example.com",
        "proxy_protocol": False,
    }
    elsewhere = own_certificates.renewals("/opt/nginx", services(certificate="acme"))
    assert elsewhere["hook"] == "/opt/nginx/server-certs/acme-deploy-hook"
    ((lineage, wanted),) = elsewhere["lineages"].items()
    assert lineage != "mtls-nas"
    assert lineage.startswith("mtls-")
    assert wanted == {
        "server_names": ["nas.example.com"],
        "directory_url": "https://acme-v02.api.letsencrypt.org/directory",
        "webroot": "/var/lib/mtls-acme",
        "profile": None,
    }
    assert own_certificates.renewals("/etc/nginx", services()) == {
        "hook": "/etc/nginx/server-certs/acme-deploy-hook",
        "lineages": {},
    }


def test_one_that_the_authority_issues_for_another_service_is_there_with_the_same_transaction():
    shared = {"path": "/etc/nginx/server-certs/nas.crt", "key": "/etc/nginx/server-certs/nas.key"}
    open_one = {"name": "open", "server_names": ["open.example.com"], "root": "/srv", "certificate": shared}
    both = parse_services("web", [NAS, open_one])
    assert own_certificates.to_look_at("/etc/nginx", both) == []
    facts = {"running": True, "acme": None, "certificates": {}}
    choice = own_certificates.choose("web", "/etc/nginx", both, facts, ())
    assert (choice.stand_ins, choice.failures) == (set(), {})
    # Of a service that is gone it is nobody's.
    gone = parse_services("web", [{**NAS, "state": "absent"}, open_one])
    assert [each["service"] for each in own_certificates.to_look_at("/etc/nginx", gone)] == ["open"]
