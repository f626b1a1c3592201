# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The beginners' mistakes that only a run finds out: each gets its message, and nobody is let in or kept out by it."""

from __future__ import annotations

import contextlib
import copy
import os
import pathlib
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.mtls.nginx.tests.mistakes import IN_A_RUN, pattern
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY, SITE, Site, tree

PLAYBOOKS = REPOSITORY / "playbooks"
Undo = Callable[[], object] | None


@pytest.fixture(scope="module")
def running(module_site):
    site = module_site
    site.port = free_port()
    site.add_host("nas", mtls_clients=[{"name": "phone"}, {"name": "laptop"}, {"name": "lost", "state": "revoked"}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{site.port}", "root": "/srv"}
    ]
    del site.host_vars["nas"]["mtls_clients"][2]["state"]
    site.ok()
    site.host_vars["nas"]["mtls_clients"][2]["state"] = "revoked"
    site.ok()
    return site


class Mistake:
    """What is wrong, and how the playbook is then run; ``undo`` puts back what is neither a variable nor an option."""

    def __init__(self, site: Site, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site, self.folder, self.environment = site, folder, monkeypatch
        self.nas = site.host_vars["nas"]
        self.service = self.nas["mtls_services"][0]
        self.arguments: list[str] = []
        self.playbook: pathlib.Path | str = SITE
        self.succeeds = False
        self.undo = contextlib.ExitStack()

    def variables(self, **changes: object) -> None:
        self.site.all_vars |= changes

    def watch(self, **options: object) -> None:
        self.nas["mtls_clients"].append({"name": "watch", **options})

    def asked(self, playbook: str, *variables: str) -> None:
        self.playbook = PLAYBOOKS / f"{playbook}.yml"
        self.arguments = [word for variable in variables for word in ("-e", variable)]

    def file(self, path: pathlib.Path, content: str) -> None:
        path.write_text(content)
        self.undo.callback(path.unlink)

    def program(self, name: str, script: str) -> None:
        """A program that comes first in the path."""
        program = self.folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        self.environment.setenv("PATH", f"{self.folder}{os.pathsep}{os.environ['PATH']}")

    def as_nobody_special(self) -> None:
        """In a namespace where the user is not root: root may read and write whatever the modes say."""
        command = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "sh", "-c", "id -u; exec cat"]
        holder = self.undo.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert holder.stdout.readline() == b"1000\n"
        self.undo.callback(holder.stdin.close)
        self.site.started_by = ("nsenter", "--user", "--preserve-credentials", f"--target={holder.pid}")
        self.undo.callback(setattr, self.site, "started_by", ())
        self.nas["ansible_remote_tmp"] = str(self.folder)

    def mode(self, path: pathlib.Path, mode: int) -> None:
        before = path.stat().st_mode
        path.chmod(mode)
        self.undo.callback(path.chmod, before)


def wrong_inventory(it: Mistake) -> None:
    before = it.site.source
    it.site.source = it.folder / "no-hosts.yml"
    it.undo.callback(setattr, it.site, "source", before)


def other_collection(it: Mistake) -> None:
    """Ours, for an ansible-core that there is not yet."""
    ours = it.folder / "ansible_collections" / "mtls" / "nginx"
    ours.mkdir(parents=True)
    for path in REPOSITORY.iterdir():
        if path.name not in ("meta", "build"):
            (ours / path.name).symlink_to(path)
    (ours / "meta").mkdir()
    (ours / "meta" / "runtime.yml").write_text('requires_ansible: ">=99.0.0"\n')
    it.environment.setenv("ANSIBLE_COLLECTIONS_PATH", str(it.folder))
    it.environment.delenv("PYTHONPATH", raising=False)  # Ansible looks there, too
    it.playbook, it.arguments, it.succeeds = "mtls.nginx.site", ["--list-tasks"], True


def without_collection(it: Mistake) -> None:
    it.environment.setenv("ANSIBLE_COLLECTIONS_PATH", str(it.folder))
    it.environment.delenv("PYTHONPATH", raising=False)  # Ansible looks there, too
    it.playbook = "mtls.nginx.site"


def locked_vault(it: Mistake) -> None:
    vault = it.site.inventory / "group_vars" / "all" / "vault.yml"
    it.file(vault, "vault_mtls_ca_passphrase: secret of the vault\n")
    password = it.folder / "password"
    password.write_text("open sesame")
    command = ["ansible-vault", "encrypt", "--vault-password-file", password, vault]
    subprocess.run(command, check=True, capture_output=True)


def taken_port(it: Mistake) -> None:
    taken = it.undo.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    it.service["listen"] = f"127.0.0.1:{taken.getsockname()[1]}"


def broken_before(it: Mistake) -> None:
    it.file(it.site.hosts["nas"].folder / "conf.d" / "own.conf", "nonsense;\n")
    it.service["public_paths"] = ["/open/"]


def not_included(it: Mistake) -> None:
    nginx = it.site.hosts["nas"]
    nginx.write_conf(http="")
    it.undo.callback(nginx.write_conf)
    it.service["public_paths"] = ["/open/"]


def strange_key(it: Mistake) -> None:
    for name in ("one", "two"):
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}")
        files = ("-out", it.folder / f"{name}.pem", "-keyout", it.folder / f"{name}.key")
        subprocess.run(["openssl", "req", "-x509", *curve, *files], check=True, capture_output=True)
    it.service["certificate"] = {"path": f"{it.folder}/one.pem", "key": f"{it.folder}/two.key"}


