# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate that programs are sent to: a real nginx with the collection's rendered configuration, and who asks."""

from __future__ import annotations

import contextlib
import pathlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import p12
from ansible_collections.mtls.nginx.tests.gate import nginxes, pki
from ansible_collections.mtls.nginx.tests.gate.host import Host
from ansible_collections.mtls.nginx.tests.gate.upstream import Upstream
from ansible_collections.mtls.nginx.tests.ports import free_port

# The name that every program resolves without being told how. The service is not the first one on its port: who does
# not say whom it wants is answered by the other one.
NAME = "localhost"
# Two sites of one domain, for which the server has one certificate: a browser may ask for both on one connection.
FIRST, SECOND = "one.clients.localhost", "two.clients.localhost"
SITES = "[*.]clients.localhost"  # both of them, in Chromium's policies
ISSUER = "Clients Root CA"
PASSWORD = "of-the-clients-p12"
P12_KINDS = (p12.COMPATIBLE, p12.MODERN)
NOBODY, ALLOWED, NOT_LISTED, REVOKED, EXPIRED, FOREIGN = (
    *("no certificate", "allowed", "not on the list"),
    *("revoked", "expired", "another CA"),
)
PEOPLE = (ALLOWED, NOT_LISTED, REVOKED, EXPIRED, FOREIGN, NOBODY)
KEYS = {
    "P-384": keys.KeyKind("ecdsa", curve="P-384"),
    "RSA 2048": keys.KeyKind("rsa", 2048),
    "RSA 4096": keys.KeyKind("rsa", 4096),
    "Ed25519": keys.KeyKind("ed25519"),
}
_PEM = serialization.Encoding.PEM
_LINE = re.compile(r'"(?:\S+ (?P<path>\S+) (?P<protocol>\S+))?[^"]*" (?P<status>\d{3}) .* verify="(?P<verify>[^"]*)"')
_PAGE = '<!DOCTYPE html><title>first</title><img alt="second" src="@SECOND@">'
_IPV6 = pathlib.Path("/proc/net/if_inet6")
_SECONDS = 0.4  # for the first line


@dataclass(frozen=True)
class Files:
    """What a client's folder has: PEM files, one of both, and a .p12 of each kind."""

    certificate: pathlib.Path
    key: pathlib.Path
    both: pathlib.Path
    p12: dict[str, pathlib.Path]


@dataclass(frozen=True)
class Request:
    """One line of the access log."""

    path: str
    protocol: str
    status: int
    verify: str


class Gate:
    """A service for one client (with several keys), asked as `url`; `ca` is its authority's certificate.

    `people` have what they come with, by the names in PEOPLE; `keys` are further clients on the list, by key type.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        authority = pki.Authority(folder / "pki", ISSUER)
        other = pki.Authority(folder / "other", "Other Root CA")
        allowed = authority.client("allowed")
        revoked = authority.client("revoked")
        authority.revoke(revoked)
        holders = {
            ALLOWED: allowed,
            NOT_LISTED: authority.client("not listed"),
            REVOKED: revoked,
            EXPIRED: pki.forged(folder, allowed.certificate.subject, authority.issuer, begins=-9, ends=-1),
            FOREIGN: other.client("allowed"),
        }
        listed = {name: authority.client(name, kind=kind) for name, kind in KEYS.items()}
        self.ca = folder / "pki" / "ca.crt"
        self.other_ca = folder / "other" / "ca.crt"
        self.people: dict[str, Files | None] = {NOBODY: None}
        for who, identity in holders.items():
            self.people[who] = self._files(who, identity, other if who == FOREIGN else authority)
        self.keys = {name: self._files(name, one, authority) for name, one in listed.items()}
        self._upstream = Upstream()
        self._host = Host(nginxes.build(nginxes.INSTALLED), folder / "nginx", UPSTREAM=self._upstream.url)
        self._host.serve_as(authority.server(NAME, FIRST, SECOND))
        self.mqtt_port, self.broker_port = free_port(), free_port()
        self._serve(authority, ["allowed", *listed])
        self._host.start()
        self.nginx = ".".join(map(str, self._host.build.version))

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.port}/inside"

    @property
    def port(self) -> int:
        return self._host.port

    @property
    def first(self) -> str:
        """A page of the one site, in which there is a picture of the other."""
        return f"https://{FIRST}:{self.port}/first.html"

    @property
    def second(self) -> str:
        """The address of that picture, which everybody else asks for by this name on a connection of NAME."""
        return f"https://{SECOND}:{self.port}/inside/second"

    def requests(self) -> list[Request]:
        """The requests since the last call. nginx logs one just after it has answered."""
        logs = sorted((self.folder / "nginx" / "log").glob("mtls-*.access.log"))
        before, deadline = -1, time.monotonic() + _SECONDS
        while (size := sum(log.stat().st_size for log in logs)) != before or (not size and time.monotonic() < deadline):
            before = size
            time.sleep(0.05)
        found = [_request(line) for log in logs for line in log.read_text().splitlines()]
        for log in logs:
            # nginx appends: it goes on at the start.
            log.write_text("")
        return found

    def stop(self) -> None:
        self._host.stop()
        self._upstream.stop()

    def _serve(self, authority: pki.Authority, allow: list[str]) -> None:
        # Both families: a program may take the first address of the name only.
        addresses = ["127.0.0.1"]
        if _IPV6.exists() and f"{1:032}" in _IPV6.read_text():
            addresses.append("[::1]")

        def service(name: str, server_name: str, port: int = self.port, **behind: object) -> dict[str, object]:
            listen = [f"{address}:{port}" for address in addresses]
            return {"name": name, "server_names": [server_name], "listen": listen, "allow": allow, **behind}

        site = self.folder / "site"
        site.mkdir()
        (site / "first.html").write_text(_PAGE.replace("@SECOND@", self.second))
        behind = self._upstream.url
        services = [
            service("another", "another.test", upstream=behind),
            service("nas", NAME, upstream=behind),
            service("one", FIRST, root=str(site), public_paths=["/first.html"]),
            service("two", SECOND, upstream=behind),
            service("mqtt", NAME, self.mqtt_port, upstream=f"http://127.0.0.1:{self.broker_port}"),
        ]
        self._host.ours(services, authority)

    def _files(self, who: str, identity: pki.Identity, authority: pki.Authority) -> Files:
        folder = self.folder / who.replace(" ", "-")
        folder.mkdir()
        files = Files(folder / "client.crt", folder / "client.key", folder / "client.pem", {})
        files.certificate.write_bytes(identity.certificate.public_bytes(_PEM))
        private = (_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files.key.write_bytes(identity.key.private_bytes(*private))
        files.both.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
        chain = [authority.issuer.certificate]
        for kind in P12_KINDS:
            files.p12[kind] = folder / f"client-{kind}.p12"
            files.p12[kind].write_bytes(p12.pack(who, identity.key, identity.certificate, chain, PASSWORD, kind))
        return files


def _request(line: str) -> Request:
    found = _LINE.search(line)
    if found is None:
        raise AssertionError(f"not a line of our log format: {line}")
    return Request(found["path"] or "", found["protocol"] or "", int(found["status"]), found["verify"])


@contextlib.contextmanager
def open_gate(folder: pathlib.Path) -> Iterator[Gate]:
    gate = Gate(folder)
    try:
        yield gate
    finally:
        gate.stop()
