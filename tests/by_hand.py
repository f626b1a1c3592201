# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CA as people make it by hand: the directory of the best-known guide, and what other tools leave in ca.crt.

No `x509_extensions` in openssl.cnf: OpenSSL 3.0 makes an X.509 version 1 certificate of it, OpenSSL 3.2 and newer one
of version 3 that lacks basicConstraints. Which one does not depend here on the OpenSSL that is installed.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import pathlib
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from ansible_collections.mtls.nginx.plugins.module_utils.common import der

KINDS = ("openssl", "v1", "v3", "no cRLSign")
_CONFIG = """\
[ca]
default_ca = CA_default
[CA_default]
dir = .
database = $dir/index.txt
new_certs_dir = $dir/newcerts
certificate = $dir/ca.crt
serial = $dir/serial
private_key = $dir/ca.key
default_days = 365
default_crl_days = 30
default_md = sha256
policy = policy_loose
copy_extensions = copy
[policy_loose]
countryName = optional
stateOrProvinceName = optional
localityName = optional
organizationName = optional
organizationalUnitName = optional
commonName = supplied
emailAddress = optional
[req]
prompt = no
distinguished_name = dn
[dn]
C = ES
O = By Hand
CN = By Hand CA
"""
_NAMES_ITS_ISSUER = "authorityKeyIdentifier = issuer:always\n"


class ByHand:
    """The directory; `kind` is one of KINDS. Guides make RSA keys, with which all takes ten times as long."""

    def __init__(self, path: pathlib.Path, kind: str, *, rsa_keys: bool = True) -> None:
        self.path = path
        self._key = rsa_key if rsa_keys else _ec_key
        self._numbers = itertools.count()
        (path / "newcerts").mkdir(parents=True)
        (path / "index.txt").touch()
        (path / "serial").write_text("1000\n")
        (path / "openssl.cnf").write_text(_CONFIG)
        (path / "named.cnf").write_text(_NAMES_ITS_ISSUER)
        self._new_key("ca.key")
        self.openssl(
            *("req", "-new", "-x509", "-days", "3650", "-out", "ca.crt", "-key", "ca.key", "-config", "openssl.cnf")
        )
        if kind != "openssl":
            (path / "ca.crt").write_bytes(_ca_certificate(path, kind))

    def openssl(self, *arguments: str) -> str:
        done = subprocess.run(["openssl", *arguments], cwd=self.path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _new_key(self, name: str) -> None:
        (self.path / name).write_bytes(self._key(next(self._numbers)))

    def client(self, name: str, *, names_its_issuer: bool = False) -> pathlib.Path:
        """A client's certificate and key in one file; its AKI may have issuer and serial of the CA."""
        self._new_key(f"{name}.key")
        self.openssl(
            *("req", "-new", "-config", "openssl.cnf", "-subj", f"/CN={name}"),
            *("-key", f"{name}.key", "-out", f"{name}.csr"),
        )
        extensions = ("-extfile", "named.cnf") if names_its_issuer else ()
        self.ca("-in", f"{name}.csr", "-out", f"{name}.crt", *extensions)
        both = self.path / f"{name}.pem"
        both.write_bytes((self.path / f"{name}.crt").read_bytes() + (self.path / f"{name}.key").read_bytes())
        return both

    def ca(self, *arguments: str) -> None:
        self.openssl("ca", "-config", "openssl.cnf", "-batch", *arguments)

    def revoke(self, name: str) -> None:
        self.ca("-revoke", f"{name}.crt")
        self.crl()

    def crl(self) -> str:
        """Write crl.pem and return it."""
        self.ca("-gencrl", "-out", "crl.pem")
        return (self.path / "crl.pem").read_text()

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.path / "ca.crt").read_bytes())


@functools.cache
def rsa_key(number: int, bits: int = 2048) -> bytes:
    """A key in PEM, as `openssl req -newkey rsa:2048 -nodes` writes it; each directory has its n-th key in common."""
    return _pem(rsa.generate_private_key(65537, bits))


@functools.cache
def _ec_key(number: int) -> bytes:
    """The same with `-newkey ec`."""
    return _pem(ec.generate_private_key(ec.SECP256R1()))


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _ca_certificate(path: pathlib.Path, kind: str) -> bytes:
    """The CA certificate in PEM, with the name and for the key that are there."""
    key = serialization.load_pem_private_key((path / "ca.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    name = x509.load_pem_x509_certificate((path / "ca.crt").read_bytes()).subject
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=3650)
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if kind == "no cRLSign":  # as mkcert makes it, and the guide of community.crypto
        usage = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
        builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True).add_extension(usage, True)
    certificate = builder.sign(key, hashes.SHA256())
    return _as_version_1(certificate, key) if kind == "v1" else certificate.public_bytes(serialization.Encoding.PEM)


def _as_version_1(certificate: x509.Certificate, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    fields = list(der.elements(next(der.elements(certificate.tbs_certificate_bytes)).content))
    to_be_signed = der.encode(der.SEQUENCE, b"".join(field.encoded for field in fields if field.tag < 0xA0))
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(to_be_signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = key.sign(to_be_signed, ec.ECDSA(hashes.SHA256()))
    signed = der.encode(der.BIT_STRING, b"\x00" + signature)
    made = der.encode(der.SEQUENCE, to_be_signed + fields[2].encoded + signed)
    return x509.load_der_x509_certificate(made).public_bytes(serialization.Encoding.PEM)
