# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor at a real gate: each cause is made to happen, and the doctor must name it, and the remedy must help."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.site import crl_maps
from ansible_collections.mtls.nginx.tests.authorities import new_authority
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import PASSPHRASE, REPOSITORY, tree

DOCTOR = REPOSITORY / "playbooks" / "doctor.yml"
REFRESH = REPOSITORY / "playbooks" / "refresh_crl.yml"


@dataclasses.dataclass
class Said:
    """What the doctor said, and whether it ended well: the gate does what the inventory says."""

    text: str
    well: bool


@pytest.fixture
def nas(site, upstream):
    """A host with a service for two of four clients."""
    site.port = free_port()
    site.add_host(
        "nas",
        mtls_clients=[{"name": "phone"}, {"name": "tablet"}, {"name": "guest"}, {"name": "laptop"}],
        mtls_services=[
            {
                "name": "nas",
                "server_names": ["nas.lan"],
                "listen": f"127.0.0.1:{site.port}",
                "upstream": upstream,
                "allow": ["phone", "tablet"],
            }
        ],
    )
    site.ok()
    return site


def doctor(site, client=None, *arguments, service="nas", certificate=None, host="nas") -> Said:
    """Ask, and expect an answer; nothing may change."""
    who = ["-e", f"mtls_client={client}"] if client else []
    who += ["-e", f"mtls_certificate={certificate}"] if certificate else []
    site.write()
    before = {name: tree(nginx.folder / "conf.d") for name, nginx in site.hosts.items()}
    run = site.run("--limit", host, "-e", f"mtls_service={service}", *who, *arguments, playbook=DOCTOR)
    assert "Traceback" not in run.text, run.text
    assert {name: tree(nginx.folder / "conf.d") for name, nginx in site.hosts.items()} == before
    assert run.changed == 0
    found = re.search(r"MTLS DOCTOR \**\n(.*?)\n\nPLAY RECAP|MTLS DOCTOR \**\n(.*)", run.text, re.DOTALL)
    assert found, run.text
    return Said((found[1] or found[2]).strip(), run.returncode == 0)


def service_of(site):
    return site.host_vars["nas"]["mtls_services"][0]


def authority_of(site):
    """The authority's key and certificate."""
    ca_key = serialization.load_pem_private_key((site.pki / "ca.key").read_bytes(), PASSPHRASE.encode())
    return ca_key, x509.load_pem_x509_certificate((site.pki / "ca.crt").read_bytes())


