# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as users get it: built, installed elsewhere, run by its full name."""

from __future__ import annotations

import shutil
import subprocess
import tarfile

import pytest

from ansible_collections.mtls.nginx.tests.lint.tarball import build, tracked
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY

# What people try in the checkout: an authority in an inventory, another beside it, and what they keep for both.
SECRETS = (
    "inventory/pki/ca.key",
    "inventory/pki/clients/phone/phone.p12",
    "inventory/group_vars/all/vault.yml",
    "authority/ca.key",
    "authority/index.txt",
    "authority/newcerts/1000.pem",
    "authority/clients/phone/phone.key",
    "authority/clients/phone/phone.p12.password",
    "authority/clients/phone/phone.mobileconfig",
    "examples/demo/inventory/pki/ca.key",
    "host_vars/nas.yml",
    ".vault-password",
    "ca-key.pem",
)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the checkout in a repository of its own, with a real key in each of the places."""
    folder = tmp_path / "checkout"
    for name in tracked(REPOSITORY):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    assert tracked(folder) == tracked(REPOSITORY), "something tracked is ignored"
    key = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], check=True, capture_output=True).stdout
    for name in SECRETS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(key)
    return folder


def contents(tarball):
    with tarfile.open(tarball) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}


def test_an_authority_in_the_checkout_is_not_packed(checkout, tmp_path):
    (checkout / "notes.txt").write_text("the passphrase is ...")
    by_us = contents(build(checkout, tmp_path))
    assert by_us.keys() - {"MANIFEST.json", "FILES.json"} <= set(tracked(checkout))
    (tmp_path / "by-hand").mkdir()
    command = ["ansible-galaxy", "collection", "build", checkout, "--output-path", tmp_path / "by-hand"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    by_hand = contents(next((tmp_path / "by-hand").iterdir()))
    assert by_hand.keys() - by_us.keys() == {"notes.txt"}
    for packed in (by_us, by_hand):
        assert "plugins/modules/ca_init.py" in packed
        assert "examples/demo/inventory/hosts.yml" in packed
        assert not packed.keys() & set(SECRETS)


def test_git_does_not_take_an_authority_in_the_checkout(checkout):
    status = ["git", "status", "--porcelain", "--untracked-files=all"]
    listed = subprocess.run(status, cwd=checkout, check=True, capture_output=True, text=True).stdout
    assert [line for line in listed.splitlines() if line.startswith("??")] == []


def test_the_installed_tarball_guards_a_host(site, upstream, monkeypatch, tmp_path):
    elsewhere = tmp_path / "collections"

    def galaxy(*arguments):
        subprocess.run(["ansible-galaxy", "collection", *arguments], check=True, capture_output=True, cwd=tmp_path)

    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(elsewhere))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    tarball = build(REPOSITORY, tmp_path)
    galaxy("install", "--offline", tarball, "--collections-path", elsewhere)

    port = free_port()
    site.add_host("nas", mtls_clients=[{"name": "phone"}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
    ]
    run = site.run("-vvv", playbook="mtls.nginx.site")
    assert run.returncode == 0, run.text
    assert str(elsewhere) in run.text
    assert str(REPOSITORY / "plugins") not in run.text
    assert site.status(port, client="phone") == 200
    assert site.status(port) == 400
