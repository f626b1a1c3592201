# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The services of one host: what the inventory says, checked, in the form that the templates need."""

from __future__ import annotations

import functools
import ipaddress
import os.path
import re
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import check_service_name, is_address
from ansible_collections.mtls.nginx.plugins.module_utils.site import allow_lists, certificate_option, upstream_tls
from ansible_collections.mtls.nginx.plugins.module_utils.site.allow_lists import AllowList
from ansible_collections.mtls.nginx.plugins.module_utils.site.certificate_option import AcmeOrder
from ansible_collections.mtls.nginx.plugins.module_utils.site.networks import check_exempt, parse_networks
from ansible_collections.mtls.nginx.plugins.module_utils.site.presets import ADMIN_PANEL, with_preset

_HOST_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SERVER_NAME = re.compile(rf"(?:\*\.)?{_HOST_LABEL}(?:\.{_HOST_LABEL})*")
_UPSTREAM = re.compile(
    r"https?://(?:unix:/[\w./-]+|(?:[\w.-]+|\[(?P<ipv6>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?)"
    r"(?P<path>/[\w./~%+-]*)?"
)
_OTHER_PASS = re.compile(r"(grpcs?|fastcgi|uwsgi|scgi|memcached)://")
_FILE_PATH = re.compile(r"/[\w./@%+~-]+")
_PUBLIC_PATH = re.compile(r"/[\w./@+~!,=:-]*")
_NO_PAGE = "none"
RENEWAL_PATH = "/.mtls/"  # where clients fetch their next certificate
_BODY_SIZE = re.compile(r"[0-9]{1,12}[km]?|[0-9]{1,9}g", re.IGNORECASE)  # nginx counts bytes in 63 bits
_HSTS_PRELOAD = 31536000  # seconds, the least that https://hstspreload.org takes
_EVERY_ADDRESS = ("0.0.0.0", "::")
HTTP_PORT = 80
HTTPS_PORT = 443

# What only a server block of ours has, and what only one that hands requests on.
_BLOCK_OPTIONS = (
    "preset",
    "redirect_http",
    "http_proxy_protocol",
    "acme_root",
    "acme_upstream",
    "hsts",
    "proxy_protocol_from",
)
_SWITCHES = ("redirect_http", "http_proxy_protocol")
_UPSTREAM_OPTIONS = (
    "upstream_tls",
    "upstream_host",
    "max_body_size",
    "request_buffering",
    "response_buffering",
    "read_timeout",
    "identity_headers",
)


@dataclass(frozen=True)
class PathList:
    """An allow list of a path (it ends in ``/``) and everything below it, in place of the service's."""

    path: str
    allow: AllowList


@dataclass(frozen=True)
class Hsts:
    """Strict-Transport-Security (RFC 6797, section 6.1); ``max_age`` in seconds."""

    max_age: int
    include_subdomains: bool
    preload: bool

    @property
    def value(self) -> str:
        """The header's value."""
        parts = [f"max-age={self.max_age}"]
        parts += ["includeSubDomains"] if self.include_subdomains else []
        parts += ["preload"] if self.preload else []
        return "; ".join(parts)


@dataclass(frozen=True)
class Endpoint:
    """Where a service listens: a port, and an address unless it is every address of the host."""

    port: int
    address: str | None = None

    @property
    def everywhere(self) -> bool:
        """Whether it is on every address, of both families or of one."""
        return self.address in (None, *_EVERY_ADDRESS)

    def overlaps(self, other: Endpoint) -> bool:
        """Whether some connection could come to both."""
        if self.port != other.port:
            return False
        families = {":" in each.address for each in (self, other) if each.address is not None}
        return len(families) < 2 and (self.everywhere or other.everywhere or self.address == other.address)

    @property
    def sockets(self) -> tuple[str, ...]:
        """Nginx's ``listen`` parameters; the second, if any, is the IPv6 twin of a port on every address."""
        if self.address is None:
            return (str(self.port), f"[::]:{self.port}")
        host = f"[{self.address}]" if ":" in self.address else self.address
        return (f"{host}:{self.port}",)

    @property
    def local_address(self) -> str:
        """An address at which it is reached from its own host."""
        if self.address == "::":
            return "::1"
        return "127.0.0.1" if self.address is None or self.everywhere else self.address


