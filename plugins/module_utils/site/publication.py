# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one host gets of an authority: its chain, its CRL, who may enter, and the host's server certificates.

Read from the authority's directory on the controller, without its key and without its lock.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Holder, Published
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import open_directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, crls, keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.numbers import hexadecimal
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import nginx_dn, subject_name
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles, Layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import nearest
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

try:
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass

_REMEDY = "run the role mtls.nginx.ca (site.yml does) first"


@dataclass(frozen=True)
class Credential:
    """A certificate of the authority's with its key: PEM texts, leaf first."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Publication:
    """What one host gets of an authority; ``chain`` and ``crl`` are in PEM.

    ``client_dns`` maps the clients on allow lists that may be let in to their subjects in nginx's format. ``refused``
    has those, by service, that are on an allow list but revoked; ``credentials`` are those of servers, by service, and
    ``upstream_clients`` those with which services come to their upstreams.
    """

    chain: str
    crl: str
    client_dns: Mapping[str, Sequence[str]]
    refused: Mapping[str, Sequence[str]]
    credentials: Mapping[str, Credential]
    upstream_clients: Mapping[str, Credential] = field(default_factory=dict)


def publish(
    path: str,
    host: str,
    services: Sequence[Service],
    crl_min_days: int,
    revoked: Callable[[], Collection[str]] = frozenset,
) -> Publication:
    """Return what the authority in ``path`` has for ``host``.

    ``revoked`` gives the clients that the inventory wants revoked; it is asked where one was never issued anything.

    :raises MtlsError: a client on an allow list was never issued a certificate, a server certificate is missing, or the
        CRL would lock everybody out, now or within ``crl_min_days``.
    """
    present = [service for service in services if service.present]
    authority = read_authority(path)
    chain, crl = authority.chain().decode(), publish_crl(path, crl_min_days)
    dns: dict[str, Sequence[str]] = {}
    refused: dict[str, list[str]] = {}
    for service in present:
        for name in service.named:
            holders = authority.holders(name)
            if not holders and name not in revoked():
                raise _never_issued(host, service, name, authority.names())
            valid = [holder.dn for holder in holders if authority.record.is_valid(holder.serial)]
            if valid:
                dns[name] = list(dict.fromkeys(valid))
            else:
                refused.setdefault(service.name, []).append(name)
    credentials = {service.name: _credential(path, host, service) for service in present if service.issued_by_authority}
    for service in present:
        if service.may_stand_in:
            with contextlib.suppress(MtlsError):  # the authority may be unable to issue it
                credentials[service.name] = _credential(path, host, service)
    clients = {
        service.name: _upstream_client(path, host, service, authority) for service in present if service.upstream_client
    }
    return Publication(chain, crl, dns, refused, credentials, clients)


def publish_crl(path: str, min_days: int) -> str:
    """Return the CRLs of the authority in ``path``, in PEM.

    :raises MtlsError: nginx must not be given one of them (see ``crls.check_shippable``), or one expires within
        ``min_days``: nginx refuses everybody from then on.
    """
    pem, now = read_authority(path).crl(), times.now()
    for crl in crls.parse_crls(pem, path):
        end = crls.state_of(crl).next_update
        if is_too_short(end, now, min_days):
            remedy = (
                "run the playbook mtls.nginx.refresh_crl, with mtls_crl_days and mtls_crl_refresh_before above"
                " mtls_crl_min_days (a CA above renews its own CRL)"
            )
            if Layout(path).is_trusted():
                remedy = (
                    "if the external CA signs CRLs that are valid for so short a time, set mtls_crl_min_days below"
                    " that (0 for a day) and run mtls.nginx.refresh_crl more often than that; otherwise ask whoever"
                    " runs it for a new one"
                )
            raise MtlsError(
                f"{path}: the CRL expires on {times.iso(end)}, within the {min_days} days of"
                f" mtls_crl_min_days, so it is not installed on hosts; {remedy}"
            )
    return pem.decode()


def is_too_short(next_update: datetime, now: datetime, min_days: int) -> bool:
    """Return whether a CRL expires too soon to be given to nginx: within ``min_days`` days (``mtls_crl_min_days``)."""
    return (next_update - now).days < min_days


def rehearse(
    path: str,
    host: str,
    services: Sequence[Service],
    clients: Sequence[Mapping[str, Any]],
    servers: Sequence[Mapping[str, Any]] = (),
) -> Publication:
    """Return what the authority would have for ``host`` after a run, for check mode: nothing is written.

    ``clients`` are the inventory's, ``servers`` what it asks of the authority for hosts. Certificates of an authority
    that exists during this call only take the place of what has yet to be issued, so that the host's nginx can be asked
    about the rest.

    :raises MtlsError: an allow list names somebody who is no client.
    """
    present = [service for service in services if service.present]
    known = read_authority(path) if os.path.exists(Layout(path).certificate) else None
    definitions = {client["name"]: client for client in clients}
    dns: dict[str, Sequence[str]] = {}
    refused: dict[str, list[str]] = {}
    for service in present:
        for name in service.named:
            definition = definitions.get(name)
            if definition is None:
                raise _unknown(host, service, name, definitions)
            if definition.get("state") == "revoked":
                refused.setdefault(service.name, []).append(name)
            else:
                dns[name] = _future_dns(definition, known.holders(name) if known else ())
    with tempfile.TemporaryDirectory(prefix="mtls-rehearsal-") as folder:
        try:
            chain, crl = _trust(path)
        except MtlsError:
            _make_up_authority(folder)
            chain, crl = _trust(folder)
        credentials = {}
        for service in present:
            stands_in = any((each["host"], each["name"]) == (host, service.name) for each in servers)
            if not service.issued_by_authority and not (service.may_stand_in and stands_in):
                continue
            try:
                credentials[service.name] = _credential(path, host, service)
            except MtlsError:
                _make_up_authority(folder)
                credentials[service.name] = _make_up_credential(folder, service)
        comers = {}
        for service in present:
            if not service.upstream_client:
                continue
            try:
                if known is None:
                    raise _not_issued_yet(host, service)
                comers[service.name] = _upstream_client(path, host, service, known)
            except MtlsError:
                _make_up_authority(folder)
                comers[service.name] = _make_up_credential(folder, service)
    return Publication(chain.decode(), crl.decode(), dns, refused, credentials, comers)


def _trust(path: str) -> tuple[bytes, bytes]:
    authority = read_authority(path)
    return authority.chain(), authority.crl()


def _future_dns(definition: Mapping[str, Any], holders: Sequence[Holder]) -> list[str]:
    if definition.get("subject") or not holders:
        return [nginx_dn(subject_name(definition.get("subject") or {"CN": definition["name"]}, definition["name"]))]
    return list(dict.fromkeys(holder.dn for holder in holders))


def _never_issued(host: str, service: Service, name: str, known: Collection[str]) -> MtlsError:
    close = nearest(name, known)
    hint = f"did you mean '{close}'? Otherwise {_REMEDY}" if close else _REMEDY
    return MtlsError(f"host {host}, service {service.name}: allow names '{name}', who has no certificate yet; {hint}")


def _unknown(host: str, service: Service, name: str, known: Collection[str]) -> MtlsError:
    close = nearest(name, known)
    hint = f"did you mean '{close}'?" if close else "add it to mtls_clients"
    return MtlsError(f"host {host}, service {service.name}: allow names '{name}', which is not a client; {hint}")


def _credential(path: str, host: str, service: Service) -> Credential:
    stem = Layout(path).server(host, service.name)
    try:
        with open(f"{stem}.crt", encoding="ascii") as certificate, open(f"{stem}.key", encoding="ascii") as key:
            return Credential(certificate.read(), key.read())
    except FileNotFoundError as error:
        raise MtlsError(
            f"host {host}, service {service.name}: has no server certificate ({error.filename} is missing); {_REMEDY}"
        ) from error


def _upstream_client(path: str, host: str, service: Service, authority: Published) -> Credential:
    """Return the certificate with which nginx comes to a service's upstream, with the CAs below the root, and its key.

    A client that has moved to the next authority of a rollover comes with that one's.
    """
    name = service.upstream_client or ""
    place = next(
        (
            each
            for each in (ClientFiles.of(Layout(root).clients, name) for root in (handover.next_path(path), path))
            if os.path.exists(each.certificate)
        ),
        None,
    )
    if place is None:
        raise _not_issued_yet(host, service)
    certificate = chains.read_certificates(place.certificate)[0]
    if not authority.record.is_valid(hexadecimal(certificate.serial_number)):
        raise MtlsError(
            f"host {host}, service {service.name}: upstream_tls: the certificate of client '{name}' is revoked;"
            f" {_REMEDY}, or name another client"
        )
    try:
        with open(place.key, encoding="ascii") as key:
            private = key.read()
    except FileNotFoundError:
        raise MtlsError(
            f"host {host}, service {service.name}: upstream_tls: the key of client '{name}' is not here ({place.key} is"
            " missing), so nginx cannot come as that client; name one whose key the authority keeps, without csr and"
            " with mtls_keep_client_keys: true"
        ) from None
    sent, bundle = [certificate], chains.read(authority.chain().decode())
    while above := next((ca for ca in bundle if ca not in sent and chains.was_issued_by(sent[-1], ca)), None):
        sent.append(above)
    return Credential(chains.pem([each for each in sent if each.subject != each.issuer]).decode(), private)


def _not_issued_yet(host: str, service: Service) -> MtlsError:
    return MtlsError(
        f"host {host}, service {service.name}: upstream_tls: client '{service.upstream_client}' has no certificate yet;"
        f" {_REMEDY}"
    )


def _make_up_authority(folder: str) -> None:
    creation.ensure(
        WantedAuthority(
            path=folder,
            subject={"CN": "Stands in for an authority that is not there yet"},
            key=keys.KeyKind("ecdsa", curve="P-256"),
            passphrase=None,
            days=1,
            crl_days=1,
        ),
        check=False,
    )


def _make_up_credential(folder: str, service: Service) -> Credential:
    key = keys.new_key(keys.KeyKind("ecdsa", curve="P-256"))
    with open_directory(folder, None, read_only=False) as authority:
        now = times.now()
        (certificate,) = authority.issue(
            [
                Order(
                    public_key=keys.public_der(key.public_key()),
                    subject=subject_name({"CN": "Stands in for a certificate that is not there yet"}, service.name),
                    profile=profiles.SERVER,
                    validity=profiles.Validity(authority.chain[0].not_valid_before_utc, now),
                    names=service.server_names,
                )
            ]
        )
    return Credential(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )
