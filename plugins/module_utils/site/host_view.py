# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service in the words of the templates in ``roles/server/templates``."""

from __future__ import annotations

import itertools
import os.path
import re
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import nginx_dn
from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.probe import GATE_PATH
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import literal_key
from ansible_collections.mtls.nginx.plugins.module_utils.site import host_paths
from ansible_collections.mtls.nginx.plugins.module_utils.site.allow_lists import AllowList
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import TrustPaths
from ansible_collections.mtls.nginx.plugins.module_utils.site.identity_headers import RFC9440
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import Publication
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Endpoint, Service, host_name
from ansible_collections.mtls.nginx.plugins.module_utils.site.upstream_tls import SYSTEM, UpstreamTlsPaths

try:
    from cryptography import x509
except ImportError:  # only on targets, where nothing is rendered
    pass


# nginx's own defaults.
_DEFAULT_BUCKET = 64


_DEFAULT_VARIABLES = 1024  # variables_hash_max_size


_RESUMES_SAFELY = (1, 22)


# How many variables there are of each, at most; see ``Service.variable``.
_MOST_OF_A_SERVICE = 16
_MOST_OF_AN_AUTHORITY = 13
_MOST_HOST_KEYS = 100


@dataclass(frozen=True)
class CrlServer:
    """Where a host serves its own authority's CRL to hosts that fetch it."""

    server_name: str
    port: int


@dataclass(frozen=True)
class NginxHost:
    """What rendering must know of the host's nginx.

    ``shutdown_timeout`` bounds connections that outlive a reload, in seconds; ``restart``: systemd is to start nginx
    again after a failure, None leaves that alone; ``textfile_dir`` is the folder for expiry
    dates. ``error_page_template`` is a file on the controller, None for our own;
    ``contact`` is whom they name. ``name_servers`` are the host's, as
    nginx writes their addresses, and ``names`` says what to ask them for: None for a name that the host knows in
    another way. ``crl_server`` is where it serves its CRL to others, without TLS. ``system_ca`` is its bundle of public
    CAs. ``kept`` are its ``upstream`` blocks that keep connections, and whether its own server blocks use them.
    ``stand_ins`` are the services for whose own certificate one by the authority stands in. ``python`` runs what is
    installed there. ``ssi``: whether nginx has that module. ``own_ports`` are the ports on which server blocks of the
    host's own listen, None where that is not known. ``session_resumption``: whether sessions may be resumed.
    """

    version: tuple[int, ...]
    ipv6: bool
    conf_path: str
    log_dir: str
    directives: Mapping[str, str | None]
    shutdown_timeout: int | None = None
    textfile_dir: str | None = None
    error_pages: bool = True
    error_page_template: str | None = None
    contact: Contact | None = None
    name_servers: Sequence[str] = ()
    names: Mapping[str, str | None] = field(default_factory=dict)
    crl_server: CrlServer | None = None
    system_ca: str | None = None
    kept: Mapping[str, bool] = field(default_factory=dict)
    restart: bool | None = None
    stand_ins: Collection[str] = ()
    binary: str = "nginx"
    python: str = "/usr/bin/python3"
    ssi: bool = False
    own_ports: Collection[int] | None = None
    session_resumption: bool = False

    @property
    def conf_dir(self) -> str:
        """The directory of ``nginx.conf``."""
        return os.path.dirname(self.conf_path)


def crl_listens(host: NginxHost, present: Sequence[Service]) -> list[str]:
    """Return the values of ``listen`` where the host serves its CRL, none where it does not."""
    return _sockets(host, [Endpoint(host.crl_server.port)], _plain(present)) if host.crl_server else []


def share_a_name(bundles: Collection[Bundle]) -> bool:
    """Tell whether two authorities have CAs of the same subject.

    nginx tells the sessions of server blocks apart by server certificate and CA subjects. Where both are the same, and
    the first server block of the socket keeps sessions, it resumes one in the other (measured with 1.30 and 1.31).
    """
    names = [{certificate.subject for certificate in bundle.chain} for bundle in bundles]
    return any(one & other for one, other in itertools.combinations(names, 2))


