# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host whose services are for the clients of different authorities, one of them somebody else's."""

from __future__ import annotations

import re
import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.tests.authorities import new_authority
from ansible_collections.mtls.nginx.tests.gate import pki
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY, own_certificate, tree

REFRESH = REPOSITORY / "playbooks" / "refresh_crl.yml"
DOCTOR = REPOSITORY / "playbooks" / "doctor.yml"
STATUS = REPOSITORY / "playbooks" / "status.yml"


class Elsewhere:
    """An authority that somebody else runs, and what they hand out: certificate and CRL."""

    def __init__(self, folder):
        self.path, self.published = folder / "elsewhere", folder / "published"
        self.published.mkdir()
        new_authority(self.path, {"CN": "Elsewhere"})
        self.clients(Client("pepe"), Client("ana"))

    def clients(self, *wanted):
        with open_authority(Access(str(self.path)), read_only=False) as authority:
            clients.reconcile(authority, wanted, new_key_type="ecdsa", check=False)
            authority.write_crl(30)
        for name in ("ca.crt", "crl.pem"):
            shutil.copy(self.path / name, self.published / name)

    def identity(self, name):
        return str(self.path / "clients" / name / f"{name}.crt"), str(self.path / "clients" / name / f"{name}.key")


@pytest.fixture
def elsewhere(tmp_path):
    return Elsewhere(tmp_path)


