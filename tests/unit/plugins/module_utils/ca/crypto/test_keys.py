# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that openssl reads, and files that are none of ours, each told in its own words."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.by_hand import rsa_key
from ansible_collections.mtls.nginx.tests.unit.support import openssl

KINDS = [keys.KeyKind("ecdsa", curve="P-256"), keys.KeyKind("ecdsa", curve="P-384"), keys.KeyKind("rsa", size=2048)]


def pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.type}-{kind.curve}")
@pytest.mark.parametrize("passphrase", [None, "correct horse, ñ"])
def test_openssl_reads_what_is_saved_and_so_does_load(tmp_path, kind, passphrase):
    path = tmp_path / "a.key"
    made = keys.new_key(kind)
    keys.save_new_key(str(path), made, passphrase)

    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.is_encrypted_file(str(path)) == (passphrase is not None)
    openssl("pkey", "-in", path, "-passin", f"pass:{passphrase or ''}", "-noout", "-check", cwd=tmp_path)
    loaded = keys.load_key(str(path), passphrase)
    assert keys.public_der(loaded.public_key()) == keys.public_der(made.public_key())
    assert keys.public_der(keys.load_public_der(keys.public_der(made.public_key()))) == keys.public_der(
        made.public_key()
    )


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "a.key"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        keys.save_new_key(str(path), keys.new_key(KINDS[0]))
    assert path.read_text() == "mine"


@pytest.mark.parametrize("form", ["-traditional", "-aes256"])
def test_openssls_own_forms(tmp_path, form):
    secret = ("-aes256", "-passout", "pass:secret") if form == "-aes256" else (form,)
    (tmp_path / "plain.key").write_bytes(rsa_key(0))
    openssl("rsa", "-in", "plain.key", *secret, "-out", "a.key", cwd=tmp_path)

    assert isinstance(keys.load_key(str(tmp_path / "a.key"), "secret"), rsa.RSAPrivateKey)


@pytest.mark.parametrize(
    ("content", "passphrase", "said"),
    [
        (b"", None, "holds no private key in PEM; restore it from a backup, or move it away"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None, "holds no private key in PEM"),
        (
            pem(ed448.Ed448PrivateKey.generate()),
            None,
            "is not an RSA, ECDSA or Ed25519 key, but Ed448",
        ),
        (pem(x25519.X25519PrivateKey.generate()), None, "is not an RSA, ECDSA or Ed25519 key, but X25519"),
    ],
)
def test_files_that_hold_no_such_key(tmp_path, content, passphrase, said):
    path = tmp_path / "a.key"
    path.write_bytes(content)
    with pytest.raises(MtlsError) as error:
        keys.load_key(str(path), passphrase)
    assert str(error.value).startswith(f"{path}: {said}")


@pytest.mark.parametrize(
    ("passphrase", "said"),
    [
        (None, "the key is encrypted and no passphrase was given; give the passphrase"),
        ("wrong", "the passphrase is wrong, or the file is damaged; give the right one"),
        ("x" * 1024, "the passphrase has 1024 bytes, and at most 1023 are possible; shorten it"),
        ("\udc80", "the passphrase is not text in UTF-8; give another one"),
    ],
)
def test_passphrases_that_do_not_open_it(tmp_path, passphrase, said):
    path = tmp_path / "a.key"
    keys.save_new_key(str(path), keys.new_key(KINDS[0]), "right")
    with pytest.raises(MtlsError) as error:
        keys.load_key(str(path), passphrase)
    assert str(error.value) == f"{path}: {said}"
    assert "x" * 20 not in str(error.value)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (rsa.generate_private_key(65537, 1024), "the RSA key has 1024 bits; make one with at least 2048"),
        (ec.generate_private_key(ec.SECP256K1()), "the key is on curve secp256k1; make one on P-256 or P-384"),
        (ed448.Ed448PrivateKey.generate(), "the key is not an RSA, ECDSA or Ed25519 key, but Ed448; make one of these"),
    ],
    ids=["short", "curve", "kind"],
)
def test_keys_that_are_not_taken(key, said):
    with pytest.raises(MtlsError) as error:
        keys.check_strength(key.public_key(), "client a")
    assert str(error.value) == f"client a: {said}"


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_keys_that_are(curve):
    keys.check_strength(ec.generate_private_key(curve).public_key(), "client a")


def test_a_key_of_another_kind_is_a_defect_where_none_can_be():
    other = ed448.Ed448PrivateKey.generate()
    encoded = other.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(TypeError):
        keys.load_public_der(keys.public_der(other.public_key()))
    with pytest.raises(TypeError):
        keys.load_private_der(encoded)


@pytest.mark.parametrize(("mode", "others"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_who_else_may_read_a_key(tmp_path, mode, others):
    path = tmp_path / "a.key"
    path.touch()
    path.chmod(mode)
    assert keys.readable_by_others(path.stat()) is others


def test_an_ed25519_key_signs_with_its_own_digest():
    key = keys.new_key(keys.KeyKind("ed25519"))
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    assert keys.digest_for(key) is None
    keys.verify(key.public_key(), keys.sign(key, b"data"), b"data", None)
    with pytest.raises(InvalidSignature):
        keys.verify(key.public_key(), keys.sign(key, b"data"), b"other", None)
    keys.check_strength(key.public_key(), "client a")


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "x25519"])
def test_a_signature_without_a_digest_is_by_no_key_that_needs_one(kind):
    """What was signed may name Ed25519 as the algorithm, whatever key its issuer has."""
    key = x25519.X25519PrivateKey.generate() if kind == "x25519" else keys.new_key(keys.KeyKind(kind))
    with pytest.raises(InvalidSignature):
        keys.verify(key.public_key(), b"signature", b"data", None)


@pytest.mark.parametrize("kind", keys.TYPES)
def test_each_type_is_known_again(tmp_path, kind):
    key = keys.new_key(keys.KeyKind(kind))
    keys.save_new_key(str(tmp_path / "a.key"), key, "secret")
    loaded = keys.load_key(str(tmp_path / "a.key"), "secret").public_key()
    assert loaded == key.public_key()
    assert keys.key_type(loaded) == kind
    assert keys.load_public_der(keys.public_der(loaded)) == loaded
