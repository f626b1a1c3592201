# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mtls_status.prom`: the status as metrics in Prometheus' text format, for the node exporter's textfile collector.

What the hosts write themselves is called `mtls_nginx_…` (end_dates.py); this is `mtls_authority_…` and `mtls_status_…`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import one_line
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import (
    ACT_NOW,
    ACT_SOON,
    ANSWERS,
    ELSEWHERE,
    ENDED,
    NONE,
    NOT_ASKED,
    NOTE,
    REVOKED,
    SOON,
    UNRECORDED,
    VALID,
    AuthorityStatus,
    CertificateStatus,
    Status,
)

Sample = tuple[dict[str, str], int]


_WRITTEN_BY = b"# Written by mtls.nginx with the status in "


def render(status: Status, generated: datetime, folder: str) -> bytes:
    """Return the file's content. Metrics that have no sample are left out.

    A comment names the ``folder`` of the status that it is part of: a textfile collector's folder may be another one,
    and shared.
    """
    lines = [_WRITTEN_BY.decode() + one_line(folder)]
    for name, text, samples in _metrics(status, generated):
        series = [f"{name}{_labels(labels)} {value}" for labels, value in samples]
        if series:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", *series]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def written_by(content: bytes) -> str | None:
    """Return the folder of the status that such a file is part of, None where it does not say so."""
    first = content.partition(b"\n")[0]
    return first[len(_WRITTEN_BY) :].decode("utf-8", "replace") if first.startswith(_WRITTEN_BY) else None


def _metrics(status: Status, generated: datetime) -> Iterable[tuple[str, str, Iterable[Sample]]]:
    authorities = status.authorities
    yield (
        "mtls_upkeep_last_success_timestamp_seconds",
        "When a playbook that upkeep runs last succeeded.",
        [({"playbook": name}, _seconds(moment)) for name, moment in status.upkeep.succeeded.items()]
        if status.upkeep
        else [],
    )
    yield ("mtls_status_timestamp_seconds", "When this was written.", [({}, _seconds(generated))])
    yield (
        "mtls_status_findings",
        "Kinds of things to be done now, soon, or good to know.",
        [
            ({"level": level}, sum(finding.level == level for finding in status.findings))
            for level in (ACT_NOW, ACT_SOON, NOTE)
        ],
    )
    yield (
        "mtls_authority_not_after_timestamp_seconds",
        "When the authority's own certificate expires.",
        [end for each in authorities for end in _end({"authority": each.path}, each.certificate)],
    )
    crls = [({"authority": each.path, "issuer": crl.issuer}, crl) for each in authorities for crl in each.crls]
    yield (
        "mtls_authority_crl_next_update_timestamp_seconds",
        "When the CRL on the controller expires.",
        [(labels, _seconds(crl.next_update)) for labels, crl in crls],
    )
    yield ("mtls_authority_crl_number", "The CRL's number.", [(labels, crl.number) for labels, crl in crls])
    yield (
        "mtls_authority_crl_entries",
        "How many certificates the CRL lists.",
        [(labels, crl.entries) for labels, crl in crls],
    )
    yield (
        "mtls_authority_clients",
        "Clients that the inventory wants, by the state of their certificates.",
        [
            (
                {"authority": each.path, "state": state},
                [client.certificate.state for client in each.clients].count(state),
            )
            for each in authorities
            for state in _states(each)
        ],
    )
    yield (
        "mtls_authority_client_certificate_not_after_timestamp_seconds",
        "When a client's certificate expires.",
        [
            end
            for each in authorities
            for client in each.clients
            for end in _end({"authority": each.path, "client": client.name}, client.certificate)
        ],
    )
    yield (
        "mtls_authority_server_certificate_not_after_timestamp_seconds",
        "When a server certificate that the authority issued expires.",
        [
            end
            for each in authorities
            for service in each.services
            if service.certificate is not None
            for end in _end(
                {"authority": each.path, "host": service.host, "service": service.name}, service.certificate
            )
        ],
    )
    yield (
        "mtls_authority_unmanaged_certificates",
        "Valid certificates that are not in the inventory.",
        [({"authority": each.path}, len(each.unmanaged)) for each in authorities],
    )
    yield (
        "mtls_authority_revoked_certificates",
        "Certificates that the record says are revoked.",
        [({"authority": each.path}, len(each.revoked)) for each in authorities],
    )
    yield (
        "mtls_status_host_ok",
        "Whether a host that was asked does what it should.",
        [({"host": host.name}, int(host.state == ANSWERS)) for host in status.hosts if host.state != NOT_ASKED],
    )
    yield (
        "mtls_status_served_certificate_not_after_timestamp_seconds",
        "When the server certificate expires that a service was seen to serve.",
        [
            ({"host": host.name, "service": each.service}, _seconds(each.end))
            for host in status.hosts
            for each in host.served
        ],
    )


def _states(authority: AuthorityStatus) -> tuple[str, ...]:
    """Return the states to count; an external CA has one more."""
    states = (VALID, SOON, ENDED, REVOKED, UNRECORDED, NONE)
    elsewhere = any(client.certificate.state == ELSEWHERE for client in authority.clients)
    return (*states, ELSEWHERE) if elsewhere else states


def _end(labels: dict[str, str], certificate: CertificateStatus) -> Iterable[Sample]:
    return [(labels, _seconds(certificate.not_after))] if certificate.not_after else []


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