@dataclass(frozen=True)
class Bundle:
    """The CAs of an authority, and the subjects, in nginx's format, of those whose clients are meant."""

    chain: Sequence[x509.Certificate]
    issuers: Sequence[str]

    @classmethod
    def of(cls, publication: Publication) -> Bundle:
        """Return the CAs that a host gets.

        :raises MtlsError: the chain cannot be read.
        """
        chain = chains.read(publication.chain)
        return cls(chain, list(dict.fromkeys(nginx_dn(ca.subject) for ca in chains.issuing(chain))))

    @property
    def direct(self) -> bool:
        """Whether each CA is a root, and clients are its own: none of a CA below counts."""
        return all(chains.was_issued_by(ca, ca) for ca in self.chain)

    @property
    def depth(self) -> int:
        """How many CAs there may be between a certificate and a root, for ``ssl_verify_depth``.

        Of a root that is no CA's of ours it is one at least, as is nginx's default.
        """
        return 0 if self.direct else max(len(self.chain) - 1, 1)


def sees_to_issuers(bundle: Bundle, trust: str, present: Sequence[Service]) -> bool:
    """Tell whether nginx has made sure of a certificate's issuer where one of our server blocks has verified it.

    A block of the host's own may lack a server name that the inventory has. nginx verifies such a connection by another
    server block, maybe with another CA, and may then pass on requests of that connection to the block with the snippet.
    """
    return bundle.direct and not any(service.snippet for service in present if service.trust == trust)


@dataclass(frozen=True)
class LocationView:
    """A location that hands requests on, or serves files where ``proxy_pass`` is None."""

    match: str  # what stands between `location` and the brace
    proxy_pass: str | None = None
    rewrite: str | None = None  # the path for the upstream, where `proxy_pass` has a variable and thus none of its own
    redirect: str | None = None  # what `proxy_redirect` takes, where its default does not do


@dataclass(frozen=True)
class ZoneView:
    """A path with an allow list of its own."""

    name: str  # what `$mtls_<service>_zone` is there
    pattern: str  # for "$mtls_plain_letters:$uri": the path and what is below
    near: str  # the same for what some upstreams take for that path: `/Admin/`, `/admin.`


@dataclass(frozen=True)
class ListedView:
    """A line of the map of who may enter."""

    key: str  # zone, verdict and subject; not quoted yet
    comment: str  # the client's name with `#` before it, empty where the subject says it


@dataclass(frozen=True)
class UpstreamTlsView:
    """How nginx meets an ``https://`` upstream; paths are on the host."""

    name: str | None  # what it asks for and what the certificate must be for; None where nobody is named
    ca: str | None  # None where nothing is verified
    certificate: str | None  # what it presents itself with
    key: str | None

    @classmethod
    def of(cls, host: NginxHost, service: Service) -> UpstreamTlsView | None:
        """Return it for a service, None for one that has no such upstream."""
        wanted = service.upstream_tls
        if wanted is None:
            return None
        paths = UpstreamTlsPaths.of(host.conf_dir, service.name)
        return cls(
            name=wanted.name,
            ca=host.system_ca if wanted.ca == SYSTEM else paths.ca if wanted.verify else None,
            certificate=paths.certificate if wanted.client else None,
            key=paths.key if wanted.client else None,
        )


