# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CA certificate whose extensions are not good enough is reissued on request, and refused with the remedy before.

What nginx makes of it: tests/gate/test_repair.py.
"""

from __future__ import annotations

import copy
import json
import shutil

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, ensure_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.numbers import hexadecimal
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.by_hand import KINDS, ByHand
from ansible_collections.mtls.nginx.tests.unit.support import Pki, lint, openssl, run_module, tree

REMEDY = r"mtls_ca_repair: true \(the option repair of mtls\.nginx\.ca_init and ca_adopt\)"


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory) -> ByHand:
    ca = ByHand(tmp_path_factory.mktemp("made") / "pki", request.param, rsa_keys=False)
    ca.client("user")
    ca.client("lost")
    ca.revoke("lost")
    return ca


@pytest.fixture
def by_hand(made, tmp_path) -> ByHand:
    ca = copy.copy(made)
    ca.path = tmp_path / "pki"
    shutil.copytree(made.path, ca.path)
    return ca


def ensure(path, *, check=False, **options):
    wanted = WantedAuthority(str(path), None, keys.KeyKind("rsa"), options.pop("passphrase", None), 3650, 30, **options)
    return creation.ensure(wanted, check=check)


def test_without_the_option_it_is_refused_with_the_remedy(by_hand):
    before = tree(by_hand.path)
    for check in (True, False):
        with pytest.raises(MtlsError, match=rf"ca\.crt: .*{REMEDY}"):
            ensure(by_hand.path, check=check)
    assert tree(by_hand.path) == before


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("v1", "X.509 version 1"),
        ("v3", "basicConstraints CA:TRUE is missing, so nginx refuses every client"),
        ("no cRLSign", "lacks cRLSign, so nginx refuses every client as soon as it has a CRL"),
    ],
)
def test_the_refusal_says_what_nginx_does(tmp_path, kind, said):
    with pytest.raises(MtlsError, match=said):
        ensure(ByHand(tmp_path / "pki", kind, rsa_keys=False).path)


def test_only_the_extensions_are_others(by_hand):
    old, text = by_hand.certificate, (by_hand.path / "ca.crt").read_bytes()
    before = tree(by_hand.path)
    foreseen = ensure(by_hand.path, check=True, repair=True)
    assert tree(by_hand.path) == before
    done = ensure(by_hand.path, repair=True)
    assert done.updated == foreseen.updated
    assert "same key, subject and serial number" in done.updated["ca.crt"]

    new = by_hand.certificate
    assert done.certificate == new
    for name in ("serial_number", "not_valid_before_utc", "not_valid_after_utc"):
        assert getattr(new, name) == getattr(old, name)
    assert new.subject.public_bytes() == new.issuer.public_bytes() == old.subject.public_bytes()
    assert keys.public_der(new.public_key()) == keys.public_der(old.public_key())
    assert profiles.subject_key_identifier(old) in (None, profiles.subject_key_identifier(new))
    usage = new.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    profiles.check_ca(new, "ca.crt", times.now())
    openssl("verify", "-x509_strict", "-check_ss_sig", "-CAfile", "ca.crt", "ca.crt", cwd=by_hand.path)
    assert (by_hand.path / f"ca-{hexadecimal(old.serial_number)}.crt").read_bytes() == text
    log = [json.loads(line) for line in (by_hand.path / "audit.log").read_text().splitlines()]
    assert "ca repaired" in [line["did"] for line in log]

    before = tree(by_hand.path)
    again = ensure(by_hand.path, repair=True)
    assert (again.updated, again.added) == ({}, [])
    assert tree(by_hand.path) == before


def test_the_clients_are_served_and_revoked_from_then_on(by_hand):
    ensure(by_hand.path, repair=True)
    pki = Pki(by_hand.path)
    done = pki.serve(Client("user"), Client("new"))
    assert [result.action for result in done.results] == ["updated", "issued"]
    verify = ("verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem")
    with pki.open() as authority:
        authority.write_crl(30)
    assert "OK" in openssl(*verify, "user.crt", cwd=pki.path)
    assert "certificate revoked" in openssl(*verify, "lost.crt", cwd=pki.path, ok=False)
    assert "OK" in openssl(*verify, "clients/new/new.crt", cwd=pki.path)


def test_what_the_certificate_says_besides_is_kept(tmp_path):
    ca = ByHand(tmp_path / "pki", "no cRLSign", rsa_keys=False)
    ensure(ca.path, repair=True)
    constraints = ca.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.value.path_length, constraints.critical) == (0, True)
    lint("cert", ca.path / "ca.crt")


def test_a_ca_for_servers_only_is_repaired_too(tmp_path):
    path = tmp_path / "pki"
    ca = ByHand(path, "openssl", rsa_keys=False)
    ca.openssl(
        *("req", "-x509", "-key", "ca.key", "-subj", "/CN=Servers CA", "-addext", "extendedKeyUsage=serverAuth"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-days", "99", "-out", "ca.crt"),
    )
    with pytest.raises(MtlsError, match=REMEDY):
        ensure(path)
    assert "ca.crt" in ensure(path, repair=True).updated
    with pytest.raises(x509.ExtensionNotFound):
        ca.certificate.extensions.get_extension_for_oid(ExtendedKeyUsageOID.SERVER_AUTH)
    assert profiles.is_for(ca.certificate, profiles.CLIENT)


def test_a_key_with_a_passphrase_is_needed_for_it(tmp_path):
    ca = ByHand(tmp_path / "pki", "v3", rsa_keys=False)
    ca.openssl("pkey", "-in", "ca.key", "-aes256", "-passout", "pass:secret", "-out", "ca.key.new")
    (ca.path / "ca.key.new").rename(ca.path / "ca.key")
    before = tree(ca.path)
    with pytest.raises(MtlsError, match=r"ca\.key: the passphrase is wrong"):
        ensure(ca.path, repair=True, passphrase="wrong")
    assert tree(ca.path) == before
    ensure(ca.path, repair=True, passphrase="secret")
    profiles.check_ca(ca.certificate, "ca.crt", times.now())


def test_with_the_key_of_another_ca_nothing_is_repaired(tmp_path):
    ca = ByHand(tmp_path / "pki", "v3", rsa_keys=False)
    ca.openssl("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ca.key")
    before = tree(ca.path)
    for check in (True, False):
        with pytest.raises(MtlsError, match=r"ca\.key: is not the key of .*ca\.crt; restore the two files"):
            ensure(ca.path, check=check, repair=True)
    assert tree(ca.path) == before


def test_repaired_and_renewed_in_one_run(tmp_path):
    ca = ByHand(tmp_path / "pki", "v3", rsa_keys=False)
    serial = ca.certificate.serial_number
    end = ca.certificate.not_valid_after_utc
    done = ensure(ca.path, repair=True, renew_before=3649)
    assert "ca.crt" in done.updated
    ca.client("user", names_its_issuer=True)
    ensure(ca.path, repair=True, renew_before=3649)
    profiles.check_ca(ca.certificate, "ca.crt", times.now())
    assert ca.certificate.not_valid_after_utc >= end
    assert (ca.path / f"ca-{hexadecimal(serial)}.crt").exists()


def test_nothing_is_repaired_that_needs_none(pki):
    before = (pki.path / "ca.crt").read_bytes()
    assert ensure(pki.path, repair=True).updated == {}
    assert (pki.path / "ca.crt").read_bytes() == before


def test_an_intermediate_ca_cannot_repair_itself(tmp_path):
    ca = ByHand(tmp_path / "pki", "openssl", rsa_keys=False)
    root = ("-newkey", "ed25519", "-nodes", "-subj", "/CN=Root", "-keyout", "r.key", "-out", "r.crt")
    ca.openssl("req", "-x509", *root)
    ca.openssl("req", "-new", "-key", "ca.key", "-config", "openssl.cnf", "-out", "ca.csr")
    ca.openssl("x509", "-req", "-in", "ca.csr", "-CA", "r.crt", "-CAkey", "r.key", "-out", "ca.crt")
    before = tree(ca.path)
    with pytest.raises(MtlsError, match="have the CA above sign it again"):
        ensure(ca.path, repair=True)
    assert tree(ca.path) == before


def test_only_where_the_key_is_here(tmp_path):
    access = Access(str(tmp_path), None, "openbao", {})
    wanted = WantedAuthority(str(tmp_path), None, keys.KeyKind("rsa"), None, 3650, 30, repair=True)
    with pytest.raises(MtlsError, match="repair of its certificate is for the backends directory and pkcs11"):
        ensure_authority(access, wanted, check=True)


def test_the_module_shows_it(by_hand):
    foreseen = run_module("ca_init", check=True, diff=True, path=str(by_hand.path), repair=True)
    assert foreseen["changed"]
    assert f"{by_hand.path}/ca.crt: reissued" in foreseen["diff"]["after"]
    done = run_module("ca_init", path=str(by_hand.path), repair=True)
    assert done["updated"] == foreseen["updated"]
    assert not run_module("ca_init", path=str(by_hand.path), repair=True)["changed"]


def test_check_mode_looks_past_what_is_added_and_repaired_first(tmp_path):
    ca = ByHand(tmp_path / "pki", "v3", rsa_keys=False)
    for name in ("index.txt", "serial"):
        (ca.path / name).unlink()
    (ca.path / "newcerts").rmdir()
    before = tree(ca.path)
    done = Pki(ca.path).serve(Client("new"), check=True)
    assert [result.action for result in done.results] == ["issued"]
    with Pki(ca.path).open(read_only=True) as authority:
        assert any("a run stops unless mtls_ca_repair is true" in warning for warning in authority.warnings)
    assert tree(ca.path) == before
    with pytest.raises(MtlsError, match=r"lacks newcerts, serial, crlnumber, index\.txt"):
        Pki(ca.path).serve(Client("new"))


def test_a_ca_with_an_ed25519_key_is_repaired(tmp_path):
    path = tmp_path / "pki"
    path.mkdir()
    (path / "cnf").write_text("[req]\ndistinguished_name = dn\nprompt = no\n[dn]\nCN = Edwards\n")
    files = ("-keyout", "ca.key", "-out", "ca.crt", "-days", "3650")
    openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-config", "cnf", *files, cwd=path)
    (path / "cnf").unlink()
    with pytest.raises(MtlsError, match=REMEDY):
        ensure(path)
    assert "ca.crt" in ensure(path, repair=True).updated
    lint("cert", path / "ca.crt")
    openssl("verify", "-CAfile", "ca.crt", "ca.crt", cwd=path)
    assert Pki(path).one(Client("phone", key_type="ed25519")).action == "issued"
