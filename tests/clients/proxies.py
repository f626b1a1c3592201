# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxies as clients, with the very configurations of docs/proxies.md: a caller's request, and what came through."""

from __future__ import annotations

import pathlib
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.tests.gate.nginxes import REPOSITORY
from ansible_collections.mtls.nginx.tests.ports import free_port

from .gate import NAME, SECOND
from .processes import PATH, ended, listens
from .programs import SECONDS, Program, Said, Visit, program, said_by

DOC = REPOSITORY / "docs" / "proxies.md"
# Callers may say any name; the recipes must not hand it on.
_CALLERS_HOST = "front.test"


@dataclass(frozen=True)
class Proxy:
    """`heading` is where its configuration stands in docs/proxies.md; `started` is the command that runs it.

    `passing` are replacements by which it hands on whatever name its callers say, over HTTP/2 if it can.
    """

    heading: str
    file: str
    version: Callable[[], str | None]
    started: Callable[[pathlib.Path, int], Sequence[object]]
    passing: Sequence[tuple[str, str]]
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
        return self._passed_on(visit, self.configuration, [(_CALLERS_HOST, "/inside")])

    def ask_second(self, visit: Visit) -> Said:
        """Two requests of a caller's, the second one for another name, through a proxy that passes names on."""

        def configuration(*arguments) -> str:
            text = self.configuration(*arguments)
            for documented, instead in self.passing:
                if documented not in text:
                    raise AssertionError(f"docs/proxies.md, {self.heading}: no {documented!r}")
                text = text.replace(documented, instead)
            return text

        return self._passed_on(visit, configuration, [(NAME, "/inside"), (SECOND, "/inside/second")])

    def _passed_on(
        self, visit: Visit, configuration: Callable[[Visit, int], str], requests: Sequence[tuple[str, str]]
    ) -> Said:
        port = free_port()
        visit.home.mkdir()
        path = visit.home / self.file
        path.write_text(configuration(visit, port))
        with (visit.home / "said").open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in self.started(path, port)],
                cwd=visit.home,
                env={"HOME": str(visit.home), "PATH": PATH},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        with ended(process):
            if not listens(process, port):
                return visit.said(process.poll(), (visit.home / "said").read_bytes())
            deadline = time.monotonic() + SECONDS
            for host, asked in requests:
                said = _call(visit, port, host, asked)
                # Traefik listens before it has read its file.
                while said.text.endswith("\n404") and time.monotonic() < deadline:
                    time.sleep(0.2)
                    said = _call(visit, port, host, asked)
        return said


def _call(visit: Visit, port: int, host: str, path: str) -> Said:
    asked = (
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--header",
        f"Host: {host}",
        "--write-out",
        "\\n%{http_code}",
    )
    return visit.run("curl", *asked, f"http://127.0.0.1:{port}{path}")


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

_ENVOY_HTTP2 = """\
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {http2_protocol_options: {}}
"""

NGINX = Proxy(
    "nginx",
    "nginx.conf",
    said_by("nginx", "-v", pattern=r"nginx/(\S+)"),
    lambda path, _port: [program("nginx"), "-p", path.parent, "-c", path],
    [(f"Host         {NAME};", "Host         $host;")],
    _NGINX,
)
PROXIES = [
    NGINX,
    Proxy(
        "Caddy",
        "Caddyfile",
        said_by("caddy", "version", pattern=r"(?m)^v(\S+)"),
        lambda path, _port: [program("caddy"), "run", "--config", path],
        [(f"header_up Host {NAME}", "header_up Host {http.request.host}")],
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
        [("passHostHeader: false", "passHostHeader: true")],
    ),
    Proxy(
        "HAProxy",
        "haproxy.cfg",
        said_by("haproxy", "-v"),
        lambda path, _port: [program("haproxy"), "-db", "-f", path],
        [(f"http-request set-header Host {NAME}", ""), (f"sni str({NAME})", f"sni str({NAME}) alpn h2")],
    ),
    Proxy(
        "Envoy",
        "envoy.yaml",
        said_by("envoy", "--version", pattern=r"/(\d+\.\d+\.\d+)/"),
        lambda path, _port: [program("envoy"), "-c", path, "--disable-hot-restart", "--concurrency", "1"],
        [
            (f", host_rewrite_literal: {NAME}", ""),
            ("      type: STRICT_DNS\n", f"      type: STRICT_DNS\n{_ENVOY_HTTP2}"),
        ],
    ),
]


def as_program(proxy: Proxy) -> Program:
    return Program(f"{proxy.heading} in front", proxy.version, proxy.ask, proxy=True, second=proxy.ask_second)
