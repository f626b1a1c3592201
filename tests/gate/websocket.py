# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A websocket (RFC 6455), as far as it takes to hear an echo through TLS."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import time

from .client import context
from .pki import Identity


def echo(
    port: int, path: str, *, tls: str, host: str = "nas.test", client: Identity | None = None, wait: float = 0
) -> bytes | None:
    """What comes back of "hello", said after a silence in seconds; None where the upgrade is refused, or cut off."""
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context(tls, client).wrap_socket(raw, server_hostname=host) as connection,
    ):
        connection.sendall(request.encode())
        stream = connection.makefile("rb")
        if b" 101 " not in stream.readline():
            return None
        while stream.readline() != b"\r\n":
            pass
        mask, text = os.urandom(4), b"hello"
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))
        time.sleep(wait)
        with contextlib.suppress(OSError):
            connection.sendall(bytes([0x81, 0x80 | len(text)]) + mask + masked)
            head = stream.read(2)
            return stream.read(head[1]) if head else None
        return None
