# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From one authority to the next, in steps that can be days apart.

A client that installs its new certificate when asked never loses access.

``begin`` makes the next authority in ``next/`` beside the old one, and the hosts trust both. Clients get certificates
of the next one, a batch after another, while their old ones stay good. ``report`` tells who has not moved. ``finish``
puts the next authority in the old one's place; what was the old one is in ``former/``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover, layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import Register
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured, WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass


@dataclass(frozen=True)
class Sighting:
    """A host's access log says that a service let in the certificate ``serial``, the last time at ``last``."""

    host: str
    service: str
    serial: str
    last: datetime


@dataclass(frozen=True)
class Report:
    """How far a rollover has come.

    ``not_moved`` are clients of the inventory without a certificate of the next authority, ``still_old`` the sightings
    of certificates that only the old authority knows, with the name of the client.
    """

    old: x509.Certificate
    new: x509.Certificate
    moved: tuple[str, ...]
    not_moved: tuple[str, ...]
    still_old: tuple[tuple[str, Sighting], ...]


def begin(wanted: WantedAuthority, *, check: bool) -> Ensured:
    """Make the authority that is to follow the one in ``wanted.path``; its ``subject`` may be the same.

    :raises MtlsError: there is no authority to follow, or none that can be rolled over.
    """
    old = _old_certificate(wanted.path)
    if not os.path.exists(layout.Layout(wanted.path).key):
        raise MtlsError(
            f"{wanted.path}: has no key of its own (ca.key), and only an authority with one can be rolled over"
        )
    handover.refuse_interrupted(wanted.path)
    subject = wanted.subject
    if subject is None and not handover.is_begun(wanted.path):
        raise MtlsError(
            f"{wanted.path}: the next authority needs a subject; set mtls_rollover_subject, also to "
            f"{subjects.nginx_dn(old.subject)} if it is to keep that name"
        )
    return creation.ensure(replace(wanted, path=handover.next_path(wanted.path)), check=check)


def report(path: str, clients: Iterable[str], sightings: Sequence[Sighting]) -> Report:
    """Tell how far the rollover in ``path`` has come; ``clients`` are those that the inventory wants present.

    :raises MtlsError: none has begun.
    """
    old = _old_certificate(path)
    if not handover.is_begun(path):
        raise MtlsError(f"{path}: no rollover has begun; run the playbook mtls.nginx.rollover with mtls_step=begin")
    now, following = times.now(), Register.load(handover.next_path(path))
    record = Index.load(layout.Layout(handover.next_path(path)).index)
    moved: list[str] = []
    not_moved: list[str] = []
    for name in clients:
        entry = following.get(name)
        good = entry is not None and record.is_valid(entry.serial) and times.from_iso(entry.not_after) > now
        (moved if good else not_moved).append(name)
    before = Index.load(layout.Layout(path).index)
    owners = Register.load(path).owners()
    still_old = []
    for sighting in sorted(sightings, key=lambda sighting: sighting.last, reverse=True):
        known = before.get(sighting.serial)
        if known is not None and sighting.serial not in record:
            name = owners.get(sighting.serial) or subjects.common_name_of_index_subject(known.subject)
            still_old.append((name, sighting))
    new = read_certificates(layout.Layout(handover.next_path(path)).certificate)[0]
    return Report(old, new, tuple(moved), tuple(not_moved), tuple(still_old))


def check_finishable(path: str, found: Report, quiet_days: int, unknown: Sequence[str] = ()) -> None:
    """Raise MtlsError while somebody would be locked out: not moved, or seen with an old certificate of late.

    Who came to ``unknown`` hosts, nobody knows.
    """
    if found.not_moved:
        raise MtlsError(
            f"{path}: {_listed(found.not_moved)} would be locked out, without a certificate of the next authority; run "
            "mtls_step=issue first"
        )
    recent = times.now() - timedelta(days=quiet_days)
    late = list(dict.fromkeys(name for name, sighting in found.still_old if sighting.last > recent))
    if late:
        raise MtlsError(
            f"{path}: {_listed(late)} used certificates of the old authority within the last {quiet_days} days, "
            "and would be locked out; install their new ones, or finish anyway with mtls_rollover_force=true"
        )
    if unknown:
        raise MtlsError(
            f"{path}: {_listed(unknown, 'host')} did not report who still uses certificates of the old authority; run "
            "this for all hosts (no --limit), fix what keeps them from answering, and see the warnings about unread "
            "logs, or finish anyway with mtls_rollover_force=true"
        )


def finish(path: str) -> str:
    """Put the next authority in the old one's place; return where the old one is.

    :raises MtlsError: none has begun, or its CRL is missing.
    """
    old = _old_certificate(path)
    if not handover.is_begun(path) or not os.path.exists(layout.Layout(handover.next_path(path)).crl):
        raise MtlsError(f"{path}: no rollover has begun that could be finished; run mtls_step=begin first")
    return handover.take_over(path, numbers.hexadecimal(old.serial_number))


def sightings_of(raw: Iterable[Mapping[str, Any]]) -> list[Sighting]:
    """Return sightings from what ``access_log`` returned.

    :raises MtlsError: it did not return that.
    """
    try:
        return [
            Sighting(item["host"], item["service"], item["serial"].upper(), times.from_iso(item["last"]))
            for item in raw
        ]
    except (KeyError, ValueError) as error:
        raise MtlsError(f"seen: is not what mtls.nginx.access_log returns ({error}); pass its callers on") from error


def summary(found: Report, unknown: Sequence[str] = ()) -> list[str]:
    """Return how far a rollover has come, in words, a line each; ``unknown`` hosts did not say whom they have seen."""
    total = len(found.moved) + len(found.not_moved)
    lines = [
        f"{len(found.moved)} of {total} clients have a certificate of {describe(found.new)}",
        f"without one: {', '.join(found.not_moved) or 'nobody'}",
        "still using a certificate of the old authority"
        + (":" if found.still_old else ": nobody, as far as the access logs go back"),
    ]
    lines += [f"  not known of {_listed(unknown, 'host')}, without an answer"] if unknown else []
    return lines + [
        f"  {name} at {sighting.service} on {sighting.host}, last on {times.iso(sighting.last)}"
        for name, sighting in found.still_old
    ]


def describe(certificate: x509.Certificate) -> str:
    """Return a CA's subject, and when its certificate expires."""
    return f"{subjects.nginx_dn(certificate.subject)}, until {times.iso(certificate.not_valid_after_utc)}"


def _listed(names: Sequence[str], what: str = "client") -> str:
    return f"{what}{'s' if len(names) > 1 else ''} {first_few(names)}"


def _old_certificate(path: str) -> x509.Certificate:
    place = layout.Layout(path)
    if not os.path.exists(place.certificate):
        raise layout.absent(path)
    return read_certificates(place.certificate)[0]
