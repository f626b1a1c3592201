# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server may answer that the real one, in tests/integration, does not when it is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.api import Server
from ansible_collections.mtls.nginx.tests.unit.loopback import Loopback, loopback


@pytest.fixture
def bao() -> Iterator[Loopback]:
    with loopback() as server:
        yield server


@pytest.fixture
def server(bao: Loopback) -> Iterator[Server]:
    """A session with a token."""
    with Server({"url": bao.url, "token": "s.secret"}).session() as session:
        yield session
