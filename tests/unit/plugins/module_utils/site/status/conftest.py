# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statuses to be written down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import (
    AuthorityStatus,
    CertificateStatus,
    ClientStatus,
    HostStatus,
    ServiceStatus,
    Status,
    StatusFinding,
)
from ansible_collections.mtls.nginx.tests.pages import samples

NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory) -> Status:
    return samples.mixed(tmp_path_factory.mktemp("mixed")).status(answers=samples.mixed_answers())


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Status:
    return samples.large(tmp_path_factory.mktemp("large")).status()


@pytest.fixture
def attacked() -> Callable[[str], Status]:
    """A status in which every text is the attack."""

    def made(attack: str) -> Status:
        ends = CertificateStatus("soon", "AB", NOW + timedelta(days=3))
        client = ClientStatus(attack, attack, ends, (f"{attack}/{attack}",), ())
        service = ServiceStatus(attack, attack, (attack,), None, ends)
        finding = StatusFinding("now", "kind", "Title", "Remedy", (attack,), f"ansible-playbook -i {attack}", attack)
        return Status(
            NOW,
            None,
            (AuthorityStatus(attack, attack, ends, (), (service,), (client,)),) * 2,
            (HostStatus(attack, "wrong", attack, ({"service": attack, "ok": True},), (attack,)),),
            (finding,),
        )

    return made
