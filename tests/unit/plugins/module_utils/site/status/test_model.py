# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a status that page, document, metrics and a job's log share."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import (
    AuthorityStatus,
    CertificateStatus,
    ClientStatus,
    ServiceStatus,
    Status,
    StatusFinding,
)

NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
PHONE = ClientStatus("phone", "CN=phone", CertificateStatus("valid"), (), ())


def service(name: str, allow: tuple[str, ...] | None = None) -> ServiceStatus:
    return ServiceStatus("nas", name, (f"{name}.lan",), allow, None)


def finding(level: str, *about: str) -> StatusFinding:
    return StatusFinding(level, "kind", "Expired certificates", "Renew them", about)


@pytest.mark.parametrize(
    ("state", "works"),
    [
        *dict.fromkeys(("valid", "soon", "elsewhere"), True).items(),
        *dict.fromkeys(("ended", "revoked", "unrecorded", "none"), False).items(),
    ],
)
def test_which_certificates_let_their_holder_in(state, works):
    assert CertificateStatus(state).works is works


def test_of_many_names_a_finding_has_the_first():
    assert finding("now").text == "Expired certificates"
    assert finding("now", "a", "b").text == "Expired certificates: a, b"
    assert finding("now", *"abcdefg").text == "Expired certificates: a, b, c, d, e and 2 more"


def test_which_services_everybody_enters():
    authority = AuthorityStatus("/pki", services=(service("open"), service("listed", ("phone",)), service("shut", ())))
    assert authority.open_services == ("nas/open",)


@pytest.mark.parametrize(
    ("authorities", "findings", "due", "said"),
    [
        ((), (), False, "0 clients, 0 services: nothing needs attention"),
        ((), (finding("note", "a"),), False, "0 clients, 0 services: nothing needs attention"),
        (
            (AuthorityStatus("/a", clients=(PHONE,), services=(service("a"),)), AuthorityStatus("/b")),
            (finding("now", "a"), finding("note", "b"), finding("soon", "c")),
            True,
            "1 client, 1 service: Expired certificates: a; Expired certificates: c",
        ),
        ((AuthorityStatus("/a", clients=(PHONE,)),) * 2, (), False, "2 clients, 0 services: nothing needs attention"),
    ],
)
def test_one_line_for_a_log(authorities, findings, due, said):
    status = Status(NOW, None, authorities, (), findings)
    assert status.summary == said
    assert status.due is due