@dataclass(frozen=True)
class Service:
    """One service as the inventory describes it, checked. ``allow`` is None where every valid client may enter.

    ``authority`` is the directory of the authority whose clients enter, None for that of the host (``mtls_ca_dir``).
    ``probe_path`` is the page that probes ask for behind the gate, None where they leave it alone. ``probe_address`` is
    where they connect to, None where that is found out. ``public_port`` is where people reach it, if that is not where
    it listens. With ``self_renewal`` clients fetch their next certificate at ``RENEWAL_PATH``. ``acme`` is how its
    certificate is obtained, None where it is not obtained for it.
    """

    name: str
    server_names: tuple[str, ...]
    listen: Endpoint
    upstream: str | None
    root: str | None
    snippet: bool
    allow: AllowList | None
    public_paths: tuple[str, ...]
    certificate: tuple[str, str] | None
    present: bool
    authority: str | None = None
    paths: tuple[PathList, ...] = ()
    exempt_networks: tuple[str, ...] = ()
    proxy_protocol_from: tuple[str, ...] = ()
    cors_preflight: bool = False
    redirect_http: bool = False
    http_proxy_protocol: bool = False
    acme_root: str | None = None
    acme_upstream: str | None = None
    hsts: Hsts | None = None
    max_body_size: str | None = None
    request_buffering: bool | None = None
    read_timeout: int | None = None
    identity_headers: str | None = None
    probe_path: str | None = None
    upstream_tls: upstream_tls.UpstreamTls | None = None
    upstream_host: str | None = None
    more_listens: tuple[Endpoint, ...] = ()
    public_port: int | None = None
    response_buffering: bool | None = None
    self_renewal: bool = False
    probe_address: str | None = None
    acme: AcmeOrder | None = None

    @property
    def trust(self) -> str:
        """How files and variables of its authority are named on the host; empty for the host's own authority."""
        return os.path.basename(os.path.normpath(self.authority)) if self.authority else ""

    @property
    def named(self) -> tuple[str, ...]:
        """Every client that one of its allow lists names."""
        return tuple(dict.fromkeys(name for each in self._lists for name in each.names))

    @functools.cached_property
    def subjects(self) -> tuple[str, ...]:
        """Every subject that one of its allow lists has as it stands."""
        return tuple(dict.fromkeys(dn for each in self._lists for dn in each.subjects))

    @property
    def _lists(self) -> list[AllowList]:
        return [*([self.allow] if self.allow else []), *(item.allow for item in self.paths)]

    def lists(self, name: str | None, dn: str | None) -> bool:
        """Whether a client of the authority may enter, by its name or its subject."""
        return self.allow is None or self.allow.has(name, dn)

    @property
    def upstream_client(self) -> str | None:
        """The client of its authority as which nginx comes to the upstream."""
        return self.upstream_tls.client if self.upstream_tls else None

    def opens_page(self, client: str | None, dn: str | None) -> bool:
        """Whether a client that the gate lets in may enter ``probe_path`` too, by its name or its subject.

        A path that only resembles a listed one may be read as that, so that its list counts here as well.
        """
        page = (self.probe_path or "").lower()
        lists = [item.allow for item in self.paths if page.startswith(item.path[:-1].lower())]
        return self.probe_path is not None and all(allow.has(client, dn) for allow in lists)

    @property
    def variable(self) -> str:
        """Prefix of the service's nginx variables.

        The last word of each variable tells what it is of: a service's are sni, zone, list, open, any, net, near, now,
        outer, gate, home, upstream and acme, an authority's (``TrustPaths.variable``) rev, end, alien, told, bad,
        state, dn, sn, fp, cert, next and offer. No other variable of ours ends in one of these, so that no two have one
        name, whatever anything is called.
        """
        return "mtls_" + self.name.replace("-", "_")

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Everywhere it listens."""
        return (self.listen, *self.more_listens)

    @property
    def plain_endpoints(self) -> tuple[Endpoint, ...]:
        """Where ``redirect_http`` listens."""
        addresses = dict.fromkeys(endpoint.address for endpoint in self.endpoints)
        return tuple(Endpoint(HTTP_PORT, each) for each in ([None] if None in addresses else addresses))

    @property
    def by_address(self) -> bool:
        """Whether it is reached by IP address, so that clients send no SNI and it must be the socket's first server."""
        return any(is_address(name) for name in self.server_names)

    @property
    def local_address(self) -> str:
        """An address at which the service is reached from its own host."""
        return self.listen.local_address

    @property
    def own_address(self) -> str | None:
        """The first address at which it listens; None on every address, or where the server block is the host's own."""
        everywhere = any(each.everywhere for each in self.endpoints)
        return None if not self.present or self.snippet or everywhere else self.listen.address

    @property
    def at_loopback(self) -> bool:
        """Whether it listens where nobody but its own host can connect."""
        return self.own_address is not None and ipaddress.ip_address(self.own_address).is_loopback

    @property
    def probe_name(self) -> str:
        """A server name that can be asked for."""
        return self.server_names[0].replace("*", "mtls-probe")

    def target(self, address: str) -> probe.Target:
        """Return where its own server block is asked at ``address``."""
        return probe.Target(address, self.listen.port, self.probe_name, bool(self.proxy_protocol_from))

    def plain_target(self, address: str) -> probe.Target | None:
        """Return where its redirect on port 80 is asked at ``address``, None without one."""
        if not self.redirect_http:
            return None
        return probe.Target(address, HTTP_PORT, self.probe_name, self.http_proxy_protocol, tls=False)

    @property
    def urls(self) -> tuple[str, ...]:
        """Where people reach it: an URL for each server name."""
        return tuple(f"https://{f'[{name}]' if ':' in name else name}{self.port_suffix}/" for name in self.server_names)

    @property
    def port_suffix(self) -> str:
        """The port of its URLs with a colon, empty for that of https."""
        port = self.public_port or self.listen.port
        return "" if port == HTTPS_PORT else f":{port}"

    @property
    def issued_by_authority(self) -> bool:
        """Whether the authority issues the server certificate."""
        return self.present and not self.snippet and self.certificate is None and self.acme is None

    @property
    def certificate_is_optional(self) -> bool:
        """Whether somebody gets somewhere without a certificate, or with a bad one."""
        return bool(self.public_paths or self.exempt_networks or self.cors_preflight)

    @property
    def may_stand_in(self) -> bool:
        """Whether one by the authority stands in for the host's own until that can be served."""
        return self.present and not self.snippet and not self.issued_by_authority