@dataclass(frozen=True)
class ServiceView:
    """A service as ``mtls.conf.j2``, ``service.conf.j2``, ``snippet.conf.j2`` and ``gate.j2`` see it.

    This is the contract with the templates: they know nothing else of a service, and use all of it. A value is written
    as it is unless the template quotes it, which it does with patterns and names.
    """

    # What it is
    name: str
    variable: str  # what its nginx variables begin with, without `$`
    trust: TrustPaths  # the files of its authority
    snippet: bool  # whether the server block is the host's own
    keeps_sessions: bool  # whether clients that return may resume their session

    # Its server block
    listens: Sequence[str]  # values of `listen`, with their parameters
    server_names: Sequence[str]
    sni_names: Sequence[str]  # keys for `$ssl_server_name`; an empty one takes clients that send no name
    certificate: str  # path of the server certificate
    certificate_key: str
    proxies: Sequence[str]  # networks of proxies that speak the PROXY protocol
    hsts: str | None  # the value of Strict-Transport-Security
    relative_redirects: bool  # whether nginx's own redirects leave out the address, since it does not know the port

    # Who gets in
    allow: AllowList | None  # None for every valid client of the authority
    clients: Sequence[ListedView]
    zones: Sequence[ZoneView]  # the longest path first
    zone_key: str  # what a key of the allow list begins with where there are zones, with its colon
    keeps_verdict: bool  # whether what a request leads to inside nginx is covered by the verdict on that request
    optional: bool  # whether somebody gets somewhere without a certificate, or with a bad one
    public_paths: Sequence[str]
    public_patterns: Sequence[str]  # the same as patterns for `$uri`
    public_key: str  # two digits in the key of the gate: public, and plainly spelled
    exempt_networks: Sequence[str]
    exempt_key: str  # two digits with a colon between: from an exempt network, and a preflight
    address: str  # the variable of the caller's address
    self_pattern: str  # matches requests that come from the host itself
    probe_pattern: str  # matches requests to the gate's own path
    cors_preflight: bool
    hands_preflights_on: bool  # whether preflights go to the upstream, which a server block of the host's own sees to

    # What is behind the gate
    root: str | None  # a directory, None with an upstream
    locations: Sequence[LocationView]
    base: str | None  # the upstream without its path, as `proxy_pass` takes it; None with `root` and in a snippet
    prefix: str | None  # the upstream's path without a last slash
    redirect: str | None  # what `proxy_redirect` takes in named locations, where its default does not do
    names: Sequence[Upstream]  # upstreams for whose name nginx asks at each request
    resolver: str | None  # name servers for that, None where the host has its own or none is needed
    tls: UpstreamTlsView | None  # None where the upstream is reached without TLS
    host_header: str | None  # what the upstream is told as Host, None for what the caller asked for
    host_redirect: str | None  # what of the upstream's own redirects leads to that name, as `proxy_redirect` takes it
    max_body_size: str | None
    request_buffering: bool | None
    response_buffering: bool | None
    read_timeout: int | None  # seconds
    client_cert: bool  # whether upstreams are told the whole certificate (RFC 9440)

    # Port 80
    redirect_http: bool
    plain_listens: Sequence[str]  # values of `listen` there
    plain_proxies: Sequence[str]  # networks of proxies that speak the PROXY protocol there
    homes: Sequence[str]  # the names to which people are sent on, the first one for any unknown name
    home_patterns: Sequence[str]  # patterns for `$host` of wildcard names
    port_suffix: str  # the port with its colon, empty for 443
    self_renewal: bool  # whether clients fetch their next certificate here
    acme_root: str | None  # directory of ACME challenges
    acme_upstream: str | None  # who answers them instead, as `proxy_pass` takes it
    acme_redirect: str | None
    acme_resolver: str | None


def views_of(host: NginxHost, present: Sequence[Service], publications: Mapping[str, Publication]) -> list[ServiceView]:
    """Return a view of each service; ``publications`` is by ``Service.trust``."""
    keeping = _ports_with_sessions(host, present)
    return [
        _view(host, service, publications[service.trust].client_dns, present, keeping=keeping) for service in present
    ]


