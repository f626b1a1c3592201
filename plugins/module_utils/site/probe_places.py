# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From where a service is asked, and what a host is asked to try: only callers that need no client's key."""

from __future__ import annotations

import typing as t
from collections.abc import Collection, Mapping, Sequence

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.known_variables import (
    FROM_HOST,
    FROM_NOWHERE,
    PROBE_FROM,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

NO_KEYS = "no client's key is sent to a host, so that entering with a valid certificate was not tried"
_TIMED_OUT = "no answer within"


def another_host(wanted: str | None) -> str | None:
    """Return the host of the inventory that ``mtls_probe_from`` names; None where it names none."""
    return None if wanted in (None, *PROBE_FROM) else wanted


def not_asked(service: Service, wanted: str | None, away: Collection[str]) -> str | None:
    """Return why a service is not asked at all; None where it is."""
    if wanted == FROM_NOWHERE:
        return "mtls_probe_from is none"
    if service.own_address in away:
        return (
            f"the host does not have the address {service.own_address} now, and another machine may answer there; a"
            " standby is asked once it is active"
        )
    return None


def out_of_reach(service: Service, other: str | None, *, explicit: bool) -> str | None:
    """Return why another host cannot ask a service; None where it can, or where none is to.

    ``explicit``: the inventory says where to connect to.
    """
    if other is None or explicit or not service.at_loopback:
        return None
    return (
        f"it listens on {service.own_address} only, where {other} (mtls_probe_from) cannot connect; set"
        " mtls_probe_from to host, or the service's probe_address"
    )


def from_host(service: Service, wanted: str | None, *, local: bool, explicit: bool) -> str | None:
    """Return why a service is asked from a host, its own or another, and not from the controller; None where it is not.

    ``local``: the controller is the host. ``explicit``: the inventory says where to connect to.
    """
    if another_host(wanted):
        return "as mtls_probe_from says"
    if local:
        return None
    if wanted == FROM_HOST:
        return "as mtls_probe_from says"
    if wanted is None and service.at_loopback and not explicit:
        return f"since it listens on {service.own_address} only"
    return None


def unreached(target: probe.Target, outcome: probe.ProbeOutcome) -> str:
    """Return why the host itself has to be asked: the controller cannot connect."""
    error = outcome.error or ""
    hint = " (a firewall is in between, or has banned the controller)" if error.startswith(_TIMED_OUT) else ""
    return f"since the controller cannot connect to {target.address}:{target.port}: {error}{hint}"


def questions(target: probe.Target, attempts: Sequence[probe.Attempt]) -> list[tuple[probe.Attempt, dict[str, t.Any]]]:
    """Return those attempts that can be made from a host, with the option ``ask`` of ``nginx_facts`` for each.

    Without a certificate, and with a forged one, whose key is made for this run and opens nothing.
    """
    found = []
    for attempt in attempts:
        identity = None
        if attempt.certificate:
            if attempt.key is not None or attempt.expect != probe.NO_OR_BAD_CERTIFICATE:
                continue
            with open(attempt.certificate, encoding="ascii") as stream:
                identity = stream.read()
        gate = {
            "address": target.address,
            "port": target.port,
            "server_name": target.server_name,
            "proxy_protocol": target.proxy_protocol,
            "identity": identity,
        }
        found.append((attempt, gate))
    return found


def outcomes(
    host: str, attempts: Sequence[probe.Attempt], asked: Sequence[Mapping[str, t.Any]] | None
) -> list[probe.ProbeOutcome]:
    """Return what a host has seen, as ``site/answers.py`` has read it.

    :raises MtlsError: it has not answered each question.
    """
    if asked is None or len(asked) != len(attempts):
        raise MtlsError(f"host {host}: it did not say what its services answer; update the collection there")
    return [
        probe.ProbeOutcome(attempt, answer["status"], answer["error"])
        for attempt, answer in zip(attempts, asked, strict=True)
    ]
