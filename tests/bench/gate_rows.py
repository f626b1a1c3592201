# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the counter-measures cost: nginx's work for a request through our configuration and through the usual one."""

from __future__ import annotations

import datetime
import functools
import re
import socket
import ssl
from collections.abc import Callable, Iterator

from measure import Bench, BenchError, Goal, Measured, Row, process

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, numbers
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
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
# The same, handed on with the headers that most set.
USUAL_PROXIED = USUAL.replace(
    "root @FOLDER@/www;",
    """
        proxy_pass http://127.0.0.1:@UPSTREAM@;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-SSL-Client $ssl_client_s_dn;""",
)
UPSTREAM = "server { listen 127.0.0.1:@PORT@; root @FOLDER@/www; }"
AT_ONCE = 8
_BUILDS = ((nginxes.INSTALLED, ""), (nginxes.MAINLINE, "-mainline"))  # and how rows on them end
_CRL_CONNECTIONS = 600


class Pair:
    """Two hosts with the same page or upstream, the same authority and the same nginx."""

    def __init__(
        self, bench: Bench, nginx: str = nginxes.INSTALLED, *, proxied: bool = False, both_ours: bool = False
    ) -> None:
        self.authority = pki.Authority(bench.folder / "pki", "Bench CA")
        self.admin = self.authority.client("admin")
        try:
            build = nginxes.build(nginx)
        except nginxes.NotAvailable as error:
            raise BenchError(str(error)) from error
        self.upstream = Host(build, bench.folder / "upstream")
        self.upstream.by_hand(UPSTREAM, http="")
        words = {"UPSTREAM": str(self.upstream.port)}
        self.usual, self.ours = (Host(build, bench.folder / name, **words) for name in ("usual", "ours"))
        server = self.authority.server("127.0.0.1")
        for host in (self.usual, self.ours):
            host.serve_as(server)
        self._behind = {"upstream": f"http://127.0.0.1:{self.upstream.port}"} if proxied else {}
        self.serve(self.ours)
        if both_ours:
            self.serve(self.usual)
        else:
            self.usual.by_hand(USUAL_PROXIED if proxied else USUAL, authority=self.authority)

    def serve(self, host: Host, crl: str | None = None) -> None:
        """Have a host serve our way."""
        service = {"name": "nas", "server_names": ["127.0.0.1"], "allow": ["admin"]}
        behind = self._behind or {"root": str(host.folder / "www")}
        host.ours([{**service, **behind}], self.authority, crl=crl)

    def measure(self, bench: Bench, ask: Callable[[Host], int]) -> Measured:
        """Return the processor time of nginx's worker for each request; `ask` returns how many it has made.

        The kernel's part counts, the clients' does not.
        """
        measured = Measured(unit="µs")
        hosts = (self.upstream, self.usual, self.ours)
        try:
            for host in hosts:
                host.start()
            for _run, ours_first in bench.turns():
                sides = [(measured.ours, self.ours), (measured.peer, self.usual)]
                for values, host in sides if ours_first else reversed(sides):
                    start = host.worker_seconds()
                    count = ask(host)
                    values.append((host.worker_seconds() - start) / count * 1e6)
        finally:
            for host in hosts:
                host.stop()
        return measured


def load(pair: Pair, count: int, *more: str) -> Callable[[Host], int]:
    """Return what has ApacheBench ask a host so often."""

    def ask(host: Host) -> int:
        url = f"https://127.0.0.1:{host.port}/index.html"
        text = process(["ab", "-q", "-n", count, "-c", min(AT_ONCE, count), "-E", pair.admin.path, *more, url]).text
        if "Non-2xx" in text or not re.search(r"^Failed requests:\s+0$", text, re.MULTILINE):
            raise BenchError(f"{host.folder.name}: {text}")
        return count

    return ask


def new_connections(bench: Bench, count: int, nginx: str = nginxes.INSTALLED, *, proxied: bool = False) -> Measured:
    pair = Pair(bench, nginx, proxied=proxied)
    return pair.measure(bench, load(pair, count))


def kept_alive(bench: Bench, count: int, nginx: str = nginxes.INSTALLED, *, proxied: bool = False) -> Measured:
    pair = Pair(bench, nginx, proxied=proxied)
    return pair.measure(bench, load(pair, count, "-k"))


def long_crl(bench: Bench, entries: int, nginx: str = nginxes.INSTALLED) -> Measured:
    """Both sides are ours; the CRL of one has so many entries, that of the other none."""
    pair = Pair(bench, nginx, both_ours=True)
    now = times.now()
    serials = [numbers.hexadecimal(numbers.random_serial()) for _entry in range(entries)]
    revoked = crls.encode_revoked({(times.asn1_text(now), None): serials})
    state = crls.CrlState(1, now, now + datetime.timedelta(days=10), 0)
    pair.serve(pair.ours, crls.build_crl(pair.authority.issuer, revoked, state).decode())
    return pair.measure(bench, load(pair, min(entries, _CRL_CONNECTIONS)))


def returning(bench: Bench, count: int, *, tls: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Measured:
    """One client that comes back for each page, one after the other, and offers the session of the last time."""
    pair = Pair(bench)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = tls
    context.load_cert_chain(pair.admin.path)

    def ask(host: Host) -> int:
        session = None
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
        return count

    return pair.measure(bench, ask)


def _of_each_kind(name: str, work: str, n: int, tiny: int, take: Callable[..., Measured], goal: Goal) -> Iterator[Row]:
    """Yield a row for a file and one for an upstream, on the installed nginx and on mainline."""
    for nginx, on in _BUILDS:
        for proxied, how in ((False, ""), (True, "-proxied")):
            said = f"{work}, {'handed on' if proxied else 'a file'}{', on mainline' if on else ''}"
            taking = functools.partial(take, nginx=nginx, proxied=proxied)
            yield Row(
                f"{name}{how}{on}", f"{said}: the worker's time", "the usual configuration", n, tiny, taking, goal
            )


ROWS = [
    *_of_each_kind("kept-alive", "{n} requests on kept-alive connections", 20000, 16, kept_alive, Goal(at_least=0.95)),
    *_of_each_kind(
        "new-connections", "{n} requests, a new connection each", 800, 8, new_connections, Goal(at_most=1.02)
    ),
    *(
        Row(
            f"long-crl{on}",
            f"new connections with a CRL of {{n}} entries{', on mainline' if on else ''}: the worker's time",
            "with an empty one",
            10_000,
            8,
            functools.partial(long_crl, nginx=nginx),
            Goal(at_most=1.2),
        )
        for nginx, on in _BUILDS
    ),
    *(
        Row(
            f"returning{name}",
            f"{{n}} requests, a new connection each, with the session of the last, TLS {tls}: the worker's time",
            "the usual configuration, with tickets",
            500,
            4,
            functools.partial(returning, tls=version),
            Goal(at_least=goal),
        )
        for name, tls, version, goal in (
            ("", "1.3", ssl.TLSVersion.TLSv1_3, 1.1),
            ("-tls12", "1.2", ssl.TLSVersion.TLSv1_2, 0.95),
        )
    ),
]
