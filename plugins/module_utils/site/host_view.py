# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service in the words of the templates in ``roles/server/templates``."""

from __future__ import annotations

import itertools
import os.path
import re
import typing as t
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import nginx_dn
from ansible_collections.mtls.nginx.plugins.module_utils.common.probe import GATE_PATH
from ansible_collections.mtls.nginx.plugins.module_utils.site import host_paths
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import TrustPaths
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import Publication
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Listen, Service

try:
    from cryptography import x509
except ImportError:  # only on targets, where nothing is rendered
    pass


# nginx's own defaults.
_DEFAULT_BUCKET = 64


_DEFAULT_MAX_SIZE = 2048


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


def share_a_name(bundles: Collection[Bundle]) -> bool:
    """Whether two authorities have CAs of the same subject.

    nginx tells the sessions of server blocks apart by server certificate and CA subjects. Where both are the same, and
    the first server block of the socket keeps sessions, it resumes one in the other (measured with 1.30 and 1.31).
    """
    names = [{certificate.subject for certificate in bundle.chain} for bundle in bundles]
    return any(one & other for one, other in itertools.combinations(names, 2))


@dataclass(frozen=True)
class Bundle:
    """The CAs of an authority, and the subjects, in nginx's spelling, of those whose clients are meant."""

    chain: Sequence[x509.Certificate]
    issuers: Sequence[str]

    @classmethod
    def of(cls, publication: Publication) -> Bundle:
        chain = chains.read(publication.chain)
        return cls(chain, list(dict.fromkeys(nginx_dn(ca.subject) for ca in chains.issuing(chain))))

    @property
    def depth(self) -> int:
        """Of CAs between a certificate and its root; nginx's default is 1."""
        return max(len(self.chain) - 1, 1)


def views_of(
    host: NginxHost, present: Sequence[Service], publications: Mapping[str, Publication]
) -> list[dict[str, t.Any]]:
    return [_view(host, service, publications[service.trust].client_dns) for service in present]


def _view(host: NginxHost, service: Service, client_dns: Mapping[str, Sequence[str]]) -> dict[str, t.Any]:
    """A service in the words of the templates."""
    certificate, key = host_paths.certificate_paths(host.conf_dir, service)
    base, prefix = split_upstream(service.upstream) if service.upstream else (None, "")
    zone_key = f"${service.variable}_zone:" if service.paths else ""
    exempt = bool(service.exempt_networks)
    return {
        "name": service.name,
        "trust": TrustPaths.of(host.conf_dir, service.trust),
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


def hash_sizes(
    host: NginxHost, views: Sequence[Mapping[str, t.Any]], bundles: Collection[Bundle]
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


def _bucket_size(views: Sequence[Mapping[str, t.Any]], bundles: Collection[Bundle]) -> int:
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
    bundles = {name: Bundle.of(publication) for name, publication in publications.items()}
    views = views_of(host, [service for service in services if service.present], publications)
    needed = _bucket_size(views, bundles.values())
    own = host.directives.get("map_hash_bucket_size")
    if not own or not own.isdigit() or int(own) >= needed:
        return None
    return (
        f". The host sets map_hash_bucket_size {own} in its http block, and the longest subject or server name needs"
        f" {needed}: write {needed} there, or take the line away, and mtls.conf sets what is needed"
    )


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 0).bit_length()
