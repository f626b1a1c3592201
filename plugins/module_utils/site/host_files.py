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

from ansible_collections.mtls.nginx.plugins.module_utils.host.probe import GATE_PATH
from ansible_collections.mtls.nginx.plugins.module_utils.host.shutdown import parse_time
from ansible_collections.mtls.nginx.plugins.module_utils.names import nginx_quote
from ansible_collections.mtls.nginx.plugins.module_utils.site import crl_maps
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import Publication
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

# Raw request paths that some upstream could read otherwise than nginx does: dot segments, doubled slashes, path
# parameters, and escapes of dots, slashes, backslashes, semicolons, percent signs, white space, control characters and
# of what Unicode normalisation turns into one of them.
_UNPLAIN_PATH = (
    r"~*^[^?]*(?:/\.(?![\w-])|/\.\.|//|[;\\#]|[\x01-\x20\x7f-\xff]"
    r"|%(?:[01]|2[35ef]|3[bf]|5c|7f|u|c[01]|e0%[89]|e2%80%a[4-6]|ef%bc|f0%8))"
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
    """

    version: tuple[int, ...]
    ipv6: bool
    conf_path: str
    log_dir: str
    directives: Mapping[str, str | None]
    shutdown_timeout: int | None = None
    textfile_dir: str | None = None

    @property
    def conf_dir(self) -> str:
        return os.path.dirname(self.conf_path)

    def path(self, *parts: str) -> str:
        """A path below nginx's configuration folder."""
        return os.path.join(self.conf_dir, *parts)


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
    host: NginxHost, services: Sequence[Service], publications: Mapping[str, Publication], template_dir: str
) -> HostFiles:
    """Everything that one host should have. A client on an allow list that is revoked gets no line in the map.

    `publications` is by `Service.trust`.
    """
    present = [service for service in services if service.present]
    views = [_view(host, service, publications[service.trust].client_dns) for service in present]
    trusts = {name: _Trust.of(host.conf_dir, name) for name in publications}
    jinja = _environment(template_dir)
    common = {
        "log_dir": host.log_dir,
        "gate_path": GATE_PATH,
        "http2_directive": host.version >= (1, 25, 1),
        "header_timeout": _header_timeout(host),
        "forgeable": _FORGEABLE,
        "conf_command": host.version >= (1, 19, 4),
        "sessions_cross": host.version < (1, 22) or _share_a_name(publications.values()),
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
                services=views, trusts=trusts.values(), unplain_path=_UNPLAIN_PATH, **common, **_hash_sizes(host, views)
            ),
        },
    ]
    for service, view in zip(present, views, strict=False):
        template, path = (
            ("snippet.conf.j2", _snippet_path(host.conf_dir, service))
            if service.snippet
            else ("service.conf.j2", _conf_path(host.conf_dir, service))
        )
        wanted.files.append({"path": path, "content": jinja.get_template(template).render(service=view, **common)})
        if service.issued_by_authority:
            credential = publications[service.trust].credentials[service.name]
            wanted.files.append({"path": view["certificate"], "content": credential.certificate})
            wanted.secrets.append({"path": view["certificate_key"], "content": credential.key})
        if not service.snippet:
            wanted.probes.append(_probe(service))
    kept = {item["path"] for item in [*wanted.files, *wanted.secrets]}
    ours = dict.fromkeys(path for service in services for path in _all_paths(host, service))
    wanted.absent = [path for path in ours if path not in kept]
    wanted.owned = [host.path("conf.d", "mtls-*.conf"), host.path("snippets", "mtls-*.conf")]
    if host.shutdown_timeout is not None:
        wanted.shutdown_timeout = host.shutdown_timeout if present else 0
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


