# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site.status import served
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.judge import Settings
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import ANSWERS, HostStatus

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def certificate(*, lifetime=90, left=60, **changes):
    end = NOW + timedelta(days=left)
    return {
        "service": "nas",
        "issuer": "CN=R11",
        "fingerprint": "1" * 64,
        "names": ["nas.test"],
        "begin": int((end - timedelta(days=lifetime)).timestamp()),
        "end": int(end.timestamp()),
        "own": True,
        "stands_in": False,
        "trouble": None,
        **changes,
    }


def found(warn_days=None, **of):
    host = HostStatus("web", ANSWERS, served=served.read([certificate(**of)], {}))
    return {each.kind: each for each in served.findings([host], NOW, Settings(warn_days).limit, "site")}


@pytest.mark.parametrize(
    ("lifetime", "left", "warn_days", "soon"),
    [
        (90, 22, None, False),
        (90, 20, None, True),  # a third of its life is left from the thirtieth day on
        (6, 2, None, False),
        (6, 0.9, None, True),
        (90, 39, 40, True),
        (90, 41, 40, False),
    ],
)
def test_what_should_have_been_renewed(lifetime, left, warn_days, soon):
    assert ("served_soon" in found(warn_days, lifetime=lifetime, left=left)) is soon


def test_what_the_authority_issues_is_judged_by_its_record():
    assert found(left=1, own=False) == {}


def test_what_stands_in():
    finding = found(stands_in=True, left=1)["served_stand_in"]
    assert (finding.about, finding.level) == (("web/nas",), "soon")
    assert "served_soon" not in found(stands_in=True, left=1)


def test_what_is_wrong_already_is_not_said_twice():
    assert found(left=-1, trouble="expired on 2026-11-28") == {}


def test_what_is_served_and_what_is_on_disk():
    file = {"path": "/etc/ssl/nas.pem", "fingerprint": "2" * 64}
    (read,) = served.read([certificate()], {"nas": file})
    (said,) = served.troubles([read])
    assert said.startswith("nas: the certificate that is served is not the one in /etc/ssl/nas.pem: nginx has not read")
    for other in ({}, {"nas": {**file, "fingerprint": "1" * 64}}, {"nas": {**file, "fingerprint": None}}):
        assert served.troubles(served.read([certificate()], other)) == []
    (read,) = served.read([certificate(trouble="expired on 2026-11-28")], {"nas": file})
    assert served.troubles([read]) == ["nas: the certificate that is served expired on 2026-11-28"]
