# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access logs of the services' server blocks: which certificates came, and which status they got.

Whoever may write in the log folder is not trusted: only regular files are read, and lines end at line feeds alone.
"""

from __future__ import annotations

import calendar
import gzip
import os
import re
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.probe import USER_AGENT
from ansible_collections.mtls.nginx.plugins.module_utils.host import logrotate

# As the service template's log_format writes it. nginx escapes quotes, backslashes and control characters in what
# callers send (ngx_http_log_escape), so no caller can forge the end of a field.
_LINE = re.compile(
    rb'(?P<caller>\S+) - [^"]* \[(?P<when>[^\]"]{20,26})\] "(?P<request>[^"]*)" (?P<status>\d{3}) \d+ "[^"]*"'
    rb' "(?P<agent>[^"]*)" sni="[^"]*" verify="(?P<verify>[^"]*)" dn="(?P<dn>[^"]*)" serial=(?P<serial>[0-9A-F]+|-)'
)
# Of what is offered at /.mtls/ (roles/server/templates/renewal.j2).
_FETCHED = re.compile(rb"GET /\.mtls/renewal\.(?:p12|mobileconfig|pem) HTTP/[0-9.]+")
_VERIFIED = b' verify="SUCCESS" '
_MONTHS = {name.encode(): number for number, name in enumerate(times.MONTHS, 1)}


@dataclass(frozen=True)
class LoggedRequest:
    """A line of an access log.

    ``dn`` is as logged, ``serial`` is "-" without a certificate. ``probe``: the collection's own probe made the
    request. ``fetched``: it was answered with the client's next certificate. ``caller`` is the address it came from,
    ``agent`` what the caller calls itself.
    """

    when: str
    status: int
    probe: bool
    verify: str
    dn: str
    serial: str
    fetched: bool = False
    caller: str = ""
    agent: str = ""

    @property
    def moment(self) -> int | None:
        """Return the time in seconds since 1970, or None for an invalid date."""
        return _seconds(self.when.encode())


@dataclass
class Caller:
    """A client certificate that came to a service: when last (seconds since 1970), how often, and the last status.

    ``fetched`` is when it last fetched the next one, None where it has not.
    """

    service: str
    serial: str
    dn: str
    last: int
    requests: int = 0
    status: int = 0
    fetched: int | None = None


def parse(line: bytes) -> LoggedRequest | None:
    """Return what a line without its line feed says, or None where it is not in our log format."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    return LoggedRequest(
        when=match["when"].decode("utf-8", "replace"),
        status=int(match["status"]),
        probe=match["agent"] == USER_AGENT.encode(),
        verify=match["verify"].decode("utf-8", "replace"),
        dn=match["dn"].decode("utf-8", "replace"),
        serial=match["serial"].decode("ascii"),
        fetched=match["status"] == b"200" and _FETCHED.fullmatch(match["request"]) is not None,
        caller=match["caller"].decode("utf-8", "replace"),
        agent=match["agent"].decode("utf-8", "replace"),
    )


@dataclass(frozen=True)
class Callers:
    """Who came to a service, those seen last first; ``unread`` are logs in which there may be others."""

    found: list[Caller]
    unread: list[str]


def callers(log_dir: str, service: str, since: int, warn: Callable[[str], None]) -> Callers:
    """Return the verified certificates that came to ``service`` after ``since``.

    Rotated logs count too, compressed ones as well; a missing log counts for nothing. Nor do the collection's own
    probes, which show the certificates of clients that may be asleep. ``warn`` is called for what has a log's name and
    was not read: links and the like, and what is compressed with another program than gzip.

    :raises MtlsError: a compressed log is not complete.
    """
    found: dict[str, Caller] = {}
    unread = []
    for path in logs(log_dir, f"mtls-{service}.access.log", since, warn):
        program = logrotate.compression(path)
        if program:
            unread.append(path)
            warn(
                f"{path}: was not read, because it is compressed with {program}, so whoever came only then is missing;"
                " decompress it, and have logrotate use gzip"
            )
            continue
        for line in _lines(path):
            # Before the line is taken apart: logs are long, and most of what is in them may be refused.
            request = parse(line) if _VERIFIED in line else None
            if request is None or request.probe or request.verify != "SUCCESS" or request.serial == "-":
                continue
            when = request.moment
            if when is None or when < since:
                continue
            caller = found.setdefault(request.serial, Caller(service, request.serial, request.dn, when))
            caller.requests += 1
            if when >= caller.last:
                caller.last, caller.status = when, request.status
            if request.fetched:
                caller.fetched = max(when, caller.fetched or 0)
    return Callers(sorted(found.values(), key=lambda caller: caller.last, reverse=True), unread)


def logs(log_dir: str, prefix: str, since: float, warn: Callable[[str], None]) -> list[str]:
    """Return a log and the rotated ones, wherever logrotate puts them, that were written to after ``since``."""
    found = []
    for path in (os.path.join(each, name) for each in logrotate.folders(log_dir) for name in os.listdir(each)):
        if not os.path.basename(path).startswith(prefix):
            continue
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            warn(f"{path}: was not read, because it is not a regular file; move it away if it is not a log")
        elif status.st_mtime >= since:
            found.append(path)
    return found


def _lines(path: str) -> Iterator[bytes]:
    try:
        with files.open_regular(path) as stream:
            for line in gzip.GzipFile(fileobj=stream) if path.endswith(".gz") else stream:
                yield line[:-1] if line.endswith(b"\n") else line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise MtlsError(
            f"{path}: cannot be decompressed ({error}); run again when it is complete, or move it away"
        ) from error


def _seconds(text: bytes) -> int | None:
    """Return the seconds since 1970 of nginx's $time_local, ``23/Nov/2026:18:33:01 +0100``; None if it is invalid."""
    match = re.fullmatch(rb"(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", text)
    if match is None or match[2] not in _MONTHS:
        return None
    moment = calendar.timegm(
        time.struct_time((int(match[3]), _MONTHS[match[2]], int(match[1]), *map(int, match.group(4, 5, 6)), 0, 0, 0))
    )
    offset = (int(match[8]) * 60 + int(match[9])) * 60
    return moment - offset if match[7] == b"+" else moment + offset
