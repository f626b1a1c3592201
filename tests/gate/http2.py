# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough HTTP/2 (RFC 9113) to ask for a page under any name; header fields are never indexed (RFC 7541, 6.2.3)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence

from .client import VERSIONS
from .pki import Identity

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x7
_END_STREAM, _END_HEADERS = 0x1, 0x4
_INDEXED_STATUS = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}  # RFC 7541, appendix A
ORDER = (":method", ":scheme", ":path", ":authority")
_HUFFMAN_DIGITS = {f"{digit:05b}": str(digit) for digit in range(3)}
_HUFFMAN_DIGITS |= {f"{0x16 + digit:06b}": str(digit) for digit in range(3, 10)}


def get(
    port: int,
    path: str,
    *,
    tls: str,
    sni: str,
    client: Identity | None,
    authority: str | None,
    host: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    order: Sequence[str] = ORDER,
) -> int | None:
    """The status of one request; None where the server ends the stream or the connection instead.

    No Content-Length says how long a body is. `order` is that of the pseudo-header fields, which is each client's own.
    """
    pseudo = {":method": method, ":scheme": "https", ":path": path, ":authority": authority}
    fields = [(name, value) for name in order if (value := pseudo[name])]
    fields += [("host", host)] if host else []
    fields += (headers or {}).items()
    block = b"".join(b"\x10" + _text(name) + _text(value) for name, value in fields)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = VERSIONS[tls]
    made.set_alpn_protocols(["h2"])
    if client:
        made.load_cert_chain(client.path)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        made.wrap_socket(raw, server_hostname=sni) as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"
        ends = _END_HEADERS if body else _END_STREAM | _END_HEADERS
        request = _frame(_SETTINGS, 0, 0, b"") + _frame(_HEADERS, ends, 1, block)
        request += _frame(_DATA, _END_STREAM, 1, body) if body else b""
        connection.sendall(_PREFACE + request)
        stream = connection.makefile("rb")
        while len(head := stream.read(9)) == 9:
            payload = stream.read(int.from_bytes(head[:3], "big"))
            if head[3] == _HEADERS:
                return _status(payload)
            if head[3] in (_GOAWAY, _RST_STREAM):
                return None
    return None


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _text(value: str) -> bytes:
    assert len(value) < 127
    return bytes([len(value)]) + value.encode()


def _status(block: bytes) -> int:
    """`:status` is the first field: from the static table, or a literal with its name there (index 8)."""
    while block[0] & 0xE0 == 0x20:  # the dynamic table's size
        block = block[1:]
    if block[0] & 0x80:
        return _INDEXED_STATUS[block[0] & 0x7F]
    length, value = block[1] & 0x7F, block[2:]
    if not block[1] & 0x80:
        return int(value[:length])
    bits, digits = "".join(f"{octet:08b}" for octet in value[:length]), ""
    while len(digits) < 3:
        size = 5 if bits[:5] in _HUFFMAN_DIGITS else 6
        digits, bits = digits + _HUFFMAN_DIGITS[bits[:size]], bits[size:]
    return int(digits)
