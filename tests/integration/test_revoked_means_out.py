# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each kind of connection when its client is revoked: one site, one revocation, all kinds at once."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import socketserver
import ssl
import threading
import time

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx
from ansible_collections.mtls.nginx.tests.ports import free_port

BOUND = 2
# What two busy cores, new workers and the pauses between two looks may add.
SLACK = 1.5


class _Upstream(http.server.BaseHTTPRequestHandler):
    """Downloads that never end, and websockets that echo until they are closed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            if self.headers.get("Upgrade") == "websocket":
                self.wfile.write(b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                while received := self.connection.recv(4096):
                    self.wfile.write(received)
            elif self.path == "/download":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\n\r\n")
                while True:
                    self.wfile.write(b"x" * 1024)
                    time.sleep(0.02)
            else:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def log_message(self, *arguments: object) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class Client:
    """The connections of one client. Each kind is a method that opens one and returns how to wait for its end."""

    def __init__(self, site, name: str, reloaded: threading.Event) -> None:
        self._port = site.port
        self._reloaded = reloaded
        self._identity = site.identity(name)

    def connect(self, alpn: str = "http/1.1", session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        if session is None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
            self.context.load_cert_chain(*self._identity)
            self.context.set_alpn_protocols([alpn])
        raw = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        return self.context.wrap_socket(raw, server_hostname="nas.lan", session=session)

    def get(self, connection: ssl.SSLSocket, path: str = "/", more: str = "") -> bytes:
        """Send a request; returns the beginning of the answer."""
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: nas.lan\r\n{more}\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            received = connection.recv(4096)
            if not received:
                break
            answer += received
        return answer

    def full_handshake(self):
        return self._until_refused(lambda: None)

    def resumed_session(self):
        with self.connect() as connection:
            assert b" 200 " in self.get(connection)
            session = connection.session
        with self.connect(session=session) as connection:
            assert connection.session_reused
            assert b" 200 " in self.get(connection)
        return self._until_refused(lambda: session)

    def _until_refused(self, session):
        """The moment of the first refusal that no admission follows."""

        def wait():
            refusals: list[float] = []
            while len(refusals) < 20:
                with self.connect(session=session()) as connection:
                    status = self.get(connection, more="Connection: close\r\n").split(b" ", 2)[1]
                if status == b"400":
                    assert not connection.session_reused
                    refusals.append(time.monotonic())
                else:
                    assert status == b"200"
                    refusals.clear()
                time.sleep(0.01)
            return refusals[0]

        return wait

    def idle_keep_alive(self):
        connection = self.connect()
        assert b" 200 " in self.get(connection)
        return lambda: _until_end(connection)

    def idle_http2(self):
        connection = self._http2("/")
        return lambda: _until_end(connection)

    def before_the_handshake(self):
        return self._opened_until_the_reload(lambda: socket.create_connection(("127.0.0.1", self._port), timeout=30))

    def before_its_first_request(self):
        return self._opened_until_the_reload(self.connect)

    def half_a_request(self):
        def opened():
            connection = self.connect()
            connection.sendall(b"GET / HTTP/1.1\r\nHost: nas.lan\r\n")
            return connection

        return self._opened_until_the_reload(opened)

    def _opened_until_the_reload(self, opened):
        """Connections that nginx ends by itself after a while: the last ones before the reload are of interest."""

        def wait():
            connections = []
            while not self._reloaded.wait(0.1):
                connections.append(opened())
            for connection in connections[-10:]:
                with contextlib.suppress(ConnectionError):
                    _until_end(connection)

        return wait

    def download(self):
        connection = self.connect()
        assert b" 200 " in self.get(connection, "/download")
        return lambda: _until_end(connection)

    def http2_download(self):
        connection = self._http2("/download")
        return lambda: _until_end(connection)

    def websocket(self):
        connection = self.connect()
        assert b" 101 " in self.get(connection, more="Connection: Upgrade\r\nUpgrade: websocket\r\n")

        def wait():
            while True:
                connection.sendall(b"ping")
                if not connection.recv(4):
                    return
                time.sleep(0.02)

        return wait

    def _http2(self, path: str) -> ssl.SSLSocket:
        """A connection with one request made (RFC 9113; the header block is RFC 7541's simplest)."""
        connection = self.connect("h2")
        assert connection.selected_alpn_protocol() == "h2"
        block = b"\x82\x87" + b"".join(
            bytes((index, len(value))) + value for index, value in ((0x04, path.encode()), (0x01, b"nas.lan"))
        )
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"") + _frame(4, 1, 0, b"") + _frame(1, 5, 1, block)
        )
        kinds = set()
        while 0 not in kinds:  # DATA
            header = _exactly(connection, 9)
            kinds.add(header[3])
            payload = _exactly(connection, int.from_bytes(header[:3], "big"))
            if header[3] == 1:
                assert payload[0] == 0x88  # :status 200
        return connection


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _exactly(connection: ssl.SSLSocket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        received += connection.recv(length - len(received))
    return received


def _until_end(connection: ssl.SSLSocket) -> None:
    while connection.recv(65536):
        pass


AT_ONCE = ["full_handshake", "resumed_session", "idle_keep_alive", "idle_http2"]
BUSY = ["download", "http2_download", "websocket"]
NOT_BEGUN = ["before_the_handshake", "before_its_first_request", "half_a_request"]


@pytest.fixture(scope="module")
def seconds(module_site):
    """Seconds from the first new worker process to the end of each kind of connection."""
    site = module_site
    server = _Server(("127.0.0.1", 0), _Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.port = free_port()
    host = site.add_host("nas", mtls_clients=[{"name": "admin"}, {"name": "lost"}], mtls_shutdown_timeout=BOUND)
    site.host_vars["nas"]["mtls_services"] = [
        {
            "name": "nas",
            "server_names": ["nas.lan"],
            "listen": f"127.0.0.1:{site.port}",
            "upstream": f"http://127.0.0.1:{server.server_port}",
        }
    ]
    site.ok()
    ended: dict[str, float] = {}
    reloaded = threading.Event()
    waits = {kind: getattr(Client(site, "lost", reloaded), kind)() for kind in AT_ONCE + BUSY + NOT_BEGUN}
    threads = [
        threading.Thread(target=_note_end, args=(wait, kind, ended), daemon=True) for kind, wait in waits.items()
    ]
    threads.append(threading.Thread(target=_note_new_workers, args=(host, ended, reloaded), daemon=True))
    for thread in threads:
        thread.start()
    site.host_vars["nas"]["mtls_clients"][1]["state"] = "revoked"
    site.ok()
    for thread in threads:
        thread.join(BOUND + 10)
    assert site.status(site.port, client="admin") == 200
    server.shutdown()
    server.server_close()
    start = ended.pop("new workers")
    return {kind: moment - start for kind, moment in ended.items()}


def _note_end(wait, kind: str, ended: dict[str, float]) -> None:
    moment = None
    with contextlib.suppress(OSError):  # a connection that is reset has ended too
        moment = wait()
    ended[kind] = moment or time.monotonic()


def _note_new_workers(host, ended: dict[str, float], reloaded: threading.Event) -> None:
    nginx = Nginx(shutil.which("nginx"), str(host.conf))
    master = nginx.master()
    before = nginx.workers(master)
    while nginx.workers(master) <= before:
        time.sleep(0.005)
    ended["new workers"] = time.monotonic()
    reloaded.set()


@pytest.mark.parametrize("kind", AT_ONCE)
def test_refused_as_soon_as_the_new_configuration_serves(seconds, kind):
    assert seconds[kind] < SLACK


@pytest.mark.parametrize("kind", BUSY)
def test_a_busy_connection_ends_with_the_bound(seconds, kind):
    # Not much sooner either: whoever is not revoked may want to finish.
    assert BOUND - 0.5 < seconds[kind] < BOUND + SLACK


@pytest.mark.parametrize("kind", NOT_BEGUN)
def test_a_connection_from_before_that_has_asked_for_nothing_ends_within_the_bound(seconds, kind):
    assert seconds[kind] < BOUND + SLACK
