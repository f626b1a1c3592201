# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people get: bundles that other programs read, pages that tell the truth, and keys that are nowhere else."""

from __future__ import annotations

import html
import os
import pathlib
import plistlib
import re
import shlex
import shutil
import subprocess

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.tests.authorities import new_authority
from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, Pki

from .conftest import PASSPHRASE, Site, tree


def run(*command: object, **options: object) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def service(name: str, port: int, upstream: str, **changes: object) -> dict:
    base = {"name": name, "server_names": [f"{name}.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
    return {**base, **changes}


def page(site: Site, name: str, pki: str = "pki") -> str:
    return (site.inventory / pki / "clients" / name / f"{name}.html").read_text()


def opens(text: str) -> list[str]:
    return re.findall(r'<a href="(https[^"]*)"', text)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Pki:
    path = tmp_path_factory.mktemp("devices") / "pki"
    new_authority(path, SUBJECT)
    return Pki(path)


@pytest.mark.parametrize("kind", ["compatible", "modern"])
@pytest.mark.parametrize("key_type", ["rsa", "ecdsa"])
def test_openssl_java_and_nss_read_the_p12(authority, tmp_path, kind, key_type):
    name = f"{kind}-{key_type}"
    authority.one(Client(name, key_type=key_type, p12=kind, mobileconfig=True))
    bundle, secret = authority.file(name, ".p12"), authority.file(name, ".p12.password")
    in_profile = tmp_path / "from-the-profile.p12"
    profile = plistlib.loads(authority.file(name, ".mobileconfig").read_bytes())
    in_profile.write_bytes(profile["PayloadContent"][0]["PayloadContent"])
    certificate = run("openssl", "x509", "-in", authority.file(name, ".crt"), "-noout", "-serial", "-fingerprint")

    for number, path in enumerate((bundle, in_profile)):
        plain = run("openssl", "pkcs12", "-in", path, "-passin", f"file:{secret}", "-nodes")  # no -legacy
        assert "PRIVATE KEY" in plain
        assert plain.count("BEGIN CERTIFICATE") == 2
        found = run("openssl", "x509", "-noout", "-serial", "-fingerprint", input=plain)
        assert found == certificate

        store = ("-storetype", "PKCS12", "-keystore", path, "-storepass:file", secret)
        listed = run(shutil.which("keytool"), "-J-Duser.language=en", "-list", *store)
        assert "PrivateKeyEntry" in listed

        database = tmp_path / f"nss-{number}"
        database.mkdir()
        run("certutil", "-d", f"sql:{database}", "-N", "--empty-password")
        run("pk12util", "-d", f"sql:{database}", "-i", path, "-w", secret)
        assert re.search(rf"< 0> (rsa|ec) .* {name}$", run("certutil", "-d", f"sql:{database}", "-K"), re.M)


@pytest.mark.parametrize("kind", ["compatible", "modern"])
def test_who_reads_a_p12_with_an_ed25519_key(authority, tmp_path, kind):
    """OpenSSL and Java do; NSS, which Firefox and Chromium use, does not."""
    name = f"{kind}-ed25519"
    authority.one(Client(name, key_type="ed25519", p12=kind))
    path, secret = authority.file(name, ".p12"), authority.file(name, ".p12.password")
    assert "PRIVATE KEY" in run("openssl", "pkcs12", "-in", path, "-passin", f"file:{secret}", "-nodes")
    store = ("-storetype", "PKCS12", "-keystore", path, "-storepass:file", secret)
    assert "PrivateKeyEntry" in run(shutil.which("keytool"), "-J-Duser.language=en", "-list", *store)
    database = tmp_path / "nss"
    database.mkdir()
    run("certutil", "-d", f"sql:{database}", "-N", "--empty-password")
    command = ["pk12util", "-d", f"sql:{database}", "-i", path, "-w", secret]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode != 0
    assert "SEC_ERROR_PKCS12_UNABLE_TO_IMPORT_KEY" in refused.stdout + refused.stderr


def test_bundles_and_pages_of_a_fleet(site, upstream):
    ports = [free_port() for _service in range(4)]
    site.add_host(
        "one",
        mtls_clients=[{"name": "phone", "used_by": ["browser"]}, {"name": "tablet"}, {"name": "bot", "p12": "none"}],
    )
    site.host_vars["one"]["mtls_clients"][2]["formats"] = ["pem"]
    site.add_host("two", mtls_clients=[{"name": "of-two"}])
    names = ("nas", "wiki", "gone", "photos")
    nas, wiki, gone, photos = (service(name, port, upstream) for name, port in zip(names, ports, strict=True))
    nas |= {"allow": ["phone"]}
    gone |= {"state": "absent"}
    photos = {key: photos[key] for key in ("name", "server_names", "listen")} | {"snippet": True, "allow": ["tablet"]}
    site.host_vars["one"]["mtls_services"] = [nas, gone, photos]
    site.host_vars["two"]["mtls_services"] = [wiki | {"server_names": ["wiki.lan", "*.wiki.lan"]}]

    plan = site.ok("--check", "--diff", "--limit", "one")
    assert "phone: page for the new certificate" in plan.text
    assert not site.pki.exists()
    first = site.ok("--diff")
    assert opens(page(site, "phone")) == [f"https://nas.lan:{ports[0]}/", f"https://wiki.lan:{ports[1]}/"]
    assert opens(page(site, "tablet")) == [f"https://photos.lan:{ports[3]}/", f"https://wiki.lan:{ports[1]}/"]
    assert opens(page(site, "bot")) == opens(page(site, "of-two")) == [f"https://wiki.lan:{ports[1]}/"]
    assert "gone" not in page(site, "phone")
    profile = plistlib.loads((site.pki / "clients/phone/phone.mobileconfig").read_bytes())
    kinds = [payload["PayloadType"] for payload in profile["PayloadContent"]]
    assert kinds == ["com.apple.security.pkcs12", "com.apple.security.root"]  # the authority issues for the services
    assert not (site.pki / "clients/bot/bot.mobileconfig").exists()
    certificate, key = (site.pki / f"clients/bot/bot.{ending}" for ending in ("crt", "key"))
    assert (site.pki / "clients/bot/bot.pem").read_bytes() == certificate.read_bytes() + key.read_bytes()
    assert "curl --cert bot.pem" in page(site, "bot")

    made = tree(site.inventory)
    assert site.ok("--check", "--diff").changed == 0
    assert site.ok("--diff", "--limit", "two").changed == 0
    assert tree(site.inventory) == made

    site.host_vars["one"]["mtls_clients"][1] |= {"state": "revoked"}
    site.host_vars["one"]["mtls_services"][0]["allow"].append("bot")
    plan = site.ok("--check", "--diff")
    assert "-tablet: a page" in plan.text
    assert "+bot: page until" in plan.text
    assert page(site, "tablet")
    last = site.ok("--diff")
    assert not (site.pki / "clients/tablet/tablet.html").exists()
    assert opens(page(site, "bot"))[0] == f"https://nas.lan:{ports[0]}/"
    site.all_vars |= {"mtls_handouts": False, "mtls_client_mobileconfig": False}
    site.ok()
    assert not list(site.pki.rglob("*.html"))
    assert [path.name for path in site.pki.rglob("*.mobileconfig")] == ["tablet.mobileconfig"]  # it stays as it was
    assert site.ok().changed == 0

    password = (site.pki / "clients/phone/phone.p12.password").read_text().strip()
    for text in (
        first.text,
        plan.text,
        last.text,
        *(path.decode("latin-1") for _mode, path in made.values() if b"<html" in path),
    ):
        assert password not in text
        assert PASSPHRASE not in text


def test_each_authority_tells_of_its_own_services(site, upstream):
    ports = {"one": free_port(), "two": free_port()}
    for name, port in ports.items():
        site.add_host(name, mtls_ca_dir=f"pki-{name}", mtls_clients=[{"name": "phone"}])
        site.host_vars[name]["mtls_services"] = [service(name, port, upstream)]
    site.ok()
    for name, port in ports.items():
        assert opens(page(site, "phone", f"pki-{name}")) == [f"https://{name}.lan:{port}/"]


def test_the_commands_on_the_page_work(site, upstream, tmp_path):
    port = free_port()
    client = "José's phone: 2"
    site.add_host("nas", mtls_clients=[{"name": client}, {"name": "bot", "p12": "none"}])
    site.host_vars["nas"]["mtls_services"] = [service("nas", port, upstream, server_names=["localhost"])]
    site.ok()
    for name, endings in ((client, (".p12",)), ("bot", (".crt", ".key"))):
        handed_out = tmp_path / f"of {name}"
        handed_out.mkdir()
        for ending in endings:
            shutil.copy(site.pki / "clients" / name / f"{name}{ending}", handed_out)
        shutil.copy(site.pki / "ca.crt", handed_out)
        commands = html.unescape(re.findall(r"<pre>((?:\(umask|curl).*?)</pre>", page(site, name), re.S)[0])
        password = ""
        if endings == (".p12",):
            password = (site.pki / "clients" / name / f"{name}.p12.password").read_text()
        # Without a terminal openssl reads the password from standard input.
        answer = run("sh", "-ec", commands, cwd=handed_out, input=password, start_new_session=True)
        assert '"path": "/"' in answer
    assert os.stat(tmp_path / f"of {client}" / f"{client}.pem").st_mode & 0o777 == 0o600

    # Chromium's certificates are in .local/share on a new account, and in .pki as soon as that is there.
    (commands,) = re.findall(r"<pre>(db=.*?)</pre>", page(site, client), re.S)
    install = (
        f"{html.unescape(commands)} -w {shlex.quote(str(site.pki / 'clients' / client / f'{client}.p12.password'))}"
    )
    for folder in (".local/share/pki/nssdb", ".pki/nssdb"):
        database = f"sql:{tmp_path / folder}"
        (tmp_path / folder).mkdir(parents=True)
        run("certutil", "-d", database, "-N", "--empty-password")
        run("sh", "-euc", install, cwd=tmp_path / f"of {client}", env={**os.environ, "HOME": str(tmp_path)})
        assert client in run("certutil", "-d", database, "-K")


def test_keys_in_the_p12_only_and_a_signed_profile(site, upstream, tmp_path):
    port = free_port()
    site.add_host("nas", mtls_clients=[{"name": "phone"}])
    site.host_vars["nas"]["mtls_services"] = [service("nas", port, upstream)]
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    secret = "of the signer"
    site.inventory.joinpath("signing").mkdir()
    files = ("-out", site.inventory / "signing/s.crt", "-keyout", site.inventory / "signing/s.key")
    run("openssl", "req", "-x509", *curve, "-subj", "/CN=signer", *files, "-passout", f"pass:{secret}")
    site.ok()
    assert site.status(port, client="phone") == 200
    identity = [pathlib.Path(path) for path in site.identity("phone")]
    elsewhere = tuple(str(shutil.copy(path, tmp_path / path.name)) for path in identity)

    site.all_vars["mtls_keep_client_keys"] = False
    site.all_vars["mtls_profile_signer"] = {
        "certificate": "signing/s.crt",
        "key": "signing/s.key",
        "passphrase": secret,
    }
    plan = site.ok("--check", "--diff")
    assert "the key is to be in the .p12 only" in plan.text
    assert identity[1].exists()
    changed = site.ok("--diff", "-vv")
    assert not identity[1].exists()
    made = tree(site.inventory)
    assert site.ok().changed == 0
    assert tree(site.inventory) == made
    assert site.status(port, identity=elsewhere) == 200
    signed = site.pki / "clients/phone/phone.mobileconfig"
    trusted = ("-CAfile", site.inventory / "signing/s.crt", "-purpose", "any")
    run("openssl", "cms", "-verify", "-binary", "-inform", "der", *trusted, "-in", signed, "-out", tmp_path / "back")
    content = plistlib.loads((tmp_path / "back").read_bytes())
    assert content["PayloadContent"][0]["PayloadContent"] == (site.pki / "clients/phone/phone.p12").read_bytes()
    for text in (plan.text, changed.text):
        assert secret not in text