def make_certificate(site, cn, ends, *, begins=timedelta(days=-400)):
    """A certificate by the authority's own key that it has no record of, with its key beside it."""
    ca_key, ca = authority_of(site)
    key, now = ec.generate_private_key(ec.SECP256R1()), times.now()
    certificate = (
        x509.CertificateBuilder(ca.subject, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    path = site.folder / "made.crt"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def test_let_in_or_not_on_the_list(nas):
    said = doctor(nas, "phone")
    assert said.well
    assert said.text == (
        "Client 'phone' is let in to the service nas on nas, as the inventory wants it. A request with its own"
        " certificate got 204, and nginx logged: a good certificate."
    )

    # Its program came without it, and then with it.
    address = f"https://nas.lan:{nas.port}/"
    curl = ["curl", "--silent", "--cacert", nas.pki / "ca.crt", "--resolve", f"nas.lan:{nas.port}:127.0.0.1", address]
    with_certificate = [*curl, "--cert", nas.identity("phone")[0], "--key", nas.identity("phone")[1]]
    assert "A certificate is needed here" in subprocess.run(curl, check=True, capture_output=True, text=True).stdout
    said = doctor(nas, "phone")
    assert said.well
    assert "However, curl at 127.0.0.1 came without a certificate on " in said.text
    assert "Remedy: if that is this client: give it --cert and --key." in said.text
    time.sleep(1.1)  # log lines have whole seconds
    subprocess.run(with_certificate, check=True, capture_output=True)
    assert "without a certificate" not in doctor(nas, "phone").text

    said = doctor(nas, "guest")
    assert said.well  # kept out, as the inventory wants it
    assert "Client 'guest' is not let in to the service nas on nas: the allow list of nas on nas does not" in said.text
    assert "got 403" in said.text
    assert "Remedy: if it should enter, add guest to allow of the service nas" in said.text

    # Without its key the verdict follows from the files.
    shutil.copy(nas.identity("phone")[0], nas.folder / "alone.crt")
    said = doctor(nas, certificate="alone.crt")
    assert said.well
    assert said.text.startswith("The certificate alone.crt (CN=phone) would be let in")
    assert "the request was made without a certificate and got 400" in said.text

    # Somebody added who has not been rolled out, then somebody taken off.
    service_of(nas)["allow"] = ["phone", "guest"]
    said = doctor(nas, "guest")
    assert not said.well
    assert (
        "though the inventory wants it to enter: the inventory lets CN=guest in, and the map on nas does not"
        in said.text
    )
    command = "ansible-playbook -i inventory/hosts.yml mtls.nginx.site --limit nas"
    assert f"Remedy: {command}." in said.text
    assert said.text.endswith(f"\n    {command}"), "in a line of its own, to be copied"
    said = doctor(nas, "tablet")
    assert not said.well
    assert said.text.startswith(
        "ALARM: client 'tablet' IS let in to the service nas on nas, and the inventory does not"
    )
    assert "still has CN=tablet" in said.text
    nas.ok()
    assert doctor(nas, "guest").text.startswith("Client 'guest' is let in")
    assert doctor(nas, "tablet").text.startswith("Client 'tablet' is not let in")


def test_revoked(nas):
    nas.host_vars["nas"]["mtls_clients"][0].update(state="revoked", reason="keyCompromise")
    said = doctor(nas, "phone")
    assert not said.well
    assert said.text.startswith("ALARM: client 'phone' IS let in")
    assert "the inventory revokes it, and the authority has not done so yet" in said.text

    nas.ok()
    said = doctor(nas, "phone")
    assert said.well
    assert re.search(r"was revoked on \d{4}-\d\d-\d\d \d\d:\d\d UTC \(reason: keyCompromise\)", said.text)
    assert "got 400, and nginx logged: certificate revoked" in said.text

    # By hand, although the inventory wants it: the next run gives it a new one, and the device has the old one still.
    old = [shutil.copy(path, nas.folder / f"old{path[-4:]}") for path in nas.identity("tablet")]
    with open_authority(Access(str(nas.pki), PASSPHRASE), read_only=False) as authority:
        certificate = x509.load_pem_x509_certificate((nas.folder / "old.crt").read_bytes())
        authority.revoke({numbers.hexadecimal(certificate.serial_number): "superseded"})
        authority.write_crl(30)
    said = doctor(nas, "tablet")
    assert not said.well
    assert said.text.startswith("ALARM: client 'tablet' IS let in")
    assert "and the CRL on nas does not say so yet" in said.text
    assert "mtls.nginx.refresh_crl --limit nas" in said.text
    assert nas.run(playbook=REFRESH).returncode == 0
    said = doctor(nas, "tablet")
    assert not said.well
    assert "though the inventory wants it to enter: its certificate" in said.text
    assert "(reason: superseded)" in said.text
    nas.ok()
    assert nas.status(nas.port, identity=tuple(old)) == 400
    said = doctor(nas, "tablet")
    assert said.well
    assert "a device came with another certificate of the same subject" in said.text
    assert "got 400 (certificate revoked)" in said.text
    assert "give the device the new certificate" in said.text
    said = doctor(nas, certificate="old.crt")
    assert said.well
    assert "is not let in" in said.text


def test_expired_or_not_yet_valid(nas):
    said = doctor(nas, certificate=make_certificate(nas, "phone", timedelta(days=-1)))
    assert "is not let in" in said.text
    assert "expired on" in said.text
    assert "nginx logged: certificate has expired" in said.text
    said = doctor(nas, certificate=make_certificate(nas, "phone", timedelta(days=9), begins=timedelta(days=2)))
    assert "is not valid before" in said.text
    assert "nginx logged: certificate is not yet valid" in said.text
    # By the authority's key, without its knowledge, and spelled otherwise.
    said = doctor(nas, certificate=make_certificate(nas, "Phóne", timedelta(days=9)))
    assert "the allow list says CN=phone, which to nginx is somebody else" in said.text
    assert "has no record of it, although its key has signed it" in said.text
    # So does nginx escape subjects in its log, where the doctor looks for them.
    assert r'dn="CN=Ph\x5CC3\x5CB3ne"' in (nas.hosts["nas"].folder / "log" / "mtls-nas.access.log").read_text()
    assert "got 403" in said.text


def test_another_authority_or_no_certificate(nas, tmp_path):
    other = tmp_path / "other"
    new_authority(other, {"CN": "Other CA"})
    with open_authority(Access(str(other)), read_only=False) as authority:
        clients.reconcile(authority, [Client("phone")], new_key_type="ecdsa", check=False)
    said = doctor(nas, certificate=other / "clients" / "phone" / "phone.crt")
    assert said.well
    assert "was issued by CN=Other CA, and nas on nas takes those of CN=Test Root CA,O=Test,C=ES only" in said.text
    assert "got 400, and nginx logged: unable to" in said.text

    nas.host_vars["nas"]["mtls_clients"].append({"name": "new"})
    service_of(nas)["allow"] = ["phone", "new"]
    said = doctor(nas, "new")
    assert not said.well
    assert "has issued no certificate to it yet" in said.text
    assert "Remedy: ansible-playbook -i inventory/hosts.yml mtls.nginx.site --limit nas" in said.text


def put_crl(nas, made) -> None:
    """Put a CRL on the host that the controller has never seen, as a faulty tool might."""
    crl = made.public_bytes(serialization.Encoding.PEM)
    folder = nas.hosts["nas"].folder / "client-certs"
    (folder / "crl.pem").write_bytes(crl)
    (folder / "crl-end.map").write_text(crl_maps.ended_lines(crl.decode(), "crl.pem"))
    nas.hosts["nas"].stop()


def test_nginx_refuses_everybody_and_the_files_do_not_say_why(nas):
    """The client's key is not on the controller, as with a CSR: nginx's log is the only witness, and it counts."""
    ca_key, ca = authority_of(nas)
    now = times.now()
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
    made = (
        x509.CertificateRevocationListBuilder(ca.subject, now - timedelta(days=1), now + timedelta(days=9))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False)
        .add_extension(x509.CRLNumber(0), critical=False)
        .add_extension(extension, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    put_crl(nas, made)
    subprocess.run(["nginx", "-c", nas.hosts["nas"].conf], check=True)
    asked = doctor(nas, "phone")
    assert "nginx logged: unhandled critical CRL extension" in asked.text
    (nas.pki / "clients" / "phone" / "phone.key").rename(nas.pki / "phone.key")

    said = doctor(nas, "phone")
    assert not said.well
    assert "Client 'phone' is not let in to the service nas on nas, though the inventory wants it to enter" in said.text
    assert "a CRL has a critical extension that OpenSSL does not process" in said.text
    assert "Its private key is not on the controller" in said.text

    assert nas.run("--limit", "nas", playbook=REFRESH).returncode == 0
    (nas.pki / "phone.key").rename(nas.pki / "clients" / "phone" / "phone.key")
    assert doctor(nas, "phone").well


def test_the_crl_has_expired_on_the_host(nas):
    ca_key, ca = authority_of(nas)
    now = times.now()
    made = (
        x509.CertificateRevocationListBuilder(ca.subject, now - timedelta(days=9), now - timedelta(days=1))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False)
        .add_extension(x509.CRLNumber(0), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    put_crl(nas, made)
    stopped = doctor(nas, "phone")
    assert not stopped.well
    assert "nginx is not running on nas" in stopped.text
    assert "state=started" in stopped.text
    assert "the CRL on nas expired on" in stopped.text
    subprocess.run(["nginx", "-c", nas.hosts["nas"].conf], check=True)
    said = doctor(nas, "phone")
    assert not said.well
    assert "though the inventory wants it to enter: the CRL on nas expired on" in said.text
    assert "nginx logged: CRL has expired" in said.text
    assert "Remedy: ansible-playbook -i inventory/hosts.yml mtls.nginx.refresh_crl --limit nas" in said.text
    refreshed = nas.run("--limit", "nas", playbook=REFRESH)
    assert refreshed.returncode == 0, refreshed.text
    assert doctor(nas, "phone").well


def test_a_host_that_cannot_be_reached_or_has_nothing_yet(nas):
    nas.add_host("new", mtls_services=[{**service_of(nas), "listen": f"127.0.0.1:{free_port()}"}])
    said = doctor(nas, "phone", host="new")
    assert not said.well
    assert "though the inventory wants it to enter: new does not have the service yet" in said.text

    nas.host_vars["nas"] |= {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": free_port()}
    said = doctor(nas, "phone")
    assert said.well
    assert said.text.startswith("Client 'phone' is let in")
    assert "nas itself could not be examined (" in said.text
    nas.hosts["nas"].stop()
    said = doctor(nas, "phone")
    assert not said.well
    assert "cannot be reached from here: connection refused" in said.text


def test_a_service_for_the_clients_of_another_authority(nas):
    nas.all_vars["mtls_authorities"] = [
        {
            "ca_dir": "partners",
            "ca_subject": {"CN": "Partners"},
            "ca_key_type": "ecdsa",
            "client_key_type": "ecdsa",
            "clients": [{"name": "pepe"}],
        }
    ]
    portal = {**service_of(nas), "name": "portal", "server_names": ["portal.lan"], "authority": "partners"}
    del portal["allow"]
    nas.host_vars["nas"]["mtls_services"].append(portal)
    before = doctor(nas, "pepe", service="portal")
    assert "/partners has issued no certificate to it yet" in before.text
    nas.ok()
    assert doctor(nas, "pepe", service="portal").text.startswith("Client 'pepe' is let in to the service portal on nas")
    for client, service in (("phone", "portal"), ("pepe", "nas")):
        said = doctor(nas, client, service=service)
        assert said.well
        assert f"Client '{client}' is not let in to the service {service} on nas: its certificate" in said.text
        assert "was issued by" in said.text


def test_a_clock_that_is_wrong(nas, tmp_path):
    """nginx goes by the machine's clock here; it is the module on the host that sees another one."""
    (tmp_path / "sitecustomize.py").write_text(
        "import time\nnow = time.time\ntime.time = lambda: now() + 400 * 86400\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    nas.host_vars["nas"]["ansible_python_interpreter"] = str(python)
    said = doctor(nas, "phone")
    assert "However, the clock of nas is 400 days ahead of that of this machine (20" in said.text
    assert "so nginx takes the CRL for expired and the certificate for expired" in said.text
    assert "timedatectl set-ntp true" in said.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mtls_client=phone"], "say which service, with -e mtls_service=NAME; it has nas"),
        (["mtls_service=nas"], "host nas, service nas: say who, with either -e mtls_client=NAME or"),
        (["mtls_service=nsa", "mtls_client=phone"], "host nas has no service 'nsa'; did you mean 'nas'?"),
        (["mtls_service=nas", "mtls_client=fone"], "the inventory has no client 'fone'; did you mean 'phone'?"),
        (["mtls_service=nas", "mtls_certificate=gone.crt"], "gone.crt: no such file or directory; name a certificate"),
        (["mtls_service=nas", "mtls_certificate=inventory/hosts.yml"], "holds no certificate in PEM or DER"),
    ],
)
def test_arguments_that_name_nothing(nas, arguments, message):
    extra = [part for argument in arguments for part in ("-e", argument)]
    run = nas.run("--limit", "nas", *extra, playbook=DOCTOR)
    assert run.returncode != 0
    assert message in " ".join(run.text.split())
    assert "Traceback" not in run.text
    assert "MTLS DOCTOR" not in run.text
