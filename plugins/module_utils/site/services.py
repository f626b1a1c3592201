# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The services of one host: what the inventory says, checked, in the form that the templates need."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.names import check_service_name

_HOST_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SERVER_NAME = re.compile(rf"(?:\*\.)?{_HOST_LABEL}(?:\.{_HOST_LABEL})*")
_UPSTREAM = re.compile(
    r"https?://(?:unix:/[\w./-]+|[\w.-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?)(?P<path>/[\w./~%+-]*)?"
)
_FILE_PATH = re.compile(r"/[\w./@%+~-]+")
_PUBLIC_PATH = re.compile(r"/[\w./@%+~!,=:-]*")


@dataclass(frozen=True)
class Listen:
    """Where a service listens: a port, and an address unless it is every address of the host."""

    port: int
    address: str | None = None

    @property
    def sockets(self) -> tuple[str, ...]:
        """nginx's `listen` parameters; the second, if any, is the IPv6 twin of a port on every address."""
        if self.address is None:
            return (str(self.port), f"[::]:{self.port}")
        host = f"[{self.address}]" if ":" in self.address else self.address
        return (f"{host}:{self.port}",)


@dataclass(frozen=True)
class Service:
    """One service as the inventory describes it, checked. `allow` is None where every valid client may enter."""

    name: str
    server_names: tuple[str, ...]
    listen: Listen
    upstream: str | None
    root: str | None
    snippet: bool
    allow: tuple[str, ...] | None
    public_paths: tuple[str, ...]
    certificate: tuple[str, str] | None
    present: bool

    @property
    def variable(self) -> str:
        """Prefix of the service's nginx variables."""
        return "mtls_" + self.name.replace("-", "_")

    @property
    def by_address(self) -> bool:
        """Whether it is reached by IP address, so that clients send no SNI and it must be the socket's first server."""
        return any(_is_address(name) for name in self.server_names)

    @property
    def local_address(self) -> str:
        """An address at which the service is reached from its own host."""
        if self.listen.address in (None, "0.0.0.0", "::"):
            return "127.0.0.1"
        return self.listen.address

    @property
    def probe_name(self) -> str:
        """A server name that can be asked for."""
        return self.server_names[0].replace("*", "mtls-probe")

    @property
    def urls(self) -> tuple[str, ...]:
        """Where people reach it: an URL for each server name."""
        port = "" if self.listen.port == 443 else f":{self.listen.port}"
        return tuple(f"https://{f'[{name}]' if ':' in name else name}{port}/" for name in self.server_names)

    @property
    def issued_by_authority(self) -> bool:
        """Whether the authority issues the server certificate."""
        return self.present and not self.snippet and self.certificate is None


def parse_services(host: str, raw: Sequence[Mapping[str, t.Any]]) -> list[Service]:
    """Check one host's `mtls_services` (already valid by the role's argument specification).

    Raises MtlsError, naming host and service, for anything that nginx would reject, misread or silently ignore.
    """
    services = [_parse_service(host, item) for item in raw]
    _refuse_clashes(host, [service for service in services if service.present])
    names = [service.name for service in services]
    for name in names:
        if names.count(name) > 1:
            raise MtlsError(f"host {host}: two services are named '{name}'; give one of them another name")
    return services


def _parse_service(host: str, raw: Mapping[str, t.Any]) -> Service:
    name = raw["name"]
    try:
        check_service_name(name)
    except MtlsError as error:
        raise MtlsError(f"host {host}: {error}") from None
    where = f"host {host}, service {name}"
    server_names = tuple(_server_name(where, item) for item in raw["server_names"])
    if not server_names:
        raise MtlsError(f"{where}: server_names is empty; name at least one host name or IP address")
    service = Service(
        name=name,
        server_names=server_names,
        listen=_listen(where, str(raw.get("listen") or "443")),
        upstream=raw.get("upstream"),
        root=raw.get("root"),
        snippet=bool(raw.get("snippet")),
        allow=None if raw.get("allow") is None else tuple(dict.fromkeys(raw["allow"])),
        public_paths=tuple(_public_path(where, path) for path in raw.get("public_paths") or ()),
        certificate=_certificate(where, raw.get("certificate")),
        present=raw.get("state", "present") == "present",
    )
    if service.present:
        _check_content(where, service)
    return service


