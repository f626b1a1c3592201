# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name server on loopback, as small as nginx's resolver allows (RFC 1035, section 4)."""

from __future__ import annotations

import socket
import struct
import threading

_A, _IN = 1, 1
_NXDOMAIN = 3


class NameServer:
    """Answers 127.0.0.1 for the names in `known`, and that there is no such name for all others.

    `asked` are the names that were asked for.
    """

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, sender = self._socket.recvfrom(512)
            if not query:
                return
            self._socket.sendto(self._answer(query), sender)

    def _answer(self, query: bytes) -> bytes:
        labels, position = [], 12
        while query[position]:
            labels.append(query[position + 1 : position + 1 + query[position]].decode())
            position += 1 + query[position]
        question = query[12 : position + 5]
        kind = struct.unpack("!H", question[-4:-2])[0]
        name = ".".join(labels)
        self.asked.append(name)
        known = name in self.known
        answers = 1 if known and kind == _A else 0
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | (0 if known else _NXDOMAIN), 1, answers, 0, 0)
        # A pointer to the name in the question, one second to live.
        record = struct.pack("!HHHIH", 0xC00C, _A, _IN, 1, 4) + socket.inet_aton("127.0.0.1")
        return head + question + record * answers