def _view(
    host: NginxHost,
    service: Service,
    client_dns: Mapping[str, Sequence[str]],
    present: Sequence[Service],
    *,
    keeping: Set[int],
) -> ServiceView:
    paths = host_paths.issued_paths if service.name in host.stand_ins else host_paths.certificate_paths
    certificate, key = paths(host.conf_dir, service)
    upstream = Upstream.of(host, service.upstream, f"${service.variable}_upstream")
    acme = Upstream.of(host, service.acme_upstream, f"${service.variable}_acme")
    zone_key = f"${service.variable}_zone:" if service.paths else ""
    exempt = bool(service.exempt_networks)
    return ServiceView(
        name=service.name,
        trust=TrustPaths.of(host.conf_dir, service.trust),
        variable=service.variable,
        snippet=service.snippet,
        keeps_sessions=not service.snippet and _ports_of(service) <= keeping,
        server_names=service.server_names,
        sni_names=[*map(_sni_pattern, service.server_names), *([""] if service.by_address else [])],
        listens=_listens(host, service, present),
        root=service.root,
        base=upstream.passed if upstream else None,
        prefix=upstream.prefix if upstream else None,
        redirect=upstream.redirect("/") if upstream else None,
        names=[each for each in (upstream, acme) if each and each.asked],
        resolver=_resolver(host, upstream),
        acme_resolver=_resolver(host, acme),
        tls=UpstreamTlsView.of(host, service),
        host_header=service.upstream_host,
        host_redirect=_host_redirect(service.upstream_host, upstream),
        locations=_locations(service, upstream),
        certificate=certificate,
        certificate_key=key,
        allow=service.allow,
        zones=_zones(service),
        zone_key=zone_key,
        clients=_clients(service, client_dns),
        optional=service.certificate_is_optional,
        # In a block of ours nothing leads inside but the upstream's own word, which is none of a gate's.
        keeps_verdict=service.snippet and (service.certificate_is_optional or bool(service.paths)),
        public_paths=service.public_paths,
        public_patterns=[_public_pattern(path) for path in service.public_paths],
        public_key=f"${service.variable}_open$mtls_plain_path" if service.public_paths else "00",
        exempt_key=(f"${service.variable}_near" if exempt else "0")
        + (":$mtls_preflight" if service.cors_preflight else ":0"),
        exempt_networks=service.exempt_networks,
        cors_preflight=service.cors_preflight,
        proxies=service.proxy_protocol_from,
        # Not $remote_addr, which the host's own set_real_ip_from lets a header overwrite.
        address="$remote_addr" if service.proxy_protocol_from else "$realip_remote_addr",
        self_pattern=rf"~^1:{'rest:' if zone_key else ''}(\S+) \1:",
        probe_pattern=rf"~^1:.*:{re.escape(GATE_PATH)}\z",
        hsts=service.hsts.value if service.hsts else None,
        max_body_size=service.max_body_size,
        request_buffering=service.request_buffering,
        response_buffering=service.response_buffering,
        read_timeout=service.read_timeout,
        client_cert=service.identity_headers == RFC9440,
        # In a server block of the host's own there is nothing of ours behind the gate.
        hands_preflights_on=service.cors_preflight and service.upstream is not None,
        redirect_http=service.redirect_http,
        homes=[name for name in service.server_names if not name.startswith("*.")]
        or [service.server_names[0].replace("*.", "")],
        home_patterns=[_sni_pattern(name) for name in service.server_names if name.startswith("*.")],
        plain_listens=[
            socket + (" proxy_protocol" if service.http_proxy_protocol else "")
            for socket in _sockets(host, service.plain_endpoints, _plain(present))
        ],
        plain_proxies=service.proxy_protocol_from if service.http_proxy_protocol else (),
        port_suffix=service.port_suffix,
        relative_redirects=any(service.public_port not in (None, each.port) for each in service.endpoints),
        self_renewal=service.self_renewal,
        acme_root=service.acme_root,
        acme_upstream=acme.passed if acme else None,
        acme_redirect=acme.redirect("/") if acme else None,
    )


def _ports_with_sessions(host: NginxHost, present: Sequence[Service]) -> set[int]:
    """Return the ports whose sessions may be resumed: where each one that nginx could resume is of our own making.

    nginx keeps the sessions of a socket where its first server block says, and before 1.26.3 and 1.27.4 a build may
    resume them across server names (CVE-2025-23419). So all services are of one authority, and nobody else is on the
    port. Without SSI, nginx cannot tell whether a certificate has expired since. And where a certificate is optional,
    nginx keeps sessions without one too: whoever has just installed theirs would go on without it.
    """
    safe = host.session_resumption and host.version >= _RESUMES_SAFELY and host.ssi and host.own_ports is not None
    if not safe or len({service.trust for service in present}) != 1:
        return set()
    others = {port for service in present if service.certificate_is_optional for port in _ports_of(service)}
    return {port for service in present for port in _ports_of(service)} - others - set(host.own_ports or ())


def _ports_of(service: Service) -> set[int]:
    return {endpoint.port for endpoint in service.endpoints}


