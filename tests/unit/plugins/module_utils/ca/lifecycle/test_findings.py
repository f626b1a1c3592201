# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in somebody's folders is known by its content, and nothing of it stops the search."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle.findings import search
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import openssl, tree


def subjects_in(found) -> list[str]:
    return sorted(certificate.subject.rfc4514_string() for certificate, _path in found.certificates.values())


def test_a_directory_of_ours_is_read_whole_and_not_touched(pki):
    pki.serve(Client("phone"), Client("pad"))
    before = tree(pki.path)
    found = search([str(pki.path)], None)
    assert subjects_in(found) == ["CN=Test CA,O=Acme,C=ES", "CN=pad", "CN=phone"]
    assert len(found.keys) == 3
    assert found.indexes == [str(pki.path / "index.txt")]
    assert len(found.crls) == 1
    assert (found.locked, found.skipped) == ([], {})
    assert tree(pki.path) == before


def test_several_things_in_one_file_and_text_between_them(pki, tmp_path):
    pki.one(Client("phone"))
    parts = [pki.file("phone", ".key").read_text(), "some text\n", pki.file("phone", ".crt").read_text()]
    (tmp_path / "all.pem").write_text("".join([*parts, (pki.path / "crl.pem").read_text()]).replace("\n", "\r\n"))
    found = search([str(tmp_path / "all.pem")], None)
    assert (subjects_in(found), len(found.keys), len(found.crls)) == (["CN=phone"], 1, 1)


def test_der_by_its_ending_only(pki, tmp_path):
    pki.one(Client("phone"))
    certificate = x509.load_pem_x509_certificate(pki.file("phone", ".crt").read_bytes())
    for name in ("a.cer", "a.der", "a.bin"):
        (tmp_path / name).write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    found = search([str(tmp_path / "a.cer")], None)
    assert [path for _certificate, path in found.certificates.values()] == [str(tmp_path / "a.cer")]
    assert search([str(tmp_path / "a.bin")], None).certificates == {}


def test_keys_that_are_locked_open_with_the_passphrase(tmp_path):
    key = keys.new_key(keys.KeyKind("ecdsa"))
    (tmp_path / "a.key").write_bytes(keys.encoded(key, "geheim", "a.key"))
    found = search([str(tmp_path)], None)
    assert [locked.path for locked in found.locked] == [str(tmp_path / "a.key")]
    found.unlock("falsch")
    assert (len(found.locked), found.keys) == (1, {})
    found.unlock("geheim")
    assert found.locked == []
    assert list(found.keys) == [keys.public_der(key.public_key())]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("genpkey", "-algorithm", "ED25519"), "the key is neither RSA nor ECDSA"),
        (("genpkey", "-algorithm", "X448"), "the key is neither RSA nor ECDSA"),
        (("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2"), "is damaged or of an unknown kind"),
    ],
)
def test_keys_of_other_kinds_are_skipped_with_the_reason(tmp_path, arguments, reason):
    openssl(*arguments, "-out", "odd.key", cwd=tmp_path)
    found = search([str(tmp_path)], None)
    assert found.keys == {}
    assert found.skipped[str(tmp_path / "odd.key")].startswith(reason)


def test_what_is_damaged_is_skipped_and_the_rest_is_found(pki, tmp_path):
    pki.one(Client("phone"))
    folder = tmp_path / "found"
    folder.mkdir()
    good = pki.file("phone", ".crt").read_text()
    (folder / "a.crt").write_text(good.replace("MII", "AAA", 1))
    (folder / "b.crt").write_text(good)
    (folder / "c.crt").write_text(good.replace("CERTIFICATE", "TRUSTED CERTIFICATE"))
    (folder / "d.txt").write_text("nothing of interest")
    found = search([str(folder)], None)
    assert subjects_in(found) == ["CN=phone"]
    assert sorted(found.skipped) == [str(folder / "a.crt"), str(folder / "c.crt")]
    assert found.skipped[str(folder / "c.crt")] == "is a TRUSTED CERTIFICATE; convert it with `openssl x509`"


def test_a_p12_that_is_named_is_opened_and_one_in_a_folder_is_not(pki):
    pki.one(Client("phone", p12_password="geheim"))
    path = pki.file("phone", ".p12")
    found = search([str(path)], "geheim")
    assert (subjects_in(found), len(found.keys)) == (["CN=Test CA,O=Acme,C=ES", "CN=phone"], 1)
    with pytest.raises(MtlsError, match=r"phone\.p12: source_passphrase does not open it"):
        search([str(path)], "falsch")
    assert str(path) not in {where for _one, where in search([str(path.parent)], "geheim").certificates.values()}


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(MtlsError, match="nowhere: there is no such file or directory"):
        search([str(tmp_path / "nowhere")], None)