def _where_it_says(_what: str, path: str) -> str:
    return path


def parse_services(
    host: str,
    raw: Sequence[Mapping[str, t.Any]],
    place: t.Callable[[str, str], str] = _where_it_says,
    *,
    self_renewal: bool = False,
    acme: Mapping[str, t.Any] | None = None,
) -> list[Service]:
    """Check one host's ``mtls_services``, which are valid by the role's argument specification, and return them.

    :arg place: returns the full path of a file on the controller, of what it is and its path as it was written.
    :arg self_renewal: holds for those that do not say it themselves.
    :arg acme: the host's ``mtls_acme``.
    :raises MtlsError: naming host and service, for anything that nginx would reject, misread or silently ignore.
    """
    services = [_parse_service(host, item, place, self_renewal, acme) for item in raw]
    names = [service.name for service in services]
    for name in names:
        if names.count(name) > 1:
            raise MtlsError(f"host {host}: two services are named '{name}'; give one of them another name")
    _refuse_clashes(host, [service for service in services if service.present])
    return services


def _parse_service(
    host: str,
    raw: Mapping[str, t.Any],
    place: t.Callable[[str, str], str],
    self_renewal: bool,
    acme: Mapping[str, t.Any] | None,
) -> Service:
    name = raw["name"]
    try:
        check_service_name(name)
    except MtlsError as error:
        raise MtlsError(f"host {host}: {error}") from None
    where = f"host {host}, service {name}"
    raw = with_preset(raw)
    server_names = tuple(dict.fromkeys(check_server_name(where, item) for item in raw["server_names"]))
    if not server_names:
        raise MtlsError(f"{where}: server_names is empty; name at least one host name or IP address")
    listens = _listens(where, raw.get("listen") or "443")
    present = raw.get("state", "present") == "present"
    order = _acme_order(where, raw, acme, server_names) if present else None
    service = Service(
        name=name,
        server_names=server_names,
        listen=listens[0],
        more_listens=listens[1:],
        public_port=_public_port(where, raw.get("public_port")),
        upstream=raw.get("upstream"),
        root=raw.get("root"),
        snippet=bool(raw.get("snippet")),
        allow=None if raw.get("allow") is None else allow_lists.parse(f"{where}: allow", raw["allow"], place),
        public_paths=tuple(dict.fromkeys(_public_path(where, path) for path in raw.get("public_paths") or ())),
        certificate=_certificate(where, raw.get("certificate")),
        present=present,
        authority=_authority(where, raw.get("authority")),
        paths=_path_lists(where, raw.get("paths") or (), place),
        exempt_networks=parse_networks(where, "exempt_networks", raw.get("exempt_networks") or ()),
        proxy_protocol_from=parse_networks(where, "proxy_protocol_from", raw.get("proxy_protocol_from") or ()),
        cors_preflight=bool(raw.get("cors_preflight")),
        redirect_http=bool(raw.get("redirect_http") or order),
        http_proxy_protocol=bool(raw.get("http_proxy_protocol")),
        acme_root=raw.get("acme_root") or (certificate_option.WEBROOT if order else None),
        acme=order,
        acme_upstream=raw.get("acme_upstream"),
        hsts=_hsts(where, raw.get("hsts")),
        max_body_size=_body_size(where, raw.get("max_body_size")),
        request_buffering=raw.get("request_buffering"),
        response_buffering=raw.get("response_buffering"),
        read_timeout=raw.get("read_timeout"),
        identity_headers=raw.get("identity_headers"),
        probe_path=None if raw.get("snippet") else _probe_path(where, raw.get("probe_path") or "/"),
        upstream_host=upstream_tls.check_host_header(where, raw.get("upstream_host")),
        self_renewal=self_renewal if raw.get("self_renewal") is None else bool(raw["self_renewal"]),
        probe_address=_probe_address(where, raw.get("probe_address")),
    )
    if service.present:
        _check_content(where, service)
        _check_options(where, service, raw)
        if service.upstream:
            tls = upstream_tls.parse(where, raw.get("upstream_tls"), service.upstream, host_name(service.upstream))
            service = replace(service, upstream_tls=tls)
    return service


