# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on a host the files are."""

from __future__ import annotations

import hashlib
import os.path
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.host import acme_lineages, sessions
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import DEFAULT_CONF
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service
from ansible_collections.mtls.nginx.plugins.module_utils.site.upstream_tls import UpstreamTlsPaths

_DEFAULT_DIR = os.path.dirname(DEFAULT_CONF)


def trusts_of(services: Sequence[Service]) -> list[str]:
    """Return each ``Service.trust`` that is present; a host without a service gets its own authority's files too."""
    return list(dict.fromkeys(service.trust for service in services if service.present)) or [""]


@dataclass(frozen=True)
class TrustPaths:
    """Where an authority's files are on a host, and what its nginx variables begin with (see ``Service.variable``)."""

    folder: str
    variable: str

    @classmethod
    def of(cls, conf_dir: str, name: str) -> TrustPaths:
        """Return the paths of an authority; ``name`` is empty for the host's own one."""
        variable = "_".join(["mtls", *([name.replace("-", "_")] if name else [])])
        return cls(os.path.join(conf_dir, "client-certs", name).rstrip("/"), variable)

    @property
    def ca(self) -> str:
        """The CA certificates that clients are verified with."""
        return os.path.join(self.folder, "ca.crt")

    @property
    def crl(self) -> str:
        """The CRLs of all of them."""
        return os.path.join(self.folder, "crl.pem")

    @property
    def revoked(self) -> str:
        """The serials on these CRLs, as lines of a map."""
        return os.path.join(self.folder, "revoked.map")

    @property
    def ended(self) -> str:
        """When the first of these CRLs expires, as a line of a map."""
        return os.path.join(self.folder, "crl-end.map")

    @property
    def renewals(self) -> str:
        """Which certificate may fetch what, as lines of a map."""
        return os.path.join(self.folder, "renewals.map")

    @property
    def sessions(self) -> str:
        """Where nginx keeps TLS sessions, as directives of a server block."""
        return os.path.join(self.folder, sessions.SESSIONS)

    @property
    def files(self) -> list[str]:
        """All four that there always are."""
        return [self.ca, self.crl, self.revoked, self.ended]


def gate_files(conf_dir: str, service: Service) -> dict[str, str]:
    """Return the paths of the files that decide who enters a service: options of the module ``nginx_gate``."""
    trust = TrustPaths.of(conf_dir, service.trust)
    return {
        "server_block": snippet_path(conf_dir, service) if service.snippet else conf_path(conf_dir, service),
        "maps": maps_path(conf_dir),
        "ca": trust.ca,
        "crl": trust.crl,
        "revoked": trust.revoked,
    }


def owned(conf_dir: str) -> list[str]:
    """Return patterns of files that are ours; what matches and is not wanted any more is removed."""
    return [os.path.join(conf_dir, folder, "mtls-*.conf") for folder in ("conf.d", "snippets")]


def pages_path(conf_dir: str) -> str:
    """Return the path of the pages for people who are refused."""
    return os.path.join(conf_dir, "client-certs", "pages.conf")


def renewal_pages_path(conf_dir: str) -> str:
    """Return the path of the pages on which clients fetch their next certificate."""
    return os.path.join(conf_dir, "client-certs", "renewal-pages.conf")


def renewal_folder(conf_dir: str) -> str:
    """Return the folder in which clients' next certificates wait to be fetched."""
    return os.path.join(conf_dir, "client-renewals")


def maps_path(conf_dir: str) -> str:
    """Return the path of all services' maps."""
    return os.path.join(conf_dir, "conf.d", "mtls.conf")


def conf_path(conf_dir: str, service: Service) -> str:
    """Return the path of a service's server block."""
    return os.path.join(conf_dir, "conf.d", f"mtls-{service.name}.conf")


def snippet_path(conf_dir: str, service: Service) -> str:
    """Return the path of a service's snippet, for a server block of the host's own."""
    return os.path.join(conf_dir, "snippets", f"mtls-{service.name}.conf")


def certificate_paths(conf_dir: str, service: Service) -> tuple[str, str]:
    """Return the paths of server certificate and key: the host's own, or those that the authority issues."""
    if service.acme:
        folder = os.path.join(acme_lineages.CONFIG_DIR, "live", lineage(conf_dir, service))
        return os.path.join(folder, "fullchain.pem"), os.path.join(folder, "privkey.pem")
    return service.certificate or issued_paths(conf_dir, service)


def lineage(conf_dir: str, service: Service) -> str:
    """Return certbot's name for a service's certificate: each nginx of a host has its own."""
    suffix = "" if conf_dir == _DEFAULT_DIR else f"{hashlib.sha256(conf_dir.encode()).hexdigest()[:8]}-"
    return f"{acme_lineages.PREFIX}{suffix}{service.name}"


def acme_hook(conf_dir: str) -> str:
    """Return the path of the program that certbot runs when it has renewed a certificate."""
    return os.path.join(conf_dir, "server-certs", "acme-deploy-hook")


def issued_paths(conf_dir: str, service: Service) -> tuple[str, str]:
    """Return the paths of the server certificate that the authority issues, and of its key."""
    stem = os.path.join(conf_dir, "server-certs", service.name)
    return f"{stem}.crt", f"{stem}.key"


def common_paths(conf_dir: str) -> list[str]:
    """Return every path that a host may have a file of ours at, whatever its services are called."""
    return [maps_path(conf_dir), pages_path(conf_dir), renewal_pages_path(conf_dir), acme_hook(conf_dir)]


def all_paths(conf_dir: str, service: Service) -> list[str]:
    """Return every path that a service may have a file of ours at, whatever its options are."""
    return [
        conf_path(conf_dir, service),
        snippet_path(conf_dir, service),
        *issued_paths(conf_dir, service),
        *UpstreamTlsPaths.of(conf_dir, service.name).all,
        *(TrustPaths.of(conf_dir, service.trust).files if service.trust else ()),
        TrustPaths.of(conf_dir, service.trust).renewals,
        TrustPaths.of(conf_dir, service.trust).sessions,
    ]
