# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CA's key in a file: told when it is gone, locked, in clear, or another certificate's."""

from __future__ import annotations

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore import ca_key
from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore.ca_key import KeyFile
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

KIND = keys.KeyKind("ecdsa")


@pytest.fixture
def chain(pki):
    return (x509.load_pem_x509_certificate((pki.path / "ca.crt").read_bytes()),)


def test_a_new_one_is_encrypted_with_the_passphrase(tmp_path):
    key = KeyFile(str(tmp_path / "ca.key"), "secret")
    assert not key.exists()
    assert key.protected()
    made = key.create(KIND)

    assert key.exists()
    assert key.protected()
    assert keys.public_der(key.load().public_key()) == keys.public_der(made.public_key())
    assert key.warnings == []
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(MtlsError, match="the key is encrypted and no passphrase was given; set mtls_ca_passphrase"):
        KeyFile(str(tmp_path / "ca.key"), None).load()


def test_one_in_clear_although_there_is_a_passphrase_and_one_that_others_may_read(tmp_path):
    KeyFile(str(tmp_path / "ca.key"), None).create(KIND)
    (tmp_path / "ca.key").chmod(0o644)
    key = KeyFile(str(tmp_path / "ca.key"), "secret")
    key.load()

    assert not key.protected()
    clear, readable = key.warnings
    assert "is stored unencrypted although a passphrase is set; encrypt it with `openssl pkey -aes256" in clear
    assert readable.endswith("can be read by others; run `chmod 600` on it")


def test_the_key_of_the_first_certificate_counts(pki, chain, tmp_path):
    own = KeyFile(str(pki.path / "ca.key"), None)
    assert ca_key.load_for(own, chain, "ca.crt")

    other = KeyFile(str(tmp_path / "other.key"), None)
    with pytest.raises(MtlsError, match="is missing, and nothing can be signed without it; restore it from a backup"):
        ca_key.load_for(other, chain, "ca.crt")
    other.create(KIND)
    with pytest.raises(MtlsError, match=r"is not the key of ca\.crt; restore the two files that belong together"):
        ca_key.load_for(other, chain, "ca.crt")


def test_a_bundle_that_begins_with_the_root(pki, chain):
    validity_of = chain[0]
    stranger = x509.CertificateBuilder(
        validity_of.subject,
        validity_of.subject,
        keys.new_key(KIND).public_key(),
        7,
        validity_of.not_valid_before_utc,
        validity_of.not_valid_after_utc,
    ).sign(keys.load_key(str(pki.path / "ca.key")), validity_of.signature_hash_algorithm)
    with pytest.raises(MtlsError, match="does not begin with the certificate of the issuing CA; put it first"):
        ca_key.load_for(KeyFile(str(pki.path / "ca.key"), None), (stranger, *chain), "ca.crt")


def test_two_files_that_do_not_belong_together(chain):
    with pytest.raises(MtlsError, match=r"^/pki/ca\.key: is not the key of /pki/ca\.crt; restore the two files"):
        ca_key.check_belongs(keys.new_key(KIND), chain[0], "/pki/ca.key", "/pki/ca.crt")
