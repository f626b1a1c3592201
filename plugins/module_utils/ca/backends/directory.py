# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority in a directory of ``openssl ca``: what the protocol of authority.py means there.

Order of writes, so that a process killed anywhere leaves no serial used twice and no certificate missing from
the index: the next serial, the certificates in newcerts, the index. Certificates that were written but not
entered any more are entered when the directory is opened the next time.

Looking for that takes long where there are many clients, so a run that ends in good order leaves the file
``.settled``. It says what index and newcerts looked like, for ``openssl ca`` and backups change them too, and it
is removed before the first change: where it is missing or differs, the whole directory is searched.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import HOLD, Entry, check_on_hold
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.base import Directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, crls, numbers, profiles, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates, was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore import ca_key
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import audit, handover, layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.audit import certificate_event
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import UNKNOWN, Index
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.batch import Batch
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few
from ansible_collections.mtls.nginx.plugins.module_utils.common.parallel import spread

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass


@dataclass(frozen=True)
class _Signed:
    """What a signing process hands back."""

    certificate: bytes
    subject: str


@contextlib.contextmanager
def open_directory(
    path: str, passphrase: str | None, *, read_only: bool, key: ca_key.CaKey | None = None
) -> Iterator[DirectoryAuthority]:
    """Open the authority in ``path``: locked and put in order, or ``read_only`` without touching anything.

    Without ``key`` the private key is in ca.key.

    :raises MtlsError: no authority there, or one that must not be used as it is.
    """
    layout.check_path(path)
    if read_only:
        handover.refuse_interrupted(path)
    else:
        handover.complete_interrupted(path)
    place = layout.Layout(path)
    if not os.path.exists(place.certificate):
        raise layout.absent(path)
    with contextlib.nullcontext() if read_only else files.lock(place.lock):
        absent = [name for name in layout.missing(place) if name in layout.ESSENTIAL]
        if absent:
            layout.check_not_lost(place)
        if absent and not read_only:  # in check mode, what is missing was not added before
            raise MtlsError(f"{path}: lacks {', '.join(absent)}; run mtls.nginx.ca_init, which adds what is missing")
        key = key or ca_key.KeyFile(place.key, passphrase)
        authority = DirectoryAuthority(place, key, read_only=read_only)
        if read_only:
            authority.foresee_recovery()
        else:
            authority.recover()
        yield authority
        if not read_only:
            authority.settle()


