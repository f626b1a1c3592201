# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CAs made by hand, before their certificate is repaired and after: what the real nginx makes of their clients."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import adoption, creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.tests.by_hand import KINDS, ByHand

from .client import VERSIONS, ask
from .pki import Identity

SITE = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_crl own/crl.pem;
    ssl_verify_client on;
    root @FOLDER@/www;
}
"""
IN, OUT = 200, 400


@pytest.fixture
def gate(new_host):
    """Asks an nginx that trusts the directory; the first call starts it."""
    host = new_host()
    started = []

    def statuses(path, *clients) -> list[int | None]:
        host.write("own/ca.crt", (path / "ca.crt").read_text())
        host.write("own/crl.pem", (path / "crl.pem").read_text())
        if started:
            host.reload()
        else:
            host.by_hand(SITE)
            started.append(host.start())
        asked = [{ask(host.port, tls=tls, client=client).status for tls in VERSIONS} for client in clients]
        assert all(len(each) == 1 for each in asked)
        return [each.pop() for each in asked]

    return statuses


def identity(path) -> Identity:
    content = path.read_bytes()
    key = serialization.load_pem_private_key(content, None)
    return Identity(path, x509.load_pem_x509_certificate(content), key)


def repair(path, *, check=False):
    wanted = WantedAuthority(str(path), None, keys.KeyKind("rsa"), None, 3650, 30, repair=True)
    return creation.ensure(wanted, check=check)


@pytest.mark.parametrize("kind", KINDS)
def test_clients_made_by_hand_are_in_after_the_repair_and_revoked_ones_out(tmp_path, gate, kind):
    ca = ByHand(tmp_path / "pki", kind)
    user, named, lost = ca.client("user"), ca.client("named", names_its_issuer=True), ca.client("lost")
    clients = [identity(each) for each in (user, named, lost)]
    ca.revoke("lost")
    if kind != "openssl":  # there it depends on the OpenSSL that is installed
        assert gate(ca.path, *clients) == ([IN, IN, OUT] if kind == "v1" else [OUT, OUT, OUT])

    assert "ca.crt" in repair(ca.path, check=True).updated
    assert "ca.crt" in repair(ca.path).updated
    wanted = [IN, IN, OUT]
    assert gate(ca.path, *clients) == wanted

    # By hand it goes on.
    late = identity(ca.client("late"))
    assert gate(ca.path, *clients, late) == [*wanted, IN]
    ca.revoke("late")
    assert gate(ca.path, *clients, late) == [*wanted, OUT]


@pytest.mark.parametrize("kind", KINDS)
def test_an_adopted_copy_is_repaired_alike(tmp_path, gate, kind):
    ca = ByHand(tmp_path / "source", kind)
    clients = [identity(ca.client("user")), identity(ca.client("lost"))]
    ca.revoke("lost")
    wanted = adoption.WantedAdoption(str(tmp_path / "pki"), [str(ca.path)], None, None, None, 30, repair=True)
    adoption.adopt(wanted, check=False)
    assert gate(tmp_path / "pki", *clients) == [IN, OUT]
