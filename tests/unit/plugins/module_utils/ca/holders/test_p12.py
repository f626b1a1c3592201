# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PKCS #12 files: what openssl finds in them, and when one is still what it should be."""

from __future__ import annotations

import re

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.hazmat.primitives.serialization import pkcs12

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import client_files, p12
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import openssl

PASSWORD = "a pass phrase"


@pytest.fixture
def parts(pki):
    """Key, certificate and chain of a client."""
    pki.serve(Client("phone"), Client("other"))
    key = keys.load_key(str(pki.file("phone", ".key")))
    return key, read_certificates(str(pki.file("phone", ".crt")))[0], read_certificates(str(pki.path / "ca.crt"))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (p12.COMPATIBLE, ["pbeWithSHA1And3-KeyTripleDES-CBC", "MAC: sha1"]),
        (p12.MODERN, ["PBES2, PBKDF2, AES-256-CBC", "MAC: sha256"]),
    ],
)
def test_openssl_finds_everything_in_it(parts, tmp_path, kind, says):
    key, certificate, chain = parts
    (tmp_path / "x.p12").write_bytes(p12.pack("phone", key, certificate, chain, PASSWORD, kind))
    said = openssl("pkcs12", "-in", "x.p12", "-passin", f"pass:{PASSWORD}", "-nodes", "-info", cwd=tmp_path)
    assert all(part in said for part in says)
    assert said.count("BEGIN CERTIFICATE") == 2
    assert said.count("BEGIN PRIVATE KEY") == 1
    assert "friendlyName: phone" in said
    openssl("pkcs12", "-in", "x.p12", "-passin", "pass:wrong", "-noout", cwd=tmp_path, ok=False)


@pytest.mark.parametrize("kind", [p12.COMPATIBLE, p12.MODERN])
def test_it_is_good_as_long_as_nothing_in_it_differs(pki, parts, kind):
    key, certificate, chain = parts
    data = p12.pack("phone", key, certificate, chain, PASSWORD, kind)
    other = read_certificates(str(pki.file("other", ".crt")))[0]
    assert p12.holds(data, "phone", certificate, chain, PASSWORD, kind)
    assert not p12.holds(data, "phone-2", certificate, chain, PASSWORD, kind)
    assert not p12.holds(data, "phone", other, chain, PASSWORD, kind)
    assert not p12.holds(data, "phone", certificate, [*chain, other], PASSWORD, kind)
    assert not p12.holds(data, "phone", certificate, chain, "another", kind)
    assert not p12.holds(data, "phone", certificate, chain, PASSWORD, next(iter({p12.COMPATIBLE, p12.MODERN} - {kind})))
    assert not p12.holds(data[:-1], "phone", certificate, chain, PASSWORD, kind)
    assert not p12.holds(b"", "phone", certificate, chain, PASSWORD, kind)


def test_the_key_comes_out_again_with_the_password_only(parts):
    key, certificate, chain = parts
    data = p12.pack("phone", key, certificate, chain, PASSWORD, p12.MODERN)
    assert p12.key_in(data, PASSWORD).private_numbers() == key.private_numbers()
    assert p12.key_in(data, "wrong") is None
    assert p12.key_in(b"nonsense", PASSWORD) is None


def test_a_key_of_another_kind_in_it_is_refused_and_no_traceback(pki):
    place = ClientFiles.of(str(pki.path / "clients"), "phone")
    (pki.path / "clients/phone").mkdir()
    data = pkcs12.serialize_key_and_certificates(
        b"phone", ed448.Ed448PrivateKey.generate(), None, None, serialization.BestAvailableEncryption(b"x")
    )
    (pki.path / "clients/phone/phone.p12").write_bytes(data)
    (pki.path / "clients/phone/phone.p12.password").write_text("x\n")
    with pytest.raises(MtlsError, match=r"client 'phone': \S+/phone\.p12: the key is not an RSA, ECDSA or Ed25519 key"):
        client_files.key_in_p12(Client("phone"), place)


def test_a_name_outside_of_the_plane_that_devices_know_still_fits(parts):
    key, certificate, chain = parts
    data = p12.pack("phone 📱", key, certificate, chain, PASSWORD, p12.MODERN)
    assert pkcs12.load_pkcs12(data, PASSWORD.encode()).cert.friendly_name.decode() == "phone \ufffd"
    assert p12.holds(data, "phone 📱", certificate, chain, PASSWORD, p12.MODERN)


def test_passwords_that_are_made_are_long_differ_and_can_be_typed():
    made = {p12.new_password() for _round in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch("(?:[a-hjkmnp-z2-9]{4}-){5}[a-hjkmnp-z2-9]{4}", password) for password in made)
    assert all(map(p12.is_generated, made))


@pytest.mark.parametrize("password", ["", "secret", "k7wq-k7wq-k7wq-k7wq-k7wq", "k7wq-" * 6, "K7WQ-" * 5 + "K7WQ"])
def test_a_password_that_was_not_made_here(password):
    assert not p12.is_generated(password)


@pytest.mark.parametrize(("password", "complaint"), [("", "is empty"), ("contraseña", "is not ASCII")])
def test_passwords_that_some_device_cannot_take(password, complaint):
    with pytest.raises(MtlsError, match=rf"client 'a': the p12_password {complaint}"):
        p12.check_password(password, "client 'a'")
