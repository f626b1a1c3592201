# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in somebody's folders is known by its content, and nothing of it stops the search."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import findings
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
    assert found.records == [str(pki.path / "index.txt")]
    assert len(found.crls) == 1
    assert found.locked == []
    assert sorted(found.skipped) == [str(pki.file(name, ".p12")) for name in ("pad", "phone")]
    assert tree(pki.path) == before


def test_several_things_in_one_file_and_text_between_them(pki, tmp_path):
    pki.one(Client("phone"))
    parts = [pki.file("phone", ".key").read_text(), "some text\n", pki.file("phone", ".crt").read_text()]
    (tmp_path / "all.pem").write_text("".join([*parts, (pki.path / "crl.pem").read_text()]).replace("\n", "\r\n"))
    found = search([str(tmp_path / "all.pem")], None)
    assert (subjects_in(found), len(found.keys), len(found.crls)) == (["CN=phone"], 1, 1)


def test_der_whatever_its_name(pki, tmp_path):
    pki.one(Client("phone"))
    key, certificate = pki.file("phone", ".key"), pki.file("phone", ".crt")
    convert = {
        "cert.bin": ("x509", "-in", certificate, "-outform", "DER"),
        "list": ("crl", "-in", pki.path / "crl.pem", "-outform", "DER"),
        "key.txt": ("pkey", "-in", key, "-outform", "DER"),
        "all.p7": ("crl2pkcs7", "-nocrl", "-certfile", pki.path / "ca.crt", "-outform", "DER"),
        "all.p7b": ("crl2pkcs7", "-nocrl", "-certfile", pki.path / "ca.crt"),
        "locked": ("pkcs8", "-topk8", "-in", pki.path / "ca.key", "-outform", "DER", "-passout", "pass:geheim"),
        "bundle": ("pkcs12", "-export", "-inkey", key, "-in", certificate, "-passout", "pass:geheim"),
        "trusted": ("pkcs12", "-export", "-nokeys", "-in", pki.path / "ca.crt", "-passout", "pass:geheim"),
    }
    folder = tmp_path / "found"
    folder.mkdir()
    for name, arguments in convert.items():
        openssl(*arguments, "-out", folder / name, cwd=tmp_path)
    found = search([str(folder)], "geheim")
    found.unlock("geheim")
    assert subjects_in(found) == ["CN=Test CA,O=Acme,C=ES", "CN=phone"]
    assert (len(found.keys), len(found.crls), found.locked, found.skipped) == (2, 1, [], {})
    assert [sorted(map(os.path.basename, each.paths)) for each in found.certificates.values()] == [
        ["all.p7", "all.p7b", "trusted"],
        ["bundle", "cert.bin"],
    ]


def test_records_and_counters_by_what_is_in_them(tmp_path):
    line = "V\t360101000000Z\t\t1000\tunknown\t/CN=phone\n"
    for name, content in {
        "root-ca.db": line,
        "windows.txt": line.replace("\n", "\r\n"),
        "index.txt": "",
        "root-ca.db.attr": "unique_subject = no\n",
        "root-ca.crt.srl": "1001\n",
        "root-ca.crl.srl": "01\n",
        "serial.old": "1000\n",
        "spaces.txt": line.replace("\t", " "),
        "notes.txt": "Visit us\n",
    }.items():
        (tmp_path / name).write_bytes(content.encode())
    found = search([str(tmp_path)], None)
    assert [os.path.basename(path) for path in found.records] == ["index.txt", "root-ca.db", "windows.txt"]
    assert [os.path.basename(path) for path in found.counters] == ["root-ca.crl.srl", "root-ca.crt.srl"]
    assert list(found.skipped) == [str(tmp_path / "spaces.txt")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"SQLite format 3\0...", "XCA"),
        (b"\xfe\xed\xfe\xed\0\0\0\2", "Java keystore"),
        (b"Bdgr\0\0\0\7", "step-ca"),
        (b"<crt>LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t</crt>", "pfSense"),
        ("\ufeff-----BEGIN CERTIFICATE-----\n".encode("utf-16-le"), "UTF-16"),
        (b"-----BEGIN CERTIFICATE-----\nMII", "has no end"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "damaged or of an unknown"),
        (b"-----BEGIN PGP MESSAGE-----\nAAAA\n-----END PGP MESSAGE-----\n", "has a PGP MESSAGE"),
        (b"\x30\x03\x02\x01\x01", "damaged or of an unknown kind"),
    ],
)
def test_what_may_hold_keys_or_revocations_is_named(tmp_path, content, said):
    (tmp_path / "file").write_bytes(content)
    assert said in search([str(tmp_path)], None).skipped[str(tmp_path / "file")]
    with pytest.raises(MtlsError, match=rf"file: .*{said}.*; correct it, or leave it out of source"):
        search([str(tmp_path / "file")], None)


