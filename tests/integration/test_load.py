# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that may enter notice nothing: configuration changes and reloads under load, and not one failed request."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import multiprocessing
import shutil
import ssl
import threading
import time

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import transaction
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, WantedFile
from ansible_collections.mtls.nginx.tests.ports import free_port

RATE = 100  # requests a second, at least
KEPT_ALIVE, KEPT_ALIVE_PAUSE = 8, 1 / 15
NEW, NEW_PAUSE = 4, 1 / 10


@dataclasses.dataclass
class Count:
    requests: int = 0
    connections: int = 0
    repeated: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)


class Visitor(threading.Thread):
    """A client that asks at a steady pace, over one connection as long as it lasts or over a new one each time."""

    def __init__(self, port: int, identity: tuple[str, str], kept_alive: bool, over) -> None:
        super().__init__(daemon=True)
        self.count = Count()
        self._port, self._kept_alive, self._over = port, kept_alive, over
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self._context.load_cert_chain(*identity)
        self._connection: http.client.HTTPSConnection | None = None

    def run(self) -> None:
        pause = KEPT_ALIVE_PAUSE if self._kept_alive else NEW_PAUSE
        due = time.monotonic()
        while not self._over.is_set():
            try:
                self._ask()
            except Exception as error:  # whatever it is, a client has noticed something
                self.count.failures.append(repr(error))
                self._close()
            self.count.requests += 1
            due = max(due + pause, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _ask(self) -> None:
        used = self._connection is not None
        try:
            status = self._get()
        except (http.client.RemoteDisconnected, ConnectionError):
            # A server may close an idle connection just when a request is on its way, and every HTTP client then
            # repeats it over a new one (RFC 9112, 9.3.1). On a new connection that is a failure.
            if not used:
                raise
            self.count.repeated += 1
            self._close()
            status = self._get()
        if status != 200:
            self.count.failures.append(f"status {status}")
        if not self._kept_alive:
            self._close()

    def _get(self) -> int:
        if self._connection is None:
            self.count.connections += 1
            self._connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=10, context=self._context)
        self._connection.request("GET", "/", headers={"Host": "127.0.0.1"})
        response = self._connection.getresponse()
        if response.read() != b"page" and response.status == 200:
            self.count.failures.append("another page")
        if response.will_close:
            self._close()
        return response.status

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def load(port: int, identity: tuple[str, str], over, answer) -> None:
    visitors = [Visitor(port, identity, number < KEPT_ALIVE, over) for number in range(KEPT_ALIVE + NEW)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    answer.put([visitor.count for visitor in visitors])


@contextlib.contextmanager
def visitors(port: int, identity: tuple[str, str], counts: list[Count]):
    """Load from a process of its own, so that it does not wait for the one who changes the configuration."""
    processes = multiprocessing.get_context("fork")
    over, answer = processes.Event(), processes.Queue()
    process = processes.Process(target=load, args=(port, identity, over, answer), daemon=True)
    process.start()
    try:
        yield
    finally:
        over.set()
        counts += answer.get(timeout=30)
        process.join()


@pytest.mark.parametrize("changes", [8, pytest.param(50, marks=pytest.mark.long)])
def test_legitimate_clients_notice_nothing(site, changes):
    port = free_port()
    host = site.add_host("web", mtls_clients=[{"name": "phone"}, {"name": "tablet"}])
    page = site.folder / "www" / "index.html"
    page.parent.mkdir()
    page.write_text("page")
    service = {
        "name": "web",
        "server_names": ["127.0.0.1"],
        "listen": f"127.0.0.1:{port}",
        "root": str(page.parent),
        "allow": ["phone", "tablet"],
    }
    site.host_vars["web"]["mtls_services"] = [service]
    site.ok()
    maps = host.folder / "conf.d" / "mtls.conf"
    with_tablet = maps.read_bytes()
    without_tablet = with_tablet.replace(b'    "SUCCESS:CN=tablet" 1;\n', b"")
    assert with_tablet != without_tablet
    nginx = Nginx(shutil.which("nginx"), str(host.conf))

    counts: list[Count] = []
    start = time.monotonic()
    with visitors(port, site.identity("phone"), counts):
        for number in range(changes):
            wanted = WantedFile(str(maps), with_tablet if number % 2 else without_tablet)
            outcome = transaction.run(nginx, ChangeRequest(wanted=[wanted]))
            assert outcome.reloaded
            asked = site.status(port, client="tablet", host="127.0.0.1", sni=None)
            assert asked == (200 if number % 2 else 403)
            time.sleep(0.2)
        seconds = time.monotonic() - start

    assert [failure for count in counts for failure in count.failures] == []
    assert sum(count.requests for count in counts) >= RATE * seconds
    # Both kinds were there, and the reloads were felt by nobody but the connections that had to be opened anew.
    kept_alive, new = counts[:KEPT_ALIVE], counts[KEPT_ALIVE:]
    assert sum(count.connections for count in kept_alive) >= KEPT_ALIVE * (changes - 1)
    assert all(count.connections == count.requests for count in new)
