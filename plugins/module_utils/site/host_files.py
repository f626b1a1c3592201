# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files a host gets, and what is in them: from services and clients to nginx configuration."""

from __future__ import annotations

import base64
import dataclasses
import functools
import os.path
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

try:
    import jinja2
    import jinja2.sandbox
except ImportError:  # only on targets, where nothing is rendered
    pass

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.probe import GATE_PATH
from ansible_collections.mtls.nginx.plugins.module_utils.host import comparison, sessions
from ansible_collections.mtls.nginx.plugins.module_utils.host import renewals as host_renewals
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import literal_key, nginx_quote
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import FILE_MODE, SECRET_MODE
from ansible_collections.mtls.nginx.plugins.module_utils.host.shutdown import parse_time
from ansible_collections.mtls.nginx.plugins.module_utils.site import (
    acme_program,
    crl_maps,
    error_pages,
    host_paths,
    identity_headers,
    own_certificates,
    plain_paths,
    renewal_page,
    renewals,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import TrustPaths, trusts_of
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_view import (
    Bundle,
    NginxHost,
    ServiceView,
    crl_listens,
    hash_sizes,
    named_hosts,
    sees_to_issuers,
    share_a_name,
    views_of,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import Publication
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewals import Offer
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import (
    HTTP_PORT,
    RENEWAL_PATH,
    Endpoint,
    Service,
    host_name,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.upstream_tls import SYSTEM

_DEFAULT_HEADER_TIMEOUT = "60s"


@dataclass
class HostFiles:
    """Options of the ``nginx_config`` module."""

    files: list[dict[str, str]] = field(default_factory=list)
    secrets: list[dict[str, str]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    owned: list[str] = field(default_factory=list)
    probes: list[dict[str, t.Any]] = field(default_factory=list)
    snippets: list[dict[str, t.Any]] = field(default_factory=list)
    shutdown_timeout: int | None = None
    restart: bool | None = None
    textfile: dict[str, t.Any] | None = None
    renewals: dict[str, t.Any] | None = None
    close_rejected: bool = False
    reload: bool = False

    def as_options(self) -> dict[str, t.Any]:
        """Return them as the module takes them."""
        return dataclasses.asdict(self)

    def fingerprints(self) -> dict[str, str | None]:
        """Return what ``comparison.look`` finds on a host that has it all."""
        found: dict[str, str | None] = dict.fromkeys(self.absent)
        for items, mode in ((self.files, FILE_MODE), (self.secrets, SECRET_MODE)):
            for item in items:
                content = item["content"].encode("utf-8", "surrogateescape")
                found[item["path"]] = comparison.fingerprint(content, int(item.get("mode", "0"), 8) or mode)
        if self.renewals is not None:
            waiting = {item["name"]: base64.b64decode(item["content"]) for item in self.renewals["files"]}
            found[self.renewals["folder"]] = host_renewals.fingerprint(waiting)
        return found


def to_compare(
    conf_dir: str,
    services: Sequence[Service],
    shutdown_timeout: int | None,
    textfile_dir: str | None,
    *,
    restart: bool | None = None,
) -> dict[str, t.Any]:
    """Return what of ``host_files`` is known before the host is asked: the option ``compare`` of ``nginx_facts``."""
    trusts = {name: TrustPaths.of(conf_dir, name) for name in trusts_of(services)}
    trusted = [path for trust in trusts.values() for path in trust.files]
    own = [path for service in services for path in host_paths.all_paths(conf_dir, service)]
    return {
        "paths": list(dict.fromkeys([*trusted, *host_paths.common_paths(conf_dir), *own])),
        "renewals": host_paths.renewal_folder(conf_dir),
        "owned": host_paths.owned(conf_dir),
        "snippets": _snippets(conf_dir, services),
        "shutdown_timeout": _bound(services, shutdown_timeout),
        "restart": _restart(services, restart),
        "textfile": _textfile(conf_dir, services, trusts, textfile_dir),
        "certificates": own_certificates.to_look_at(conf_dir, services),
        "acme": own_certificates.renewals(conf_dir, services),
    }


def host_files(
    host: NginxHost,
    services: Sequence[Service],
    publications: Mapping[str, Publication],
    template_dir: str,
    cache_dir: str | None = None,
    upstream_cas: Mapping[str, str] | None = None,
    offers: Mapping[str, Sequence[Offer]] | None = None,
) -> HostFiles:
    """Return everything that one host should have. A client on an allow list that is revoked gets no line in the map.

    ``publications`` and the ``offers`` of services are by ``Service.trust``. ``cache_dir``, where nobody else may
    write, keeps the compiled templates for the processes that render the other hosts. ``upstream_cas`` are the CAs of
    upstreams, in PEM, by service.

    :raises MtlsError: the template of the error pages cannot be used, or the host contradicts a service.
    """
    present = [service for service in services if service.present]
    _refuse_unknown_addresses(host, present)
    _refuse_no_system_ca(host, present)
    _refuse_shared_connections(host, present)
    if host.crl_server and "" not in publications:
        raise MtlsError(
            "mtls_crl_publish names this host, but none of its services uses the authority of mtls_ca_dir, so it does "
            "not have that CRL; name another host"
        )
    if host.crl_server:
        for service in present:
            if service.http_proxy_protocol and host.crl_server.port == HTTP_PORT:
                raise MtlsError(
                    f"service {service.name}: http_proxy_protocol is for everybody on port 80, and hosts that fetch"
                    " the CRL there do not speak it; give mtls_crl_publish another port"
                )
    bundles = {name: Bundle.of(publication) for name, publication in publications.items()}
    views = views_of(host, present, publications)
    trusts = {name: TrustPaths.of(host.conf_dir, name) for name in publications}
    jinja = _environment(template_dir, cache_dir)
    pages_path = host_paths.pages_path(host.conf_dir)
    has_pages = host.error_pages and any(not service.snippet for service in present)
    renewing = dict.fromkeys(service.trust for service in present if service.self_renewal)
    renewal_pages = host_paths.renewal_pages_path(host.conf_dir)
    renewal_folder = host_paths.renewal_folder(host.conf_dir)
    offers = offers or {}
    common = {
        "pages_path": pages_path if has_pages else None,
        "log_dir": host.log_dir,
        "gate_path": GATE_PATH,
        "http2_directive": host.version >= (1, 25, 1),
        "header_timeout": _header_timeout(host),
        "forgeable": identity_headers.FORGEABLE,
        "client_cert": identity_headers.CLIENT_CERT,
        "renewal_pages": renewal_pages if renewing else None,
        "renewal_folder": renewal_folder,
        "renewal_path": RENEWAL_PATH,
        "renewal_devices": [device.name for device in renewal_page.DEVICES],
        "conf_command": host.version >= (1, 19, 4),
        "dates_compare": host.ssi,
        "sessions_cross": host.version < (1, 22) or share_a_name(bundles.values()),
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
            "path": host_paths.maps_path(host.conf_dir),
            "content": jinja.get_template("mtls.conf.j2").render(
                services=views,
                trusts=[
                    (trust, bundles[name].issuers, sees_to_issuers(bundles[name], name, present))
                    for name, trust in trusts.items()
                ],
                named=named_hosts(host, views, bundles.values()),
                plain=plain_paths,
                crl_server=host.crl_server,
                crl_listens=crl_listens(host, present),
                crl_path=TrustPaths.of(host.conf_dir, "").crl,
                pem=identity_headers.pem(),
                **common,
                **hash_sizes(host, views, bundles.values()),
            ),
        },
    ]
    for name in dict.fromkeys(service.trust for service, view in zip(present, views) if view.keeps_sessions):
        content = sessions.lines(publications[name].chain.encode(), publications[name].crl.encode())
        wanted.files.append({"path": trusts[name].sessions, "content": content.decode()})
    if has_pages:
        pages = error_pages.pages(jinja, host.error_page_template, host.contact)
        wanted.files.append({"path": pages_path, "content": jinja.get_template("pages.conf.j2").render(pages=pages)})
    if renewing:
        words = renewal_page.pages(jinja, host.contact, [trusts[name] for name in renewing])
        wanted.files += [
            {"path": renewal_pages, "content": jinja.get_template("renewal_pages.conf.j2").render(words)},
            *(
                {"path": trusts[name].renewals, "content": renewals.map_lines(offers.get(name, ()))}
                for name in renewing
            ),
        ]
    wanted.renewals = renewals.on_host(renewal_folder, (offer for name in renewing for offer in offers.get(name, ())))
    for service, view in zip(present, views, strict=False):
        template, path = (
            ("snippet.conf.j2", host_paths.snippet_path(host.conf_dir, service))
            if service.snippet
            else ("service.conf.j2", host_paths.conf_path(host.conf_dir, service))
        )
        wanted.files.append(
            {
                "path": path,
                "content": jinja.get_template(template).render(
                    service=view, verify_depth=bundles[service.trust].depth, **common
                ),
            }
        )
        if service.issued_by_authority or service.name in host.stand_ins:
            credential = publications[service.trust].credentials[service.name]
            wanted.files.append({"path": view.certificate, "content": credential.certificate})
            wanted.secrets.append({"path": view.certificate_key, "content": credential.key})
        _add_upstream_tls(wanted, view, (upstream_cas or {}).get(service.name), publications[service.trust])
        if not service.snippet:
            wanted.probes += [_probe(service, endpoint) for endpoint in service.endpoints]
    wanted.textfile = _textfile(host.conf_dir, services, trusts, host.textfile_dir)
    if any(service.acme for service in present):
        wanted.files.append(_acme_hook(host, present, wanted.textfile))
    kept = {item["path"] for item in [*wanted.files, *wanted.secrets]}
    ours = dict.fromkeys(
        [
            *host_paths.common_paths(host.conf_dir),
            *(path for each in services for path in host_paths.all_paths(host.conf_dir, each)),
        ]
    )
    wanted.absent = [path for path in ours if path not in kept]
    wanted.owned = host_paths.owned(host.conf_dir)
    wanted.snippets = _snippets(host.conf_dir, services)
    wanted.shutdown_timeout = _bound(services, host.shutdown_timeout)
    wanted.restart = _restart(services, host.restart)
    return wanted


def _add_upstream_tls(wanted: HostFiles, view: ServiceView, ca: str | None, publication: Publication) -> None:
    """Add the files for a service's upstream: the CA that it is verified with, and the client as which nginx comes."""
    if view.tls is None:
        return
    if view.tls.ca and ca is not None:
        wanted.files.append({"path": view.tls.ca, "content": ca})
    if view.tls.certificate and view.tls.key:
        credential = publication.upstream_clients[view.name]
        wanted.files.append({"path": view.tls.certificate, "content": credential.certificate})
        wanted.secrets.append({"path": view.tls.key, "content": credential.key})


def _acme_hook(host: NginxHost, services: Sequence[Service], textfile: dict[str, t.Any] | None) -> dict[str, str]:
    ours = own_certificates.to_look_at(host.conf_dir, [service for service in services if service.acme])
    nginx = {"binary": host.binary, "conf_path": host.conf_path}
    program = acme_program.text(host.python, nginx, ours, textfile)
    return {"path": host_paths.acme_hook(host.conf_dir), "content": program, "mode": f"{acme_program.MODE:04o}"}


def crl_files(
    conf_dir: str,
    services: Sequence[Service],
    crls: Mapping[str, str],
    textfile_dir: str | None,
    offers: Sequence[Offer] | None = None,
) -> HostFiles:
    """Return new CRLs, given by ``Service.trust``, and all expiry dates: for a host whose services are set up.

    What is not in ``offers`` any more is withdrawn; None where that is not known.
    """
    trusts = {name: TrustPaths.of(conf_dir, name) for name in trusts_of(services)}
    return HostFiles(
        files=[item for name, crl in crls.items() for item in _crl_files(trusts[name], crl)],
        snippets=_snippets(conf_dir, services),
        textfile=_textfile(conf_dir, services, trusts, textfile_dir),
        renewals=None if offers is None else renewals.may_stay(host_paths.renewal_folder(conf_dir), offers),
        close_rejected=True,
    )


def _crl_files(trust: TrustPaths, crl: str) -> list[dict[str, str]]:
    """Return the CRL, and what it says as lines of maps."""
    return [
        {"path": trust.crl, "content": crl},
        {"path": trust.revoked, "content": crl_maps.revoked_lines(crl, trust.crl)},
        {"path": trust.ended, "content": crl_maps.ended_lines(crl, trust.crl)},
    ]


def _snippets(conf_dir: str, services: Sequence[Service]) -> list[dict[str, t.Any]]:
    """Return what must be looked at where it is included: snippets, and server blocks that need to know who asks."""
    return [
        {
            "service": service.name,
            "path": (host_paths.snippet_path if service.snippet else host_paths.conf_path)(conf_dir, service),
            "exempt": bool(service.exempt_networks),
            "server_names": list(service.server_names) if service.snippet else [],
        }
        for service in services
        if service.present and (service.snippet or (service.exempt_networks and not service.proxy_protocol_from))
    ]


def textfile(conf_dir: str, services: Sequence[Service], textfile_dir: str | None) -> dict[str, t.Any] | None:
    """Return where a host writes metrics, and of which files: the option ``textfile`` of ``nginx_config``."""
    return _textfile(
        conf_dir, services, {name: TrustPaths.of(conf_dir, name) for name in trusts_of(services)}, textfile_dir
    )


def _textfile(
    conf_dir: str, services: Sequence[Service], trusts: Mapping[str, TrustPaths], textfile_dir: str | None
) -> dict[str, t.Any] | None:
    if not textfile_dir:
        return None
    return {
        "path": os.path.join(textfile_dir, "mtls_nginx.prom"),
        "authorities": [{"name": name, "ca": trust.ca, "crl": trust.crl} for name, trust in trusts.items()],
        "certificates": [
            {"service": service.name, "path": path}
            for service in services
            if service.present and not service.snippet
            # What stands in counts until there is the host's own.
            for path in dict.fromkeys(
                paths(conf_dir, service)[0] for paths in (host_paths.certificate_paths, host_paths.issued_paths)
            )
        ],
    }


def load_templates(template_dir: str, cache_dir: str | None) -> None:
    """Read and compile the templates, so that forks of this process need not."""
    environment = _environment(template_dir, cache_dir)
    for name in environment.list_templates(["j2"]):
        environment.get_template(name)


@functools.cache  # a process that renders several hosts reads and compiles the templates once
def _environment(template_dir: str, cache_dir: str | None) -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(template_dir),
        bytecode_cache=jinja2.FileSystemBytecodeCache(cache_dir) if cache_dir else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # nginx configuration, not HTML: everything is checked or quoted by nginx_quote
    )
    environment.filters["nginx_quote"] = nginx_quote
    environment.filters["literal_key"] = literal_key
    return environment


def _refuse_unknown_addresses(host: NginxHost, services: Sequence[Service]) -> None:
    """Raise MtlsError for a host that trusts a header for the caller's address: everybody comes from its proxy."""
    said = host.directives.get("set_real_ip_from")
    for service in services:
        if said and service.exempt_networks and not service.proxy_protocol_from:
            raise MtlsError(
                f"service {service.name}: exempt_networks needs the caller's own address, and this host's own nginx "
                f"configuration has a proxy in front (set_real_ip_from {said}); name it in proxy_protocol_from if it "
                "passes TLS through (if it does not, no client certificate gets here), or remove exempt_networks"
            )


def _refuse_no_system_ca(host: NginxHost, services: Sequence[Service]) -> None:
    for service in services:
        if service.upstream_tls and service.upstream_tls.ca == SYSTEM and host.system_ca is None:
            raise MtlsError(
                f"service {service.name}: upstream_tls: ca: system, and this host has no bundle of public CAs; install"
                " the package ca-certificates, or give the CA's certificate as a file"
            )


def _refuse_shared_connections(host: NginxHost, services: Sequence[Service]) -> None:
    """Raise MtlsError where a service would get connections that another server block has opened to its upstream.

    nginx keeps them by ``upstream`` block, whoever verified what there, and as whichever client it came (measured).
    """
    for group, used in host.kept.items():
        ours = [service for service in services if service.upstream and host_name(service.upstream) == group]
        meant = {service.upstream_tls for service in ours}
        if any(tls and (tls.verify or tls.client) for tls in meant) and (used or len(meant) > 1):
            raise MtlsError(
                f"service {ours[0].name}: upstream_tls: its upstream block {group} has keepalive and is used by other"
                " server blocks, so nginx would send requests over connections that it has opened for those, verified"
                " or not, and as whichever client; give the service an upstream block of its own"
            )


def _header_timeout(host: NginxHost) -> int | None:
    """Return seconds for ``client_header_timeout``, where the host's value exceeds the bound for old connections.

    ``worker_shutdown_timeout`` spares a connection that has sent half a request's header (measured), and once the other
    half arrives, the old worker answers.
    """
    bound = host.shutdown_timeout
    value = host.directives.get("client_header_timeout") or _DEFAULT_HEADER_TIMEOUT
    return bound if bound and parse_time(value) > bound else None


def _probe(service: Service, endpoint: Endpoint) -> dict[str, t.Any]:
    """Return what the host must see of itself once the new configuration serves: no certificate, no page."""
    probe = {
        "address": endpoint.local_address,
        "port": endpoint.port,
        "server_name": service.probe_name,
        "expect": 400,
    }
    return {**probe, "proxy_protocol": True} if service.proxy_protocol_from else probe


def _bound(services: Sequence[Service], shutdown_timeout: int | None) -> int | None:
    """Return the bound for old connections, in seconds: 0 without a service, since there is nobody to be shut out."""
    return shutdown_timeout if shutdown_timeout is None or any(service.present for service in services) else 0


def _restart(services: Sequence[Service], restart: bool | None) -> bool | None:
    """Return whether systemd is to start nginx again: not for a host without a service, whose nginx is not ours."""
    return restart if restart is None else restart and any(service.present for service in services)
