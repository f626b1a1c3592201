# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services have server certificates of the authority: judged first, then made, as with the clients.

The certificate of a service is in ``servers/<host>/<service>.crt``, followed by the intermediate CAs if there are
any, its key in ``<service>.key``.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Authority, CertificateMissing
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import (
    chains,
    keys,
    name_constraints,
    numbers,
    profiles,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import index_subject, subject_name
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import issuing
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import permissions
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import (
    SERVERS,
    Register,
    RegisterEntry,
    Stamp,
    entry_of,
)
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.batch import Batch
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import check_service_name, is_address

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass

UNCHANGED, ISSUED, RENEWED = "unchanged", "issued", "renewed"
_EXAMINED_FOR = "weakness"  # as in client_plan.py
_LONGEST_CN = 64
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True)
class Server:
    """One service on one host that needs a certificate for ``names``, DNS names or IP addresses.

    One that only ``stands_in`` for a certificate of the host's own is done without where none can be issued.
    """

    host: str
    name: str
    names: tuple[str, ...]
    key_type: str | None = None
    days: int = 365
    renew_before: int = 30
    stands_in: bool = False

    @property
    def id(self) -> str:
        """Its name in the register, and its path below ``servers`` without the ending."""
        return f"{self.host}/{self.name}"

    @property
    def owner(self) -> str:
        """How errors name it."""
        return f"host {self.host!r}, service {self.name!r}"

    def subject(self) -> x509.Name:
        """Return a subject with the first name that fits into a CN, or with the service's name."""
        return subject_name({"CN": next((n for n in self.names if len(n) <= _LONGEST_CN), self.name)}, self.owner)


@dataclass(frozen=True)
class ServerStep:
    """What is to be done for one server; with ``validity`` a certificate is issued."""

    server: Server
    action: str
    because: str
    entry: RegisterEntry | None
    definition: str = ""
    validity: profiles.Validity | None = None
    retired_key: str | None = None
    restore: x509.Certificate | None = None  # was issued already, by a run that was killed

    def order(self, pair: issuing.KeyPair) -> Order:
        """Return what is asked of the authority."""
        if self.validity is None:
            raise RuntimeError("a server that needs no certificate was to be issued one")
        return Order(
            pair.public,
            self.server.subject(),
            profiles.SERVER,
            self.validity,
            self.server.names,
            private_key=pair.private,
            act=self.action,
        )


@dataclass(frozen=True)
class ServerResult:
    """What was done for one server; ``entry`` is the certificate it has now, ``before`` the one it had."""

    server: Server
    action: str
    because: str
    before: RegisterEntry | None
    entry: RegisterEntry | None
    certificate: str
    key: str


def check_servers(servers: Sequence[Server]) -> None:
    """Raise MtlsError for hosts, services or names that cannot be, and for a service that is there twice."""
    seen = set()
    for server in servers:
        check_service_name(server.name)
        if not server.host.isprintable() or "/" in server.host or server.host[:1] in ("", "."):
            raise MtlsError(f"host {server.host!r}: its name cannot be that of a directory; rename the host")
        if server.id in seen:
            raise MtlsError(f"{server.owner}: is in the list twice; rename one service")
        seen.add(server.id)
        if not server.names:
            raise MtlsError(f"{server.owner}: has no server_names, which its certificate is for; give at least one")
        for name in server.names:
            _check_name(name, server)
        if server.days < 1:
            raise MtlsError(f"{server.owner}: days is {server.days}; use 1 or more")
        if server.renew_before < 0:
            raise MtlsError(f"{server.owner}: renew_before is {server.renew_before}; use 0 or more")


def _check_name(name: str, server: Server) -> None:
    if not is_address(name) and (len(name) > 253 or not _DNS_NAME.fullmatch(name)):
        raise MtlsError(
            f"{server.owner}: server name {name!r} is neither a DNS name of letters, digits and '-', with '*.' "
            "at most in front, nor an IP address; correct it, or give the service a certificate of its own"
        )


