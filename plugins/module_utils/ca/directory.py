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

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from ansible_collections.mtls.nginx.plugins.module_utils import files
from ansible_collections.mtls.nginx.plugins.module_utils.ca import (
    audit,
    ca_key,
    chains,
    handover,
    keys,
    layout,
    numbers,
    profiles,
    revocation,
    subjects,
    times,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import HOLD, CrlState, Entry, Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.batch import Batch
from ansible_collections.mtls.nginx.plugins.module_utils.ca.chains import was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.parallel import spread
from ansible_collections.mtls.nginx.plugins.module_utils.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass

_BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_SEARCHED_AT_ONCE = 1000  # certificates


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
        raise MtlsError(f"{path}: there is no authority (ca.crt is missing); run mtls.nginx.ca_init first")
    with contextlib.nullcontext() if read_only else files.lock(place.lock):
        absent = [name for name in layout.missing(place) if name in layout.ESSENTIAL]
        if absent:
            layout.check_not_lost(place)
            raise MtlsError(f"{path}: lacks {', '.join(absent)}; run mtls.nginx.ca_init, which adds what is missing")
        key = key or ca_key.KeyFile(place.key, passphrase)
        authority = DirectoryAuthority(place, key, read_only=read_only)
        if not read_only:
            authority.recover()
        yield authority
        if not read_only:
            authority.settle()


class Directory:
    """What each authority keeps in its directory, whoever signs: chain, record, issued certificates, CRL."""

    issues = True

    def __init__(self, place: layout.Layout, *, read_only: bool) -> None:
        self.path = place.path
        self.warnings: list[str] = []
        self.chain = read_certificates(place.certificate)
        profiles.check_ca(self.chain[0], place.certificate, times.now())
        self._layout = place
        self._audit = audit.AuditLog(place.path)
        self._read_only = read_only
        self._supplied: list[revocation.Crl] = []
        self.record = self._load_record()

    def _load_record(self) -> Index:
        return Index.load(self._layout.index)

    def certificate(self, serial: str) -> x509.Certificate:
        """Return an issued certificate.

        :raises MtlsError: its file is gone.
        """
        path = self._layout.issued_certificate(serial)
        if not os.path.exists(path):
            raise MtlsError(f"{path}: is missing although index.txt lists it; restore it from a backup")
        return read_certificates(path)[0]

    def find_by_fingerprint(self, fingerprint: str) -> str | None:
        """Search newcerts, which takes a second for every 50,000 certificates or so."""
        names = [name for name in os.listdir(self._layout.issued) if name.endswith(".pem") and name[0] != "."]
        parts = [names[start : start + _SEARCHED_AT_ONCE] for start in range(0, len(names), _SEARCHED_AT_ONCE)]

        def search(part: Sequence[str]) -> str | None:
            return next((name[:-4] for name in part if self._has_fingerprint(name, fingerprint)), None)

        return next(filter(None, spread(search, parts)), None)

    def _has_fingerprint(self, name: str, fingerprint: str) -> bool:
        with open(os.path.join(self._layout.issued, name), "rb") as stream:
            _text, _begin, rest = stream.read().partition(_BEGIN_CERTIFICATE)
        try:
            der = base64.b64decode(rest.partition(b"-----")[0])
        except ValueError:  # no certificate: others complain
            return False
        # Not a matter of security: nginx and people name certificates by SHA-1.
        digest = hashlib.sha1(der, usedforsecurity=False) if len(fingerprint) == 40 else hashlib.sha256(der)
        return digest.hexdigest() == fingerprint

    def enter(self, certificates: Sequence[x509.Certificate]) -> None:
        """Record certificates that the key signed outside of this directory's record."""
        if not certificates:
            return
        self._require_writable()
        for certificate in certificates:
            self._enter(certificate)
        with self._audit.noting([certificate_event(audit.ENTERED, certificate) for certificate in certificates]):
            self.record.save()

    def _enter(self, certificate: x509.Certificate) -> None:
        serial = numbers.hexadecimal(certificate.serial_number)
        self.record.add(serial, certificate.not_valid_after_utc, subjects.index_subject(certificate.subject))

    def crl(self) -> bytes | None:
        """Return crl.pem as it is."""
        return crl_as_it_is(self._layout.crl)

    def crl_state(self) -> CrlState | None:
        """Return what our CRL in crl.pem says."""
        own = self._crls.own
        return revocation.state_of(own) if own is not None else None

    @cached_property
    def _crls(self) -> _Crls:
        pem = self.crl()
        try:
            crls = revocation.parse_crls(pem, self._layout.crl) if pem is not None else []
        except MtlsError as error:
            self.warnings.append(f"{error} (a new one takes its place)")
            crls = []
        own = [crl for crl in crls if revocation.is_by(crl, self.chain[0])]
        above = [revocation.newest_by(ca, [*crls, *self._supplied]) for ca in self.chain[1:]]
        others = tuple(crl for crl in above if crl is not None)
        return _Crls(own[0] if own else None, others, fresh=any(crl not in crls for crl in others))

    def _happened(self, event: audit.Event) -> bool:
        """Tell whether the act of a killed run took place."""
        did, entry = event["did"], self.record.get(event.get("serial", ""))
        if did in (audit.ISSUED, audit.RENEWED, audit.ENTERED):
            return entry is not None
        if did == audit.REVOKED:
            return entry is not None and entry.status == "revoked"
        if did == audit.RELEASED:
            return self.record.is_valid(event["serial"])
        state = self.crl_state()
        return state is not None and state.number >= event["number"]

    def take_crls(self, pem: bytes, path: str) -> None:
        """Take CRLs of the CAs above from the file ``path``: ``crl_due`` and ``write_crl`` go by them from now on.

        :raises MtlsError: one that is of none of these.
        """
        crls = revocation.parse_crls(pem, path)
        for crl in crls:
            if not any(revocation.is_by(crl, ca) for ca in self.chain):
                raise MtlsError(
                    f"{path}: a CRL in it is by {subjects.nginx_dn(crl.parsed.issuer)}, and no authority above this "
                    "one is; put the CRLs there that belong to ca.crt"
                )
        self._supplied += crls
        self.__dict__.pop("_crls", None)

    def _require_writable(self) -> None:
        if self._read_only:
            raise RuntimeError("an authority opened read-only was asked to change something")


class DirectoryAuthority(Directory):
    """Implements authority.Authority; to be had from ``open_directory``."""

    chunk = 500
    shared = False

    def __init__(self, place: layout.Layout, key: ca_key.CaKey, *, read_only: bool) -> None:
        super().__init__(place, read_only=read_only)
        self._begun = self._strange = False
        self._encoded: dict[int, revocation.Revoked] = {}  # by the number of entries
        first = chains.first_to_end(chains.check(self.chain, place.certificate, times.now()))
        if first != self.chain[0]:
            self.warnings.append(
                f"{place.certificate}: {subjects.nginx_dn(first.subject)} ends before the authority itself, on "
                f"{times.iso(first.not_valid_after_utc)}, and nobody gets in from then on; have it renewed"
            )
        self._issuer = profiles.Issuer(self.chain[0], ca_key.load_for(key, self.chain, place.certificate))
        self._forks = key.survives_fork
        self.warnings += key.warnings

    def _load_record(self) -> Index:
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
                self.warnings.append(f"{path}: is not a certificate of this authority by its name; move it away")
                self._strange = True  # to be said by every run
                continue
            self._enter(certificate)
            entered.append(certificate)
        if entered:
            following = max(certificate.serial_number for certificate in entered) + 1
            current = numbers.read_number(self._layout.serial)
            if numbers.is_sequential(current) and numbers.is_sequential(following) and current < following:
                numbers.write_number(self._layout.serial, following)
            with self._audit.noting([certificate_event(audit.ENTERED, certificate) for certificate in entered]):
                self.record.save()

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
            return [numbers.random_serial() for _order in range(count)]
        serials: list[int] = []
        while len(serials) < count:
            if numbers.hexadecimal(current) not in self.record:
                serials.append(current)
            current += 1
        numbers.write_number(self._layout.serial, current)
        return serials

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
            if serial not in self.record:
                raise MtlsError(
                    f"serial {serial}: is not in {self._layout.index}; check it, or revoke by the certificate's file"
                )
            self.record.revoke(serial, now, reason)
            subject = self.record.get(serial).subject
            events.append({"did": audit.REVOKED, "serial": serial, "subject": subject, "reason": reason})
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
            entry = self.record.get(serial)
            check_on_hold(serial, entry)
            self.record.release(serial)
            events.append({"did": audit.RELEASED, "serial": serial, "subject": entry.subject})
        with self._audit.noting(events):
            self.record.save()
        self._encoded.clear()

    def crl_due(self, refresh_before: int, *, prune: bool = True) -> str | None:
        """Return why crl.pem must be written anew, or None."""
        own, now = self._crls.own, times.now()
        if own is None:
            return "there is none by this authority"
        state = revocation.state_of(own)
        if state.next_update <= times.in_days(now, refresh_before, self._layout.crl):
            return f"it ends on {times.iso(state.next_update)}"
        if state.last_update > now:
            return f"it begins only on {times.iso(state.last_update)}"
        if not self._lists_what_it_should(own, prune):
            return "it does not list what index.txt says is revoked"
        if self._crls.fresh:
            return "there is a new one of an authority above"
        return None

    def _lists_what_it_should(self, own: revocation.Crl, prune: bool) -> bool:
        if revocation.lists_exactly(own, self._revoked(None)):
            return True  # what can be pruned goes with the next CRL
        return prune and revocation.lists_exactly(own, self._revoked(revocation.prunes(revocation.state_of(own))))

    def write_crl(self, days: int, *, prune: bool = True) -> CrlState:
        """Sign a CRL of all that is revoked, check it as the hosts will, and put it in place."""
        self._require_writable()
        now = times.now()
        current, known = self.crl_state(), numbers.read_number(self._layout.crl_number)
        number = max(known, current.number + 1 if current else 0)
        numbers.check_crl_number(number, self._layout.crl_number)
        state = CrlState(number, self._crl_begin(now), times.in_days(now, days, self._layout.crl), 0)
        # The last CRL counts only as far as it went: there may have been none for long.
        cut = min(revocation.prunes(state), current.last_update) if prune and current else None
        revoked = self._revoked(cut)
        state = replace(state, entries=revoked.count)
        pem = revocation.build_crl(self._issuer, revoked, state)
        own_chain = self.chain[0].public_bytes(serialization.Encoding.PEM)
        revocation.check_shippable(pem, own_chain, now, self._layout.crl)
        numbers.write_number(self._layout.crl_number, number + 1)  # first: a number is skipped rather than used twice
        event = {"did": audit.CRL, "number": number, "until": times.iso(state.next_update), "entries": revoked.count}
        with self._audit.noting([event]):
            files.write_file(self._layout.crl, revocation.merge(pem, self._crls.others), 0o644)
        del self._crls
        return state

    def _crl_begin(self, now: datetime) -> datetime:
        return max(now - times.CLOCK_SKEW, self.chain[0].not_valid_before_utc)

    def _revoked(self, ended_by: datetime | None) -> revocation.Revoked:
        revocations = self.record.revocations(ended_by)
        count = sum(map(len, revocations.values()))  # the later the date, the fewer there are
        if count not in self._encoded:
            self._encoded[count] = revocation.encode_revoked(revocations)
        return self._encoded[count]


def certificate_event(did: str, certificate: x509.Certificate) -> audit.Event:
    """Return what audit.py notes of a certificate."""
    return {
        "did": did,
        "serial": numbers.hexadecimal(certificate.serial_number),
        "subject": subjects.index_subject(certificate.subject),
        "until": times.iso(certificate.not_valid_after_utc),
    }


def check_belongs(key: keys.PrivateKey, certificate: x509.Certificate, place: layout.Layout) -> None:
    """Raise MtlsError unless ``key`` is that of the authority's certificate."""
    if keys.public_der(key.public_key()) != keys.public_der(certificate.public_key()):
        raise MtlsError(
            f"{place.key}: is not the key of {place.certificate}; restore the two files that belong together"
        )


def check_on_hold(serial: str, entry: Entry | None) -> None:
    """Raise MtlsError unless a recorded certificate is on hold."""
    if entry is None or not entry.on_hold:
        revoked = entry is not None and entry.status == "revoked"
        said = f"is revoked for good (reason: {entry.reason or 'unspecified'})" if revoked else "is not on hold"
        raise MtlsError(f"serial {serial}: {said}, and only {HOLD} can be released; issue a new certificate")


@dataclass(frozen=True)
class _Crls:
    """Our CRL in crl.pem, and the newest of each CA above ours; ``fresh`` when one of these is not in crl.pem yet."""

    own: revocation.Crl | None
    others: tuple[revocation.Crl, ...]
    fresh: bool


def read_certificates(path: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM file; text between them, as openssl writes it, is skipped.

    :raises MtlsError: none, or a damaged one.
    """
    with open(path, "rb") as stream:
        data = stream.read()
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError as error:
        raise MtlsError(f"{path}: is damaged, or holds no certificate in PEM; restore it from a backup") from error


def read_chain(ca_path: str) -> bytes:
    """Return the CA bundle for the hosts in PEM, without the text that openssl puts beside it.

    :raises MtlsError: there is no authority, or its certificate is damaged.
    """
    path = layout.Layout(ca_path).certificate
    if not os.path.exists(path):
        raise MtlsError(f"{path}: is missing; run mtls.nginx.ca_init first")
    return chains.pem(read_certificates(path))


def crl_as_it_is(path: str) -> bytes | None:
    """Return a CRL file unchecked; None when there is none."""
    return files.read_if_there(path)


def read_crl(ca_path: str) -> bytes:
    """Return the CRLs for the hosts in PEM, checked as ``revocation.check_shippable`` describes.

    :raises MtlsError: there is none, or nginx must not be given it.
    """
    path = layout.Layout(ca_path).crl
    if not os.path.exists(path):
        raise MtlsError(f"{path}: is missing; run mtls.nginx.crl on the controller")
    with open(path, "rb") as stream:
        pem = stream.read()
    revocation.check_shippable(pem, read_chain(ca_path), times.now(), path)
    return pem