def _check_content(where: str, service: Service) -> None:
    if service.snippet:
        if service.upstream or service.root or service.certificate:
            raise MtlsError(
                f"{where}: a snippet goes into a server block that exists already, so upstream, root and certificate"
                " belong there; remove them here, or remove snippet"
            )
        if service.by_address:
            raise MtlsError(
                f"{where}: a client by IP address sends no server name, and whether the snippet's server block is the"
                " first of its socket is not known; give a snippet host names only"
            )
        return
    if not service.upstream and not service.root:
        raise MtlsError(f"{where}: neither upstream nor root is given; say what the service protects")
    if service.upstream and service.root:
        raise MtlsError(f"{where}: both upstream and root are given; keep the one that it serves")
    if service.upstream and not _UPSTREAM.fullmatch(service.upstream):
        raise MtlsError(
            f"{where}: upstream '{service.upstream}' is not of the form http://host:port or https://host:port/path"
        )
    if service.root:
        _file_path(where, "root", service.root)


def _server_name(where: str, name: str) -> str:
    lowered = name.lower()
    if _is_address(lowered) or _SERVER_NAME.fullmatch(lowered):
        return lowered
    raise MtlsError(
        f"{where}: server name '{name}' is neither a host name, nor *.domain, nor an IP address"
        " (write international names in their xn-- form)"
    )


def _listen(where: str, value: str) -> Listen:
    address, colon, port = value.rpartition(":")
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise MtlsError(f"{where}: listen '{value}' has no port between 1 and 65535; write 443 or 192.0.2.1:443")
    if not colon:
        return Listen(int(port))
    try:
        return Listen(int(port), str(ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))))
    except ValueError:
        raise MtlsError(
            f"{where}: listen '{value}' does not start with an IP address; write 443 or 192.0.2.1:443"
        ) from None


def _public_path(where: str, path: str) -> str:
    if not _PUBLIC_PATH.fullmatch(path) or "//" in path or "/../" in f"{path}/" or "/./" in f"{path}/" or "%" in path:
        raise MtlsError(
            f"{where}: public path '{path}' must start with / and be written plainly:"
            " no //, no . or .. segments, no % escapes, no spaces, quotes or ;"
        )
    if path == "/":
        raise MtlsError(f"{where}: public path '/' would open the whole service; such a service needs no gate")
    return path


def _certificate(where: str, value: Mapping[str, str] | None) -> tuple[str, str] | None:
    if value is None:
        return None
    return _file_path(where, "certificate.path", value["path"]), _file_path(where, "certificate.key", value["key"])


def _file_path(where: str, option: str, path: str) -> str:
    if not _FILE_PATH.fullmatch(path):
        raise MtlsError(f"{where}: {option} '{path}' is not an absolute path of letters, digits and . _ - / @ % + ~")
    return path


def _refuse_clashes(host: str, services: Sequence[Service]) -> None:
    """Two services with one server name and port: nginx would only warn, and ignore the second."""
    first: dict[tuple[str, int], Service] = {}
    first_by_address: dict[int, Service] = {}
    for service in services:
        if service.snippet:
            continue
        for server_name in service.server_names:
            other = first.setdefault((server_name, service.listen.port), service)
            if other is not service and _overlap(other.listen, service.listen):
                raise MtlsError(
                    f"host {host}: services {other.name} and {service.name} both answer to"
                    f" {server_name} on port {service.listen.port}; nginx would ignore one of them"
                )
        if service.by_address:
            other = first_by_address.setdefault(service.listen.port, service)
            if other is not service and _overlap(other.listen, service.listen):
                raise MtlsError(
                    f"host {host}: services {other.name} and {service.name} are both reached by IP address on port"
                    f" {service.listen.port}; such clients send no server name, so only one service a port can be"
                )


def _overlap(one: Listen, other: Listen) -> bool:
    return one.port == other.port and (one.address is None or other.address is None or one.address == other.address)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