def reconcile(
    authority: Authority,
    servers: Sequence[Server],
    *,
    new_key_type: str,
    check: bool,
    revoking: Collection[str] = (),
    crl_point: str | None = None,
) -> list[ServerResult]:
    """Give each server the certificate it should have; with ``check`` only say what would be done.

    The serials ``revoking`` will be revoked in this run, so others follow them. New certificates say that their CRL can
    be fetched from ``crl_point``.

    :raises MtlsError: a mistake in the list or in a server's files (nothing was changed then), or an obstacle on
        the way (what was done is kept).
    """
    check_servers(servers)
    if servers and not authority.issues:
        raise MtlsError(
            f"{servers[0].owner}: no certificate can be issued for it, since its authority is trusted only; give it "
            "one of its own (certificate, with path and key)"
        )
    worker = _ServerWorker(authority, new_key_type, revoking, crl_point)
    steps = [worker.judge(server) for server in servers]
    if worker.exposed:
        authority.warnings.append(
            f"{first_few(worker.exposed)}: private keys that others can read; run "
            f"`{permissions.remedy(authority.path)}`"
        )
    return [worker.result(step, None) for step in steps] if check else worker.carry_out(steps)


def foresee_first_run(servers: Sequence[Server], directory: str) -> list[ServerResult]:
    """Return what check mode says before there is an authority.

    :raises MtlsError: a mistake in the list.
    """
    check_servers(servers)
    return [_result(ServerStep(server, ISSUED, "had no certificate", None), None, directory) for server in servers]


