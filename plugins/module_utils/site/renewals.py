# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clients have a certificate that is still valid and a next one that they have yet to install, and its files.

A certificate gets the next one for its own key only, so what is handed out gives nobody a key that he does not have.
Read from the authority's directory, without its key and without its lock.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import p12
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.ownership import Ownership
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles, Layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import SERVERS, Register, RegisterEntry
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.site.allow_lists import AllowList
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewal_notes import Notes
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.serialization import pkcs12
except ImportError:  # reported by entry.require_cryptography
    pass

P12, PROFILE, PEM = "p12", "mobileconfig", "pem"  # the endings of what can be fetched


@dataclass(frozen=True)
class Renewal:
    """A client's next certificate, and by serial the SHA-1 fingerprints of the valid ones that it follows.

    ``since`` is when the next one began, ``until`` when the last of the others expires.
    """

    client: str
    serial: str
    since: datetime
    until: datetime
    not_after: datetime
    certificate: x509.Certificate
    follows: Mapping[str, str]


@dataclass(frozen=True)
class Offer:
    """What a host hands out: ``files`` by ending, to whoever comes with a certificate of these ``fingerprints``.

    ``withheld`` says why there is no .p12 although the client has one.
    """

    renewal: Renewal
    files: Mapping[str, bytes]
    withheld: str | None = None

    @property
    def token(self) -> str:
        """How its files are called on the host; the letters say which there are (``mtls.conf.j2``)."""
        letters = ("m" if PROFILE in self.files else "p" if P12 in self.files else "") + "c"
        return f"{letters}-{self.renewal.certificate.fingerprint(hashes.SHA256()).hex()[:32]}"

    @property
    def named_files(self) -> dict[str, bytes]:
        """The files by their names on the host."""
        return {f"{self.token}.{ending}": content for ending, content in self.files.items()}


def entitled(services: Iterable[Service]) -> AllowList | None:
    """Return who may fetch the next certificate at one of the services, None for every client."""
    names: dict[str, None] = {}
    subjects: dict[str, None] = {}
    for service in services:
        if service.self_renewal:
            if service.allow is None:
                return None
            names.update(dict.fromkeys(service.allow.names))
            subjects.update(dict.fromkeys(service.allow.subjects))
    return AllowList(tuple(names), tuple(subjects))


def pending(path: str, listed: AllowList | None) -> list[Renewal]:
    """Return the renewals of the clients on a list (None: all) of the authority in ``path``.

    :raises MtlsError: the authority's files cannot be read.
    """
    layout = Layout(path)
    if not os.path.exists(layout.certificate) or layout.is_trusted():
        return []
    record, register, now = read_authority(path).record, Register.load(path), times.now()
    names = register if listed is None or listed.subjects else listed.names
    held = {
        name: entry
        for name in names
        if (entry := register.get(name)) is not None and (listed is None or listed.has(name, entry.dn))
    }
    # Nearly all clients have one valid certificate only: these are not looked at.
    others = dict(record.live(now, besides={entry.serial for entry in held.values()}))
    subjects = set(others.values())
    ownership = Ownership(record, register, Register.load(path, SERVERS), now)
    found = []
    for name, entry in held.items():
        if entry.subject not in subjects and others.keys().isdisjoint(entry.former):
            continue
        if not ownership.is_live(entry.serial):
            continue
        own = ownership.serials_of(name, [entry.subject], entry.former)
        earlier = [serial for serial in own if serial != entry.serial and ownership.is_live(serial)]
        renewal = _renewal(layout, name, entry, earlier) if earlier else None
        if renewal is not None:
            found.append(renewal)
    return found


def _renewal(layout: Layout, name: str, entry: RegisterEntry, earlier: Sequence[str]) -> Renewal | None:
    place = ClientFiles.of(layout.clients, name)
    certificate = read_certificates(place.certificate)[0]
    # The chain of a key that stays on the device is nobody's secret.
    any_key = os.path.exists(place.csr) and not os.path.exists(place.key)
    follows, ends = {}, []
    for serial in earlier:
        issued = layout.issued_certificate(serial)
        if not os.path.exists(issued):
            continue
        other = read_certificates(issued)[0]
        if other.not_valid_after_utc >= certificate.not_valid_after_utc:
            continue
        if any_key or keys.public_der(other.public_key()) == keys.public_der(certificate.public_key()):
            follows[serial] = other.fingerprint(hashes.SHA1()).hex()
            ends.append(other.not_valid_after_utc)
    if not follows:
        return None
    return Renewal(
        client=name,
        serial=entry.serial,
        since=certificate.not_valid_before_utc,
        until=max(ends),
        not_after=certificate.not_valid_after_utc,
        certificate=certificate,
        follows=follows,
    )


