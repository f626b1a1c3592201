# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services with a certificate of the host's own: what is there, what is not yet, and what is really served."""

from __future__ import annotations

import datetime
import json
import pathlib
import shutil
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY

pytestmark = pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="nginx is missing")
PRIVATE = "CN=Test Root CA,O=Test,C=ES"


def from_elsewhere(folder: pathlib.Path, name: str, *names: str, begin: float = -30, end: float = 60) -> dict[str, str]:
    """A certificate that the host has got elsewhere, valid from ``begin`` to ``end`` in days from now, and its key."""
    files = {"path": f"{folder}/{name}.pem", "key": f"{folder}/{name}.key"}
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=begin))
        .not_valid_after(now + datetime.timedelta(days=end))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pathlib.Path(files["path"]).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pathlib.Path(files["key"]).write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def served(port: int) -> x509.Certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="nas.lan") as connection,
    ):
        return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))


def issuer(port: int) -> str:
    return served(port).issuer.rfc4514_string()


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def nas(site, port):
    """The service of the host `one`, with a certificate that is not there yet."""
    service = {
        "name": "nas",
        "server_names": ["nas.lan"],
        "listen": f"127.0.0.1:{port}",
        "root": "/srv",
        "probe_path": "none",
        "certificate": {"path": f"{site.folder}/own.pem", "key": f"{site.folder}/own.key"},
    }
    textfile = site.folder / "textfile"
    site.add_host("one", mtls_clients=[{"name": "phone"}], mtls_services=[service], mtls_textfile_dir=str(textfile))
    return service


def metric(site) -> str:
    lines = (site.folder / "textfile" / "mtls_nginx.prom").read_text().splitlines()
    return next(line for line in lines if line.startswith("mtls_nginx_server_certificate"))


def test_one_that_is_not_there_yet(site, port, nas):
    run = site.ok()
    said = " ".join(run.text.split())
    assert f"{site.folder}/own.pem is not there, so a certificate by the authority stands in" in said
    assert run.text.rindex("stands in") > run.text.index("MTLS SUMMARY")
    assert issuer(port) == PRIVATE
    assert (site.status(port), site.status(port, "/.mtls-nginx-gate", client="phone")) == (400, 204)
    stand_in = metric(site)

    again = site.ok()
    assert again.changed == 0
    assert "stands in" in again.text

    from_elsewhere(site.folder, "own", "nas.lan")
    assert "stands in" not in site.ok().text
    assert issuer(port) == "CN=own"
    assert metric(site) != stand_in
    assert not (site.hosts["one"].folder / "server-certs" / "nas.key").exists()
    assert site.ok().changed == 0

    # It is gone again: a start of nginx would fail, and people get in.
    (site.folder / "own.pem").unlink()
    site.ok()
    assert issuer(port) == PRIVATE


def test_renewed_without_a_reload(site, port, nas):
    from_elsewhere(site.folder, "own", "nas.lan")
    site.ok()
    before = served(port)
    from_elsewhere(site.folder, "own", "nas.lan")
    assert served(port) == before

    def status():
        return site.run("-e", "mtls_status_live=true", playbook=REPOSITORY / "playbooks" / "status.yml")

    doctor = ("-e", "mtls_service=nas", "-e", "mtls_client=phone")
    told = site.run(*doctor, playbook=REPOSITORY / "playbooks" / "doctor.yml")
    assert "is not the one on disk, which nginx has not read: programs that verify it" in " ".join(told.text.split())
    told = status()
    assert told.returncode != 0
    assert f"is not the one in {site.folder}/own.pem" in " ".join(told.text.split())

    planned = site.ok("--check")
    assert planned.changed == 1
    assert served(port) == before
    assert site.ok().changed == 1
    assert served(port) != before
    assert site.ok().changed == 0
    told = status()
    assert told.returncode == 0, told.text
    document = json.loads((site.inventory / "status" / "status.json").read_text())
    (certificate,) = document["hosts"][0]["certificates"]
    assert (certificate["service"], certificate["issuer"], certificate["trouble"]) == ("nas", "CN=own", None)
    assert "by CN=own" in (site.inventory / "status" / "status.html").read_text()
    prom = (site.inventory / "status" / "mtls_status.prom").read_text()
    assert 'mtls_status_served_certificate_not_after_timestamp_seconds{host="one",service="nas"}' in prom


def test_one_that_people_would_not_accept_is_one_message(site, port, nas):
    from_elsewhere(site.folder, "own", "other.lan")
    said = site.refused()
    assert f"host one, service nas: {site.folder}/own.pem: is for other.lan, and not for nas.lan, so a" in said
    assert issuer(port) == PRIVATE
    assert (site.status(port), site.status(port, "/.mtls-nginx-gate", client="phone")) == (400, 204)

    from_elsewhere(site.folder, "own", "nas.lan", end=2)
    assert "and has not been renewed, so a certificate by the authority stands in" in site.refused()
    assert issuer(port) == PRIVATE

    from_elsewhere(site.folder, "own", "nas.lan")
    site.ok()
    assert issuer(port) == "CN=own"

    # What is served already stays, and everything else is brought in line.
    site.host_vars["one"]["mtls_clients"].append({"name": "laptop"})
    nas["server_names"] = ["nas.lan", "photos.lan"]
    said = site.refused()
    assert f"{site.folder}/own.pem: is for nas.lan, and not for photos.lan; it is still served" in said
    assert "nas server block changed" in said.partition("MTLS SUMMARY")[2]
    assert issuer(port) == "CN=own"
    assert site.status(port, "/.mtls-nginx-gate", client="laptop", host="photos.lan") == 204
    nas["server_names"] = ["nas.lan"]

    # nginx cannot read it: the gate goes on with what it has read.
    site.ok()
    own = served(port)
    from_elsewhere(site.folder, "strange", "nas.lan")
    shutil.copy(site.folder / "strange.key", site.folder / "own.key")
    nas["allow"] = []
    said = site.refused()
    assert (
        f"{site.folder}/own.pem: the key {site.folder}/own.key does not belong to this certificate; nothing was" in said
    )
    assert served(port) == own
    assert site.status(port, "/.mtls-nginx-gate", client="phone") == 204


def test_what_certbots_plugin_has_written_is_not_undone(site, port, nas):
    del nas["certificate"]
    site.ok()
    files = from_elsewhere(site.folder, "own", "nas.lan")
    conf = site.hosts["one"].folder / "conf.d" / "mtls-nas.conf"
    lines = [line for line in conf.read_text().splitlines() if not line.strip().startswith("ssl_certificate")]
    at = next(number for number, line in enumerate(lines) if line.strip().startswith("server_name"))
    lines[at:at] = [
        f"    ssl_certificate {files['path']}; # managed by Certbot",
        f"    ssl_certificate_key {files['key']}; # managed by Certbot",
    ]
    conf.write_text("\n".join(lines) + "\n")
    edited = conf.read_bytes()
    said = site.refused()
    assert f"Write for service nas certificate: {{path: {files['path']}, key: {files['key']}}}, and run again." in said
    assert conf.read_bytes() == edited
    nas["certificate"] = files
    site.ok()
    assert issuer(port) == "CN=own"
