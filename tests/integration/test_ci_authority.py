# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/ci: the authority travels through a repository as one encrypted file, and a plan needs no secret."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site.access_plan import MARKER

CI = Path(__file__).resolve().parents[2] / "examples" / "ci"
SCRIPT = CI / "authority.sh"
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


BRANCH = "mtls-authority"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=somebody", "-c", "user.email=somebody@localhost", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


class Clone(Checkout):
    """A runner's checkout of a repository that others push to as well."""

    def __init__(self, folder: Path, remote: Path) -> None:
        folder.mkdir()
        super().__init__(folder)
        self.remote = remote
        git(self.folder, "init", "--quiet", "--initial-branch=main")
        git(self.folder, "remote", "add", "origin", str(remote))

    def run(self, action: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT, action, "inventory/pki"],
            cwd=self.folder,
            env={**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(self.password), "MTLS_WAIT": "0", **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def ok(self, action: str) -> str:
        done = self.run(action)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, action: str) -> str:
        done = self.run(action)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def merge_to_main(self) -> None:
        git(self.folder, "commit", "--quiet", "--allow-empty", "--message=a merge")
        git(self.folder, "push", "--quiet", "origin", "HEAD:main")

    def on_branch(self) -> list[str]:
        return git(self.remote, "ls-tree", "--name-only", BRANCH).split()


@pytest.fixture
def runners(tmp_path) -> tuple[Clone, Clone]:
    """Two runners, and a repository that both push to."""
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    made = tuple(Clone(tmp_path / name, remote) for name in ("first", "second"))
    made[0].merge_to_main()
    git(made[1].folder, "pull", "--quiet", "origin", "main")
    return made


def refuse_pushes(remote: Path) -> Path:
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho protected >&2\nexit 1\n")
    hook.chmod(0o755)
    return hook


def test_the_record_is_on_its_own_branch_whatever_happens_to_main(runners):
    first, second = runners
    assert "first run" in first.ok("take")
    first.fill()
    before = first.content()
    second.merge_to_main()
    first.ok("keep")
    assert first.on_branch() == ["authority.tar.vault"]
    assert SECRET not in first.packed.read_bytes()
    second.ok("take")
    assert second.content() == before
    assert "nothing was issued" in second.ok("keep")
    assert second.on_branch() == ["authority.tar.vault"]


def test_two_at_once_never_sign_from_copies(runners):
    first, second = runners
    first.ok("take")
    first.fill()
    said = second.refused("take")
    assert "somebody else has the authority and may be signing" in said
    assert "release inventory/pki" in said
    assert not second.pki.exists()
    # A plan may look, and claims nothing.
    second.ok("look")
    assert not second.pki.exists()
    first.ok("keep")
    first.new_runner()
    # Whoever waits has what the other one did.
    first.ok("take")
    (first.pki / "index.txt").write_text("a line\n")
    with subprocess.Popen(
        [SCRIPT, "take", "inventory/pki"],
        cwd=second.folder,
        env={**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(second.password), "MTLS_WAIT": "60"},
    ) as waiting:
        first.ok("keep")
        assert waiting.wait(60) == 0
    assert "index.txt" in second.content()
    second.ok("keep")


def test_a_claim_of_a_dead_run_is_ended_by_hand_and_its_record_is_not_pushed_over(runners):
    first, second = runners
    first.ok("take")
    first.fill()
    assert "ended: the claim of" in second.ok("release")
    second.ok("take")
    second.fill()
    (second.pki / "index.txt").write_text("the second one\n")
    said = first.refused("keep")
    assert "is somebody else's since this run claimed it" in said
    assert "inventory/pki.tar.vault and on no branch" in said
    second.ok("keep")
    assert "is somebody else's since this run claimed it" in first.refused("keep")
    first.new_runner()
    first.packed.rename(first.packed.with_suffix(".kept"))
    first.ok("take")
    assert first.content()["index.txt"][1] == b"the second one\n"


def test_a_record_that_cannot_be_pushed_is_still_there_and_pushed_later(runners):
    first, second = runners
    first.ok("take")
    first.fill()
    hook = refuse_pushes(first.remote)
    said = first.refused("keep")
    assert "takes no commit on the branch mtls-authority" in said
    assert "inventory/pki.tar.vault and on no branch" in said
    assert first.packed.exists()
    assert first.pki.exists()
    hook.unlink()
    first.ok("keep")
    second.ok("take")
    assert second.content() == first.content()


