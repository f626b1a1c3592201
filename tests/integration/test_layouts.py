# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders that other programs leave, adopted: made by the program itself where Debian has it, else rebuilt.

docs/authorities.md says which is which. Each has the clients phone and lost, and lost is revoked as that program does
it. easy-rsa 3 is in the unit tests (test_adoption.py), as is the tutorial with root-ca.db (test_survey.py);
community.crypto is in test_adoption.py here.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import adoption
from ansible_collections.mtls.nginx.tests.by_hand import ByHand
from ansible_collections.mtls.nginx.tests.unit.support import Pki, openssl, run_module, tree

EASYRSA = Path("/usr/share/easy-rsa/easyrsa")
PAGE = (Path(__file__).parents[2] / "docs" / "authorities.md").read_text()


@dataclass
class Made:
    """What there is to adopt, and what should come of it; `phone` and `lost` are the certificates."""

    source: Path
    phone: Path
    lost: Path
    options: dict[str, object] = field(default_factory=dict)
    clients: tuple[str, ...] = ("phone",)


def run(*command: object, cwd: Path, stdin: str = "", **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        input=stdin,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copied(ca: ByHand, target: Path, names: dict[str, str]) -> Path:
    """The files of a CA of `openssl ca` under other names."""
    for old, new in names.items():
        (target / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ca.path / old, target / new)
    return target


def with_clients(folder: Path, kind: str = "no cRLSign") -> ByHand:
    ca = ByHand(folder, kind)
    for name in ("phone", "lost"):
        ca.client(name)
    ca.revoke("lost")
    return ca


def openssl_ca(folder: Path) -> Made:
    ca = with_clients(folder / "ca", "openssl")
    return Made(ca.path, ca.path / "phone.crt", ca.path / "lost.crt", {"repair": True})


def ca_pl(folder: Path) -> Made:
    program = re.findall('"(.*)"', run("openssl", "version", "-d", cwd=folder))[0] + "/misc/CA.pl"
    subject = "/C=ES/ST=V/O=Acme/CN="
    run(program, "-newca", "-extra-req", f"-nodes -subj {subject}CA", cwd=folder, stdin="\n")
    for name in ("phone", "lost"):
        run(program, "-newreq-nodes", "-extra-req", f"-subj {subject}{name}", cwd=folder)
        run(program, "-sign", cwd=folder, stdin="y\ny\n")
        shutil.move(folder / "newcert.pem", folder / f"{name}.pem")
        shutil.move(folder / "newkey.pem", folder / f"{name}.key")
    run(program, "-revoke", "lost.pem", cwd=folder)
    return Made(folder, folder / "phone.pem", folder / "lost.pem")


def easyrsa_2(folder: Path) -> Made:
    ca = with_clients(folder / "made")
    names = {f"{name}.{end}": f"{name}.{end}" for name in ("ca", "phone", "lost") for end in ("crt", "key")}
    names |= {"newcerts/1000.pem": "1000.pem", "newcerts/1001.pem": "1001.pem", "phone.csr": "phone.csr"}
    names |= {"index.txt": "index.txt", "index.txt.old": "index.txt.old", "serial": "serial", "crl.pem": "crl.pem"}
    keys = copied(ca, folder / "keys", names)
    openssl("dhparam", "-dsaparam", "-out", "dh1024.pem", "1024", cwd=keys)
    return Made(keys, keys / "phone.crt", keys / "lost.crt", {"repair": True})


def tinyca(folder: Path) -> Made:
    ca = with_clients(folder / "made")
    stems = {name: base64.b64encode(f"{name}:::Acme::::ES:".encode()).decode() for name in ("phone", "lost")}
    names = {f"{name}.crt": f"certs/{stem}.pem" for name, stem in stems.items()}
    names |= {f"{name}.key": f"keys/{stem}.pem" for name, stem in stems.items()}
    names |= {"ca.crt": "cacert.pem", "ca.key": "cacert.key", "crl.pem": "crl/crl.pem", "openssl.cnf": "openssl.cnf"}
    names |= {"index.txt": "index.txt", "serial": "serial", "newcerts/1000.pem": "newcerts/1000.pem"}
    top = copied(ca, folder / ".TinyCA" / "Acme", names)
    return Made(top, top / names["phone.crt"], top / names["lost.crt"], {"repair": True})


def certstrap(folder: Path) -> Made:
    """No record: what is revoked is in the CRL only."""
    ca = with_clients(folder / "made")
    names = {f"{name}.{end}": f"{name}.{end}" for name in ("phone", "lost") for end in ("crt", "key", "csr")}
    names |= {"ca.crt": "Acme_CA.crt", "ca.key": "Acme_CA.key", "crl.pem": "Acme_CA.crl"}
    out = copied(ca, folder / "out", names)
    return Made(out, out / "phone.crt", out / "lost.crt", {"repair": True})


def cfssl(folder: Path) -> Made:
    request = {"key": {"algo": "ecdsa", "size": 256}}
    (folder / "ca.json").write_text(json.dumps({"CN": "cfssl CA", "names": [{"O": "Acme"}], **request}))
    said = run("cfssl", "gencert", "-initca", "ca.json", cwd=folder)
    run("cfssljson", "-bare", "ca", cwd=folder, stdin=said)
    for name in ("phone", "lost"):
        (folder / f"{name}.json").write_text(json.dumps({"CN": name, **request}))
        said = run("cfssl", "gencert", "-ca", "ca.pem", "-ca-key", "ca-key.pem", f"{name}.json", cwd=folder)
        run("cfssljson", "-bare", name, cwd=folder, stdin=said)
    lost = x509.load_pem_x509_certificate((folder / "lost.pem").read_bytes())
    (folder / "serials.txt").write_text(f"{lost.serial_number}\n")
    crl = run("cfssl", "gencrl", "serials.txt", "ca.pem", "ca-key.pem", cwd=folder)
    (folder / "crl.txt").write_text(crl)  # base64, without the lines of PEM
    return Made(folder, folder / "phone.pem", folder / "lost.pem")


def mkcert(folder: Path) -> Made:
    """Its clients have no CN, so they get no folder; it knows no revocation, and its CA cannot sign a CRL."""
    for name in ("phone", "lost"):
        files = ("-cert-file", folder / f"{name}.pem", "-key-file", folder / f"{name}-key.pem")
        run("mkcert", "-client", *files, f"{name}.lan", cwd=folder, CAROOT=str(folder))
    (folder / "revoked").mkdir()
    shutil.move(folder / "lost.pem", folder / "revoked" / "lost.pem")
    return Made(folder, folder / "phone.pem", folder / "revoked" / "lost.pem", {"repair": True}, ())


def xca(folder: Path) -> Made:
    """Exports: the CA as .p12, clients as .p12 and in DER, the CRL in DER, beside its database."""
    ca = with_clients(folder / "made")
    out = folder / "exported"
    out.mkdir()
    for name in ("ca", "phone"):
        content = ("-inkey", f"{name}.key", "-in", f"{name}.crt", "-passout", "pass:geheim")
        openssl("pkcs12", "-export", *content, "-out", out / f"{name}.p12", cwd=ca.path)
    openssl("x509", "-in", "lost.crt", "-outform", "DER", "-out", out / "lost.cer", cwd=ca.path)
    openssl("crl", "-in", "crl.pem", "-outform", "DER", "-out", out / "ca.crl", cwd=ca.path)
    (out / "xca.xdb").write_bytes(b"SQLite format 3\0" + bytes(84))
    return Made(out, ca.path / "phone.crt", ca.path / "lost.crt", {"repair": True, "source_passphrase": "geheim"})


def opnsense(folder: Path) -> Made:
    """Exports of the web interface, beside a backup of the configuration."""
    ca = with_clients(folder / "made")
    names = {"ca.crt": "Acme+CA.crt", "ca.key": "Acme+CA.key", "crl.pem": "Acme+CRL.crl"}
    names |= {f"{name}.{end}": f"{name}.{end}" for name in ("phone", "lost") for end in ("crt", "key")}
    out = copied(ca, folder / "exported", names)
    inside = base64.b64encode((ca.path / "ca.crt").read_bytes()).decode()
    (out / "config.xml").write_text(f"<opnsense><ca><crt>{inside}</crt></ca></opnsense>\n")
    return Made(out, out / "phone.crt", out / "lost.crt", {"repair": True})


def step_ca(folder: Path) -> Made:
    """The intermediate CA of ~/.step issues; revocations are in its database, and here in a CRL beside it."""
    ca = with_clients(folder / "made")
    step = folder / ".step"
    for name in ("certs", "secrets", "db", "config"):
        (step / name).mkdir(parents=True)
    root = ("-newkey", "rsa:2048", "-nodes", "-subj", "/O=Acme/CN=Acme Root CA", "-days", "3650")
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    places = ("-keyout", step / "secrets/root_ca_key", "-out", step / "certs/root_ca.crt")
    openssl("req", "-x509", *root, *usage, *places, cwd=folder)
    ca.openssl("req", "-new", "-key", "ca.key", "-config", "openssl.cnf", "-out", "ca.csr")
    (folder / "sub.cnf").write_text(
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
    )
    signer = ("-CA", step / "certs/root_ca.crt", "-CAkey", step / "secrets/root_ca_key", "-days", "3000")
    out = step / "certs/intermediate_ca.crt"
    openssl("x509", "-req", "-in", ca.path / "ca.csr", *signer, "-extfile", "sub.cnf", "-out", out, cwd=folder)
    # As step writes keys: the older form of PEM, encrypted.
    secret = ("-aes256", "-passout", "pass:geheim", "-traditional", "-out", step / "secrets/intermediate_ca_key")
    openssl("rsa", "-in", ca.path / "ca.key", *secret, cwd=folder)
    (step / "db" / "MANIFEST").write_bytes(b"Bdgr" + bytes(8))
    (step / "config" / "ca.json").write_text("{}")
    names = {"phone.crt": "phone.crt", "phone.key": "phone.key", "lost.crt": "lost.crt", "crl.pem": "crl.pem"}
    copied(ca, step / "clients", names)
    options = {"certificate": str(out), "source_passphrase": "geheim"}
    return Made(step, step / "clients/phone.crt", step / "clients/lost.crt", options)


LAYOUTS: dict[str, Callable[[Path], Made]] = {
    "`openssl ca`": openssl_ca,
    "CA.pl": ca_pl,
    "easy-rsa 2": easyrsa_2,
    "TinyCA": tinyca,
    "certstrap": certstrap,
    "cfssl": cfssl,
    "mkcert": mkcert,
    "XCA": xca,
    "pfSense, OPNsense": opnsense,
    "step-ca": step_ca,
}
# Not here, but in the tests that the docstring names.
ELSEWHERE = {"easy-rsa 3", "community.crypto", "pki-tutorial"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_adopted_with_its_clients_and_who_is_revoked_is_out(tmp_path, layout):
    folder = tmp_path / "theirs"
    folder.mkdir()
    made = LAYOUTS[layout](folder)
    before = tree(folder)
    given = {"certificate": None, "source_passphrase": None, "passphrase": None, "crl_days": 30, **made.options}
    wanted = adoption.WantedAdoption(str(tmp_path / "pki"), [str(made.source)], **given)
    plan = adoption.adopt(wanted, check=False)
    assert tree(folder) == before
    assert tuple(client.name for client in plan.clients if client.key is not None) == made.clients
    path = tmp_path / "pki"
    verify = ("verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem")
    assert "OK" in openssl(*verify, made.phone, cwd=path)
    assert "certificate revoked" in openssl(*verify, made.lost, cwd=path, ok=False)
    pki = Pki(path, given["source_passphrase"])
    assert pki.one(Client("new")).action == "issued"
    assert "OK" in openssl(*verify, "clients/new/new.crt", cwd=path)


def test_the_page_lists_exactly_what_is_tested():
    table = PAGE.partition("| made by | tested with |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| (.+?) \|", table, re.MULTILINE)) - {"---"} == LAYOUTS.keys() | ELSEWHERE


def test_what_easy_rsa_itself_renewed_is_listed_and_goes_with_the_name(tmp_path):
    environment = {"EASYRSA_BATCH": "1", "EASYRSA_PKI": str(tmp_path / "pki"), "EASYRSA_ALGO": "ec"}
    run(EASYRSA, "init-pki", cwd=tmp_path, **environment)
    run(EASYRSA, "build-ca", "nopass", cwd=tmp_path, **environment, EASYRSA_REQ_CN="CA")
    run(EASYRSA, "build-client-full", "phone", "nopass", cwd=tmp_path, **environment, EASYRSA_CERT_EXPIRE="20")
    run(EASYRSA, "renew", "phone", "nopass", cwd=tmp_path, **environment)
    run(EASYRSA, "revoke", "phone", cwd=tmp_path, **environment)  # takes the new one only
    old = tmp_path / "pki/renewed/issued/phone.crt"
    done = run_module("ca_adopt", path=str(tmp_path / "new"), source=[str(tmp_path / "pki")])
    assert (done["certificates"], done["revoked"]) == (2, 1)
    assert f"`easyrsa revoke` does not touch them: {old}" in done["raw"]
    revoked = run_module("crl", ca_path=str(tmp_path / "new"), revoked=[{"name": "phone"}])["revoked"]
    assert len(revoked) == 2
    verify = ("verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem")
    assert "certificate revoked" in openssl(*verify, old, cwd=tmp_path / "new", ok=False)
