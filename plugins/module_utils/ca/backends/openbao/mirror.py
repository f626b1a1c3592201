# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority behind the PKI engine of an OpenBao or Vault server: what the protocol of authority.py means there.

The server keeps the key, signs, and has the record. The directory on the controller mirrors what is needed of it,
in the layout of ``openssl ca``: ``ca.crt``, ``index.txt``, ``newcerts/``, ``crl.pem``. It is brought up to date when
the authority is opened. Several controllers may share one authority, each with a directory of its own: the lock in
``lock.py`` keeps them apart, and each has the private keys of what it asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import HOLD
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.base import Directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.api import Server
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.lock import Lock
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.mount import Mount, colons
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import (
    chains,
    crls,
    keys,
    numbers,
    profiles,
    subjects,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import audit, layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.audit import certificate_event
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured, WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass

_OTHERS = "openbao.json"
_CLOCK_PATIENCE = 30  # seconds
_MOST_ROTATIONS = 1000


def ensure(wanted: WantedAuthority, settings: Mapping[str, object], *, check: bool) -> Ensured:
    """Make the directory mirror the server's authority; with ``check`` only say what is missing.

    The authority itself is never made here.

    :raises MtlsError: the mount has no CA, or the directory belongs to another one.
    """
    layout.check_path(wanted.path)
    place = layout.Layout(wanted.path)
    if os.path.exists(place.path) and not os.path.isdir(place.path):
        raise MtlsError(f"{place.path}: is a file; name a directory")
    with Server(settings).session() as server:
        chain = Mount(server, settings).chain()
    _check_wanted(wanted, chain[0], server.url)
    created = not os.path.exists(place.certificate)
    if not created:
        _check_same(place, chain[0], server.url)
    outcome = Ensured(created, chain[0], key_encrypted=True)
    if os.path.exists(place.key):
        outcome.warnings.append(
            f"{place.key}: the key is on the controller too; once the server has it, keep a copy in a safe place and "
            "remove the file"
        )
    if created or read_certificates(place.certificate) != chain:
        outcome.added.append("ca.crt")
    names = ("newcerts", "clients", "servers", "index.txt", "crl.pem")
    outcome.added += [name for name in names if not os.path.exists(place.file(name))]
    if check:
        return outcome
    _establish(place, chain, outcome.added)
    with open_openbao(place.path, settings, read_only=False) as authority:
        if authority.crl_state() is None:
            authority.write_crl(wanted.crl_days)
        outcome.warnings += authority.warnings
    return outcome


def _check_wanted(wanted: WantedAuthority, ca: x509.Certificate, url: str) -> None:
    if wanted.subject is None:
        return
    name = subjects.subject_name(wanted.subject, f"authority {wanted.path}")
    if name != ca.subject:
        raise MtlsError(
            f"{url}: is the authority {subjects.nginx_dn(ca.subject)}, and the subject asked for is "
            f"{subjects.nginx_dn(name)}; correct mtls_ca_subject or leave it out, or correct the mount"
        )


def _check_same(place: layout.Layout, ca: x509.Certificate, url: str) -> None:
    mirrored = read_certificates(place.certificate)[0]
    if mirrored != ca:
        raise MtlsError(
            f"{place.certificate}: is the authority {subjects.nginx_dn(mirrored.subject)} with serial "
            f"{numbers.hexadecimal(mirrored.serial_number)}, and {url} signs with "
            f"{subjects.nginx_dn(ca.subject)}, serial {numbers.hexadecimal(ca.serial_number)}; "
            "correct the mount, or choose another directory"
        )


def _establish(place: layout.Layout, chain: Sequence[x509.Certificate], added: Sequence[str]) -> None:
    files.make_directory(place.path, 0o700)
    with files.lock(place.lock):
        for name in ("newcerts", "clients", "servers"):
            files.make_directory(place.file(name), 0o700)
        if "index.txt" in added:
            _record_of_files(place, chain[0]).save()
        if "ca.crt" in added:
            pem = chains.pem(chain)
            files.write_file(place.certificate, pem, 0o644)


def _record_of_files(place: layout.Layout, ca: x509.Certificate) -> Index:
    """Return a record of what lies in newcerts, which may know more than the server: certificates from before it."""
    found = []
    for name in os.listdir(place.issued):
        with contextlib.suppress(MtlsError):  # a damaged file: the server may have it
            found.append(read_certificates(os.path.join(place.issued, name))[0])
    record = Index(place.index, {})
    for certificate in sorted(found, key=lambda each: each.not_valid_before_utc):
        serial = numbers.hexadecimal(certificate.serial_number)
        if chains.was_issued_by(certificate, ca) and serial not in record:
            record.add(serial, certificate.not_valid_after_utc, subjects.index_subject(certificate.subject))
    return record


@contextlib.contextmanager
def open_openbao(path: str, settings: Mapping[str, object], *, read_only: bool) -> Iterator[OpenBaoAuthority]:
    """Open the authority that ``path`` mirrors: locked and up to date, or ``read_only`` without changing anything.

    :raises MtlsError: no mirror there, one of another authority, or a server that cannot be used.
    """
    layout.check_path(path)
    place = layout.Layout(path)
    absent = [name for name in ("ca.crt", "index.txt", "newcerts") if not os.path.exists(place.file(name))]
    if absent:
        raise MtlsError(f"{path}: lacks {', '.join(absent)}; run mtls.nginx.ca_init first")
    with contextlib.ExitStack() as stack:
        if not read_only:
            stack.enter_context(files.lock(place.lock))
        server = stack.enter_context(Server(settings).session())
        mount = Mount(server, settings)
        lock = Lock(server, str(settings["lock_mount"]).strip("/"), mount.path, place.lock)
        authority = OpenBaoAuthority(place, mount, lock, read_only=read_only)
        if not read_only:
            stack.enter_context(lock.held())
            stack.callback(authority.save)
        authority.synchronise()
        yield authority


class OpenBaoAuthority(Directory):
    """Implements authority.Authority; ``open_openbao`` returns it."""

    chunk = 250
    shared = True

    def __init__(self, place: layout.Layout, mount: Mount, lock: Lock, *, read_only: bool) -> None:
        """Whoever changes something with it holds ``lock``, which keeps the other controllers out."""
        current = mount.chain()
        _check_same(place, current[0], mount.name)
        super().__init__(place, read_only=read_only)
        self._mount = mount
        self._others = _read_others(place.file(_OTHERS))
        self._lock = lock
        self._fetched: dict[str, x509.Certificate] = {}  # in check mode they are nowhere else
        self._unsaved = False
        self._proven: set[str] = set()  # the profiles whose roles made what was asked for
        if self.chain != current:
            self.warnings.append(f"{place.certificate}: the CAs above changed on the server; run mtls.nginx.ca_init")

    def synchronise(self) -> None:
        """Take over what the server has and the mirror lacks: certificates, and what was revoked."""
        if not self._read_only:
            for directory in (self.path, self._layout.issued, *self._layout.holders()):
                files.remove_unfinished(directory)
        skipped = self._others | {numbers.hexadecimal(ca.serial_number) for ca in self.chain}
        wanted = {
            serial: key
            for serial, key in self._mount.serials("certs").items()
            if serial not in self.record and serial not in skipped
        }
        for serial, key in self._mount.serials("certs/revoked").items():
            if self.record.is_valid(serial):
                wanted[serial] = key
        if wanted:
            self._take_over(wanted)
        if not self._read_only:
            self._audit.recover(self._happened)

    def _take_over(self, wanted: Mapping[str, str]) -> None:
        """Fetch what the mirror lacks: the server's spellings by ours."""
        others = set()
        found = self._mount.server.each(self._fetch, list(wanted.items()))
        found.sort(key=lambda item: item[1].not_valid_before_utc)  # the record is in the order of issue
        for serial, certificate, moment in found:
            if not self._is_ours(certificate):
                others.add(serial)
                continue
            if serial not in self.record:
                self._enter(certificate)
                self._fetched[serial] = certificate
            if moment is not None:
                self.record.revoke(serial, moment, "unspecified")
        if self._read_only:
            return
        self.record.save()
        if others:
            self._others |= others
            content = json.dumps({"others": sorted(self._others)}, indent=1)
            files.write_file(self._layout.file(_OTHERS), f"{content}\n".encode(), 0o600)

    def _fetch(self, item: tuple[str, str]) -> tuple[str, x509.Certificate, datetime | None]:
        serial, key = item
        certificate, moment = self._mount.fetch(key)
        if not self._read_only and serial not in self.record and self._is_ours(certificate):
            self._keep(certificate)
        return serial, certificate, moment

    def _is_ours(self, certificate: x509.Certificate) -> bool:
        """Tell whether it is a client's or a server's of this issuer; a mount may have several, and keeps their own."""
        return chains.was_issued_by(certificate, self.chain[0]) and not profiles.is_ca(certificate)

    def _keep(self, certificate: x509.Certificate) -> None:
        path = self._layout.issued_certificate(numbers.hexadecimal(certificate.serial_number))
        files.write_file(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644, durable=False)

    def certificate(self, serial: str) -> x509.Certificate:
        """Return an issued certificate.

        :raises MtlsError: neither its file nor the server has it.
        """
        if serial not in self._fetched:
            try:
                self._fetched[serial] = super().certificate(serial)
            except MtlsError:
                self._fetched[serial], _moment = self._mount.fetch(colons(serial))
        return self._fetched[serial]

    def issue(self, orders: Sequence[Order]) -> list[x509.Certificate]:
        """Have all ``orders`` signed, many at a time, and enter them.

        The first of each profile goes alone: a role that makes something else of it makes one certificate then, not
        hundreds. What was signed and does not get here is in the server's record, and comes with the next
        ``synchronise``.
        """
        if not orders:
            return []
        self._require_writable()
        first = [order for order in orders[:1] if order.profile not in self._proven]
        issued = [self._order(order) for order in first]
        self._proven.update(order.profile for order in first)
        issued += self._mount.server.each(self._order, orders[len(first) :])
        for certificate in issued:
            self._enter(certificate)
        self._unsaved = True
        with self._audit.noting([certificate_event(order.act, each) for order, each in zip(orders, issued)]):
            pass  # the server has them by now
        return issued

    def begin(self) -> None:
        """Do nothing: each run clears up after killed ones, since the server knows what it has signed."""

    def save(self) -> None:
        """Write what was issued into the record. Until then the server's is enough."""
        if self._unsaved:
            self.record.save()
            self._unsaved = False

    def _order(self, order: Order) -> x509.Certificate:
        self._lock.renew()
        certificate = self._mount.sign(order)
        fault = _fault(certificate, order, self.chain[0])
        if fault is not None:
            serial = numbers.hexadecimal(certificate.serial_number)
            role = self._mount.roles[order.profile]
            try:
                self._mount.revoke(serial, None)
                done = "it was revoked at once"
            except MtlsError as error:
                done = f"and it could not be revoked ({error})"
            raise MtlsError(
                f"{self._mount.name}: role {role} made certificate {serial} for {subjects.nginx_dn(order.subject)}, "
                f"and {fault}; {done}; correct the role (docs/openbao.md says what it needs)"
            )
        self._keep(certificate)
        return certificate

    def enter(self, certificates: Sequence[x509.Certificate]) -> None:
        """Record certificates that the server does not know; by their files it can revoke them nevertheless."""
        for certificate in certificates:
            self._require_writable()
            self._keep(certificate)
        super().enter(certificates)

    def revoke(self, reasons: Mapping[str, str]) -> None:
        """Revoke recorded serials; the reasons stay here, because the server has no place for them.

        :raises MtlsError: a serial that was never issued, certificateHold, or the server does not do it.
        """
        if not reasons:
            return
        self._require_writable()
        entries = {serial: self._recorded(serial) for serial in reasons}
        for serial, reason in reasons.items():
            if reason == HOLD:
                raise MtlsError(
                    f"serial {serial}: {HOLD} can be released again, and {self._mount.name} revokes for good; "
                    "give another reason"
                )
        moments: dict[str, datetime] = {}
        try:
            self._mount.server.each(lambda serial: moments.update({serial: self._revoke(serial)}), list(reasons))
        finally:
            events = []
            for serial, moment in moments.items():
                self.record.revoke(serial, moment, reasons[serial])
                events.append(audit.revocation_event(serial, entries[serial].subject, reasons[serial]))
            if events:
                with self._audit.noting(events):
                    self.record.save()

    def release(self, serials: Sequence[str]) -> None:
        """Refuse, unless there is nothing to release.

        :raises MtlsError: nothing is ever on hold there.
        """
        if serials:
            raise MtlsError(
                f"serial {serials[0]}: cannot be released, because {self._mount.name} revokes for good; issue a new "
                "certificate"
            )

    def _revoke(self, serial: str) -> datetime:
        self._lock.renew()
        now, entry = times.now(), self.record.get(serial)
        if entry is not None and entry.not_after <= now:
            return now  # the server refuses, and no CRL needs it
        return self._mount.revoke(serial, self._filed(serial))

    def _filed(self, serial: str) -> x509.Certificate | None:
        return self.certificate(serial) if os.path.exists(self._layout.issued_certificate(serial)) else None

    def crl_due(self, refresh_before: int, *, prune: bool = True) -> str | None:
        """Return why crl.pem must be written anew, or None; what has expired, the server leaves out by itself.

        For how long a CRL is good is the server's to say. If that is less than twice ``refresh_before``, a new one is
        due when half its time has passed, or every run would want one.
        """
        own, now = self._crls.own, times.now()
        if own is None:
            return "there is none by this authority"
        state = crls.state_of(own)
        wanted = timedelta(days=refresh_before)
        if state.next_update - state.last_update <= wanted:
            self.warnings.append(
                f"{self._mount.name}: its CRLs are valid for {_span(state)} only, and a new one is wanted "
                f"{refresh_before} days before they expire; run `bao write {self._mount.path}/config/crl expiry=720h`"
            )
        if state.next_update - min(wanted, (state.next_update - state.last_update) / 2) <= now:
            return f"it expires on {times.iso(state.next_update)}"
        if state.last_update > now:
            return f"it begins only on {times.iso(state.last_update)}"
        if self._not_listed(own):
            return "it does not list what index.txt says is revoked"
        current = self._current_crl(f"{self._mount.name}, CRL")
        if current is not None and _age(current) > _age(own):
            return "the server has a newer one"  # which another controller may have installed by now
        return None

    def write_crl(self, days: int, *, prune: bool = True) -> CrlState:
        """Fetch the server's CRL, have it made anew if need be, check it as the hosts will, and put it in place."""
        self._require_writable()
        self._lock.renew()
        path = f"{self._mount.name}, CRL"
        own = self._current_crl(path)
        if own is None or self._not_listed(own) or not _is_young(own, times.now()):
            unlisted = [] if own is None else self._not_listed(own)
            self._mount.server.each(lambda serial: self._mount.revoke(serial, self._filed(serial)), unlisted)
            self._mount.rotate_crl()
            own = self._current_crl(path)
        if own is None:
            raise MtlsError(f"{path}: there is none; `bao write {self._mount.path}/config/crl disable=false`")
        own = self._counted_on(own, path)
        # It begins when it was made, and the server's clock may be a little ahead.
        ahead = (own.parsed.last_update_utc - times.now()).total_seconds()
        if 0 < ahead <= _CLOCK_PATIENCE:
            time.sleep(ahead)
        pem, now = own.parsed.public_bytes(serialization.Encoding.PEM), times.now()
        crls.check_shippable(pem, self.chain[0].public_bytes(serialization.Encoding.PEM), now, path)
        unlisted = self._not_listed(own)
        if unlisted:
            raise MtlsError(f"{path}: lacks {first_few(unlisted)}, which index.txt says are revoked; check the mount")
        state = crls.state_of(own)
        if state.next_update < times.in_days(now, days, path) - timedelta(days=days) / 2:
            self.warnings.append(
                f"{self._mount.name}: its CRLs are valid for {_span(state)}, and {days} days are wanted; run `bao "
                f"write {self._mount.path}/config/crl expiry={days * 24}h`"
            )
        files.write_file(self._layout.crl, crls.merge(pem, self._crls_above()), 0o644)
        self.__dict__.pop("_crls", None)
        return state

    def _counted_on(self, current: crls.Crl, path: str) -> crls.Crl:
        """Return the server's CRL with a number above that of another one by the same CA that is here.

        A server counts from 1, also for a CA that has signed elsewhere, and no host takes a lower number than it has.

        :raises MtlsError: that would take too many rotations.
        """
        here = self._crls.own
        if here is None or here.signed_part == current.signed_part:
            return current
        known, number = crls.state_of(here).number, crls.state_of(current).number
        if known - number >= _MOST_ROTATIONS:
            raise MtlsError(
                f"{path}: is number {number}, and hosts have number {known} from this CA and take none that is lower; "
                f"have it rotated until it is above (`bao read {self._mount.path}/crl/rotate`)"
            )
        while (before := crls.state_of(current).number) <= known:
            self._lock.renew()
            self._mount.rotate_crl()
            rotated = self._current_crl(path)
            if rotated is None or crls.state_of(rotated).number <= before:
                break  # it does not count, and hosts go by the dates then
            current = rotated
        return current

    def _current_crl(self, path: str) -> crls.Crl | None:
        pem = self._mount.crl()
        return crls.parse_crls(pem, path)[0] if pem is not None else None

    def _crls_above(self) -> list[crls.Crl]:
        """Return the newest CRL of each CA above: the mount's if it has that CA, or the one in crl.pem."""
        if len(self.chain) < 2:
            return []
        candidates = list(self._crls.others)
        for issuer in self._mount.issuers():
            pem = self._mount.crl(issuer)
            if pem is not None:
                candidates += crls.parse_crls(pem, self._mount.name)
        found = []
        for ca in self.chain[1:]:
            by_ca = [crl for crl in candidates if crls.is_by(crl, ca)]
            if by_ca:
                found.append(max(by_ca, key=lambda crl: crl.parsed.last_update_utc))
        return found

    def _not_listed(self, crl: crls.Crl) -> list[str]:
        """Return the revoked serials that a CRL lacks; of what has expired none needs to be there."""
        listed = {entry.serial_number for entry in crl.parsed}
        revoked = self.record.revocations(times.now()).values()
        return [serial for serials in revoked for serial in serials if int(serial, 16) not in listed]


def _read_others(path: str) -> set[str]:
    """Return the serials on the server that are not ours: by other issuers of the mount, or CAs.

    The file spares looking at them again, and can be missing.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            return {str(serial) for serial in json.load(stream)["others"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return set()


def _age(crl: crls.Crl) -> tuple[int, datetime]:
    """Return what a newer CRL by the same CA has more of."""
    state = crls.state_of(crl)
    return state.number, state.last_update


def _is_young(crl: crls.Crl, now: datetime) -> bool:
    """Tell whether a CRL is in the first half of its time: then it need not be made anew."""
    state = crls.state_of(crl)
    return state.last_update <= now < state.last_update + (state.next_update - state.last_update) / 2


def _span(state: CrlState) -> str:
    hours = (state.next_update - state.last_update).total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours"


def _fault(certificate: x509.Certificate, order: Order, issuer: x509.Certificate) -> str | None:
    """Return what is wrong with a certificate that was signed for ``order``, or None."""
    extensions = certificate.extensions
    try:
        names = set(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = set()
    if not chains.was_issued_by(certificate, issuer):
        return f"it is by {subjects.nginx_dn(certificate.issuer)}, which is not the CA in ca.crt"
    if keys.public_der(certificate.public_key()) != order.public_key:
        return "it is for another key"
    if certificate.subject != order.subject:
        return f"its subject is {subjects.nginx_dn(certificate.subject)}"
    if names != set(profiles.alternative_names(order)):
        said = ", ".join(sorted(str(name.value) for name in names)) or "none"
        return f"its alternative names are: {said}"
    if profiles.is_ca(certificate):
        return "it is a CA"
    if not profiles.is_only_for(certificate, order.profile):
        return f"it is not for {order.profile}s alone"
    if certificate.not_valid_after_utc != order.validity.not_after:
        expected = times.iso(order.validity.not_after)
        return f"it expires on {times.iso(certificate.not_valid_after_utc)}, not on {expected}"
    if certificate.not_valid_before_utc > times.now():
        return f"it begins only on {times.iso(certificate.not_valid_before_utc)}: not_before_duration is too short"
    return None
