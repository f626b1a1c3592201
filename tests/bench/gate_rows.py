# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the counter-measures cost: requests a second through our configuration and through the usual one."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable

from measure import Bench, BenchError, Measured, Row, process

from ansible_collections.mtls.nginx.tests.gate import nginxes, pki
from ansible_collections.mtls.nginx.tests.gate.host import Host

# As tutorials have it: sessions are resumed, the allow list is asked in the location.
USUAL = """
map $ssl_client_s_dn $allowed { default 0; "CN=admin" 1; }
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name 127.0.0.1;
    access_log log/site.access.log;
    ssl_session_cache shared:site:10m;
    ssl_client_certificate own/ca.crt;
    ssl_crl own/crl.pem;
    ssl_verify_client on;
    location / {
        if ($allowed = 0) { return 403; }
        root @FOLDER@/www;
    }
}
"""
AT_ONCE = 8


class Pair:
    """Two hosts with the same page, the same authority and the same nginx."""

    def __init__(self, bench: Bench) -> None:
        authority = pki.Authority(bench.folder / "pki", "Bench CA")
        self.admin = authority.client("admin")
        build = nginxes.build(nginxes.INSTALLED)
        self.usual, self.ours = (Host(build, bench.folder / name) for name in ("usual", "ours"))
        for host in (self.usual, self.ours):
            host.serve_as(authority.server("127.0.0.1"))
        self.usual.by_hand(USUAL, authority=authority)
        service = {"name": "nas", "server_names": ["127.0.0.1"], "allow": ["admin"]}
        self.ours.ours([{**service, "root": str(self.ours.folder / "www")}], authority)

    def measure(self, bench: Bench, rate: Callable[[Host], float]) -> Measured:
        measured = Measured(unit="/s")
        try:
            self.usual.start()
            self.ours.start()
            for _run, ours_first in bench.turns():
                sides = [(measured.ours, self.ours), (measured.peer, self.usual)]
                for values, host in sides if ours_first else reversed(sides):
                    values.append(rate(host))
        finally:
            self.usual.stop()
            self.ours.stop()
        return measured


def loaded(bench: Bench, count: int, *more: str) -> Measured:
    """Requests a second that ApacheBench gets through."""
    pair = Pair(bench)

    def rate(host: Host) -> float:
        url = f"https://127.0.0.1:{host.port}/index.html"
        text = process(["ab", "-q", "-n", count, "-c", min(AT_ONCE, count), "-E", pair.admin.path, *more, url]).text
        found = re.search(r"^Requests per second:\s+([\d.]+)", text, re.MULTILINE)
        if not found or "Non-2xx" in text or not re.search(r"^Failed requests:\s+0$", text, re.MULTILINE):
            raise BenchError(f"{host.folder.name}: {text}")
        return float(found[1])

    return pair.measure(bench, rate)


def new_connections(bench: Bench, count: int) -> Measured:
    return loaded(bench, count)


def kept_alive(bench: Bench, count: int) -> Measured:
    return loaded(bench, count, "-k")


def returning(bench: Bench, count: int, *, tls: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Measured:
    """One client that comes back for each page, one after the other, and offers the session of the last time.

    Counted by the processor time of nginx's worker: that of the client is more.
    """
    pair = Pair(bench)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = tls
    context.load_cert_chain(pair.admin.path)

    def rate(host: Host) -> float:
        session = None
        start = host.worker_seconds()
        for _page in range(count):
            with (
                socket.create_connection(("127.0.0.1", host.port)) as raw,
                context.wrap_socket(raw, session=session) as connection,
            ):
                connection.sendall(b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                answer = b""
                while received := connection.recv(65536):
                    answer += received
                session = connection.session
                resumed = connection.session_reused
            if b" 200 " not in answer[:20]:
                raise BenchError(f"{host.folder.name}: {answer[:200]!r}")
        if count > 1 and not resumed:
            raise BenchError(f"{host.folder.name}: the session was not resumed")
        return count / (host.worker_seconds() - start)

    return pair.measure(bench, rate)


def returning_with_tls_1_2(bench: Bench, count: int) -> Measured:
    return returning(bench, count, tls=ssl.TLSVersion.TLSv1_2)


ROWS = [
    Row("new-connections", "{n} requests, a new connection each", "the usual configuration", 3000, 8, new_connections),
    Row("kept-alive", "{n} requests on kept-alive connections", "the usual configuration", 40000, 16, kept_alive),
    Row(
        "returning",
        "{n} requests, a new connection each, with the session of the last (by the worker's processor time)",
        "the usual configuration, with tickets",
        500,
        4,
        returning,
    ),
    Row(
        "returning-tls12",
        "the same with TLS 1.2",
        "the usual configuration, with tickets",
        500,
        4,
        returning_with_tls_1_2,
    ),
]
