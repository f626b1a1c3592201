# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PKI mount of an OpenBao server: what is asked of it, in its words and in ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.api import Answer, Server
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, numbers, profiles, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Order
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509.oid import NameOID
except ImportError:  # reported by entry.require_cryptography
    pass


class Mount:
    """The requests that a PKI mount is sent."""

    def __init__(self, server: Server, settings: Mapping[str, object]) -> None:
        self.server = server
        self.path = str(settings["mount"]).strip("/")
        self.roles = {profiles.CLIENT: str(settings["client_role"]), profiles.SERVER: str(settings["server_role"])}

    @property
    def name(self) -> str:
        """How errors name it."""
        return f"{self.server.url}, mount {self.path}"

    def chain(self) -> tuple[x509.Certificate, ...]:
        """Return the certificates of the CA that signs and of those above, and look at the server's clock."""
        answer = self.server.ask("GET", f"{self.path}/issuer/default/json", accept=(400, 403, 500))
        if answer.status != 200:
            raise self._absent(answer)
        if answer.date is not None and abs(answer.date - times.now()) > times.CLOCK_SKEW:
            raise MtlsError(
                f"{self.server.url}: its clock says {times.iso(answer.date)} and this machine's "
                f"{times.iso(times.now())}; set the one that is wrong"
            )
        chain = answer.data["ca_chain"]
        if not chain:
            raise self._absent(answer)
        return tuple(self._parsed(text, "issuer/default/json: one in ca_chain") for text in chain)

    def _absent(self, answer: Answer) -> MtlsError:
        if answer.status == 200 or any("no default issuer" in text for text in answer.errors):
            return MtlsError(
                f"{self.name}: has no CA; make one there: `bao secrets tune -max-lease-ttl=87600h {self.path}`, then "
                f'`bao write {self.path}/root/generate/internal common_name="..." ttl=87600h`, or import yours'
            )
        said = "; ".join(answer.errors) or f"status {answer.status}"
        return MtlsError(
            f"{self.name}: there is no PKI engine ({said}); run `bao secrets enable -path={self.path} pki`, or correct "
            "mount"
        )

    def _parsed(self, text: object, what: str) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(str(text).encode())
        except ValueError as error:
            raise MtlsError(f"{self.name}, {what}: is not a readable certificate ({error})") from error

    def serials(self, kind: str) -> dict[str, str]:
        """Return all of ``certs`` or ``certs/revoked``: the server's spelling by ours."""
        answer = self.server.ask("LIST", f"{self.path}/{kind}", accept=(404,))
        return {numbers.parse_serial(key.replace("-", ":")): key for key in answer.data.get("keys", ())}

    def fetch(self, serial: str) -> tuple[x509.Certificate, datetime | None]:
        """Return a certificate, and when it was revoked."""
        answer = self.server.ask("GET", f"{self.path}/cert/{serial}")
        revoked = int(answer.data.get("revocation_time") or 0)
        moment = _moment(revoked) if revoked else None
        return self._parsed(answer.data["certificate"], f"cert/{serial}"), moment

    def sign(self, order: Order) -> x509.Certificate:
        """Return what the server makes of an order; nobody has looked at it yet.

        A subject of nothing but a CN is for the role to allow. Any other is taken from the request as it is, which
        is another endpoint.
        """
        role = self.roles[order.profile]
        end = times.iso(order.validity.not_after)
        plain = _plain_common_name(order.subject)
        body = {"not_after": end, "exclude_cn_from_sans": True, "csr": _request(order, verbatim=plain is None)}
        if plain is not None:
            path = f"{self.path}/sign/{role}"
            names = profiles.alternative_names(order)
            hosts = ",".join(name.value for name in names if isinstance(name, x509.DNSName))
            addresses = ",".join(str(name.value) for name in names if isinstance(name, x509.IPAddress))
            body |= {"common_name": plain, "alt_names": hosts, "ip_sans": addresses}
        else:
            path = f"{self.path}/sign-verbatim/{role}"
            purpose = "ServerAuth" if order.profile == profiles.SERVER else "ClientAuth"
            body |= {
                "key_usage": ["DigitalSignature"],
                "ext_key_usage": [purpose],
                "basic_constraints_valid_for_non_ca": True,
            }
        answer = self.server.ask("POST", path, body, accept=(400, 404))
        if answer.status != 200:
            said = "; ".join(answer.errors) or f"status {answer.status}"
            raise MtlsError(
                f"{self.name}: role {role} does not sign for {subjects.nginx_dn(order.subject)}: {said}; correct the "
                f"role (`bao read {self.path}/roles/{role}`; docs/openbao.md says what it needs)"
            )
        return self._parsed(answer.data["certificate"], f"role {role}: what it made")

    def revoke(self, serial: str, certificate: x509.Certificate | None) -> datetime:
        """Revoke, by the certificate itself if the server does not have it, and return when it was revoked."""
        path = f"{self.path}/revoke"
        answer = self.server.ask("POST", path, {"serial_number": colons(serial)}, accept=(400, 404))
        if answer.status != 200 and certificate is not None:
            pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
            answer = self.server.ask("POST", path, {"certificate": pem}, accept=(400, 404))
        if answer.status != 200:
            said = "; ".join(answer.errors) or f"status {answer.status}"
            raise MtlsError(f"{self.name}: does not revoke {serial}: {said}")
        return _moment(int(answer.data["revocation_time"]))

    def crl(self, issuer: str = "default") -> bytes | None:
        """Return an issuer's current CRL in PEM; None when it has none."""
        answer = self.server.ask("GET", f"{self.path}/issuer/{issuer}/crl", accept=(400, 404, 500))
        text = answer.data.get("crl") if answer.status == 200 else None
        return str(text).encode() if text else None

    def issuers(self) -> list[str]:
        """Return the ids of all issuers of the mount."""
        return list(self.server.ask("LIST", f"{self.path}/issuers", accept=(404,)).data.get("keys", ()))

    def rotate_crl(self) -> None:
        """Have all CRLs made anew."""
        self.server.ask("GET", f"{self.path}/crl/rotate")


def _request(order: Order, *, verbatim: bool) -> str:
    """Return the order as a certificate signing request in PEM.

    :raises MtlsError: what is wanted must be in the request, and the holder's own says something else.
    """
    if order.csr is not None:
        csr = x509.load_pem_x509_csr(order.csr)
        if verbatim and (csr.subject != order.subject or len(csr.extensions)):
            raise MtlsError(
                f"{subjects.nginx_dn(order.subject)}: the server takes a subject of more than a CN from the CSR, which "
                f"says {subjects.nginx_dn(csr.subject)}; make the CSR with this subject and no extensions"
            )
        return order.csr.decode()
    if order.private_key is None:
        raise RuntimeError("an order without private key and CSR")
    key = keys.load_private_der(order.private_key)
    builder = x509.CertificateSigningRequestBuilder(order.subject)
    names = profiles.alternative_names(order)
    if verbatim and names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, keys.digest_for(key)).public_bytes(serialization.Encoding.PEM).decode()


def _plain_common_name(subject: x509.Name) -> str | None:
    """Return the CN if a subject is nothing else."""
    attributes = list(subject)
    return str(attributes[0].value) if [each.oid for each in attributes] == [NameOID.COMMON_NAME] else None


def colons(serial: str) -> str:
    """Return a serial as the server spells it."""
    return ":".join(serial[start : start + 2] for start in range(0, len(serial), 2)).lower()


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
