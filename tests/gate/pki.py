# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorities of the collection's own making, and the certificates of people who should not get in."""

from __future__ import annotations

import datetime
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import open_directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.crls import CrlState
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.numbers import hexadecimal
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import nginx_dn, subject_name
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import read_chain, read_crl
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import Credential
from ansible_collections.mtls.nginx.tests.authorities import new_authority

P256 = keys.KeyKind("ecdsa", curve="P-256")
_DAY = datetime.timedelta(days=1)
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Identity:
    """A certificate with its key: `path` is a PEM file of both, `dn` the subject in nginx's spelling."""

    path: pathlib.Path
    certificate: x509.Certificate
    key: keys.PrivateKey

    @property
    def dn(self) -> str:
        return nginx_dn(self.certificate.subject)


@dataclass(frozen=True)
class OnPaper:
    """Somebody who is on a list, and whose certificate nobody needs to have."""

    dn: str


@dataclass
class Authority:
    """An authority in a directory, as `ca_init` makes it."""

    path: pathlib.Path
    name: str
    kind: keys.KeyKind = P256
    clients: dict[str, Identity | OnPaper] = field(default_factory=dict)

    def __post_init__(self) -> None:
        new_authority(self.path, {"O": "Acme", "CN": self.name}, days=30, crl_days=10, key=self.kind)

    @property
    def chain(self) -> str:
        return read_chain(str(self.path)).decode()

    @property
    def crl(self) -> str:
        return read_crl(str(self.path)).decode()

    @property
    def issuer(self) -> profiles.Issuer:
        certificate = x509.load_pem_x509_certificate((self.path / "ca.crt").read_bytes())
        return profiles.Issuer(certificate, keys.load_key(str(self.path / "ca.key")))

    def client(self, name: str, subject: Mapping[str, str] | None = None, *, kind: keys.KeyKind = P256) -> Identity:
        """The client of this name, issued now unless it was before."""
        if name not in self.clients:
            self.issue({name: subject or {"CN": name}}, kind=kind)
        return self.clients[name]

    def issue(self, subjects: Mapping[str, Mapping[str, str]], *, kind: keys.KeyKind = P256) -> None:
        """Issue clients, all in one go."""
        names = [subject_name(subject, name) for name, subject in subjects.items()]
        self.clients |= zip(subjects, self._issue(names, profiles.CLIENT, kind=kind), strict=True)

    def on_paper(self, names: Iterable[str]) -> None:
        """Have clients that are never issued anything."""
        self.clients |= {name: OnPaper(nginx_dn(subject_name({"CN": name}, name))) for name in names}

    def server(self, *names: str) -> Identity:
        (identity,) = self._issue([subject_name({"CN": names[0]}, names[0])], profiles.SERVER, names)
        return identity

    def _issue(
        self,
        subjects: Sequence[x509.Name],
        profile: str,
        names: tuple[str, ...] = (),
        kind: keys.KeyKind = P256,
    ) -> list[Identity]:
        own_keys = [keys.new_key(kind) for _subject in subjects]
        with open_directory(str(self.path), None, read_only=False) as authority:
            validity = profiles.validity(10, times.now(), authority.chain[0], "the tests")
            orders = [
                Order(keys.public_der(key.public_key()), subject, profile, validity, names)
                for key, subject in zip(own_keys, subjects, strict=True)
            ]
            certificates = authority.issue(orders)
        return [write(self.path, key, one) for key, one in zip(own_keys, certificates, strict=True)]

    def revoke(self, identity: Identity) -> None:
        """Revoke a certificate and write the CRL."""
        with open_directory(str(self.path), None, read_only=False) as authority:
            authority.revoke({hexadecimal(identity.certificate.serial_number): "keyCompromise"})
            authority.write_crl(10)

    def short_crl(self, seconds: float) -> str:
        """A CRL of nobody that ends in a moment; not the authority's current one."""
        now = times.now()
        state = CrlState(1, now - _DAY, now + datetime.timedelta(seconds=seconds), 0)
        return crls.build_crl(self.issuer, crls.encode_revoked({}), state).decode()


_numbers = itertools.count()


def write(folder: pathlib.Path, key: keys.PrivateKey, *certificates: x509.Certificate) -> Identity:
    """Keep a key and its certificate, with others to be sent along, in a file."""
    path = folder / f"identity-{next(_numbers)}.pem"
    private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + b"".join(one.public_bytes(_PEM) for one in certificates))
    return Identity(path, certificates[0], key)


def credential(identity: Identity) -> Credential:
    """What a host gets to serve TLS with."""
    private = identity.key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Credential(identity.certificate.public_bytes(_PEM).decode(), private.decode())


def forged(
    folder: pathlib.Path,
    subject: x509.Name,
    issuer: profiles.Issuer | None = None,
    *,
    ca: bool = False,
    begins: float = -1,
    ends: float = 1,
    sent_along: Sequence[x509.Certificate] = (),
    extensions: Sequence[x509.ExtensionType] = (),
    critical: Sequence[x509.ExtensionType] = (),
    key_identifier: x509.AuthorityKeyIdentifier | None = None,
    purpose: x509.ObjectIdentifier = x509.ExtendedKeyUsageOID.CLIENT_AUTH,
) -> Identity:
    """A certificate by whoever holds `issuer`'s key (self-signed without), valid between two days from now.

    Signed with cryptography alone, because the collection's own code would refuse most of them.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(issuer.certificate.subject if issuer else subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * _DAY)
        .not_valid_after(now + ends * _DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if ca:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # signs certificates, CRLs
        builder = builder.add_extension(usage, critical=True)
    else:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if issuer:
        builder = builder.add_extension(key_identifier or issuer.key_identifier, critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    for extension in critical:
        builder = builder.add_extension(extension, critical=True)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return write(folder, key, certificate, *sent_along)


def subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def as_issuer(identity: Identity) -> profiles.Issuer:
    """Somebody who signs with a key of theirs, entitled or not."""
    return profiles.Issuer(identity.certificate, identity.key)


def crl_of(issuer: profiles.Issuer, *revoked: x509.Certificate, days: float = 10) -> str:
    """A CRL by whoever holds `issuer`'s key, that ends so many days from now."""
    now = times.now()
    moment = times.asn1_text(now - _DAY)
    serials = [hexadecimal(one.serial_number) for one in revoked]
    entries = crls.encode_revoked({(moment, "CACompromise"): serials} if serials else {})
    state = CrlState(1, now - 20 * _DAY, now + days * _DAY, entries.count)
    return crls.build_crl(issuer, entries, state).decode()
