# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application as people run them: pages of its own for errors, uploads, a websocket that echoes, other headers."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import threading
from dataclasses import dataclass

_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


@dataclass(frozen=True)
class Seen:
    """A request as the application saw it."""

    method: str
    path: str
    headers: dict[str, str]
    size: int


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        size = 0
        for chunk in self._body():
            size += len(chunk)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen(self.command, self.path, headers, size))
        if headers.get("upgrade") == "websocket":
            self._echo(headers["sec-websocket-key"])
            return
        status = int(self.path.rpartition("/")[2]) if self.path.startswith("/status/") else 200
        body = f"APP {self.command} {self.path} {size}".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Alt-Svc", 'h3=":443"')
        self.send_header("Strict-Transport-Security", "max-age=1")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while length := int(self.rfile.readline(), 16):
                yield self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            chunk = self.rfile.read(min(left, 1 << 20))
            left -= len(chunk)
            yield chunk

    def _echo(self, key: str) -> None:
        accept = base64.b64encode(hashlib.sha1(f"{key}{_WEBSOCKET}".encode()).digest()).decode()
        self.send_response(101)
        for name, value in {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            while head := self.rfile.read(6):  # a short masked frame: two bytes of head, four of mask
                payload = bytes(
                    byte ^ head[2 + index % 4] for index, byte in enumerate(self.rfile.read(head[1] & 0x7F))
                )
                self.wfile.write(bytes([0x80 | head[0] & 0x0F, len(payload)]) + payload)

    def log_message(self, *arguments: object) -> None:
        pass

    do_GET = do_HEAD = do_POST = do_PUT = do_OPTIONS = do_DELETE = _answer


class App:
    """`url` is where; `seen` are the requests that came through."""

    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.seen = []
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def take(self) -> list[Seen]:
        """The requests since the last call."""
        taken, self._server.seen = self._server.seen, []
        return taken

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
