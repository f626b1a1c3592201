# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ed25519 keys, of authorities and of clients: what nginx and the `openssl` program make of them."""

from __future__ import annotations

import pathlib
import subprocess
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.tests.authorities import new_authority

from .client import VERSIONS, ask
from .pki import Identity

PASSPHRASE = "the passphrase of the tests"
NAS = {"name": "nas", "server_names": ["nas.test"], "allow": ["rsa", "ecdsa", "ed25519", "device", "by hand", "lost"]}


class Authority:
    """An authority with a key of one type, which is encrypted."""

    def __init__(self, path: pathlib.Path, key_type: str) -> None:
        self.path = path
        new_authority(path, {"CN": "Keys"}, key_type=key_type, passphrase=PASSPHRASE)
        self.device = path.parent / "device.key"
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", self.device)
        self.openssl("req", "-new", "-key", self.device, "-subj", "/CN=whatever", "-out", "device.csr")
        self.issue(self.wanted())

    def wanted(self, **lost) -> list[Client]:
        kinds = [Client(kind, key_type=kind) for kind in ("rsa", "ecdsa", "ed25519")]
        return [*kinds, Client("device", csr=str(self.path / "device.csr")), Client("lost", key_type="ed25519", **lost)]

    def issue(self, wanted: list[Client]) -> None:
        with open_authority(Access(str(self.path), passphrase=PASSPHRASE), read_only=False) as authority:
            clients.reconcile(authority, wanted, new_key_type="rsa", check=False)
            authority.write_crl(10)

    def openssl(self, *arguments) -> str:
        command = ["openssl", *map(str, arguments)]
        run = subprocess.run(command, cwd=self.path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def identity(self, name: str, key: pathlib.Path | None = None) -> Identity:
        folder = self.path / "clients" / name
        certificate = (folder / f"{name}.crt").read_bytes()
        private = (key or folder / f"{name}.key").read_bytes()
        both = self.path / f"{name}.pem"
        both.write_bytes(certificate + private)
        loaded = serialization.load_pem_private_key(private, None)
        return Identity(both, x509.load_pem_x509_certificate(certificate), loaded)


@pytest.fixture(scope="module", params=["rsa", "ecdsa", "ed25519"])
def made(request, tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("keys") / "pki", request.param)


def serve(host, made: Authority, people: dict[str, Identity]) -> None:
    """Render the service with what the authority publishes."""
    texts = {name: (made.path / name).read_text() for name in ("ca.crt", "crl.pem")}
    published = SimpleNamespace(chain=texts["ca.crt"], crl=texts["crl.pem"], clients=people)
    host.ours([{**NAS, "root": f"{host.folder}/www"}], published)


def test_every_kind_of_client_is_let_in_and_a_revoked_one_is_not(made, new_host):
    kinds = ("rsa", "ecdsa", "ed25519", "lost")
    people = {name: made.identity(name) for name in kinds}
    people["device"] = made.identity("device", made.device)
    # What `openssl ca` issues in the directory by hand is good as well, and the signature fits the authority's key.
    made.openssl("genpkey", "-algorithm", "ed25519", "-out", "by-hand.key")
    made.openssl("req", "-new", "-key", "by-hand.key", "-subj", "/CN=by hand", "-out", "by-hand.csr")
    made.openssl(
        *("ca", "-config", "openssl.cnf", "-batch", "-passin", f"pass:{PASSPHRASE}"),
        *("-in", "by-hand.csr", "-out", "by-hand.crt", "-notext"),
    )
    folder = made.path / "clients" / "by hand"
    folder.mkdir(parents=True, exist_ok=True)
    (made.path / "by-hand.crt").replace(folder / "by hand.crt")
    people["by hand"] = made.identity("by hand", made.path / "by-hand.key")
    host = new_host()
    serve(host, made, people)
    host.start()

    def statuses():
        asked = {name: {ask(host.port, tls=tls, client=one).status for tls in VERSIONS} for name, one in people.items()}
        return {name: each.pop() for name, each in asked.items() if len(each) == 1}

    assert statuses() == dict.fromkeys(people, 200)
    made.issue(made.wanted(revoked=True))
    serve(host, made, people)
    host.reload()
    assert statuses() == {**dict.fromkeys(people, 200), "lost": 400}
    made.issue(made.wanted())  # as it was, for the next nginx
