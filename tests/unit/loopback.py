# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP server on loopback that says what a test wants: for how a client takes what no honest server says."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One answer; a mapping as `body` is sent as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        handler.send_response_only(self.status)
        for name, value in {"Content-Length": str(len(content)), **self.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)


@dataclass(frozen=True)
class Heard:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


Answer = Reply | Callable[[http.server.BaseHTTPRequestHandler], None]


class Loopback:
    """What is not answered gets 404; of several answers each is given once, the last one again and again."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.connections = 0
        self.url = ""
        self._answers: dict[tuple[str, str], list[Answer]] = {}

    def says(self, method: str, path: str, *answers: Answer) -> None:
        self._answers[method, path] = list(answers)

    def asked(self) -> list[tuple[str, str]]:
        return [(request.method, request.path) for request in self.heard]

    def answer_to(self, method: str, path: str) -> Answer:
        answers = self._answers.get((method, path)) or [Reply(404, {"errors": []})]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def loopback() -> Iterator[Loopback]:
    """Serve until the end of the ``with``."""
    said = Loopback()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else a body waits 40 ms for the acknowledgement of its headers

        def setup(self) -> None:
            super().setup()
            said.connections += 1

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said.heard.append(Heard(self.command, self.path, self.headers, json.loads(content) if content else None))
            answer = said.answer_to(self.command, self.path)
            if isinstance(answer, Reply):
                answer.send(self)
            else:
                answer(self)

        do_GET = do_POST = do_LIST = answer

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False  # a client may keep its connection for longer than the test
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        said.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield said
        finally:
            server.shutdown()
            thread.join()
