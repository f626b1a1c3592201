# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxies as clients, with the very configurations of docs/proxies.md: a caller's request, and what came through."""

from __future__ import annotations

import contextlib
import pathlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.tests.gate.nginxes import REPOSITORY
from ansible_collections.mtls.nginx.tests.ports import free_port

from .gate import NAME
from .programs import PATH, SECONDS, Program, Said, Visit, program, said_by

DOC = REPOSITORY / "docs" / "proxies.md"
# Callers may say any name; the recipes must not hand it on.
_CALLERS_HOST = "front.test"


@dataclass(frozen=True)
class Proxy:
    """`heading` is where its configuration stands in docs/proxies.md; `started` is the command that runs it."""

    heading: str
    file: str
    version: Callable[[], str | None]
    started: Callable[[pathlib.Path, int], Sequence[object]]
    around: str = "@@"

    def configuration(self, visit: Visit, port: int) -> str:
        """The text of the page, with this visit's name, ports and paths."""
        text = self.around.replace("@@", recipe(self.heading).replace("8080", str(port)))
        if visit.files is None:
            text = without_certificate(text)
        else:
            for documented, here in {
                "/etc/proxy/gateway.crt": visit.files.certificate,
                "/etc/proxy/gateway.key": visit.files.key,
                "/etc/proxy/gateway.pem": visit.files.both,
            }.items():
                text = text.replace(documented, str(here))
        for documented, here in {
            "/etc/proxy/ca.crt": str(visit.ca),
            "nas.example.com:443": f"{NAME}:{visit.gate.port}",
            "port_value: 443": f"port_value: {visit.gate.port}",
            "nas.example.com": NAME,
            "@HOME@": str(visit.home),
        }.items():
            text = text.replace(documented, here)
        return text

    def ask(self, visit: Visit) -> Said:
        """A caller's request over plain HTTP; what the proxy itself said, if it cannot even start."""
        port = free_port()
        visit.home.mkdir()
        path = visit.home / self.file
        path.write_text(self.configuration(visit, port))
        with (visit.home / "said").open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in self.started(path, port)],
                cwd=visit.home,
                env={"HOME": str(visit.home), "PATH": PATH},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        with _ended(process):
            if not _listens(process, port):
                return visit.said(process.poll(), (visit.home / "said").read_bytes())
            asked = ("--silent", "--show-error", "--max-time", "20", "--header", f"Host: {_CALLERS_HOST}")
            deadline = time.monotonic() + SECONDS
            while True:
                said = visit.run("curl", *asked, "--write-out", "\\n%{http_code}", f"http://127.0.0.1:{port}/inside")
                # Traefik listens before it has read its file.
                if not said.text.endswith("\n404") or time.monotonic() > deadline:
                    return said
                time.sleep(0.2)


def recipe(heading: str) -> str:
    """The configuration below a heading of docs/proxies.md."""
    (text,) = re.findall(rf"^## {heading}$.*?^```\w+\n(.*?)^```$", DOC.read_text(), re.MULTILINE | re.DOTALL)
    return text


def without_certificate(text: str) -> str:
    """The same configuration, as it is before anybody has thought of the client certificate."""
    text = re.sub(r" crt /etc/proxy/gateway\.pem", "", text)
    text = re.sub(r"^ *tls_certificates:\n.*gateway\.crt.*\n.*gateway\.key.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^ *certificates:\n.*gateway\.key.*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^.*gateway\.(?:crt|key).*\n", "", text, flags=re.MULTILINE)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.05)
    return False


# Workers as root: the folders of tests are open to nobody else.
_NGINX = """\
daemon off;
user root;
worker_processes 1;
pid @HOME@/nginx.pid;
error_log @HOME@/error.log;
events {}
http {
access_log off;
client_body_temp_path @HOME@/body;
proxy_temp_path @HOME@/proxy;
fastcgi_temp_path @HOME@/fastcgi;
uwsgi_temp_path @HOME@/uwsgi;
scgi_temp_path @HOME@/scgi;
@@
}
"""

NGINX = Proxy(
    "nginx",
    "nginx.conf",
    said_by("nginx", "-v", pattern=r"nginx/(\S+)"),
    lambda path, _port: [program("nginx"), "-p", path.parent, "-c", path],
    _NGINX,
)
PROXIES = [
    NGINX,
    Proxy(
        "Caddy",
        "Caddyfile",
        said_by("caddy", "version", pattern=r"(?m)^v(\S+)"),
        lambda path, _port: [program("caddy"), "run", "--config", path],
        "{\n\tadmin off\n}\n@@",
    ),
    Proxy(
        "Traefik",
        "nas.yml",
        said_by("traefik", "version", pattern=r"Version:\s+(\S+)"),
        lambda path, port: [
            *(program("traefik"), f"--entryPoints.web.address=127.0.0.1:{port}", f"--providers.file.filename={path}"),
            *("--global.checkNewVersion=false", "--global.sendAnonymousUsage=false"),
        ],
    ),
    Proxy(
        "HAProxy",
        "haproxy.cfg",
        said_by("haproxy", "-v"),
        lambda path, _port: [program("haproxy"), "-db", "-f", path],
    ),
    Proxy(
        "Envoy",
        "envoy.yaml",
        said_by("envoy", "--version", pattern=r"/(\d+\.\d+\.\d+)/"),
        lambda path, _port: [program("envoy"), "-c", path, "--disable-hot-restart", "--concurrency", "1"],
    ),
]


def as_program(proxy: Proxy) -> Program:
    return Program(f"{proxy.heading} in front", proxy.version, proxy.ask, proxy=True)
