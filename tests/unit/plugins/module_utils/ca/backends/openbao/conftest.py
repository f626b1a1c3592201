# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server may answer that the real one, in tests/integration, does not when it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.api import Server
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, keys, numbers, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.tests.unit.loopback import Loopback, Reply, loopback

SETTINGS = {"mount": "pki/", "client_role": "client", "server_role": "server", "lock_mount": "/secret/"}


@pytest.fixture
def bao() -> Iterator[Loopback]:
    with loopback() as server:
        yield server


@pytest.fixture
def server(bao: Loopback) -> Iterator[Server]:
    """A session with a token."""
    with Server({"url": bao.url, "token": "s.secret"}).session() as session:
        yield session


@pytest.fixture(scope="session")
def holder_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def other_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


class Engine:
    """What the PKI engine says, made with a CA's real key; tests say what goes wrong."""

    def __init__(self, bao: Loopback, pki: Path) -> None:
        self.bao = bao
        ca = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
        key = keys.load_key(str(pki / "ca.key"))
        self.issuer = profiles.Issuer(ca, key)
        self.settings = {**SETTINGS, "url": bao.url, "token": "s.secret"}
        self.says("GET", "issuer/default/json", {"ca_chain": [pem(ca)]})
        self.has()
        bao.says("POST", "/v1/secret/data/mtls-nginx/pki", Reply(200, {"data": {"version": 1}}))

    def says(self, method: str, path: str, *data: object) -> None:
        self.bao.says(method, f"/v1/pki/{path}", *(one if callable(one) else Reply(200, {"data": one}) for one in data))

    def refuses(self, method: str, path: str, said: str, status: int = 400) -> None:
        self.bao.says(method, f"/v1/pki/{path}", Reply(status, {"errors": [said]}))

    def has(self, *certificates: x509.Certificate, revoked: Sequence[x509.Certificate] = ()) -> None:
        """Let the engine's record hold these."""

        def names(some: Sequence[x509.Certificate]) -> dict[str, list[str]]:
            return {"keys": [spelled(each) for each in some]}

        self.says("LIST", "certs", names([*certificates, *revoked]))
        self.says("LIST", "certs/revoked", names(revoked))
        for certificate in (*certificates, *revoked):
            moment = int(times.now().timestamp()) if certificate in revoked else 0
            data = {"certificate": pem(certificate), "revocation_time": moment}
            self.says("GET", f"cert/{spelled(certificate)}", data)

    def certificate(self, order: profiles.Order, serial: int = 0xAB12) -> x509.Certificate:
        return profiles.issued_certificate(self.issuer, order, serial)

    def signs(self, *made: x509.Certificate, path: str = "sign/client") -> None:
        """Let a role make what the test says."""
        self.says("POST", path, *({"certificate": pem(each)} for each in made))

    def crl(
        self,
        number: int = 7,
        *,
        age: timedelta = timedelta(0),
        days: float = 30,
        lists: Sequence[str] = (),
        by: profiles.Issuer | None = None,
    ) -> str:
        begin = times.now() - age
        revoked = crls.encode_revoked({(times.asn1_text(begin), None): lists} if lists else {})
        state = crls.CrlState(number, begin, begin + timedelta(days=days), len(lists))
        return crls.build_crl(by or self.issuer, revoked, state).decode()

    def asked(self, path: str) -> list[object]:
        """What was sent to one path."""
        return [request.body for request in self.bao.heard if request.path == f"/v1/pki/{path}"]


def spelled(certificate: x509.Certificate) -> str:
    """A serial as the engine lists it."""
    serial = numbers.hexadecimal(certificate.serial_number).lower()
    return "-".join(serial[start : start + 2] for start in range(0, len(serial), 2))


@pytest.fixture
def engine(bao: Loopback, pristine: Path) -> Engine:
    return Engine(bao, pristine)


@pytest.fixture
def order(holder_key) -> Callable[..., profiles.Order]:
    """An order for a client's certificate of a day."""

    def made(subject: str = "CN=phone", profile: str = profiles.CLIENT, **options: object) -> profiles.Order:
        now: datetime = times.now()
        encoding = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        given = {
            "public_key": keys.public_der(holder_key.public_key()),
            "subject": x509.Name.from_rfc4514_string(subject),
            "profile": profile,
            "validity": profiles.Validity(now - times.CLOCK_SKEW, now + timedelta(days=1)),
            "private_key": holder_key.private_bytes(*encoding),
        }
        return profiles.Order(**{**given, **options})

    return made
