# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority in a directory of ``openssl ca``: what the protocol of authority.py means there.

Order of writes, so that a process killed anywhere leaves no serial used twice and no certificate missing from
the index: the next serial, the certificates in newcerts, the index. Certificates that were written but not
entered any more are entered when the directory is opened the next time.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from ansible_collections.mtls.nginx.plugins.module_utils import files
from ansible_collections.mtls.nginx.plugins.module_utils.ca import (
    audit,
    keys,
    layout,
    numbers,
    profiles,
    revocation,
    subjects,
    times,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import HOLD, CrlState, Entry, Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.parallel import spread
from ansible_collections.mtls.nginx.plugins.module_utils.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass

PASSPHRASE_REMEDY = "set mtls_ca_passphrase (the option ca_passphrase, or passphrase of mtls.nginx.ca_init)"
_BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_SEARCHED_AT_ONCE = 1000  # certificates


@dataclass(frozen=True)
class _Signed:
    """What a signing process hands back."""

    certificate: bytes
    subject: str


@contextlib.contextmanager
def open_directory(path: str, passphrase: str | None, *, read_only: bool) -> Iterator[DirectoryAuthority]:
    """Open the authority in ``path``: locked and put in order, or ``read_only`` without touching anything.

    :raises MtlsError: no authority there, or one that must not be used as it is.
    """
    layout.check_path(path)
    place = layout.Layout(path)
    if not os.path.exists(place.certificate):
        raise MtlsError(f"{path}: there is no authority (ca.crt is missing); run mtls.nginx.ca_init first")
    with contextlib.nullcontext() if read_only else files.lock(place.lock):
        absent = [name for name in layout.missing(place) if name in layout.ESSENTIAL]
        if absent:
            layout.check_not_lost(place)
            raise MtlsError(f"{path}: lacks {', '.join(absent)}; run mtls.nginx.ca_init, which adds what is missing")
        authority = DirectoryAuthority(place, passphrase, read_only=read_only)
        if not read_only:
            authority.recover()
        yield authority


class DirectoryAuthority:
    """Implements authority.Authority; to be had from ``open_directory``."""

    def __init__(self, place: layout.Layout, passphrase: str | None, *, read_only: bool) -> None:
        self.path = place.path
        self.warnings: list[str] = []
        self.chain = read_certificates(place.certificate)
        self._layout = place
        self._audit = audit.AuditLog(place.path)
        self._read_only = read_only
        profiles.check_ca(self.chain[0], place.certificate, times.now())
        self._issuer = self._load_issuer(passphrase)
        self.record = Index.load(place.index)

    def _load_issuer(self, passphrase: str | None) -> profiles.Issuer:
        path = self._layout.key
        if not os.path.exists(path):
            raise MtlsError(f"{path}: is missing, and nothing can be signed without it; restore it from a backup")
        encrypted = keys.is_encrypted_file(path)
        if encrypted and not passphrase:
            raise MtlsError(f"{path}: the key is encrypted and no passphrase was given; {PASSPHRASE_REMEDY}")
        key = keys.load_key(path, passphrase, validate=False)
        check_belongs(key, self.chain[0], self._layout)
        if passphrase and not encrypted:
            self.warnings.append(
                f"{path}: is stored in clear although a passphrase is set; mtls.nginx.ca_init (site.yml runs it) "
                "encrypts it"
            )
        if keys.readable_by_others(os.stat(path)):
            self.warnings.append(f"{path}: can be read by others; run `chmod 600` on it")
        return profiles.Issuer(self.chain[0], key)

    def recover(self) -> None:
        """Clear up after earlier runs that were killed: enter certificates that were written but not entered.

        What they left half written goes, wherever it is: it may hold a private key.
        """
        for directory in (self.path, self._layout.issued, *self._layout.holders()):
            files.remove_unfinished(directory)
        self._audit.recover(self._happened)
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

    def issued(self, certificate: x509.Certificate) -> bool:
        """Tell whether this authority signed ``certificate``."""
        return was_issued_by(certificate, self.chain[0])

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

    def issue(self, orders: Sequence[Order]) -> list[x509.Certificate]:
        """Sign all ``orders`` in as many processes as there are cores, and enter them."""
        if not orders:
            return []
        self._require_writable()
        layout.allow_renewals(self._layout)
        signed = spread(self._sign, list(zip(orders, self._reserve_serials(len(orders)))))
        files.sync_directory(self._layout.issued)
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

    def _sign(self, task: tuple[Order, int]) -> _Signed:
        order, serial = task
        certificate = profiles.leaf_certificate(self._issuer, order, serial)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        path = self._layout.issued_certificate(numbers.hexadecimal(serial))
        files.create_file(path, pem, 0o644, sync_parent=False)
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
        self.__dict__.pop("_revoked", None)

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
        self.__dict__.pop("_revoked", None)

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
        try:
            with open(self._layout.crl, "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def crl_state(self) -> CrlState | None:
        """Return what our CRL in crl.pem says."""
        own = self._crls.own
        return revocation.state_of(own) if own is not None else None

    def crl_due(self, refresh_before: int) -> str | None:
        """Return why crl.pem must be written anew, or None."""
        own, now = self._crls.own, times.now()
        if own is None:
            return "there is none by this authority"
        state = revocation.state_of(own)
        if state.next_update <= times.in_days(now, refresh_before, self._layout.crl):
            return f"it ends on {times.iso(state.next_update)}"
        if state.last_update > now:
            return f"it begins only on {times.iso(state.last_update)}"
        if not revocation.lists_exactly(own, self._revoked):
            return "it does not list what index.txt says is revoked"
        return None

    def write_crl(self, days: int) -> CrlState:
        """Sign a CRL of all that is revoked, check it as the hosts will, and put it in place."""
        self._require_writable()
        now = times.now()
        current, known = self.crl_state(), numbers.read_number(self._layout.crl_number)
        number = max(known, current.number + 1 if current else 0)
        numbers.check_crl_number(number, self._layout.crl_number)
        revoked = self._revoked
        state = CrlState(number, self._crl_begin(now), times.in_days(now, days, self._layout.crl), revoked.count)
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

    @cached_property
    def _revoked(self) -> revocation.Revoked:
        return revocation.encode_revoked(self.record.revocations())

    @cached_property
    def _crls(self) -> _Crls:
        pem = self.crl()
        try:
            crls = revocation.parse_crls(pem, self._layout.crl) if pem is not None else []
        except MtlsError as error:
            self.warnings.append(f"{error} (a new one takes its place)")
            crls = []
        own = [crl for crl in crls if revocation.is_by(crl, self.chain[0])]
        above = [crl for crl in crls if any(revocation.is_by(crl, ca) for ca in self.chain[1:])]
        return _Crls(own[0] if own else None, tuple(above))

    def _require_writable(self) -> None:
        if self._read_only:
            raise RuntimeError("an authority opened read-only was asked to change something")


def certificate_event(did: str, certificate: x509.Certificate) -> audit.Event:
    """Return what audit.py notes of a certificate."""
    return {
        "did": did,
        "serial": numbers.hexadecimal(certificate.serial_number),
        "subject": subjects.index_subject(certificate.subject),
        "until": times.iso(certificate.not_valid_after_utc),
    }


class PublishedDirectory:
    """Implements authority.Published."""

    def __init__(self, path: str) -> None:
        self._path = path

    @cached_property
    def record(self) -> Index:
        """The index as it was when it was first asked for."""
        return Index.load(layout.Layout(self._path).index)

    def chain(self) -> bytes:
        """Return ca.crt."""
        return read_chain(self._path)

    def crl(self) -> bytes:
        """Return crl.pem."""
        return read_crl(self._path)


@dataclass(frozen=True)
class _Crls:
    """The CRLs in crl.pem: ours, and those of the CAs above ours."""

    own: x509.CertificateRevocationList | None
    others: tuple[x509.CertificateRevocationList, ...]


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


def was_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether ``issuer`` signed ``certificate``."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # InvalidSignature, or an algorithm that the issuer's key cannot have used
        return False
    return True


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
    return b"".join(ca.public_bytes(serialization.Encoding.PEM) for ca in read_certificates(path))


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
