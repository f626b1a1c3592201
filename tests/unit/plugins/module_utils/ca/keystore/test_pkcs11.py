# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key in a token: SoftHSM makes and keeps it, openssl and pkilint judge what it signs."""

from __future__ import annotations

import os
import subprocess

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, ensure_authority, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.keystore import pkcs11
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.tokens import LIBRARY, PIN, add_token, forget_library, new_token
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, lint, openssl, run_module, tree

KINDS = {
    "rsa": keys.KeyKind("rsa", 2048),
    "P-256": keys.KeyKind("ecdsa", curve="P-256"),
    "P-384": keys.KeyKind("ecdsa", curve="P-384"),
}
COUNT_LOW, FINAL_TRY, LOCKED = 0x10000, 0x20000, 0x40000  # PKCS#11 v2.40, 3.2: CKF_USER_PIN_...
READY = 0x42D  # the flags of a token that SoftHSM has just made


@pytest.fixture
def token(tmp_path_factory):
    with new_token(tmp_path_factory.mktemp("token")) as made:
        yield made


def make(path, of, kind="P-256", /, *, check=False, **changed):
    wanted = WantedAuthority(str(path), SUBJECT, KINDS[kind], None, 3650, 30)
    return ensure_authority(access(path, of, **changed), wanted, check=check)


def access(path, of, /, **changed) -> Access:
    return Access(str(path), None, "pkcs11", of.settings(**changed))


def refusal(work) -> str:
    with pytest.raises(MtlsError) as caught:
        work()
    assert PIN not in str(caught.value)
    return str(caught.value)


def serve(path, token, *wanted: Client, **changed) -> clients.Reconciled:
    with open_authority(access(path, token, **changed), read_only=False) as authority:
        done = clients.reconcile(authority, wanted, new_key_type="ecdsa", check=False)
        authority.write_crl(30)
        return done


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_authority_whose_key_never_was_a_file(tmp_path, token, kind):
    path = tmp_path / "pki"
    foreseen = make(path, token, kind, check=True)
    assert not path.exists()
    outcome = make(path, token, kind)
    assert outcome.added == foreseen.added
    assert outcome.added[:2] == ["pkcs11:token=test;object=ca", "ca.crt"]
    assert (outcome.created, outcome.key_encrypted, outcome.warnings) == (True, True, [])
    assert not (path / "ca.key").exists()
    described = token.tool("--list-objects", "--type", "privkey")
    assert "sensitive, always sensitive, never extractable" in described
    assert [line.split()[1:] for line in described.splitlines() if "Usage" in line] == [["sign"]]
    before = tree(path)
    for check in (True, False):
        assert make(path, token, kind, check=check).added == []
    assert tree(path) == before

    names = [f"client-{number}" for number in range(9)]  # more than are signed one by one
    serve(path, token, *(Client(name) for name in names))
    serve(path, token, Client("client-0", revoked=True, reason="keyCompromise"))
    check = ("-CAfile", "ca.crt", "-x509_strict", "-purpose", "sslclient", "-CRLfile", "crl.pem", "-crl_check")
    for name in names[1:]:
        openssl("verify", *check, f"clients/{name}/{name}.crt", cwd=path)
    said = openssl("verify", *check, "clients/client-0/client-0.crt", cwd=path, ok=False)
    assert "certificate revoked" in said
    lint("cert", path / "ca.crt")
    lint("chain", path / "ca.crt", path / "clients/client-1/client-1.crt")
    lint("crl", "-t", "CRL", "-p", "PKIX", path / "crl.pem")
    with open_authority(access(path, token), read_only=False) as authority:
        assert len(authority.record) == len(names)
        assert all(os.path.exists(path / "newcerts" / f"{serial}.pem") for serial in authority.record)


def test_a_token_that_does_not_make_such_a_key_says_which_it_makes(token):
    key = pkcs11.TokenKey(token.settings())
    assert not key.exists()
    said = refusal(lambda: key.create(keys.KeyKind("rsa", 256)))
    assert said.startswith("key 'ca' in token 'test': the token does not make this key pair (")
    assert "; it says that it makes RSA of 512 to 16384 bits and ECDSA of 112 to 521 bits; choose with" in said
    assert key.warnings == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rsa", "P-384"])
def test_a_key_that_is_there_is_adopted(tmp_path, token, kind):
    spelled = {"rsa": "rsa:3072", "P-384": "EC:secp384r1"}[kind]
    token.tool("--keypairgen", "--key-type", spelled, "--label", "ca", "--id", "0A")
    outcome = make(tmp_path / "pki", token, kind)
    assert outcome.added[0] == "ca.crt"
    assert keys.key_type(outcome.certificate.public_key()) == KINDS[kind].type
    openssl("verify", "-CAfile", "ca.crt", "ca.crt", cwd=tmp_path / "pki")


