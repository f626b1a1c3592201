# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An authority that community.crypto's own modules have made: taken over, and its clients enter as before."""

from __future__ import annotations

import json

from ansible_collections.mtls.nginx.tests.by_hand import ByHand
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import PASSPHRASE, tree

FORMER = "of the former authority"
# As that collection's guide has it ("How to create a small CA"): certificates and keys in a folder, and no record.
MADE_BEFORE = """
- hosts: nas
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - community.crypto.openssl_privatekey:
        path: "{{ folder }}/ca-certificate.key"
        passphrase: "{{ passphrase }}"
        type: ECC
        curve: secp256r1
    - community.crypto.openssl_csr_pipe:
        privatekey_path: "{{ folder }}/ca-certificate.key"
        privatekey_passphrase: "{{ passphrase }}"
        common_name: Ansible CA
        use_common_name_for_san: false
        basic_constraints: ["CA:TRUE"]
        basic_constraints_critical: true
        key_usage: [keyCertSign, cRLSign]
        key_usage_critical: true
      register: request
    - community.crypto.x509_certificate:
        path: "{{ folder }}/ca-certificate.pem"
        csr_content: "{{ request.csr }}"
        privatekey_path: "{{ folder }}/ca-certificate.key"
        privatekey_passphrase: "{{ passphrase }}"
        provider: selfsigned
    - community.crypto.openssl_privatekey:
        path: "{{ folder }}/{{ item }}.key"
      loop: &clients [phone, laptop, stolen]
    - community.crypto.openssl_csr:
        path: "{{ folder }}/{{ item }}.csr"
        privatekey_path: "{{ folder }}/{{ item }}.key"
        common_name: "{{ item }}"
        extended_key_usage: [clientAuth]
      loop: *clients
    - community.crypto.x509_certificate:
        path: "{{ folder }}/{{ item }}.pem"
        csr_path: "{{ folder }}/{{ item }}.csr"
        provider: ownca
        ownca_path: "{{ folder }}/ca-certificate.pem"
        ownca_privatekey_path: "{{ folder }}/ca-certificate.key"
        ownca_privatekey_passphrase: "{{ passphrase }}"
        ownca_not_after: +200d
      loop: *clients
"""
ADOPTION = """
- hosts: nas
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - mtls.nginx.ca_adopt:
        path: "{{ inventory_dir }}/pki"
        source: ["{{ folder }}"]
        source_passphrase: "{{ former }}"
        passphrase: "{{ passphrase }}"
"""


def play(site, text, folder, *arguments, **variables):
    file = site.folder / "play.yml"
    file.write_text(text)
    given = json.dumps({"folder": str(folder), **variables})
    run = site.run("-e", given, *arguments, playbook=file)
    assert run.returncode == 0, run.text
    return run


def test_from_community_crypto_to_a_guarded_host(site, upstream):
    port = free_port()
    site.add_host("nas", mtls_clients=[{"name": "phone"}, {"name": "laptop"}])
    folder = site.folder / "former"
    folder.mkdir()
    play(site, MADE_BEFORE, folder, passphrase=FORMER)
    made = tree(folder)

    plan = play(site, ADOPTION, folder, "--check", "--diff", former=FORMER, passphrase=PASSPHRASE)
    assert plan.changed == 1
    for name in ("phone", "laptop", "stolen"):
        assert f"+client {name} " in plan.text
    assert not site.pki.exists()
    assert play(site, ADOPTION, folder, former=FORMER, passphrase=PASSPHRASE).changed == 1
    assert play(site, ADOPTION, folder, former=FORMER, passphrase=PASSPHRASE).changed == 0
    assert tree(folder) == made, "the original was changed"

    site.all_vars["mtls_ca_subject"] = {"CN": "Ansible CA"}
    site.host_vars["nas"]["mtls_clients"].append({"name": "stolen", "state": "revoked"})
    site.host_vars["nas"]["mtls_services"] = [
        {
            "name": "nas",
            "server_names": ["nas.lan"],
            "listen": f"127.0.0.1:{port}",
            "upstream": upstream,
            "allow": ["phone"],
        }
    ]
    site.ok()
    former = {
        name: (str(folder / f"{name}.pem"), str(folder / f"{name}.key")) for name in ("phone", "laptop", "stolen")
    }
    statuses = {name: site.status(port, identity=identity) for name, identity in former.items()}
    assert statuses == {"phone": 200, "laptop": 403, "stolen": 400}
    assert (site.pki / "clients/phone/phone.crt").read_bytes() == (folder / "phone.pem").read_bytes()
    assert site.ok().changed == 0


def test_the_directory_of_a_guide_is_adopted_where_it_is(site, tmp_path):
    """X.509 version 3 without basicConstraints: nginx refuses the clients of such a CA until it is repaired."""
    site.pki.parent.mkdir(parents=True, exist_ok=True)
    ca = ByHand(site.pki, "v3")
    for name in ("user", "lost"):
        ca.client(name)
    ca.revoke("lost")
    site.all_vars["mtls_ca_subject"] = {"C": "ES", "O": "By Hand", "CN": "By Hand CA"}
    port = free_port()
    service = {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{port}", "root": str(tmp_path)}
    site.add_host("nas", mtls_services=[service], mtls_clients=[{"name": "new"}])

    before = tree(site.pki)
    assert "mtls_ca_repair: true" in site.refused()
    assert tree(site.pki) == before

    site.all_vars["mtls_ca_repair"] = True
    foreseen = site.ok("--check", "--diff")
    assert "ca.crt: reissued as the certificate of a CA" in foreseen.text
    assert tree(site.pki) == before
    site.ok()
    (tmp_path / "index.html").write_text("in")
    for identity, status in (
        (site.identity("new"), 200),
        ((str(site.pki / "user.crt"), str(site.pki / "user.key")), 200),
        ((str(site.pki / "lost.crt"), str(site.pki / "lost.key")), 400),
    ):
        assert site.status(port, identity=identity) == status
    assert site.ok().changed == 0
