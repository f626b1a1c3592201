# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Points in time: aware datetimes of whole seconds in UTC, and the texts that results and openssl use."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

# A host whose clock is behind must not find a new certificate or CRL "not yet valid": nginx would then refuse
# every client.
CLOCK_SKEW = timedelta(minutes=10)
# A CRL that begins too late locks out everybody, so it begins a day before it is made, as those of public CAs do.
CRL_BACKDATED = timedelta(days=1)
# As nginx writes them, whatever language Ansible has set: strftime and calendar use that.
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def now() -> datetime:
    """Return this second."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def process_start(pid: int) -> datetime:
    """Return when a process began (proc_pid_stat(5), field 22); raises OSError when there is none."""
    with open(f"/proc/{pid}/stat", "rb") as stream:
        ticks = int(stream.read().rpartition(b")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return datetime.fromtimestamp(time.time() - age, timezone.utc).replace(microsecond=0)


def in_days(moment: datetime, days: int, owner: str) -> datetime:
    """Return the moment ``days`` later.

    :raises MtlsError: that is after the year 9999, where certificates and CRLs cannot end.
    """
    try:
        return moment + timedelta(days=days)
    except OverflowError:
        raise MtlsError(f"{owner}: {days} days end after the year 9999; use less") from None


def distance(span: timedelta) -> str:
    """Return how long that is, either way, in the largest unit that it is two of at least."""
    seconds = int(abs(span).total_seconds())
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{seconds} seconds"


def iso(moment: datetime) -> str:
    """Return ``2026-11-23T14:39:00Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def from_iso(text: str) -> datetime:
    """Return the moment that ``iso`` wrote; raises ValueError."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def asn1_text(moment: datetime) -> str:
    """Return the Time of RFC 5280, 4.1.2.5: UTCTime up to 2049, GeneralizedTime from 2050 on."""
    return moment.strftime("%y%m%d%H%M%SZ" if 1950 <= moment.year < 2050 else "%Y%m%d%H%M%SZ")


def full_asn1_text(text: str) -> str:
    """Return the GeneralizedTime spelling of a Time, which sorts as text."""
    if len(text) == 15:
        return text
    return ("20" if text < "5" else "19") + text


def from_asn1(text: str) -> datetime:
    """Return the moment of a UTCTime or GeneralizedTime text; raises ValueError."""
    full = full_asn1_text(text)
    year, month, day, hour, minute, second = int(full[:4]), *(int(full[i : i + 2]) for i in range(4, 14, 2))
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
