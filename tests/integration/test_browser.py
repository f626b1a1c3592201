# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real browser: it gets in with the .p12, not without, and not any more after a revocation."""

from __future__ import annotations

import pytest

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
