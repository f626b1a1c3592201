# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How things stand: judged from what the inventory wants and what the authorities published.

Neither an authority's key nor its lock is needed, and nothing is changed.
"""

from __future__ import annotations

import os
import shlex
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Published, Record
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, crls, numbers, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import (
    index_subject,
    nginx_dn,
    subject_name,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import ownership, revoking
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.ownership import Ownership, Unmanaged
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import OPENBAO, TRUST
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import issued
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import Layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import SERVERS, Register, RegisterEntry
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.entry import describe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.probe import (
    LET_IN,
    NO_OR_BAD_CERTIFICATE,
    NOT_ON_THE_LIST,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers, publication
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import AuthorityPlan
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewal_notes import Notes
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewals import entitled, pending
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service
from ansible_collections.mtls.nginx.plugins.module_utils.site.status import served
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import (
    ACT_NOW,
    ACT_SOON,
    ANSWERS,
    ELSEWHERE,
    ENDED,
    FETCHED,
    NONE,
    NOT_ASKED,
    NOTE,
    REVOKED,
    SHORT,
    SOON,
    UNREACHABLE,
    UNRECORDED,
    USED,
    VALID,
    WAITING,
    WRONG,
    AuthorityStatus,
    CertificateStatus,
    ClientStatus,
    CrlStatus,
    HostStatus,
    RenewalStatus,
    RevokedStatus,
    ServiceStatus,
    Status,
    StatusFinding,
    Upkeep,
)

try:
    from cryptography import x509
except ImportError:  # the status action runs where ansible-core does, and that brings cryptography
    pass

_STATES = {
    ownership.LIVE: VALID,
    ownership.ON_HOLD: REVOKED,
    ownership.EXPIRED: ENDED,
    ownership.REVOKED: REVOKED,
    ownership.UNRECORDED: UNRECORDED,
}
_REFUSALS = (str(NO_OR_BAD_CERTIFICATE), str(NOT_ON_THE_LIST), "421")
WARN_DAYS = 21  # a renewal 30 days before has then been due for more than a week


@dataclass(frozen=True)
class Settings:
    """`ansible` is how ansible-playbook is called for this inventory: the commands of the findings begin with it."""

    warn_days: int | None = None
    ansible: str = "ansible-playbook"

    def playbook(self, name: str) -> str:
        """Return the command that runs one of the collection's playbooks."""
        return f"{self.ansible} mtls.nginx.{name}"

    def limit(self, now: datetime, renew_before: int) -> datetime:
        """Return until when a certificate that expires counts as expiring soon.

        Without `warn_days` that is when a certificate should have been renewed for some time: a run every week
        renews it `renew_before` days before it expires.
        """
        days = self.warn_days
        if days is None:
            days = min(WARN_DAYS, renew_before * 7 // 10) if renew_before > 0 else WARN_DAYS
        return times.in_days(now, days, "mtls_warn_days")


def ansible_command(inventory: Sequence[str]) -> str:
    """How ansible-playbook is called with these `-i` options."""
    return " ".join(["ansible-playbook", *(f"-i {shlex.quote(source)}" for source in inventory)])


def status_of(
    plans: Iterable[AuthorityPlan],
    now: datetime,
    settings: Settings,
    answers: Mapping[str, Mapping[str, t.Any]] | None = None,
    upkeep: Upkeep | None = None,
) -> Status:
    """How all authorities and hosts of an inventory stand.

    :arg answers: what hosts said when asked live, see `host_status`; None when nobody was asked.
    :arg upkeep: None where it is not installed.
    :raises MtlsError: warn_days is beyond the year 9999.
    """
    plans = list(plans)
    authorities = tuple(_read(plan, now, settings) for plan in plans)
    names = dict.fromkeys(host for plan in plans for host, service in plan.services if service.present)
    hosts = tuple(host_status(name, answers.get(name)) for name in names) if answers is not None else ()
    order = (ACT_NOW, ACT_SOON, NOTE)
    # What stands open comes first, and then what the next restart would close to everybody.
    findings = [*_open(hosts, settings), *_broken(hosts, settings)]
    findings += (finding for authority in authorities for finding in authority.findings)
    findings += _host_findings(hosts, settings)
    findings += served.findings(hosts, now, settings.limit, settings.playbook("site"))
    findings += _upkeep_findings(upkeep, now)
    findings.sort(key=lambda finding: order.index(finding.level))
    return Status(now, settings.warn_days, authorities, hosts, tuple(findings), upkeep)


def _read(plan: AuthorityPlan, now: datetime, settings: Settings) -> AuthorityStatus:
    if not os.path.exists(Layout(plan.path).certificate):
        finding = StatusFinding(
            ACT_NOW,
            "authority_missing",
            "There is no authority yet",
            "If there was one, restore that directory, or correct mtls_ca_dir. Otherwise the next run of site creates "
            "it.",
            (plan.path,),
            settings.playbook("site"),
            plan.path,
        )
        return AuthorityStatus(plan.path, findings=(finding,), follows=plan.follows)
    try:
        clients, servers = Register.load(plan.path), Register.load(plan.path, SERVERS)
        return judge(plan, read_authority(plan.path, alone=True), clients, servers, now, settings)
    except MtlsError as error:
        finding = StatusFinding(
            ACT_NOW,
            "authority_unreadable",
            "The authority cannot be read",
            "Fix what the message names.",
            (str(error),),
            authority=plan.path,
        )
        return AuthorityStatus(plan.path, findings=(finding,), follows=plan.follows)


def judge(
    plan: AuthorityPlan, published: Published, clients: Register, servers: Register, now: datetime, settings: Settings
) -> AuthorityStatus:
    """How one authority stands.

    :raises MtlsError: its certificate, its record or a client's certificate cannot be read.
    """
    return _Judge(plan, published, clients, servers, now, settings).judge()


class _Judge:
    def __init__(
        self,
        plan: AuthorityPlan,
        published: Published,
        clients: Register,
        servers: Register,
        now: datetime,
        settings: Settings,
    ) -> None:
        self._plan = plan
        self._layout = Layout(plan.path)
        self._published = published
        self._issues = plan.settings.get("backend") != TRUST
        self._record: Record = published.record
        self._clients = clients
        self._servers = servers
        self._ownership = Ownership(self._record, clients, servers, now)
        self._now = now
        self._settings = settings
        self._chain = x509.load_pem_x509_certificates(published.chain())
        self._findings: list[StatusFinding] = []

    def judge(self) -> AuthorityStatus:
        self._check_crl()
        own = self._own_certificate()
        services = self._services()
        names = [client["name"] for client in self._plan.clients]
        held = {name: entry for name in names if (entry := self._clients.get(name)) is not None}
        clients = self._client_statuses(services, held)
        self._check_revocations(held)
        serials = self._ownership.unmanaged(set(names), [*held.values(), *self._servers.values()])
        unmanaged = self._ownership.describe(serials)
        self._note_unmanaged(unmanaged, services)
        self._note_refused(services)
        return AuthorityStatus(
            path=self._plan.path,
            subject=nginx_dn(self._chain[0].subject),
            certificate=own,
            crls=tuple(self._crls()),
            services=services,
            clients=clients,
            unmanaged=tuple(sorted(unmanaged, key=lambda one: one.not_after)),
            revoked=tuple(self._revoked()),
            findings=tuple(self._findings),
            contact=Contact.of(self._plan.settings.get("contact")),
            follows=self._plan.follows,
        )

    def _find(self, level: str, kind: str, title: str, remedy: str, about: Sequence[str] = (), run: str = "") -> None:
        command = self._settings.playbook(run) if run else None
        self._findings.append(StatusFinding(level, kind, title, remedy, tuple(about), command, self._plan.path))

    # The authority itself

    def _own_certificate(self) -> CertificateStatus:
        end = min(certificate.not_valid_after_utc for certificate in self._chain)
        serial = numbers.hexadecimal(self._chain[0].serial_number)
        longest = max(
            self._plan.settings["client_days"],
            self._plan.settings["server_days"],
            *(client["days"] for client in self._plan.clients if client.get("days")),
        )
        self._note_weak_authority()
        about = (f"{nginx_dn(self._chain[0].subject)} ({times.iso(end)})",)
        if not self._issues:
            remedy = "Ask whoever runs it for the next CA certificate; put it into the file that mtls_ca_trust names."
        elif self._plan.settings.get("backend") == OPENBAO:
            remedy = "Set up a new authority in another mtls_ca_dir (docs/openbao.md)."
        else:
            remedy = "Renew it with mtls_ca_renew_before (docs/authorities.md), or set up a new authority."
        if end <= self._now:
            self._find(ACT_NOW, "authority_ended", "The authority's own certificate has expired", remedy, about)
            return CertificateStatus(ENDED, serial, end)
        if end <= self._settings.limit(self._now, 0):
            self._find(ACT_SOON, "authority_soon", "The authority's own certificate expires soon", remedy, about)
            return CertificateStatus(SOON, serial, end)
        if self._issues and end < times.in_days(self._now, longest, "days"):
            title = f"Certificates for {longest} days would outlive the authority's own, so none is renewed"
            self._find(ACT_SOON, "authority_short", title, f"{remedy} Until then, ask for fewer days.", about)
            return CertificateStatus(SOON, serial, end)
        return CertificateStatus(VALID, serial, end)

    def _note_weak_authority(self) -> None:
        weak = [(nginx_dn(ca.subject), profiles.key_weakness(ca)) for ca in self._chain]
        about = [f"{name} ({by})" for name, by in weak if by is not None]
        if about:
            remedy = "nginx with the usual settings refuses every client for it. Begin a rollover to a new CA."
            self._find(ACT_SOON, "authority_weak", "The authority's key is too weak", remedy, about, "rollover")
        roots = [ca for ca in self._chain if ca.issuer == ca.subject]
        about = [nginx_dn(ca.subject) for ca in roots if profiles.signature_weakness(ca) is not None]
        if about:
            remedy = "nginx accepts that in a root, and other programs may not. Renew it with mtls_ca_renew_before."
            self._find(NOTE, "authority_sha1", "The root is signed with SHA-1 or MD5", remedy, about)

    def _crls(self) -> Iterator[CrlStatus]:
        pem = self._published.crl_as_it_is()
        try:
            found = crls.parse_crls(pem, self._plan.path) if pem is not None else []
        except MtlsError:
            return  # said by _check_crl
        for issuer in self._chain:
            for crl in found:
                if crls.is_by(crl, issuer):
                    state = crls.state_of(crl)
                    yield CrlStatus(
                        nginx_dn(crl.parsed.issuer),
                        state.number,
                        state.last_update,
                        state.next_update,
                        state.entries,
                        self._crl_judgement(state.next_update),
                    )

    def _crl_judgement(self, end: datetime) -> str:
        """Return the state of a CRL by its end: two nights on which it was not renewed are told."""
        refresh_before = self._plan.settings["crl_refresh_before"]
        if end <= self._now:
            return ENDED
        if publication.is_too_short(end, self._now, self._plan.crl_min_days):
            return SHORT
        return SOON if end <= self._now + timedelta(days=refresh_before - min(2, refresh_before / 2)) else VALID

    def _check_crl(self) -> None:
        try:
            pem = self._published.crl()
            found = crls.parse_crls(pem, self._plan.path)
        except MtlsError as error:
            title = "The CRL cannot be used: nginx would not load it, or would refuse everybody"
            remedy = "The nightly job renews the CRL and installs it on the hosts; see why it has not."
            self._find(ACT_NOW, "crl_unusable", title, remedy, (str(error),), "refresh_crl")
            return
        own = crls.newest_by(self._chain[0], found)
        listed = {numbers.hexadecimal(entry.serial_number) for entry in own.parsed} if own is not None else set()
        revoked = {serial for serials in self._record.revocations(self._now).values() for serial in serials}
        if not revoked <= listed:
            title = "The CRL does not list what the record says is revoked"
            self._find(ACT_NOW, "crl_stale", title, "The nightly job writes a new one.", run="refresh_crl")
        for crl in self._crls():
            if crl.state != VALID:
                ours = crl.issuer == nginx_dn(self._chain[0].subject)
                level, kind, title = (
                    (ACT_NOW, "crl_short", "The CRL expires too soon to be installed on a host (mtls_crl_min_days)")
                    if crl.state == SHORT
                    else (ACT_SOON, "crl_soon", "The CRL should have been renewed by now")
                )
                about = (f"{crl.issuer} ({times.iso(crl.next_update)})",)
                self._find(level, kind, title, self._crl_remedy(ours=ours), about, "refresh_crl")

    def _crl_remedy(self, *, ours: bool) -> str:
        """Return what brings the next CRL of a CA; those that the authority does not issue are taken from somewhere."""
        settings = self._plan.settings
        if not self._issues:
            return "The nightly job takes it from where mtls_ca_trust says; ask whoever runs that CA for a newer one."
        if ours or settings.get("parent"):
            return "The nightly job renews it; see why it has not."
        if settings.get("backend") == OPENBAO:
            return "Append the newer CRL of that CA to crl.pem, and run this."
        file = settings.get("parent_crl") or "a file that mtls_ca_parent_crl names"
        return f"Put that CA's newer CRL into {file}, and run this."

    # Certificates

    def _certificate(self, entry: RegisterEntry | None, renew_before: int) -> CertificateStatus:
        if entry is None:
            return CertificateStatus(NONE)
        end = times.from_iso(entry.not_after)
        state = _STATES[self._ownership.state(entry.serial)]
        if state == VALID and end <= self._settings.limit(self._now, renew_before):
            state = SOON
        return CertificateStatus(state, entry.serial, end)

    def _find_certificates(self, kind: str, whose: str, held: Iterable[tuple[str, CertificateStatus]]) -> None:
        """One finding for each way in which certificates are not as they should be."""
        remedies = {
            NONE: (ACT_NOW, f"{whose} without a certificate", "The next run issues it."),
            UNRECORDED: (ACT_NOW, f"{whose} whose certificate is not in the record", "The next run fixes it."),
            REVOKED: (ACT_NOW, f"{whose} whose certificate is revoked", "The next run issues a new one."),
            ENDED: (ACT_NOW, f"{whose} whose certificate has expired", "The next run renews it."),
            SOON: (ACT_SOON, f"{whose} whose certificate expires soon", "The next run that finds it due renews it."),
        }
        about: dict[str, list[tuple[datetime, str]]] = {}
        for name, certificate in held:
            if certificate.state in remedies:
                end = certificate.not_after
                said = f"{name} ({end:%Y-%m-%d})" if end and certificate.state in (ENDED, SOON) else name
                about.setdefault(certificate.state, []).append((end or self._now, said))
        for state, (level, title, remedy) in remedies.items():
            if state in about:
                hand_out = " Hand it out then." if kind == "client" else ""
                names = [said for _end, said in sorted(about[state])]
                self._find(level, f"{kind}_{state}", title, f"{remedy}{hand_out}", names, "site")

    def _services(self) -> tuple[ServiceStatus, ...]:
        found = tuple(self._service(host, service) for host, service in self._plan.services if service.present)
        certificates = [(service.id, service.certificate) for service in found if service.certificate is not None]
        self._find_certificates("server", "Services", certificates)
        return found

    def _service(self, host: str, service: Service) -> ServiceStatus:
        certificate = None
        if service.issued_by_authority and not self._plan.follows:
            entry = self._servers.get(f"{host}/{service.name}")
            certificate = self._certificate(entry, self._plan.settings["server_renew_before"])
        listed = None if service.allow is None else service.named
        return ServiceStatus(host, service.name, service.server_names, listed, certificate, service.subjects)

    def _client_statuses(
        self, services: Sequence[ServiceStatus], held: Mapping[str, RegisterEntry]
    ) -> tuple[ClientStatus, ...]:
        everybody = tuple(service.id for service in services if service.allow is None)
        listed: dict[str, list[str]] = {}
        by_subject: dict[str, list[str]] = {}  # in lower case: nginx's maps ignore it
        for service in services:
            for name in service.allow or ():
                listed.setdefault(name, []).append(service.id)
            for dn in service.subjects:
                by_subject.setdefault(dn.lower(), []).append(service.id)
        order = {service.id: number for number, service in enumerate(services)}
        renewals = self._renewals()
        found, late = [], []
        for client in self._plan.clients:
            if client.get("state") == "revoked":
                continue
            entry = held.get(client["name"])
            renew_before = client.get("renew_before")
            if renew_before is None:
                renew_before = self._plan.settings["client_renew_before"]
            certificate = self._certificate(entry, renew_before) if self._issues else CertificateStatus(ELSEWHERE)
            subject = entry.dn if entry else None
            ids = {*everybody, *listed.get(client["name"], ()), *by_subject.get((subject or "").lower(), ())}
            opens = tuple(sorted(ids, key=order.__getitem__))
            enters, waits = (opens, ()) if certificate.works else ((), opens)
            renewal = renewals.get(client["name"])
            limit = self._settings.limit(self._now, renew_before)
            if renewal is not None and renewal.state != USED and renewal.until <= limit:
                late.append((client["name"], renewal))
            found.append(ClientStatus(client["name"], subject, certificate, enters, waits, renewal))
        found.sort(key=lambda client: client.name.casefold())
        self._find_certificates("client", "Clients", [(client.name, client.certificate) for client in found])
        self._note_late(late)
        return tuple(found)

    def _renewals(self) -> dict[str, RenewalStatus]:
        """Return how far clients are with their next certificates, where some service hands them out."""
        services = [service for _host, service in self._plan.services if service.present and service.self_renewal]
        if not services:
            return {}
        notes, found = Notes(self._plan.path), {}
        for renewal in pending(self._plan.path, entitled(services)):
            note = notes.of(renewal.serial)
            fetched, used = (each and times.from_iso(each) for each in (note.fetched, note.used))
            state = USED if used else FETCHED if fetched else WAITING
            found[renewal.client] = RenewalStatus(state, renewal.until, fetched or None, used or None)
        return found

    def _note_late(self, late: Sequence[tuple[str, RenewalStatus]]) -> None:
        if late:
            contact = Contact.of(self._plan.settings.get("contact"))
            about = [
                f"{name} ({renewal.until:%Y-%m-%d}{', fetched and not used' if renewal.state == FETCHED else ''})"
                for name, renewal in sorted(late, key=lambda each: (each[1].until, each[0]))
            ]
            asks = f" They can ask {contact}." if contact else ""
            self._find(
                ACT_SOON,
                "renewal_waiting",
                "Clients that have not fetched their next certificate, or do not use it",
                "Remind them to open /.mtls/ of a service on the device that has the old one, which expires on the date"
                f" given; or hand the next one over.{asks}",
                about,
            )

    # Revocations

    def _check_revocations(self, held: Mapping[str, RegisterEntry]) -> None:
        """Who should be out according to the inventory and is not yet, and who should be in again."""
        valid = [
            client["name"]
            for client in self._plan.clients
            if client.get("state") == "revoked" and self._is_still_valid(client, held.get(client["name"]))
        ]
        held_back, unclear = [], []
        finder = self._finder()
        for item in self._plan.revoked:
            wanted = revoking.RevocationRequest.of(item)
            try:
                found = finder.find(wanted)
            except revoking.UnknownError as error:
                if not finder.is_known_beside(wanted):
                    unclear.append(str(error))
                continue
            except (MtlsError, OSError) as error:
                unclear.append(describe(error) if isinstance(error, OSError) else str(error))
                continue
            actions = {each.action for each in found if each.not_after > self._now}
            if revoking.REVOKED in actions and any(self._is_valid(each) for each in found):
                valid.append(wanted.value)
            elif revoking.RELEASED in actions:
                held_back.append(wanted.value)
        if valid:
            title = "To be revoked according to the inventory, and still valid"
            self._find(
                ACT_NOW,
                "still_valid",
                title,
                "The next run revokes them and installs the CRL on the hosts.",
                valid,
                "site",
            )
        if held_back:
            title = "To be released according to the inventory, and still on hold"
            remedy = "The next run releases them and installs the CRL on the hosts."
            self._find(ACT_NOW, "still_on_hold", title, remedy, held_back, "site")
        if unclear:
            title = "Entries of mtls_revoked that cannot be carried out"
            self._find(
                ACT_NOW, "revocation_unclear", title, "Correct or remove them: each run fails until then.", unclear
            )

    def _is_still_valid(self, client: Mapping[str, t.Any], entry: RegisterEntry | None) -> bool:
        name = client["name"]
        subject = index_subject(subject_name(client.get("subject") or {"CN": name}, f"client {name!r}"))
        own = [entry.serial, *entry.former] if entry is not None else []
        subjects = [subject, entry.subject] if entry is not None else [subject]
        return any(map(self._ownership.is_live, self._ownership.serials_of(name, subjects, own)))

    def _is_valid(self, found: revoking.Found) -> bool:
        """Whether nginx lets it in: also when the authority's key has signed it without the record knowing."""
        return found.not_after > self._now and (found.unrecorded is not None or self._ownership.is_live(found.serial))

    def _finder(self) -> revoking.Finder:
        newcerts = self._layout.issued
        return revoking.Finder(
            self._plan.path,
            self._record,
            self._ownership,
            chains.issuing(self._chain),
            lambda fingerprint: issued.find_by_fingerprint(newcerts, fingerprint),
        )

    def _revoked(self) -> list[RevokedStatus]:
        """Return them, the latest first."""
        found = []
        for (_moment, reason), serials in self._record.revocations().items():
            for entry in filter(None, map(self._record.get, serials)):
                name = self._ownership.holder(entry.serial, entry.subject)
                found.append(
                    RevokedStatus(name, entry.serial, entry.revoked_at, reason or "unspecified", entry.not_after)
                )
        found.sort(key=lambda each: (each.revoked_at or self._now, each.serial), reverse=True)
        return found

    def _note_unmanaged(self, unmanaged: Sequence[Unmanaged], services: Sequence[ServiceStatus]) -> None:
        if unmanaged:
            opened = any(service.allow is None for service in services)
            enter = "They enter every service without an allow list. " if opened else ""
            self._find(
                ACT_SOON,
                "unmanaged",
                "Valid certificates that are not in the inventory",
                f"{enter}Name them in mtls_clients, with state: revoked if they are to be refused, or their serials in "
                "mtls_revoked.",
                [one.name for one in unmanaged],
            )

    def _note_refused(self, services: Sequence[ServiceStatus]) -> None:
        revoked = {client["name"] for client in self._plan.clients if client.get("state") == "revoked"}
        about = [f"{name} at {service.id}" for service in services for name in service.allow or () if name in revoked]
        if about:
            self._find(NOTE, "revoked_listed", "On an allow list, but revoked", "Take them off the list.", about)


def host_status(name: str, answer: Mapping[str, t.Any] | None) -> HostStatus:
    """Return what a host's answers mean: of `nginx_facts`, `trust_check` and `tls_probe`: `facts`, `trust`, `probe`.

    None for a host that was not asked.
    """
    if answer is None:
        return HostStatus(name, NOT_ASKED)
    try:
        found = answers.read_live(name, answer)
    except MtlsError as error:
        return HostStatus(name, WRONG, None, (), (str(error),))
    facts, trust, probe = found["facts"], found["trust"], found["probe"]
    attempts = tuple(probe["attempts"] or ())
    not_asked = tuple(f"{item['service']}: {item['why']}" for item in probe["not_asked"] or ())
    unanswered = tuple(f"{item['service']}: {item['why']}" for item in probe["unanswered"] or ())
    on_disk = (facts["nginx"] or {}).get("certificates") or {}
    certificates = served.read(probe["certificates"] or (), on_disk)
    wrong = [_said(attempt) for attempt in attempts if not attempt["ok"]] + served.troubles(certificates)
    opened = tuple(_said(attempt) for attempt in attempts if _lets_in(attempt))
    if probe["msg"] and not attempts and not probe["skipped"]:
        wrong.append(probe["msg"])
    if facts["unreachable"]:
        return HostStatus(
            name, UNREACHABLE, None, attempts, (facts["msg"] or "no connection", *wrong), opened, served=certificates
        )
    nginx = facts["nginx"]
    if nginx is None:
        return HostStatus(
            name, WRONG, None, attempts, (facts["msg"] or "gave no facts", *wrong), opened, served=certificates
        )
    if not nginx["installed"]:
        wrong.insert(0, "nginx is not installed")
    elif not nginx["running"]:
        wrong.insert(0, "nginx is not running")
    rejected = f"nginx refuses its configuration: {nginx['config_error']}" if nginx["config_error"] else None
    if rejected:
        wrong.insert(0, rejected)
    if nginx["includes_conf_d"] is False:
        wrong.insert(0, "nginx.conf does not include conf.d/mtls.conf, so that the next reload ends what is served")
    if nginx.get("snippet_error"):
        wrong.insert(0, nginx["snippet_error"])
    if nginx.get("socket_error"):
        wrong.insert(0, nginx["socket_error"])
    unguarded = tuple(nginx.get("unguarded") or ())
    wrong += [f"{path} guards nothing" for path in unguarded]
    if trust["msg"] and trust["asked"] is None:
        wrong.append(trust["msg"])
    behind = tuple(trust["behind"] or ())
    unfetched = tuple(_unfetched(nginx["crl_fetch"]))
    return HostStatus(
        name,
        WRONG if wrong or behind or unfetched else ANSWERS,
        nginx["version"],
        attempts,
        (*behind, *wrong, *unfetched),
        opened,
        unguarded,
        not_asked,
        unfetched,
        unanswered,
        (rejected,) if rejected and nginx["running"] else (),
        tuple(f"{each['service']}: {each['why']}" for each in nginx.get("elsewhere") or ()),
        certificates,
        behind,
    )


def _unfetched(crl_fetch: Mapping[str, t.Any] | None) -> Iterator[str]:
    """Yield why a host that is to fetch its CRL does not."""
    if crl_fetch is not None:
        yield from crl_fetch["failures"]
        if crl_fetch["digest"] is None:
            yield "mtls-crl.timer, which fetches the CRL, was changed or is not running"


def _said(attempt: Mapping[str, t.Any]) -> str:
    return f"{attempt['service']}: {attempt['who']} got {attempt['got']} instead of {attempt['expected']}"


def _lets_in(attempt: Mapping[str, t.Any]) -> bool:
    """Return whether somebody who must be refused got an answer that is no refusal: it came from behind the gate."""
    if attempt["expected"] == f"anything but {LET_IN}":  # a snippet whose refusals the host's own pages hide
        return bool(attempt["got"] == str(LET_IN))
    return attempt["expected"] in _REFUSALS and attempt["got"].isdigit() and attempt["got"] not in _REFUSALS


def _open(hosts: Sequence[HostStatus], settings: Settings) -> Iterator[StatusFinding]:
    about = tuple(f"{host.name} ({'; '.join(host.open)})" for host in hosts if host.open)
    if about:
        title = "A gate is open: somebody was let in who must be refused"
        remedy = "The next run closes it or says why not. Until then, stop that service, or nginx on that host."
        yield StatusFinding(ACT_NOW, "gate_open", title, remedy, about, settings.playbook("site"))
    about = tuple(f"{host.name} ({'; '.join(host.behind)})" for host in hosts if host.behind)
    if about:
        title = "Hosts that have missed a CRL: whoever was revoked since gets in"
        remedy = "The nightly job ships it; see why it has not."
        yield StatusFinding(ACT_NOW, "crl_missed", title, remedy, about, settings.playbook("refresh_crl"))
    about = tuple(f"{host.name} ({', '.join(host.unguarded)})" for host in hosts if host.unguarded)
    if about:
        remedy = "Nobody is asked for a certificate there. Include each of them in the server block that it is for."
        yield StatusFinding(
            ACT_NOW, "guards_nothing", "Snippets that no server block includes guard nothing", remedy, about
        )


def _broken(hosts: Sequence[HostStatus], settings: Settings) -> Iterator[StatusFinding]:
    """Return where nginx goes on with what it has read: a package's update is a restart, and needs what is on disk."""
    about = tuple(f"{host.name} ({'; '.join(host.broken)})" for host in hosts if host.broken)
    if about:
        title = "The next restart stops nginx: what runs is older than a file that it would not start with"
        remedy = "An update of its package or a reboot is a restart. Fix that file before then; the next run says more."
        yield StatusFinding(ACT_NOW, "config_broken", title, remedy, about, settings.playbook("site"))


def _host_findings(hosts: Sequence[HostStatus], settings: Settings) -> Iterator[StatusFinding]:
    unanswered = tuple(f"{host.name} ({'; '.join(host.unanswered)})" for host in hosts if host.unanswered)
    if unanswered:
        remedy = "Start the application, or correct upstream or root. The gate itself does what it should."
        title = "Services that let clients in and then show them an error"
        yield StatusFinding(ACT_SOON, "page_unanswered", title, remedy, unanswered)
    not_asked = tuple(f"{host.name} ({'; '.join(host.not_asked)})" for host in hosts if host.not_asked)
    if not_asked:
        remedy = (
            "It is not known whether they let in the right clients. For snippets, it was only checked that a server "
            "block includes them."
        )
        yield StatusFinding(NOTE, "snippet_not_asked", "Services that were not asked", remedy, not_asked)
    elsewhere = tuple(f"{host.name} ({'; '.join(host.elsewhere)})" for host in hosts if host.elsewhere)
    if elsewhere:
        remedy = "If the service should answer there, have it listen on that address too."
        title = "Addresses at which another server block answers in a service's place"
        yield StatusFinding(NOTE, "answered_elsewhere", title, remedy, elsewhere)
    for level, state, kind, title, remedy in (
        (ACT_NOW, WRONG, "host_wrong", "Hosts that do not work as they should", "The next run fixes it or says why."),
        (
            ACT_SOON,
            UNREACHABLE,
            "host_unreachable",
            "Hosts that cannot be reached",
            "They get no changes, nor a new CRL unless they fetch it, until a run reaches them.",
        ),
    ):
        about = tuple(
            f"{host.name} ({'; '.join(others)})"
            for host in hosts
            if host.state == state
            and (
                others := [
                    each
                    for each in host.troubles
                    if each not in (*host.open, *host.behind, *host.unfetched, *host.broken)
                ]
            )
        )
        if about:
            yield StatusFinding(level, kind, title, remedy, about, settings.playbook("site"))
    about = tuple(f"{host.name} ({'; '.join(host.unfetched)})" for host in hosts if host.unfetched)
    if about:
        remedy = (
            "They keep their CRL until it expires; then nobody gets in. On the host, journalctl -u mtls-crl says more."
        )
        title = "Hosts that cannot fetch their CRL"
        yield StatusFinding(ACT_SOON, "crl_unfetched", title, remedy, about, settings.playbook("site"))


def _upkeep_findings(upkeep: Upkeep | None, now: datetime) -> Iterator[StatusFinding]:
    """Return the dead man's finding: timers that no longer run report nothing themselves."""
    if upkeep is None:
        return
    last = max((upkeep.since, *upkeep.succeeded.values()))
    if now - last > timedelta(days=upkeep.warn_days):
        about = tuple(f"{name} ({moment:%Y-%m-%d})" for name, moment in sorted(upkeep.succeeded.items()))
        title = f"Upkeep has not succeeded for {(now - last).days} days"
        remedy = "On the controller, systemctl list-timers and journalctl -u 'mtls-upkeep-*' say why."
        yield StatusFinding(ACT_SOON, "upkeep_late", title, remedy, about)
