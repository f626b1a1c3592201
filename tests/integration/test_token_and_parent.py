# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole workflow with an authority whose key is in a token, and with one below a root."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, ensure_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.tokens import PIN

from .conftest import REPOSITORY, tree

REFRESH = REPOSITORY / "playbooks" / "refresh_crl.yml"


@pytest.fixture
def guarded(site, upstream):
    """A host with one service for two clients; its port is `site.port`."""
    site.port = free_port()
    site.add_host("nas", mtls_clients=[{"name": "phone"}, {"name": "tablet"}])
    listen = f"127.0.0.1:{site.port}"
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["nas.lan"], "listen": listen, "upstream": upstream}
    ]
    del site.all_vars["mtls_ca_passphrase"]
    return site


def statuses(site, *clients):
    return [site.status(site.port, client=client) for client in clients]


def test_the_key_in_a_token(guarded, token):
    site = guarded
    site.inventory.joinpath("pin").write_text(PIN)
    site.inventory.joinpath("pin").chmod(0o600)
    site.all_vars |= {
        "mtls_ca_backend": "pkcs11",
        "mtls_ca_pkcs11": {**token.settings(), "pin": None, "pin_file": "pin"},
        "mtls_ca_key_type": "rsa",
        "mtls_ca_key_size": 2048,
    }
    plan = site.ok("--check", "--diff")
    assert "pkcs11:token=test;object=ca" in plan.text
    assert not site.pki.exists()
    site.ok("-vvv")
    assert not (site.pki / "ca.key").exists()
    assert statuses(site, "phone", "tablet", None) == [200, 200, 400]
    made = tree(site.pki)
    assert site.ok().changed == 0
    assert tree(site.pki) == made

    site.host_vars["nas"]["mtls_clients"][0]["state"] = "revoked"
    said = site.ok("-vvv").text
    assert statuses(site, "phone", "tablet", None) == [400, 200, 400]
    assert PIN not in said

    site.all_vars["mtls_ca_pkcs11"]["key"] = "another"
    made = tree(site.pki)
    assert "key 'another' in token 'test': is missing, and nothing can be signed without it" in site.refused()
    assert tree(site.pki) == made
    assert statuses(site, "phone", "tablet", None) == [400, 200, 400]


def make_root(path, **access):
    """An authority of the collection's own, somewhere else."""
    wanted = WantedAuthority(str(path), {"CN": "Root"}, keys.KeyKind("ecdsa"), None, days=900, crl_days=90)
    ensure_authority(Access(str(path), **access), wanted, check=False)


def by_hand(root, *arguments):
    """`openssl ca` where the root's key is."""
    command = ["openssl", "ca", "-batch", "-config", "openssl.cnf", *map(str, arguments)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)


def unpacked(site, client, *, with_chain):
    """What is in a client's .p12, as files for TLS; `with_chain` sends the authorities along."""
    folder = site.pki / "clients" / client
    password = (folder / f"{client}.p12.password").read_bytes().strip()
    content = pkcs12.load_pkcs12((folder / f"{client}.p12").read_bytes(), password)
    above = [extra.certificate for extra in content.additional_certs]
    assert len(above) == 2
    file = site.folder / f"{client}-{with_chain}.pem"
    sent = [content.cert.certificate, *(above if with_chain else [])]
    file.write_bytes(
        content.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + b"".join(certificate.public_bytes(Encoding.PEM) for certificate in sent)
    )
    return str(file), str(file)


