# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files a host gets, and what is in them: from services and clients to nginx configuration."""

from __future__ import annotations

import dataclasses
import itertools
import os.path
import re
import typing as t
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

try:
    import jinja2
    from cryptography import x509
except ImportError:  # only on targets, where nothing is rendered
    pass

from ansible_collections.mtls.nginx.plugins.module_utils.ca import chains
from ansible_collections.mtls.nginx.plugins.module_utils.ca.subjects import nginx_dn
from ansible_collections.mtls.nginx.plugins.module_utils.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import comparison
from ansible_collections.mtls.nginx.plugins.module_utils.host.probe import GATE_PATH
from ansible_collections.mtls.nginx.plugins.module_utils.host.shutdown import parse_time
from ansible_collections.mtls.nginx.plugins.module_utils.names import nginx_quote
from ansible_collections.mtls.nginx.plugins.module_utils.site import crl_maps, error_pages
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import Publication
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Listen, Service

# Raw request paths that some upstream could read otherwise than nginx does: dot segments, doubled slashes, path
# parameters, and escapes of dots, slashes, backslashes, semicolons, percent signs, white space, control characters and
# of what Unicode normalisation turns into one of them.
_UNPLAIN_PATH = (
    r"~*^[^?]*(?:/\.(?![\w-])|/\.\.|//|[;\\#]|[\x01-\x20\x7f-\xff]"
    r"|%(?:[01]|2[35ef]|3[bf]|5c|7f|u|c[01]|e0%[89]|e2%80%a[4-6]|ef%bc|f0%8))"
)
# UTF-8 of the characters that Unicode's case folding or compatibility forms turn into ASCII ones: with one of them, a
# path could lead others to a path that has a list of its own. (German sharp s stays: it is a letter of its own.)
_FOLDING = (
    r"~\xC2[\xAA\xB2\xB3\xB9-\xBE]|\xC4[\xB0-\xB3\xBF]|\xC5[\x80\x89\xBF]|\xC7[\x84-\x8C\xB0-\xB3]|\xCA[\xB0-\xB8]"
    r"|\xCB[\xA1-\xA3]|\xCD\xBE|\xE1(?:[\xB4-\xB6]|\xBA[\x96-\x9E])|\xE2(?:\x80[\xA4-\xA6]|\x81[\x80-\xBF]"
    r"|\x82[\x80-\x9C\xA8]|[\x84\x85\x91-\x93]|\x86\x89|\xB1[\xBC\xBD])|\xE3[\x89-\x8F]|\xEA\x9F"
    r"|\xEF(?:[\xAC\xB9\xBC\xBD]|\xB8[\x94\x99\xB0-\xBF])|\xF0(?:\x90\x9E|\x9D|\x9F[\x84-\x87\xAF])"
)
# Other names under which applications expect to hear of a client certificate or of another path: nobody may send them.
# nginx cannot remove headers by pattern.
_FORGEABLE = (
    "X-SSL-Client-Cert",
    "X-SSL-Client-CN",
    "X-SSL-Client-S-DN",
    "X-SSL-Client-I-DN",
    "X-SSL-Client-Issuer",
    "X-SSL-Client-Subject",
    "X-SSL-Client-SHA1",
    "X-SSL-Client-Not-Before",
    "X-SSL-Client-Not-After",
    "X-SSL-Client-Session-ID",
    "X-SSL-Client-Has-Cert",
    "X-SSL-Client-Used",
    "X-SSL-Cert",
    "X-Client-Cert",
    "X-Client-DN",
    "X-Client-Verify",
    "SSL-Client-Cert",
    "SSL-Client-Verify",
    "SSL-Client-Subject-DN",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Tls-Client-Cert",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Original-URI",
    "X-Forwarded-Uri",
)

# nginx's own defaults.
_DEFAULT_BUCKET = 64
_DEFAULT_MAX_SIZE = 2048
_DEFAULT_HEADER_TIMEOUT = "60s"


