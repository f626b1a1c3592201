# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on a host the files are."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service


def trusts_of(services: Sequence[Service]) -> list[str]:
    """`Service.trust` of what is present; a host without a service still gets its own authority's files."""
    return list(dict.fromkeys(service.trust for service in services if service.present)) or [""]


@dataclass(frozen=True)
class TrustPaths:
    """Where an authority's files are on a host, and what its nginx variables begin with (see `Service.variable`)."""

    folder: str
    variable: str

    @classmethod
    def of(cls, conf_dir: str, name: str) -> TrustPaths:
        """`name` is empty for the host's own authority."""
        variable = "_".join(["mtls", *([name.replace("-", "_")] if name else [])])
        return cls(os.path.join(conf_dir, "client-certs", name).rstrip("/"), variable)

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


def gate_files(conf_dir: str, service: Service) -> dict[str, str]:
    """Where the files are that decide who enters a service, in the words of the module `nginx_gate`."""
    trust = TrustPaths.of(conf_dir, service.trust)
    return {
        "server_block": snippet_path(conf_dir, service) if service.snippet else conf_path(conf_dir, service),
        "maps": maps_path(conf_dir),
        "ca": trust.ca,
        "crl": trust.crl,
        "revoked": trust.revoked,
    }


def owned(conf_dir: str) -> list[str]:
    return [os.path.join(conf_dir, folder, "mtls-*.conf") for folder in ("conf.d", "snippets")]


def pages_path(conf_dir: str) -> str:
    return os.path.join(conf_dir, "client-certs", "pages.conf")


def maps_path(conf_dir: str) -> str:
    return os.path.join(conf_dir, "conf.d", "mtls.conf")


def conf_path(conf_dir: str, service: Service) -> str:
    return os.path.join(conf_dir, "conf.d", f"mtls-{service.name}.conf")


def snippet_path(conf_dir: str, service: Service) -> str:
    return os.path.join(conf_dir, "snippets", f"mtls-{service.name}.conf")


def certificate_paths(conf_dir: str, service: Service) -> tuple[str, str]:
    """Server certificate and key: the host's own, or those that the authority issues."""
    return service.certificate or issued_paths(conf_dir, service)


def issued_paths(conf_dir: str, service: Service) -> tuple[str, str]:
    stem = os.path.join(conf_dir, "server-certs", service.name)
    return f"{stem}.crt", f"{stem}.key"


def all_paths(conf_dir: str, service: Service) -> list[str]:
    return [
        conf_path(conf_dir, service),
        snippet_path(conf_dir, service),
        *issued_paths(conf_dir, service),
        *(TrustPaths.of(conf_dir, service.trust).files if service.trust else ()),
    ]
