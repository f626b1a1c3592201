# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An authority's everyday life, with real nginx at the end of it: lost devices, holds, a renewed CA."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY

REVOKE = REPOSITORY / "playbooks" / "revoke.yml"


@pytest.fixture
def guarded(site, upstream):
    """Two hosts that share an authority, and the port of each."""
    ports = {}
    for name in ("one", "two"):
        ports[name] = free_port()
        site.add_host(name)
        site.host_vars[name]["mtls_services"] = [
            {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{ports[name]}", "upstream": upstream}
        ]
    site.host_vars["one"]["mtls_clients"] = [{"name": "laptop"}, {"name": "phone"}]
    site.ok()
    return site, ports


def statuses(site, ports, **who) -> set[int]:
    return {site.status(port, **who) for port in ports.values()}


def test_a_lost_laptop_is_out_on_every_host_at_once(guarded):
    site, ports = guarded
    lost = site.folder / "lost"
    shutil.copytree(site.pki / "clients" / "laptop", lost)
    stolen = (str(lost / "laptop.crt"), str(lost / "laptop.key"))
    assert statuses(site, ports, identity=stolen) == {200}

    before = (site.pki / "index.txt").read_text()
    refused = site.run("-e", "mtls_revoke=laptob", playbook=REVOKE)
    assert refused.returncode != 0
    assert "has no client, serial or fingerprint like this" in " ".join(refused.text.split())
    assert "did you mean 'laptop'?" in " ".join(refused.text.split())
    assert (site.pki / "index.txt").read_text() == before

    run = site.run("-e", "mtls_revoke=laptop", playbook=REVOKE)
    assert run.returncode == 0, run.text
    said = " ".join(run.text.split())
    assert "laptop: certificate" in said
    warning = "client 'laptop': the inventory still has it as present, so the next site.yml gives it a new certificate"
    assert warning in said.partition("PLAY RECAP")[0]
    assert f"WARNING: {warning}" in said.partition("MTLS SUMMARY")[2]
    assert "Callback dispatch" not in said
    assert statuses(site, ports, identity=stolen) == {400}
    assert statuses(site, ports, client="phone") == {200}
    run = site.run("-e", "mtls_revoke=laptop", playbook=REVOKE)
    assert run.changed == 0, run.text
    assert "is revoked already" in " ".join(run.text.split())

    # The next run of site.yml does what was said.
    site.ok()
    assert statuses(site, ports, identity=stolen) == {400}
    assert statuses(site, ports, client="laptop") == {200}

    # By its fingerprint, from what nginx logged.
    certificate = x509.load_pem_x509_certificate((site.pki / "clients/laptop/laptop.crt").read_bytes())
    site.host_vars["one"]["mtls_clients"] = [{"name": "phone"}]
    run = site.run("-e", f"mtls_revoke={certificate.fingerprint(hashes.SHA1()).hex()}", playbook=REVOKE)
    assert run.returncode == 0, run.text
    assert "still has it as present" not in run.text
    assert statuses(site, ports, client="laptop") == {400}


def test_each_authority_is_asked_for_the_lost_laptop(guarded):
    site, ports = guarded
    site.host_vars["two"]["mtls_ca_dir"] = "other"
    site.host_vars["two"]["mtls_clients"] = [{"name": "tablet"}]
    site.host_vars["two"]["mtls_replace_authority"] = True
    site.ok()
    refused = site.run("-e", "mtls_revoke=nobody", playbook=REVOKE)
    both = f"{site.pki}, {site.inventory / 'other'}"
    said = f'"nobody: none of the authorities {both} has it; look it up in their index.txt"'
    assert said in " ".join(refused.text.split())
    refused = site.run("-e", "mtls_revoke=zz", "-e", "mtls_revoke_by=serial", playbook=REVOKE)
    said = "\"zz: serial 'zz': is not hexadecimal; copy it from index.txt, in quotes\""
    assert said in " ".join(refused.text.split())
    refused = site.run("-e", "mtls_revoke=tabelt", playbook=REVOKE)
    assert "has it; did you mean tablet?" in " ".join(refused.text.split())
    run = site.run("-e", "mtls_revoke=tablet", playbook=REVOKE)
    assert run.returncode == 0, run.text
    folder = site.inventory / "other" / "clients" / "tablet"
    tablet = (str(folder / "tablet.crt"), str(folder / "tablet.key"))
    assert site.status(ports["two"], identity=tablet) == 400
    assert site.status(ports["one"], client="phone") == 200


def test_a_record_that_a_wrong_clock_and_git_have_been_at_still_revokes(guarded):
    """``openssl ca -updatedb`` under a wrong clock marks all as expired, autocrlf changes the line ends."""
    site, ports = guarded
    lost = site.folder / "lost"
    shutil.move(site.pki / "clients" / "laptop", lost)
    stolen = (str(lost / "laptop.crt"), str(lost / "laptop.key"))
    index = site.pki / "index.txt"
    lines = [f"E{line[1:]}" for line in index.read_text().splitlines()]
    index.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    assert statuses(site, ports, identity=stolen) == {200}
    site.host_vars["one"]["mtls_clients"][0]["state"] = "revoked"
    site.ok()
    assert statuses(site, ports, identity=stolen) == {400}
    assert statuses(site, ports, client="phone") == {200}
    assert sorted(line[0] for line in index.read_text().splitlines()) == ["R", *"V" * (len(lines) - 1)]


def test_a_hold_keeps_out_and_its_release_lets_in_with_the_same_certificate(guarded):
    site, ports = guarded
    run = site.run("-e", "mtls_revoke=laptop", "-e", "mtls_revoke_reason=certificateHold", playbook=REVOKE)
    assert run.returncode == 0, run.text
    assert statuses(site, ports, client="laptop") == {400}
    warning = (
        "'laptop': the inventory still has it as present, so the next site.yml lets it in again with the same cert"
    )
    assert warning in " ".join(run.text.partition("MTLS SUMMARY")[2].split())
    site.ok()
    assert statuses(site, ports, client="laptop") == {200}

    laptop, phone = site.host_vars["one"]["mtls_clients"]
    for name in ports:
        site.host_vars[name]["mtls_services"][0]["allow"] = ["laptop", "phone"]
    site.ok()
    before = (site.pki / "clients/laptop/laptop.p12").read_bytes()
    laptop |= {"state": "revoked", "reason": "certificateHold"}
    site.ok()
    assert statuses(site, ports, client="laptop") == {400}
    assert statuses(site, ports, client="phone") == {200}
    site.host_vars["one"]["mtls_clients"] = [{"name": "laptop"}, phone]
    plan = site.ok("--check", "--diff")
    assert "laptop: released (was on hold)" in plan.text
    assert "a new CRL: certificates are released" in plan.text
    site.ok()
    assert (site.pki / "clients/laptop/laptop.p12").read_bytes() == before
    assert statuses(site, ports, client="laptop") == {200}
    assert site.ok().changed == 0

    # One certificate alone, by its serial: it stays on hold until it is released the same way.
    serial = f"{x509.load_pem_x509_certificate((site.pki / 'clients/phone/phone.crt').read_bytes()).serial_number:X}"
    held = site.identity("phone")
    copy = site.folder / "held"
    copy.mkdir()
    identity = tuple(shutil.copy(path, copy) for path in held)
    site.all_vars["mtls_revoked"] = [{"serial": serial, "reason": "certificateHold"}]
    assert "phone: issued (the certificate is revoked)" in site.ok("--check", "--diff").text
    site.ok()
    assert statuses(site, ports, identity=identity) == {400}
    assert statuses(site, ports, client="phone") == {200}  # it is present: it gets another one, in the same run
    assert site.ok().changed == 0
    site.all_vars["mtls_revoked"] = [{"serial": serial, "state": "released"}]
    site.ok()
    assert statuses(site, ports, identity=identity) == {200}
    assert site.ok().changed == 0


def test_clients_enter_with_old_certificates_and_chains_after_the_ca_was_renewed(site, upstream):
    port = free_port()
    nginx = site.add_host("nas")
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
    ]
    site.host_vars["nas"]["mtls_clients"] = [{"name": "phone"}, {"name": "stolen"}]
    site.all_vars |= {
        "mtls_ca_days": 100,
        "mtls_client_days": 20,
        "mtls_client_renew_before": 5,
        "mtls_server_days": 50,
    }
    site.ok()
    site.host_vars["nas"]["mtls_clients"][1]["state"] = "revoked"
    site.ok()
    old = (site.pki / "ca.crt").read_bytes()
    certificate, key = site.identity("phone")
    with_chain = site.folder / "phone-with-chain.crt"
    with_chain.write_bytes(pathlib.Path(certificate).read_bytes() + old)
    packed = (site.pki / "clients/phone/phone.p12").read_bytes()

    site.all_vars |= {"mtls_ca_days": 3650, "mtls_ca_renew_before": 200}
    site.ok()
    new = (site.pki / "ca.crt").read_bytes()
    assert new != old
    assert (nginx.folder / "client-certs" / "ca.crt").read_bytes() == new
    assert (site.pki / "clients/phone/phone.p12").read_bytes() != packed
    assert site.status(port, client="phone") == 200
    assert site.status(port, identity=(str(with_chain), key)) == 200
    assert site.status(port, client="stolen") == 400
    assert site.ok().changed == 0
