# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a client is or is not let in to a service: what was meant, what is recorded and what is, held against each other.

Nothing here reads a file or asks a host: ``evidence.py`` and the ``doctor`` action bring the facts.
"""

from __future__ import annotations

import shlex
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import alike
from ansible_collections.mtls.nginx.plugins.module_utils.common import probe, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import first_few, one_line
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import nearest
from ansible_collections.mtls.nginx.plugins.module_utils.host.access_log import LoggedRequest
from ansible_collections.mtls.nginx.plugins.module_utils.site import pages, verify_errors
from ansible_collections.mtls.nginx.plugins.module_utils.site.allow_lists import AllowList
from ansible_collections.mtls.nginx.plugins.module_utils.site.caller_programs import program
from ansible_collections.mtls.nginx.plugins.module_utils.site.verify_errors import Remedy

_RESTORE = "restore that directory, or correct mtls_ca_dir"

_LONGEST_QUOTE = 300
_NEEDED = "A certificate is needed here"  # the title of site/error_pages.py
_WHY_STILL_IN = frozenset({"revoked", "not_rolled_out"})


_GATE_ANSWERS = (probe.NO_OR_BAD_CERTIFICATE, probe.NOT_ON_THE_LIST, probe.LET_IN)
_MISDIRECTED = 421  # of a gate too, for a name that is none of its service's


@dataclass(frozen=True)
class Intent:
    """What the inventory says. ``who`` is the client or the certificate in words, ``client`` its name where it has one.

    ``given``: the question is about a certificate file, not about the client's own certificate. ``allow`` is None where
    every valid client of the authority may enter. ``proxied``: a proxy in front hands connections on, so that nginx's
    error log names that as the client. ``wanted``: the client is to have a valid certificate, so that one
    that has expired or was revoked is replaced by the next run.
    """

    host: str
    service: str
    who: str
    client: str | None
    allow: AllowList | None = None
    wanted: bool = True
    given: bool = False
    revoked: bool = False
    present: bool = True
    proxied: bool = False
    elsewhere: tuple[str, ...] = ()  # the hosts that have the service
    options: str = ""


@dataclass(frozen=True)
class ClientCertificate:
    """A client's certificate. Of a client of somebody else's authority only the subject is known.

    ``by_authority``: the service's authority has signed it. ``for_clients``: it may be used by a client. ``weakness``:
    what OpenSSL refuses it for, as the end of a sentence.
    """

    dn: str
    serial: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    issuer: str = ""
    by_authority: bool = True
    for_clients: bool = True
    weakness: str | None = None


@dataclass(frozen=True)
class AuthorityRecord:
    """What the service's authority has on record; ``allow_dns`` are the subjects on the allow list by client.

    ``current`` is the serial of the client's certificate, where that in question is another one. ``ca`` and ``crl`` are
    SHA-256 digests of what hosts should have.
    """

    authority: str  # the CA's subject
    path: str
    certificate: ClientCertificate | None = None
    issues: bool = True  # False: somebody else does
    recorded: bool = True  # False: signed with the authority's key, without a trace
    revoked: bool = False
    revoked_at: datetime | None = None
    reason: str | None = None
    current: str | None = None
    allow_dns: Mapping[str, str] = field(default_factory=dict)
    ca_end: datetime | None = None
    crl_end: datetime | None = None
    ca: str | None = None
    crl: str | None = None


@dataclass(frozen=True)
class HostState:
    """What the host's files and logs say; see the module ``nginx_gate``. ``offset`` is its clock less ours.

    ``included`` is whether a snippet stands in a server block, None for a server block of ours; ``http3``, whether one
    with it listens for HTTP/3. ``without`` is who was refused for sending no certificate.
    """

    offset: timedelta = timedelta()
    running: bool = True
    configured: bool = True
    included: bool | None = None
    allow: Mapping[str, t.Any] | None = None
    ca: str | None = None
    crl: str | None = None
    crl_begin: datetime | None = None
    crl_end: datetime | None = None
    revoked: bool = False
    requests: Sequence[Mapping[str, t.Any]] = ()
    without: Sequence[Mapping[str, t.Any]] = ()
    http3: bool = False
    errors: Sequence[str] = ()
    unread: Sequence[str] = ()

    def lists(self, dn: str) -> bool:
        """Whether the service's map lets this subject in. nginx's maps ignore case."""
        if self.allow is None:
            return False
        return self.allow["everybody"] or dn.lower() in (subject.lower() for subject in self.allow["subjects"])


@dataclass(frozen=True)
class Reality:
    """What was found at ``now``, our time.

    ``host`` is None where it could not be looked at, for the reason ``trouble``. ``answer`` is what the gate said, None
    where it was not asked; with ``as_client``, to a request with the client's own certificate, else to one without any.
    ``snippet``: the gate is in a server block of the host's own; ``not_asked`` says why that could not be asked.
    ``page`` is what is wrong behind a gate that has let the client in, ``served`` what is wrong with the server's
    certificate, as a sentence.
    """

    now: datetime
    host: HostState | None = None
    trouble: str | None = None
    address: str = ""
    answer: probe.ProbeOutcome | None = None
    as_client: bool = False
    snippet: bool = False
    not_asked: str | None = None
    page: pages.PageTrouble | None = None
    served: str | None = None


@dataclass(frozen=True)
class Cause:
    """One cause, and what to do about it. ``keeps_out``: it is enough to keep the client out."""

    cause: str
    text: str
    remedy: str | None = None
    keeps_out: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """``let_in`` is None where it cannot be said; ``meant`` is what the inventory wants; the first finding weighs most.

    ``alarming``: somebody is let in who must not be. ``commands`` are those that the remedy names.
    """

    verdict: str
    let_in: bool | None
    meant: bool
    alarming: bool
    findings: tuple[Cause, ...]
    proof: str
    commands: tuple[str, ...] = ()

    @property
    def as_intended(self) -> bool:
        """Whether the gate is known to do what the inventory says."""
        return self.let_in is self.meant and not self.alarming

    @property
    def remedy(self) -> str | None:
        """What to do, in the order of the findings."""
        return _remedy(self.findings)

    @property
    def paragraph(self) -> str:
        """All of it for a person: the verdict, why, how that is known, and the remedy."""
        why = ". Besides, ".join(finding.text for finding in self.findings)
        # Causes of what the verdict says, or, where all is well, something else that is not.
        however = (
            self.let_in and not self.alarming and not any(each.cause == "page_unanswered" for each in self.findings[:1])
        )
        link = ". However, " if however else ": "
        parts = [f"{self.verdict}{link if why else ''}{why}.", self.proof]
        if self.remedy:
            parts.append(f"Remedy: {self.remedy}.")
        return one_line(" ".join(part for part in parts if part))


def diagnose(intent: Intent, record: AuthorityRecord, reality: Reality) -> Diagnosis:
    """Hold the three against each other."""
    case = _Case(intent, record, reality)
    findings = case.with_callers(case.with_log(list(case.findings())))
    let_in = case.let_in(findings)
    alarming = bool(let_in) and case.must_not
    if alarming:
        findings = case.alarmed(findings)
    elif let_in is False and not any(finding.keeps_out for finding in findings):
        findings.append(case.unexplained())
    elif let_in is False:
        findings.sort(key=lambda finding: not finding.keeps_out)  # what is only odd explains nothing
    commands = case.commands.named_in(_remedy(findings) or "")
    return Diagnosis(case.verdict(let_in), let_in, case.meant, alarming, tuple(findings), case.proof(), commands)


def _remedy(findings: Iterable[Cause]) -> str | None:
    steps = dict.fromkeys(finding.remedy for finding in findings if finding.remedy)
    return "; then ".join(steps) or None


class _Commands:
    """The commands that remedies name, as they can be typed where this one was."""

    def __init__(self, host: str, options: str) -> None:
        given, host = f" {options}" if options else "", shlex.quote(host)
        play, one, limit = f"ansible-playbook{given} mtls.nginx.", f"ansible{given} {host}", f" --limit {host}"
        self.site_everywhere = f"{play}site"
        self.site = f"{play}site{limit}"
        self.refresh_crl = f"{play}refresh_crl{limit}"
        self.recover = f"{play}recover --check"
        self.rollover = f"{play}rollover -e mtls_step=begin"
        self.start = f"{one} -b -m ansible.builtin.service -a 'name=nginx state=started'"
        self.reload = f"{one} -b -m ansible.builtin.service -a 'name=nginx state=reloaded'"
        self.ping = f"{one} -m ansible.builtin.ping"
        self.set_clock = f"{one} -b -m ansible.builtin.command -a 'timedatectl set-ntp true'"

    def named_in(self, remedy: str) -> tuple[str, ...]:
        """Return those that the remedy names, in its order."""
        found: dict[int, str] = {}
        for command in sorted(vars(self).values(), key=len, reverse=True):  # one may begin as another does
            at = remedy.find(command)
            if at >= 0:
                found[at] = command
            remedy = remedy.replace(command, " " * len(command))
        return tuple(found[at] for at in sorted(found))


class _Case:
    """One question, and the rules by which it is answered."""

    def __init__(self, intent: Intent, record: AuthorityRecord, reality: Reality) -> None:
        self.intent, self.record, self.reality, self.host = intent, record, reality, reality.host
        self.certificate = record.certificate
        serial = self.certificate.serial if self.certificate else ""
        self.it = "it" if intent.given else f"its certificate {serial}".strip()
        self.commands = _Commands(intent.host, intent.options)
        self.where = f"{intent.service} on {intent.host}"

    @property
    def meant(self) -> bool:
        """Whether the inventory wants the client to be let in."""
        if not self.intent.present or self.intent.revoked or (self.record.revoked and not self.intent.wanted):
            return False
        if self.certificate is not None and not (self.certificate.by_authority and self.certificate.for_clients):
            return False
        if self.intent.allow is not None:
            return self._is_listed
        return self.certificate is not None or self.intent.wanted

    @property
    def _is_listed(self) -> bool:
        """Whether the inventory's allow list has the client, by its name or its subject."""
        allow, dn = self.intent.allow, self.certificate.dn if self.certificate else None
        return allow is None or allow.has(self.intent.client, dn)

    @property
    def must_not(self) -> bool:
        """Whether it is wrong to let in this certificate, even if the client is to have a good one."""
        return not self.meant or self.record.revoked or self._is_open

    def let_in(self, findings: Iterable[Cause]) -> bool | None:
        """Tell what the gate does: as it answered the client, or else as follows from what is known."""
        answer = self.reality.answer
        if self._guards_nothing:
            return True
        if answer is not None and answer.status is not None and (self.reality.as_client or self._is_open):
            return answer.status == probe.LET_IN
        if any(finding.keeps_out for finding in findings):
            return False
        return True if self.host and not self._is_lost else None

    @property
    def _is_open(self) -> bool:
        answer = self.reality.answer
        return self._guards_nothing or (
            answer is not None and not self.reality.as_client and answer.status == probe.LET_IN
        )

    @property
    def _guards_nothing(self) -> bool:
        """Whether the snippet is in force nowhere: the server block it is meant for asks nobody for a certificate."""
        return self._is_passed_by or (self.host is not None and self.host.included is False)

    @property
    def _is_passed_by(self) -> bool:
        """Whether somebody else than the snippet answered, where its include is."""
        status = self.reality.answer.status if self.reality.answer else None
        return self.reality.snippet and status is not None and status not in (*_GATE_ANSWERS, _MISDIRECTED)

    def findings(self) -> Iterator[Cause]:
        """Every cause. First what keeps everybody out, then what is this client's own, then what is only odd."""
        if not self.intent.present:
            yield self._no_service()
            return
        for rule in (
            self._open,
            self._no_page,
            self._served,
            self._clock,
            self._no_answer,
            self._crl,
            self._authority_missing,
            self._authority_expired,
            self._not_rolled_out,
            self._no_certificate,
            self._other_authority,
            self._wrong_purpose,
            self._weak,
            self._revoked,
            self._dates,
            self._list,
            self._not_recorded,
            self._former_certificate,
            self._old_crl,
            self._http3,
            self._host_unknown,
            self._unread_logs,
        ):
            finding = rule()
            if finding is not None:
                yield finding

    # What concerns everybody

    def _no_service(self) -> Cause:
        hosts = self.intent.elsewhere
        if hosts:
            there = first_few(hosts, 3)
            text = f"the inventory has no service {self.intent.service} on {self.intent.host}, but on {there}"
            return Cause("no_service", text, f"ask there, with --limit {hosts[0]}")
        text = f"the inventory has service {self.intent.service} on {self.intent.host} as removed (state: absent)"
        return Cause("no_service", text, f"to have it back, set state: present and run {self.commands.site}")

    def _open(self) -> Cause | None:
        if not self._is_open:
            return None
        if self._is_passed_by and self.reality.answer:
            text = (
                f"{self.where} ({self.reality.address}) answered {self.reality.answer.status}, which its snippet never"
                " does: the running nginx has not read the include"
            )
            return Cause("guards_nothing", text, "reload nginx there, and ask again", keeps_out=False)
        if self._guards_nothing:
            text = "no server block there includes the service's snippet, so it guards nothing"
            remedy = (
                f"put the line 'include …/snippets/mtls-{self.intent.service}.conf;' at the top of its server block"
            )
            return Cause("guards_nothing", text, remedy, keeps_out=False)
        text = f"{self.where} let in a request without any certificate"
        return Cause("open_gate", text, self.commands.site, keeps_out=False)

    def _no_page(self) -> Cause | None:
        page = self.reality.page
        if page is None:
            return None
        remedy = page.remedy
        if page.option:
            remedy += f", or correct {page.option} in the service and run {self.commands.site}"
        return Cause("page_unanswered", page.text, remedy, keeps_out=False)

    def _served(self) -> Cause | None:
        if self.reality.served is None:
            return None
        text = f"{self.reality.served}: programs that verify it do not get as far as the gate"
        return Cause("server_certificate", text, self.commands.site, keeps_out=False)

    def _no_answer(self) -> Cause | None:
        answer, place = self.reality.answer, f"{self.where} ({self.reality.address})"
        if self.host is not None and not self.host.configured:
            return None  # said by _not_rolled_out
        if self.host is not None and not self.host.running:
            return Cause("no_answer", f"nginx is not running on {self.intent.host}", self.commands.start)
        if answer is None:
            return None
        if answer.status is None:
            remedy = (
                "see whether a firewall is in between, or fail2ban or CrowdSec there has banned this machine, or set "
                "mtls_probe_address to where the service can be reached"
            )
            return Cause("no_answer", f"{place} cannot be reached from here: {answer.error}", remedy)
        if answer.status in _GATE_ANSWERS:
            return None
        text = f"{place} answered {answer.status}, which is not this gate's answer: another server block has the name"
        return Cause("no_answer", text, self.commands.site)

    def _clock(self) -> Cause | None:
        """Return what a wrong clock does: it matters most where it turns a verdict about dates."""
        if self.host is None or abs(self.host.offset) <= times.CLOCK_SKEW:
            return None
        here = self.reality.now
        there = here + self.host.offset
        turned = [
            (f"{what} for {_state(span, there)}", _state(span, there) != _GOOD)
            for what, span in self._spans()
            if _state(span, there) != _state(span, here)
        ]
        direction = "ahead of" if there > here else "behind"
        text = (
            f"the clock of {self.intent.host} is {times.distance(self.host.offset)} {direction} that of this machine"
            f" ({_date(there)} there, {_date(here)} here)"
        )
        if turned:
            text += f", so nginx takes {' and '.join(taken for taken, _bad in turned)}"
        return Cause("clock", text, self._set_clock, keeps_out=any(bad for _taken, bad in turned))

    @property
    def _set_clock(self) -> str:
        return f"set the clock that is wrong; to have that of {self.intent.host} set: {self.commands.set_clock}"

    def _spans(self) -> list[tuple[str, _Span]]:
        spans = [("the CRL", self._crl_span)]
        if self.certificate is not None:
            spans.append(("the certificate", (self.certificate.not_before, self.certificate.not_after)))
        return spans

    @property
    def _crl_span(self) -> _Span:
        return (self.host.crl_begin, self.host.crl_end) if self.host else (None, self.record.crl_end)

    def _is_bad(self, span: _Span) -> str | None:
        """Return how a span is bad by both clocks: what only one of them says is the clock's fault."""
        here = self.reality.now
        said = {_state(span, here), _state(span, here + self.host.offset if self.host else here)}
        return None if _GOOD in said else said.pop()

    def _crl(self) -> Cause | None:
        if self._is_bad(self._crl_span) != _EXPIRED:
            return None
        place = f"on {self.intent.host}" if self.host else f"in {self.record.path}"
        text = f"the CRL {place} expired on {_date(self._crl_span[1])}, and nginx lets nobody in without a valid one"
        return Cause("crl_expired", text, self.commands.refresh_crl)

    @property
    def _is_lost(self) -> bool:
        """Whether the host trusts an authority, and there is none on the controller to know who may enter."""
        return not self.record.authority and self.host is not None and self.host.ca is not None

    def _authority_missing(self) -> Cause | None:
        if not self._is_lost:
            return None
        text = f"there is no authority in {self.record.path}, and {self.intent.host} trusts one"
        return Cause("authority_missing", text, _RESTORE, keeps_out=False)

    def _authority_expired(self) -> Cause | None:
        if self._is_bad((None, self.record.ca_end)) is None:
            return None
        text = f"the CA certificate expired on {_date(self.record.ca_end)}, and with it all that it issued"
        remedy = (
            "renew it with mtls_ca_renew_before (docs/authorities.md), or set up a new authority"
            if self.record.issues
            else f"ask whoever runs {self.record.authority} for the next CA certificate"
        )
        return Cause("authority_expired", text, remedy)

    def _not_rolled_out(self) -> Cause | None:
        host = self.host
        if host is None:
            return None
        if not host.configured or host.allow is None:
            text = f"{self.intent.host} does not have the service yet: the inventory is ahead of the host"
        elif host.ca is None or host.crl is None:
            text = f"{'ca.crt' if host.ca is None else 'crl.pem'} is missing on {self.intent.host}"
        elif self.record.ca is not None and host.ca != self.record.ca:
            text = f"the CA certificates on {self.intent.host} are not those of {self.record.path}"
            remedy = f"if that is the wrong directory, {_RESTORE}; if it is the right one, {self.commands.site}"
            return Cause("not_rolled_out", text, remedy)
        else:
            return None
        return Cause("not_rolled_out", text, self.commands.site)

    # What is the client's own

    def _no_certificate(self) -> Cause | None:
        if self.certificate is not None or self._is_lost:
            return None
        if self.intent.revoked:
            return Cause("no_certificate", "it is revoked in the inventory and has no certificate", None)
        return Cause("no_certificate", f"{self.record.path} has issued no certificate to it yet", self.commands.site)

    def _other_authority(self) -> Cause | None:
        certificate = self.certificate
        if certificate is None or certificate.by_authority:
            return None
        if not certificate.serial:
            text = f"it is a client of {certificate.issuer}, and {self.where} takes those of {self.record.authority}"
        elif certificate.issuer == self.record.authority:
            text = f"{self.it} was signed by another key under the authority's own name ({certificate.issuer})"
        else:
            text = (
                f"{self.it} was issued by {certificate.issuer}, and {self.where} takes those of"
                f" {self.record.authority} only; browsers, Java, wget and many Go programs do not even send such a "
                f"certificate, and get '{_NEEDED}'"
            )
        if self.record.issues:
            return Cause("other_authority", text, f"use a certificate of {self.record.path}: see clients/ there")
        return Cause("other_authority", text, f"use a certificate of {self.record.authority}")

    def _wrong_purpose(self) -> Cause | None:
        if self.certificate is None or self.certificate.for_clients:
            return None
        return Cause("not_for_clients", f"{self.it} is not a client's certificate (extendedKeyUsage)", self._hand_out())

    def _weak(self) -> Cause | None:
        certificate = self.certificate
        if certificate is None or certificate.weakness is None or not certificate.by_authority:
            return None
        text = f"{self.it} {certificate.weakness}, which nginx's OpenSSL refuses"
        return Cause("weak", text, self._replace())

    def _revoked(self) -> Cause | None:
        if self.certificate is not None and not self.certificate.by_authority:
            return None  # a serial is its issuer's
        if not (self.record.revoked or (self.host and self.host.revoked)):
            if not self.intent.revoked or self.certificate is None:
                return None
            text = "the inventory revokes it, and the authority has not done so yet"
            return Cause("revoked", text, self.commands.site_everywhere, keeps_out=False)
        when = f" on {_date(self.record.revoked_at)}" if self.record.revoked_at else ""
        why = f" (reason: {self.record.reason})" if self.record.reason else ""
        text = f"{self.it} was revoked{when}{why}"
        if not self.record.revoked:
            text = f"the CRL on {self.intent.host} lists {self.it}, which is valid according to {self.record.path}"
            remedy = (
                f"if it was on hold and is released, {self.commands.refresh_crl}; otherwise {self.record.path} is an "
                f"older copy: restore the newest one, or {self.commands.recover}"
            )
            return Cause("revoked", text, remedy)
        if self.host and not self.host.revoked:
            text += f", and the CRL on {self.intent.host} does not say so yet"
            return Cause("revoked", text, self.commands.refresh_crl, keeps_out=False)
        return Cause("revoked", text, self._replace())

    def _dates(self) -> Cause | None:
        certificate = self.certificate
        if certificate is None:
            return None
        bad = self._is_bad((certificate.not_before, certificate.not_after))
        if bad == _EXPIRED:
            text = (
                f"{self.it} expired on {_date(certificate.not_after)}; browsers and Java from 26 on no longer offer "
                f"it, and get '{_NEEDED}', while other programs still send it"
            )
            return Cause("expired", text, self._replace())
        if bad == _EARLY:
            text = f"{self.it} is not valid before {_date(certificate.not_before)}"
            return Cause("not_yet_valid", text, self._replace())
        return None

    def _replace(self) -> str:
        """Return how to get a certificate in place of one that will never be good again."""
        if self.record.current or not self.record.issues:
            return self._hand_out()
        if self.intent.wanted:
            return f"{self.commands.site} issues a new one; then {self._hand_out()}"
        if self.intent.client is None:
            return f"if it should enter, add a client to mtls_clients and run {self.commands.site}"
        first = "remove its state: revoked from the inventory, " if self.intent.revoked else ""
        return f"if it should enter again, {first}run {self.commands.site_everywhere} and {self._hand_out()}"

    def _hand_out(self) -> str:
        if not self.record.issues:
            return f"ask whoever runs {self.record.authority} for a new certificate"
        name = self.intent.client
        return f"give the device the new certificate from {self.record.path}/clients/{f'{name}/' if name else ''}"

    def _list(self) -> Cause | None:
        """Compare the allow list in the inventory, the map on the host, and a subject that is nearly on it."""
        certificate = self.certificate
        meant = self._is_listed
        if certificate is None:
            return None if meant else self._not_listed()
        if not certificate.by_authority:
            return None
        if self.host is None or self.host.allow is None or not self.host.configured:
            return None if meant else self._spelled_otherwise(certificate) or self._not_listed()
        listed = self.host.lists(certificate.dn)
        if meant and not listed:
            if self.record.revoked or self.intent.revoked:
                return None  # a revoked client gets no line in the map
            return self._spelled_otherwise(certificate) or Cause(
                "not_rolled_out",
                f"the inventory lets {certificate.dn} in, and the map on {self.intent.host} does not have it yet",
                self.commands.site,
            )
        if listed and not meant:
            text = f"the map on {self.intent.host} still has {certificate.dn}, which the inventory no longer lists"
            return Cause("not_rolled_out", text, self.commands.site, keeps_out=False)
        return None if meant else self._spelled_otherwise(certificate) or self._not_listed()

    def _not_listed(self) -> Cause:
        allow = self.intent.allow or AllowList()
        dn = self.certificate.dn if self.certificate else ""
        close = nearest(self.intent.client or dn.rpartition("CN=")[2], allow.names)
        text = f"the allow list of {self.where} does not name it"
        text += f"; it names '{close}', who is somebody else" if close else "" if allow else ", and is empty"
        if self.intent.client is None:
            remedy = f"if it should enter, add its subject to {self._as_it_stands(dn)}"
        else:
            remedy = f"if it should enter, add {self.intent.client} to allow of the service {self.intent.service}"
        return Cause("not_listed", text, f"{remedy}, and run {self.commands.site}")

    def _spelled_otherwise(self, certificate: ClientCertificate) -> Cause | None:
        """Look for a subject that a person would take for the same: other order, case, accents or spaces."""
        subjects = [
            *self.record.allow_dns.values(),
            *(self.intent.allow.subjects if self.intent.allow else ()),
            *((self.host.allow or {}).get("subjects", ()) if self.host else ()),
        ]
        same = next((dn for dn in subjects if dn.lower() != certificate.dn.lower() and alike(dn, certificate.dn)), None)
        if same is None:
            return None
        text = f"{self.it} says {certificate.dn}, but the allow list says {same}, which to nginx is somebody else"
        owner = next((name for name, dn in self.record.allow_dns.items() if dn == same), None)
        if owner is None and not (self.intent.allow and same in self.intent.allow.subjects):
            return Cause("spelled_otherwise", text, self.commands.site)
        first = f"give the device the certificate of '{owner}', or " if owner else ""
        remedy = f"{first}write the subject into {self._as_it_stands(certificate.dn)} and run {self.commands.site}"
        return Cause("spelled_otherwise", text, remedy)

    def _as_it_stands(self, dn: str) -> str:
        """Return where a subject goes that no client of the inventory has, as YAML takes it."""
        quoted = "'" + dn.replace("'", "''") + "'"
        return f"allow of the service {self.intent.service} as it stands, {{dn: {quoted}}}"

    # What is only odd

    def _not_recorded(self) -> Cause | None:
        if self.record.recorded:
            return None
        text = f"{self.record.path} has no record of {self.it}, although its key has signed it"
        remedy = "if nobody knows where it comes from, name it in mtls_revoked"
        return Cause("not_recorded", text, f"{remedy} and run {self.commands.site_everywhere}", keeps_out=False)

    def _former_certificate(self) -> Cause | None:
        """Look for a device that comes with this subject and another certificate, and was not given the new one."""
        if self.host is None or self.certificate is None or not self.certificate.serial or self.record.current:
            return None
        visits = [request for request in self.host.requests if not request["probe"]]
        if not visits or visits[-1]["serial"] == self.certificate.serial or visits[-1]["verify"] == "SUCCESS":
            return None
        last = visits[-1]
        text = (
            f"on {last['when']} a device came with another certificate of the same subject, {last['serial']}, and got"
            f" {last['status']} ({_verified(last['verify'])})"
        )
        return Cause("former_certificate", text, self._hand_out(), keeps_out=False)

    def _old_crl(self) -> Cause | None:
        if not self.host or None in (self.host.crl, self.record.crl) or self.host.crl == self.record.crl:
            return None
        if self._is_bad(self._crl_span) == _EXPIRED or (self.record.revoked and not self.host.revoked):
            return None  # said already
        text = f"the CRL on {self.intent.host} is not the one in {self.record.path}"
        return Cause("old_crl", text, self.commands.refresh_crl, keeps_out=False)

    def _host_unknown(self) -> Cause | None:
        if self.host is not None:
            return None
        text = f"{self.intent.host} itself could not be examined ({self.reality.trouble})"
        return Cause("host_unknown", text, self.commands.ping, keeps_out=False)

    def _unread_logs(self) -> Cause | None:
        """Say that no request of the client is known because logs could not be read, and not because none came."""
        if self.host is None or not self.host.unread or self.host.requests:
            return None
        text = f"it is not known whether it came lately, because {', '.join(self.host.unread)} could not be read"
        return Cause("log_unread", text, "decompress it there, and have logrotate use gzip", keeps_out=False)

    def _http3(self) -> Cause | None:
        if not self.host or not self.host.http3:
            return None
        text = (
            f"a server block with the snippet of {self.where} also listens for HTTP/3, over which browsers send an"
            f" empty certificate: they read '{_NEEDED}', and do not fall back"
        )
        remedy = "take `listen … quic` and the Alt-Svc header out of that server block, and reload nginx"
        return Cause("http3", text, remedy, keeps_out=False)

    # What programs did, as far as nginx has logged it

    def with_callers(self, findings: list[Cause]) -> list[Cause]:
        """Return the findings with what the client's program seems to have done."""
        own = [request for request in self._own_requests() if not request["probe"]]
        last = own[-1] if own else None
        answer = self.reality.answer
        is_in = self.reality.as_client and answer is not None and answer.status == probe.LET_IN
        found = [None if is_in else self._reports_success(last)]
        if self.certificate and self.certificate.serial and not any(finding.keeps_out for finding in findings):
            found.append(self._sends_none(last))
        return findings + [each for each in found if each]

    @staticmethod
    def _reports_success(last: Mapping[str, t.Any] | None) -> Cause | None:
        """Look for a client that was refused, by a program that ends with exit status 0 all the same."""
        if last is None or last["status"] not in (probe.NO_OR_BAD_CERTIFICATE, probe.NOT_ON_THE_LIST):
            return None
        known = program(last["agent"])
        if known.succeeds is None:
            return None
        text = f"{known.name} was refused with it on {last['when']} ({last['status']}), but ended with exit status 0"
        return Cause(
            "reports_success", text, f"to make {known.name} fail in that case: {known.succeeds}", keeps_out=False
        )

    def _sends_none(self, last: Mapping[str, t.Any] | None) -> Cause | None:
        """Look for a program that came without a certificate after the client last came with its own."""
        since = _logged_at(last) if last else None
        came = [each for each in (self.host.without if self.host else ()) if (_logged_at(each) or 0) > (since or 0)]
        if not came:
            return None
        latest = came[-1]
        known = program(one_line(latest["agent"]))
        text = f"{known.name} at {latest['caller']} came without a certificate on {latest['when']} and got 400"
        others = {program(one_line(each["agent"])).name for each in came} - {known.name}
        if others:
            text += f", and before that {first_few(sorted(others), 3)}"
        return Cause("sends_none", text, f"if that is this client: {known.remedy}", keeps_out=False)

    # What nginx itself has logged

    def with_log(self, findings: list[Cause]) -> list[Cause]:
        """Return the findings with what nginx last logged of this certificate, which counts more than deduction."""
        own = self._own_requests()
        if own and own[-1]["verify"] == "SUCCESS":  # this host's OpenSSL takes what others refuse
            findings = [finding for finding in findings if finding.cause != "weak"]
        request = self._last_refusal()
        if request is None:
            return findings
        words = verify_errors.words_of(request["verify"]) or ""
        error = verify_errors.explain(words)
        if error is not None and not error.chains:
            findings = [finding for finding in findings if finding.cause != "other_authority"]
        if error is not None and any(finding.keeps_out and finding.cause in error.said_by for finding in findings):
            return findings
        text = f"on {request['when']} nginx refused {self.it} ({one_line(words)[:_LONGEST_QUOTE]})"
        if error is None:
            return [
                Cause("refused", text, f"see OpenSSL's manual for these words; then {self.commands.reload}"),
                *findings,
            ]
        return [Cause("refused", f"{text}: {error.sentence}", self._remedies[error.remedy]), *findings]

    def _own_requests(self) -> list[Mapping[str, t.Any]]:
        serial = self.certificate.serial if self.certificate else ""
        return [request for request in (self.host.requests if self.host else ()) if request["serial"] == serial]

    def _last_refusal(self) -> Mapping[str, t.Any] | None:
        """Return the last request with this certificate, if it was refused and nothing has changed since that helps."""
        certificate, answer = self.certificate, self.reality.answer
        if self.host is None or certificate is None or not certificate.serial:
            return None
        if self._guards_nothing or (self.reality.as_client and answer is not None and answer.status == probe.LET_IN):
            return None
        own = self._own_requests()
        words = verify_errors.words_of(own[-1]["verify"]) if own else None
        if words is None:
            return None
        seconds = _logged_at(own[-1])
        error = verify_errors.explain(words)
        since = [certificate.not_before, self.host.crl_begin if error and error.by_crl else None]
        if seconds is not None:
            logged = datetime.fromtimestamp(seconds, timezone.utc) - self.host.offset
            if any(moment is not None and logged < moment for moment in since):
                return None
        return own[-1]

    @property
    def _remedies(self) -> Mapping[Remedy, str]:
        path = self.record.path
        return {
            Remedy.NEW_CERTIFICATE: self._replace(),
            Remedy.NEW_CRL: self.commands.refresh_crl,
            Remedy.COMPLETE_CRL: (
                f"{self.commands.refresh_crl}; if the CRL comes from elsewhere (mtls_ca_trust, mtls_ca_parent_crl),"
                " replace it with a complete one first"
            ),
            Remedy.CA: (
                f"replace the CA: {self.commands.rollover}"
                if self.record.issues
                else f"ask whoever runs {self.record.authority}"
            ),
            Remedy.NAME: (
                "give the client a subject that these constraints allow (subject in mtls_clients; where they are about"
                f" DNS names, a CN without a dot), and {self.commands.site}"
            ),
            Remedy.DATES: f"compare the clock of {self.intent.host} with the dates of the CAs in {path}/ca.crt",
            Remedy.CLOCK: self._set_clock,
            Remedy.SITE: self.commands.site,
            Remedy.RELOAD: f"nginx may still run with an older configuration: {self.commands.reload}",
        }

    def alarmed(self, findings: Sequence[Cause]) -> list[Cause]:
        """Return the findings when somebody is let in who must not be: how to let them in is not the question then."""
        if self._is_open:
            return list(findings)
        text, remedy = "whoever has this certificate is let in now", None
        if self.host and any(finding.keeps_out for finding in findings):
            text += f", although the files on {self.intent.host} keep it out: nginx runs with an older configuration"
            remedy = self.commands.reload
        elif not any(finding.cause in _WHY_STILL_IN and not finding.keeps_out for finding in findings):
            remedy = self.commands.site
        alarm = Cause("let_in_against_inventory", text, remedy, keeps_out=False)
        return [alarm, *(replace(finding, remedy=None) if finding.keeps_out else finding for finding in findings)]

    def unexplained(self) -> Cause:
        """Return that nothing here says why, and what nginx's own log says."""
        text = "inventory, record and the host's files all say that it may enter"
        if self.host and self.host.errors:
            last = self.host.errors[-1]
            if self.intent.proxied:
                last = last.replace(", client: ", ", client (the proxy in front): ", 1)
            text += f"; the last that nginx's error log says of TLS is: {one_line(last)[:_LONGEST_QUOTE]}"
        return Cause("unexplained", text, f"nginx may still run with an older configuration: {self.commands.reload}")

    # In words

    def verdict(self, let_in: bool | None) -> str:
        """Return the first sentence, without its full stop."""
        wants = f"the inventory {self._wants(self.meant)}"
        if let_in is None:
            return f"It is not known whether {self._sentence('is let in')}; {wants}"
        if self._is_open:
            return f"ALARM: everybody is let in to the service {self.intent.service} on {self.intent.host}"
        if let_in and self.must_not:
            but = "the authority has revoked its certificate" if self.meant else wants
            return f"ALARM: {self._sentence('IS let in' if self._asked else 'would be let in')}, and {but}"
        if let_in:
            sentence = self._sentence("is let in" if self._asked else "would be let in")
            return f"{_capital(sentence)}, as the inventory wants it"
        return _capital(self._sentence("is not let in")) + (f", though {wants}" if self.meant else "")

    def _sentence(self, verb: str) -> str:
        return f"{self.intent.who} {verb} to the service {self.intent.service} on {self.intent.host}"

    @staticmethod
    def _wants(meant: bool) -> str:
        return "wants it to enter" if meant else "does not want it to enter"

    @property
    def _asked(self) -> bool:
        return self.reality.as_client and self.reality.answer is not None

    def proof(self) -> str:
        """Return how that is known."""
        if not self.intent.present:
            return ""
        answer = self.reality.answer
        if self.reality.not_asked:
            return f"{_capital(self.reality.not_asked)}; that follows from the record and the host's files."
        if answer is None or answer.status is None:
            return ""
        if not self.reality.as_client:
            return (
                "Its private key is not on the controller, or does not fit, or is encrypted, so the request was made "
                f"without a certificate and got {answer.status}; the rest follows from the record and the host's files "
                "and logs."
            )
        said = next(
            (request for request in reversed(self.host.requests if self.host else ()) if request["probe"]), None
        )
        logged = f", and nginx logged: {_verified(said['verify'])}" if said else ""
        return f"A request with its own certificate got {answer.status}{logged}."


def _logged_at(request: Mapping[str, t.Any]) -> int | None:
    """Return when a request was logged, in seconds since 1970, or None for an invalid date."""
    return LoggedRequest(request["when"], 0, False, "", "", "").moment


_Span = tuple[t.Optional[datetime], t.Optional[datetime]]
_GOOD, _EARLY, _EXPIRED = "valid", "not yet valid", "expired"


def _state(span: _Span, moment: datetime) -> str:
    begin, end = span
    if begin is not None and moment < begin:
        return _EARLY
    return _EXPIRED if end is not None and moment >= end else _GOOD


def _verified(verify: str) -> str:
    """Nginx's $ssl_client_verify without what a person need not see."""
    return {"NONE": "no certificate", "SUCCESS": "a good certificate"}.get(verify, verify.replace("FAILED:", ""))


def _date(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC") if moment else "a date that is not known"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
