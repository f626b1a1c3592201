# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server certificates that are the host's own: which of them can be served, and what to do about the others."""

from __future__ import annotations

import typing as t
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host.server_certificates import (
    GOOD,
    MISSING,
    UNFIT,
    UNUSABLE,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site import host_paths
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

_CRL_ANYWAY = "The playbook refresh_crl.yml installs the CRL all the same"
_STANDS_IN = "a certificate by the authority stands in"
_RENEW = "see why its ACME client has not renewed it, or put another one there"


@dataclass
class Choice:
    """What is served instead, and what is to be told.

    ``stand_ins`` are the services that get the authority's certificate for now. ``notes`` say why, by service.
    ``failures``, by service, are sentences about certificates that must be replaced; the run fails with them, once all
    else is done. ``stale`` are the services that serve another certificate than their file has, ``due`` those whose
    certificate is to be obtained by ACME.
    """

    stand_ins: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    due: list[Service] = field(default_factory=list)

    def to_be_obtained(self) -> Choice:
        """Return the same, without failures of certificates that are obtained next."""
        due = {service.name for service in self.due}
        return replace(self, failures={name: why for name, why in self.failures.items() if name not in due})


def to_look_at(conf_dir: str, services: Sequence[Service]) -> list[dict[str, t.Any]]:
    """Return ``certificates`` in the option ``compare`` of ``nginx_facts``."""
    found = []
    for service in _judged(conf_dir, services):
        path, key = host_paths.certificate_paths(conf_dir, service)
        target = service.target(service.local_address)
        found.append(
            {
                "service": service.name,
                "path": path,
                "key": key,
                "server_names": list(service.server_names),
                "server_block": host_paths.conf_path(conf_dir, service),
                "address": target.address,
                "port": target.port,
                "server_name": target.server_name,
                "proxy_protocol": target.proxy_protocol,
            }
        )
    return found


def _judged(conf_dir: str, services: Sequence[Service]) -> list[Service]:
    """Return the services with a certificate of the host's own: not those that share one of ours with another."""
    issued = {host_paths.certificate_paths(conf_dir, each)[0] for each in services if each.issued_by_authority}
    return [
        each for each in services if each.may_stand_in and host_paths.certificate_paths(conf_dir, each)[0] not in issued
    ]


def renewals(conf_dir: str, services: Sequence[Service]) -> dict[str, t.Any]:
    """Return ``acme`` in the option ``compare`` of ``nginx_facts``."""
    compared = ("server_names", "directory_url", "webroot", "profile")
    lineages = {each["lineage"]: {name: each[name] for name in compared} for each in orders(conf_dir, services)}
    return {"hook": host_paths.acme_hook(conf_dir), "lineages": lineages}


def orders(conf_dir: str, services: Sequence[Service]) -> list[dict[str, t.Any]]:
    """Return ``orders`` of the module ``nginx_acme``."""
    return [
        {
            "service": service.name,
            "lineage": host_paths.lineage(conf_dir, service),
            "server_names": list(service.server_names),
            "directory_url": service.acme.directory_url,
            "webroot": service.acme_root,
            "email": service.acme.email,
            "profile": service.acme.profile,
        }
        for service in services
        if service.acme
    ]


def choose(
    host: str,
    conf_dir: str,
    services: Sequence[Service],
    facts: Mapping[str, t.Any],
    can_stand_in: Collection[str],
) -> Choice:
    """Return what the services of a host serve, by what it says of their certificates (``nginx_facts``).

    ``can_stand_in`` are the services for which the authority has a certificate.

    :raises MtlsError: nginx would reject what a service has, and there is nothing else; or it serves something that it
        has read before, and would have to give that up.
    """
    choice = Choice()
    outdated = (facts["acme"] or {}).get("outdated", ())
    for service in _judged(conf_dir, services):
        where = f"host {host}, service {service.name}"
        found = facts["certificates"].get(service.name) or _unknown(conf_dir, service)
        state, why, in_use = found["state"], found["why"], found["in_use"]
        if found["stale"]:
            choice.stale.add(service.name)
        if service.acme and (state != GOOD or host_paths.lineage(conf_dir, service) in outdated):
            choice.due.append(service)
        if state == GOOD or (state == UNFIT and in_use):
            if state == UNFIT:
                choice.failures[service.name] = f"{where}: {why}; it is still served: {_remedy(service)}"
            continue
        if state == UNUSABLE and in_use and facts["running"]:
            raise MtlsError(
                f"{where}: {why}; nothing was changed, and nginx keeps using the certificate that it has loaded:"
                f" {_remedy(service)}. {_CRL_ANYWAY}"
            )
        if service.name not in can_stand_in:
            raise MtlsError(
                f"{where}: {why}, and the authority has no certificate that could stand in; nothing was changed:"
                f" {_remedy(service)}. {_CRL_ANYWAY}"
            )
        choice.stand_ins.add(service.name)
        choice.notes[service.name] = f"{why}, so {_STANDS_IN}"
        if state != MISSING:
            choice.failures[service.name] = f"{where}: {why}, so {_STANDS_IN}: {_remedy(service)}"
    return choice


def _unknown(conf_dir: str, service: Service) -> dict[str, t.Any]:
    path = host_paths.certificate_paths(conf_dir, service)[0]
    return {"state": MISSING, "why": f"{path} is not there", "in_use": False, "stale": False}


def _remedy(service: Service) -> str:
    return "run certbot renew on the host to see why" if service.acme else _RENEW
