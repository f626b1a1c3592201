# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`status.json`: the status for programs. docs/status.md describes it; what is there keeps its meaning in version 1."""

from __future__ import annotations

import json
import typing as t
from datetime import datetime

from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import (
    AuthorityStatus,
    CertificateStatus,
    Status,
    Upkeep,
)

VERSION = 1


def render(status: Status, generated: datetime) -> bytes:
    """Return the file's content: one line for each client, service or certificate, so that differences can be read."""
    document = {
        "version": VERSION,
        "generated": times.iso(generated),
        "due": status.due,
        "summary": status.summary,
        "warn_days": status.warn_days,
        "findings": [
            {
                "level": finding.level,
                "kind": finding.kind,
                "title": finding.title,
                "about": list(finding.about),
                "remedy": finding.remedy,
                "command": finding.command,
                "authority": finding.authority,
            }
            for finding in status.findings
        ],
        "authorities": [_authority(authority) for authority in status.authorities],
        "hosts": [
            {
                "name": host.name,
                "state": host.state,
                "nginx": host.nginx,
                "troubles": list(host.troubles),
                "certificates": [
                    {
                        "service": each.service,
                        "issuer": each.issuer,
                        "not_after": times.iso(each.end),
                        "stands_in": each.stands_in,
                        "trouble": each.trouble,
                    }
                    for each in host.served
                ],
                "attempts": [dict(attempt) for attempt in host.attempts],
            }
            for host in status.hosts
        ],
        "upkeep": status.upkeep
        and {
            "warn_days": status.upkeep.warn_days,
            "since": times.iso(status.upkeep.since),
            "succeeded": {name: times.iso(moment) for name, moment in status.upkeep.succeeded.items()},
        },
    }
    # What UTF-8 cannot hold, such as a lone surrogate in a certificate's name, becomes JSON's own escape.
    return f"{_spread(document)}\n".encode("utf-8", "backslashreplace")


def generated_at(document: bytes) -> datetime | None:
    """When a file was made, or None for something else."""
    try:
        return times.from_iso(json.loads(document)["generated"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def upkeep_from(left: bytes) -> Upkeep | None:
    """Return what upkeep has left beside the document, or None for something else."""
    try:
        found = json.loads(left)
        moments = {str(name): times.from_iso(moment) for name, moment in found["succeeded"].items()}
        return Upkeep(int(found["warn_days"]), times.from_iso(found["since"]), moments)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _authority(authority: AuthorityStatus) -> dict[str, t.Any]:
    return {
        "path": authority.path,
        "subject": authority.subject,
        "certificate": _certificate(authority.certificate),
        "crls": [
            {
                "issuer": crl.issuer,
                "number": crl.number,
                "last_update": times.iso(crl.last_update),
                "next_update": times.iso(crl.next_update),
                "entries": crl.entries,
                "state": crl.state,
            }
            for crl in authority.crls
        ],
        "services": [
            {
                "id": service.id,
                "host": service.host,
                "name": service.name,
                "server_names": list(service.server_names),
                "everybody": service.allow is None,
                "subjects": list(service.subjects),
                "certificate": service.certificate and _certificate(service.certificate),
            }
            for service in authority.services
        ],
        "clients": [
            {
                "name": client.name,
                "dn": client.dn,
                "certificate": _certificate(client.certificate),
                "enters": list(client.enters),
                "waits": list(client.waits),
                "renewal": client.renewal
                and {
                    "state": client.renewal.state,
                    "until": times.iso(client.renewal.until),
                    "fetched": client.renewal.fetched and times.iso(client.renewal.fetched),
                    "used": client.renewal.used and times.iso(client.renewal.used),
                },
            }
            for client in authority.clients
        ],
        "unmanaged": [
            {"name": stray.name, "serial": stray.serial, "dn": stray.dn, "not_after": times.iso(stray.not_after)}
            for stray in authority.unmanaged
        ],
        "revoked": [
            {
                "name": revoked.name,
                "serial": revoked.serial,
                "revoked_at": revoked.revoked_at and times.iso(revoked.revoked_at),
                "reason": revoked.reason,
                "not_after": times.iso(revoked.not_after),
            }
            for revoked in authority.revoked
        ],
    }


def _certificate(certificate: CertificateStatus) -> dict[str, t.Any]:
    return {
        "state": certificate.state,
        "serial": certificate.serial,
        "not_after": certificate.not_after and times.iso(certificate.not_after),
    }


def _spread(value: t.Any, indent: str = "") -> str:
    """JSON with a line for each item of a list of dictionaries, and for each key of what holds such a list."""
    inner = f"{indent} "
    if _is_table(value):
        lines = [f"{inner}{_spread(item, inner)}" for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    if isinstance(value, dict) and any(map(_is_table, value.values())):
        lines = [f"{inner}{json.dumps(key)}: {_spread(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return json.dumps(value, ensure_ascii=False)


def _is_table(value: t.Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