def _share_a_name(publications: Collection[Publication]) -> bool:
    """Whether two authorities have CAs of the same subject.

    nginx tells the sessions of server blocks apart by server certificate and CA subjects. Where both are the same, and
    the first server block of the socket keeps sessions, it resumes one in the other (measured with 1.30 and 1.31).
    """
    if len(publications) < 2:
        return False
    names = [
        {certificate.subject for certificate in x509.load_pem_x509_certificates(publication.chain.encode())}
        for publication in publications
    ]
    return any(one & other for one, other in itertools.combinations(names, 2))


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


def _environment(template_dir: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_dir),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # nginx configuration, not HTML: everything is checked or quoted by nginx_quote
    )
    environment.filters["nginx_quote"] = nginx_quote
    return environment


def _view(host: NginxHost, service: Service, client_dns: Mapping[str, str]) -> dict[str, t.Any]:
    """A service in the words of the templates."""
    certificate, key = _certificate_paths(host.conf_dir, service)
    return {
        "name": service.name,
        "trust": _Trust.of(host.conf_dir, service.trust),
        "variable": service.variable,
        "server_names": service.server_names,
        "sni_names": [*map(_sni_pattern, service.server_names), *([""] if service.by_address else [])],
        "listens": _listens(host, service),
        "root": service.root,
        "locations": _locations(service),
        "certificate": certificate,
        "certificate_key": key,
        "public_paths": service.public_paths,
        "public_patterns": [_public_pattern(path) for path in service.public_paths],
        "allow": None
        if service.allow is None
        else [
            {"key": f"SUCCESS:{client_dns[name]}", "comment": "" if client_dns[name] == f"CN={name}" else f"  # {name}"}
            for name in service.allow
            if name in client_dns
        ],
    }


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
    return [socket + parameters for socket in service.listen.sockets if host.ipv6 or not socket.startswith("[::]:")]


def _locations(service: Service) -> list[dict[str, str]]:
    """`location` lines. A public path is passed on as nginx normalised it, so that upstream sees what was checked."""
    if service.upstream is None:
        return [{"match": "/"}]
    prefix = service.upstream.rstrip("/")
    public = [
        {"match": f"{'^~' if path.endswith('/') else '='} {path}", "proxy_pass": prefix + path}
        for path in service.public_paths
    ]
    # With a path of its own the upstream gets that, a slash and the rest; without one, the request as it came.
    whole = service.upstream if service.upstream.count("/") == 2 else f"{prefix}/"
    return [*public, {"match": "/", "proxy_pass": whole}]


def _public_pattern(path: str) -> str:
    # \z and not $, which would also match before a line feed at the end.
    return f"~^{re.escape(path)}" + ("" if path.endswith("/") else r"\z")


def _hash_sizes(host: NginxHost, views: Sequence[Mapping[str, t.Any]]) -> dict[str, int | None]:
    """`map_hash_*` values, where nginx's defaults are too small and the host sets none of its own.

    A key of n bytes needs a bucket of 8 + (n + 2 rounded up to 8) + 8 bytes (measured).
    """
    keys = [len(name) for view in views for name in view["sni_names"]]
    keys += [len(client["key"]) for view in views for client in view["allow"] or ()]
    entries = max((len(view["allow"] or ()) for view in views), default=0)
    bucket = _power_of_two(16 + (max(keys, default=0) + 2 + 7) // 8 * 8)
    max_size = _power_of_two(2 * entries)
    return {
        "hash_bucket_size": bucket
        if bucket > _DEFAULT_BUCKET and not host.directives.get("map_hash_bucket_size")
        else None,
        "hash_max_size": max_size
        if max_size > _DEFAULT_MAX_SIZE and not host.directives.get("map_hash_max_size")
        else None,
    }


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
    return {
        "address": service.local_address,
        "port": service.listen.port,
        "server_name": service.probe_name,
        "expect": 400,
    }


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


def _all_paths(host: NginxHost, service: Service) -> list[str]:
    return [
        _conf_path(host.conf_dir, service),
        _snippet_path(host.conf_dir, service),
        *_issued_paths(host.conf_dir, service),
        *(_Trust.of(host.conf_dir, service.trust).files if service.trust else ()),
    ]
