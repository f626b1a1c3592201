# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apple configuration profiles: a client's .p12, and the CA where wanted, in the one file that an iPhone installs.

The profile never holds the password: anybody could read it there, and the device asks for it. Identifiers follow
from the authority's key and the client's name, so the same .p12 gives the same bytes, and a new profile replaces the
old one on the device.
"""

from __future__ import annotations

import hashlib
import plistlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import Stamp
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import pkcs7
    from cryptography.x509.oid import NameOID
except ImportError:  # reported by entry.require_cryptography
    pass


@dataclass(frozen=True)
class Signer:
    """A certificate, those above it, and its private key."""

    certificates: tuple[x509.Certificate, ...]
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @classmethod
    def load(cls, certificate: str, key: str, passphrase: str | None) -> Signer:
        """Read both files, in PEM.

        :raises MtlsError: one cannot be read, they do not belong together, or the certificate is not valid now.
        """
        certificates = read_certificates(certificate)
        private = keys.load_key(key, passphrase)
        leaf = certificates[0]
        if not isinstance(private, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            raise MtlsError(
                f"profile_signer: {key} is an Ed25519 key, which devices do not know; sign with RSA or ECDSA"
            )
        if keys.public_der(private.public_key()) != keys.public_der(leaf.public_key()):
            raise MtlsError(f"profile_signer: {key} is not the key of {certificate}; give the two that belong together")
        if not leaf.not_valid_before_utc <= times.now() <= leaf.not_valid_after_utc:
            raise MtlsError(
                f"profile_signer: {certificate} is valid from {times.iso(leaf.not_valid_before_utc)} to "
                f"{times.iso(leaf.not_valid_after_utc)} only, so devices would call the profiles invalid; renew it"
            )
        return cls(certificates, private)

    @property
    def encoded(self) -> bytes:
        """The certificate in DER, as every signature contains it."""
        return self.certificates[0].public_bytes(serialization.Encoding.DER)

    def sign(self, content: bytes) -> bytes:
        """Return ``content`` in a CMS SignedData (RFC 5652)."""
        builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
        builder = builder.add_signer(self.certificates[0], self.key, hashes.SHA256())
        for above in self.certificates[1:]:
            builder = builder.add_certificate(above)
        return builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])


@dataclass(frozen=True)
class ProfileMaker:
    """Makes the profiles of one authority's clients.

    ``chain`` is the authority's, the issuing CA first; ``with_ca`` has devices trust the servers of its top, and the
    ``contact`` is named to whoever installs one.
    """

    chain: Sequence[x509.Certificate]
    with_ca: bool = False
    signer: Signer | None = None
    contact: Contact | None = None

    @cached_property
    def definition(self) -> list[object]:
        """What profiles depend on besides the client and its .p12, for a digest."""
        signer = self.signer and hashlib.sha256(self.signer.encoded).hexdigest()
        return [self.with_ca, signer, *([str(self.contact)] if self.contact else [])]

    def make(self, name: str, p12: bytes) -> bytes:
        """Return the file for the client ``name``."""
        content = self.content(name, p12)
        return content if self.signer is None else self.signer.sign(content)

    def is_good(self, data: bytes, name: str, p12: bytes, written: Stamp | None) -> bool:
        """Tell whether ``data`` is what ``make`` would make.

        Signatures differ each time. So a signed file is good if it is the one that was ``written`` and has the
        content and the signer that are wanted.
        """
        content = self.content(name, p12)
        if self.signer is None:
            return data.replace(b"\r\n", b"\n") == content  # git may have changed the line ends
        ours = written is not None and written.digest == Stamp.digest_of(data)
        return ours and content in data and self.signer.encoded in data

    def content(self, name: str, p12: bytes) -> bytes:
        """Return the profile without a signature: an XML property list."""
        issuer = self.chain[0]
        authority = uuid.UUID(bytes=hashlib.sha256(keys.public_der(issuer.public_key())).digest()[:16], version=5)
        client = uuid.uuid5(authority, name)
        title = _title(issuer)
        ask = f" Questions: {self.contact}." if self.contact else ""

        def payload(kind: str, part: str, display: str, **content: Any) -> dict[str, Any]:
            return {
                "PayloadType": kind,
                "PayloadVersion": 1,
                "PayloadIdentifier": f"nginx.mtls.{client}{part and '.'}{part}",
                "PayloadUUID": str(uuid.uuid5(client, part) if part else client).upper(),
                "PayloadDisplayName": display,
                **content,
            }

        payloads = [
            payload(
                "com.apple.security.pkcs12",
                "identity",
                name,
                PayloadContent=p12,
                PayloadCertificateFileName=f"{name}.p12",
            )
        ]
        top = self.chain[-1]
        if self.with_ca and top.subject == top.issuer:
            der = top.public_bytes(serialization.Encoding.DER)
            payloads.append(
                payload(
                    "com.apple.security.root",
                    "ca",
                    _title(top),
                    PayloadContent=der,
                    PayloadCertificateFileName="ca.crt",
                )
            )
        profile = payload(
            "Configuration",
            "",
            f"{name} ({title})",
            PayloadOrganization=title,
            PayloadDescription=f"The certificate '{name}' of {title}. The device asks for its password.{ask}",
            PayloadRemovalDisallowed=False,
            PayloadContent=payloads,
        )
        return plistlib.dumps(profile, sort_keys=True)


def _title(certificate: x509.Certificate) -> str:
    """Return how a CA is called, in characters that XML can hold."""
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in certificate.subject.get_attributes_for_oid(kind):
            title = "".join(letter for letter in str(attribute.value) if letter.isprintable())
            if title:
                return title
    return "mtls.nginx"