@dataclass(frozen=True)
class NginxHost:
    """What rendering must know of the host's nginx.

    `shutdown_timeout` bounds connections that outlive a reload, in seconds; `textfile_dir` is the folder for end dates.
    `error_page_template` is a file on the controller, None for our own.
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

    @property
    def conf_dir(self) -> str:
        return os.path.dirname(self.conf_path)


@dataclass
class HostFiles:
    """Options of the `nginx_config` module."""

    files: list[dict[str, str]] = field(default_factory=list)
    secrets: list[dict[str, str]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    owned: list[str] = field(default_factory=list)
    probes: list[dict[str, t.Any]] = field(default_factory=list)
    shutdown_timeout: int | None = None
    textfile: dict[str, t.Any] | None = None

    def as_options(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)

    def fingerprints(self) -> dict[str, str | None]:
        """What `comparison.look` finds on a host that has it all."""
        found: dict[str, str | None] = dict.fromkeys(self.absent)
        for items, mode in ((self.files, comparison.FILE_MODE), (self.secrets, comparison.SECRET_MODE)):
            for item in items:
                content = item["content"].encode("utf-8", "surrogateescape")
                found[item["path"]] = comparison.fingerprint(content, mode)
        return found


def trusts_of(services: Sequence[Service]) -> list[str]:
    """`Service.trust` of what is present; a host without a service still gets its own authority's files."""
    return list(dict.fromkeys(service.trust for service in services if service.present)) or [""]


def to_compare(
    conf_dir: str, services: Sequence[Service], shutdown_timeout: int | None, textfile_dir: str | None
) -> dict[str, t.Any]:
    """What of `host_files` is known before anything is of the host: the option `compare` of `nginx_facts`."""
    trusts = {name: _Trust.of(conf_dir, name) for name in trusts_of(services)}
    trusted = [path for trust in trusts.values() for path in trust.files]
    own = [path for service in services for path in _all_paths(conf_dir, service)]
    return {
        "paths": list(dict.fromkeys([*trusted, _maps_path(conf_dir), _pages_path(conf_dir), *own])),
        "owned": _owned(conf_dir),
        "shutdown_timeout": _bound(services, shutdown_timeout),
        "textfile": _textfile(conf_dir, services, trusts, textfile_dir),
    }


@dataclass(frozen=True)
class _Trust:
    """Where an authority's files are on a host, and what its nginx variables end in."""

    folder: str
    suffix: str

    @classmethod
    def of(cls, conf_dir: str, name: str) -> _Trust:
        """`name` is empty for the host's own authority."""
        suffix = f"_{name.replace('-', '_')}" if name else ""
        return cls(os.path.join(conf_dir, "client-certs", name).rstrip("/"), suffix)

    @property
    def ca(self) -> str:
        return os.path.join(self.folder, "ca.crt")

    @property
    def crl(self) -> str:
        return os.path.join(self.folder, "crl.pem")

    @property
    def revoked(self) -> str:
        return os.path.join(self.folder, "revoked.map")

    @property
    def ended(self) -> str:
        return os.path.join(self.folder, "crl-end.map")

    @property
    def files(self) -> list[str]:
        return [self.ca, self.crl, self.revoked, self.ended]


