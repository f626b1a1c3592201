# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real browser: it gets in with the .p12, not without, and not any more after a revocation."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import time
import uuid

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import Site

POLICIES = pathlib.Path("/etc/chromium/policies/managed")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)


class Browser:
    """A person's Chromium: a home with a certificate store, trusting the authority's servers."""

    def __init__(self, home: pathlib.Path, authority: pathlib.Path) -> None:
        self.home = home
        self.store = f"sql:{home}/.pki/nssdb"
        (home / ".pki/nssdb").mkdir(parents=True)
        self.command("certutil", "-d", self.store, "-N", "--empty-password")
        self.command("certutil", "-d", self.store, "-A", "-t", "C,,", "-n", "authority", "-i", authority)

    def command(self, *command: object) -> str:
        return subprocess.run(
            [str(part) for part in command],
            env={**os.environ, "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=True,
        ).stdout

    def install(self, bundle: pathlib.Path) -> None:
        """What the person does: the file, and the password that came another way."""
        self.command("pk12util", "-d", self.store, "-i", bundle, "-w", f"{bundle}.password")

    def see(self, url: str) -> str:
        """Return the page that a fresh profile shows."""
        profile = self.home / f"profile-{uuid.uuid4()}"
        return self.command("timeout", "60", "chromium", *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url)


@pytest.fixture
def selection():
    """A policy by which the browser answers its question for a certificate, without which it waits for a person."""
    POLICIES.mkdir(parents=True, exist_ok=True)
    path = POLICIES / f"mtls-nginx-test-{uuid.uuid4()}.json"

    def select(url: str, issuer: str) -> None:
        rule = {"pattern": url, "filter": {"ISSUER": {"CN": issuer}}}
        path.write_text(json.dumps({"AutoSelectCertificateForUrls": [json.dumps(rule)]}))

    try:
        yield select
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("kind", ["compatible", "modern"])
def test_a_browser_gets_in_with_the_p12_and_not_without(site: Site, upstream, selection, tmp_path, kind):
    port = free_port()
    url = f"https://localhost:{port}"
    site.add_host("nas", mtls_clients=[{"name": "laptop", "p12": kind, "key_type": "rsa"}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["localhost"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
    ]
    site.ok()
    selection(url, "Test Root CA")
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
def test_after_a_renewal_the_browser_sends_the_new_one_of_two(site: Site, upstream, selection, tmp_path):
    """Both are in the store under one name, and `certutil -D` takes away the newer one: the old one needs two."""
    port = free_port()
    url = f"https://localhost:{port}"
    site.add_host("nas", mtls_clients=[{"name": "laptop", "key_type": "rsa", "days": 40}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["localhost"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
    ]
    site.ok()
    selection(url, "Test Root CA")
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
