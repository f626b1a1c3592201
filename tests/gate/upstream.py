# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands behind the gate: an HTTP server that remembers every byte of every request's head."""

from __future__ import annotations

import socketserver
import threading


class Upstream:
    """`heads` are the requests that came through, as text; `url` is where.

    `X-Elsewhere` asks for a redirect; while `elsewhere` is set, everybody is sent there.
    """

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.elsewhere = ""
        upstream = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                upstream.answer(self)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, handler: socketserver.StreamRequestHandler) -> None:
        lines = []
        while (line := handler.rfile.readline()) not in (b"\r\n", b""):
            lines.append(line.decode("latin-1"))
        if not lines:
            return
        head = "".join(lines)
        self.heads.append(head)
        protocol = _header(head, "upgrade")
        if protocol:
            start = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol[0]}\r\n\r\n"
            handler.wfile.write(start.encode() + b"tunnel")
            return
        elsewhere = [*_header(head, "x-elsewhere"), self.elsewhere][0]
        if elsewhere:
            start = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            handler.wfile.write(start.encode())
            return
        body = b"UPSTREAM " + head.encode("latin-1")
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def take(self) -> list[str]:
        """The requests since the last call."""
        taken, self.heads = self.heads, []
        return taken

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def path_of(head: str) -> str:
    """The request target, without the query."""
    return head.split(" ", 2)[1].partition("?")[0]


def _header(head: str, name: str) -> list[str]:
    """The values of a header, by its name in lower case."""
    pairs = (line.split(":", 1) for line in head.split("\r\n")[1:] if ":" in line)
    return [value.strip() for key, value in pairs if key.lower() == name]


def headers_of(head: str) -> dict[str, list[str]]:
    """All headers as a CGI program would see them: upper case, everything but letters and digits an underscore."""
    found: dict[str, list[str]] = {}
    for line in head.split("\r\n")[1:]:
        if ":" in line:
            key, value = line.split(":", 1)
            name = "".join(letter if letter.isalnum() else "_" for letter in key.upper())
            found.setdefault(name, []).append(value.strip())
    return found