class DirectoryAuthority(Directory):
    """Implements authority.Authority; ``open_directory`` returns it."""

    chunk = 500
    shared = False

    def __init__(self, place: layout.Layout, key: ca_key.CaKey, *, read_only: bool) -> None:
        super().__init__(place, read_only=read_only)
        self._begun = self._strange = False
        self._encoded: dict[int, crls.Revoked] = {}  # by the number of entries
        self._issuer = profiles.Issuer(self.chain[0], ca_key.load_for(key, self.chain, place.certificate))
        self._forks = key.survives_fork
        self.warnings += key.warnings

    def _check_chain(self) -> None:
        path = self._layout.certificate
        profiles.check_not_pss(self.chain[0], path)
        if self._read_only and profiles.is_repairable(self.chain[0]):  # check mode, where nothing was repaired before
            self.warnings.append(f"{path}: nginx cannot work with it, so a run stops unless mtls_ca_repair is true")
            return
        first = chains.first_to_end(chains.check(self.chain, path, times.now()))
        if first != self.chain[0]:
            self.warnings.append(
                f"{path}: {subjects.nginx_dn(first.subject)} expires before the authority itself, on "
                f"{times.iso(first.not_valid_after_utc)}, and nobody gets in from then on; have it renewed"
            )

    def _load_record(self) -> Index:
        if self._read_only and not os.path.exists(self._layout.index):
            return Index(self._layout.index, {})
        return Index.load(self._layout.index, checked=self._is_settled())

    def recover(self) -> None:
        """Clear up after earlier runs that were killed: enter certificates that were written but not entered.

        What they left half written goes, wherever it is: it may hold a private key.
        """
        files.remove_unfinished(self.path)
        self._audit.recover(self._happened)
        if self._is_settled():
            return
        for directory in (self._layout.issued, *self._layout.holders()):
            files.remove_unfinished(directory)
        entered, kept = self._pick_up()
        if entered:
            following = max(certificate.serial_number for certificate in entered) + 1
            current = numbers.read_number(self._layout.serial)
            if numbers.is_sequential(current) and numbers.is_sequential(following) and current < following:
                numbers.write_number(self._layout.serial, following)
        if any(self._recorded(serial).subject == UNKNOWN for serial in kept):
            self._count_no_further()
        events = [certificate_event(audit.ENTERED, certificate) for certificate in entered]
        for serial in kept:
            entry = self._recorded(serial)
            events.append(audit.revocation_event(serial, entry.subject, entry.reason))
        if events:
            with self._audit.noting(events):
                self.record.save()

    def foresee_recovery(self) -> None:
        """Have check mode go by the record that a run would have after ``recover``."""
        if not self._is_settled() and os.path.isdir(self._layout.issued):
            self._pick_up()

    def _pick_up(self) -> tuple[list[x509.Certificate], list[str]]:
        """Complete the record, in memory: return the certificates that it lacked, and the serials revoked again."""
        found = [
            name[:-4]
            for name in os.listdir(self._layout.issued)
            if name.endswith(".pem") and not name.startswith(".") and name[:-4] not in self.record
        ]
        entered = []
        for serial in sorted(found):
            path = self._layout.issued_certificate(serial)
            certificate = read_certificates(path)[0]
            if numbers.hexadecimal(certificate.serial_number) != serial or not self.issued(certificate):
                self.warnings.append(
                    f"{path}: is not the certificate of this authority that its name says; move it away"
                )
                self._strange = True  # to be said by every run
                continue
            self._enter(certificate)
            entered.append(certificate)
        kept = self._keep_revoked({numbers.hexadecimal(certificate.serial_number) for certificate in entered})
        if kept:
            self.warnings.append(
                f"{self._layout.index}: has lost that {first_few(kept)} is revoked, as crl.pem says, so it stays "
                "revoked; if it was cut off or is an older copy, compare it with the newest backup"
            )
        return entered, kept

    def _keep_revoked(self, entered: Collection[str]) -> list[str]:
        """Revoke again what crl.pem lists and index.txt has lost, has as valid or on hold; return these serials.

        Whatever index.txt is a copy of, no CRL may forget a revocation. Only a hold can be released.
        """
        kept = []
        for listed in self._crls.own.parsed if self._crls.own is not None else ():
            serial = numbers.hexadecimal(listed.serial_number)
            entry = self.record.get(serial)
            if entry is not None and entry.status == "revoked" and not entry.on_hold:
                continue  # as nearly all are
            reason = crls.reason_of(listed)
            if reason == HOLD and entry is not None and serial not in entered:
                continue  # it may have been released since
            if self.record.take_from_crl(serial, listed.revocation_date_utc, reason, self.chain[0].not_valid_after_utc):
                kept.append(serial)
        return kept

    def begin(self) -> None:
        """Make the next run search the whole directory, unless this one ends in good order."""
        self._require_writable()
        if not self._begun:
            files.remove_file(self._layout.settled)
            self._begun = True

    def settle(self) -> None:
        """Note that nothing is left half done."""
        if self._strange or self._is_settled():
            return
        with contextlib.suppress(OSError):  # the run's work is done; the next one takes longer, that is all
            files.write_file(self._layout.settled, self._appearance().encode(), 0o600)

    def _is_settled(self) -> bool:
        try:
            with open(self._layout.settled, encoding="ascii", errors="replace") as stream:
                return stream.read() == self._appearance()
        except FileNotFoundError:
            return False

    def _appearance(self) -> str:
        index, issued = os.stat(self._layout.index), os.stat(self._layout.issued)
        return (
            f"index.txt {index.st_ino} {index.st_size} {index.st_mtime_ns}\n"
            f"newcerts {issued.st_ino} {issued.st_mtime_ns}\n"
        )

    def issued(self, certificate: x509.Certificate) -> bool:
        """Tell whether this authority signed ``certificate``."""
        return was_issued_by(certificate, self.chain[0])

    def issue(self, orders: Sequence[Order]) -> list[x509.Certificate]:
        """Sign all ``orders`` in as many processes as there are cores, and enter them."""
        if not orders:
            return []
        self.begin()
        layout.allow_renewals(self._layout)
        signed = self._sign_all(list(zip(orders, self._reserve_serials(len(orders)))))
        certificates = [x509.load_der_x509_certificate(result.certificate) for result in signed]
        for certificate, result in zip(certificates, signed):
            serial = numbers.hexadecimal(certificate.serial_number)
            self.record.add(serial, certificate.not_valid_after_utc, result.subject)
        with self._audit.noting([certificate_event(order.act, each) for order, each in zip(orders, certificates)]):
            self.record.save()
        return certificates

    def _reserve_serials(self, count: int) -> list[int]:
        current = max(1, numbers.read_number(self._layout.serial))  # RFC 5280, 4.1.2.2: a serial is positive
        if not numbers.is_sequential(current):
            numbers.write_number(self._layout.serial, numbers.random_serial())
            found: dict[int, None] = {}
            while len(found) < count:
                current = numbers.random_serial()
                if numbers.hexadecimal(current) not in self.record:
                    found[current] = None
            return list(found)
        serials: list[int] = []
        while len(serials) < count:
            if numbers.hexadecimal(current) not in self.record:
                serials.append(current)
            current += 1
        numbers.write_number(self._layout.serial, current)
        return serials

    def _count_no_further(self) -> None:
        """Go on with random serials: nobody knows which ones were issued that this directory has forgotten."""
        if numbers.is_sequential(numbers.read_number(self._layout.serial)):
            numbers.write_number(self._layout.serial, numbers.random_serial())

    def _sign_all(self, tasks: Sequence[tuple[Order, int]]) -> list[_Signed]:
        batch = Batch(self._layout.issued, len(tasks))
        if self._forks:
            return spread(lambda task: self._sign(task, batch), tasks, batch.commit)
        try:
            return [self._sign(task, batch) for task in tasks]
        finally:  # a token that is pulled out: what it has signed is kept
            batch.commit()

    def _sign(self, task: tuple[Order, int], batch: Batch) -> _Signed:
        order, serial = task
        certificate = profiles.issued_certificate(self._issuer, order, serial)
        path = self._layout.issued_certificate(numbers.hexadecimal(serial))
        batch.create(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        return _Signed(
            certificate.public_bytes(serialization.Encoding.DER), subjects.index_subject(certificate.subject)
        )

    def revoke(self, reasons: Mapping[str, str]) -> None:
        """Revoke recorded serials.

        :raises MtlsError: a serial that was never issued.
        """
        if not reasons:
            return
        self._require_writable()
        now, events = times.now(), []
        for serial, reason in reasons.items():
            entry = self._recorded(serial)
            self.record.revoke(serial, now, reason)
            events.append(audit.revocation_event(serial, entry.subject, reason))
        with self._audit.noting(events):
            self.record.save()
        self._encoded.clear()

    def release(self, serials: Sequence[str]) -> None:
        """Make serials valid again that are on hold.

        :raises MtlsError: a serial that is not.
        """
        if not serials:
            return
        self._require_writable()
        events = []
        for serial in serials:
            entry = check_on_hold(serial, self.record.get(serial))
            self.record.release(serial)
            events.append({"did": audit.RELEASED, "serial": serial, "subject": entry.subject})
        with self._audit.noting(events):
            self.record.save()
        self._encoded.clear()

    def note_recovered(self, entries: Sequence[Entry], number: int) -> None:
        """Store what the record was given from CRL ``number``, which this directory did not know; the next is above."""
        self._require_writable()
        self.begin()
        self._count_no_further()
        numbers.write_number(self._layout.crl_number, max(numbers.read_number(self._layout.crl_number), number + 1))
        events = [
            {**audit.revocation_event(each.serial, each.subject, each.reason), "from_crl": number} for each in entries
        ]
        if events:
            with self._audit.noting(events):
                self.record.save()
        self._encoded.clear()

    def crl_due(self, refresh_before: int, *, prune: bool = True) -> str | None:
        """Return why crl.pem must be written anew, or None."""
        own, now = self._crls.own, times.now()
        if own is None:
            return "there is none by this authority"
        state = crls.state_of(own)
        if state.next_update <= times.in_days(now, refresh_before, self._layout.crl):
            return f"it expires on {times.iso(state.next_update)}"
        if state.last_update > now:
            return f"it begins only on {times.iso(state.last_update)}"
        if not self._lists_what_it_should(own, prune):
            return "it does not list what index.txt says is revoked"
        if self._crls.fresh:
            return "there is a new one of an authority above"
        return None

    def _lists_what_it_should(self, own: crls.Crl, prune: bool) -> bool:
        if crls.lists_exactly(own, self._revoked(None)):
            return True  # what can be pruned goes with the next CRL
        return prune and crls.lists_exactly(own, self._revoked(crls.prunes(crls.state_of(own))))

    def write_crl(self, days: int, *, prune: bool = True) -> CrlState:
        """Sign a CRL of all that is revoked, check it as the hosts will, and put it in place."""
        self._require_writable()
        now = times.now()
        current, known = self.crl_state(), numbers.read_number(self._layout.crl_number)
        number = max(known, current.number + 1 if current else 0)
        numbers.check_crl_number(number, self._layout.crl_number)
        state = CrlState(number, self._crl_begin(now), times.in_days(now, days, self._layout.crl), 0)
        # The last CRL counts only as far as it went: there may have been none for long.
        cut = min(crls.prunes(state), current.last_update) if prune and current else None
        revoked = self._revoked(cut)
        state = replace(state, entries=revoked.count)
        pem = crls.build_crl(self._issuer, revoked, state)
        own_chain = self.chain[0].public_bytes(serialization.Encoding.PEM)
        crls.check_shippable(pem, own_chain, now, self._layout.crl)
        numbers.write_number(self._layout.crl_number, number + 1)  # first: a number is skipped rather than used twice
        event = {"did": audit.CRL, "number": number, "until": times.iso(state.next_update), "entries": revoked.count}
        with self._audit.noting([event]):
            files.write_file(self._layout.crl, crls.merge(pem, self._crls.others), 0o644)
        del self._crls
        return state

    def _crl_begin(self, now: datetime) -> datetime:
        return max(now - times.CRL_BACKDATED, self.chain[0].not_valid_before_utc)

    def _revoked(self, ended_by: datetime | None) -> crls.Revoked:
        revocations = self.record.revocations(ended_by)
        count = sum(map(len, revocations.values()))  # the later the date, the fewer there are
        if count not in self._encoded:
            self._encoded[count] = crls.encode_revoked(revocations)
        return self._encoded[count]
