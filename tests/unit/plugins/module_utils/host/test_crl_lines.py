# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CRL says, as lines of nginx maps: moments that have passed."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.host.crl_lines import since

SECONDS = st.integers(10**9, 10**10 - 1)


@given(SECONDS, SECONDS, st.integers(0, 999))
@example(1_999_999_999, 2_000_000_000, 0)
@example(9_999_999_999, 9_999_999_999, 0)
@example(1_796_310_000, 1_796_310_000, 999)
@example(1_796_310_000, 1_796_309_999, 999)
def test_a_moment_is_at_or_after_the_end_exactly_when_it_matches(end, now, milliseconds):
    pattern = since(datetime.fromtimestamp(end, UTC))
    assert bool(re.search(pattern, f"{now}.{milliseconds:03}")) is (now >= end)


def test_it_holds_beyond_ten_digits():
    assert re.search(since(datetime(2286, 1, 1, tzinfo=UTC)), "10000000000.000")
