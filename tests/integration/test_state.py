# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller has against what the hosts have: no run starts over with another CA, or goes back, unasked."""

from __future__ import annotations

import re
import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY, tree

CLIENTS = ("phone", "laptop", "tablet")
PLAYBOOKS = REPOSITORY / "playbooks"


@pytest.fixture
def running(site, upstream):
    """A host with a service and three clients, as the first run leaves it."""
    site.port = free_port()
    site.add_host("nas", mtls_clients=[{"name": name} for name in CLIENTS])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{site.port}", "upstream": upstream}
    ]
    site.first = site.ok()
    # What people carry; the tests move the authority about.
    shutil.copytree(site.pki / "clients", site.folder / "devices")
    return site


def carried(site, client):
    folder = site.folder / "devices" / client
    return str(folder / f"{client}.crt"), str(folder / f"{client}.key")


def statuses(site):
    return [site.status(site.port, identity=carried(site, client)) for client in CLIENTS]


def served(site):
    return tree(site.hosts["nas"].folder / "client-certs")


def play(site, name, *arguments):
    return site.run(*arguments, playbook=PLAYBOOKS / f"{name}.yml")


def refused(site, name, *arguments):
    run = play(site, name, *arguments)
    assert run.returncode != 0, run.text
    assert "Traceback" not in run.text, run.text
    return " ".join(run.text.split())


def played(site, name, *arguments):
    run = play(site, name, *arguments)
    assert run.returncode == 0, run.text
    return " ".join(run.text.split())


def fingerprint(path):
    digest = x509.load_pem_x509_certificates(path.read_bytes())[0].fingerprint(hashes.SHA256())
    return digest.hex(":").upper()


def crl_number(path):
    crl = x509.load_pem_x509_crl(path.read_bytes())
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


# The authority's directory is not there


def test_an_authority_that_is_missing_is_not_made_anew_where_hosts_trust_one(running):
    site = running
    assert f"authority created: {site.pki}" in " ".join(site.first.text.split())
    before, ours = served(site), fingerprint(site.pki / "ca.crt")
    elsewhere = site.folder / "elsewhere"
    site.pki.rename(elsewhere)

    for arguments in (["--check"], [], ["--limit", "nas"]):
        said = site.refused(*arguments)
        assert "host nas trusts CN=Test Root CA,O=Test,C=ES" in said
        assert ours in said
        assert f"there is no authority in {site.pki}" in said
        assert "restore that directory, or correct mtls_ca_dir" in said
        assert "mtls_replace_authority" in said
    assert not site.pki.exists()
    for name, arguments in (
        ("refresh_crl", []),
        ("revoke", ["-e", "mtls_revoke=phone"]),
        ("rollover", ["-e", "mtls_step=begin"]),
    ):
        said = refused(site, name, *arguments)
        assert f"{site.pki}: there is no authority" in said
        assert "restore that directory, or correct mtls_ca_dir" in said
    said = refused(site, "doctor", "-e", "mtls_service=nas", "-e", "mtls_client=phone")
    assert "restore that directory, or correct mtls_ca_dir" in said
    assert "playbook mtls.nginx.site" not in said
    assert not site.pki.exists()
    assert served(site) == before
    assert statuses(site) == [200, 200, 200]

    # A typo is the same.
    site.all_vars["mtls_ca_dir"] = "pkii"
    assert f"there is no authority in {site.inventory / 'pkii'}" in site.refused()
    assert not (site.inventory / "pkii").exists()

    # As it was: nothing has happened.
    del site.all_vars["mtls_ca_dir"]
    elsewhere.rename(site.pki)
    assert site.ok().changed == 0


def test_another_authority_takes_the_place_of_a_hosts_own_only_if_somebody_says_so(running):
    site = running
    before, ours = served(site), fingerprint(site.pki / "ca.crt")
    site.pki.rename(site.folder / "elsewhere")
    # Somebody has made one for another host, in the same place.
    other = site.add_host("other", mtls_clients=[])
    site.ok("--limit", "other")
    assert (other.folder / "client-certs" / "ca.crt").exists()
    theirs = fingerprint(site.pki / "ca.crt")
    assert theirs != ours

    for arguments in (["--check"], []):
        said = site.refused("--limit", "nas", *arguments)
        assert f"host nas trusts CN=Test Root CA,O=Test,C=ES (SHA-256 {ours})" in said
        assert f"the authority in {site.pki} is CN=Test Root CA,O=Test,C=ES (SHA-256 {theirs})" in said
        assert "mtls_replace_authority" in said
    # The CRL of another CA locks everybody out as well.
    for arguments in (["--check"], []):
        said = refused(site, "refresh_crl", "--limit", "nas", *arguments)
        assert ours in said
        assert theirs in said
    assert served(site) == before
    assert statuses(site) == [200, 200, 200]

    site.all_vars["mtls_replace_authority"] = True
    site.ok()
    assert statuses(site) == [400, 400, 400]
    assert site.status(site.port, client="phone") == 200
    del site.all_vars["mtls_replace_authority"]
    assert site.ok().changed == 0


