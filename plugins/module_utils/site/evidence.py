# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory and the authorities know of one client at one service.

This needs neither an authority's key nor its passphrase; ``diagnosis.py`` judges it.
"""

from __future__ import annotations

import hashlib
import os
import typing as t
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Entry, Holder, Published
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, numbers, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import (
    read_certificates,
    read_one,
    was_issued_by,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import nginx_dn
from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import TRUST
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles, Layout
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import nearest
from ansible_collections.mtls.nginx.plugins.module_utils.site.diagnosis import (
    AuthorityRecord,
    ClientCertificate,
    Intent,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import AuthorityPlan
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # the doctor action runs where ansible-core does, and that brings cryptography
    pass


@dataclass(frozen=True)
class Question:
    """Whether this client, or the holder of this certificate file, may enter this service of this host."""

    host: str
    service: str
    client: str | None = None
    certificate: str | None = None


@dataclass(frozen=True)
class Evidence:
    """The answer of the inventory and of the record.

    ``identity`` are the paths of certificate and private key, ``service`` is None where the host is not to have it.
    """

    intent: Intent
    record: AuthorityRecord
    service: Service | None = None
    identity: tuple[str, str] | None = None


def gather(question: Question, plans: Mapping[str, AuthorityPlan]) -> Evidence:
    """Look the question up in the plans of all authorities and in the directory of the one whose clients may enter.

    :raises MtlsError: nobody knows the service or the client (it says the nearest name), or the file holds no
        certificate.
    """
    plan, service, elsewhere = _service(question, plans)
    definitions = {client["name"]: client for client in plan.clients}
    published = _published(plan.path)
    path: str | None
    certificate: x509.Certificate | str | None
    if question.certificate is not None:
        given = read_one(question.certificate)
        path, certificate, home = question.certificate, given, plan
        name = _holder(given, published) if published else None
        who = f"the certificate {os.path.basename(path)} ({nginx_dn(given.subject)})"
    else:
        path, certificate, home = _client(question, plan, plans, published)
        name = question.client
        who = f"client '{name}'"
    definition = definitions.get(name or "")
    revoked = definition is not None and definition.get("state") == "revoked"
    present = service is not None and service.present
    intent = Intent(
        host=question.host,
        service=question.service,
        who=who,
        client=name,
        allow=service.allow if service else None,
        wanted=definition is not None and not revoked and question.certificate is None,
        given=question.certificate is not None,
        revoked=revoked,
        proxied=bool(service and service.proxy_protocol_from),
        present=present,
        elsewhere=elsewhere,
    )
    record = _record(plan, published, certificate, name, intent.allow.names if intent.allow else ())
    if home is not plan and not isinstance(certificate, x509.Certificate):
        dn = certificate or name or ""
        record = replace(record, certificate=ClientCertificate(dn, issuer=_ca_name(home.path), by_authority=False))
    identity = _identity(path, certificate) if path and certificate is not None else None
    return Evidence(intent, record, service if present else None, identity)


def _service(
    question: Question, plans: Mapping[str, AuthorityPlan]
) -> tuple[AuthorityPlan, Service | None, tuple[str, ...]]:
    """Return the plan of the service's authority and the service on this host, else None and the hosts that have it."""
    every = [(plan, host, service) for plan in plans.values() for host, service in plan.services]
    for plan, host, service in every:
        if (host, service.name) == (question.host, question.service):
            return plan, service, ()
    elsewhere = [(plan, host) for plan, host, service in every if service.name == question.service and service.present]
    if elsewhere:
        return elsewhere[0][0], None, tuple(dict.fromkeys(host for _plan, host in elsewhere))
    here = sorted(service.name for _plan, host, service in every if host == question.host)
    raise MtlsError(
        f"host {question.host} has no service '{question.service}'{_hint(question.service, here, 'it has')}"
    )


def _client(
    question: Question,
    plan: AuthorityPlan,
    plans: Mapping[str, AuthorityPlan],
    published: Published | None,
) -> tuple[str | None, x509.Certificate | str | None, AuthorityPlan]:
    """Return a client's certificate file, what is in it, and the plan of the authority whose client it is.

    Of the client of somebody else's authority only the subject is known, of one without a certificate nothing.
    """
    name = question.client or ""
    places = [plan, *(other for other in plans.values() if other is not plan)]
    for place in places:
        authority = published if place is plan else _published(place.path)
        holders = authority.holders(name) if authority else []
        if not holders:
            if any(client["name"] == name for client in place.clients):
                return None, None, place
            continue
        if not holders[-1].serial:
            return None, holders[-1].dn, place
        path = _certificate_path(place.path, name)
        return path, read_certificates(path)[0], place
    known = {client["name"] for place in places for client in place.clients}
    raise MtlsError(f"the inventory has no client '{name}'{_hint(name, sorted(known), 'it has')}")


def _certificate_path(authority: str, name: str) -> str:
    """Return where a client's certificate is; during a rollover that of the next authority, if it has one."""
    paths = [
        ClientFiles.of(Layout(path).clients, name).certificate for path in (handover.next_path(authority), authority)
    ]
    return next(path for path in paths if os.path.exists(path))