def test_what_is_too_large_to_be_of_a_ca_is_named_and_not_read(pki, tmp_path, monkeypatch):
    """It takes no room on the disk, but would in memory."""
    large = tmp_path / "found" / "disk.img"
    large.parent.mkdir()
    certificate = (pki.path / "ca.crt").read_bytes()
    large.write_bytes(certificate)
    os.truncate(large, (64 << 20) + 1)
    found = search([str(large.parent)], None)
    assert found.skipped == {str(large): "has more than 64 MB; take out what does not belong there"}
    assert found.certificates == {}
    with pytest.raises(MtlsError, match=r"disk\.img: has more than 64 MB; .*; correct it, or leave it out of source"):
        search([str(large)], None)
    os.truncate(large, len(certificate))
    monkeypatch.setattr(findings, "_LARGEST", len(certificate))
    assert subjects_in(search([str(large)], None)) == ["CN=Test CA,O=Acme,C=ES"]


def test_a_named_file_with_nothing_in_it_is_an_error(tmp_path):
    (tmp_path / "ca.crl").write_text("")
    with pytest.raises(MtlsError, match=r"ca\.crl: holds no certificate, key, CRL or record; correct it"):
        search([str(tmp_path / "ca.crl")], None)
    assert search([str(tmp_path)], None).skipped == {}


def test_links(pki, tmp_path):
    folder = tmp_path / "found"
    folder.mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "elsewhere").symlink_to(pki.path)
    (folder / "ca.crt").symlink_to(pki.path / "ca.crt")
    found = search([str(folder)], None)
    assert subjects_in(found) == ["CN=Test CA,O=Acme,C=ES"]
    assert found.skipped == {
        str(folder / "elsewhere"): "is a link to a folder, which is not followed; name it too",
        str(folder / "loop"): "is a link that leads nowhere",
    }
    with pytest.raises(MtlsError, match="loop: is a symbolic link that leads nowhere"):
        search([str(folder / "loop")], None)


def test_pem_in_json(pki, tmp_path):
    text = json.dumps({"cert": (pki.path / "ca.crt").read_text(), "key": (pki.path / "ca.key").read_text()})
    (tmp_path / "ca.json").write_text(text)
    found = search([str(tmp_path / "ca.json")], None)
    assert (len(found.certificates), len(found.keys), found.skipped) == (1, 1, {})


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
        (("genpkey", "-algorithm", "ED448"), "the key is not an RSA, ECDSA or Ed25519 key"),
        (("genpkey", "-algorithm", "X448"), "the key is not an RSA, ECDSA or Ed25519 key"),
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


def test_a_p12_is_opened_wherever_it_is(pki):
    pki.one(Client("phone", p12_password="geheim"))
    path = pki.file("phone", ".p12")
    found = search([str(path)], "geheim")
    assert (subjects_in(found), len(found.keys)) == (["CN=Test CA,O=Acme,C=ES", "CN=phone"], 1)
    with pytest.raises(MtlsError, match=r"phone\.p12: source_passphrase does not open it"):
        search([str(path)], "falsch")
    assert any(str(path) in each.paths for each in search([str(path.parent)], "geheim").certificates.values())
    assert "source_passphrase does not open it" in search([str(path.parent)], "falsch").skipped[str(path)]


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(MtlsError, match="nowhere: there is no such file or directory"):
        search([str(tmp_path / "nowhere")], None)


def test_what_is_in_folders_in_folders_is_read_in_order_and_told(tmp_path, monkeypatch):
    """However deep they are, and what cannot be searched is named."""
    monkeypatch.setattr(findings, "_TOLD_AFTER", 2)
    deep = tmp_path / "found"
    for _level in range(60):
        deep /= "d" * 30  # a path of 1,900 characters
    deep.mkdir(parents=True)
    for folder, names in ((tmp_path / "found", ("b", "a")), (deep, ("d", "c"))):
        for name in names:
            (folder / f"{name}.key").write_bytes(keys.encoded(keys.new_key(keys.KeyKind("ecdsa")), None, "x"))
    (tmp_path / "found" / "a-pipe").mkdir()
    os.mkfifo(tmp_path / "found" / "a-pipe" / "pipe")
    told = []
    found = search([str(tmp_path / "found")], None, lambda *words: told.append(words))
    assert [os.path.basename(path) for _key, path in found.keys.values()] == ["a.key", "b.key", "c.key", "d.key"]
    assert told == [("files read", 2, 4), ("files read", 4, 4)]

    real = os.scandir

    def scandir(path):
        if str(path).endswith("a-pipe"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = search([str(tmp_path / "found")], None)
    assert found.skipped == {str(tmp_path / "found" / "a-pipe"): "cannot be searched (permission denied)"}
