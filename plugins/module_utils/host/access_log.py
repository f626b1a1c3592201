# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates the services of a host let in, by the access logs that their server blocks write."""

from __future__ import annotations

import calendar
import glob
import gzip
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

# As the service template's log_format writes it. nginx escapes quotes in what callers send, so nobody can forge an end.
_LINE = re.compile(
    rb'\[(?P<when>[^\]]{20,26})\] "[^"]*" (?P<status>\d{3}) .*'
    rb' verify="(?P<verify>[^"]*)" dn="(?P<dn>[^"]*)" serial=(?P<serial>[0-9A-F]+)$'
)
_MONTHS = {name.encode(): number for number, name in enumerate(calendar.month_abbr) if name}


@dataclass
class Caller:
    """A client certificate that came to a service: when last (seconds since 1970), how often, and how it was met."""

    service: str
    serial: str
    dn: str
    last: int
    requests: int = 0
    status: int = 0


def callers(log_dir: str, service: str, since: int) -> list[Caller]:
    """Return the verified certificates that came to ``service`` after ``since``, those seen last first.

    Rotated logs count too, compressed ones as well; a log that is not there counts for nothing.
    """
    found: dict[str, Caller] = {}
    for path in _logs(log_dir, service, since):
        for line in _lines(path):
            match = _LINE.search(line.rstrip())
            if match is None or match["verify"] != b"SUCCESS":
                continue
            when = _seconds(match["when"])
            if when is None or when < since:
                continue
            serial = match["serial"].decode("ascii")
            caller = found.setdefault(serial, Caller(service, serial, match["dn"].decode("utf-8", "replace"), when))
            caller.requests += 1
            if when >= caller.last:
                caller.last, caller.status = when, int(match["status"])
    return sorted(found.values(), key=lambda caller: caller.last, reverse=True)


def _logs(log_dir: str, service: str, since: int) -> list[str]:
    """The service's log and the rotated ones that were written to after ``since``."""
    paths = glob.glob(os.path.join(glob.escape(log_dir), f"mtls-{service}.access.log*"))
    return [path for path in paths if os.path.isfile(path) and os.path.getmtime(path) >= since]


def _lines(path: str) -> Iterator[bytes]:
    with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as stream:
        yield from stream


def _seconds(text: bytes) -> int | None:
    """Seconds since 1970 of nginx's $time_local, ``23/Nov/2026:18:33:01 +0100``."""
    match = re.fullmatch(rb"(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", text)
    if match is None or match[2] not in _MONTHS:
        return None
    moment = calendar.timegm(
        time.struct_time((int(match[3]), _MONTHS[match[2]], int(match[1]), *map(int, match.group(4, 5, 6)), 0, 0, 0))
    )
    offset = (int(match[8]) * 60 + int(match[9])) * 60
    return moment - offset if match[7] == b"+" else moment + offset
