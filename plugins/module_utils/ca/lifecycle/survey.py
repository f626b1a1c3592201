# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to take over of an authority made elsewhere: which CA, what it issued, what of that is revoked.

What is not known to be revoked counts as valid, since nginx lets it in; so everything that is not recorded is named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import (
    chains,
    crls,
    keys,
    numbers,
    profiles,
    subjects,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates, was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import findings, records, recovery
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import check_client_name, fold
from ansible_collections.mtls.nginx.plugins.module_utils.common.parallel import spread

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509.oid import NameOID
except ImportError:  # reported by entry.require_cryptography
    pass

_AT_ONCE = 250  # certificates whose signatures one process verifies
_BETWEEN_WORDS = 40  # times as many, until it is told how far it is
_SHOWN = 10  # items of a list in a warning
_REVOKED_FOLDER = "revoked"
# Where easy-rsa puts certificates that `easyrsa revoke` does not find any more, and that nginx still lets in.
_MOVED = {"renewed": "easyrsa renew", "expired": "easyrsa expire"}


@dataclass(frozen=True)
class WantedAdoption:
    """Which authority is to be taken over, and to where; ``certificate`` names its file where there are several.

    ``revoked_folders`` tells whether what is in a folder called revoked counts as revoked without a record that says
    so.
    """

    path: str
    sources: Sequence[str]
    certificate: str | None
    source_passphrase: str | None
    passphrase: str | None
    crl_days: int
    repair: bool = False
    revoked_folders: bool = True


@dataclass(frozen=True)
class AdoptedClient:
    """A client whose files are taken over: its newest certificate and, if it was found, its key."""

    name: str
    certificate: x509.Certificate
    key: keys.PrivateKey | None


@dataclass
class AdoptionPlan:
    """What there is to take over; ``not_taken`` says why not, by path.

    ``chain`` begins with the CA itself, reissued where that was wanted and needed: then ``former`` is what it was.
    ``unrecorded`` are the paths of certificates that no record and no CRL knows, and that are valid.
    """

    chain: list[x509.Certificate]
    key: keys.PrivateKey
    index: Index
    issued: dict[str, x509.Certificate]
    serial: int | None
    crl_number: int
    former: x509.Certificate | None = None
    clients: list[AdoptedClient] = field(default_factory=list)
    not_taken: dict[str, str] = field(default_factory=dict)
    unrecorded: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    changed: bool = True


class _Look(NamedTuple):
    """What is to be known of a certificate of the CA; another process may find it out.

    ``unreadable`` says why ``cryptography`` cannot tell more, ``trouble`` why it is no client's current one.
    ``named_serial`` is the serial by which it names its issuer, ``common_name`` its last CN, empty without one.
    """

    public_key: bytes
    unreadable: str | None
    trouble: str | None
    named_serial: int | None
    common_name: str

    @classmethod
    def at(cls, certificate: x509.Certificate, ca: x509.Certificate) -> _Look | None:
        """Return what there is; None where another CA has issued it."""
        if not was_issued_by(certificate, ca):
            return None
        unreadable = _unreadable(certificate)
        if unreadable is not None:
            return cls(_public_key(certificate), unreadable, unreadable, None, "")
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return cls(
            _public_key(certificate),
            None,
            _trouble(certificate),
            _named_serial(certificate),
            str(names[-1].value) if names else "",
        )


@dataclass(frozen=True)
class _Issued:
    """A certificate of the CA, where it was found, and what is known of it."""

    certificate: x509.Certificate
    paths: Sequence[str]
    look: _Look

    @cached_property
    def subject(self) -> str:
        """The subject in the format of index.txt."""
        return subjects.raw_index_subject(subjects.raw_names(self.certificate)[1])

    @cached_property
    def is_live(self) -> bool:
        """Whether it has not expired yet."""
        return self.certificate.not_valid_after_utc > times.now()


class _Subjects(Mapping[str, str]):
    """The subjects of certificates by serial, made when somebody asks: most are in the record as well."""

    def __init__(self, issued: Mapping[str, _Issued]) -> None:
        self._issued = issued

    def __getitem__(self, serial: str) -> str:
        return self._issued[serial].subject

    def __iter__(self) -> Iterator[str]:
        return iter(self._issued)

    def __len__(self) -> int:
        return len(self._issued)


class Survey:
    """Looks through the sources of one adoption."""

    def __init__(self, wanted: WantedAdoption, tell: findings.Tell = findings.silent) -> None:
        self._wanted = wanted
        self._tell = tell
        self._found = findings.search(wanted.sources, wanted.source_passphrase, tell)
        if wanted.source_passphrase:
            self._found.unlock(wanted.source_passphrase)
        self._not_taken = dict(self._found.skipped)
        self._warnings: list[str] = []

    def plan(self) -> AdoptionPlan:
        """Return what there is; raises MtlsError."""
        ca, path = self._authority()
        unreadable = _unreadable(ca)
        if unreadable is not None:
            raise MtlsError(f"{path}: {unreadable}; set up a new authority")
        profiles.check_not_pss(ca, path)
        key = self._found.keys[keys.public_der(ca.public_key())][0]
        former = None
        if self._wanted.repair and profiles.is_repairable(ca):
            former, ca = ca, profiles.repaired_ca_certificate(key, ca)
        profiles.check_ca(ca, path, times.now())
        issued = self._issued_by(ca)
        as_named = self._as_named(ca, key, path, issued)
        if as_named != ca:
            former, ca = former or ca, as_named
        bundle = self._chain(ca)
        chains.check(bundle, path, times.now())
        place = layout.Layout(self._wanted.path)
        record = records.gather(self._found.records, _Subjects(issued), place.index)
        self._not_taken.update(record.skipped)
        self._warnings += record.warnings
        unrecorded = self._enter(issued, record)
        own = self._honour_crls(bundle, record.index)
        crl_number = self._counter(record, path, of_crls=True)
        plan = AdoptionPlan(
            chain=bundle,
            key=key,
            index=record.index,
            issued={serial: each.certificate for serial, each in issued.items()},
            serial=self._next_serial(record, path),
            crl_number=max([crl_number or 1, *(crls.state_of(crl).number + 1 for crl in own)]),
            former=former,
        )
        plan.unrecorded = self._warn_of_unrecorded(unrecorded, issued, record)
        self._warn_of_moved(issued, record.index)
        self._warn_of_missing(former or ca, issued, record)
        plan.clients = self._clients(issued, record.index)
        self._report_keys(plan)
        plan.not_taken = dict(sorted(self._not_taken.items()))
        plan.warnings = self._warnings
        return plan

    # Which CA

    def _authority(self) -> tuple[x509.Certificate, str]:
        """Return the CA whose key is here, and where its certificate was."""
        if self._wanted.certificate is not None:
            candidates = [(read_certificates(self._wanted.certificate)[0], self._wanted.certificate)]
        else:
            found = [(each.certificate, each.paths[0]) for each in self._found.certificates.values()]
            candidates = [pair for pair in found if _is_ca(pair[0])]
            if not any(self._has_key(certificate) for certificate, _path in candidates):
                candidates += [pair for pair in found if _may_be_a_ca(pair[0])]
            if not candidates:  # it is refused, but not as one that is missing
                candidates = [pair for pair in found if was_issued_by(pair[0], pair[0]) and _unreadable(pair[0])]
        if not candidates:
            raise MtlsError(
                f"{', '.join(self._wanted.sources)}: there is no certificate of a CA here; name the folder it is in"
            )
        with_key = [pair for pair in candidates if self._has_key(pair[0])]
        if not with_key:
            for certificate, path in candidates:
                kind = keys.kind_of(certificate.public_key()) if _public_key(certificate) else "of an unknown kind"
                if not _public_key(certificate) or keys.key_type(certificate.public_key()) is None:
                    raise MtlsError(
                        f"{path}: its key is not an RSA, ECDSA or Ed25519 key, but {kind}, which is not supported; "
                        "set up a new authority"
                    )
            for each in self._found.locked:
                unsupported = keys.unsupported_cipher(each.pem)
                if unsupported is not None:
                    raise MtlsError(f"{each.path}: {unsupported}")
            locked = first_few([each.path for each in self._found.locked], 3)
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

    def _has_key(self, certificate: x509.Certificate) -> bool:
        return _public_key(certificate) in self._found.keys

    def _as_named(
        self, ca: x509.Certificate, key: keys.PrivateKey, path: str, issued: dict[str, _Issued]
    ) -> x509.Certificate:
        """Return the CA certificate with the serial number that most live certificates name their issuer by.

        OpenSSL takes no CA certificate with another one for them (RFC 5280, 4.2.1.1), and who renews a CA by hand
        gives it another one.
        """
        if ca.issuer != ca.subject:
            return ca
        naming: dict[int, list[str]] = {}
        for each in issued.values():
            serial = each.look.named_serial
            if serial is not None and each.is_live and numbers.is_allowed(serial):
                naming.setdefault(serial, []).append(each.paths[0])
        if not naming:
            return ca
        needed = max(naming, key=lambda serial: (len(naming[serial]), serial == ca.serial_number))
        others = [each for serial, paths in naming.items() if serial != needed for each in paths]
        if others:
            self._warnings.append(
                f"{path}: {len(others)} certificates name another serial number of their CA than most, so nginx "
                f"refuses them: {first_few(others, _SHOWN)}; have them reissued"
            )
        if needed == ca.serial_number:
            return ca
        self._warnings.append(
            f"{path}: is taken over with the serial number {numbers.hexadecimal(needed)}, because "
            f"{len(naming[needed])} live certificates name it, and nginx would refuse them otherwise"
        )
        validity = profiles.Validity(ca.not_valid_before_utc, ca.not_valid_after_utc)
        return profiles.renewed_ca_certificate(key, ca, needed, validity)

    def _chain(self, ca: x509.Certificate) -> list[x509.Certificate]:
        """Return the CA and those above it, as far as they are here."""
        found = [ca]
        while found[-1].issuer != found[-1].subject:
            every = (each.certificate for each in self._found.certificates.values())
            above = [each for each in every if _is_ca(each) and was_issued_by(found[-1], each)]
            if not above:
                break
            found.append(above[0])
        return found

    # What it issued, and what of that is revoked

    def _issued_by(self, ca: x509.Certificate) -> dict[str, _Issued]:
        issued: dict[str, _Issued] = {}
        own_key = keys.public_der(ca.public_key())
        for found, look in self._looks_at(list(self._found.certificates.values()), ca):
            certificate, path = found.certificate, found.paths[0]
            if look is None:
                if not _is_ca(certificate):
                    self._not_taken[path] = "was issued by another CA"
                continue
            if look.public_key == own_key:
                continue  # the CA itself
            serial = numbers.hexadecimal(certificate.serial_number)
            if serial in issued:
                self._not_taken[path] = f"has the serial number of {issued[serial].paths[0]}, {serial}"
            else:
                issued[serial] = _Issued(certificate, found.paths, look)
        return issued

    def _looks_at(
        self, every: Sequence[findings.FoundCertificate], ca: x509.Certificate
    ) -> Iterator[tuple[findings.FoundCertificate, _Look | None]]:
        """Yield each with what there is to know of it, found out by as many processes as there are cores."""
        parts = [every[start : start + _AT_ONCE] for start in range(0, len(every), _AT_ONCE)]
        for start in range(0, len(parts), _BETWEEN_WORDS):
            some = parts[start : start + _BETWEEN_WORDS]
            looks = spread(lambda part: [_Look.at(each.certificate, ca) for each in part], some)
            self._tell("certificates verified", min((start + len(some)) * _AT_ONCE, len(every)), len(every))
            yield from zip(chain.from_iterable(some), chain.from_iterable(looks))

    def _enter(self, issued: dict[str, _Issued], record: records.Record) -> list[str]:
        """Enter what has no line in the record and return these serials; what lies among the revoked is revoked."""
        index, unrecorded, revoked = record.index, [], []
        for serial, each in issued.items():
            if serial not in index:
                index.add(serial, each.certificate.not_valid_after_utc, each.subject)
                unrecorded.append(serial)
            below = [path for path in each.paths if self._is_in(_REVOKED_FOLDER, path)]
            if below and self._wanted.revoked_folders and index.is_valid(serial):
                index.revoke(serial, times.now(), "unspecified")
                revoked.append(below[0])
        if revoked:
            self._warnings.append(
                f"{len(revoked)} certificates are in a folder called {_REVOKED_FOLDER}, and no record has them as "
                f"revoked; they are revoked: {first_few(revoked, _SHOWN)} (with revoked_folders: false they are not)"
            )
        return unrecorded

    def _is_in(self, folder: str, path: str) -> bool:
        """Tell whether a file is in a folder of this name, in any case, from that of the source on."""
        if folder not in path.lower():
            return False
        for source in self._wanted.sources:
            top = source.rstrip("/")
            if path.startswith(f"{top}/"):
                below = os.path.dirname(path[len(os.path.dirname(top)) :])
                return folder in below.lower().split("/")
        return False

    def _honour_crls(self, bundle: Sequence[x509.Certificate], index: Index) -> list[crls.Crl]:
        """Revoke what the CA's own CRLs list, and return them; say of others why they are not used."""
        own = []
        for crl, path in self._found.crls:
            fault = None
            try:
                if crls.was_signed_by(crl, bundle[0]):
                    recovery.honour(crl, index, bundle[0])
                    own.append(crl)
                elif any(crls.was_signed_by(crl, above) for above in bundle[1:]):
                    fault = "is the CRL of a CA above; name it in mtls_ca_parent_crl"
                else:
                    fault = "has a CRL that this CA did not sign"
            except (ValueError, UnsupportedAlgorithm) as error:
                fault = f"has a CRL that cannot be read ({str(error)[:80]})"
            if fault is not None and path in self._wanted.sources and not fault.startswith("is"):
                raise MtlsError(f"{path}: {fault}; correct it, or leave it out of source")
            if fault is not None:
                self._not_taken[path] = fault
        return own

    def _warn_of_unrecorded(
        self, serials: Iterable[str], issued: dict[str, _Issued], record: records.Record
    ) -> list[str]:
        """Return where those certificates are that count as valid because nothing says that they are not."""
        valid = [serial for serial in serials if record.index.is_valid(serial)]
        live = [issued[serial].paths[0] for serial in valid if issued[serial].is_live]
        if live and record.path is None:
            self._warnings.append(
                f"{', '.join(self._wanted.sources)}: has no record (index.txt), so these {len(live)} certificates, "
                f"which no CRL lists, count as valid: {first_few(live, _SHOWN)}"
            )
        elif live:
            self._warnings.append(
                f"{record.path}: does not list these {len(live)} certificates, so they count as valid: "
                f"{first_few(live, _SHOWN)}; revoke those that are not"
            )
        return [issued[serial].paths[0] for serial in valid]

    def _warn_of_moved(self, issued: dict[str, _Issued], index: Index) -> None:
        for folder, command in _MOVED.items():
            moved = []
            for serial, each in issued.items():
                inside = [path for path in each.paths if self._is_in(folder, path)]
                if inside and each.is_live and index.is_valid(serial):
                    moved.append(inside[0])
            if moved:
                self._warnings.append(
                    f"{len(moved)} certificates were moved to {folder} by `{command}` and are still valid, since "
                    f"`easyrsa revoke` does not touch them: {first_few(moved, _SHOWN)}; revoking a client by its name "
                    "revokes them too"
                )

    def _warn_of_missing(self, ca: x509.Certificate, issued: dict[str, _Issued], record: records.Record) -> None:
        own = numbers.hexadecimal(ca.serial_number)  # which CA.pl records too
        every = record.index.live(times.now(), besides={own, *issued})
        live = [f"{serial} {subject}" for serial, subject in every]
        if live:
            self._warnings.append(
                f"{record.path}: lists {len(live)} certificates whose files are not among the sources: "
                f"{first_few(live, _SHOWN)}; they stay valid, and a client that is present is issued a new one"
            )

    # How it goes on counting

    def _next_serial(self, record: records.Record, ca_path: str) -> int | None:
        """Return the next serial; a random one where nothing tells which were used; None to count on by the record."""
        counted = self._counter(record, ca_path, of_crls=False)
        if counted is None:
            return None if record.path is not None and len(record.index) else numbers.random_serial()
        largest = max((int(serial, 16) for serial in record.index), default=0)
        return max(counted, largest + 1) if numbers.is_sequential(max(counted, largest)) else counted

    def _counter(self, record: records.Record, ca_path: str, *, of_crls: bool) -> int | None:
        """Return the largest number in the counters beside the record, or beside the CA certificate, if there are."""
        counters = [path for path in self._found.counters if bool(re.search("crl", _stem(path))) is of_crls]
        for folder in filter(None, (record.path and os.path.dirname(record.path), os.path.dirname(ca_path))):
            beside = [path for path in counters if os.path.dirname(path) == folder or path in self._wanted.sources]
            if beside:
                return max(map(numbers.read_number, beside))
        return None

    # Who has what

    def _clients(self, issued: dict[str, _Issued], index: Index) -> list[AdoptedClient]:
        """Return the newest certificate of each client that can have a folder, best with its key."""
        best: dict[str, tuple[tuple[bool, bool, object], _Issued]] = {}
        spelled: dict[str, str] = {}
        for serial, each in issued.items():
            certificate = each.certificate
            name = each.look.common_name
            trouble = each.look.trouble or (None if index.is_valid(serial) else "is revoked") or _name_trouble(name)
            if trouble is None and spelled.setdefault(fold(name), name) != name:
                trouble = f"its name differs only in case from {spelled[fold(name)]!r}"
            if trouble is not None:
                self._not_taken[each.paths[0]] = f"{trouble}: it is in the record, but no client's folder"
                continue
            rank = (each.is_live, each.look.public_key in self._found.keys, certificate.not_valid_before_utc)
            if name not in best or best[name][0] < rank:
                best[name] = rank, each
        return [
            AdoptedClient(name, each.certificate, self._found.keys.get(each.look.public_key, (None, ""))[0])
            for name, (_rank, each) in sorted(best.items())
        ]

    def _report_keys(self, plan: AdoptionPlan) -> None:
        """Say of each private key that is not taken over why."""
        for locked in self._found.locked:
            unsupported = keys.unsupported_cipher(locked.pem)
            self._not_taken[locked.path] = unsupported or (
                "the key is encrypted; decrypt it to have it taken over, or leave it"
            )
        taken = {keys.public_der(plan.key.public_key())}
        taken.update(keys.public_der(client.key.public_key()) for client in plan.clients if client.key is not None)
        for public, (_key, path) in self._found.keys.items():
            if public not in taken:
                self._not_taken.setdefault(path, "the key is of no client that gets a folder")


def _unreadable(certificate: x509.Certificate) -> str | None:
    """Return why ``cryptography`` cannot read a part of a certificate, or None; nginx may well take it."""
    try:
        _parts = certificate.subject, certificate.extensions, certificate.public_key()
    except (*profiles.UNREADABLE, UnsupportedAlgorithm) as error:
        return f"cannot be read whole ({str(error)[:80]})"
    return None


def _public_key(certificate: x509.Certificate) -> bytes:
    """Return the public key in DER; nothing for one that cannot be read."""
    try:
        return keys.public_der(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _named_serial(certificate: x509.Certificate) -> int | None:
    try:
        named = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None
    return named.authority_cert_serial_number


def _stem(path: str) -> str:
    return os.path.basename(path).lower()


def _trouble(certificate: x509.Certificate) -> str | None:
    """Return why a certificate is no client's, or None."""
    if _is_ca(certificate):
        return "is the certificate of a CA"
    if not profiles.is_for(certificate, profiles.CLIENT):
        if profiles.is_for(certificate, profiles.SERVER):
            return "is a server's certificate"
        return "has no clientAuth in its extendedKeyUsage, without which nginx refuses it"
    if profiles.has_pss_key(certificate):
        return "has an RSA-PSS key, which browsers do not use"
    return None


def _name_trouble(name: str) -> str | None:
    try:
        check_client_name(name)
    except MtlsError as error:
        return str(error)
    return None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, *profiles.UNREADABLE):
        return False


def _may_be_a_ca(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate says of itself neither that it is a CA's nor that it is none: guides make such CAs."""
    try:
        certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return was_issued_by(certificate, certificate)
    except profiles.UNREADABLE:
        return False
    return False