def host_files(
    host: NginxHost,
    services: Sequence[Service],
    publications: Mapping[str, Publication],
    template_dir: str,
    cache_dir: str | None = None,
) -> HostFiles:
    """Everything that one host should have. A client on an allow list that is revoked gets no line in the map.

    `publications` is by `Service.trust`. `cache_dir`, where nobody else may write, keeps the compiled templates for the
    processes that render the other hosts.

    Raises MtlsError for a template of error pages that is none, and where the host contradicts a service.
    """
    present = [service for service in services if service.present]
    _refuse_unknown_addresses(host, present)
    bundles = {name: _Bundle.of(publication) for name, publication in publications.items()}
    views = _views(host, present, publications)
    trusts = {name: _Trust.of(host.conf_dir, name) for name in publications}
    jinja = _environment(template_dir, cache_dir)
    pages_path = _pages_path(host.conf_dir)
    has_pages = host.error_pages and any(not service.snippet for service in present)
    common = {
        "pages_path": pages_path if has_pages else None,
        "log_dir": host.log_dir,
        "gate_path": GATE_PATH,
        "http2_directive": host.version >= (1, 25, 1),
        "header_timeout": _header_timeout(host),
        "forgeable": _FORGEABLE,
        "conf_command": host.version >= (1, 19, 4),
        "sessions_cross": host.version < (1, 22) or _share_a_name(bundles.values()),
    }
    wanted = HostFiles()
    wanted.files = [
        *(
            item
            for name, trust in trusts.items()
            for item in [
                {"path": trust.ca, "content": publications[name].chain},
                *_crl_files(trust, publications[name].crl),
            ]
        ),
        {
            "path": _maps_path(host.conf_dir),
            "content": jinja.get_template("mtls.conf.j2").render(
                services=views,
                trusts=[(trust, bundles[name].issuers) for name, trust in trusts.items()],
                unplain_path=_UNPLAIN_PATH,
                folding=_FOLDING,
                **common,
                **_hash_sizes(host, views, bundles.values()),
            ),
        },
    ]
    if has_pages:
        pages = error_pages.pages(jinja, host.error_page_template)
        wanted.files.append({"path": pages_path, "content": jinja.get_template("pages.conf.j2").render(pages=pages)})
    for service, view in zip(present, views, strict=False):
        template, path = (
            ("snippet.conf.j2", _snippet_path(host.conf_dir, service))
            if service.snippet
            else ("service.conf.j2", _conf_path(host.conf_dir, service))
        )
        wanted.files.append(
            {
                "path": path,
                "content": jinja.get_template(template).render(
                    service=view, verify_depth=bundles[service.trust].depth, **common
                ),
            }
        )
        if service.issued_by_authority:
            credential = publications[service.trust].credentials[service.name]
            wanted.files.append({"path": view["certificate"], "content": credential.certificate})
            wanted.secrets.append({"path": view["certificate_key"], "content": credential.key})
        if not service.snippet:
            wanted.probes.append(_probe(service))
    kept = {item["path"] for item in [*wanted.files, *wanted.secrets]}
    ours = dict.fromkeys([pages_path, *(path for each in services for path in _all_paths(host.conf_dir, each))])
    wanted.absent = [path for path in ours if path not in kept]
    wanted.owned = _owned(host.conf_dir)
    wanted.shutdown_timeout = _bound(services, host.shutdown_timeout)
    wanted.textfile = _textfile(host.conf_dir, services, trusts, host.textfile_dir)
    return wanted


def gate_files(conf_dir: str, service: Service) -> dict[str, str]:
    """Where the files are that decide who enters a service, in the words of the module `nginx_gate`."""
    trust = _Trust.of(conf_dir, service.trust)
    return {
        "server_block": _snippet_path(conf_dir, service) if service.snippet else _conf_path(conf_dir, service),
        "maps": _maps_path(conf_dir),
        "ca": trust.ca,
        "crl": trust.crl,
        "revoked": trust.revoked,
    }


def _share_a_name(bundles: Collection[_Bundle]) -> bool:
    """Whether two authorities have CAs of the same subject.

    nginx tells the sessions of server blocks apart by server certificate and CA subjects. Where both are the same, and
    the first server block of the socket keeps sessions, it resumes one in the other (measured with 1.30 and 1.31).
    """
    names = [{certificate.subject for certificate in bundle.chain} for bundle in bundles]
    return any(one & other for one, other in itertools.combinations(names, 2))


@dataclass(frozen=True)
class _Bundle:
    """The CAs of an authority, and the subjects, in nginx's spelling, of those whose clients are meant."""

    chain: Sequence[x509.Certificate]
    issuers: Sequence[str]

    @classmethod
    def of(cls, publication: Publication) -> _Bundle:
        chain = chains.read(publication.chain)
        return cls(chain, list(dict.fromkeys(nginx_dn(ca.subject) for ca in chains.issuing(chain))))

    @property
    def depth(self) -> int:
        """Of CAs between a certificate and its root; nginx's default is 1."""
        return max(len(self.chain) - 1, 1)


def crl_files(
    conf_dir: str, services: Sequence[Service], crls: Mapping[str, str], textfile_dir: str | None
) -> HostFiles:
    """New CRLs, by `Service.trust`, and their end dates, and nothing else: for a host whose services are set up."""
    trusts = {name: _Trust.of(conf_dir, name) for name in crls}
    return HostFiles(
        files=[item for name, trust in trusts.items() for item in _crl_files(trust, crls[name])],
        textfile=_textfile(conf_dir, services, trusts, textfile_dir),
    )


def _crl_files(trust: _Trust, crl: str) -> list[dict[str, str]]:
    """The CRL, and what it says in the form of maps."""
    return [
        {"path": trust.crl, "content": crl},
        {"path": trust.revoked, "content": crl_maps.revoked_lines(crl, trust.crl)},
        {"path": trust.ended, "content": crl_maps.ended_lines(crl, trust.crl)},
    ]