def test_nothing_is_signed_where_nothing_can_be_pushed(runners):
    first, _second = runners
    refuse_pushes(first.remote)
    assert "takes no commit on the branch mtls-authority: let this job push there" in first.refused("take")
    assert not first.pki.exists()
    first.fill()
    assert "nothing was taken here" in first.refused("keep")


def test_a_remote_that_is_away_is_no_first_run(runners):
    first, _second = runners
    first.remote.rename(first.remote.with_suffix(".away"))
    assert "cannot be fetched from origin" in first.refused("take")
    assert not first.pki.exists()


def test_what_was_kept_on_main_moves_to_the_branch(runners):
    first, second = runners
    first.fill()
    first.ok("close")
    before = first.content()
    first.new_runner()
    first.ok("take")
    assert first.content() == before
    first.ok("keep")
    second.ok("take")
    assert second.content() == before


INVENTORY = """\
mtls_servers:
  hosts:
    nas:
      mtls_ca_passphrase: "{{ vault_mtls_ca_passphrase }}"
      mtls_clients: CLIENTS
      mtls_services:
        - {name: nas, server_names: [nas.lan], upstream: "http://127.0.0.1:5000", allow: ALLOW}
        - {name: wiki, server_names: [wiki.lan], upstream: "http://127.0.0.1:5001"}
"""


def plan(tmp_path: Path, before: tuple[str, str], after: tuple[str, str]) -> subprocess.CompletedProcess[str]:
    for name, (clients, allow) in (("before", before), ("after", after)):
        folder = tmp_path / name / "inventory"
        (folder / "group_vars" / "all").mkdir(parents=True)
        (folder / "hosts.yml").write_text(INVENTORY.replace("CLIENTS", clients).replace("ALLOW", allow))
        vault = folder / "group_vars" / "all" / "vault.yml"
        vault.write_text("vault_mtls_ca_passphrase: correct horse\n")
        password = tmp_path / "password"
        password.write_text("of the vault\n")
        subprocess.run(["ansible-vault", "encrypt", "--vault-password-file", password, vault], check=True)
        (tmp_path / name / "ci").mkdir()
        (tmp_path / name / "ci" / "placeholders.yml").write_bytes((CI / "placeholders.yml").read_bytes())
    password.unlink()
    return subprocess.run(
        [CI / "plan.sh", "before", "after"], cwd=tmp_path, capture_output=True, text=True, check=False
    )


def test_a_plan_without_any_secret_says_who_gains_and_who_loses_entry(tmp_path):
    done = plan(
        tmp_path,
        ("[{name: phone}, {name: tablet}]", "[phone, tablet]"),
        ("[{name: phone}, {name: tablet, state: revoked}, {name: laptop}]", "[]"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        MARKER,
        "### Access plan: who would gain and lose entry",
        "",
        "- **`wiki`**: + `laptop`; \N{MINUS SIGN} `tablet` (revoked) — on `nas`",
        "- **`nas`**: \N{MINUS SIGN} `phone` (off the list), `tablet` (revoked) — on `nas`",
        "",
        "By the inventory alone: no host was asked what it has, and none whether its nginx would accept this.",
    ]


def test_a_plan_with_nothing_to_compare_shows_everything_as_new(tmp_path):
    done = plan(tmp_path, ("[{name: phone}]", "[phnoe]"), ("[{name: phone}]", "[phone]"))
    assert done.returncode == 0, done.stderr
    assert "- **`wiki`**: **`open to every client`**; new — on `nas`" in done.stdout.splitlines()
    assert "- **`nas`**: new; + `phone` — on `nas`" in done.stdout.splitlines()
    assert "The inventory as it was cannot be read" in done.stdout


def test_a_plan_fails_where_the_inventory_contradicts_itself(tmp_path):
    done = plan(tmp_path, ("[{name: phone}]", "[phone]"), ("[{name: phone}]", "[phnoe]"))
    assert done.returncode != 0
    assert "phnoe" in done.stderr
    assert done.stdout == ""
