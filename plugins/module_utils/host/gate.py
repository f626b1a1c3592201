# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files and logs of a host say of one service and one client. Reads, and changes nothing."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import typing as t
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import one_line
from ansible_collections.mtls.nginx.plugins.module_utils.host import (
    access_log,
    end_dates,
    gates,
    logrotate,
    nginx_process,
    server_certificates,
)

_TAIL = 1 << 20  # bytes of each log that are looked at, the last ones
_MOST_REQUESTS = 10
_MOST_ERRORS = 5
_MOST_WITHOUT = 10
_LONGEST_AGENT = 200  # characters
# nginx's own words in an error log are before the first quote and before `, client: `: the rest is the caller's.
_ABOUT_TLS = re.compile(
    rb'\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[[a-z]+\] \d+#\d+: (?:(?!, client: )[^"])*(?:SSL|certificate)'
)


@dataclass(frozen=True)
class Gate:
    """The files of a service on this host. Its nginx variables begin with ``variable``; the other values are paths."""

    service: str
    variable: str
    server_block: str
    maps: str
    ca: str
    crl: str
    revoked: str
    log_dir: str


def state(gate: Gate, serial: str, dn: str) -> dict[str, t.Any]:
    """Return what the files say and the client's last requests, in the words of the module ``nginx_gate``."""
    crl = files.read_if_there(gate.crl)
    requests, without = _requests(gate, serial, dn)
    return {
        "configured": os.path.exists(gate.server_block),
        "included": None,
        "snippet_gates": [],
        "http3": False,
        "allow": _allow(gate),
        "certificate": _certificate(gate),
        "ca": _digest(files.read_if_there(gate.ca)),
        "crl": _digest(crl),
        "crl_begin": end_dates.latest_begin(crl or b""),
        "crl_end": end_dates.earliest_end(crl or b""),
        "revoked": bool(serial) and f"\n{serial} 1;\n".encode() in b"\n" + (files.read_if_there(gate.revoked) or b""),
        "requests": requests,
        "without": without,
        "errors": _errors(gate),
        "unread": _unread(gate),
    }


def _certificate(gate: Gate) -> str | None:
    """Return the SHA-256 fingerprint of the server certificate that the server block names, None without one."""
    own = server_certificates.named_in(gate.service, gate.server_block)
    return server_certificates.look(own, running=False).fingerprint if own else None


def _allow(gate: Gate) -> dict[str, t.Any] | None:
    """Return who may enter by the map ``$mtls_<service>_list``: every valid certificate, or these subjects."""
    for found in gates.read(files.read_if_there(gate.maps) or b"") or ():
        if (found.variable, found.path) == (gate.variable, ""):
            return {"everybody": found.everybody, "subjects": list(found.subjects)}
    return None


def _requests(gate: Gate, serial: str, dn: str) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    """Return the last requests with this certificate or one of the same subject, and who came last without any.

    Both oldest first; of those without, the last request of each program at each address.
    """
    logged = _as_logged(dn).lower()
    found: list[dict[str, t.Any]] = []
    without: dict[tuple[str, str], dict[str, t.Any]] = {}
    for line in _log_lines(gate, "access"):
        request = access_log.parse(line)
        if request is None:
            continue
        agent = one_line(request.agent)[:_LONGEST_AGENT]
        if request.serial == serial or (logged and request.dn.lower() == logged):
            found.append(
                {
                    "when": request.when,
                    "status": request.status,
                    "verify": request.verify,
                    "serial": request.serial,
                    "probe": request.probe,
                    "agent": agent,
                }
            )
        elif (request.verify, request.status) == ("NONE", 400) and not request.probe:
            caller = one_line(request.caller)[:_LONGEST_AGENT]
            without.pop((caller, agent), None)  # to the end
            without[caller, agent] = {"when": request.when, "caller": caller, "agent": agent}
    return found[-_MOST_REQUESTS:], list(without.values())[-_MOST_WITHOUT:]


def _errors(gate: Gate) -> list[str]:
    """Return the last lines of the error log that are about TLS; they do not name the certificate."""
    lines = [line for line in _log_lines(gate, "error") if _ABOUT_TLS.match(line) and nginx_process.STALE not in line]
    return [one_line(line.decode("utf-8", "replace")) for line in lines[-_MOST_ERRORS:]]


def _as_logged(dn: str) -> str:
    """Return a subject, which is printable ASCII, as log_format's default escaping writes it (ngx_http_log_escape)."""
    return dn.replace("\\", "\\x5C").replace('"', "\\x22")


def _log_lines(gate: Gate, kind: str) -> Iterator[bytes]:
    """Yield the last lines of a log, after those of the log rotated last."""
    rotated = _rotated(gate, kind)
    if rotated and rotated.endswith(".gz"):
        with contextlib.suppress(OSError, EOFError, zlib.error), files.open_regular(rotated) as stream:
            unpacked, tail = gzip.GzipFile(fileobj=stream), b""
            while chunk := unpacked.read(_TAIL):
                tail = (tail + chunk)[-_TAIL:]
            yield from tail.split(b"\n")
    elif rotated:
        yield from files.last_lines(rotated, _TAIL)
    yield from files.last_lines(os.path.join(gate.log_dir, f"mtls-{gate.service}.{kind}.log"), _TAIL)


def _rotated(gate: Gate, kind: str) -> str | None:
    """Return the log that was rotated last, whatever logrotate calls it, and wherever it puts it."""
    name = f"mtls-{gate.service}.{kind}.log"
    there = access_log.logs(gate.log_dir, name, 0, _ignore)
    rotated = [path for path in there if os.path.basename(path) != name]
    return max(rotated, key=os.path.getmtime, default=None)


def _ignore(_warning: str) -> None:
    """Take no notice of what is no log."""


def _unread(gate: Gate) -> list[str]:
    """Return the logs rotated last in which there may be more, because they are compressed with another program."""
    rotated = filter(None, (_rotated(gate, kind) for kind in ("access", "error")))
    return [path for path in rotated if logrotate.compression(path)]


def _digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()