def _ca_name(path: str) -> str:
    """Return an authority's subject, or where it is going to be."""
    published = _published(path)
    return nginx_dn(x509.load_pem_x509_certificates(published.chain())[0].subject) if published else path


def _published(path: str) -> Published | None:
    return read_authority(path) if os.path.exists(Layout(path).certificate) else None


def _hint(name: str, known: list[str], has: str) -> str:
    close = nearest(name, known)
    if close:
        return f"; did you mean '{close}'?"
    if not known:
        return f"; {has} none"
    return f"; {has} {first_few(known, 10)}"


def service_names(host: str, plans: Mapping[str, AuthorityPlan]) -> list[str]:
    """Return the names of a host's services, sorted, for a message."""
    return sorted(service.name for plan in plans.values() for owner, service in plan.services if owner == host)


def _holder(certificate: x509.Certificate, published: Published) -> str | None:
    """Whose certificate it is: by its serial, else by its subject, which a former certificate shares."""
    serial, dn = numbers.hexadecimal(certificate.serial_number), nginx_dn(certificate.subject).lower()
    by_dn = None
    for name in published.names():
        for holder in published.holders(name):
            if holder.serial == serial:
                return name
            if holder.dn.lower() == dn:
                by_dn = name
    return by_dn


def _record(
    plan: AuthorityPlan,
    published: Published | None,
    certificate: x509.Certificate | str | None,
    name: str | None,
    allow: Iterable[str],
) -> AuthorityRecord:
    issues = plan.settings["backend"] != TRUST
    if published is None:
        return AuthorityRecord(authority="", path=plan.path, issues=issues)
    chain_pem, crl_pem = published.chain(), published.crl_as_it_is()
    chain = x509.load_pem_x509_certificates(chain_pem)
    found = crls.parse_crls(crl_pem, Layout(plan.path).crl) if crl_pem else []
    signer = _signer(certificate, chain)
    about = _about(certificate, signer is not None)
    holders = published.holders(name) if name else []
    entry = published.record.get(about.serial) if about and about.by_authority and about.serial else None
    return AuthorityRecord(
        authority=nginx_dn(chain[0].subject),
        path=plan.path,
        certificate=about,
        issues=issues,
        recorded=entry is not None or not (issues and about and about.by_authority),
        current=_current(holders, about),
        allow_dns={listed: holder.dn for listed in allow for holder in published.holders(listed)},
        ca_end=(signer or chain[0]).not_valid_after_utc,
        crl_end=min((crls.state_of(crl).next_update for crl in found), default=None),
        ca=hashlib.sha256(chain_pem).hexdigest(),
        crl=hashlib.sha256(crl_pem).hexdigest() if crl_pem else None,
        **_revocation(entry, about, found),
    )


def _current(holders: Sequence[Holder], about: ClientCertificate | None) -> str | None:
    """Return the serial of the client's certificate, where that in question is another one."""
    serials = [holder.serial for holder in holders if holder.serial]
    return serials[-1] if about and serials and about.serial not in serials else None


def _signer(certificate: x509.Certificate | str | None, chain: list[x509.Certificate]) -> x509.Certificate | None:
    if certificate is None or isinstance(certificate, str):
        return None
    return next((ca for ca in chain if was_issued_by(certificate, ca)), None)


def _about(certificate: x509.Certificate | str | None, by_authority: bool) -> ClientCertificate | None:
    if certificate is None:
        return None
    if isinstance(certificate, str):
        return ClientCertificate(certificate)
    return ClientCertificate(
        dn=nginx_dn(certificate.subject),
        serial=numbers.hexadecimal(certificate.serial_number),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        issuer=nginx_dn(certificate.issuer),
        by_authority=by_authority,
        for_clients=profiles.is_for(certificate, profiles.CLIENT),
        weakness=profiles.weakness(certificate),
    )


def _revocation(entry: Entry | None, about: ClientCertificate | None, listed: Sequence[crls.Crl]) -> dict[str, t.Any]:
    """Return what the record says of a revocation, and of what is not recorded here, what the CRL says."""
    if entry is not None:
        return {"revoked": entry.status == "revoked", "revoked_at": entry.revoked_at, "reason": entry.reason}
    if about is None or not about.serial or not about.by_authority:
        return {}
    for crl in listed:
        found = crl.parsed.get_revoked_certificate_by_serial_number(int(about.serial, 16))
        if found is not None:
            return {"revoked": True, "revoked_at": found.revocation_date_utc, "reason": _reason(found)}
    return {}


def _reason(listed: x509.RevokedCertificate) -> str | None:
    try:
        return listed.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return None


def _identity(path: str, certificate: x509.Certificate | str) -> tuple[str, str] | None:
    """Return the paths of the certificate and of the private key beside it, None unless that is readable and fits."""
    key_path = f"{os.path.splitext(path)[0]}.key"
    try:
        with open(key_path, "rb") as stream:
            key = serialization.load_pem_private_key(stream.read(), None)
        with open(path, "rb") as stream:
            in_pem = b"-----BEGIN " in stream.read()
    except (OSError, ValueError, TypeError):  # not there, damaged, encrypted
        return None
    fits = not isinstance(certificate, str) and key.public_key() == certificate.public_key()
    return (path, key_path) if fits and in_pem else None
