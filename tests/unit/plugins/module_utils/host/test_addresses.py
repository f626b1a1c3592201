# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses this machine has."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import addresses

HERE, ELSEWHERE = ("127.0.0.1", "127.9.8.7", "::1"), ("192.0.2.77", "2001:db8::77")


@pytest.mark.parametrize("kernel", [True, False])
def test_addresses(monkeypatch, kernel):
    """Where the kernel does not say which routes it has, it says what can be bound."""
    if not kernel:

        def silent(_address):
            raise OSError("no netlink here")

        monkeypatch.setattr(addresses, "_kind_of_route", silent)
    assert {address: addresses.is_local(address) for address in HERE} == dict.fromkeys(HERE, True)
    assert addresses.away([*HERE, *ELSEWHERE]) == list(ELSEWHERE)