def _textfile(
    conf_dir: str, services: Sequence[Service], trusts: Mapping[str, _Trust], textfile_dir: str | None
) -> dict[str, t.Any] | None:
    if not textfile_dir:
        return None
    return {
        "path": os.path.join(textfile_dir, "mtls_nginx.prom"),
        "authorities": [{"name": name, "ca": trust.ca, "crl": trust.crl} for name, trust in trusts.items()],
        "certificates": [
            {"service": service.name, "path": _certificate_paths(conf_dir, service)[0]}
            for service in services
            if service.present and not service.snippet
        ],
    }


def _environment(template_dir: str, cache_dir: str | None) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_dir),
        bytecode_cache=jinja2.FileSystemBytecodeCache(cache_dir) if cache_dir else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # nginx configuration, not HTML: everything is checked or quoted by nginx_quote
    )
    environment.filters["nginx_quote"] = nginx_quote
    return environment


def _views(
    host: NginxHost, present: Sequence[Service], publications: Mapping[str, Publication]
) -> list[dict[str, t.Any]]:
    return [_view(host, service, publications[service.trust].client_dns) for service in present]


def _view(host: NginxHost, service: Service, client_dns: Mapping[str, Sequence[str]]) -> dict[str, t.Any]:
    """A service in the words of the templates."""
    certificate, key = _certificate_paths(host.conf_dir, service)
    base, prefix = split_upstream(service.upstream) if service.upstream else (None, "")
    zone_key = f"${service.variable}_zone:" if service.paths else ""
    exempt = bool(service.exempt_networks)
    return {
        "name": service.name,
        "trust": _Trust.of(host.conf_dir, service.trust),
        "variable": service.variable,
        "snippet": service.snippet,
        "server_names": service.server_names,
        "sni_names": [*map(_sni_pattern, service.server_names), *([""] if service.by_address else [])],
        "listens": _listens(host, service),
        "root": service.root,
        "base": base,
        "prefix": prefix,
        "locations": _locations(service),
        "certificate": certificate,
        "certificate_key": key,
        "allow": service.allow,
        "zones": _zones(service),
        "zone_key": zone_key,
        "clients": _clients(service, client_dns),
        # Without a certificate, or with a bad one, somebody may get somewhere.
        "optional": bool(service.public_paths or exempt or service.cors_preflight),
        "public_paths": service.public_paths,
        "public_patterns": [_public_pattern(path) for path in service.public_paths],
        "public_key": f"${service.variable}_public$mtls_plain_path" if service.public_paths else "00",
        "exempt_key": (f"${service.variable}_near" if exempt else "0")
        + (":$mtls_preflight" if service.cors_preflight else ":0"),
        "exempt_networks": service.exempt_networks,
        "cors_preflight": service.cors_preflight,
        "proxies": service.proxy_protocol_from,
        # Not $remote_addr, which the host's own set_real_ip_from lets a header overwrite.
        "address": "$remote_addr" if service.proxy_protocol_from else "$realip_remote_addr",
        "self_pattern": rf"~^1:{'rest:' if zone_key else ''}(\S+) \1:",
        "probe_pattern": rf"~^1:.*:{re.escape(GATE_PATH)}\z",
        "hsts": service.hsts.value if service.hsts else None,
        "max_body_size": service.max_body_size,
        "request_buffering": service.request_buffering,
        "read_timeout": service.read_timeout,
        "redirect_http": service.redirect_http,
        "homes": [name for name in service.server_names if not name.startswith("*.")]
        or [service.server_names[0].replace("*.", "")],
        "home_patterns": [_sni_pattern(name) for name in service.server_names if name.startswith("*.")],
        "plain_listens": _sockets(host, service.plain_listen),
        "port_suffix": "" if service.listen.port == 443 else f":{service.listen.port}",
        "acme_root": service.acme_root,
        "acme_upstream": service.acme_upstream,
    }