def foreseen(path: str, listed: AllowList | None, clients: Sequence[Mapping[str, t.Any]], days: int) -> list[Offer]:
    """Return what a run would offer that renews first, for check mode: stand-ins, whose content is not known yet.

    ``clients`` are the inventory's, ``days`` is what counts where one says no ``renew_before``.
    """
    layout = Layout(path)
    if not os.path.exists(layout.certificate) or layout.is_trusted():
        return []
    record, register, now = read_authority(path).record, Register.load(path), times.now()
    found = []
    for client in clients:
        entry = register.get(client["name"])
        if client.get("state") == "revoked" or entry is None or not record.is_valid(entry.serial):
            continue
        renew_before = days if client.get("renew_before") is None else client["renew_before"]
        end = times.from_iso(entry.not_after)
        on_list = listed is None or listed.has(client["name"], entry.dn)
        if on_list and now < end <= times.in_days(now, renew_before, "renew_before"):
            certificate = read_certificates(ClientFiles.of(layout.clients, client["name"]).certificate)[0]
            follows = {entry.serial: entry.fingerprint}
            renewal = Renewal(client["name"], entry.serial, now, end, end, certificate, follows)
            found.append(Offer(renewal, {PEM: b"to be issued\n"}))
    return found


def offers(path: str, renewals: Sequence[Renewal], notes: Notes) -> list[Offer]:
    """Return what is handed out of renewals that nobody uses yet.

    :raises MtlsError: the authority's files cannot be read.
    """
    waiting = [renewal for renewal in renewals if not notes.of(renewal.serial).used]
    if not waiting:
        return []
    chain = read_certificates(Layout(path).certificate)
    return [_offer(path, renewal, chain, notes) for renewal in waiting]


def _offer(path: str, renewal: Renewal, chain: Sequence[x509.Certificate], notes: Notes) -> Offer:
    place = ClientFiles.of(Layout(path).clients, renewal.client)
    above = [ca for ca in chain if ca.subject != ca.issuer]
    found = {PEM: renewal.certificate.public_bytes(serialization.Encoding.PEM) + (chains.pem(above) if above else b"")}
    packed = files.read_if_there(place.p12)
    if packed is None or (os.path.exists(place.csr) and not os.path.exists(place.key)):
        return Offer(renewal, found)
    withheld = _why_withheld(place, packed, renewal, notes)
    if withheld is None:
        found[P12] = packed
        profile = files.read_if_there(place.mobileconfig)
        if profile is not None and base64.b64encode(packed) in re.sub(rb"\s", b"", profile):
            found[PROFILE] = profile
    return Offer(renewal, found, withheld)


def _why_withheld(place: ClientFiles, packed: bytes, renewal: Renewal, notes: Notes) -> str | None:
    """Return why a .p12 must not lie on a host; None for one with a strong password, which was made here.

    Once that was seen it is noted, since the password's file is to be deleted when it has been handed over.
    """
    digest = hashlib.sha256(packed).hexdigest()
    if notes.of(renewal.serial).strong == digest:
        return None
    password = (files.read_if_there(place.password) or b"").decode("ascii", "replace").strip()
    if not p12.is_generated(password):
        return "its password was not generated here, and only a generated one is strong enough"
    try:
        content = pkcs12.load_pkcs12(packed, password.encode("ascii"))
    except ValueError:
        return f"{place.password} does not open it; run mtls.nginx.site again"
    if content.cert is None or content.cert.certificate != renewal.certificate:
        return "it holds another certificate; run mtls.nginx.site again"
    notes.note_strong(renewal.serial, digest)
    return None


def map_lines(found: Iterable[Offer]) -> str:
    """Return the lines of nginx's map from the fingerprint of a certificate to what it may fetch."""
    return "".join(
        f'"{fingerprint}" {offer.token};\n' for offer in found for fingerprint in offer.renewal.follows.values()
    )


def on_host(folder: str, found: Iterable[Offer]) -> dict[str, t.Any]:
    """Return the option ``renewals`` of ``nginx_config``."""
    named = {name: content for offer in found for name, content in offer.named_files.items()}
    contents = [{"name": name, "content": base64.b64encode(content).decode()} for name, content in named.items()]
    return {"folder": folder, "files": contents, "stay": []}


def may_stay(folder: str, found: Iterable[Offer]) -> dict[str, t.Any]:
    """Return the option ``renewals`` of ``nginx_config`` where nothing is added: what is not offered any more goes."""
    return {"folder": folder, "files": [], "stay": [name for offer in found for name in offer.named_files]}


def warnings(found: Iterable[Offer]) -> list[str]:
    """Return what is to be said of clients whose .p12 is not handed out."""
    return [
        f"client {offer.renewal.client!r}: its .p12 is not handed out at /.mtls/, because {offer.withheld}"
        for offer in found
        if offer.withheld
    ]