def _clients(service: Service, client_dns: Mapping[str, Sequence[str]]) -> list[ListedView]:
    """Return the lines of the map of who may enter: one for each client, or one for each list that names it."""
    if not service.paths:
        lists = {"": service.allow or AllowList()}
    else:
        lists = {f"p{number}:": item.allow for number, item in enumerate(service.paths)}
        if service.allow is not None:
            lists = {"rest:": service.allow, **lists}
    listed = {zone: _lines(allow, client_dns) for zone, allow in lists.items()}
    if service.paths:
        everywhere = set.intersection(*map(set, listed.values()))
        listed["every:"] = {key: line for lines in listed.values() for key, line in lines.items() if key in everywhere}
    return [
        ListedView(f"{zone}SUCCESS:{dn}", comment) for zone, lines in listed.items() for dn, comment in lines.values()
    ]


def _lines(allow: AllowList, client_dns: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, str]]:
    """Return the subjects of a list and what is written behind them, each once as nginx's maps compare them."""
    found: dict[str, tuple[str, str]] = {}
    for name in allow.names:
        for dn in client_dns.get(name, ()):
            found[dn.lower()] = dn, "" if dn == f"CN={name}" else f"  # {name}"
    for dn in allow.subjects:
        found.setdefault(dn.lower(), (dn, ""))
    return found


def _zones(service: Service) -> list[ZoneView]:
    numbered = sorted(enumerate(service.paths), key=lambda item: -len(item[1].path))
    stems = [(number, re.escape(item.path.rstrip("/"))) for number, item in numbered]
    return [ZoneView(f"p{number}", rf"~^1:{stem}(?:/|\z)", rf"~*^1:{stem}(?![a-z0-9_-])") for number, stem in stems]


@dataclass(frozen=True)
class Upstream:
    """An upstream: ``base`` without its path, and that path, ``prefix``, without a last slash.

    ``asked`` is the name, with its port, for which nginx asks name servers at each request, in ``variable``. None where
    it is an address, or a name that the host knows in another way, which nginx reads with its configuration.
    """

    base: str
    prefix: str
    has_path: bool
    asked: str | None
    variable: str

    @classmethod
    def of(cls, host: NginxHost, upstream: str | None, variable: str) -> Upstream | None:
        """Return the upstream as this host's nginx needs it, None for None."""
        if upstream is None:
            return None
        base, prefix = split_upstream(upstream)
        asked = None
        name = host_name(upstream)
        # An escape in the path would be escaped again where the request's path is put together.
        if name and (host.name_servers or host.directives.get("resolver")) and "%" not in prefix:
            absolute = host.names.get(name)
            asked = absolute and base.partition("://")[2].replace(name, absolute, 1)
        return cls(base, prefix, upstream != base, asked, variable)

    @property
    def passed(self) -> str:
        """What ``proxy_pass`` takes where the request's path is no part of it."""
        return f"{self.base.partition('://')[0]}://{self.variable}" if self.asked else self.base

    def redirect(self, location: str) -> str | None:
        """Return what ``proxy_redirect`` takes where ``proxy_pass`` has no path, None where its default does.

        It does not with a variable, nor where the upstream has a path.
        """
        return f"{self.base}{self.prefix}{location} {location}" if self.asked or self.prefix else None


def split_upstream(upstream: str) -> tuple[str, str]:
    """Return an upstream without its path, as ``proxy_pass`` takes it in a named location, and the path.

    The path has no slash at its end.
    """
    match = re.fullmatch(r"(https?://(?:unix:[^:]+|[^/]+))(/.*)?", upstream)
    if match is None:
        raise ValueError(upstream)
    return match[1], (match[2] or "").rstrip("/")


def host_names(services: Collection[Service]) -> list[str]:
    """Return the host names in the upstreams of services: the option ``names`` of ``nginx_facts``."""
    upstreams = [each for service in services if service.present for each in (service.upstream, service.acme_upstream)]
    return list(dict.fromkeys(filter(None, (host_name(upstream) for upstream in upstreams if upstream))))


def needs_system_ca(services: Collection[Service]) -> bool:
    """Tell whether a service trusts its host's public CAs: the option ``system_ca`` of ``nginx_facts``."""
    return any(service.present and service.upstream_tls and service.upstream_tls.ca == SYSTEM for service in services)


def _resolver(host: NginxHost, upstream: Upstream | None) -> str | None:
    """Return the host's name servers for ``resolver``, None where it has one of its own or none is needed."""
    if upstream is None or upstream.asked is None or host.directives.get("resolver"):
        return None
    return " ".join(host.name_servers) + ("" if host.ipv6 else " ipv6=off")