def test_a_certificate_made_before_with_that_key_is_adopted(tmp_path, token):
    """As by hand, with openssl's engine."""
    make(tmp_path / "first", token)
    path = tmp_path / "second"
    path.mkdir()
    (path / "ca.crt").write_bytes((tmp_path / "first" / "ca.crt").read_bytes())
    outcome = make(path, token)
    assert not outcome.created
    assert "index.txt" in outcome.added


def test_a_killed_run_s_key_is_taken_up(tmp_path, token):
    path = tmp_path / "pki"
    make(path, token)
    (path / "ca.crt").unlink()
    for name in ("crl.pem", "crlnumber", "index.txt", "index.txt.attr"):
        (path / name).unlink()
    assert "pkcs11:token=test;object=ca" not in make(path, token).added
    assert token.tool("--list-objects", "--type", "privkey").count("Private Key Object") == 1


@pytest.mark.slow
def test_a_large_crl_is_hashed_here(tmp_path, token):
    path = tmp_path / "pki"
    make(path, token, "rsa")
    lines = (
        f"R\t300101000000Z\t260101000000Z\t{number:08X}\tunknown\t/CN=former\n"
        for number in range(1 << 28, (1 << 28) + 20000)
    )
    (path / "index.txt").write_text("".join(lines))
    with open_authority(access(path, token), read_only=False) as authority:
        assert authority.write_crl(30).entries == 20000
    crl = x509.load_pem_x509_crl((path / "crl.pem").read_bytes())
    assert crl.is_signature_valid(x509.load_pem_x509_certificate((path / "ca.crt").read_bytes()).public_key())


@pytest.mark.parametrize("way", ["option", "file", "environment"])
def test_the_pin_comes_from(tmp_path, token, monkeypatch, way):
    monkeypatch.delenv(pkcs11.PIN_VARIABLE, raising=False)
    given = {"pin": None, "pin_file": None}
    if way == "option":
        given["pin"] = PIN
    elif way == "environment":
        monkeypatch.setenv(pkcs11.PIN_VARIABLE, PIN)
    else:
        file = tmp_path / "pin"
        file.write_text(f"{PIN}\n")
        file.chmod(0o644)
        given["pin_file"] = str(file)
    warnings = make(tmp_path / "pki", token, **given).warnings
    assert warnings == ([f"{tmp_path}/pin: can be read by others; run `chmod 600` on it"] if way == "file" else [])


def test_no_pin(tmp_path, token, monkeypatch):
    monkeypatch.delenv(pkcs11.PIN_VARIABLE, raising=False)
    assert "there is no PIN; set pin or pin_file" in refusal(lambda: make(tmp_path / "pki", token, pin=None))


def test_a_wrong_pin_is_tried_once_and_warned_of(tmp_path, token):
    make(tmp_path / "pki", token)
    before = tree(tmp_path)
    forget_library()
    said = refusal(lambda: make(tmp_path / "pki", token, pin="wrong-0815"))
    assert said.startswith("token 'test': the PIN is wrong; correct it before the next run")
    assert "0815" not in said
    assert tree(tmp_path) == before
    forget_library()
    assert make(tmp_path / "pki", token).warnings == [
        "token 'test': somebody has given a wrong PIN since the last login"
    ]
    forget_library()
    assert make(tmp_path / "pki", token).warnings == []


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        (FINAL_TRY, "one more wrong PIN would lock it, so this run does not try"),
        (LOCKED, "is locked after too many wrong PINs"),
    ],
)
def test_a_token_that_is_or_could_be_locked_is_not_tried(tmp_path, token, flag, said):
    make(tmp_path / "pki", token)
    forget_library()
    token.set_flags(READY | COUNT_LOW | flag)
    before = tree(token.folder)
    assert said in refusal(lambda: make(tmp_path / "pki", token))
    assert tree(token.folder) == before


def test_a_library_that_is_not_there_or_none(tmp_path, token):
    for module in (tmp_path / "nothing.so", LIBRARY.replace("softhsm2", "c")):
        said = refusal(lambda module=module: make(tmp_path / "pki", token, module=str(module)))
        assert said.startswith(f"PKCS#11 library {module}: cannot be used (")
        assert not (tmp_path / "pki" / "ca.crt").exists()


def test_a_library_without_its_configuration(tmp_path, token, monkeypatch):
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "nothing.conf"))
    assert f"PKCS#11 library {LIBRARY}: cannot be used (" in refusal(lambda: make(tmp_path / "pki", token))