def _check_content(where: str, service: Service) -> None:
    if service.snippet:
        if service.upstream or service.root or service.certificate or service.acme:
            raise MtlsError(
                f"{where}: a snippet goes into a server block that exists already, so upstream, root and certificate"
                " belong there; remove them here, or remove snippet"
            )
        if service.by_address:
            raise MtlsError(
                f"{where}: a client that connects by IP address sends no server name, and whether the snippet's "
                "server block is the"
                " first of its socket is not known; give a snippet host names only"
            )
        return
    if not service.upstream and not service.root:
        raise MtlsError(f"{where}: neither upstream nor root is given; say what the service protects")
    if service.upstream and service.root:
        raise MtlsError(f"{where}: both upstream and root are given; keep the one that it serves")
    if service.upstream and (foreign := _OTHER_PASS.match(service.upstream)):
        directive = {"grpcs": "grpc"}.get(foreign[1], foreign[1])
        raise MtlsError(
            f"{where}: upstream '{service.upstream}' does not speak HTTP/1.1, and {directive}_pass belongs in a "
            "server block of your own; write that block, and include a snippet in it as the gate (snippet: true, "
            "without upstream)"
        )
    if service.upstream and not _upstream(service.upstream):
        raise MtlsError(
            f"{where}: upstream '{service.upstream}' is not of the form http://host:port or https://host:port/path,"
            " with http:// or https:// in front; correct it"
        )
    if service.root:
        _file_path(where, "root", service.root)


def _authority(where: str, path: str | None) -> str | None:
    if path is None:
        return None
    name = os.path.basename(os.path.normpath(path))
    try:
        check_service_name(name)
    except MtlsError:
        raise MtlsError(
            f"{where}: authority '{path}' ends in '{name}', and that names files and nginx variables on the host; use"
            " lower-case letters, digits and dashes inside, 32 at most"
        ) from None
    return path


