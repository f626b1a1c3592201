# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of the protocol: what is on hold, and what can be taken back."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import HOLD, REASONS, Entry, check_on_hold
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

FOR_GOOD = [reason for reason in REASONS if reason != HOLD]


def entry(status: str, reason: str | None = None) -> Entry:
    return Entry("0A", "/CN=a", status, times.now(), times.now() if status == "revoked" else None, reason)


def test_only_a_hold_can_be_taken_back():
    held = entry("revoked", HOLD)

    assert held.on_hold
    assert check_on_hold("0A", held) is held


def test_only_what_is_valid_or_on_hold_can_still_be_revoked():
    for reason in REASONS:
        assert entry("valid").needs_revoking(reason)
        assert not any(entry("revoked", before).needs_revoking(reason) for before in (None, *FOR_GOOD))
    assert [reason for reason in REASONS if entry("revoked", HOLD).needs_revoking(reason)] == FOR_GOOD


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "is not on hold"),
        (entry("valid"), "is not on hold"),
        (entry("expired"), "is not on hold"),
        (entry("revoked"), r"is revoked for good \(reason: unspecified\)"),
        *(
            (entry("revoked", reason), rf"is revoked for good \(reason: {reason}\)")
            for reason in REASONS
            if reason != HOLD
        ),
    ],
)
def test_everything_else_cannot(found, said):
    assert found is None or not found.on_hold
    with pytest.raises(MtlsError, match=rf"^serial 0A: {said}, and only {HOLD} can be released"):
        check_on_hold("0A", found)