def test_a_token_that_is_not_there(tmp_path, token):
    add_token("another")
    said = refusal(lambda: make(tmp_path / "pki", token, token="mine"))
    assert said.startswith("token 'mine': is not there, there are 'another', 'test'; plug it in")


def test_two_tokens_of_one_name(tmp_path, token):
    add_token("test")
    assert refusal(lambda: make(tmp_path / "pki", token)).startswith("token 'test': 2 tokens have this label")


def test_without_python_pkcs11(tmp_path, token, monkeypatch):
    monkeypatch.setattr(pkcs11, "_AT_HAND", False)
    assert "lacks python-pkcs11; install it with" in refusal(lambda: make(tmp_path / "pki", token))


def test_a_key_that_is_gone(tmp_path, token):
    make(tmp_path / "pki", token)
    before = tree(tmp_path)
    said = refusal(lambda: make(tmp_path / "pki", token, key="other"))
    assert said.startswith("key 'other' in token 'test': is missing, and nothing can be signed without it; look with")
    assert said == refusal(
        lambda: open_authority(access(tmp_path / "pki", token, key="other"), read_only=True).__enter__()
    )
    assert tree(tmp_path) == before


def test_another_authority_s_key(tmp_path, token):
    make(tmp_path / "pki", token)
    make(tmp_path / "other", token, key="other")
    said = refusal(lambda: make(tmp_path / "pki", token, key="other"))
    assert said.startswith(f"key 'other' in token 'test': is not the key of {tmp_path}/pki/ca.crt; give the label")


def test_two_keys_of_one_name(tmp_path, token):
    for identity in ("01", "02"):
        token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "ca", "--id", identity)
    assert "there are 2 private keys of this label" in refusal(lambda: make(tmp_path / "pki", token))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--key-type", "rsa:1024"), "the RSA key has 1024 bits; make one with at least 2048"),
        (("--key-type", "EC:secp256k1"), "on curve secp256k1; make one on P-256 or P-384"),
        (("--key-type", "EC:secp192k1"), "or on a curve that is not supported"),
        (("--key-type", "EC:edwards25519"), "is neither an RSA nor an ECDSA key"),
    ],
)
def test_a_key_that_must_not_be_used(tmp_path, token, arguments, said):
    token.tool("--keypairgen", *arguments, "--label", "ca", "--id", "01")
    assert said in refusal(lambda: make(tmp_path / "pki", token))
    assert not (tmp_path / "pki" / "ca.crt").exists()


@pytest.mark.slow
def test_a_key_that_may_not_sign(tmp_path, token):
    library = pkcs11.pkcs11.lib(LIBRARY)
    may_not = {pkcs11.Attribute.SIGN: False}
    with library.get_token(token_label="test").open(rw=True, user_pin=PIN) as session:
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, label="ca", store=True, private_template=may_not)
    assert "may not sign (CKA_SIGN is false)" in refusal(lambda: make(tmp_path / "pki", token))
    assert not (tmp_path / "pki" / "ca.crt").exists()


def test_a_public_key_that_is_another_s_or_gone(tmp_path, token):
    token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "ca", "--id", "01")
    token.tool("--delete-object", "--type", "pubkey", "--id", "01")
    assert "its public key is not in the token" in refusal(lambda: make(tmp_path / "pki", token))
    forget_library()
    token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "other", "--id", "02")
    public = tmp_path / "public.der"
    token.tool("--read-object", "--type", "pubkey", "--id", "02", "--output-file", str(public))
    token.tool("--write-object", str(public), "--type", "pubkey", "--id", "01", "--label", "ca")
    assert "what it signs does not fit the public key" in refusal(lambda: make(tmp_path / "pki", token))
    assert not (tmp_path / "pki" / "ca.crt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rsa", "P-256"])
def test_a_public_key_of_another_kind_with_the_same_id_is_not_its_own(tmp_path, token, kind):
    """Two programs have numbered their keys from 01 on: the one meant is found by its kind, too."""
    types = {"rsa": "rsa:2048", "P-256": "EC:prime256v1"}
    (other,) = set(types) - {kind}
    token.tool("--keypairgen", "--key-type", types[other], "--label", "other", "--id", "01")
    token.tool("--keypairgen", "--key-type", types[kind], "--label", "ca", "--id", "01")
    outcome = make(tmp_path / "pki", token, kind)
    assert keys.key_type(outcome.certificate.public_key()) == KINDS[kind].type
    openssl("verify", "-CAfile", "ca.crt", "ca.crt", cwd=tmp_path / "pki")


def test_a_key_file_that_is_here_too_is_told(tmp_path, token):
    make(tmp_path / "pki", token)
    (tmp_path / "pki" / "ca.key").touch(0o600)
    for check in (True, False):
        assert make(tmp_path / "pki", token, check=check).warnings == [
            f"{tmp_path}/pki/ca.key: is not used, the key is in a token; keep it elsewhere, or destroy it"
        ]


