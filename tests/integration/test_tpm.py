# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority's key in a TPM: which keys it makes, and what is said of those that it does not."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, ensure_authority, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests import tpm
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, openssl, tree

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(tpm.MISSING or not tpm.LIBRARY), reason=f"not installed: {tpm.MISSING}, tpm2-pkcs11"),
]


def test_an_authority_s_life_with_its_key_in_a_tpm(tmp_path):
    with tpm.new_tpm(tmp_path / "tpm") as settings:

        def make(name, kind, **changed):
            options = {**settings, "key": name, **changed}
            wanted = WantedAuthority(str(tmp_path / name), SUBJECT, kind, None, 3650, 30)
            return ensure_authority(Access(wanted.path, None, "pkcs11", options), wanted, check=False)

        with pytest.raises(MtlsError) as refused:
            make("large", keys.KeyKind("rsa", 4096))
        assert "key 'large' in token 'tpm': the token does not make this key pair (AttributeValueInvalid" in str(
            refused.value
        )
        assert "it says that it makes RSA of 1024 to 3072 bits and ECDSA of " in str(refused.value)
        assert "choose with mtls_ca_key_type and mtls_ca_key_size" in str(refused.value)
        assert not (tmp_path / "large" / "ca.crt").exists()

        for name, kind in (("rsa", keys.KeyKind("rsa", 3072)), ("ec", keys.KeyKind("ecdsa", curve="P-256"))):
            outcome = make(name, kind)
            assert outcome.created
            assert outcome.warnings == [
                f"key '{name}' in token 'tpm': may decrypt too, because the token makes no key that only signs"
            ]
            before = tree(tmp_path / name)
            again = make(name, kind)
            assert (again.added, again.warnings) == ([], [])
            assert tree(tmp_path / name) == before
            access = Access(str(tmp_path / name), None, "pkcs11", {**settings, "key": name})
            with open_authority(access, read_only=False) as authority:
                for revoked in (False, True):
                    wanted = [Client("phone"), Client("lost", revoked=revoked)]
                    clients.reconcile(authority, wanted, new_key_type="ecdsa", check=False)
                authority.write_crl(30)
            check = ("-CAfile", "ca.crt", "-x509_strict", "-purpose", "sslclient", "-CRLfile", "crl.pem", "-crl_check")
            openssl("verify", *check, "clients/phone/phone.crt", cwd=tmp_path / name)
            said = openssl("verify", *check, "clients/lost/lost.crt", cwd=tmp_path / name, ok=False)
            assert "certificate revoked" in said
