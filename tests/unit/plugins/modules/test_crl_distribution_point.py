# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address of the CRL in new certificates."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.tests.unit.support import run_module

ADDRESS = "http://crl.example.com/crl.der"


@pytest.fixture
def ca(tmp_path):
    path = tmp_path / "pki"
    done = run_module("ca_init", path=str(path), subject={"CN": "Devices"}, key_type="ecdsa", days=100)
    assert not done.get("failed"), done
    return path


def issue(ca, **options):
    shared = {"ca_path": str(ca), "key_type": "ecdsa", "days": 50, **options}
    clients = run_module("client_cert", clients=[{"name": "phone"}], **shared)
    servers = run_module("server_cert", servers=[{"host": "nas", "name": "nas", "server_names": ["a.lan"]}], **shared)
    for done in (clients, servers):
        assert not done.get("failed"), done
    return clients["clients"][0], servers["servers"][0]


def points(path):
    certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
    try:
        found = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints)
    except x509.ExtensionNotFound:
        return []
    assert not found.critical
    return [name.value for point in found.value for name in point.full_name]


def test_new_certificates_name_it_and_the_complete_crl_covers_them(ca):
    for done in issue(ca, crl_distribution_point=ADDRESS):
        assert points(done["certificate"]) == [ADDRESS]
        command = ["openssl", "verify", "-crl_check", "-CAfile", ca / "ca.crt", "-CRLfile", ca / "crl.pem"]
        subprocess.run([*command, done["certificate"]], check=True, capture_output=True)
    crl = x509.load_pem_x509_crl((ca / "crl.pem").read_bytes())
    assert not [each for each in crl.extensions if isinstance(each.value, x509.IssuingDistributionPoint)]


def test_existing_certificates_get_it_when_they_are_due(ca):
    before = issue(ca)
    assert [points(done["certificate"]) for done in before] == [[], []]
    after = issue(ca, crl_distribution_point=ADDRESS)
    assert [done["action"] for done in after] == ["unchanged", "unchanged"]
    due = issue(ca, crl_distribution_point=ADDRESS, renew_before=60, days=70)
    assert [done["action"] for done in due] == ["renewed", "renewed"]
    assert [points(done["certificate"]) for done in due] == [[ADDRESS], [ADDRESS]]


@pytest.mark.parametrize("address", ["crl.example.com", "ldap://a/crl", "http://a/crl .der", "http://"])
@pytest.mark.parametrize("module", ["client_cert", "server_cert"])
def test_no_address(ca, module, address):
    listed = {"clients": []} if module == "client_cert" else {"servers": []}
    done = run_module(module, ca_path=str(ca), crl_distribution_point=address, **listed)
    assert done["failed"]
    assert f"crl_distribution_point: {address!r} is not an address" in done["msg"]


def test_a_server_that_signs_has_a_setting_of_its_own(ca):
    done = run_module(
        "client_cert",
        ca_path=str(ca),
        clients=[],
        ca_backend="trust",
        ca_trust={"certificates": "ca.crt", "crl": ["crl.pem"]},
        crl_distribution_point=ADDRESS,
    )
    assert done["failed"]
    assert "crl_distribution_point is for the backends directory and pkcs11, not trust" in done["msg"]
