# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moments in the two spellings of ASN.1, and in that of results."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

MOMENTS = st.datetimes(
    min_value=datetime(1950, 1, 1), max_value=datetime(9999, 12, 31, 23, 59, 59), timezones=st.just(UTC)
).map(lambda moment: moment.replace(microsecond=0))


def test_when_a_process_began():
    before = times.now()
    with subprocess.Popen(["sleep", "60"]) as process:
        began = times.process_start(process.pid)
        process.kill()
    assert before - timedelta(seconds=1) <= began <= times.now() + timedelta(seconds=1)
    with pytest.raises(OSError, match="No such file"):
        times.process_start(process.pid)


@given(MOMENTS)
def test_asn1_both_ways(moment):
    text = times.asn1_text(moment)

    assert times.from_asn1(text) == moment
    assert len(text) == (13 if moment.year < 2050 else 15)


@given(MOMENTS, MOMENTS)
def test_the_full_text_sorts_as_time_does(one, other):
    texts = [times.full_asn1_text(times.asn1_text(moment)) for moment in (one, other)]

    assert (texts[0] < texts[1]) == (one < other)


@given(MOMENTS)
def test_iso_both_ways(moment):
    assert times.from_iso(times.iso(moment)) == moment


@pytest.mark.parametrize("text", ["261332000000Z", "260230000000Z", "", "2611", "abcdefghijklZ"])
def test_a_date_that_does_not_exist(text):
    with pytest.raises(ValueError, match=r"."):
        times.from_asn1(text)


def test_this_second():
    now = times.now()

    assert now.microsecond == 0
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)


def test_days_past_the_calendar_have_an_owner():
    assert times.in_days(times.now(), 2, "days") == times.now() + timedelta(days=2)
    with pytest.raises(MtlsError, match=r"^mtls_ca_days: 5000000 days end after the year 9999; use less$"):
        times.in_days(times.now(), 5_000_000, "mtls_ca_days")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (119, "119 seconds"),
        (-120, "2 minutes"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (-172800, "2 days"),
    ],
)
def test_a_distance_is_in_the_largest_unit_that_it_is_two_of(seconds, said):
    assert times.distance(timedelta(seconds=seconds)) == said