def test_a_host_that_cannot_be_asked_is_named_and_keeps_no_authority_from_being_made(site, upstream):
    for name in ("near", "far"):
        site.add_host(name, mtls_clients=[{"name": "phone"}])
        site.host_vars[name]["mtls_services"] = [
            {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{free_port()}", "upstream": upstream}
        ]
    site.host_vars["far"] |= {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": free_port()}
    run = site.run("-e", "mtls_batch=2")
    assert run.returncode != 0
    said = " ".join(run.text.split())
    assert f"authority created: {site.pki}; not asked which CA they trust: far" in said, run.text
    assert "far FAILED: it cannot be reached" in said
    assert site.ok("--limit", "near").changed == 0


def test_a_service_with_an_authority_of_its_own_is_looked_at_too(running):
    site = running
    service = {**site.host_vars["nas"]["mtls_services"][0], "name": "partners", "server_names": ["partners.lan"]}
    site.all_vars["mtls_authorities"] = [
        {
            "ca_dir": "pki-partners",
            "ca_subject": {"CN": "Partners"},
            "ca_key_type": "ecdsa",
            "clients": [{"name": "pepe"}],
        }
    ]
    site.host_vars["nas"]["mtls_services"].append({**service, "authority": "pki-partners"})
    site.ok()
    there = site.inventory / "pki-partners"
    ours = fingerprint(there / "ca.crt")
    there.rename(site.folder / "elsewhere")
    said = site.refused()
    assert f"host nas trusts CN=Partners (SHA-256 {ours})" in said
    assert f"there is no authority in {there}" in said
    assert not there.exists()


# The directory is older than the hosts


def test_no_host_goes_back_to_an_older_crl(running):
    site = running
    backup = site.folder / "backup"
    shutil.copytree(site.pki, backup)
    lost = x509.load_pem_x509_certificate((site.pki / "clients" / "phone" / "phone.crt").read_bytes()).serial_number
    played(site, "revoke", "-e", "mtls_revoke=phone")
    assert statuses(site) == [400, 200, 200]
    before, on_host = served(site), site.hosts["nas"].folder / "client-certs" / "crl.pem"
    newer, older = crl_number(on_host), crl_number(backup / "crl.pem")
    assert newer > older
    shutil.rmtree(site.pki)
    shutil.copytree(backup, site.pki)

    # A lower number.
    for name, arguments in (("site", []), ("site", ["--check"]), ("refresh_crl", []), ("refresh_crl", ["--check"])):
        said = refused(site, name, *arguments)
        assert f"host nas has CRL {newer}" in said, said
        assert f"{site.pki} has CRL {older}" in said
        assert "restore the newest copy of that directory" in said
        assert "mtls.nginx.recover" in said
    # The same number with other content, and a higher one that has forgotten somebody.
    said = refused(site, "revoke", "-e", "mtls_revoke=tablet")
    assert f"CRL {newer}" in said
    assert "another content" in said
    assert crl_number(site.pki / "crl.pem") == newer
    said = refused(site, "revoke", "-e", "mtls_revoke=laptop")
    assert crl_number(site.pki / "crl.pem") > newer
    assert f"{lost:X}" in said
    assert "mtls.nginx.recover" in said
    assert f"{lost:X}" in site.refused("--check")
    assert f"{lost:X}" in site.refused()
    assert served(site) == before
    assert statuses(site) == [400, 200, 200]

    # Brought forward from what the host has. What is damaged, or a link, does not stop it.
    record = tree(site.pki)
    for name in ("damaged", "linked"):
        (on_host.parent / name).mkdir()
    (on_host.parent / "damaged" / "crl.pem").write_text(on_host.read_text()[:400])
    (on_host.parent / "linked" / "crl.pem").symlink_to(on_host)
    said = refused(site, "recover")
    assert f"{lost:X}" in said
    assert f"host nas: {on_host.parent}/damaged/crl.pem: was skipped" in said
    assert f"{on_host.parent}/linked/crl.pem: " in said
    assert "mtls_recover_confirm=true" in said
    assert tree(site.pki) == record
    assert f"{lost:X}" in played(site, "recover", "--check")
    assert tree(site.pki) == record
    played(site, "recover", "-e", "mtls_recover_confirm=true")
    site.host_vars["nas"]["mtls_clients"] = [{"name": "watch"}]
    site.ok()
    assert statuses(site) == [400, 400, 400]
    assert site.status(site.port, client="watch") == 200
    assert crl_number(on_host) > newer
    assert "nothing to recover" in played(site, "recover", "-e", "mtls_recover_confirm=true")
    assert site.ok().changed == 0


def test_who_has_expired_may_leave_the_crl(running):
    site = running
    played(site, "revoke", "-e", "mtls_revoke=laptop")
    on_host = site.hosts["nas"].folder / "client-certs" / "crl.pem"
    number = crl_number(on_host)
    assert len(x509.load_pem_x509_crl(on_host.read_bytes())) == 1
    # It has not really expired, which the closing requests would find out with its key.
    (site.pki / "clients" / "laptop" / "laptop.key").unlink()
    index = site.pki / "index.txt"
    index.write_text(re.sub(r"^R\t\w+", "R\t200101000000Z", index.read_text(), flags=re.MULTILINE))
    due = ["-e", '{"mtls_crl_days": 60, "mtls_crl_refresh_before": 40}']
    for arguments in ([*due, "--check"], due):
        played(site, "refresh_crl", *arguments)
    assert crl_number(on_host) > number
    assert len(x509.load_pem_x509_crl(on_host.read_bytes())) == 0
