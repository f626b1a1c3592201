# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server certificate that a service really serves: whose it is, for which names, until when."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import nginx_dn
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import Layout
from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.host.server_certificates import covers
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
except ImportError:  # the actions that ask run where ansible-core does, and that brings cryptography
    pass


@dataclass(frozen=True)
class Served:
    """A certificate that is served, by its issuer and SHA-256 fingerprint; ``names`` are DNS names and IP addresses.

    ``trouble`` is what keeps people away, as the end of a sentence. ``issued``: it is the one that the authority has
    issued for the service, None where the authority has none.
    """

    service: str
    issuer: str
    fingerprint: str
    names: tuple[str, ...]
    begin: datetime
    end: datetime
    own: bool  # the service has one of the host's own
    issued: bool | None
    trouble: str | None

    @property
    def stands_in(self) -> bool:
        """Whether it is the authority's, in place of the host's own."""
        return self.own and bool(self.issued)

    @property
    def is_another(self) -> bool:
        """Whether it is not the authority's, and should be."""
        return not self.own and self.issued is False

    def words(self, on_disk: str | None) -> str | None:
        """Return what is wrong with it, as a sentence; None if nothing is.

        ``on_disk`` is the fingerprint of the certificate that the host's configuration names, None where that is not
        known.
        """
        if self.trouble:
            return f"the certificate that it serves ({self.issuer}) {self.trouble}"
        if on_disk not in (None, self.fingerprint):
            return f"the certificate that it serves ({self.issuer}) is not the one on disk, which nginx has not read"
        if self.stands_in:
            return "it serves a certificate by the authority, which stands in for the host's own"
        return None

    def as_result(self) -> dict[str, t.Any]:
        """Return it as the module ``tls_probe`` does."""
        return {
            "service": self.service,
            "issuer": self.issuer,
            "fingerprint": self.fingerprint,
            "names": list(self.names),
            "begin": int(self.begin.timestamp()),
            "end": int(self.end.timestamp()),
            "own": self.own,
            "stands_in": self.stands_in,
            "trouble": self.trouble,
        }


def of(service: Service, host: str, path: str, outcomes: Iterable[probe.ProbeOutcome], now: datetime) -> Served | None:
    """Return what a service serves, as the first of the ``outcomes`` with a handshake has it; None without any.

    ``path`` is the directory of the service's authority.
    """
    encoded = next((outcome.served for outcome in outcomes if outcome.served), None)
    if encoded is None:
        return None
    certificate = x509.load_der_x509_certificate(encoded)
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    names = _names(certificate)
    issued = None if service.snippet else _issued(path, host, service)
    return Served(
        service=service.name,
        issuer=nginx_dn(certificate.issuer),
        fingerprint=fingerprint,
        names=names,
        begin=certificate.not_valid_before_utc,
        end=certificate.not_valid_after_utc,
        own=not service.issued_by_authority,
        issued=None if issued is None else issued == fingerprint,
        trouble=_trouble(certificate, names, service, now),
    )


def _trouble(certificate: x509.Certificate, names: tuple[str, ...], service: Service, now: datetime) -> str | None:
    if certificate.not_valid_after_utc <= now:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if certificate.not_valid_before_utc > now:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    missing = [name for name in service.server_names if not covers(names, name)]
    # Which server block of the host's own answers, and for which of the names, is its own affair.
    if missing and not service.snippet:
        return f"is for {', '.join(names) or 'no name'}, and not for {', '.join(missing)}"
    return None


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(str(name.value).lower() for name in found if isinstance(name, (x509.DNSName, x509.IPAddress)))


def _issued(path: str, host: str, service: Service) -> str | None:
    """Return the fingerprint of what the authority has issued for the service, None where there is nothing."""
    try:
        with open(f"{Layout(path).server(host, service.name)}.crt", "rb") as stream:
            return x509.load_pem_x509_certificate(stream.read()).fingerprint(hashes.SHA256()).hex()
    except (OSError, ValueError):
        return None
