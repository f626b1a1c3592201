# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every authority with a directory on the controller has: the record, the certificates, the CRL that is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import CertificateMissing, Entry
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, numbers, profiles, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import audit, issued, layout, permissions
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.audit import certificate_event
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import crl_as_it_is
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass


class Directory:
    """What each authority keeps in its directory, whoever signs: chain, record, issued certificates, CRL."""

    issues = True

    def __init__(self, place: layout.Layout, *, read_only: bool) -> None:
        self.path = place.path
        self.warnings: list[str] = permissions.check(place.path)
        self.chain = read_certificates(place.certificate)
        self._layout = place
        self._audit = audit.AuditLog(place.path)
        self._read_only = read_only
        self._check_chain()
        self._supplied: list[crls.Crl] = []
        self.record = self._load_record()

    def _check_chain(self) -> None:
        """Raise MtlsError when nothing may be issued with the certificates that are here."""
        profiles.check_ca(self.chain[0], self._layout.certificate, times.now())

    def _load_record(self) -> Index:
        return Index.load(self._layout.index)

    def certificate(self, serial: str) -> x509.Certificate:
        """Return an issued certificate.

        :raises CertificateMissing: its file is gone.
        """
        path = self._layout.issued_certificate(serial)
        if not os.path.exists(path):
            raise CertificateMissing(f"{path}: is missing although index.txt lists it; restore it from a backup")
        return read_certificates(path)[0]

    def find_by_fingerprint(self, fingerprint: str) -> str | None:
        """Search newcerts."""
        return issued.find_by_fingerprint(self._layout.issued, fingerprint)

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
        return crl_as_it_is(self._layout.crl)

    def _recorded(self, serial: str) -> Entry:
        """Return what is recorded of a serial; raise MtlsError where nothing is."""
        entry = self.record.get(serial)
        if entry is None:
            raise MtlsError(
                f"serial {serial}: is not in {self._layout.index}; check it, or revoke by the certificate's file"
            )
        return entry

    def crl_state(self) -> CrlState | None:
        """Return what our CRL in crl.pem says."""
        own = self._crls.own
        return crls.state_of(own) if own is not None else None

    @cached_property
    def _crls(self) -> _Crls:
        pem = self.crl()
        try:
            found = crls.parse_crls(pem, self._layout.crl) if pem is not None else []
        except MtlsError as error:
            self.warnings.append(f"{error} (a new one takes its place)")
            found = []
        own = [crl for crl in found if crls.is_by(crl, self.chain[0])]
        above = [crls.newest_by(ca, [*found, *self._supplied]) for ca in self.chain[1:]]
        others = tuple(crl for crl in above if crl is not None)
        return _Crls(own[0] if own else None, others, fresh=any(crl not in found for crl in others))

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

    def take_crls(self, pem: bytes, path: str) -> None:
        """Take CRLs of the CAs above from the file ``path``: ``crl_due`` and ``write_crl`` go by them from now on.

        :raises MtlsError: one that is of none of these.
        """
        given = crls.parse_crls(pem, path)
        for crl in given:
            if not any(crls.is_by(crl, ca) for ca in self.chain):
                raise MtlsError(
                    f"{path}: a CRL in it is by {subjects.nginx_dn(crl.parsed.issuer)}, and no authority above this "
                    "one is; put the CRLs there that belong to ca.crt"
                )
        self._supplied += given
        self.__dict__.pop("_crls", None)

    def _require_writable(self) -> None:
        if self._read_only:
            raise RuntimeError("an authority opened read-only was asked to change something")


@dataclass(frozen=True)
class _Crls:
    """Our CRL in crl.pem, and the newest of each CA above ours; ``fresh`` when one of these is not in crl.pem yet."""

    own: crls.Crl | None
    others: tuple[crls.Crl, ...]
    fresh: bool