def _check_options(where: str, service: Service, raw: Mapping[str, t.Any]) -> None:
    """Raise MtlsError for options that make no sense, or are not safe, together with others."""
    if service.snippet:
        _refuse_options(where, raw, (*_BLOCK_OPTIONS, *_UPSTREAM_OPTIONS), "belongs in the server block that you have")
        if raw.get("probe_path") not in (None, "/"):
            raise MtlsError(
                f"{where}: probe_path is a page of a server block of ours, and what is behind a snippet is not asked;"
                " remove it"
            )
    if service.root:
        _refuse_options(where, raw, _UPSTREAM_OPTIONS, "is about an upstream, and root serves files")
    if service.exempt_networks:
        check_exempt(where, service.exempt_networks, service.proxy_protocol_from)
    if service.read_timeout is not None and service.read_timeout < 1:
        raise MtlsError(f"{where}: read_timeout is {service.read_timeout}; give seconds, at least 1")
    if not service.redirect_http:
        _refuse_options(where, raw, ("acme_root", "acme_upstream"), "needs redirect_http: true")
    elif service.by_address:
        raise MtlsError(f"{where}: redirect_http leads to a host name, and it is reached by IP address; remove one")
    elif any(endpoint.port == HTTP_PORT for endpoint in service.endpoints):
        raise MtlsError(f"{where}: redirect_http needs port {HTTP_PORT}, on which it listens itself; move listen")
    if service.http_proxy_protocol and not (service.redirect_http and service.proxy_protocol_from):
        raise MtlsError(
            f"{where}: http_proxy_protocol is about port 80 behind the proxies in proxy_protocol_from; give"
            " redirect_http: true and proxy_protocol_from as well, or remove it"
        )
    if service.acme_root and service.acme_upstream:
        raise MtlsError(f"{where}: both acme_root and acme_upstream are given; keep the one that answers challenges")
    if service.acme_root:
        _file_path(where, "acme_root", service.acme_root)
    if service.acme_upstream:
        match = _upstream(service.acme_upstream)
        if not match or match["path"]:
            raise MtlsError(f"{where}: acme_upstream '{service.acme_upstream}' is not of the form http://host:port")
        if service.acme_upstream.startswith("https:"):
            raise MtlsError(
                f"{where}: acme_upstream '{service.acme_upstream}' is https, which nginx would not verify; challenges"
                " are public, so give the program's http:// address"
            )
    if raw.get("preset") == ADMIN_PANEL:
        _check_admin_panel(where, service)
    for path in service.public_paths if service.self_renewal else ():
        if f"{path}/".startswith(RENEWAL_PATH):
            raise MtlsError(
                f"{where}: public path '{path}' is where clients fetch their next certificate; remove it, or set"
                " self_renewal: false"
            )


def _refuse_options(where: str, raw: Mapping[str, t.Any], options: Sequence[str], why: str) -> None:
    for option in options:
        said = raw.get(option)
        if said is None or said == [] or (option in _SWITCHES and not said):
            continue
        raise MtlsError(f"{where}: {option} {why}; remove it")


def _check_admin_panel(where: str, service: Service) -> None:
    if service.allow is None:
        raise MtlsError(f"{where}: the preset admin_panel wants an allow list: name the clients that may enter")
    for option in ("public_paths", "exempt_networks", "cors_preflight"):
        if getattr(service, option):
            raise MtlsError(f"{where}: the preset admin_panel allows no {option}; remove it, or the preset")


def check_server_name(where: str, name: str) -> str:
    """Return the name in lower case.

    :raises MtlsError: it is neither a host name nor an address; ``where`` is where it was said.
    """
    lowered = name.lower()
    if is_address(lowered) or _SERVER_NAME.fullmatch(lowered):
        return lowered
    raise MtlsError(
        f"{where}: server name '{name}' is neither a host name, nor *.domain, nor an IP address"
        "; write the name alone, without https:// or a port (international names in their xn-- form)"
    )


def _listens(where: str, said: str | int | Sequence[str]) -> tuple[Endpoint, ...]:
    values = [said] if isinstance(said, (str, int)) else said
    endpoints = dict.fromkeys(_listen(where, str(value)) for value in values)
    # A port alone is both of these.
    everywhere = {Endpoint(each.port, any_) for each in endpoints if each.address is None for any_ in _EVERY_ADDRESS}
    return tuple(each for each in endpoints if each not in everywhere)


def _public_port(where: str, port: int | None) -> int | None:
    if port is not None and not 0 < port < 65536:
        raise MtlsError(f"{where}: public_port is {port}; use 1 to 65535")
    return port


def _listen(where: str, value: str) -> Endpoint:
    address, colon, port = value.rpartition(":")
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise MtlsError(f"{where}: listen '{value}' has no port between 1 and 65535; write 443 or 192.0.2.1:443")
    if not colon:
        return Endpoint(int(port))
    address = address.removeprefix("[").removesuffix("]")
    if not is_address(address):
        raise MtlsError(f"{where}: listen '{value}' does not start with an IP address; write 443 or 192.0.2.1:443")
    return Endpoint(int(port), str(ipaddress.ip_address(address)))


