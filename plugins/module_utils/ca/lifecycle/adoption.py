# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An authority made elsewhere becomes a directory of ours: its key, its record, its CRL, its clients.

All of it is copied; the original stays as it is, to the byte. The directory is built beside its place and renamed
into it, so that it is there completely or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import open_directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import (
    chains,
    crls,
    keys,
    numbers,
    profiles,
    subjects,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates, was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import findings, recovery
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import audit, layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.audit import certificate_event
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.batch import Batch
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import check_client_name, fold

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509.oid import NameOID
except ImportError:  # reported by entry.require_cryptography
    pass


@dataclass(frozen=True)
class WantedAdoption:
    """Which authority is to be taken over, and to where; ``certificate`` names its file where there are several."""

    path: str
    sources: Sequence[str]
    certificate: str | None
    source_passphrase: str | None
    passphrase: str | None
    crl_days: int


@dataclass(frozen=True)
class AdoptedClient:
    """A client whose files are taken over: its newest certificate and, if it was found, its key."""

    name: str
    certificate: x509.Certificate
    key: keys.PrivateKey | None


@dataclass
class AdoptionPlan:
    """What there is to take over; ``not_taken`` says why not, by path. ``chain`` begins with the CA itself."""

    chain: list[x509.Certificate]
    key: keys.PrivateKey
    index: Index
    issued: dict[str, x509.Certificate]
    serial: int | None
    crl_number: int
    clients: list[AdoptedClient] = field(default_factory=list)
    not_taken: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    changed: bool = True


def adopt(wanted: WantedAdoption, *, check: bool) -> AdoptionPlan:
    """Take over an authority; with ``check`` only say what would be.

    :raises MtlsError: no authority, or several, in the sources; a wrong passphrase; another authority in the way.
    """
    layout.check_path(wanted.path)
    _check_apart(wanted)
    plan = _Survey(wanted).plan()
    place = layout.Layout(wanted.path)
    if os.path.exists(place.certificate):
        _compare(plan, place)
    elif os.path.exists(wanted.path) and (not os.path.isdir(wanted.path) or os.listdir(wanted.path)):
        raise MtlsError(f"{wanted.path}: is there already and is no authority; choose a new directory")
    elif not check:
        _build(plan, wanted)
    if not (wanted.passphrase or wanted.source_passphrase):
        plan.warnings.append(f"{place.key}: the authority's key is stored in clear; give a passphrase")
    return plan


def _check_apart(wanted: WantedAdoption) -> None:
    path = os.path.realpath(wanted.path)
    for source in map(os.path.realpath, wanted.sources):
        if path == source:
            raise MtlsError(f"{wanted.path}: is the source itself; mtls.nginx.ca_init adopts a directory where it is")
        if os.path.commonpath([path, source]) in (path, source):
            raise MtlsError(f"{wanted.path}: and the source {source} lie one in the other; choose another directory")


class _Survey:
    """Looks through the sources of one adoption."""

    def __init__(self, wanted: WantedAdoption) -> None:
        self._wanted = wanted
        self._found = findings.search(wanted.sources, wanted.source_passphrase)
        if wanted.source_passphrase:
            self._found.unlock(wanted.source_passphrase)
        self._not_taken = dict(self._found.skipped)

    def plan(self) -> AdoptionPlan:
        """Return what there is; raises MtlsError."""
        ca, path = self._authority()
        profiles.check_ca(ca, path, times.now())
        index_path = self._index_path()
        place = layout.Layout(self._wanted.path)
        index = Index.load(index_path).copy(place.index) if index_path else Index(place.index, {})
        issued = self._issued_by(ca)
        for serial, (certificate, _path) in issued.items():
            if serial not in index:
                subject = subjects.index_subject(certificate.subject)
                index.add(serial, certificate.not_valid_after_utc, subject)
        found = [crl for crl in self._found.crls if crls.is_by(crl, ca)]
        for crl in found:
            recovery.honour(crl, index, ca)
        numbers_of_crls = [crls.state_of(crl).number for crl in found]
        plan = AdoptionPlan(
            chain=self._chain(ca),
            key=self._found.keys[keys.public_der(ca.public_key())],
            index=index,
            issued={serial: certificate for serial, (certificate, _path) in issued.items()},
            serial=_number_beside(index_path, "serial"),
            crl_number=max([_number_beside(index_path, "crlnumber") or 1, *(number + 1 for number in numbers_of_crls)]),
        )
        plan.clients = self._clients(issued, index)
        self._report_locked()
        plan.not_taken = dict(sorted(self._not_taken.items()))
        return plan

    def _authority(self) -> tuple[x509.Certificate, str]:
        """Return the CA whose key is here, and where its certificate was."""
        if self._wanted.certificate is not None:
            candidates = [(read_certificates(self._wanted.certificate)[0], self._wanted.certificate)]
        else:
            candidates = [pair for pair in self._found.certificates.values() if _is_ca(pair[0])]
        if not candidates:
            raise MtlsError(
                f"{', '.join(self._wanted.sources)}: there is no certificate of a CA here; name the folder it is in"
            )
        with_key = [pair for pair in candidates if keys.public_der(pair[0].public_key()) in self._found.keys]
        if not with_key:
            locked = first_few([locked.path for locked in self._found.locked], 3)
            raise MtlsError(
                f"{candidates[0][1]}: its private key is not among the sources"
                + (f", or it is one that source_passphrase does not open ({locked})" if locked else "")
                + "; give the key's folder in source, and its passphrase"
            )
        owners = {keys.public_der(certificate.public_key()) for certificate, _path in with_key}
        if len(owners) > 1:
            listed = ", ".join(path for _certificate, path in with_key)
            raise MtlsError(f"{listed}: are certificates of several CAs; say which one with certificate")
        return max(with_key, key=lambda pair: pair[0].not_valid_after_utc)  # renewed with the same key: the newest

    def _index_path(self) -> str | None:
        if len(self._found.indexes) > 1:
            raise MtlsError(f"{', '.join(self._found.indexes)}: are the records of several CAs; give one in source")
        return self._found.indexes[0] if self._found.indexes else None

    def _issued_by(self, ca: x509.Certificate) -> dict[str, tuple[x509.Certificate, str]]:
        issued: dict[str, tuple[x509.Certificate, str]] = {}
        for certificate, path in self._found.certificates.values():
            if certificate.subject == ca.subject and certificate.public_key() == ca.public_key():
                continue  # the CA itself
            if certificate.issuer != ca.subject or not was_issued_by(certificate, ca):
                if not _is_ca(certificate):
                    self._not_taken[path] = "was issued by another CA"
                continue
            serial = numbers.hexadecimal(certificate.serial_number)
            if serial in issued:
                self._not_taken[path] = f"has the serial number of {issued[serial][1]}, {serial}"
            else:
                issued[serial] = certificate, path
        return issued

    def _chain(self, ca: x509.Certificate) -> list[x509.Certificate]:
        """Return the CA and those above it, as far as they are here."""
        chain = [ca]
        while chain[-1].issuer != chain[-1].subject:
            above = [each for each, _path in self._found.certificates.values() if was_issued_by(chain[-1], each)]
            if not above:
                break
            chain.append(above[0])
        return chain

    def _clients(self, issued: dict[str, tuple[x509.Certificate, str]], index: Index) -> list[AdoptedClient]:
        """Return the newest certificate of each client that can have a folder, best with its key."""
        best: dict[str, tuple[tuple[bool, bool, object], x509.Certificate]] = {}
        spelled: dict[str, str] = {}
        for serial, (certificate, path) in issued.items():
            names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            name = str(names[-1].value) if names else ""
            trouble = _trouble(certificate, name, index.is_valid(serial))
            if trouble is None and spelled.setdefault(fold(name), name) != name:
                trouble = f"its name differs only in case from {spelled[fold(name)]!r}"
            if trouble is not None:
                self._not_taken[path] = f"{trouble}: it is in the record, but no client's folder"
                continue
            has_key = keys.public_der(certificate.public_key()) in self._found.keys
            rank = (certificate.not_valid_after_utc > times.now(), has_key, certificate.not_valid_before_utc)
            if name not in best or best[name][0] < rank:
                best[name] = rank, certificate
        return [
            AdoptedClient(name, certificate, self._found.keys.get(keys.public_der(certificate.public_key())))
            for name, (_rank, certificate) in sorted(best.items())
        ]

    def _report_locked(self) -> None:
        for locked in self._found.locked:
            self._not_taken[locked.path] = "the key is encrypted; decrypt it to have it taken over, or leave it"


def _trouble(certificate: x509.Certificate, name: str, valid: bool) -> str | None:
    """Return why a certificate is no client's current one, or None."""
    if _is_ca(certificate):
        return "is the certificate of a CA"
    if not profiles.is_for(certificate, profiles.CLIENT):
        return "is a server's certificate"
    if not valid:
        return "is revoked"
    try:
        check_client_name(name)
    except MtlsError as error:
        return str(error)
    return None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def _number_beside(index_path: str | None, name: str) -> int | None:
    """Return the number in a file beside the index, or None without one."""
    path = os.path.join(os.path.dirname(index_path), name) if index_path else ""
    return numbers.read_number(path) if os.path.isfile(path) else None


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


def _build(plan: AdoptionPlan, wanted: WantedAdoption) -> None:
    """Build the directory beside its place, and rename it into it."""
    parent, name = os.path.split(os.path.abspath(wanted.path))
    files.make_directory(parent, 0o700)
    staged = layout.Layout(os.path.join(parent, f".{name}.adopting"))
    shutil.rmtree(staged.path, ignore_errors=True)
    try:
        files.make_directory(staged.path, 0o700)
        _write(plan, wanted, staged)
        with open_directory(staged.path, wanted.passphrase or wanted.source_passphrase, read_only=False) as authority:
            authority.write_crl(wanted.crl_days)
        os.rename(staged.path, wanted.path)
    finally:
        shutil.rmtree(staged.path, ignore_errors=True)
    files.sync_directory(parent)


def _write(plan: AdoptionPlan, wanted: WantedAdoption, place: layout.Layout) -> None:
    pem = chains.pem(plan.chain)
    passphrase = wanted.passphrase or wanted.source_passphrase
    keys.save_new_key(place.key, plan.key, passphrase)
    files.make_directory(place.issued, 0o700)
    batch = Batch(place.path, len(plan.issued) + 2 * len(plan.clients))
    for serial, certificate in plan.issued.items():
        batch.write(place.issued_certificate(serial), certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    plan.index.copy(place.index).save()
    if plan.serial is not None:
        largest = max((int(serial, 16) for serial in plan.index), default=0)
        following = max(plan.serial, largest + 1) if numbers.is_sequential(max(plan.serial, largest)) else plan.serial
        numbers.write_number(place.serial, following)
    numbers.write_number(place.crl_number, plan.crl_number)
    layout.complete(place, wanted.crl_days)
    holders = [(client, ClientFiles.of(place.clients, client.name)) for client in plan.clients]
    files.make_directories((files_of.directory for _client, files_of in holders), 0o700)
    for client, files_of in holders:
        _write_client(client, files_of, batch)
    batch.commit()
    event = {**certificate_event(audit.IMPORTED, plan.chain[0]), "from": ", ".join(wanted.sources)}
    with audit.AuditLog(place.path).noting([{**event, "entries": len(plan.index)}]):
        files.write_file(place.certificate, pem, 0o644)


def _write_client(client: AdoptedClient, place: ClientFiles, batch: Batch) -> None:
    batch.write(place.certificate, client.certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    if client.key is not None:
        batch.create(place.key, keys.encoded(client.key, None, place.key), 0o600)
