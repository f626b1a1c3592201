# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients have the certificates they should have: what client_plan.py planned is done here."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ansible_collections.mtls.nginx.plugins.module_utils import files
from ansible_collections.mtls.nginx.plugins.module_utils.ca import client_files, holders, keys, times
from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.client_files import Client, ClientFiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.client_plan import (
    ISSUED,
    UNCHANGED,
    Planner,
    Step,
    check_clients,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.directory import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.parallel import spread
from ansible_collections.mtls.nginx.plugins.module_utils.ca.register import SERVERS, Register, RegisterEntry
from ansible_collections.mtls.nginx.plugins.module_utils.ca.subjects import (
    common_name_of_index_subject,
    dn_of_index_subject,
    index_subject,
)

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass


@dataclass(frozen=True)
class Result:
    """What was done for one client, and the certificate it has now, if any; in check mode what would be done.

    ``before`` is the certificate it had, ``revoked`` are the serials that were live until now, ``released`` those that
    were on hold.
    """

    client: Client
    action: str
    because: str
    before: RegisterEntry | None
    entry: RegisterEntry | None
    certificate: str | None
    p12: str | None
    revoked: tuple[str, ...] = ()
    released: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unmanaged:
    """A live certificate that belongs to nobody in the inventory."""

    name: str
    serial: str
    dn: str
    not_after: datetime


@dataclass(frozen=True)
class Reconciled:
    """The results, one for each client in order, and what else the authority has."""

    results: list[Result]
    unmanaged: list[Unmanaged]
    warnings: list[str]


def reconcile(
    authority: Authority,
    clients: Sequence[Client],
    *,
    new_key_type: str,
    check: bool,
    stay_revoked: Collection[str] = (),
) -> Reconciled:
    """Give each client the certificate it should have, or revoke it; with ``check`` only say what would be done.

    What is on hold is released when its client is present, but for the serials ``stay_revoked``.

    :raises MtlsError: a mistake in the list or in a client's files (nothing was changed then), or an obstacle on
        the way (what was done is kept).
    """
    register = Register.load(authority.path)
    planner = Planner(authority, register, stay_revoked)
    steps = planner.plan(clients)
    worker = _Worker(authority, register, new_key_type)
    results = [worker.result(step) for step in steps] if check else worker.carry_out(steps)
    return Reconciled(results, _unmanaged(authority, register, steps, results), planner.warnings)


class _Worker:
    def __init__(self, authority: Authority, register: Register, new_key_type: str) -> None:
        self._authority = authority
        self._register = register
        self._new_key_type = new_key_type

    def carry_out(self, steps: Sequence[Step]) -> list[Result]:
        done: dict[str, RegisterEntry] = {}
        try:
            self._enter(step for step in steps if step.enter)
            self._authority.release([serial for step in steps for serial in step.release])
            self._authority.revoke({serial: step.client.reason for step in steps for serial in step.revoke})
            for step in steps:
                if step.subject is None and not step.rewrite and not step.known and step.entry is not None:
                    self._remember(step, replace(step.entry, definition=step.definition))
            to_issue = [step for step in steps if step.subject is not None]
            if to_issue:
                files.make_directory(self._register.directory, 0o700)
                files.make_directories((self._place(step.client).directory for step in to_issue), 0o700)
            for step, entry in holders.issue(self._authority, to_issue, self._prepare, self._finish):
                done[step.client.name] = self._remember(step, entry)
            to_rewrite = [step for step in steps if step.rewrite]
            for step, entry in zip(to_rewrite, spread(self._rewrite, to_rewrite)):
                done[step.client.name] = self._remember(step, entry)
        finally:
            self._register.save()
        return [self.result(step, done.get(step.client.name, step.entry)) for step in steps]

    def result(self, step: Step, entry: RegisterEntry | None = None) -> Result:
        if entry is None and step.subject is None:
            entry = step.entry
        place = self._place(step.client)
        return Result(
            client=step.client,
            action=step.action,
            because=step.because,
            before=step.entry,
            entry=entry,
            certificate=place.certificate if entry is not None else None,
            p12=place.p12 if entry is not None and "p12" in entry.files else None,
            revoked=step.revoke,
            released=step.release,
        )

    def _place(self, client: Client) -> ClientFiles:
        return ClientFiles.of(self._register.directory, client.name)

    def _remember(self, step: Step, entry: RegisterEntry) -> RegisterEntry:
        self._register.remember(step.client.name, entry)
        return entry

    def _enter(self, steps: Iterable[Step]) -> None:
        self._authority.enter([read_certificates(self._place(step.client).certificate)[0] for step in steps])

    def _prepare(self, step: Step) -> holders.KeyPair:
        client, place = step.client, self._place(step.client)
        if step.retired_key is not None:
            client_files.archive_key(place, step.retired_key)
        if client.csr is not None:
            return holders.KeyPair(keys.public_der(client_files.read_public_key(client, place)))
        kind = keys.KeyKind(client.key_type or self._new_key_type)
        return holders.key_pair(place.key, kind, client.owner)

    def _finish(self, task: tuple[Step, holders.KeyPair, x509.Certificate]) -> RegisterEntry:
        step, pair, certificate = task
        place = self._place(step.client)
        if step.superseded is not None:
            client_files.archive_certificate(place, step.superseded)
        key = pair.private_key() if pair.private is not None else None
        return client_files.write(step.client, place, certificate, self._authority.chain, key, step.definition)

    def _rewrite(self, step: Step) -> RegisterEntry:
        client, place = step.client, self._place(step.client)
        if step.restore is not None:
            certificate = self._authority.certificate(step.restore)
        else:
            certificate = read_certificates(place.certificate)[0]
        key = keys.load_key(place.key) if client.csr is None and os.path.exists(place.key) else None
        return client_files.write(client, place, certificate, self._authority.chain, key, step.definition)


def _unmanaged(
    authority: Authority, register: Register, steps: Sequence[Step], results: Sequence[Result]
) -> list[Unmanaged]:
    """Return the live certificates that are not a client's in the list, nor a server's."""
    owners = register.owners()
    listed = {step.client.name for step in steps}
    known = set(Register.load(authority.path, SERVERS).owners())
    known.update(serial for serial, owner in owners.items() if owner in listed)
    known.update(result.entry.serial for result in results if result.entry is not None)
    subjects = {result.entry.subject for result in results if result.entry is not None}
    subjects.update(index_subject(step.subject) for step in steps if step.subject is not None)
    return [
        Unmanaged(
            name=owners.get(entry.serial) or common_name_of_index_subject(entry.subject),
            serial=entry.serial,
            dn=dn_of_index_subject(entry.subject),
            not_after=entry.not_after,
        )
        for entry in authority.record.live(times.now(), besides=known)
        if entry.serial in owners or entry.subject not in subjects
    ]


def foresee_first_run(clients: Sequence[Client]) -> Reconciled:
    """Return what check mode says before there is an authority: everybody would get a certificate.

    :raises MtlsError: a mistake in the list.
    """
    check_clients(clients)
    results = []
    for client in clients:
        action, because = (UNCHANGED, "never had a certificate") if client.revoked else (ISSUED, "had no certificate")
        results.append(Result(client, action, because, None, None, None, None))
    return Reconciled(results, [], [])