def inside_the_inventory(it: Mistake) -> None:
    before = it.site.source
    it.site.source = it.site.inventory
    it.undo.callback(setattr, it.site, "source", before)


def writable_by_all(it: Mistake) -> None:
    it.mode(it.site.pki, 0o777)
    it.watch()


def read_only(it: Mistake) -> None:
    it.as_nobody_special()
    it.mode(it.site.pki / ".lock", 0o400)
    it.mode(it.site.pki, 0o500)
    it.watch()


def unreachable(it: Mistake) -> None:
    it.nas |= {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": free_port()}
    it.service["public_paths"] = ["/open/"]


def no_sudo_password(it: Mistake) -> None:
    it.as_nobody_special()
    it.program("sudo", "echo 'sudo: a password is required' >&2; exit 1")
    it.service["public_paths"] = ["/open/"]


# In the order of IN_A_RUN.
MADE: list[Callable[[Mistake], object]] = [
    wrong_inventory,
    lambda it: it.arguments.extend(["--limit", "nsa"]),
    without_collection,
    other_collection,
    lambda it: it.variables(mtls_clints=[{"name": "watch"}]),
    lambda it: it.variables(mtls_service=[{"name": "photos"}]),
    lambda it: it.variables(mtls_batch="two"),
    lambda it: it.variables(mtls_ca_passphrase="{{ vault_mtls_ca_passphrase }}"),
    locked_vault,
    lambda it: (it.variables(mtls_ca_passphrase="not the right one"), it.watch()),
    lambda it: (it.site.all_vars.pop("mtls_ca_passphrase"), it.watch()),
    inside_the_inventory,
    writable_by_all,
    read_only,
    lambda it: it.watch(days=0),
    lambda it: it.watch(p12_password="contraseña del reloj"),
    lambda it: it.watch(csr="watch.csr"),
    unreachable,
    no_sudo_password,
    lambda it: it.nas.update(ansible_python_interpreter="/usr/bin/python9"),
    taken_port,
    broken_before,
    not_included,
    strange_key,
    lambda it: it.asked("revoke"),
    lambda it: it.asked("revoke", "mtls_revoke=phon"),
    lambda it: (it.asked("revoke", "mtls_revoke=lost"), setattr(it, "succeeds", True)),
    lambda it: it.asked("rollover", "mtls_step=start"),
    lambda it: it.asked("doctor"),
]


def test_each_message_has_its_mistake():
    assert len(MADE) == len(IN_A_RUN)


@pytest.fixture
def mistake(running, tmp_path, monkeypatch) -> Iterator[Mistake]:
    """All is put back, and as it was: whoever could enter before still can."""
    site = running
    variables = copy.deepcopy((site.all_vars, site.host_vars))
    kept = site.folder / "kept"
    shutil.copytree(site.pki, kept, symlinks=True)
    conf = tree(site.hosts["nas"].folder / "conf.d")
    it = Mistake(site, tmp_path, monkeypatch)
    yield it
    it.undo.close()
    site.all_vars, site.host_vars = variables
    shutil.rmtree(site.pki)
    kept.rename(site.pki)
    assert tree(site.hosts["nas"].folder / "conf.d") == conf
    assert site.status(site.port, client="phone") in (200, 403)  # the files of the root, whatever they are
    assert site.status(site.port, client="lost") == 400


@pytest.mark.parametrize(("message", "make"), list(zip(IN_A_RUN, MADE, strict=True)))
def test_a_mistake_gets_its_message(mistake, message, make):
    make(mistake)
    run = mistake.site.run(*mistake.arguments, playbook=mistake.playbook)
    said = " ".join(run.text.split())
    assert (run.returncode == 0) is mistake.succeeds, run.text
    assert pattern(message).search(said), run.text
    assert "Traceback" not in said
    # Short enough to be read: Ansible shows the whole of a specification that is not met.
    assert len(run.text.partition("PLAY [")[2]) < 4500, run.text
