# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scenario's site: its inventory to change, `site.yml` to run, and real requests from outside the containers."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import testinfra
import yaml

_SECONDS = 10


@dataclass(frozen=True)
class Answer:
    status: int
    body: str


@dataclass(frozen=True)
class Run:
    """One run of ansible-playbook. `text` is all of its output."""

    returncode: int
    text: str

    @property
    def line(self) -> str:
        """The output as one line, however Ansible has wrapped it."""
        return " ".join(self.text.split())


class Site:
    """The copy of the scenario's inventory that its playbook runs with."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.pki = folder / "pki"
        self.addresses = {
            name: variables["mtls_probe_address"] for name, variables in self._hosts()["mtls_servers"]["hosts"].items()
        }

    def _hosts(self) -> dict:
        return yaml.safe_load((self.folder / "hosts.yml").read_text())

    @contextlib.contextmanager
    def variables(self, of: str) -> Iterator[dict]:
        """The variables in a file of the inventory, such as `host_vars/one`, to be changed in the `with`."""
        path = self.folder / f"{of}.yml"
        values = yaml.safe_load(path.read_text()) if path.exists() else {}
        yield values
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(values, sort_keys=False))

    def play(self, *arguments: str) -> Run:
        """Run the playbook on the inventory as it stands now."""
        done = subprocess.run(
            ["ansible-playbook", "-i", self.folder / "hosts.yml", "mtls.nginx.site", *arguments],
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def ok(self, *arguments: str) -> Run:
        run = self.play(*arguments)
        assert run.returncode == 0, run.text
        return run

    def refused(self, *arguments: str) -> Run:
        """Run, and expect a failure that a user can read."""
        run = self.play(*arguments)
        assert run.returncode != 0, run.text
        assert "Traceback" not in run.text, run.text
        return run

    def identity(self, client: str) -> tuple[str, str]:
        folder = self.pki / "clients" / client
        return str(folder / f"{client}.crt"), str(folder / f"{client}.key")

    def ask(
        self,
        host: str,
        name: str,
        path: str = "/",
        *,
        client: str | None = None,
        identity: tuple[str, str] | None = None,
        port: int = 443,
        trust: pathlib.Path | None = None,
    ) -> Answer:
        """One GET over a TLS connection of its own, to a server whose certificate must be good for the name."""
        context = ssl.create_default_context(cafile=trust or self.pki / "ca.crt")
        if client:
            identity = self.identity(client)
        if identity:
            context.load_cert_chain(*identity)
        connection = http.client.HTTPSConnection(name, port, timeout=_SECONDS)
        with socket.create_connection((self.addresses[host], port), timeout=_SECONDS) as raw:
            connection.sock = context.wrap_socket(raw, server_hostname=name)
            connection.request("GET", path)
            response = connection.getresponse()
            answer = Answer(response.status, response.read().decode())
            connection.close()
        return answer

    def status(self, host: str, name: str, path: str = "/", **who: object) -> int:
        return self.ask(host, name, path, **who).status


def container(name: str) -> testinfra.host.Host:
    """A host of the scenario, asked by way of the engine."""
    return testinfra.get_host(f"docker://{name}")


@pytest.fixture(scope="session")
def site() -> Site:
    return Site(pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "site")


@pytest.fixture(scope="session")
def on():
    """`on(NAME)`: a host of the scenario."""
    return container