def _upstream(said: str) -> re.Match[str] | None:
    """Return the parts of an upstream, None where it is not what nginx takes for one."""
    found = _UPSTREAM.fullmatch(said)
    if found is None or not 0 < int(found["port"] or HTTP_PORT) < 65536:
        return None
    return found if found["ipv6"] is None or is_address(found["ipv6"]) else None


def host_name(upstream: str) -> str | None:
    """Return the host name in an upstream, None for an address or a socket."""
    match = re.fullmatch(r"https?://([\w.-]+)(?::\d+)?(?:/.*)?", upstream)
    return None if match is None or is_address(match[1]) else match[1]


def _public_path(where: str, path: str) -> str:
    if not _is_plain_path(path):
        raise MtlsError(
            f"{where}: public path '{path}' must start with / and be written plainly:"
            " no //, no . or .. segments, no % escapes, no spaces, quotes or ;"
        )
    if path == "/":
        raise MtlsError(f"{where}: public path '/' would open the whole service; such a service needs no gate")
    return path


def _probe_path(where: str, path: str) -> str | None:
    if path == _NO_PAGE:
        return None
    if not _is_plain_path(path):
        raise MtlsError(
            f"{where}: probe_path '{path}' must start with / and be written plainly, without // or . and .. segments,"
            " escapes, arguments or spaces; write the path of a page, or none to have only the gate asked"
        )
    return path


def _probe_address(where: str, address: str | None) -> str | None:
    # It is only connected to, which may need a zone (fe80::1%eth0).
    if address is not None and not is_address(address, zone=True) and not _SERVER_NAME.fullmatch(address.lower()):
        raise MtlsError(
            f"{where}: probe_address '{address}' is neither an IP address nor a host name; write it alone, without a"
            " port, which is that of listen"
        )
    return address


def _is_plain_path(path: str) -> bool:
    return bool(_PUBLIC_PATH.fullmatch(path) and not ("//" in path or "/../" in f"{path}/" or "/./" in f"{path}/"))


def _path_lists(
    where: str, raw: Sequence[Mapping[str, t.Any]], place: t.Callable[[str, str], str]
) -> tuple[PathList, ...]:
    lists = [
        PathList(
            _listed_path(where, item["path"]),
            allow_lists.parse(f"{where}: allow of {item['path']}", item["allow"], place),
        )
        for item in raw
    ]
    seen: dict[str, str] = {}
    for item in lists:
        other = seen.setdefault(item.path.lower(), item.path)
        if [one.path for one in lists].count(item.path) > 1 or other != item.path:
            raise MtlsError(f"{where}: paths names '{other}' twice ('{item.path}'); give each path one list")
    return tuple(lists)


def _listed_path(where: str, path: str) -> str:
    if not re.fullmatch(r"(?:/[\w-](?:[\w.~-]*[\w-])?)+/", path, re.ASCII):
        raise MtlsError(
            f"{where}: paths: '{path}' must start and end with / and be written plainly, of letters, digits and"
            " _ . ~ -; its list then counts for it and everything below (for the whole service there is allow)"
        )
    return path


def _hsts(where: str, value: Mapping[str, t.Any] | None) -> Hsts | None:
    if value is None:
        return None
    hsts = Hsts(value["max_age"], bool(value.get("include_subdomains")), bool(value.get("preload")))
    if hsts.max_age < 0:
        raise MtlsError(f"{where}: hsts: max_age is {hsts.max_age}; give seconds, or 0 to withdraw it")
    if hsts.preload and not (hsts.include_subdomains and hsts.max_age >= _HSTS_PRELOAD):
        raise MtlsError(
            f"{where}: hsts: preload needs include_subdomains and a max_age of {_HSTS_PRELOAD} or more; browsers' lists"
            " require both"
        )
    return hsts


def _body_size(where: str, value: str | None) -> str | None:
    if value is not None and not _BODY_SIZE.fullmatch(value):
        raise MtlsError(f"{where}: max_body_size '{value}' is not a size; write 512m or 10g, or 0 for any")
    return value