def _clients(service: Service, client_dns: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """The keys of the map of who may enter: one for each client, in a service with path lists one for each list."""
    if not service.paths:
        lists = {"": service.allow or ()}
    else:
        lists = {f"p{number}:": item.allow for number, item in enumerate(service.paths)}
        every = [set(item.allow) for item in service.paths]
        if service.allow is not None:
            lists = {"rest:": service.allow, **lists}
            every.append(set(service.allow))
        lists["every:"] = tuple(name for name in service.named if all(name in names for names in every))
    return [
        {"key": f"{zone}SUCCESS:{dn}", "comment": "" if dn == f"CN={name}" else f"  # {name}"}
        for zone, names in lists.items()
        for name in names
        for dn in client_dns.get(name, ())
    ]


def _zones(service: Service) -> list[dict[str, str]]:
    """Patterns for "$mtls_plain_path:$uri". `near` is what some upstreams take for the path: `/Admin/`, `/admin.`."""
    numbered = sorted(enumerate(service.paths), key=lambda item: -len(item[1].path))
    stems = [(number, re.escape(item.path.rstrip("/"))) for number, item in numbered]
    return [
        {"name": f"p{number}", "pattern": rf"~^1:{stem}(?:/|\z)", "near": rf"~*^1:{stem}(?![a-z0-9_-])"}
        for number, stem in stems
    ]


def split_upstream(upstream: str) -> tuple[str, str]:
    """An upstream without its path, as `proxy_pass` takes it in a named location, and the path without a last slash."""
    match = re.fullmatch(r"(https?://(?:unix:[^:]+|[^/]+))(/.*)?", upstream)
    if match is None:
        raise ValueError(upstream)
    return match[1], (match[2] or "").rstrip("/")


def _refuse_unknown_addresses(host: NginxHost, services: Sequence[Service]) -> None:
    """A host that trusts a header for the client's address has a proxy in front, and everybody comes from that."""
    said = host.directives.get("set_real_ip_from")
    for service in services:
        if said and service.exempt_networks and not service.proxy_protocol_from:
            raise MtlsError(
                f"service {service.name}: exempt_networks needs to know who asks, and this host's own nginx"
                f" configuration has a proxy in front (set_real_ip_from {said}); name it in proxy_protocol_from if it"
                " hands TLS on untouched, else no client certificate comes through it; or remove exempt_networks"
            )


def _sni_pattern(name: str) -> str:
    """A key for `$ssl_server_name` that matches nothing but what nginx takes for this server name.

    nginx cuts the name that a client sends at a colon and ignores one with two dots in a row: a wildcard key of the
    map would match such a name although another server block has verified.
    """
    if not name.startswith("*."):
        return name
    return rf"~*^(?:[a-z0-9_-]+\.)+{re.escape(name[2:])}\.?\z"


def _listens(host: NginxHost, service: Service) -> list[str]:
    parameters = " ssl"
    if host.version < (1, 25, 1):
        parameters += " http2"
    if service.by_address:
        parameters += " default_server"
    if service.proxy_protocol_from:
        parameters += " proxy_protocol"
    return [socket + parameters for socket in _sockets(host, service.listen)]


def _sockets(host: NginxHost, listen: Listen) -> list[str]:
    # An address that the inventory names is nginx's to refuse: without any listen, nginx would take port 80.
    return [socket for socket in listen.sockets if host.ipv6 or listen.address or not socket.startswith("[::]:")]


def _locations(service: Service) -> list[dict[str, str]]:
    """`location` lines. A public path is passed on as nginx normalised it, so that upstream sees what was checked."""
    if service.upstream is None:
        return [{"match": "/"}]
    base, prefix = split_upstream(service.upstream)
    # After a socket's path, nginx wants a colon before the path of the request.
    start = base + (":" if "://unix:" in base else "")
    public = [
        {"match": f"{'^~' if path.endswith('/') else '='} {path}", "proxy_pass": start + prefix + path}
        for path in service.public_paths
    ]
    # With a path of its own the upstream gets that, a slash and the rest; without one, the request as it came.
    has_path = service.upstream != base
    return [*public, {"match": "/", "proxy_pass": f"{start}{prefix}/" if has_path else base}]


def _public_pattern(path: str) -> str:
    # \z and not $, which would also match before a line feed at the end.
    return f"~^{re.escape(path)}" + ("" if path.endswith("/") else r"\z")


def _hash_sizes(
    host: NginxHost, views: Sequence[Mapping[str, t.Any]], bundles: Collection[_Bundle]
) -> dict[str, int | None]:
    """`map_hash_*` values, where nginx's defaults are too small and the host sets none of its own."""
    bucket, max_size = _bucket_size(views, bundles), _max_size(views)
    return {
        "hash_bucket_size": bucket
        if bucket > _DEFAULT_BUCKET and not host.directives.get("map_hash_bucket_size")
        else None,
        "hash_max_size": max_size
        if max_size > _DEFAULT_MAX_SIZE and not host.directives.get("map_hash_max_size")
        else None,
    }


def _bucket_size(views: Sequence[Mapping[str, t.Any]], bundles: Collection[_Bundle]) -> int:
    """A key of n bytes needs a bucket of 8 + (n + 2 rounded up to 8) + 8 bytes (measured)."""
    keys = [len(name) for view in views for name in view["sni_names"]]
    keys += [len(dn) for bundle in bundles for dn in bundle.issuers]
    keys += [len(client["key"]) for view in views for client in view["clients"]]
    keys += [len(name) for view in views if view["redirect_http"] for name in view["homes"]]
    return _power_of_two(16 + (max(keys, default=0) + 2 + 7) // 8 * 8)


def _max_size(views: Sequence[Mapping[str, t.Any]]) -> int:
    """With less nginx still works, says that the table is not optimal, and takes longer to start (measured)."""
    return _power_of_two(2 * max((len(view["clients"]) for view in views), default=0))


def bucket_advice(host: NginxHost, services: Sequence[Service], publications: Mapping[str, Publication]) -> str | None:
    """To be added to nginx's words where it rejects these files: the host's own map_hash_bucket_size is too small."""
    bundles = {name: _Bundle.of(publication) for name, publication in publications.items()}
    views = _views(host, [service for service in services if service.present], publications)
    needed = _bucket_size(views, bundles.values())
    own = host.directives.get("map_hash_bucket_size")
    if not own or not own.isdigit() or int(own) >= needed:
        return None
    return (
        f". The host sets map_hash_bucket_size {own} in its http block, and the longest subject or server name needs"
        f" {needed}: write {needed} there, or take the line away, and mtls.conf sets what is needed"
    )


def _header_timeout(host: NginxHost) -> int | None:
    """Seconds for `client_header_timeout`, where the host's value is longer than the bound for old connections.

    `worker_shutdown_timeout` spares a connection that has sent half a request's header (measured), and once the other
    half arrives, the old worker answers.
    """
    bound = host.shutdown_timeout
    value = host.directives.get("client_header_timeout") or _DEFAULT_HEADER_TIMEOUT
    return bound if bound and parse_time(value) > bound else None


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 0).bit_length()


def _probe(service: Service) -> dict[str, t.Any]:
    """What the host must see of itself once the new configuration serves: no certificate, no page."""
    probe = {
        "address": service.local_address,
        "port": service.listen.port,
        "server_name": service.probe_name,
        "expect": 400,
    }
    return {**probe, "proxy_protocol": True} if service.proxy_protocol_from else probe


def _owned(conf_dir: str) -> list[str]:
    return [os.path.join(conf_dir, folder, "mtls-*.conf") for folder in ("conf.d", "snippets")]


def _bound(services: Sequence[Service], shutdown_timeout: int | None) -> int | None:
    """Without a service there is nobody to be shut out."""
    return shutdown_timeout if shutdown_timeout is None or any(service.present for service in services) else 0


def _pages_path(conf_dir: str) -> str:
    return os.path.join(conf_dir, "client-certs", "pages.conf")


def _maps_path(conf_dir: str) -> str:
    return os.path.join(conf_dir, "conf.d", "mtls.conf")


def _conf_path(conf_dir: str, service: Service) -> str:
    return os.path.join(conf_dir, "conf.d", f"mtls-{service.name}.conf")


def _snippet_path(conf_dir: str, service: Service) -> str:
    return os.path.join(conf_dir, "snippets", f"mtls-{service.name}.conf")


def _certificate_paths(conf_dir: str, service: Service) -> tuple[str, str]:
    """Server certificate and key: the host's own, or those that the authority issues."""
    return service.certificate or _issued_paths(conf_dir, service)


def _issued_paths(conf_dir: str, service: Service) -> tuple[str, str]:
    stem = os.path.join(conf_dir, "server-certs", service.name)
    return f"{stem}.crt", f"{stem}.key"


def _all_paths(conf_dir: str, service: Service) -> list[str]:
    return [
        _conf_path(conf_dir, service),
        _snippet_path(conf_dir, service),
        *_issued_paths(conf_dir, service),
        *(_Trust.of(conf_dir, service.trust).files if service.trust else ()),
    ]