def _host_redirect(name: str | None, upstream: Upstream | None) -> str | None:
    """Return what ``proxy_redirect`` takes for redirects of an application to the name that it is told it has."""
    if name is None or upstream is None:
        return None
    return rf"~^https?://(?i:{re.escape(name)}){re.escape(upstream.prefix)}(/.*)$"


def _sni_pattern(name: str) -> str:
    """Return a key for ``$ssl_server_name`` that matches nothing but what nginx takes for this server name.

    nginx cuts the name that a client sends at a colon and ignores one with two dots in a row: a wildcard key of the
    map would match such a name although another server block has verified.
    """
    if not name.startswith("*."):
        return literal_key(name)
    return rf"~*^(?:[a-z0-9_-]+\.)+{re.escape(name[2:])}\.?\z"


def _listens(host: NginxHost, service: Service, present: Sequence[Service]) -> list[str]:
    parameters = " ssl"
    if host.version < (1, 25, 1):
        parameters += " http2"
    if service.by_address:
        parameters += " default_server"
    if service.proxy_protocol_from:
        parameters += " proxy_protocol"
    others = [each for other in present if not other.snippet for each in other.endpoints]
    return [socket + parameters for socket in _sockets(host, service.endpoints, others)]


def _plain(present: Sequence[Service]) -> list[Endpoint]:
    return [each for service in present if service.redirect_http for each in service.plain_endpoints]


def _sockets(host: NginxHost, listens: Sequence[Endpoint], others: Sequence[Endpoint]) -> list[str]:
    """Return the sockets of a server block; ``others`` is where the host's others listen.

    A connection to an address that some block names is answered by those that name it alone: so a block on every
    address names it too.
    """
    wide = [listen for listen in listens if listen.everywhere]
    narrow = [other for other in others if not other.everywhere and any(listen.overlaps(other) for listen in wide)]
    # An address that the inventory names is nginx's to refuse: without any listen, nginx would take port 80.
    own = [
        socket
        for listen in listens
        for socket in listen.sockets
        if host.ipv6 or listen.address or not socket.startswith("[::]:")
    ]
    return list(dict.fromkeys([*own, *(socket for other in narrow for socket in other.sockets)]))


def _locations(service: Service, upstream: Upstream | None) -> list[LocationView]:
    """Return the ``location`` blocks.

    A public path is passed on as nginx normalised it, so that the upstream sees what was checked. ``rewrite`` is there
    where ``proxy_pass`` has a variable: a path beside one would take the place of the request's.
    """
    if upstream is None:
        return [LocationView("/")]
    paths = [(f"{'^~' if path.endswith('/') else '='} {path}", path) for path in service.public_paths]
    if upstream.asked:
        rewrite = f"{upstream.prefix}$uri"
        lines = [LocationView(match, upstream.passed, rewrite, upstream.redirect(path)) for match, path in paths]
        whole = rewrite if upstream.has_path else None
        lines.append(LocationView("/", upstream.passed, whole, upstream.redirect("/")))
    else:
        # After a socket's path, nginx wants a colon before the path of the request.
        start = upstream.base + (":" if "://unix:" in upstream.base else "") + upstream.prefix
        lines = [LocationView(match, start + path) for match, path in paths]
        # With a path of its own the upstream gets that, a slash and the rest; without one, the request as it came.
        lines.append(LocationView("/", f"{start}/" if upstream.has_path else upstream.base))
    return lines


def _public_pattern(path: str) -> str:
    # \z and not $, which would also match before a line feed at the end.
    return f"~^{re.escape(path)}" + ("" if path.endswith("/") else r"\z")


