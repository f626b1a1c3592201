# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bare scripts: what the work costs without index, inventory, idempotence or errors, in as many processes as cores.

peers.py issue PKI FOLDER COUNT    key, certificate, .p12 and its password for COUNT clients, each file synced
peers.py keys COUNT                COUNT RSA-2048 keys, kept nowhere
peers.py sign LIBRARY TOKEN KEY PIN COUNT   COUNT signatures by an RSA key in a PKCS#11 token, one after the other
peers.py look PKI COUNT            read index.txt, stat every file of COUNT clients; prints the seconds of that
peers.py make FOLDER COUNT         a directory of `openssl ca` with a CA and COUNT certificates
peers.py read FOLDER               read and parse every certificate and the record of such a directory
peers.py copy FOLDER TO            the same, and verify each signature and write the files that an adoption writes
peers.py request SETTINGS COUNT    have OpenBao sign COUNT requests of P-256 keys; prints the seconds of that
"""

from __future__ import annotations

import datetime
import functools
import json
import multiprocessing
import os
import secrets
import sys
import time

PASSPHRASE = "of the benchmark"
CHUNK = 4  # keys take different times: small pieces keep all cores busy


def client_name(number: int) -> str:
    return f"client-{number:06}"


def put(path: str, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    os.write(descriptor, data)
    os.fsync(descriptor)
    os.close(descriptor)


@functools.cache
def issuer(pki: str):
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    with open(f"{pki}/ca.crt", "rb") as certificate, open(f"{pki}/ca.key", "rb") as key:
        return (
            x509.load_pem_x509_certificate(certificate.read()),
            serialization.load_pem_private_key(key.read(), PASSPHRASE.encode()),
        )


def issue_one(task: tuple[str, str, int]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import pkcs12

    pki, folder, number = task
    ca, ca_key = issuer(pki)
    name = client_name(number)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .issuer_name(ca.subject)
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    password = secrets.token_hex(12).encode()
    protection = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(2048)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(hashes.SHA1())
        .build(password)
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    os.mkdir(f"{folder}/{name}", 0o700)
    place = f"{folder}/{name}/{name}"
    put(f"{place}.key", key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain), 0o600)
    put(f"{place}.crt", certificate.public_bytes(pem), 0o644)
    put(f"{place}.p12", pkcs12.serialize_key_and_certificates(name.encode(), key, certificate, [ca], protection), 0o600)
    put(f"{place}.p12.password", password, 0o600)


def issue(pki: str, folder: str, count: str) -> None:
    os.mkdir(folder)
    issuer(pki)
    with multiprocessing.get_context("fork").Pool() as pool:
        pool.map(issue_one, [(pki, folder, number) for number in range(int(count))], CHUNK)


def one_key(_number: int) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    rsa.generate_private_key(65537, 2048)


def keys(count: str) -> None:
    with multiprocessing.get_context("fork").Pool() as pool:
        pool.map(one_key, range(int(count)), 1)


def sign(library: str, label: str, key: str, pin: str, count: str) -> None:
    import pkcs11

    with pkcs11.lib(library).get_token(token_label=label).open(user_pin=pin) as session:
        private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=key)
        for _number in range(int(count)):
            private.sign(secrets.token_bytes(51), mechanism=pkcs11.Mechanism.RSA_PKCS)


def look(pki: str, count: str) -> None:
    start = time.perf_counter()
    with open(f"{pki}/index.txt", encoding="utf-8") as stream:
        stream.read()
    for number in range(int(count)):
        name = client_name(number)
        for ending in ("crt", "key", "p12", "p12.password"):
            os.stat(f"{pki}/clients/{name}/{name}.{ending}")
    print(time.perf_counter() - start)


def make(folder: str, count: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem, now = serialization.Encoding.PEM, datetime.datetime.now(datetime.UTC)
    end = now + datetime.timedelta(days=365)
    key, device = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()).public_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Bench CA")])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=3650))
    ca = builder.add_extension(x509.BasicConstraints(True, None), True).add_extension(usage, True)
    put(f"{folder}/ca.crt", ca.sign(key, hashes.SHA256()).public_bytes(pem), 0o644)
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    put(f"{folder}/ca.key", private, 0o600)
    lines = []
    for serial in range(0x1000, 0x1000 + int(count)):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, client_name(serial))])
        made = x509.CertificateBuilder(name, subject, device, serial, now, end)
        made = made.add_extension(x509.BasicConstraints(False, None), True)
        made = made.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        with open(f"{folder}/newcerts/{serial:04X}.pem", "wb") as stream:
            stream.write(made.sign(key, hashes.SHA256()).public_bytes(pem))
        lines.append(f"V\t{end:%y%m%d%H%M%SZ}\t\t{serial:04X}\tunknown\t/CN={client_name(serial)}\n")
    put(f"{folder}/index.txt", "".join(lines).encode(), 0o600)
    put(f"{folder}/serial", f"{0x1000 + int(count):X}\n".encode(), 0o600)


def read(folder: str) -> None:
    from cryptography import x509

    with open(f"{folder}/index.txt", encoding="utf-8") as stream:
        lines = [line.split("\t") for line in stream]
    for _status, _end, _revoked, serial, *_rest in lines:
        with open(f"{folder}/newcerts/{serial}.pem", "rb") as certificate:
            parsed = x509.load_pem_x509_certificate(certificate.read())
        _looked_at = parsed.subject, parsed.serial_number, parsed.not_valid_after_utc, parsed.extensions


def copy(folder: str, to: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    with open(f"{folder}/ca.crt", "rb") as stream:
        ca = x509.load_pem_x509_certificate(stream.read())
    with open(f"{folder}/index.txt", encoding="utf-8") as stream:
        serials = [line.split("\t")[3] for line in stream]
    for place in (f"{to}/newcerts", f"{to}/clients"):
        os.makedirs(place, 0o700)
    for serial in serials:
        with open(f"{folder}/newcerts/{serial}.pem", "rb") as stream:
            parsed = x509.load_pem_x509_certificate(stream.read())
        parsed.verify_directly_issued_by(ca)
        _looked_at = parsed.serial_number, parsed.not_valid_after_utc, parsed.extensions
        (cn,) = parsed.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        pem = parsed.public_bytes(serialization.Encoding.PEM)
        os.mkdir(f"{to}/clients/{cn.value}", 0o700)
        for path in (f"{to}/newcerts/{serial}.pem", f"{to}/clients/{cn.value}/{cn.value}.crt"):
            with open(path, "xb") as stream:
                stream.write(pem)
    os.sync()


def request(settings: str, count: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.api import Server

    with open(settings, encoding="utf-8") as stream:
        options = json.load(stream)
    requests = []
    for number in range(int(count)):
        made = x509.CertificateSigningRequestBuilder(x509.Name([]))
        signed = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        pem = signed.public_bytes(serialization.Encoding.PEM).decode()
        requests.append({"csr": pem, "common_name": client_name(number), "exclude_cn_from_sans": True, "ttl": "720h"})
    path = f"{options['mount']}/sign/{options['client_role']}"
    with Server(options).session() as server:
        start = time.perf_counter()
        server.each(lambda body: server.ask("POST", path, body), requests)
        print(time.perf_counter() - start)


SCRIPTS = {
    "issue": issue,
    "keys": keys,
    "sign": sign,
    "look": look,
    "make": make,
    "read": read,
    "copy": copy,
    "request": request,
}

if __name__ == "__main__":
    SCRIPTS[sys.argv[1]](*sys.argv[2:])