ENGINE = subprocess.run(["openssl", "engine", "pkcs11"], check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not ENGINE, reason="openssl has no engine for PKCS#11 here")
def test_the_modules_and_what_openssl_says_with_the_same_key(tmp_path, token, monkeypatch):
    """`openssl ca` in the same directory through its engine, as docs/tokens.md has it; the PIN is in no command."""
    monkeypatch.delenv(pkcs11.PIN_VARIABLE, raising=False)
    file = tmp_path / "pin"
    file.write_text(PIN)
    file.chmod(0o600)
    path, settings = tmp_path / "pki", token.settings(pin=None, pin_file=str(file))
    made = run_module(
        "ca_init", path=str(path), subject=SUBJECT, key_type="ecdsa", ca_backend="pkcs11", ca_pkcs11=settings
    )
    assert made["created"], made
    existing = {"ca_path": str(path), "ca_backend": "pkcs11", "ca_pkcs11": settings}
    issued = run_module("client_cert", **existing, clients=[{"name": "phone"}])
    assert issued["changed"], issued

    monkeypatch.setenv("PKCS11_MODULE_PATH", LIBRARY)
    where = f"pkcs11:token=test;object=ca;type=private;pin-source=file:{file}"
    engine = ("-engine", "pkcs11", "-keyform", "engine", "-keyfile", where)
    by_hand = ("ca", "-batch", "-config", "openssl.cnf", *engine)
    new = ("-newkey", "ed25519", "-nodes", "-subj", "/CN=laptop")
    openssl("req", "-new", *new, "-keyout", "l.key", "-out", "l.csr", cwd=tmp_path)
    openssl(*by_hand, "-in", tmp_path / "l.csr", "-out", tmp_path / "l.crt", cwd=path)
    openssl(*by_hand, "-revoke", "clients/phone/phone.crt", cwd=path)
    openssl("verify", "-CAfile", "ca.crt", tmp_path / "l.crt", cwd=path)
    renewed = run_module("crl", **existing)
    assert renewed["written_because"] == "it does not list what index.txt says is revoked"
    assert renewed["crl"]["entries"] == 1
    openssl(*by_hand, "-gencrl", "-out", "crl.pem", cwd=path)
    assert not run_module("crl", **existing)["changed"]
    for result in (made, issued, renewed):
        assert PIN not in result["raw"]


@pytest.mark.slow
def test_root_and_issuing_authority_in_one_token(tmp_path, token):
    make(tmp_path / "root", token, key="root")
    wanted = WantedAuthority(str(tmp_path / "pki"), {"CN": "Devices"}, KINDS["rsa"], None, 700, 30)
    below, above = access(tmp_path / "pki", token, key="devices"), access(tmp_path / "root", token, key="root")
    outcome = ensure_authority(below, wanted, check=False, parent=above)
    assert outcome.added[:2] == ["pkcs11:token=test;object=devices", "ca.crt"]
    serve(tmp_path / "pki", token, Client("phone"), key="devices")
    openssl("verify", "-x509_strict", "-CAfile", "ca.crt", "clients/phone/phone.crt", cwd=tmp_path / "pki")
    crl = x509.load_pem_x509_crl((tmp_path / "pki" / "crl.pem").read_bytes())
    assert crl.is_signature_valid(outcome.certificate.public_key())


def test_a_pin_given_as_an_option_is_shown_nowhere(tmp_path, token):
    """Neither by the module, nor by what it runs: nothing but itself."""
    options = {"path": str(tmp_path / "pki"), "subject": SUBJECT, "key_type": "ecdsa", "ca_backend": "pkcs11"}
    made = run_module("ca_init", **options, ca_pkcs11=token.settings())
    refused = run_module("ca_init", **options, ca_pkcs11=token.settings(token=f"no {PIN}"))
    assert made["created"]
    assert refused["failed"]
    assert PIN not in made["raw"] + refused["raw"]
    assert subprocess.run(["grep", "-r", PIN, tmp_path], check=False, capture_output=True).returncode == 1


def test_no_ed25519_key_is_made_in_a_token(tmp_path, token):
    wanted = WantedAuthority(str(tmp_path / "pki"), SUBJECT, keys.KeyKind("ed25519"), None, 3650, 30)
    for check in (True, False):
        said = refusal(lambda check=check: ensure_authority(access(tmp_path / "pki", token), wanted, check=check))
        assert "tokens sign with RSA and ECDSA keys here; choose one (mtls_ca_key_type)" in said
    assert not (tmp_path / "pki" / "ca.crt").exists()
