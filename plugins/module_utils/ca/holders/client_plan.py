# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done for each client: read, compare, decide; nothing is changed here.

Every mistake in the inventory is found while planning, so a run with one changes nothing; planning is also all that
check mode does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import HOLD, Authority, CertificateMissing
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, name_constraints, numbers, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import index_subject, nginx_dn, subject_name
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import client_files, issuing, p12
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client, check_clients
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client_files import (
    IN_FILE,
    IN_P12,
    SEALED,
    Examined,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.mobileconfig import ProfileMaker
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.ownership import (
    LIVE,
    ON_HOLD,
    Ownership,
    cannot_be_revoked,
    certificates_on_file,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import permissions
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import SERVERS, Register, RegisterEntry
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few
from ansible_collections.mtls.nginx.plugins.module_utils.common.parallel import spread

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass

UNCHANGED, ISSUED, RENEWED, UPDATED = "unchanged", "issued", "renewed", "updated"
REVOKED, RELEASED = "revoked", "released"
_SECRET = frozenset({"key", "p12", "password", "mobileconfig", "pem"})  # kinds of files
_LOOKED_AT = 1000  # clients whose files a process looks at before it takes more: of fewer than 4,000 one sees to all
# Part of each definition, so that files are opened again when more is asked of them than when they were opened last.
_EXAMINED_FOR = "weakness"


class ClientStep(NamedTuple):
    """What is to be done for one client.

    With a ``subject`` a certificate is issued. ``entry`` is the certificate of today, with the stamps of the files
    as they are.
    """

    client: Client
    action: str
    because: str
    entry: RegisterEntry | None = None
    definition: str = ""
    known: bool = False  # nothing is to be done, and the register has the entry as it is
    subject: x509.Name | None = None
    validity: profiles.Validity | None = None
    rewrite: bool = False  # something of certificate file, key, .p12 and profile is to be written again, or to go
    key_in_p12: bool = False  # the private key is only there
    restore: str | None = None  # from this issued certificate
    enter: tuple[str, ...] = ()  # these files' certificates, which are not in the record yet
    revoke: tuple[str, ...] = ()  # these serials
    release: tuple[str, ...] = ()  # these serials, which are on hold
    retired_key: str | None = None  # the key was that of this serial, and is not used any more
    superseded: str | None = None  # this serial stays valid with a subject that is given up

    def order(self, pair: issuing.KeyPair) -> Order:
        """Return what is asked of the authority."""
        if self.subject is None or self.validity is None:
            raise RuntimeError("a client that needs no certificate was to be issued one")
        return Order(
            pair.public,
            self.subject,
            profiles.CLIENT,
            self.validity,
            private_key=pair.private,
            csr=pair.csr,
            act=self.action,
        )


class Planner:
    """Judges the clients of one authority by the register, the record and, where these do not suffice, the files.

    The serials ``revoking`` are revoked, or on hold, by themselves, or will be in this run: they are not released, and
    a present client gets another certificate.
    """

    def __init__(
        self, authority: Authority, register: Register, maker: ProfileMaker, revoking: Collection[str] = ()
    ) -> None:
        self.warnings: list[str] = []
        self._authority = authority
        self._maker = maker
        self._chain = authority.chain
        self._register = register
        self._now = times.now()
        self._ownership = Ownership(authority.record, register, Register.load(authority.path, SERVERS), self._now)
        self._limits: dict[int, str] = {}  # by renew_before: what expires until then is due
        self._definitions: dict[tuple[object, ...], str] = {}  # by all but the name: most clients are defined alike
        self._exposed: list[str] = []
        self._keyless: list[str] = []  # clients whose private keys are not here
        self._missing: list[str] = []  # serials in the record that have no certificate file
        self._waiting: list[str] = []  # those of them that another controller has to see to
        self._revoking = revoking
        self._ownership.count_as_revoked(revoking)

    def plan(self, clients: Sequence[Client]) -> list[ClientStep]:
        """Return one step for each client, in order.

        :raises MtlsError: a mistake in the inventory or in a client's files.
        """
        check_clients(clients)
        steps: dict[str, ClientStep] = {}
        unclear = []
        touched = self._touched(clients)
        for client in clients:
            step = self._at_a_glance(client) if client.name not in touched else None
            if step is None:
                unclear.append(client)
            else:
                steps[client.name] = step
        examined = spread(self._examine, unclear)
        for client, found in zip(unclear, examined):
            steps[client.name] = self._judge_revoked(client, found) if client.revoked else self._judge(client, found)
        ordered = [steps[client.name] for client in clients]
        self._check_dns(ordered)
        self._warn_of_keys()
        self._warn_of_passwords(clients)
        return ordered

    def _warn_of_passwords(self, clients: Iterable[Client]) -> None:
        short = [
            client.name
            for client in clients
            if client.p12_password and len(client.p12_password) < keys.SHORT_PASSPHRASE and client.has_p12
        ]
        if short:
            self.warnings.append(
                f"{first_few(short)}: a p12_password of fewer than {keys.SHORT_PASSPHRASE} characters, so whoever "
                "gets hold of the .p12 can guess it by brute force; set a longer one, or leave it out to have one "
                "generated"
            )

    def _warn_of_keys(self) -> None:
        if self._exposed:
            exposed = first_few(dict.fromkeys(self._exposed))
            self.warnings.append(
                f"{exposed}: private keys, or passwords for them, that others can read; run "
                f"`{permissions.remedy(self._authority.path)}`, and revoke them if somebody has read them"
            )
        if self._missing:
            self.warnings.append(
                f"{self._authority.path}: the certificates {first_few(dict.fromkeys(self._missing))} have no file in "
                "newcerts, so their clients get new ones; the old ones stay valid until they expire or are revoked"
            )
        if self._keyless:
            remedy = "revoke a client and have it present again to give it a new key"
            if self._authority.shared:
                remedy = f"they are with the controller that asked for them, or {remedy}"
            self.warnings.append(
                f"{len(self._keyless)} clients have a certificate whose private key is not here, so there is no .p12: "
                f"{first_few(self._keyless)}; {remedy}"
            )
        if self._waiting:
            self.warnings.append(
                f"{len(self._waiting)} clients are due for another certificate: {first_few(self._waiting)}; run this "
                "on the controller that has their private keys"
            )

    def _examine(self, client: Client) -> Examined:
        remembered = self._register.remembered(client.name)
        return client_files.examine(client, self._place(client), self._maker, remembered)

    def _at_a_glance(self, client: Client) -> ClientStep | None:
        """Return a step when register and index already tell that nothing is to do, if the files are untouched."""
        entry = self._register.remembered(client.name)
        if entry is None and client.revoked and files.status(self._place(client).directory) is None:
            return (
                None if self._live_serials(client, None) else ClientStep(client, UNCHANGED, "never had a certificate")
            )
        if entry is None or entry.definition != self._definition(client):
            return None
        if client.revoked:
            recorded = all(serial in self._authority.record for serial in (entry.serial, *entry.former))
            return (
                ClientStep(client, UNCHANGED, "is revoked", entry, known=True)
                if recorded and not self._live_serials(client, entry)
                else None
            )
        if not self._authority.record.is_valid(entry.serial) or entry.serial in self._revoking:
            return None
        if self._ends_soon(client, entry):
            return None
        if self._authority.shared and client.csr is None and "key" not in entry.files:
            self._keyless.append(client.name)
        return ClientStep(client, UNCHANGED, "", entry, known=True)

    def _touched(self, clients: Sequence[Client]) -> set[str]:
        """Return whose files are not all as they were written down; note the secret ones that others can read."""
        touched: set[str] = set()
        pieces = [clients[start : start + _LOOKED_AT] for start in range(0, len(clients), _LOOKED_AT)]
        for names, exposed in spread(self._look_at_files, pieces):
            touched.update(names)
            self._exposed += exposed
        return touched

    def _look_at_files(self, clients: Sequence[Client]) -> tuple[list[str], list[str]]:
        """Return whose files are not all as they were written down, and the secret files that others can read.

        Each file of each client is asked for in each run, so nothing is called here that need not be.
        """
        touched, exposed = [], []
        for client in clients:
            stamps = self._register.stamps(client.name)
            if stamps is None:
                continue
            for kind, path in client_files.stamped_paths(client, self._place(client)).items():
                stamp = stamps.get(kind)
                try:
                    status = os.stat(path)
                except OSError:
                    if stamp is None:
                        continue
                    touched.append(client.name)
                    break
                if stamp is None or status.st_mtime_ns != stamp[1] or status.st_size != stamp[0]:
                    touched.append(client.name)
                    break
                if status.st_mode & permissions.OTHERS and kind in _SECRET:
                    exposed.append(path)
        return touched, exposed

    def _judge(self, client: Client, found: Examined) -> ClientStep:
        release = self._to_release(client, found)
        self._ownership.count_as_released(release)
        step = self._judge_present(client, found)
        if not release:
            return step
        action = RELEASED if step.action in (UNCHANGED, UPDATED) else step.action
        because = "; ".join(filter(None, ("was on hold", step.because)))
        return step._replace(action=action, because=because, release=release)

    def _to_release(self, client: Client, found: Examined) -> tuple[str, ...]:
        """Return what was put on hold together with a client's certificate, unless that one has no key any more."""
        entry = found.entry
        keyless = client.csr is None and found.public_key is None
        if entry is None or not found.matches or keyless or not self._ownership.is_on_hold(entry.serial):
            return ()
        if entry.serial in self._revoking:
            return ()
        serials = self._serials_of(client, entry)
        return tuple(s for s in serials if self._ownership.is_on_hold(s) and s not in self._revoking)

    def _judge_present(self, client: Client, found: Examined) -> ClientStep:
        entry = found.entry
        current = found.parsed()
        subject = subject_name(client.subject, client.owner) if client.subject is not None else None
        keyless = client.csr is None and found.public_key is None
        for kind, path in client_files.stamped_paths(client, self._place(client)).items():
            if kind in _SECRET and permissions.is_exposed(files.status(path)):
                self._exposed.append(path)
        lost = keyless and found.key_at != SEALED and self._remembers(client, "key", "csr", "p12")
        if self._authority.shared and client.csr is None and not lost:
            step = self._follow(client, found, subject or (current.subject if current else self._plain_subject(client)))
            if step is not None:
                return step
        usable = entry is not None and found.matches and not lost and not self._ownership.is_revoked(entry.serial)
        if not usable and not lost:
            wanted = subject or (current.subject if current else self._plain_subject(client))
            restorable = self._restorable(client, found, wanted)
            if restorable is not None:
                current, entry, usable = restorable, None, True
        if current is not None and usable:
            if subject is not None and current.subject != subject:
                return self._issue(client, found, subject, f"the subject was {nginx_dn(current.subject)}")
            because = self._why_renew(client, current)
            if because is not None:
                renewed = self._restorable(client, found, current.subject) if found.public_key is not None else None
                if renewed is not None and self._why_renew(client, renewed) is None:
                    return self._touch_up(client, found, None, renewed)
                action = ISSUED if found.key_is_weak else RENEWED
                return self._issue(client, found, current.subject, because, action)
            return self._touch_up(client, found, entry, current)
        wanted = subject or (current.subject if current else self._plain_subject(client))
        return self._issue(client, found, wanted, self._why_new(client, found, lost), ISSUED)

    def _why_renew(self, client: Client, certificate: x509.Certificate) -> str | None:
        """Return why a certificate must be followed by another one, or None."""
        weakness = profiles.weakness(certificate)
        if weakness is not None:
            return f"the certificate {weakness}, which nginx refuses"
        if certificate.not_valid_after_utc <= self._soon(client):
            return f"the certificate expires on {times.iso(certificate.not_valid_after_utc)}"
        return None

    def _touch_up(
        self, client: Client, found: Examined, entry: RegisterEntry | None, current: x509.Certificate
    ) -> ClientStep:
        because, restore, rewrite = [], None, False
        enter: tuple[str, ...] = ()
        if entry is None:
            restore = numbers.hexadecimal(current.serial_number)
            because.append(f"the file of certificate {restore} was missing")
        elif entry.serial not in self._authority.record:
            enter = (self._place(client).certificate,)
            because.append("the certificate was not in index.txt")
        if client.has_p12 and found.public_key is not None and not found.p12_good:
            rewrite = True
            because.append("the .p12 was missing or not as wanted")
        elif client.has_profile and found.key_at is not None and not found.profile_good:
            rewrite = True
            because.append("the .mobileconfig was missing or not as wanted")
        if client.p12 == p12.NONE and self._remembers(client, "p12"):
            rewrite = True
            because.append("no .p12 is wanted any more")
        if not client.has_profile and self._remembers(client, "mobileconfig"):
            rewrite = True
            because.append("no .mobileconfig is wanted any more")
        if client.has_pem and found.public_key is not None and not found.pem_good:
            rewrite = True
            because.append("the .pem was missing or not as wanted")
        if not client.has_pem and self._remembers(client, "pem"):
            rewrite = True
            because.append("no .pem is wanted any more")
        if found.key_at == IN_FILE and not client.keeps_key_file:
            rewrite = True
            because.append("the key is to be in the .p12 only")
        if found.key_at == IN_P12 and client.keeps_key_file:
            rewrite = True
            because.append("the key was in the .p12 only")
        if client.csr is None and found.public_key is None and found.key_at != SEALED:
            self._keyless.append(client.name)
        return ClientStep(
            client,
            UPDATED if because else UNCHANGED,
            "; ".join(because),
            entry,
            self._definition(client),
            rewrite=rewrite or restore is not None,
            key_in_p12=found.key_at == IN_P12,
            restore=restore,
            enter=enter,
        )

    def _follow(self, client: Client, found: Examined, subject: x509.Name) -> ClientStep | None:
        """Judge a client whose private key another controller has, which is the one to renew: take over what it did.

        Return None when the key is here, or when nobody has a live certificate for the client: then it gets one here.
        """
        retired = self._retired_key(client, found, subject)
        if found.public_key is not None and (retired is None or found.key_is_weak):
            return None
        found = replace(found, public_key=None)
        entry = found.entry if found.entry is not None and self._ownership.is_live(found.entry.serial) else None
        current = found.parsed() if entry is not None else None
        newest = self._restorable(client, found, subject)
        if newest is not None and (
            current is None or current.subject != subject or newest.not_valid_after_utc > current.not_valid_after_utc
        ):
            superseded = None
            if entry is not None and current is not None and current.subject != subject:
                superseded = entry.serial
            step = self._touch_up(client, found, None, newest)
            return step._replace(retired_key=retired, superseded=superseded)
        if current is None:
            return None
        step = self._touch_up(client, found, entry, current)
        if current.subject != subject or self._why_renew(client, current) is not None:
            self._waiting.append(client.name)
            return step._replace(definition="")  # so that the next run looks again
        return step

    def _issue(
        self, client: Client, found: Examined, subject: x509.Name, because: str, action: str = ISSUED
    ) -> ClientStep:
        if client.renew_before >= client.days:
            raise MtlsError(
                f"{client.owner}: renew_before is {client.renew_before} and days is {client.days}, so every run would "
                "issue a certificate; make renew_before less than days"
            )
        if subject == self._chain[0].subject:
            raise MtlsError(f"{client.owner}: its subject is the authority's own; give it another one")
        validity = profiles.validity(client.days, self._now, self._chain[0], client.owner)
        name_constraints.check(self._chain, subject, profiles.mail_names(subject), client.owner)
        retired = self._retired_key(client, found, subject)
        if retired is not None and client.csr is not None:
            raise MtlsError(
                f"{client.owner}: the key of CSR {client.csr} is that of the revoked certificate {retired}; "
                "make a new key and CSR on the device"
            )
        entry, superseded = found.entry, None
        if entry is not None and index_subject(subject) != entry.subject and self._ownership.is_live(entry.serial):
            superseded = entry.serial
        if entry is not None and self._ownership.is_live(entry.serial):
            because += f"; certificate {entry.serial} stays valid until it expires on {entry.not_after}"
        return ClientStep(
            client,
            action,
            because,
            entry,
            self._definition(client),
            subject=subject,
            validity=validity,
            key_in_p12=found.key_at == IN_P12 and retired is None,
            retired_key=retired,
            superseded=superseded,
        )

    def _judge_revoked(self, client: Client, found: Examined) -> ClientStep:
        entry = found.entry
        unrecorded = self._unrecorded(client)
        serials = (*self._live_serials(client, entry), *unrecorded)
        lost = self._lost(client, entry)
        if lost is not None:
            self.warnings.append(cannot_be_revoked(client.owner, [lost]))
        if not serials:
            because = "is revoked" if entry else "has nothing to revoke" if lost else "never had a certificate"
            return ClientStep(client, UNCHANGED, because, entry, self._definition(client))
        because = f"reason: {client.reason}"
        enter = tuple(unrecorded.values())
        return ClientStep(client, REVOKED, because, entry, self._definition(client), enter=enter, revoke=serials)

    def _unrecorded(self, client: Client) -> dict[str, str]:
        """Return a client's certificates that are on file only, as an old index.txt leaves them: path by serial."""
        on_file = certificates_on_file(self._place(client), self._chain[:1])
        return {
            serial: path for serial, (path, _certificate) in on_file.items() if serial not in self._authority.record
        }

    def _lost(self, client: Client, entry: RegisterEntry | None) -> str | None:
        """Return the serial of a certificate that only the register knows, if it has not expired."""
        remembered = self._register.remembered(client.name)
        if entry is not None or remembered is None or remembered.serial in self._authority.record:
            return None
        return remembered.serial if remembered.not_after > times.iso(self._now) else None

    def _live_serials(self, client: Client, entry: RegisterEntry | None) -> tuple[str, ...]:
        """Return every serial to be revoked with a client; those on hold too, when it is for good."""
        states = (LIVE,) if client.reason == HOLD else (LIVE, ON_HOLD)
        return tuple(s for s in self._serials_of(client, entry) if self._ownership.state(s) in states)

    def _serials_of(self, client: Client, entry: RegisterEntry | None) -> list[str]:
        """Return the serials of a client: its certificates on file, and all with their subjects."""
        subject = index_subject(self._subject_of(client))
        if entry is None:
            return self._ownership.serials_of(client.name, [subject])
        return self._ownership.serials_of(client.name, [subject, entry.subject], (*entry.former, entry.serial))

    def _restorable(self, client: Client, found: Examined, subject: x509.Name) -> x509.Certificate | None:
        """Return a live certificate in the record that is this client's, though its file is not where it should be.

        A killed run leaves one, and so does ``openssl ca`` by hand.
        """
        record, wanted = self._authority.record, index_subject(subject)
        for serial in reversed(record.namesakes(wanted)):
            entry = record.get(serial)
            if entry is None or entry.subject != wanted or not self._ownership.is_live(serial):
                continue
            on_file = found.entry is not None and found.entry.serial == serial
            if on_file or not self._ownership.may_be_of(client.name, serial):
                continue
            try:
                certificate = self._authority.certificate(serial)
                usable = profiles.is_for(certificate, profiles.CLIENT) and profiles.weakness(certificate) is None
            except CertificateMissing:
                self._missing.append(serial)
                continue
            except profiles.UNREADABLE:  # one that `cryptography` cannot read, which was taken over
                continue
            if not usable:
                continue
            if found.public_key in (None, keys.public_der(certificate.public_key())):
                return certificate
        return None

    def _retired_key(self, client: Client, found: Examined, subject: x509.Name) -> str | None:
        """Return the serial of a certificate whose key is here and must not be used again: it was revoked.

        A key that cannot be had out of its .p12 is given up with the certificate it was for, and so is a weak one.
        """
        if found.key_at == SEALED:
            remembered = found.entry or self._register.remembered(client.name)
            return remembered.serial if remembered is not None else None
        if found.public_key is None:
            return None
        if found.entry is not None and found.matches and found.key_is_weak:
            return found.entry.serial
        serials = [found.entry.serial] if found.entry is not None else self._ownership.serials_of(client.name, ())
        serials += self._authority.record.namesakes(index_subject(subject))
        for serial in dict.fromkeys(serials):
            if not self._ownership.is_revoked(serial) and not found.key_is_weak:
                continue
            if found.entry is not None and serial == found.entry.serial:
                if found.matches:
                    return serial
            elif found.public_key == self._public_key(serial, found.public_key):
                return serial
        return None

    def _public_key(self, serial: str, otherwise: bytes) -> bytes:
        """Return the public key of a revoked certificate; when nobody can tell any more, ``otherwise``.

        So a key that may be the revoked one's is not used again.
        """
        try:
            return keys.public_der(self._authority.certificate(serial).public_key())
        except (CertificateMissing, ValueError):
            return otherwise

    def _why_new(self, client: Client, found: Examined, lost: bool) -> str:
        if found.foreign:
            return f"{self._place(client).certificate} is not by this authority"
        if lost:
            return "the private key was gone"
        if found.key_is_weak:
            return "the private key was weak"
        if found.entry is None:
            return "had no certificate"
        if not found.matches:
            return "the certificate was for another key"
        return "the certificate is revoked"

    def _check_dns(self, steps: Iterable[ClientStep]) -> None:
        """Raise MtlsError for two subjects that differ in case at most, which nginx's maps ignore."""
        seen: dict[str, ClientStep] = {}
        for step in steps:
            if step.client.revoked:
                continue
            dn = nginx_dn(step.subject) if step.subject is not None else step.entry.dn if step.entry else None
            if dn is None:
                continue
            other = seen.setdefault(dn.lower(), step)
            if other is not step:
                self._refuse_misplaced({other.client.name: other, step.client.name: step})
                raise MtlsError(
                    f"clients {other.client.name!r} and {step.client.name!r}: both have the subject {dn} (nginx maps "
                    "ignore case), so one would enter as the other; change one subject"
                )
            if step.subject is not None:
                self._check_no_live_namesake(step.client, step.subject)

    def _refuse_misplaced(self, steps: Mapping[str, ClientStep]) -> None:
        """Raise MtlsError where the file of one client has the certificate of another one."""
        for name, step in steps.items():
            owner = self._ownership.holder(step.entry.serial, "") if step.entry is not None else name
            if owner != name and owner in steps:
                raise MtlsError(
                    f"{self._place(step.client).certificate}: has the certificate of client {owner!r}, so {name!r} "
                    f"would enter as {owner!r}; move that file away, and the next run restores the right one"
                )

    def _check_no_live_namesake(self, client: Client, subject: x509.Name) -> None:
        text = index_subject(subject)
        for serial in self._authority.record.namesakes(text):
            entry = self._authority.record.get(serial)
            if entry is not None and entry.subject != text and self._ownership.is_live(serial):
                raise MtlsError(
                    f"{client.owner}: its subject differs only in case from that of the valid certificate {serial}, "
                    f"{entry.subject}, and nginx maps ignore case; change the subject, or revoke that certificate"
                )

    def _place(self, client: Client) -> ClientFiles:
        return ClientFiles.of(self._register.directory, client.name)

    def _definition(self, client: Client) -> str:
        if client.subject is not None:
            return self._digest(client)
        alike = client[1:]
        definition = self._definitions.get(alike)
        if definition is None:
            definition = self._definitions[alike] = self._digest(client)
        return definition

    def _digest(self, client: Client) -> str:
        """Return the digest of all that the inventory says of a client but its name."""
        subject = client.subject and json.dumps(dict(client.subject))
        profile = tuple(self._maker.definition) if client.has_profile else None
        definition: tuple[object, ...] = (
            _EXAMINED_FOR,
            subject,
            client.key_type,
            client.csr,
            client.p12,
            client.p12_password,
            client.keep_key,
            profile,
        )
        if client.formats:
            definition += (client.formats,)
        if client.used_by:
            definition += (client.used_by,)
        return self._register.digest(definition)

    def _plain_subject(self, client: Client) -> x509.Name:
        return subject_name({"CN": client.name}, client.owner)

    def _subject_of(self, client: Client) -> x509.Name:
        return subject_name(client.subject, client.owner) if client.subject else self._plain_subject(client)

    def _ends_soon(self, client: Client, entry: RegisterEntry) -> bool:
        limit = self._limits.get(client.renew_before)
        if limit is None:
            limit = self._limits[client.renew_before] = times.iso(self._soon(client))
        return entry.not_after <= limit

    def _soon(self, client: Client) -> datetime:
        return times.in_days(self._now, client.renew_before, f"{client.owner}, renew_before")

    def _remembers(self, client: Client, *kinds: str) -> bool:
        entry = self._register.remembered(client.name)
        return entry is not None and not entry.files.keys().isdisjoint(kinds)
