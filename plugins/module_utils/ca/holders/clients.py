# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients have the certificates they should have: what client_plan.py planned is done here."""

from __future__ import annotations

import os
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Authority, ExternalAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import index_subject, subject_name
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import client_files, issuing, readers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client, check_clients
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client_plan import (
    ISSUED,
    UNCHANGED,
    UPDATED,
    ClientStep,
    Planner,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.mobileconfig import ProfileMaker, Signer
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.ownership import Ownership, Unmanaged
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import (
    SERVERS,
    Register,
    RegisterEntry,
    client_entry,
)
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.batch import Batch
from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.parallel import spread

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass

MOST_UNMANAGED = 100


class ClientResult(NamedTuple):
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
    mobileconfig: str | None = None
    pem: str | None = None
    revoked: tuple[str, ...] = ()
    released: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reconciled:
    """The results, one for each client in order, and what else the authority has.

    ``unmanaged`` are the oldest ``MOST_UNMANAGED`` of the ``unmanaged_count`` there are.
    """

    results: list[ClientResult]
    unmanaged: list[Unmanaged]
    unmanaged_count: int
    warnings: list[str]


def reconcile(
    authority: Authority,
    clients: Sequence[Client],
    *,
    new_key_type: str,
    check: bool,
    profile_ca: bool = False,
    profile_signer: Signer | None = None,
    contact: Contact | None = None,
    revoking: Collection[str] = (),
    crl_point: str | None = None,
) -> Reconciled:
    """Give each client the certificate it should have, or revoke it; with ``check`` only say what would be done.

    ``profile_ca`` puts the authority's certificate into Apple profiles, which ``profile_signer`` signs; they name the
    ``contact``. What is on hold is released when its client is present, but for the serials ``revoking``,
    which another one follows.
    New certificates say that their CRL can be fetched from ``crl_point``.

    :raises MtlsError: a mistake in the list or in a client's files (nothing was changed then), or an obstacle on
        the way (what was done is kept).
    """
    if isinstance(authority, ExternalAuthority):
        return _admit(authority, clients, check=check)
    register = Register.load(authority.path)
    maker = ProfileMaker(authority.chain, profile_ca, profile_signer, contact)
    planner = Planner(authority, register, maker, revoking)
    steps = planner.plan(clients)
    worker = _ClientWorker(authority, register, maker, new_key_type, crl_point)
    for step in steps:
        if step.subject is not None:
            worker.check_new_key(step)
    results = [worker.foresee(step) for step in steps] if check else worker.carry_out(steps)
    # Anew: the register knows the certificates of this run now.
    ownership = Ownership(authority.record, register, Register.load(authority.path, SERVERS), times.now())
    unmanaged = _unmanaged(authority, ownership, steps, results)
    described = ownership.describe(unmanaged[:MOST_UNMANAGED])
    return Reconciled(results, described, len(unmanaged), planner.warnings)


def _admit(authority: ExternalAuthority[RegisterEntry], clients: Sequence[Client], *, check: bool) -> Reconciled:
    """Note who may be on an allow list: that is all that can be done for the clients of an external CA."""
    wanted = trusted_entries(clients)
    known = authority.admitted()
    news = {name: entry for name, entry in wanted.items() if known.get(name) != entry}
    if news and not check:
        authority.admit(news)
    results = []
    for client in clients:
        action, because = (UPDATED, "the authority is trusted only: noted") if client.name in news else (UNCHANGED, "")
        results.append(ClientResult(client, action, because, known.get(client.name), wanted[client.name], None, None))
    return Reconciled(results, [], 0, [])


def trusted_entries(clients: Sequence[Client]) -> dict[str, RegisterEntry]:
    """Return what is known of the clients of an external CA, by name.

    :raises MtlsError: something is asked for that only whoever runs it can do.
    """
    check_clients(clients)
    by_dn: dict[str, str] = {}
    entries = {}
    for client in clients:
        asked = {"csr": client.csr is not None, "formats": client.has_pem, "used_by": bool(client.used_by)}
        if client.revoked or any(asked.values()):
            what = "revoked" if client.revoked else "issued"
            remedy = "the client from the inventory" if client.revoked else next(one for one in asked if asked[one])
            raise MtlsError(
                f"{client.owner}: nothing can be {what} here, since its authority is trusted only; ask whoever runs "
                f"it, and remove {remedy}"
            )
        entry = client_entry(subject_name(client.subject or {"CN": client.name}, client.owner))
        other = by_dn.setdefault(entry.dn.lower(), client.name)
        if other != client.name:
            raise MtlsError(
                f"clients {other!r} and {client.name!r}: both have the subject {entry.dn} (nginx maps ignore case), so "
                "one would enter as the other; change one subject"
            )
        entries[client.name] = entry
    return entries


class _ClientWorker:
    def __init__(
        self,
        authority: Authority,
        register: Register,
        maker: ProfileMaker,
        new_key_type: str,
        crl_point: str | None,
    ) -> None:
        self._authority = authority
        self._register = register
        self._maker = maker
        self._new_key_type = new_key_type
        self._crl_point = crl_point

    def carry_out(self, steps: Sequence[ClientStep]) -> list[ClientResult]:
        done: dict[str, RegisterEntry] = {}
        pending = [step for step in steps if not step.known]
        try:
            self._authority.enter([read_certificates(path)[0] for step in pending for path in step.enter])
            self._authority.release([serial for step in pending for serial in step.release])
            self._authority.revoke({serial: step.client.reason for step in pending for serial in step.revoke})
            for step in pending:
                if step.subject is None and not step.rewrite and step.entry is not None:
                    self._remember(step, step.entry._replace(definition=step.definition))
            to_issue = [step for step in pending if step.subject is not None]
            if to_issue:
                files.make_directory(self._register.directory, 0o700)
                files.make_directories((self._place(step.client).directory for step in to_issue), 0o700)
            for step, entry in issuing.issue(self._authority, to_issue, self._prepare, self._finish, self._crl_point):
                done[step.client.name] = self._remember(step, entry)
            to_rewrite = [step for step in pending if step.rewrite]
            if to_rewrite:
                self._authority.begin()
            batch = Batch(self._authority.path, len(to_rewrite))
            for step, entry in zip(to_rewrite, spread(partial(self._rewrite, batch), to_rewrite, batch.commit)):
                done[step.client.name] = self._remember(step, entry)
        finally:
            self._register.save()
        results = []
        for step in steps:
            held = done.get(step.client.name, step.entry)
            results.append(self._result(step, held, held.files.keys() if held is not None else ()))
        return results

    def foresee(self, step: ClientStep) -> ClientResult:
        """Return what ``carry_out`` would."""
        entry = step.entry if step.subject is None else None
        if step.rewrite:
            client = step.client
            wanted = (("p12", client.has_p12), ("mobileconfig", client.has_profile), ("pem", client.has_pem))
            return self._result(step, entry, {kind for kind, has in wanted if has})
        return self._result(step, entry, entry.files.keys() if entry is not None else ())

    def _result(self, step: ClientStep, entry: RegisterEntry | None, kinds: Container[str]) -> ClientResult:
        place = self._place(step.client)
        return ClientResult(
            client=step.client,
            action=step.action,
            because=step.because,
            before=step.entry,
            entry=entry,
            certificate=place.certificate if entry is not None else None,
            p12=place.p12 if entry is not None and "p12" in kinds else None,
            mobileconfig=place.mobileconfig if entry is not None and "mobileconfig" in kinds else None,
            pem=place.pem if entry is not None and "pem" in kinds else None,
            revoked=step.revoke,
            released=step.release,
        )

    def _place(self, client: Client) -> ClientFiles:
        return ClientFiles.of(self._register.directory, client.name)

    def _remember(self, step: ClientStep, entry: RegisterEntry) -> RegisterEntry:
        self._register.remember(step.client.name, entry)
        return entry

    def check_new_key(self, step: ClientStep) -> None:
        """Raise MtlsError for a client whose new key would be of a kind that does not suit its files."""
        client = step.client
        if not client.has_profile or self._new_kind(client).type != keys.ED25519:
            return
        if step.retired_key is not None or not (step.key_in_p12 or os.path.exists(self._place(client).key)):
            raise client_files.refused_profile(client, "gets an Ed25519 key")

    def _new_kind(self, client: Client) -> keys.KeyKind:
        return keys.KeyKind(client.key_type or readers.key_type_for(client.used_by, self._new_key_type))

    def _prepare(self, step: ClientStep, batch: Batch) -> issuing.KeyPair:
        client, place = step.client, self._place(step.client)
        if step.retired_key is not None:
            client_files.archive_key(place, step.retired_key)
        if client.csr is not None:
            csr = profiles.read_csr(client.csr, client.owner)
            return issuing.KeyPair(keys.public_der(csr.public_key()), csr=csr.public_bytes(serialization.Encoding.PEM))
        if step.key_in_p12:
            key = client_files.key_in_p12(client, place)
            if key is None:
                raise MtlsError(f"{client.owner}: {place.p12} was changed while this run was at work; run again")
            keys.check_strength(key.public_key(), f"{client.owner}: {place.p12}")
            return issuing.KeyPair.of(key)
        return issuing.key_pair(place.key, self._new_kind(client), client.owner, batch)

    def _finish(self, task: tuple[ClientStep, issuing.KeyPair, x509.Certificate], batch: Batch) -> RegisterEntry:
        step, pair, certificate = task
        place = self._place(step.client)
        if step.superseded is not None:
            client_files.archive_certificate(place, step.superseded)
        key = pair.private_key() if pair.private is not None else None
        return self._write(step, certificate, key, batch)

    def _rewrite(self, batch: Batch, step: ClientStep) -> RegisterEntry:
        client, place = step.client, self._place(step.client)
        if step.retired_key is not None:
            client_files.archive_key(place, step.retired_key)
        if step.superseded is not None:
            client_files.archive_certificate(place, step.superseded)
        if step.restore is not None:
            certificate = self._authority.certificate(step.restore)
        else:
            certificate = read_certificates(place.certificate)[0]
        key = None
        if client.csr is None:
            key = keys.load_key(place.key) if os.path.exists(place.key) else self._key_in_p12(step)
        return self._write(step, certificate, key, batch)

    def _key_in_p12(self, step: ClientStep) -> keys.PrivateKey | None:
        return client_files.key_in_p12(step.client, self._place(step.client)) if step.key_in_p12 else None

    def _write(
        self, step: ClientStep, certificate: x509.Certificate, key: keys.PrivateKey | None, batch: Batch
    ) -> RegisterEntry:
        remembered = self._register.remembered(step.client.name)
        place = self._place(step.client)
        return client_files.write(step.client, place, certificate, self._maker, key, step.definition, batch, remembered)


def _unmanaged(
    authority: Authority, ownership: Ownership, steps: Sequence[ClientStep], results: Sequence[ClientResult]
) -> list[str]:
    """Return the serials of the live certificates of nobody in the list, oldest first."""
    serials = ownership.unmanaged(
        clients={step.client.name for step in steps},
        held=[result.entry for result in results if result.entry is not None],
        coming={index_subject(step.subject) for step in steps if step.subject is not None},
    )
    # With an authority that is shared, a certificate may be a server's that another controller asked for: it lets
    # nobody in.
    if authority.shared:
        serials = [serial for serial in serials if profiles.is_for(authority.certificate(serial), profiles.CLIENT)]
    return serials


def foresee_first_run(clients: Sequence[Client], *, issues: bool = True) -> Reconciled:
    """Return what check mode says before there is an authority: everybody would get a certificate, if it ``issues``.

    :raises MtlsError: a mistake in the list.
    """
    if not issues:
        because = "the authority is trusted only: noted"
        entries = trusted_entries(clients)
        return Reconciled(
            [ClientResult(c, UPDATED, because, None, entries[c.name], None, None) for c in clients], [], 0, []
        )
    check_clients(clients)
    results = []
    for client in clients:
        action, because = (UNCHANGED, "never had a certificate") if client.revoked else (ISSUED, "had no certificate")
        results.append(ClientResult(client, action, because, None, None, None, None))
    return Reconciled(results, [], 0, [])
