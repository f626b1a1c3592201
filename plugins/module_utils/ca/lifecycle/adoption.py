# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An authority made elsewhere becomes a directory of ours: its key, its record, its CRL, its clients.

All of it is copied; the original stays as it is, to the byte. The directory is built beside its place and renamed
into it, so that it is there completely or not at all.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterable

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import open_directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, keys, numbers, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle.findings import Tell, silent
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle.survey import (
    AdoptionPlan,
    Survey,
    WantedAdoption,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import audit, layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.audit import certificate_event
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.batch import Batch
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few
from ansible_collections.mtls.nginx.plugins.module_utils.common.parallel import spread

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass

_AT_ONCE = 250  # files that one process writes
_BETWEEN_WORDS = 80  # times as many, until it is told how far it is


def adopt(wanted: WantedAdoption, *, check: bool, tell: Tell = silent) -> AdoptionPlan:
    """Take over an authority; with ``check`` only say what would be. ``tell`` is told how far it is.

    :raises MtlsError: no authority, or several, in the sources; a wrong passphrase; another authority in the way.
    """
    layout.check_path(wanted.path)
    _check_apart(wanted)
    plan = Survey(wanted, tell).plan()
    place = layout.Layout(wanted.path)
    if os.path.exists(place.certificate):
        _compare(plan, place)
    elif os.path.exists(wanted.path) and (not os.path.isdir(wanted.path) or os.listdir(wanted.path)):
        raise MtlsError(f"{wanted.path}: is there already and is not an authority; choose a new directory")
    elif not check:
        _build(plan, wanted, tell)
    if not (wanted.passphrase or wanted.source_passphrase):
        plan.warnings.append(f"{place.key}: the authority's key is stored unencrypted; give a passphrase")
    return plan


def _check_apart(wanted: WantedAdoption) -> None:
    path = os.path.realpath(wanted.path)
    for source in map(os.path.realpath, wanted.sources):
        if path == source:
            raise MtlsError(f"{wanted.path}: is the source itself; mtls.nginx.ca_init adopts a directory where it is")
        if os.path.commonpath([path, source]) in (path, source):
            raise MtlsError(f"{wanted.path}: is inside the source {source}, or around it; choose another directory")


def _compare(plan: AdoptionPlan, place: layout.Layout) -> None:
    """Accept the authority that was adopted before; raises MtlsError for another one."""
    here = read_certificates(place.certificate)[0]
    if here.public_key() != plan.key.public_key():
        raise MtlsError(
            f"{place.path}: is another authority already, {subjects.nginx_dn(here.subject)}; choose a new directory"
        )
    plan.changed = False
    record = Index.load(place.index)
    newer = [s for s in plan.index if s not in record or (record.is_valid(s) and not plan.index.is_valid(s))]
    if newer:
        plan.warnings.append(
            f"{place.path}: was adopted before, and the source has {len(newer)} certificates or revocations that are "
            f"not in it ({first_few(newer, 3)}); revoke them here by their files with mtls.nginx.crl, and issue no "
            "more there"
        )


def _build(plan: AdoptionPlan, wanted: WantedAdoption, tell: Tell) -> None:
    """Build the directory beside its place, and rename it into it."""
    parent, name = os.path.split(os.path.abspath(wanted.path))
    files.make_directory(parent, 0o700)
    staged = layout.Layout(os.path.join(parent, f".{name}.adopting"))
    shutil.rmtree(staged.path, ignore_errors=True)
    try:
        files.make_directory(staged.path, 0o700)
        _write(plan, wanted, staged, tell)
        with open_directory(staged.path, wanted.passphrase or wanted.source_passphrase, read_only=False) as authority:
            authority.write_crl(wanted.crl_days)
        os.rename(staged.path, wanted.path)
    finally:
        shutil.rmtree(staged.path, ignore_errors=True)
    files.sync_directory(parent)


def _write(plan: AdoptionPlan, wanted: WantedAdoption, place: layout.Layout, tell: Tell) -> None:
    pem = chains.pem(plan.chain)
    passphrase = wanted.passphrase or wanted.source_passphrase
    keys.save_new_key(place.key, plan.key, passphrase)
    files.make_directory(place.issued, 0o700)
    plan.index.copy(place.index).save()
    if plan.serial is not None:
        numbers.write_number(place.serial, plan.serial)
    numbers.write_number(place.crl_number, plan.crl_number)
    layout.complete(place, wanted.crl_days)
    _write_certificates(plan, place, tell)
    event = {**certificate_event(audit.IMPORTED, plan.chain[0]), "from": ", ".join(wanted.sources)}
    if plan.former is not None:
        kept = place.file(f"ca-{numbers.hexadecimal(plan.former.serial_number)}.crt")
        files.write_file(kept, chains.pem([plan.former]), 0o644)
    with audit.AuditLog(place.path).noting([{**event, "entries": len(plan.index)}]):
        files.write_file(place.certificate, pem, 0o644)


def _write_certificates(plan: AdoptionPlan, place: layout.Layout, tell: Tell) -> None:
    """Write what was issued and the clients' files, with as many processes as there are cores."""
    holders = {client.name: ClientFiles.of(place.clients, client.name) for client in plan.clients}
    files.make_directories((holder.directory for holder in holders.values()), 0o700)
    wanted: list[tuple[str, x509.Certificate | keys.PrivateKey, int]] = [
        (place.issued_certificate(serial), certificate, 0o644) for serial, certificate in plan.issued.items()
    ]
    for client in plan.clients:
        wanted.append((holders[client.name].certificate, client.certificate, 0o644))
        if client.key is not None:
            wanted.append((holders[client.name].key, client.key, 0o600))
    parts = [wanted[start : start + _AT_ONCE] for start in range(0, len(wanted), _AT_ONCE)]
    for start in range(0, len(parts), _BETWEEN_WORDS):
        some = parts[start : start + _BETWEEN_WORDS]
        batch = Batch(place.path, len(wanted), fresh=True)
        spread(functools.partial(_write_part, batch), some, batch.commit)
        tell("files written", min((start + len(some)) * _AT_ONCE, len(wanted)), len(wanted))


def _write_part(batch: Batch, part: Iterable[tuple[str, x509.Certificate | keys.PrivateKey, int]]) -> None:
    for path, content, mode in part:
        if isinstance(content, x509.Certificate):
            pem = content.public_bytes(serialization.Encoding.PEM)
        else:
            pem = keys.encoded(content, None, path)
        batch.create(path, pem, mode)