def test_below_a_root_that_is_on_no_network(guarded):
    site, root = guarded, guarded.folder / "root"
    site.all_vars |= {
        "mtls_ca_certificate": "from-the-root/ca.pem",
        "mtls_ca_parent_crl": "from-the-root/root.crl",
        "mtls_ca_days": 700,
    }
    make_root(root)
    brought = site.inventory / "from-the-root"
    brought.mkdir()

    # Until the root has signed, a run makes the request, stops, and says what is to be done.
    said = site.refused()
    assert f"{site.pki}/ca.csr: waits to be signed as an intermediate CA" in said
    assert f"into {brought}/ca.pem and run again" in said
    assert "waits to be signed" in site.refused("--check")
    by_hand(
        root, "-extensions", "intermediate", "-days", "700", "-notext", "-in", site.pki / "ca.csr", "-out", "ca.pem"
    )
    (brought / "ca.pem").write_bytes((root / "ca.pem").read_bytes() + (root / "ca.crt").read_bytes())
    assert f"{brought}/root.crl: no such file" in site.refused()
    shutil.copy(root / "crl.pem", brought / "root.crl")
    site.ok()
    assert statuses(site, "phone", "tablet", None) == [200, 200, 400]
    assert site.ok().changed == 0

    # A client sends the chain of its .p12, or does without, since the hosts have it.
    for with_chain in (True, False):
        assert site.status(site.port, identity=unpacked(site, "phone", with_chain=with_chain)) == 200

    # A revoked client.
    site.host_vars["nas"]["mtls_clients"][0]["state"] = "revoked"
    site.ok()
    assert statuses(site, "phone", "tablet") == [400, 200]

    # The root's CRL nears its end: said each time, and still shipped. At last it is too late, and is not.
    by_hand(root, "-gencrl", "-crldays", "20", "-out", brought / "root.crl")
    said = " ".join(site.run(playbook=REFRESH).text.split())
    assert "the CRL of CN=Root expires on" in said
    assert statuses(site, "phone", "tablet") == [400, 200]
    end = ("-crl_lastupdate", "20260101000000Z", "-crl_nextupdate", "20260201000000Z")
    shipped = site.hosts["nas"].folder / "client-certs" / "crl.pem"
    before = shipped.read_bytes()
    by_hand(root, "-gencrl", *end, "-out", brought / "root.crl")
    assert "the CRL of CN=Root expired on 2026-02-01T00:00:00Z" in site.refused()
    assert shipped.read_bytes() == before

    # The root revokes the authority: nobody gets in any more.
    by_hand(root, "-revoke", "ca.pem", "-crl_reason", "CACompromise")
    by_hand(root, "-gencrl", "-crldays", "60", "-out", brought / "root.crl")
    said = " ".join(site.run(playbook=REFRESH).text.split())
    assert "CN=Root has revoked CN=Test Root CA,O=Test,C=ES, so that hosts refuse every client" in said
    assert shipped.read_bytes() != before
    assert statuses(site, "phone", "tablet") == [400, 400]


def test_below_an_authority_in_another_folder(guarded, token):
    """The root's key in a token, the issuing one's in a file; the CRLs of both are kept fresh, and it is renewed."""
    site = guarded
    above = {"backend": "pkcs11", "pkcs11": token.settings(), "crl_days": 90}
    make_root(site.inventory / "root", backend="pkcs11", settings=token.settings())
    site.all_vars |= {"mtls_ca_parent": {"path": "root", **above}, "mtls_ca_days": 700}
    site.ok()
    assert statuses(site, "phone", "tablet", None) == [200, 200, 400]
    assert site.ok().changed == 0
    (site.inventory / "root" / "crl.pem").unlink()
    assert site.ok("--check").changed > 0
    assert site.ok().changed > 0
    assert site.ok().changed == 0
    assert statuses(site, "phone", "tablet", None) == [200, 200, 400]

    before = (site.pki / "ca.crt").read_bytes()
    certificate, key = site.identity("phone")
    with_chain = site.folder / "phone-with-chain.crt"
    with_chain.write_bytes(pathlib.Path(certificate).read_bytes() + before)
    site.all_vars |= {"mtls_ca_days": 800, "mtls_ca_renew_before": 701}
    assert site.ok("--check").changed > 0
    assert (site.pki / "ca.crt").read_bytes() == before
    site.ok()
    after = (site.pki / "ca.crt").read_bytes()
    assert after != before
    assert (site.hosts["nas"].folder / "client-certs" / "ca.crt").read_bytes() == after
    assert statuses(site, "phone", "tablet", None) == [200, 200, 400]
    assert site.status(site.port, identity=(str(with_chain), key)) == 200
    assert site.ok().changed == 0