def hash_sizes(host: NginxHost, views: Sequence[ServiceView], bundles: Collection[Bundle]) -> dict[str, int | None]:
    """Return sizes of nginx's hash tables, None where its defaults do or the host sets its own."""
    names = _bucket_size(_server_names(host, views))
    bucket = _bucket_size(_map_keys(views, bundles))
    variables = len(views) * _MOST_OF_A_SERVICE + len(bundles) * _MOST_OF_AN_AUTHORITY
    max_variables = _power_of_two(4 * variables)
    return {
        "server_names_bucket_size": names
        if names > _DEFAULT_BUCKET and not host.directives.get("server_names_hash_bucket_size")
        else None,
        "hash_bucket_size": bucket
        if bucket > _DEFAULT_BUCKET and not host.directives.get("map_hash_bucket_size")
        else None,
        # The names of variables are long, and nginx warns where it finds no table without two of them in one bucket.
        "variables_bucket_size": _DEFAULT_BUCKET * 2 if not host.directives.get("variables_hash_bucket_size") else None,
        "variables_max_size": max_variables
        if max_variables > _DEFAULT_VARIABLES and not host.directives.get("variables_hash_max_size")
        else None,
    }


def _server_names(host: NginxHost, views: Sequence[ServiceView]) -> list[str]:
    """Return what nginx keeps in its table of server names."""
    names = [name for view in views if not view.snippet for name in view.server_names]
    return [*names, *([host.crl_server.server_name] if host.crl_server else [])]


def _map_keys(views: Sequence[ServiceView], bundles: Collection[Bundle]) -> list[str]:
    """Return the keys of maps."""
    keys = [name for view in views for name in view.sni_names]
    keys += [dn for bundle in bundles for dn in bundle.issuers]
    keys += [client.key for view in views for client in view.clients]
    return [*keys, *(name for view in views if view.redirect_http for name in view.homes)]


def named_hosts(
    host: NginxHost, views: Sequence[ServiceView], bundles: Collection[Bundle]
) -> dict[str, list[tuple[str, str]]]:
    """Return, by service, what clients that name it send as ``"$ssl_server_name $http_host"``, and ``$host`` then.

    These keys only save other maps. So none needs larger buckets than nginx has anyway, and there are no more than
    nginx finds a table for in which each has a bucket of its own: otherwise it warns. Clients send no address as server
    name.
    """
    own, bucket = host.directives.get("map_hash_bucket_size"), _bucket_size(_map_keys(views, bundles))
    bucket = int(own) if own and own.isdigit() else max(bucket, _DEFAULT_BUCKET)
    named = {}
    for view in views:
        names = dict.fromkeys(name.lower() for name in view.server_names if "*" not in name)
        keys = [(f"{'' if '' in view.sni_names else name} {name}{view.port_suffix}", name) for name in names]
        named[view.name] = [(key, name) for key, name in keys if _bucket_size([key]) <= bucket][:_MOST_HOST_KEYS]
    return named


def _bucket_size(keys: Sequence[str]) -> int:
    """Return the bucket's size, in bytes: a key of n bytes needs 8 + (n + 2 rounded up to 8) + 8 (measured)."""
    return _power_of_two(16 + (max(map(len, keys), default=0) + 2 + 7) // 8 * 8)


def hash_advice(
    said: str, host: NginxHost, services: Sequence[Service], publications: Mapping[str, Publication]
) -> str | None:
    """Return what to add to nginx's words where it rejects these files for a hash table: what the host has to set."""
    bundles = {name: Bundle.of(publication) for name, publication in publications.items()}
    views = views_of(host, [service for service in services if service.present], publications)
    needs = {
        "map_hash_bucket_size": ("subject or server name", _map_keys(views, bundles.values())),
        "server_names_hash_bucket_size": ("server name", _server_names(host, views)),
    }
    advice = []
    for directive, (what, keys) in needs.items():
        own, needed = host.directives.get(directive), _bucket_size(keys)
        if own and own.isdigit() and int(own) < needed:
            advice.append(
                f". The host sets {directive} {own} in its http block, and the longest {what} needs {needed}: write"
                f" {needed} there, or take the line away, and mtls.conf sets what is needed"
            )
    # The first map of a host fixes its sizes, and conf.d/*.conf is read in the alphabet's order.
    late, needed = "map_hash_bucket_size", _bucket_size(needs["map_hash_bucket_size"][1])
    if f'"{late}" directive is duplicate' in said and not host.directives.get(late):
        advice.append(
            f". A map of the host's own comes before mtls.conf and fixes {late}: write '{late} {needed};' into the http"
            f" block of {host.conf_path}, above its includes"
        )
    return "".join(advice) or None


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 0).bit_length()
