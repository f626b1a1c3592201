# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An upstream that speaks TLS, and remembers who came: the name that was asked for, the client, the request."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass

from .pki import Identity


@dataclass(frozen=True)
class Visit:
    """`sni` is None without one; `client` is the CN of the client's `certificate` (DER), None without one."""

    sni: str | None
    client: str | None
    certificate: bytes | None
    resumed: bool
    head: str

    def header(self, name: str) -> list[str]:
        pairs = (line.split(": ", 1) for line in self.head.split("\r\n")[1:] if ": " in line)
        return [value for key, value in pairs if key.lower() == name.lower()]


class TlsUpstream:
    """Serves with `identity`; asks clients for a certificate of `client_ca`, if there is one.

    With `keep`, a connection stays for more requests.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        client_ca: str | None = None,
        location: str = "",
        tls: str = "TLSv1.2",
        keep: bool = False,
    ) -> None:
        self.visits: list[Visit] = []
        self._keep = keep
        self._location = location
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(identity.path)
        self._context.maximum_version = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}[tls]
        if tls == "TLSv1.3":
            self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        if client_ca:
            self.trust(client_ca)
        self._names: dict[int, str | None] = {}
        self._context.sni_callback = lambda connection, name, _context: self._names.update({id(connection): name})
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def trust(self, client_ca: str) -> None:
        """Ask for certificates of this CA from now on."""
        self._context.load_verify_locations(cadata=client_ca)
        self._context.verify_mode = ssl.CERT_OPTIONAL

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _address = self._socket.accept()
                threading.Thread(target=self._answer, args=(raw,), daemon=True).start()

    def _answer(self, raw: socket.socket) -> None:
        with contextlib.suppress(OSError), raw, self._context.wrap_socket(raw, server_side=True) as connection:
            while self._answer_one(connection) and self._keep:
                pass

    def _answer_one(self, connection: ssl.SSLSocket) -> bool:
        received = b""
        while b"\r\n\r\n" not in received:
            if not (chunk := connection.recv(65536)):
                return False
            received += chunk
        names = dict(pair for part in (connection.getpeercert() or {}).get("subject", ()) for pair in part)
        head = received.partition(b"\r\n\r\n")[0].decode("latin-1")
        sni, certificate = self._names.get(id(connection)), connection.getpeercert(binary_form=True)
        self.visits.append(Visit(sni, names.get("commonName"), certificate, bool(connection.session_reused), head))
        status = f"302 Found\r\nLocation: {self._location}" if self._location else "200 OK"
        kept = "keep-alive" if self._keep else "close"
        connection.sendall(f"HTTP/1.1 {status}\r\nConnection: {kept}\r\nContent-Length: 2\r\n\r\nOK".encode())
        return True

    def take(self) -> list[Visit]:
        """The visits since the last call."""
        taken, self.visits = self.visits, []
        return taken

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
