# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can be sent to a gate to see whether it holds: clients whose keys are on the controller, and an impostor."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Published
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import Layout
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import Register
from ansible_collections.mtls.nginx.plugins.module_utils.common import probe, times
from ansible_collections.mtls.nginx.plugins.module_utils.site import pages
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
except ImportError:  # the tls_probe action runs where ansible-core does, and that brings cryptography
    pass


@dataclass(frozen=True)
class Witnesses:
    """The clients of one authority, to be chosen from for each service."""

    layout: Layout
    register: Register
    authority: Published
    following: Witnesses | None = None

    @classmethod
    def load(cls, path: str) -> Witnesses:
        """Read an authority's directory, without its key.

        :raises MtlsError: it cannot be read.
        """
        following = cls.load(handover.next_path(path)) if handover.is_begun(path) else None
        return cls(Layout(path), Register.load(path), read_authority(path), following)

    @contextlib.contextmanager
    def attempts(self, service: Service, others: Sequence[Witnesses] = ()) -> Iterator[list[probe.Attempt]]:
        """Yield what to try at a service's gate: each kind of caller that there is, once.

        ``others`` are the clients of other authorities of the same host.
        """
        attempts = [probe.Attempt("nobody (no certificate)", probe.NO_OR_BAD_CERTIFICATE)]
        allowed = self._allowed(service)
        for name, who, expect in (
            (allowed, "client '{}', who may enter,", probe.LET_IN),
            (
                self._first(lambda name: not self._listed(service, name) and self._may_enter(name)),
                "client '{}', who is not on the allow list,",
                probe.NOT_ON_THE_LIST,
            ),
            (self._revoked_last(), "client '{}', who is revoked,", probe.NO_OR_BAD_CERTIFICATE),
        ):
            if name is not None:
                attempts.append(
                    probe.Attempt(who.format(name), expect, self._file(name, "crt"), self._file(name, "key"))
                )
        if self.following is not None:
            attempts += self.following._followers(service)
        attempts += [stranger for other in others for stranger in other.strangers(self)]
        if allowed is None:
            yield attempts
            return
        certificate = read_certificates(self._file(allowed, "crt"))[0]
        ca = self._cas()[0]
        with _impostor(certificate.subject, ca.subject) as identity:
            who = f"somebody with the name of '{allowed}' from a CA of the same name"
            yield [*attempts, probe.Attempt(who, probe.NO_OR_BAD_CERTIFICATE, identity)]

    def page_attempt(self, service: Service) -> probe.Attempt | None:
        """Return the request for what is behind the gate, as the client whom ``attempts`` expects to be let in.

        None: the service is not to be asked for a page, or nobody whose key is here may enter it.
        """
        name = self._allowed(service)
        if name is None or not self._opens_page(service, name):
            return None
        return pages.attempt(service, f"client '{name}'", self._file(name, "crt"), self._file(name, "key"))

    def certificate_attempts(self) -> list[probe.Attempt]:
        """Return what to try where only the CRL may have changed: nobody, a good certificate and a revoked one.

        What the good one opens is for the allow list to say, and a newer one may wait in the inventory.
        """
        attempts = [probe.Attempt("nobody (no certificate)", probe.NO_OR_BAD_CERTIFICATE)]
        for name, who, expect in (
            (self._first(self._may_enter), "client '{}', whose certificate is good,", None),
            (self._revoked_last(), "client '{}', who is revoked,", probe.NO_OR_BAD_CERTIFICATE),
        ):
            if name is not None:
                attempts.append(
                    probe.Attempt(who.format(name), expect, self._file(name, "crt"), self._file(name, "key"))
                )
        return attempts

    def strangers(self, to: Witnesses) -> list[probe.Attempt]:
        """Return a client of this authority, who may enter nothing of another one that does not trust this one too."""
        name = self._first(self._may_enter)
        if name is None or self._cas()[0] in to._cas():
            return []
        who = f"client '{name}' of another authority"
        return [probe.Attempt(who, probe.NO_OR_BAD_CERTIFICATE, self._file(name, "crt"), self._file(name, "key"))]

    def _followers(self, service: Service) -> list[probe.Attempt]:
        """Return a client that has moved to this authority, which follows another one."""
        name = self._first(lambda name: self._listed(service, name) and self._may_enter(name))
        if name is None:
            return []
        who = f"client '{name}' with a certificate of the next authority"
        return [probe.Attempt(who, probe.LET_IN, self._file(name, "crt"), self._file(name, "key"))]

    def _allowed(self, service: Service) -> str | None:
        """Return a client that may enter, one that may enter the page too if there is any."""
        return self._first(
            lambda name: self._listed(service, name) and self._opens_page(service, name) and self._may_enter(name)
        ) or self._first(lambda name: self._listed(service, name) and self._may_enter(name))

    def _listed(self, service: Service, name: str) -> bool:
        return service.lists(name, self.register[name].dn if service.subjects else None)

    def _opens_page(self, service: Service, name: str) -> bool:
        return service.opens_page(name, self.register[name].dn if service.subjects else None)

    def _cas(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.authority.chain())

    def _first(self, fits: Callable[[str], bool]) -> str | None:
        return next((name for name in self.register if fits(name) and self._has_key(name)), None)

    def _has_key(self, name: str) -> bool:
        return os.path.exists(self._file(name, "key"))

    def _may_enter(self, name: str) -> bool:
        entry = self.register[name]
        return self.authority.record.is_valid(entry.serial) and times.from_iso(entry.not_after) > times.now()

    def _revoked_last(self) -> str | None:
        """Return who was revoked last, whom an older CRL would let in."""
        revoked = []
        for name in self.register:
            entry = self.authority.record.get(self.register[name].serial)
            if entry is not None and entry.revoked_at is not None:
                revoked.append((entry.revoked_at, name))
        return next((name for _when, name in sorted(revoked, reverse=True) if self._has_key(name)), None)

    def _file(self, name: str, kind: str) -> str:
        return os.path.join(self.layout.clients, name, f"{name}.{kind}")


@contextlib.contextmanager
def _impostor(subject: x509.Name, issuer: x509.Name) -> Iterator[str]:
    """Yield the path of a certificate and its key: a real client's subject, from a forged CA with the real CA's name.

    The key opens nothing anywhere, and the file is gone at the end of the ``with``.
    """
    now = times.now()
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder(issuer, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.NamedTemporaryFile(prefix="mtls-probe-") as both:  # mode 0600
        both.write(certificate.public_bytes(serialization.Encoding.PEM) + secret)
        both.flush()
        yield both.name
