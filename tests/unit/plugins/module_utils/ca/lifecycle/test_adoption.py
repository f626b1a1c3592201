# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorities that others made are taken over whole: by easy-rsa itself, by openssl, as loose files, as a .p12."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import adoption, findings, survey
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.authorities import new_authority
from ansible_collections.mtls.nginx.tests.unit.support import Pki, openssl, run_module, tree

EASYRSA = Path("/usr/share/easy-rsa/easyrsa")
OLD, NEW = "of easy-rsa", "of ours"


def adopt(path, *sources, check=False, old=None, new=None, certificate=None) -> adoption.AdoptionPlan:
    wanted = adoption.WantedAdoption(str(path), [str(source) for source in sources], certificate, old, new, 30)
    return adoption.adopt(wanted, check=check)


def serial_of(path) -> str:
    return f"{x509.load_pem_x509_certificate(Path(path).read_bytes()).serial_number:X}"


@pytest.fixture(scope="module")
def easyrsa(tmp_path_factory) -> Path:
    """A PKI by easy-rsa: a CA with a passphrase, clients, a server; one revoked, one key encrypted."""
    folder = tmp_path_factory.mktemp("easyrsa")
    environment = {
        **os.environ,
        "EASYRSA_BATCH": "1",
        "EASYRSA_PKI": str(folder / "pki"),
        "EASYRSA_ALGO": "ec",
        "EASYRSA_CURVE": "prime256v1",
        "EASYRSA_REQ_CN": "Easy CA",
        "EASYRSA_PASSIN": f"pass:{OLD}",
        "EASYRSA_PASSOUT": f"pass:{OLD}",
    }

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [EASYRSA, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run("init-pki")
    run("build-ca")
    del environment["EASYRSA_REQ_CN"]
    for name in ("laptop", "phone", "lost"):
        run("build-client-full", name, "nopass")
    environment["EASYRSA_PASSOUT"] = "pass:of the device"
    run("build-client-full", "locked")
    run("build-server-full", "web.example.com", "nopass")
    run("revoke", "lost", "keyCompromise")
    run("gen-crl")
    return folder / "pki"


@pytest.mark.slow
def test_easy_rsa(easyrsa, tmp_path):
    pki = Pki(tmp_path / "new" / "pki", NEW)
    before = tree(easyrsa)
    foreseen = adopt(pki.path, easyrsa, old=OLD, new=NEW, check=True)
    assert not pki.path.parent.exists()
    plan = adopt(pki.path, easyrsa, old=OLD, new=NEW)
    assert plan.not_taken == foreseen.not_taken
    assert [client.name for client in plan.clients] == [client.name for client in foreseen.clients]
    assert tree(easyrsa) == before

    assert [(client.name, client.key is not None) for client in plan.clients] == [
        ("laptop", True),
        ("locked", False),
        ("phone", True),
    ]
    said = {Path(path).name: why for path, why in plan.not_taken.items()}
    assert "the key is encrypted" in said["locked.key"]
    assert any("is a server's certificate" in why for why in plan.not_taken.values())
    assert any("is revoked" in why for why in plan.not_taken.values())
    assert sorted((row[0], row[5]) for row in pki.index()) == [
        ("R", "/CN=lost"),
        ("V", "/CN=laptop"),
        ("V", "/CN=locked"),
        ("V", "/CN=phone"),
        ("V", "/CN=web.example.com"),
    ]
    assert next(row[2] for row in pki.index() if row[0] == "R").endswith(",keyCompromise")
    assert stat.S_IMODE((pki.path / "ca.key").stat().st_mode) == 0o600
    openssl("pkey", "-in", "ca.key", "-passin", f"pass:{NEW}", "-noout", cwd=pki.path)
    for name in ("laptop", "phone"):
        assert pki.file(name, ".crt").read_bytes() in (easyrsa / f"issued/{name}.crt").read_bytes()
        assert stat.S_IMODE(pki.file(name, ".key").stat().st_mode) == 0o600

    before = tree(pki.path)
    assert not adopt(pki.path, easyrsa, old=OLD, new=NEW).changed
    assert not adopt(pki.path, easyrsa, old=OLD, new=NEW, check=True).changed
    assert tree(pki.path) == before

    # Life goes on, with the modules and by hand.
    done = pki.serve(Client("laptop"), Client("phone"), Client("locked"), Client("new"))
    assert [result.action for result in done.results] == ["updated", "updated", "unchanged", "issued"]
    assert serial_of(pki.file("laptop", ".crt")) == serial_of(easyrsa / "issued/laptop.crt")
    request = pki.csr("by-hand")
    pki.ca("-in", request, "-out", "by-hand.crt", "-passin", f"pass:{NEW}")
    verify = ("verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem")
    for path in ("clients/laptop/laptop.crt", "clients/new/new.crt", "by-hand.crt"):
        assert "OK" in openssl(*verify, path, cwd=pki.path)
    (lost,) = (row[3] for row in pki.index() if row[0] == "R")
    assert "certificate revoked" in openssl(*verify, f"newcerts/{lost}.pem", cwd=pki.path, ok=False)


def test_what_happens_at_the_source_afterwards_is_told(easyrsa, tmp_path):
    source, target = tmp_path / "source", tmp_path / "pki"
    shutil.copytree(easyrsa, source)
    adopt(target, source, old=OLD, new=NEW)
    index = (source / "index.txt").read_text()
    line = next(line for line in index.splitlines() if line.endswith("/CN=phone"))
    revoked = line.replace("V\t", "R\t", 1).replace("Z\t\t", "Z\t261123120000Z\t", 1)
    (source / "index.txt").write_text(index.replace(line, revoked))
    plan = adopt(target, source, old=OLD, new=NEW)
    assert not plan.changed
    assert "the source has 1 certificates or revocations that are not in it" in plan.warnings[0]


def loose_files(folder: Path, *, name: str = "Loose CA") -> None:
    """A key, a CA certificate and certificates in folders, as community.crypto leaves them; no index anywhere."""
    folder.mkdir()
    (folder / "out").mkdir()
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    arguments = ("req", "-x509", *key, *usage, "-days", "3650", "-subj", f"/O=Acme/CN={name}")
    openssl(*arguments, "-keyout", "ca.pem.key", "-out", "ca.pem", cwd=folder)
    for number, client in enumerate(("tablet", "Tablet", "printer"), 1):
        stem = f"out/{client}-{number}"
        openssl(
            "req", "-new", *key, "-subj", f"/CN={client}", "-keyout", f"{stem}.key", "-out", f"{stem}.csr", cwd=folder
        )
        openssl(
            *("x509", "-req", "-in", f"{stem}.csr", "-CA", "ca.pem", "-CAkey", "ca.pem.key", "-days", "90"),
            *("-set_serial", f"{16 + number}", "-out", f"{stem}.pem"),
            cwd=folder,
        )


def test_loose_files_of_a_ca_without_a_record(tmp_path):
    loose_files(tmp_path / "ca")
    shutil.copy(tmp_path / "ca/ca.pem.key", tmp_path / "ca/copy.key")
    (tmp_path / "ca/notes.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    pki = Pki(tmp_path / "pki")
    plan = adopt(pki.path, tmp_path / "ca/ca.pem", tmp_path / "ca/ca.pem.key", tmp_path / "ca")
    assert sorted(row[3] for row in pki.index()) == ["11", "12", "13"]
    assert {client.name for client in plan.clients} in ({"tablet", "printer"}, {"Tablet", "printer"})
    assert any("differs only in case" in why for why in plan.not_taken.values())
    assert "damaged" in plan.not_taken[str(tmp_path / "ca/notes.pem")]
    assert any("stored unencrypted" in warning for warning in plan.warnings)
    assert pki.one(Client("printer")).entry.serial == "13"
    assert len(pki.one(Client("new")).entry.serial) == 18  # random: nobody knows which serials were used


def test_a_ca_in_a_p12(tmp_path):
    loose_files(tmp_path / "ca")
    arguments = ("-export", "-inkey", "ca.pem.key", "-in", "ca.pem", "-passout", f"pass:{OLD}")
    openssl("pkcs12", *arguments, "-out", "ca.p12", cwd=tmp_path / "ca")
    bundle = tmp_path / "ca/ca.p12"
    with pytest.raises(MtlsError, match=r"ca\.p12: source_passphrase does not open it"):
        adopt(tmp_path / "pki", bundle, old="wrong")
    adopt(tmp_path / "pki", bundle, old=OLD)
    pki = Pki(tmp_path / "pki", OLD)
    assert pki.one(Client("a")).action == "issued"
    assert "ENCRYPTED" in (pki.path / "ca.key").read_text()


def test_the_old_crl_counts_where_the_record_is_silent(pki, tmp_path):
    serial = pki.one(Client("a")).entry.serial
    held = pki.one(Client("b")).entry.serial
    pki.serve(Client("a", revoked=True, reason="keyCompromise"), Client("b", revoked=True, reason="certificateHold"))
    with pki.open() as authority:
        state = [authority.write_crl(30) for _time in range(3)][-1]
    source = tmp_path / "source"
    source.mkdir()
    for name in ("ca.crt", "ca.key", "crl.pem"):
        shutil.copy(pki.path / name, source)
    shutil.copy(pki.path / f"newcerts/{serial}.pem", source)
    target = Pki(tmp_path / "target")
    plan = adopt(target.path, source)
    rows = {row[3]: row for row in target.index()}
    assert {serial: row[2].split(",")[1] for serial, row in rows.items()} == {
        serial: "keyCompromise",
        held: "certificateHold",
    }
    assert rows[serial][2] == next(row for row in pki.index() if row[3] == serial)[2]
    with target.open() as authority:
        assert authority.crl_state().number > state.number
        assert authority.crl_state().entries == 2
    assert plan.clients == []


def test_a_directory_of_openssl_is_copied_and_goes_on_counting(pki, tmp_path):
    (pki.path / "serial").write_text("1000\n")
    pki.serve(Client("a"), Client("b"))
    plan = adopt(tmp_path / "copy", pki.path)
    assert [client.name for client in plan.clients] == ["a", "b"]
    copy = Pki(tmp_path / "copy")
    assert copy.index() == pki.index()
    assert copy.one(Client("c")).entry.serial == "1002"
    assert [result.entry.serial for result in copy.serve(Client("a"), Client("b")).results] == ["1000", "1001"]


@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_what_cannot_be_taken_over_is_one_message_and_changes_nothing(pki, tmp_path, check):
    loose_files(tmp_path / "one")
    loose_files(tmp_path / "two", name="Other CA")
    arguments = ("-export", "-inkey", "ca.pem.key", "-in", "ca.pem", "-passout", "pass:x", "-out", "ca.p12")
    openssl("pkcs12", *arguments, cwd=tmp_path / "two")
    (tmp_path / "keyless").mkdir()
    shutil.copy(tmp_path / "one/ca.pem", tmp_path / "keyless")
    (tmp_path / "locked").mkdir()
    shutil.copy(tmp_path / "one/ca.pem", tmp_path / "locked")
    arguments = ("-in", "one/ca.pem.key", "-aes256", "-passout", f"pass:{OLD}", "-out", "locked/ca.key")
    openssl("pkey", *arguments, cwd=tmp_path)
    (tmp_path / "broken").mkdir()
    shutil.copy(tmp_path / "one/ca.pem", tmp_path / "broken")
    shutil.copy(tmp_path / "one/ca.pem.key", tmp_path / "broken")
    (tmp_path / "broken/index.txt").write_text("V\t27")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    (tmp_path / "loop").symlink_to("pool")
    (tmp_path / "pool").symlink_to("loop")
    before = tree(tmp_path)
    new = tmp_path / "new"
    for arguments, options, complaint in (
        ((pki.path, tmp_path / "one"), {}, "is another authority already, CN=Test CA,O=Acme,C=ES"),
        ((tmp_path / "full", tmp_path / "one"), {}, "is there already and is not an authority"),
        ((new, tmp_path / "one", tmp_path / "two"), {}, "are certificates of several CAs; say which"),
        ((new, tmp_path / "keyless"), {}, "its private key is not among the sources"),
        ((new, tmp_path / "locked"), {"old": "wrong"}, r"source_passphrase does not open \(\S+locked/ca\.key\)"),
        ((new, tmp_path / "broken"), {}, "index.txt, line 1: is cut off"),
        ((new, tmp_path / "empty"), {}, "there is no certificate of a CA here"),
        ((new, tmp_path / "nowhere"), {}, "there is no such file or directory"),
        ((new, tmp_path / "one", tmp_path / "loop"), {}, r"/loop: is a symbolic link that leads nowhere; correct it"),
        ((tmp_path / "one", tmp_path / "one"), {}, "is the source itself; mtls.nginx.ca_init adopts"),
        ((tmp_path / "one/new", tmp_path / "one"), {}, "is inside the source .*, or around it"),
        ((new, pki.path, tmp_path / "broken"), {}, "are certificates of several CAs|are the records of several CAs"),
    ):
        with pytest.raises(MtlsError, match=complaint):
            adopt(*arguments, check=check, **options)
        assert tree(tmp_path) == before


def test_one_of_several_cas_is_chosen_by_its_certificate(tmp_path):
    loose_files(tmp_path / "one")
    loose_files(tmp_path / "two", name="Other CA")
    sources = (tmp_path / "one", tmp_path / "two")
    plan = adopt(tmp_path / "pki", *sources, certificate=str(tmp_path / "two/ca.pem"))
    assert plan.chain[0].subject.rfc4514_string() == "CN=Other CA,O=Acme"
    assert len(plan.index) == 3
    assert sum(why == "was issued by another CA" for why in plan.not_taken.values()) == 3


def test_the_module_shows_all_and_no_secret(easyrsa, tmp_path):
    options = {
        "path": str(tmp_path / "pki"),
        "source": [str(easyrsa)],
        "source_passphrase": OLD,
        "passphrase": NEW,
    }
    foreseen = run_module("ca_adopt", check=True, diff=True, **options)
    assert not (tmp_path / "pki").exists()
    done = run_module("ca_adopt", diff=True, **options)
    assert {key: foreseen[key] for key in ("clients", "not_taken", "diff", "certificates")} == {
        key: done[key] for key in ("clients", "not_taken", "diff", "certificates")
    }
    assert (done["changed"], done["ca"], done["certificates"], done["revoked"]) == (True, "CN=Easy CA", 5, 1)
    assert "client laptop" in done["diff"]["after"]
    assert "/CN=lost, revoked (keyCompromise)" in done["diff"]["after"]
    assert not run_module("ca_adopt", **options)["changed"]
    for result in (foreseen, done):
        assert OLD not in result["raw"]
        assert NEW not in result["raw"]


@pytest.mark.slow
@pytest.mark.usefixtures("two_cores")
def test_many_files_are_told_and_written_by_several_processes(tmp_path, monkeypatch):
    """All that is done has its say, from check mode too; keys keep to their owner from the first byte."""
    for module, name, number in ((adoption, "_AT_ONCE", 3), (adoption, "_BETWEEN_WORDS", 4), (survey, "_AT_ONCE", 2)):
        monkeypatch.setattr(module, name, number)
    monkeypatch.setattr(survey, "_BETWEEN_WORDS", 5)
    monkeypatch.setattr(findings, "_TOLD_AFTER", 10)
    source = Pki(tmp_path / "source")
    new_authority(source.path, {"CN": "Many"})
    names = [f"phone-{number}" for number in range(12)]
    source.serve(*(Client(name, p12="none") for name in names))
    wanted = adoption.WantedAdoption(str(tmp_path / "pki"), [str(source.path)], None, None, None, 30)
    told: dict[bool, list] = {}
    for check in (True, False):
        told[check] = []
        adoption.adopt(wanted, check=check, tell=lambda *words, to=told[check]: to.append(words))
    assert {what for what, _done, _total in told[True]} == {"files read", "certificates verified"}
    for what in ("files read", "certificates verified", "files written"):
        counts = [(done, total) for said, done, total in told[False] if said == what]
        assert counts == sorted(counts)
        assert len({total for _done, total in counts}) == 1
    assert told[False][-1] == ("files written", 36, 36)
    pki = Pki(tmp_path / "pki")
    for name in names:
        assert stat.S_IMODE(pki.file(name, ".key").stat().st_mode) == 0o600
        assert pki.file(name, ".crt").read_bytes() == source.file(name, ".crt").read_bytes()
    assert [result.action for result in pki.serve(*(Client(name, p12="none") for name in names)).results] == [
        "unchanged"
    ] * len(names)


@pytest.mark.slow
@pytest.mark.usefixtures("two_cores")
def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    source = Pki(tmp_path / "source")
    new_authority(source.path, {"CN": "Many"})
    source.serve(*(Client(f"phone-{number}", p12="none") for number in range(20)))
    monkeypatch.setattr(adoption, "_AT_ONCE", 3)
    real = files.put

    def put(path, *arguments, **options):
        if "phone-19" in str(path):
            raise OSError(28, "No space left on device", path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(files, "put", put)
    before = tree(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        adopt(tmp_path / "pki", source.path)
    assert tree(tmp_path) == before
