# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How things stand, as data: who may enter where, when everything expires, and what is to be done about it.

`judge.py` finds it out; `page.py`, `document.py` and `metrics.py` say it, each in its form.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.ownership import Unmanaged
from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import first_few

# How a certificate stands. UNRECORDED is one that the authority's record does not know, ELSEWHERE one of an external
# CA, which alone knows it.
VALID, SOON, ENDED, REVOKED, UNRECORDED, NONE = "valid", "soon", "ended", "revoked", "unrecorded", "none"
ELSEWHERE = "elsewhere"
# A CRL that is valid, but no longer long enough to be installed on a host.
SHORT = "short"
# How urgent a finding is: somebody is or will be shut out or let in wrongly; it will be so; it is good to know.
ACT_NOW, ACT_SOON, NOTE = "now", "soon", "note"
# How far a client is with its next certificate.
WAITING, FETCHED, USED = "waiting", "fetched", "used"
# How a host stands, when asked.
NOT_ASKED, ANSWERS, WRONG, UNREACHABLE = "not asked", "as it should be", "wrong", "unreachable"


@dataclass(frozen=True)
class CertificateStatus:
    """A certificate as it stands; without one, and of one issued elsewhere, there is no serial and no date."""

    state: str
    serial: str | None = None
    not_after: datetime | None = None

    @property
    def works(self) -> bool:
        """Whether it lets its holder in, as far as is known here."""
        return self.state in (VALID, SOON, ELSEWHERE)


@dataclass(frozen=True)
class ServiceStatus:
    """One service of one host. `allow` is None where every valid client may enter.

    `subjects` are on its allow lists as they stand, in nginx's DN format.
    `certificate` is None where the server certificate is not the authority's.
    """

    host: str
    name: str
    server_names: tuple[str, ...]
    allow: tuple[str, ...] | None
    certificate: CertificateStatus | None
    subjects: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Host and name: ``nas/photos``."""
        return f"{self.host}/{self.name}"


@dataclass(frozen=True)
class RenewalStatus:
    """A client's next certificate, which it can fetch through the gate: `certificate` of the client is that one.

    `state` is waiting, fetched or used. `until` is when the certificate expires that it follows.
    """

    state: str
    until: datetime
    fetched: datetime | None = None
    used: datetime | None = None


@dataclass(frozen=True)
class ClientStatus:
    """A client that the inventory wants: the services (`id`) that it enters, and those that wait for a certificate.

    `renewal` is None where no other certificate than the last one is valid, or where nothing is fetched.
    """

    name: str
    dn: str | None
    certificate: CertificateStatus
    enters: tuple[str, ...]
    waits: tuple[str, ...]
    renewal: RenewalStatus | None = None


@dataclass(frozen=True)
class RevokedStatus:
    """A revoked certificate: `name` is its holder's, or its CN."""

    name: str
    serial: str
    revoked_at: datetime | None
    reason: str
    not_after: datetime


@dataclass(frozen=True)
class CrlStatus:
    """One CRL in crl.pem: ours first, then those of the CAs above. `state` is valid, soon (overdue), short or ended."""

    issuer: str
    number: int
    last_update: datetime
    next_update: datetime
    entries: int
    state: str


@dataclass(frozen=True)
class StatusFinding:
    """Something to be done, and how: `about` are the names it concerns, `command` what to run, if that helps."""

    level: str
    kind: str
    title: str
    remedy: str
    about: tuple[str, ...] = ()
    command: str | None = None
    authority: str | None = None

    @property
    def text(self) -> str:
        """One line: the title, and the first names."""
        return f"{self.title}: {first_few(self.about)}" if self.about else self.title


@dataclass(frozen=True)
class AuthorityStatus:
    """One authority and all that it serves; `subject` is None where there is none, or none that can be read.

    `contact` is whom people may ask. One that `follows` another is to take its place.
    """

    path: str
    subject: str | None = None
    certificate: CertificateStatus = CertificateStatus(NONE)
    crls: tuple[CrlStatus, ...] = ()
    services: tuple[ServiceStatus, ...] = ()
    clients: tuple[ClientStatus, ...] = ()
    unmanaged: tuple[Unmanaged, ...] = ()
    revoked: tuple[RevokedStatus, ...] = ()
    findings: tuple[StatusFinding, ...] = ()
    contact: Contact | None = None
    follows: bool = False

    @property
    def open_services(self) -> tuple[str, ...]:
        """Services without an allow list: unmanaged clients enter them too."""
        return tuple(service.id for service in self.services if service.allow is None)


@dataclass(frozen=True)
class ServedStatus:
    """A server certificate that was seen at a service. `own`: it is to be one of the host's own.

    `stands_in`: it is the authority's instead. `trouble` is what is wrong with it, as the end of a sentence.
    """

    service: str
    issuer: str
    begin: datetime
    end: datetime
    own: bool
    stands_in: bool
    trouble: str | None


@dataclass(frozen=True)
class HostStatus:
    """What a host was found to be; `nginx` is its version, `attempts` are those of the probe.

    `open` are those of the troubles that say who was let in and must not be, `unfetched` those that say why it could
    not fetch its CRL; `unguarded` are the paths of snippets that no server block includes, `not_asked` says which could
    not be asked, `unanswered` which services open, and have no page behind the gate. `broken` are those that say what
    keeps the running nginx from coming up again, `elsewhere` says at which addresses another server block answers in a
    service's place. `served` are the server certificates that were seen, `behind` says what is revoked and not on the
    CRL there.
    """

    name: str
    state: str
    nginx: str | None = None
    attempts: tuple[Mapping[str, t.Any], ...] = ()
    troubles: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    unguarded: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()
    unfetched: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    served: tuple[ServedStatus, ...] = ()
    behind: tuple[str, ...] = ()


@dataclass(frozen=True)
class Upkeep:
    """Since when upkeep runs, when each of its playbooks last succeeded, and after how many days without to warn."""

    warn_days: int
    since: datetime
    succeeded: Mapping[str, datetime]


@dataclass(frozen=True)
class Status:
    """All of it, as it is at `now`. `warn_days` is None where each certificate is judged by its own renewal."""

    now: datetime
    warn_days: int | None
    authorities: tuple[AuthorityStatus, ...]
    hosts: tuple[HostStatus, ...] = ()
    findings: tuple[StatusFinding, ...] = ()
    upkeep: Upkeep | None = None

    @property
    def due(self) -> bool:
        """Whether somebody must do something."""
        return any(finding.level != NOTE for finding in self.findings)

    @property
    def summary(self) -> str:
        """One line for a job's log."""
        counted = [authority for authority in self.authorities if not authority.follows]  # it serves the same ones
        clients = sum(len(authority.clients) for authority in counted)
        services = sum(len(authority.services) for authority in counted)
        said = [finding.text for finding in self.findings if finding.level != NOTE]
        what = "; ".join(said) or "nothing needs attention"
        return f"{_count(clients, 'client')}, {_count(services, 'service')}: {what}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
