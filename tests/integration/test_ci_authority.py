# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/ci/authority.sh: the authority's directory travels through a repository as one encrypted file."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "ci" / "authority.sh"
SECRET = b"-----BEGIN PRIVATE KEY-----\nnobody may read this\n"


class Checkout:
    """A repository's working tree with a vault password beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.pki = self.folder / "inventory" / "pki"
        self.packed = self.folder / "inventory" / "pki.tar.vault"
        self.password = folder / "vault"
        self.password.write_text("correct horse\n")
        self.pki.parent.mkdir(parents=True)

    def run(self, action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT, action, "inventory/pki"],
            cwd=self.folder,
            env={**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(self.password)},
            capture_output=True,
            text=True,
            check=False,
        )

    def fill(self) -> None:
        (self.pki / "clients" / "phone").mkdir(parents=True, mode=0o700)
        for name, data, mode in (
            ("ca.key", SECRET, 0o600),
            ("ca.crt", b"a certificate\n", 0o644),
            ("clients/phone/phone.p12", bytes(range(256)) * 40, 0o600),
        ):
            (self.pki / name).write_bytes(data)
            (self.pki / name).chmod(mode)

    def content(self) -> dict[str, tuple[int, bytes]]:
        return {
            str(path.relative_to(self.pki)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
            for path in sorted(self.pki.rglob("*"))
            if path.is_file() and path.name != ".packed"
        }

    def new_runner(self) -> None:
        """What is in git stays, the rest is gone."""
        subprocess.run(["rm", "-rf", self.pki], check=True)


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)


def test_it_comes_back_as_it_was_with_every_mode(checkout):
    checkout.fill()
    before = checkout.content()
    assert checkout.run("close").returncode == 0
    assert SECRET not in checkout.packed.read_bytes()
    assert checkout.packed.read_bytes().startswith(b"$ANSIBLE_VAULT;")
    checkout.new_runner()
    assert checkout.run("open").returncode == 0
    assert checkout.content() == before


def test_nothing_is_packed_when_nothing_changed_and_all_of_it_when_something_did(checkout):
    checkout.fill()
    checkout.run("close")
    first = checkout.packed.read_bytes()
    checkout.new_runner()
    checkout.run("open")
    assert "nothing was issued" in checkout.run("close").stdout
    assert checkout.packed.read_bytes() == first
    (checkout.pki / "index.txt").write_text("a line\n")
    assert checkout.run("close").returncode == 0
    assert checkout.packed.read_bytes() != first
    checkout.new_runner()
    checkout.run("open")
    assert "index.txt" in checkout.content()


def test_the_first_run_has_nothing_to_open(checkout):
    done = checkout.run("open")
    assert done.returncode == 0
    assert "first run" in done.stdout
    assert not checkout.pki.exists()


def test_a_directory_that_was_never_packed_is_not_overwritten(checkout):
    checkout.fill()
    checkout.run("close")
    before = checkout.content()
    (checkout.pki / "ca.crt").write_bytes(b"a newer certificate\n")
    done = checkout.run("open")
    assert done.returncode != 0
    assert "there already" in done.stderr
    assert checkout.content() != before


def test_a_wrong_password_opens_nothing_and_loses_nothing(checkout):
    checkout.fill()
    checkout.run("close")
    packed = checkout.packed.read_bytes()
    checkout.new_runner()
    checkout.password.write_text("wrong\n")
    assert checkout.run("open").returncode != 0
    assert checkout.packed.read_bytes() == packed
    assert not checkout.pki.exists()
