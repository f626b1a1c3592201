# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else's authority: its certificates and CRLs are checked and passed on, nothing is issued or revoked.

The directory holds ``ca.crt`` and ``crl.pem`` as the hosts get them, and ``trusted.json``: the clients of the
inventory with their subjects, which is all that can be known of them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from urllib.error import URLError

from ansible.module_utils.urls import open_url

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Entry
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains, crls, profiles, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates, was_issued_by
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import layout, permissions
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import crl_as_it_is, read_chain, read_crl
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import RegisterEntry
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:  # reported by entry.require_cryptography
    pass

_VERSION = 1
_PATIENCE = 20  # seconds for a CRL that is fetched
_LARGEST_CRL = 128 * 1024 * 1024


@dataclass(frozen=True)
class Source:
    """Where an authority's files come from: the path of its certificates; paths or http addresses of its CRLs."""

    certificates: str
    crls: tuple[str, ...]


def ensure(path: str, source: Source, *, check: bool) -> Ensured:
    """Bring ``ca.crt`` and the first ``crl.pem`` in line with their source; with ``check`` only compare.

    :raises MtlsError: the source cannot be read or must not be trusted, or the directory is another authority's.
    """
    layout.check_path(path)
    place = layout.Layout(path)
    if not place.is_trusted() and (os.path.exists(place.index) or os.path.exists(place.key)):
        raise MtlsError(f"{path}: holds an authority of its own; with mtls_ca_backend trust, choose another directory")
    chain = _read_chain(source.certificates)
    bundle = chains.pem(chain)
    added = [] if files.read_if_there(place.certificate) == bundle else ["ca.crt"]
    if not os.path.exists(place.crl):
        added.append("crl.pem")
    created = not place.is_trusted()
    if added and not check:
        crl = fetch_crls(source.crls)
        crls.check_shippable(crl, bundle, times.now(), ", ".join(source.crls))
        files.make_directory(path, 0o700)
        with files.lock(place.lock):
            if created:
                _save_clients(path, {})
            files.write_file(place.crl, crl, 0o644)
            files.write_file(place.certificate, bundle, 0o644)
    return Ensured(created, chain[0], key_encrypted=True, added=added)


def _read_chain(path: str) -> tuple[x509.Certificate, ...]:
    """Return the CA certificates of a file, each once.

    :raises MtlsError: one that is not a CA's or not of today, or one whose own issuer is missing: nginx takes a
        chain up to a self-signed certificate only.
    """
    if not os.path.exists(path):
        raise MtlsError(f"{path}: there is no such file; name the file with the CA certificates in mtls_ca_trust")
    chain = tuple(dict.fromkeys(read_certificates(path)))
    now = times.now()
    for certificate in chain:
        profiles.check_ca(certificate, path, now)
        if not any(was_issued_by(certificate, issuer) for issuer in chain):
            raise MtlsError(
                f"{path}: lacks {subjects.nginx_dn(certificate.issuer)}, the issuer of "
                f"{subjects.nginx_dn(certificate.subject)}, and nginx needs the chain up to its root; add it"
            )
    below = [certificate for certificate in chain if certificate.issuer != certificate.subject]
    if below and chain[0] not in below:
        raise MtlsError(f"{path}: begins with a root although it holds a CA that issues below it; put that one first")
    return chain


def fetch_crls(sources: Sequence[str]) -> bytes:
    """Return CRLs from files or http addresses, in PEM or DER, as one PEM file.

    :raises MtlsError: one that cannot be had, or that is none.
    """
    return b"".join(_fetch_crl(source) for source in sources)


def _fetch_crl(source: str) -> bytes:
    if source.startswith(("http://", "https://")):
        try:
            data: bytes = open_url(source, timeout=_PATIENCE, http_agent="mtls.nginx").read(_LARGEST_CRL)
        except (URLError, OSError, ValueError) as error:
            raise MtlsError(f"{source}: the CRL cannot be fetched ({error}); check the address") from error
    else:
        found = files.read_if_there(source)
        if found is None:
            raise MtlsError(f"{source}: there is no such file; name the authority's CRL in mtls_ca_trust")
        data = found
    if b"-----BEGIN " not in data:
        try:
            data = x509.load_der_x509_crl(data).public_bytes(serialization.Encoding.PEM)
        except ValueError as error:
            raise MtlsError(f"{source}: is not a CRL in PEM or DER; check what is there") from error
    data = data.replace(b"\r\n", b"\n")
    crls.parse_crls(data, source)
    return data if data.endswith(b"\n") else data + b"\n"