def _certificate(where: str, value: t.Any) -> tuple[str, str] | None:
    found = certificate_option.files(where, value)
    if found is None:
        return None
    return _file_path(where, "certificate.path", found[0]), _file_path(where, "certificate.key", found[1])


def _acme_order(
    where: str, raw: Mapping[str, t.Any], defaults: Mapping[str, t.Any] | None, server_names: Sequence[str]
) -> AcmeOrder | None:
    if raw.get("certificate") != certificate_option.ACME:
        if raw.get("acme"):
            raise MtlsError(f"{where}: acme needs certificate: acme; add that, or remove acme")
        return None
    if raw.get("acme_upstream"):
        raise MtlsError(
            f"{where}: acme_upstream is for another ACME client, and certificate: acme answers challenges itself;"
            " remove one"
        )
    return certificate_option.order(where, raw.get("acme"), defaults, server_names)


def _file_path(where: str, option: str, path: str) -> str:
    if not _FILE_PATH.fullmatch(path):
        raise MtlsError(
            f"{where}: {option} '{path}' is not an absolute path of letters, digits and . _ - / @ % + ~; begin it with"
            " / and leave out other characters"
        )
    return path


def _refuse_clashes(host: str, services: Sequence[Service]) -> None:
    """Raise MtlsError for services that would share a server name and port: nginx would only warn, and ignore one."""
    authorities: dict[str, Service] = {}
    for service in services:
        other = authorities.setdefault(service.trust, service)
        if other.authority != service.authority:
            raise MtlsError(
                f"host {host}: the authorities of services {other.name} and {service.name}, {other.authority} and"
                f" {service.authority}, would share their place on the host; give their directories different names"
            )
    for number, service in enumerate(services):
        if service.snippet:
            continue
        if service.proxy_protocol_from or service.redirect_http:
            _refuse_socket_clashes(host, service, services)
        for other in services[:number]:
            ports = [] if other.snippet else _shared_ports(other, service)
            if ports:
                _refuse_one_name(host, other, service, ports[0])


def _refuse_one_name(host: str, one: Service, other: Service, port: int) -> None:
    """Raise MtlsError for two services of one socket that nginx could not tell apart."""
    shared = [name for name in other.server_names if name in one.server_names]
    if shared:
        raise MtlsError(
            f"host {host}: services {one.name} and {other.name} both answer to {shared[0]} on port {port}; nginx would"
            " ignore one of them, so change the server_names or listen of one"
        )
    if one.by_address and other.by_address:
        raise MtlsError(
            f"host {host}: services {one.name} and {other.name} are both reached by IP address on port {port}; such"
            " clients send no server name, so only one service per port can be"
        )


def _refuse_socket_clashes(host: str, service: Service, services: Sequence[Service]) -> None:
    """Raise MtlsError where what a service does to a whole port, PROXY protocol or redirect, does not suit another."""
    for other in services:
        if other is service or other.snippet:
            continue
        both = f"host {host}: services {service.name} and {other.name}"
        ports = _shared_ports(service, other)
        if ports and service.proxy_protocol_from and not other.proxy_protocol_from:
            raise MtlsError(
                f"{both} share port {ports[0]}, and only one has proxy_protocol_from; nginx expects the"
                " PROXY protocol from everybody on a port or from nobody, so give both the same"
            )
        if service.redirect_http and _shared(service.plain_endpoints, other.endpoints):
            raise MtlsError(f"{both}: the first redirects from port {HTTP_PORT}, on which the second listens; move it")
        if service.redirect_http and other.redirect_http and _shared(service.plain_endpoints, other.plain_endpoints):
            if service.http_proxy_protocol != other.http_proxy_protocol:
                raise MtlsError(
                    f"{both} share port {HTTP_PORT}, and only one has http_proxy_protocol; nginx expects the PROXY"
                    " protocol from everybody on a port or from nobody, so give both the same"
                )
            shared = set(service.server_names) & set(other.server_names)
            if shared:
                raise MtlsError(
                    f"{both} both redirect {min(shared)} from port {HTTP_PORT}; keep redirect_http with the one that"
                    " people should get to"
                )


def _shared_ports(one: Service, other: Service) -> list[int]:
    """Return the ports at which both services listen, at one address at least."""
    return _shared(one.endpoints, other.endpoints)


def _shared(some: Sequence[Endpoint], others: Sequence[Endpoint]) -> list[int]:
    return [each.port for each in others if any(one.overlaps(each) for one in some)]
