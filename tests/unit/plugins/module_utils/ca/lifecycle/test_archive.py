# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive of an authority: complete, secret, found out when damaged, and opened by openssl and tar alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import tarfile

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import archive
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import Pki, openssl, run_module, tree

SECRET = "of the archive: ñ, and more"


@pytest.fixture(autouse=True)
def fewer_rounds(monkeypatch):
    monkeypatch.setattr(archive, "_ITERATIONS", 1000)


@pytest.fixture(scope="module")
def kept(pristine, tmp_path_factory) -> Pki:
    """An authority that counts serials, with clients, one of them revoked; tests get copies."""
    pki = Pki.copy_of(pristine, tmp_path_factory.mktemp("kept") / "pki")
    (pki.path / "serial").write_text("1000\n")
    pki.serve(Client("a"), Client("José, IT"), Client("gone"))
    pki.one(Client("gone", revoked=True))
    with pki.open() as authority:
        authority.write_crl(30)
    return pki


@pytest.fixture
def used(kept, tmp_path) -> Pki:
    return Pki.copy_of(kept.path, tmp_path / "pki")


@pytest.fixture
def packed(used, tmp_path):
    archive.export(str(used.path), str(tmp_path / "pki.tar"), SECRET, check=False)
    return tmp_path / "pki.tar"


def content(path) -> dict:
    """Return content, mode and time of each file, without what is only there while somebody works."""
    found = tree(path)
    times = {name: os.stat(name).st_mtime_ns for name, (data, _mode) in found.items() if data is not None}
    return {
        name.removeprefix(str(path)): (*found[name], times.get(name))
        for name in found
        if not name.endswith((".lock", "audit.log")) and name != str(path)
    }


def log(path) -> list[dict]:
    return [json.loads(line) for line in (path / "audit.log").read_text().splitlines()]


def test_the_restored_authority_is_the_same_and_goes_on(used, packed, tmp_path):
    assert stat.S_IMODE(packed.stat().st_mode) == 0o600
    new = Pki(tmp_path / "elsewhere" / "pki")
    assert archive.restore(str(new.path), str(packed), SECRET, check=True)
    assert not new.path.parent.exists()
    assert archive.restore(str(new.path), str(packed), SECRET, check=False)
    assert content(new.path) == content(used.path)
    assert stat.S_IMODE(new.path.stat().st_mode) == 0o700
    assert log(new.path)[-1]["did"] == "restored"
    assert log(new.path)[:-1] == log(used.path)[:-1]
    assert log(used.path)[-1]["did"] == "exported"
    assert not archive.restore(str(new.path), str(packed), SECRET, check=False)

    done = new.serve(Client("a"), Client("José, IT"), Client("gone", revoked=True), Client("new"))
    assert [result.action for result in done.results] == ["unchanged", "unchanged", "unchanged", "issued"]
    assert done.results[3].entry.serial == "1003"
    with used.open() as before, new.open() as after:
        assert after.write_crl(30).number == before.crl_state().number + 1
    verify = ("verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem")
    assert "OK" in openssl(*verify, "clients/new/new.crt", cwd=new.path)
    assert "certificate revoked" in openssl(*verify, "clients/gone/gone.crt", cwd=new.path, ok=False)
    new.ca("-status", "1000", ok=None)


def test_an_archive_that_holds_all_stays_as_it_is(used, packed):
    before = (packed.read_bytes(), packed.stat().st_mtime_ns, (used.path / "audit.log").read_bytes())
    for check in (True, False):
        assert not archive.export(str(used.path), str(packed), SECRET, check=check)
    assert (packed.read_bytes(), packed.stat().st_mtime_ns, (used.path / "audit.log").read_bytes()) == before
    used.one(Client("b"))
    assert archive.export(str(used.path), str(packed), SECRET, check=True)
    assert packed.read_bytes() == before[0]
    assert archive.export(str(used.path), str(packed), SECRET, check=False)
    assert packed.read_bytes() != before[0]


def test_nothing_secret_is_readable_in_it(used, packed):
    data = packed.read_bytes()
    for secret in (b"PRIVATE KEY", b"jos", b"gone", used.file("a", ".p12.password").read_bytes().strip()):
        assert secret not in data