@contextlib.contextmanager
def open_trusted(path: str, source: Source, *, read_only: bool) -> Iterator[TrustedAuthority]:
    """Open an external CA.

    :raises MtlsError: it is not there yet.
    """
    place = layout.Layout(path)
    if not place.is_trusted() or not os.path.exists(place.certificate):
        raise MtlsError(f"{path}: there is no authority (ca.crt is missing); run mtls.nginx.ca_init first")
    with contextlib.nullcontext() if read_only else files.lock(place.lock):
        yield TrustedAuthority(path, source)


class TrustedAuthority:
    """Implements authority.Authority; ``open_trusted`` returns it."""

    issues = False
    chunk = 1
    shared = False

    def __init__(self, path: str, source: Source) -> None:
        self.path = path
        self.warnings: list[str] = permissions.check(path)
        self.chain = read_certificates(layout.Layout(path).certificate)
        self.record = TrustedRecord()
        self._place = layout.Layout(path)
        self._source = source

    def begin(self) -> None:
        """Do nothing: no files of holders are here."""

    def certificate(self, serial: str) -> x509.Certificate:
        """Refuse: somebody else has it."""
        raise self._refusal(f"certificate {serial} is not here")

    def issue(self, orders: Sequence[Order]) -> list[x509.Certificate]:
        """Refuse, unless there is nothing to issue."""
        if orders:
            raise self._refusal("nothing can be issued here")
        return []

    def revoke(self, reasons: Mapping[str, str]) -> None:
        """Refuse, unless there is nothing to revoke."""
        if reasons:
            raise self._refusal("nothing can be revoked here")

    def release(self, serials: Sequence[str]) -> None:
        """Refuse, unless there is nothing to release."""
        if serials:
            raise self._refusal("nothing can be released here")

    def find_by_fingerprint(self, fingerprint: str) -> str | None:
        """Return None: no certificate is here."""
        return None

    def enter(self, certificates: Sequence[x509.Certificate]) -> None:
        """Refuse, unless there is nothing to record."""
        if certificates:
            raise self._refusal("nothing is recorded here")

    def _refusal(self, what: str) -> MtlsError:
        dn = subjects.nginx_dn(self.chain[0].subject)
        return MtlsError(f"{self.path}: {what}, since {dn} is trusted only (mtls_ca_backend); ask whoever runs it")

    def crl(self) -> bytes | None:
        """Return crl.pem as it is."""
        return crl_as_it_is(self._place.crl)

    def crl_state(self) -> CrlState | None:
        """Return what the first CRL in crl.pem says."""
        pem = self.crl()
        return _states(pem, self._place.crl)[0][1] if pem else None

    def crl_due(self, refresh_before: int, *, prune: bool = True) -> str | None:
        """Return why crl.pem is to be replaced by what its source has, or None.

        :raises MtlsError: the source has nothing good, and the CRL here expires within ``refresh_before`` days.
        """
        pem = self.crl()
        try:
            fetched = self._fetched
        except MtlsError as error:
            if pem is None or self._earliest_end(pem) <= times.in_days(times.now(), refresh_before, self.path):
                raise
            self.warnings.append(
                f"{error} (the CRL that is here stays; it expires on {times.iso(self._earliest_end(pem))})"
            )
            return None
        return None if fetched == pem else f"{', '.join(self._source.crls)} has another one"

    @cached_property
    def _fetched(self) -> bytes:
        """What the source has, checked as the hosts need it, and not older than what is here."""
        fetched = fetch_crls(self._source.crls)
        source = ", ".join(self._source.crls)
        chain = chains.pem(self.chain)
        crls.check_shippable(fetched, chain, times.now(), source)
        here = dict(_states(self.crl() or fetched, source))
        for issuer, new in _states(fetched, source):
            known = here.get(issuer)
            if known and _is_older(new, known):
                raise MtlsError(
                    f"{source}: is {_named(new)}, older than {_named(known)} that is here, and could let a revoked "
                    "client in again; ask whoever runs the authority"
                )
        return fetched

    def _earliest_end(self, pem: bytes) -> datetime:
        return min(state.next_update for _issuer, state in _states(pem, self._place.crl))

    def write_crl(self, days: int, *, prune: bool = True) -> CrlState:
        """Put the source's CRL in place; how long it is good for is not ours to say."""
        files.write_file(self._place.crl, self._fetched, 0o644)
        return _states(self._fetched, self._place.crl)[0][1]

    def take_crls(self, pem: bytes, path: str) -> None:
        """Refuse: all CRLs come from the source."""
        raise self._refusal(f"{path} cannot be taken")

    def admit(self, clients: Mapping[str, RegisterEntry]) -> None:
        """Note clients that allow lists may name, beside those noted before."""
        _save_clients(self.path, {**self.admitted(), **clients})

    def admitted(self) -> dict[str, RegisterEntry]:
        """Return the clients that were noted."""
        return _load_clients(self.path)


