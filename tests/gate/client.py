# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever asks: TLS connections with or without a client certificate, polite or not."""

from __future__ import annotations

import functools
import socket
import ssl
import subprocess
from dataclasses import dataclass, field

from .pki import Identity

SAME = "the host's name"
_SECONDS = 10
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


class _Context(ssl.SSLContext):
    """Sends any text as the server name, where Python would want a host name."""

    def _encode_hostname(self, hostname: str | None) -> str | None:
        return hostname


@dataclass(frozen=True)
class Answer:
    """What came back: an HTTP status, or None and the reason why there is none (a TLS alert, a closed connection)."""

    status: int | None
    head: str = ""
    body: bytes = b""
    reason: str = ""
    resumed: bool = False
    session: ssl.SSLSession | None = field(default=None, repr=False)

    @property
    def let_in(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@functools.lru_cache(maxsize=32)
def context(tls: str, identity: Identity | None) -> ssl.SSLContext:
    made = _Context(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = VERSIONS[tls]
    if identity:
        made.load_cert_chain(identity.path)
    return made


def ask(
    port: int,
    path: str = "/",
    *,
    tls: str,
    host: str = "nas.test",
    sni: str | None = SAME,
    client: Identity | None = None,
    headers: str = "",
    session: ssl.SSLSession | None = None,
    method: str = "GET",
    body: str = "",
    request: str | None = None,
    address: str = "127.0.0.1",
    source: str | None = None,
    before: bytes = b"",
) -> Answer:
    """One GET, or `request` as it stands, over a connection of its own.

    `source` is the address that it comes from; `before` is sent ahead of TLS.
    """
    if request is None:
        headers += f"Content-Length: {len(body)}\r\n" if body else ""
        request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n{body}"
    name = host if sni is SAME else sni
    try:
        own = (source, 0) if source else None
        with socket.create_connection((address, port), timeout=_SECONDS, source_address=own) as raw:
            raw.sendall(before)
            with context(tls, client).wrap_socket(raw, server_hostname=name, session=session) as connection:
                connection.sendall(request.encode("latin-1"))
                received = _everything(connection)
                return _answer(received, connection.session_reused, connection.session)
    except ssl.SSLError as error:
        return Answer(None, reason=error.reason or str(error))
    except OSError as error:
        return Answer(None, reason=str(error))


def ask_plainly(
    port: int,
    path: str = "/",
    host: str = "nas.test",
    *,
    address: str = "127.0.0.1",
    method: str = "GET",
    headers: str = "",
) -> Answer:
    """One request without TLS."""
    with socket.create_connection((address, port), timeout=_SECONDS) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n".encode())
        return _answer(_everything(connection), False, None)


def curl(
    port: int,
    path: str = "/",
    *,
    host: str = "nas.test",
    client: Identity | None = None,
    body: str = "",
    accept: str = "*/*",
) -> Answer:
    """One GET, or with a body POST, by curl over HTTP/2."""
    certificate = ("--cert", str(client.path)) if client else ()
    done = subprocess.run(
        ["curl", "--silent", "--insecure", "--http2", "--include", "--max-time", str(_SECONDS), *certificate]
        + ["--header", f"Accept: {accept}"]
        + (["--data-binary", "@-"] if body else [])
        + ["--resolve", f"{host}:{port}:127.0.0.1", f"https://{host}:{port}{path}"],
        input=body.encode(),
        capture_output=True,
        check=False,
    )
    return _answer(done.stdout, False, None)


def _everything(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def _answer(received: bytes, resumed: bool, session: ssl.SSLSession | None) -> Answer:
    head, _blank, body = received.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    if not text.startswith("HTTP/"):
        return Answer(None, body=received, reason="no HTTP answer")
    return Answer(int(text.split()[1]), text, body, resumed=resumed, session=session)