@pytest.mark.slow
def test_openssl_and_tar_open_it_by_the_readme(used, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_ITERATIONS", 600_000)
    packed.unlink()
    archive.export(str(used.path), str(packed), SECRET, check=False)
    folder = tmp_path / "by-hand"
    folder.mkdir()
    with tarfile.open(packed) as tar:
        assert [member.name for member in tar] == [archive._README, archive._ENCRYPTED, archive._SEAL]
    subprocess.run(["tar", "-xf", packed], cwd=folder, check=True)
    readme = (folder / "README.txt").read_text()
    commands = re.sub(r" \\\n\s+", " ", readme)
    decrypt = re.search(r"openssl (enc -d .*)", commands)[1].split()
    openssl(*decrypt, "-pass", f"pass:{SECRET}", cwd=folder)
    (folder / "pki").mkdir()
    subprocess.run(["tar", "-xzpf", "../authority.tar.gz"], cwd=folder / "pki", check=True)
    assert content(folder / "pki") == content(used.path)

    seal = json.loads((folder / archive._SEAL).read_text())
    derive = re.search(r"openssl (kdf .*)", commands)[1].replace("SALT", seal["salt"]).split()
    derive[derive.index("pass:PASSPHRASE")] = f"pass:{SECRET}"
    key = openssl(*derive, cwd=folder).strip().replace(":", "")
    authenticate = re.search(r"openssl (mac .*)", commands)[1].replace("KEY", key).split()
    assert openssl(*authenticate, cwd=folder).strip().lower() == seal["hmac"]


@pytest.mark.parametrize("where", [0.02, 0.3, 0.5, 0.9])
def test_a_flipped_bit_is_found_and_nothing_is_left(packed, tmp_path, where):
    data = bytearray(packed.read_bytes())
    with tarfile.open(packed) as tar:
        encrypted = tar.getmember(archive._ENCRYPTED)
    data[encrypted.offset_data + int(encrypted.size * where)] ^= 1
    packed.write_bytes(data)
    before = tree(tmp_path)
    with pytest.raises(MtlsError, match="the passphrase is wrong, or the archive is damaged"):
        archive.restore(str(tmp_path / "new"), str(packed), SECRET, check=False)
    assert tree(tmp_path) == before


def cut(path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def other_iterations(path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"iterations": 1000', b'"iterations": 9e99'))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.write_bytes(b""), "is not an archive made by mtls.nginx.ca_archive"),
        (lambda path: path.write_text("hello"), "is not an archive made by mtls.nginx.ca_archive"),
        (lambda path: path.unlink(), "there is no such archive"),
        (cut, "is not an archive made by mtls.nginx.ca_archive, or is damaged"),
        (other_iterations, "is not an archive made by mtls.nginx.ca_archive, or is damaged|the passphrase is wrong"),
    ],
)
def test_what_is_no_archive_is_refused(packed, tmp_path, damage, complaint):
    damage(packed)
    before = tree(tmp_path)
    with pytest.raises(MtlsError, match=complaint):
        archive.restore(str(tmp_path / "new"), str(packed), SECRET, check=False)
    assert tree(tmp_path) == before


def test_a_member_that_would_go_elsewhere_is_refused_by_the_archives_name(used, tmp_path, monkeypatch):
    add = archive._add_member
    monkeypatch.setattr(archive, "_add_member", lambda tar, path, member: add(tar, path, f"../{member}"))
    odd = str(tmp_path / "odd.tar")
    archive.export(str(used.path), odd, SECRET, check=False)
    with pytest.raises(MtlsError) as caught:
        archive.restore(str(tmp_path / "new"), odd, SECRET, check=False)
    assert re.match(rf"{re.escape(odd)}: holds '.*', which no authority has; use another archive", str(caught.value))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_nothing_is_ever_replaced_by_mistake(used, packed, tmp_path, check):
    used.one(Client("after-the-backup"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    shutil.copy(packed, tmp_path / "other.tar")
    before = tree(tmp_path)
    for work, arguments, complaint in (
        (archive.restore, (used.path, packed, SECRET), "is there already, and differs from"),
        (archive.restore, (tmp_path / "full", packed, SECRET), "is there already, and differs from"),
        (archive.restore, (tmp_path / "new", packed, "wrong"), "the passphrase is wrong"),
        (archive.export, (used.path, packed, "another"), "the passphrase is wrong"),
        (archive.export, (used.path, tmp_path / "full/file", SECRET), "is not an archive"),
        (archive.export, (used.path, used.path / "x.tar", SECRET), "lies in the authority's own directory"),
        (archive.export, (tmp_path / "full", tmp_path / "x.tar", SECRET), "there is no authority"),
    ):
        with pytest.raises(MtlsError, match=complaint):
            work(*map(str, arguments), check=check)
        assert tree(tmp_path) == before


def test_an_export_waits_for_the_run_that_works_there(used, tmp_path, monkeypatch):
    lock = files.lock
    monkeypatch.setattr(files, "lock", lambda path: lock(path, wait=0.2))
    with lock(used.path / ".lock"), pytest.raises(MtlsError, match=r"another run .*is still working"):
        archive.export(str(used.path), str(tmp_path / "x.tar"), SECRET, check=False)
    assert not (tmp_path / "x.tar").exists()


def test_a_failed_export_leaves_nothing_and_is_not_logged(used, tmp_path, monkeypatch):
    before, lines = content(used.path), log(used.path)

    def fail(*_arguments):
        raise OSError(28, "No space left")

    monkeypatch.setattr(archive, "_add_member", fail)
    with pytest.raises(OSError, match="No space left"):
        archive.export(str(used.path), str(tmp_path / "x.tar"), SECRET, check=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pki"]
    assert content(used.path) == before
    with used.open():
        assert log(used.path) == lines


def test_the_module(used, tmp_path):
    common = {"archive": str(tmp_path / "x.tar"), "passphrase": SECRET}
    results = [
        run_module("ca_archive", ca_path=str(used.path), state="exported", check=check, diff=True, **common)
        for check in (True, False, False)
    ]
    assert [result["changed"] for result in results] == [True, True, False]
    assert results[0]["diff"] == results[1]["diff"]
    new = str(tmp_path / "new")
    results += [
        run_module("ca_archive", ca_path=new, state="restored", check=check, **common) for check in (True, False, False)
    ]
    assert [result["changed"] for result in results[3:]] == [True, True, False]
    assert all(SECRET not in result["raw"] for result in results)
    refused = run_module("ca_archive", ca_path=new, state="restored", **{**common, "passphrase": ""})
    assert "the passphrase is empty" in refused["msg"]