class TrustedRecord:
    """Implements authority.Record: nothing was ever issued here, and nobody is known to be revoked."""

    def __len__(self) -> int:
        return 0

    def __contains__(self, serial: str) -> bool:
        return False

    def get(self, serial: str) -> Entry | None:
        """Return None."""
        return None

    def is_valid(self, serial: str) -> bool:
        """Return True: the CRL decides, on the host."""
        return True

    def live(self, now: datetime, besides: Container[str] = ()) -> list[tuple[str, str]]:
        """Return nothing."""
        return []

    def namesakes(self, subject: str) -> list[str]:
        """Return nothing."""
        return []

    def revocations(self, ended_by: datetime | None = None) -> dict[tuple[str, str | None], list[str]]:
        """Return nothing: the CRL knows."""
        return {}


class PublishedTrust:
    """Implements authority.Published."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.record = TrustedRecord()

    @cached_property
    def _clients(self) -> dict[str, RegisterEntry]:
        return _load_clients(self._path)

    def holders(self, name: str) -> list[RegisterEntry]:
        """Return the client, if it was noted."""
        return [self._clients[name]] if name in self._clients else []

    def names(self) -> Collection[str]:
        """Return the clients that allow lists may name."""
        return self._clients.keys()

    def chain(self) -> bytes:
        """Return ca.crt."""
        return read_chain(self._path)

    def crl(self) -> bytes:
        """Return crl.pem."""
        return read_crl(self._path)

    def crl_as_it_is(self) -> bytes | None:
        """Return crl.pem unchecked."""
        return crl_as_it_is(layout.Layout(self._path).crl)


def _load_clients(path: str) -> dict[str, RegisterEntry]:
    file = layout.Layout(path).trusted
    try:
        with open(file, encoding="utf-8") as stream:
            content = json.load(stream)
        return {
            name: RegisterEntry("", str(raw["subject"]), str(raw["dn"]), "", "")
            for name, raw in content["clients"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MtlsError(f"{file}: is damaged; remove it, and run site.yml") from error


def _save_clients(path: str, clients: Mapping[str, RegisterEntry]) -> None:
    known = {name: {"subject": client.subject, "dn": client.dn} for name, client in clients.items()}
    content = {"version": _VERSION, "clients": known}
    text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True)
    files.write_file(layout.Layout(path).trusted, f"{text}\n".encode(), 0o600)


def _states(pem: bytes, path: str) -> list[tuple[x509.Name, CrlState]]:
    """Return issuer and state of each CRL in a PEM file."""
    return [(crl.parsed.issuer, crls.state_of(crl)) for crl in crls.parse_crls(pem, path)]


def _is_older(new: CrlState, known: CrlState) -> bool:
    """Compare CRLs by their numbers; by their times where one of them has none (RFC 5280 asks for numbers)."""
    if new.number and known.number:
        return (new.number, new.last_update) < (known.number, known.last_update)
    return new.last_update < known.last_update


def _named(state: CrlState) -> str:
    what = f"CRL {state.number}" if state.number else "a CRL without a number"
    return f"{what} of {times.iso(state.last_update)}"