class _ServerWorker:
    def __init__(
        self, authority: Authority, new_key_type: str, revoking: Collection[str], crl_point: str | None
    ) -> None:
        self._authority = authority
        self._new_key_type = new_key_type
        self._revoking = revoking
        self._crl_point = crl_point
        self._register = Register.load(authority.path, SERVERS)
        self._now = times.now()
        self.exposed: list[str] = []  # the private keys that others can read

    def judge(self, server: Server) -> ServerStep:
        """Decide what is to be done, by the register and the files' stamps if they suffice."""
        certificate_path, key_path = self._paths(server)
        key_status = files.status(key_path)
        if permissions.is_exposed(key_status):
            self.exposed.append(key_path)
        definition = self._register.digest([_EXAMINED_FOR, list(server.names), server.key_type])
        entry = self._register.remembered(server.id)
        if (
            entry is not None
            and entry.definition == definition
            and {"crt", "key"} <= set(entry.files)
            and entry.files["crt"].fits(files.status(certificate_path))
            and entry.files["key"].fits(key_status)
            and self._is_valid(entry.serial)
            and entry.not_after > times.iso(self._soon(server))
        ):
            return ServerStep(server, UNCHANGED, "", entry, definition)
        try:
            return self._judge_files(server, definition)
        except MtlsError as error:
            if not server.stands_in:
                raise
            return ServerStep(server, UNCHANGED, f"is done without: {error}", None, definition)

    def _judge_files(self, server: Server, definition: str) -> ServerStep:
        certificate_path, key_path = self._paths(server)
        current = read_certificates(certificate_path)[0] if os.path.exists(certificate_path) else None
        key = _public_key(key_path) if os.path.exists(key_path) else None
        weak_key = key is not None and keys.is_weak(key)
        found = keys.key_type(key) if key is not None else None
        if found is not None and server.key_type is not None and found != server.key_type:
            raise MtlsError(
                f"{server.owner}: key_type is {server.key_type}, and {key_path} is {found}; set key_type: {found}, or "
                "move the key away to get a new one"
            )
        if current is None:
            return self._issue(server, definition, None, "had no certificate")
        if not chains.was_issued_by(current, self._authority.chain[0]):
            return self._issue(server, definition, None, f"{certificate_path} is not by this authority")
        entry = entry_of(certificate_path, current)
        matches = key is not None and keys.public_der(key) == keys.public_der(current.public_key())
        if not self._is_valid(entry.serial):
            recorded = entry.serial in self._authority.record
            because = "the certificate is revoked" if recorded else "the certificate was not in index.txt"
            retired = entry.serial if matches and recorded else None
            return self._issue(server, definition, entry, because, retired_key=retired)
        if not matches:
            return self._issue(server, definition, entry, "the certificate was for another key")
        weakness = profiles.weakness(current)
        if weakness is not None:
            because, retired = f"the certificate {weakness}, which nginx refuses", entry.serial if weak_key else None
            return self._issue(server, definition, entry, because, ISSUED if weak_key else RENEWED, retired)
        if _names_of(current) != _names_in(server):
            return self._issue(server, definition, entry, "the server names changed")
        if current.not_valid_after_utc <= self._soon(server):
            return self._issue(server, definition, entry, f"the certificate expires on {entry.not_after}", RENEWED)
        stamps = {**entry.files, "key": Stamp.of(key_path)}
        return ServerStep(server, UNCHANGED, "", entry._replace(definition=definition, files=stamps), definition)

    def _soon(self, server: Server) -> datetime:
        return times.in_days(self._now, server.renew_before, f"{server.owner}, renew_before")

    def _issue(
        self,
        server: Server,
        definition: str,
        entry: RegisterEntry | None,
        because: str,
        action: str = ISSUED,
        retired_key: str | None = None,
    ) -> ServerStep:
        if server.renew_before >= server.days:
            raise MtlsError(
                f"{server.owner}: renew_before is {server.renew_before} and days is {server.days}, so every run would "
                "issue a certificate; make renew_before less than days"
            )
        retired_key = retired_key or self._retired_key(server)
        restore = self._restorable(server) if retired_key is None else None
        if restore is not None:
            because += f"; {numbers.hexadecimal(restore.serial_number)} was issued already"
            return ServerStep(server, action, because, entry, definition, restore=restore)
        validity = profiles.validity(server.days, self._now, self._authority.chain[0], server.owner)
        names = [profiles.general_name(name) for name in server.names]
        name_constraints.check(self._authority.chain, server.subject(), names, server.owner)
        return ServerStep(server, action, because, entry, definition, validity, retired_key)

    def _is_valid(self, serial: str) -> bool:
        return self._authority.record.is_valid(serial) and serial not in self._revoking

    def _retired_key(self, server: Server) -> str | None:
        """Return the serial of a revoked certificate that the key in the server's file was for, wherever that is."""
        record, (_certificate_path, key_path) = self._authority.record, self._paths(server)
        if not os.path.exists(key_path):
            return None
        public = keys.public_der(_public_key(key_path))
        held = self._register.remembered(server.id)
        known = (held.serial, *held.former) if held is not None else ()
        for serial in dict.fromkeys((*known, *record.namesakes(index_subject(server.subject())))):
            if serial not in record or self._is_valid(serial):
                continue
            with contextlib.suppress(CertificateMissing):
                if keys.public_der(self._authority.certificate(serial).public_key()) == public:
                    return serial
        return None

    def _restorable(self, server: Server) -> x509.Certificate | None:
        """Return a certificate in the record that is what this server needs: a killed run leaves one."""
        record, subject = self._authority.record, index_subject(server.subject())
        _certificate_path, key_path = self._paths(server)
        if not os.path.exists(key_path):
            return None
        public = keys.public_der(_public_key(key_path))
        for serial in reversed(record.namesakes(subject)):
            entry = record.get(serial)
            if entry is None or not self._is_valid(serial) or entry.not_after <= self._soon(server):
                continue
            try:
                certificate = self._authority.certificate(serial)
            except CertificateMissing:
                continue
            if (
                profiles.is_for(certificate, profiles.SERVER)
                and keys.public_der(certificate.public_key()) == public
                and _names_of(certificate) == _names_in(server)
            ):
                return certificate
        return None

    def carry_out(self, steps: Sequence[ServerStep]) -> list[ServerResult]:
        """Do what was judged."""
        done = {}
        if any(step.restore is not None for step in steps):
            self._authority.begin()
        try:
            for step in steps:
                if step.restore is not None:
                    batch = Batch(self._authority.path, 1)
                    done[step.server.id] = self._with_former(step, self._write(step, step.restore, batch))
                    batch.commit()
                    self._register.remember(step.server.id, done[step.server.id])
                elif step.validity is None and step.entry is not None:
                    self._register.remember(step.server.id, self._with_former(step, step.entry))
            to_issue = [step for step in steps if step.validity is not None]
            for step, entry in issuing.issue(self._authority, to_issue, self._prepare, self._finish, self._crl_point):
                done[step.server.id] = self._with_former(step, entry)
                self._register.remember(step.server.id, done[step.server.id])
        finally:
            self._register.save()
        return [self.result(step, done.get(step.server.id)) for step in steps]

    def _with_former(self, step: ServerStep, entry: RegisterEntry) -> RegisterEntry:
        """Keep the serials of live certificates for names that the service had before."""
        before = self._register.remembered(step.server.id)
        if before is None:
            return entry
        former = (*before.former, *((before.serial,) if before.serial != entry.serial else ()))
        return entry._replace(former=former)

    def _prepare(self, step: ServerStep, batch: Batch) -> issuing.KeyPair:
        _certificate_path, key_path = self._paths(step.server)
        if step.retired_key is not None:
            files.rename_file(key_path, f"{key_path[:-4]}-{step.retired_key}.key")
        kind = keys.KeyKind(step.server.key_type or self._new_key_type)
        return issuing.key_pair(key_path, kind, step.server.owner, batch)

    def _finish(self, task: tuple[ServerStep, issuing.KeyPair, x509.Certificate], batch: Batch) -> RegisterEntry:
        step, _pair, certificate = task
        return self._write(step, certificate, batch)

    def _write(self, step: ServerStep, certificate: x509.Certificate, batch: Batch) -> RegisterEntry:
        certificate_path, key_path = self._paths(step.server)
        sent = [certificate, *(ca for ca in self._authority.chain if ca.subject != ca.issuer)]
        pem = chains.pem(sent)
        stamp = Stamp.of_written(pem, batch.write(certificate_path, pem, 0o644))
        entry = entry_of(certificate_path, certificate, stamp)
        return entry._replace(definition=step.definition, files={**entry.files, "key": Stamp.of(key_path)})

    def _paths(self, server: Server) -> tuple[str, str]:
        base = os.path.join(self._register.directory, server.host, server.name)
        return f"{base}.crt", f"{base}.key"

    def result(self, step: ServerStep, entry: RegisterEntry | None) -> ServerResult:
        """Return what is said of one server."""
        return _result(step, entry, self._register.directory)


def _result(step: ServerStep, entry: RegisterEntry | None, directory: str) -> ServerResult:
    base = os.path.join(directory, step.server.host, step.server.name)
    held = step.entry if step.validity is None and step.restore is None else entry
    return ServerResult(step.server, step.action, step.because, step.entry, held, f"{base}.crt", f"{base}.key")


def _names_in(server: Server) -> set[str]:
    return {str(profiles.general_name(name).value) for name in server.names}


def _names_of(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def _public_key(key_path: str) -> keys.PublicKey:
    """Return the public half of a server's key.

    :raises MtlsError: it is none that browsers take of a server.
    """
    public_key = keys.load_key(key_path, validate=False).public_key()
    found = keys.key_type(public_key)
    if found not in keys.SERVER_TYPES:
        raise MtlsError(f"{key_path}: is of type {found}, which browsers do not accept from a server; move it away")
    return public_key