@pytest.fixture
def fleet(site, upstream, elsewhere):
    """One port, three services: for our clients, for those of a second authority, for those of somebody else's."""
    port = free_port()
    nginx = site.add_host("nas")
    names = ("nas", "portal", "visitors")
    site.all_vars["mtls_authorities"] = [
        {
            "ca_dir": "partners",
            "ca_subject": {"CN": "Partners"},
            "ca_key_type": "ecdsa",
            "client_key_type": "ecdsa",
            "clients": [{"name": "pepe"}],
        },
        {
            "ca_dir": "visitors",
            "ca_backend": "trust",
            "ca_trust": {
                "certificates": str(elsewhere.published / "ca.crt"),
                "crl": [str(elsewhere.published / "crl.pem")],
            },
            "clients": [{"name": "pepe"}, {"name": "ana"}],
        },
    ]
    own = own_certificate(nginx.folder, "visitors.lan")
    site.host_vars["nas"].update(
        mtls_clients=[{"name": "phone"}],
        mtls_services=[
            {"name": name, "server_names": [f"{name}.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
            for name in names
        ],
    )
    _nas, portal, visitors = site.host_vars["nas"]["mtls_services"]
    portal["authority"] = "partners"
    visitors.update(authority="visitors", allow=["pepe"], certificate=own)
    site.port = port
    return site


def who_enters(site, elsewhere):
    partner = site.inventory / "partners" / "clients" / "pepe"
    callers = {
        "phone": site.identity("phone"),
        "partner": (str(partner / "pepe.crt"), str(partner / "pepe.key")),
        "visitor pepe": elsewhere.identity("pepe"),
        "visitor ana": elsewhere.identity("ana"),
    }
    return {
        (who, service): site.ask(site.port, identity=identity, host=f"{service}.lan").status
        for who, identity in callers.items()
        for service in ("nas", "portal", "visitors")
    }


def test_each_service_is_for_its_own_authoritys_clients(fleet, elsewhere):
    first = fleet.ok()
    # Nobody strange got in.
    assert "client 'pepe' of another authority got" not in first.text
    assert re.search(r"kept out: [^;]*client 'pepe' of another authority", " ".join(first.text.split()))
    entered = {pair for pair, status in who_enters(fleet, elsewhere).items() if status == 200}
    assert entered == {("phone", "nas"), ("partner", "portal"), ("visitor pepe", "visitors")}
    assert who_enters(fleet, elsewhere)["visitor ana", "visitors"] == 403
    assert fleet.ok().changed == 0
    assert not (fleet.inventory / "visitors" / "ca.key").exists()

    # They revoke, we take their CRL: at night, with nothing else.
    elsewhere.clients(Client("pepe", revoked=True), Client("ana"))
    assert who_enters(fleet, elsewhere)["visitor pepe", "visitors"] == 200
    run = fleet.run(playbook=REFRESH)
    assert run.returncode == 0, run.text
    after = who_enters(fleet, elsewhere)
    assert after["visitor pepe", "visitors"] == 400
    assert (after["phone", "nas"], after["partner", "portal"]) == (200, 200)

    # What is not theirs is refused, and nothing changes.
    (elsewhere.published / "crl.pem").write_bytes((fleet.pki / "crl.pem").read_bytes())
    before = tree(fleet.inventory / "visitors"), tree(fleet.hosts["nas"].folder / "client-certs")
    said = " ".join(fleet.run().text.split())
    assert "was not signed by this authority" in said
    assert (tree(fleet.inventory / "visitors"), tree(fleet.hosts["nas"].folder / "client-certs")) == before

    # The service goes, and its authority's files with it.
    fleet.host_vars["nas"]["mtls_services"][1]["state"] = "absent"
    fleet.run()
    folder = fleet.hosts["nas"].folder / "client-certs"
    assert not list((folder / "partners").iterdir())
    assert (folder / "visitors" / "ca.crt").exists()
    assert who_enters(fleet, elsewhere)["phone", "nas"] == 200


def test_check_mode_says_what_a_first_run_would_do(fleet):
    run = fleet.ok("--check", "--diff")
    assert "client-certs/partners/ca.crt" in run.text
    assert not (fleet.inventory / "visitors").exists()
    assert not (fleet.inventory / "partners").exists()
    assert fleet.hosts["nas"].pid is None


def test_whom_no_client_of_the_inventory_can_describe(fleet, elsewhere, tmp_path):
    """Two attributes in one RDN, an attribute that subjects do not have, and CN, O, CN in that order."""
    cn, o, uid = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.USER_ID
    description = x509.ObjectIdentifier("2.5.4.13")
    issuer = profiles.Issuer(
        x509.load_pem_x509_certificate((elsewhere.path / "ca.crt").read_bytes()),
        keys.load_key(str(elsewhere.path / "ca.key")),
    )

    def issued(*rdns):
        name = x509.Name([x509.RelativeDistinguishedName([x509.NameAttribute(*pair) for pair in rdn]) for rdn in rdns])
        return pki.forged(tmp_path, name, issuer)

    anna = issued([(o, "Acme")], [(cn, "anna"), (uid, "7")])
    bob = issued([(description, "red")], [(cn, "bob")])
    dora = issued([(cn, "people")], [(o, "Acme")], [(cn, "dora")])

    def entered():
        everybody = {"anna": anna, "bob": bob, "dora": dora}
        return {
            who: fleet.ask(fleet.port, identity=(str(one.path), str(one.path)), host="visitors.lan").status
            for who, one in everybody.items()
        }

    def doctor(one):
        path = tmp_path / "asked.crt"
        path.write_bytes(one.certificate.public_bytes(serialization.Encoding.PEM))
        run = fleet.run(
            "--limit", "nas", "-e", "mtls_service=visitors", "-e", f"mtls_certificate={path}", playbook=DOCTOR
        )
        assert run.returncode == 0, run.text
        return " ".join(run.text.split())

    fleet.ok()
    assert entered() == {"anna": 403, "bob": 403, "dora": 403}
    advice = f"add its subject to allow of the service visitors as it stands, {{dn: '{anna.dn}'}}"
    assert advice in doctor(anna)

    # What the doctor says is done as it says it, and the others by their certificates, from the inventory's folder.
    (fleet.inventory / "files").mkdir()
    (fleet.inventory / "files" / "bob.crt").write_bytes(bob.certificate.public_bytes(serialization.Encoding.DER))
    (fleet.inventory / "files" / "dora.crt").write_bytes(dora.certificate.public_bytes(serialization.Encoding.PEM))
    visitors = fleet.host_vars["nas"]["mtls_services"][2]
    visitors["allow"] += [{"dn": anna.dn}, {"certificate": "files/bob.crt"}]
    visitors["paths"] = [{"path": "/only/", "allow": [{"certificate": "files/dora.crt"}]}]
    plan = fleet.ok("--check")
    said = " ".join(plan.text.split())
    assert f"visitors: + '{bob.dn}', '{anna.dn}' — on nas" in said
    assert f"visitors /only/: new; + '{dora.dn}' — on nas" in said
    assert entered() == {"anna": 403, "bob": 403, "dora": 403}
    run = fleet.ok()
    assert all(one.dn in " ".join(run.text.split()) for one in (anna, bob, dora)), run.text
    assert entered() == {"anna": 200, "bob": 200, "dora": 403}
    at_path = {
        who: fleet.ask(fleet.port, "/only/x", identity=(str(one.path), str(one.path)), host="visitors.lan").status
        for who, one in {"anna": anna, "dora": dora}.items()
    }
    assert at_path == {"anna": 403, "dora": 200}
    assert fleet.ok().changed == 0
    assert "would be let in" in doctor(anna)
    assert fleet.run(playbook=STATUS).returncode == 0
    page = (fleet.inventory / "status" / "status.html").read_text()
    assert all(one.dn in page for one in (anna, bob, dora))

    # A certificate that is no longer there stops the run before anything changes.
    (fleet.inventory / "files" / "bob.crt").unlink()
    before = tree(fleet.hosts["nas"].folder / "conf.d")
    said = fleet.refused()
    assert "host nas, service visitors: allow, item 3" in said
    assert str(fleet.inventory / "files" / "bob.crt") in said
    assert tree(fleet.hosts["nas"].folder / "conf.d") == before
