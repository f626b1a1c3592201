# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real browser: it gets in with the .p12, not without, and not any more after a revocation."""

from __future__ import annotations

import time

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.tests.browser import Browser, selection
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import Site


@pytest.fixture
def select():
    with selection() as made:
        yield made


@pytest.mark.parametrize("kind", ["compatible", "modern"])
def test_a_browser_gets_in_with_the_p12_and_not_without(site: Site, upstream, select, tmp_path, kind):
    port = free_port()
    url = f"https://localhost:{port}"
    site.add_host("nas", mtls_clients=[{"name": "laptop", "p12": kind, "key_type": "rsa"}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["localhost"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
    ]
    site.ok()
    select(url, CN="Test Root CA")
    browser = Browser(tmp_path / "home", site.pki / "ca.crt")
    assert "A certificate is needed here" in browser.see(f"{url}/inside")

    browser.install(site.pki / "clients/laptop/laptop.p12")
    seen = browser.see(f"{url}/inside")
    assert "/inside" in seen
    assert "CN=laptop" in seen

    site.host_vars["nas"]["mtls_clients"][0] |= {"state": "revoked"}
    site.ok()
    assert "Your certificate was not accepted" in browser.see(f"{url}/inside")


@pytest.mark.long
def test_after_a_renewal_the_browser_sends_the_new_one_of_two(site: Site, upstream, select, tmp_path):
    """Both are in the store under one name, and `certutil -D` takes away the newer one: the old one needs two."""
    port = free_port()
    url = f"https://localhost:{port}"
    site.add_host("nas", mtls_clients=[{"name": "laptop", "key_type": "rsa", "days": 40}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["localhost"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
    ]
    site.ok()
    select(url, CN="Test Root CA")
    browser = Browser(tmp_path / "home", site.pki / "ca.crt")
    bundle, certificate = (site.pki / "clients/laptop" / f"laptop.{kind}" for kind in ("p12", "crt"))

    def serial() -> str:
        return f"{x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number:X}"

    browser.install(bundle)
    old = serial()
    assert f'"{old}"' in browser.see(f"{url}/inside")
    site.host_vars["nas"]["mtls_clients"][0] |= {"days": 365, "renew_before": 60}
    time.sleep(1.1)  # whole seconds are in certificates
    site.ok()
    new = serial()
    assert new != old
    browser.install(bundle)
    assert f'"{new}"' in browser.see(f"{url}/inside")

    # How the old one goes, as docs/devices.md says.
    browser.command("certutil", "-d", browser.store, "-D", "-n", "laptop")
    assert f'"{old}"' in browser.see(f"{url}/inside")
    browser.command("certutil", "-d", browser.store, "-D", "-n", "laptop")
    assert "A certificate is needed here" in browser.see(f"{url}/inside")
    browser.install(bundle)
    assert f'"{new}"' in browser.see(f"{url}/inside")
    listed = browser.command("certutil", "-d", browser.store, "-L")
    assert [line.split()[0] for line in listed.splitlines() if line.endswith("u,u,u")] == ["laptop"]
