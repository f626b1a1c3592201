# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real requests to a service: a TLS handshake with or without a client certificate, or none, and one `GET`."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
import typing as t
from dataclasses import dataclass

# Who gets past the gate is answered by nginx itself here, so what stands behind the gate is not bothered.
GATE_PATH = "/.mtls-nginx-gate"
LET_IN = 204
NO_OR_BAD_CERTIFICATE = 400
NOT_ON_THE_LIST = 403
REDIRECTED = 301
# Speaks for nobody: the address that counts is the connection's own.
_PROXY_LINE = b"PROXY UNKNOWN\r\n"
USER_AGENT = "mtls.nginx-probe"


@dataclass(frozen=True)
class Target:
    """Where a service answers: `server_name` is sent as SNI unless it is an IP address, and as Host.

    `proxy_protocol`: it expects a line of the PROXY protocol before anything else. Without `tls` it is plain HTTP.
    """

    address: str
    port: int
    server_name: str
    proxy_protocol: bool = False
    tls: bool = True


@dataclass(frozen=True)
class Attempt:
    """Somebody asking for a path. `expect` is the status that the gate must answer.

    None: any but `other_than`, where only that is in question.

    `key` is left out where it is in the certificate's file.
    """

    who: str
    expect: int | None
    certificate: str | None = None
    key: str | None = None
    path: str = GATE_PATH
    other_than: int = NO_OR_BAD_CERTIFICATE


@dataclass(frozen=True)
class ProbeOutcome:
    """What an attempt got: an HTTP status, or what went wrong before there was one.

    ``reached``: there was a connection. ``served`` is the server's certificate in DER, None where there was no
    handshake.
    """

    attempt: Attempt
    status: int | None
    error: str | None = None
    reached: bool = True
    served: bytes | None = None

    @property
    def got(self) -> str:
        """The status as text, or what went wrong."""
        return str(self.status) if self.status is not None else str(self.error)

    @property
    def ok(self) -> bool:
        """Whether the gate did what it must."""
        if self.attempt.expect is None:
            return self.status not in (None, self.attempt.other_than)
        return self.status == self.attempt.expect

    @property
    def expected(self) -> str:
        """What must come, as text."""
        expect = self.attempt.expect
        return str(expect) if expect is not None else f"anything but {self.attempt.other_than}"


def ask(target: Target, attempt: Attempt, *, timeout: float = 10.0) -> ProbeOutcome:
    """Make one request and close the connection. Never raises for what network or TLS do.

    The server's certificate is not verified: what is in question is whom the server lets in.
    """
    context, reached, served = _context(), False, None
    try:
        if attempt.certificate:
            context.load_cert_chain(attempt.certificate, attempt.key)
        with socket.create_connection((target.address, target.port), timeout=timeout) as raw:
            reached = True
            with _begun(raw, target, context) as connection:
                served = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
                connection.sendall(_request(target, attempt.path))
                return ProbeOutcome(attempt, _status(connection, time.monotonic() + timeout), served=served)
    except TimeoutError:
        return ProbeOutcome(attempt, None, f"no answer within {timeout:.0f} s", reached, served)
    except ssl.SSLError as error:
        return ProbeOutcome(attempt, None, f"TLS: {error.reason or error}", reached, served)
    except OSError as error:
        return ProbeOutcome(attempt, None, (error.strerror or str(error)).lower(), reached, served)


def served_certificate(target: Target, *, timeout: float = 5.0) -> bytes | None:
    """Return the certificate that is served there, in DER; None where no handshake succeeds."""
    try:
        raw = socket.create_connection((target.address, target.port), timeout=timeout)
        with raw, _begun(raw, target, _context()) as connection:
            return connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    except OSError:
        return None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _begun(raw: socket.socket, target: Target, context: ssl.SSLContext) -> socket.socket:
    """Say what comes before HTTP on a connection; return what HTTP is spoken on."""
    if target.proxy_protocol:
        raw.sendall(_PROXY_LINE)
    return context.wrap_socket(raw, server_hostname=_sni(target)) if target.tls else raw


def _sni(target: Target) -> str | None:
    try:
        ipaddress.ip_address(target.server_name)
    except ValueError:
        return target.server_name
    return None


def _request(target: Target, path: str) -> bytes:
    name = f"[{target.server_name}]" if ":" in target.server_name else target.server_name
    host = name if target.port == (443 if target.tls else 80) else f"{name}:{target.port}"
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nConnection: close\r\n\r\n".encode()


def _status(connection: socket.socket, deadline: float) -> int:
    """Return the answer's status; raise TimeoutError where its first line has not come by ``deadline``."""
    line = b""
    while b"\r\n" not in line and len(line) < 4096:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        received = connection.recv(4096)
        if not received:
            break
        line += received
    # Without a reason behind it, an upstream may end the line at the status, and nginx hands that on.
    found = re.match(rb"HTTP/\S+ ([1-9]\d\d)(?:[ \r]|\Z)", line)
    if found is None:
        raise OSError(0, "the answer is not HTTP" if line else "connection closed without an answer")
    return int(found[1])


def summary(service: str, outcome: ProbeOutcome) -> dict[str, t.Any]:
    """Return an outcome in the words of the `tls_probe` module's return value."""
    return {
        "service": service,
        "who": outcome.attempt.who,
        "expected": outcome.expected,
        "got": outcome.got,
        "ok": outcome.ok,
    }
