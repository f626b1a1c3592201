# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with a real nginx: a folder as its /etc/nginx, one loopback port, started and ended by the suite."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence

from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_files import host_files
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_view import CrlServer, NginxHost
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import Publication
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewals import Offer
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.tests.ports import free_port

from . import pki
from .nginxes import REPOSITORY, Build

# `trial.py` puts others in their place.
TEMPLATES = str(REPOSITORY / "roles" / "server" / "templates")
_SECONDS = 15
_DIRECTIVES = (
    "map_hash_bucket_size",
    "resolver",
    "server_names_hash_bucket_size",
    "variables_hash_bucket_size",
    "variables_hash_max_size",
)
_PAGES = ("index.html", "secret", "api/secret", "page.php", "exact", "exactly", "open/index.html", "open/page")

# Workers as root: the folder is below pytest's, which nobody else may enter.
_MAIN = """\
daemon off;
user root;
worker_processes 1;
pid nginx.pid;
error_log log/error.log info;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path tmp/body;
    proxy_temp_path       tmp/proxy;
    fastcgi_temp_path     tmp/fastcgi;
    uwsgi_temp_path       tmp/uwsgi;
    scgi_temp_path        tmp/scgi;
    @HTTP@
    include conf.d/*.conf;
}
"""

# What Debian's nginx.conf, like most, says of TLS: the http block in which hand-written server blocks live.
USUAL_HTTP = """\
    ssl_protocols       TLSv1.2 TLSv1.3;
    ssl_certificate     own/server.crt;
    ssl_certificate_key own/server.key;
"""


class Host:
    """One nginx on one port. Paths in its configuration are relative to its folder.

    In hand-written text, `@PORT@` stands for the port, and other upper-case words for what `words` says.
    """

    def __init__(self, build: Build, folder: pathlib.Path, **words: str) -> None:
        self.build = build
        self.folder = folder
        self.port = free_port()
        self.plain_port = free_port()
        self.error_pages = True
        self.error_page_template: str | None = None
        self.name_servers: Sequence[str] = ()
        self.shutdown_timeout: int | None = None
        self.names: Mapping[str, str | None] = {}
        self.system_ca: str | None = None
        self.session_resumption = True
        self.crl_server: CrlServer | None = None
        self.version = build.version
        self._words = {"PORT": str(self.port), "PLAIN": str(self.plain_port), "FOLDER": str(folder), **words}
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("conf.d", "log", "tmp", "own", "www/open/deeper", "www/api"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name in _PAGES:
            (folder / "www" / name).write_text(f"CONTENT OF {name}")

    @property
    def nginx(self) -> NginxHost:
        """What our rendering is told of this host."""
        conf_path = str(self.folder / "nginx.conf")
        configuration = nginx_conf.load(conf_path)
        directives = {name: configuration.own_value(name, ("http",)) for name in _DIRECTIVES}
        log_dir = str(self.folder / "log")
        return NginxHost(
            self.version,
            False,
            conf_path,
            log_dir,
            directives,
            error_pages=self.error_pages,
            error_page_template=self.error_page_template,
            name_servers=self.name_servers,
            names=self.names,
            shutdown_timeout=self.shutdown_timeout,
            crl_server=self.crl_server,
            system_ca=self.system_ca,
            ssi=True,
            own_ports=nginx_conf.own_ports(configuration),
            session_resumption=self.session_resumption,
        )

    def write(self, path: str, text: str) -> None:
        for word, value in self._words.items():
            text = text.replace(f"@{word}@", value)
        _put(self.folder / path, text)

    def by_hand(self, text: str, *, http: str = USUAL_HTTP, authority: pki.Authority | None = None) -> None:
        """A configuration as people write it: `own/ca.crt` and `own/crl.pem` are the authority's."""
        self.write("nginx.conf", _MAIN.replace("@HTTP@", http))
        self.write("conf.d/site.conf", text)
        if authority:
            self.write("own/ca.crt", authority.chain)
            self.write("own/crl.pem", authority.crl)

    def ours(
        self,
        services: Sequence[Mapping[str, object]],
        authority: pki.Authority,
        *,
        http: str = USUAL_HTTP,
        neighbours: Mapping[str, str] | None = None,
        chain: str | None = None,
        crl: str | None = None,
        others: Mapping[str, pki.Authority] | None = None,
        exempt: Sequence[str] = (),
        upstream_cas: Mapping[str, str] | None = None,
        offers: Mapping[str, Sequence[Offer]] | None = None,
    ) -> None:
        """Our configuration, rendered by the collection.

        `others` are the authorities of services that name one of their own, by that name. `exempt` are exempt networks
        of every service, loopback too, which an inventory may not name. `neighbours` are server blocks of the host's
        own by file name; before `mtls` in the alphabet they come first. `upstream_cas` are PEM texts by service,
        `offers` clients' next certificates by the names of `others`.
        """
        self.write("nginx.conf", _MAIN.replace("@HTTP@", http))
        for name, text in (neighbours or {}).items():
            self.write(f"conf.d/{name}.conf", text)
        parsed = parse_services("tested", [{"listen": f"127.0.0.1:{self.port}", **service} for service in services])
        if exempt:
            parsed = [dataclasses.replace(service, exempt_networks=tuple(exempt)) for service in parsed]
        published = {
            trust: Publication(
                (chain if trust == "" else None) or issuer.chain,
                (crl if trust == "" else None) or issuer.crl,
                {
                    name: [issuer.clients[name].dn]
                    for service in parsed
                    if service.trust == trust
                    for name in service.named
                },
                {},
                {service.name: self._credential for service in parsed},
                {
                    service.name: pki.credential(issuer.clients[service.upstream_client])
                    for service in parsed
                    if service.trust == trust and service.upstream_client
                },
            )
            for trust, issuer in {"": authority, **(others or {})}.items()
        }
        wanted = host_files(self.nginx, parsed, published, TEMPLATES, upstream_cas=upstream_cas, offers=offers)
        for item in [*wanted.files, *wanted.secrets]:
            _put(pathlib.Path(item["path"]), item["content"])
        for item in wanted.renewals["files"]:
            path = pathlib.Path(wanted.renewals["folder"]) / item["name"]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(base64.b64decode(item["content"]))

    def serve_as(self, identity: pki.Identity) -> None:
        """The server certificate for all server blocks, ours and others."""
        self._credential = pki.credential(identity)
        self.write("own/server.crt", self._credential.certificate)
        self.write("own/server.key", self._credential.key)

    def start(self) -> Host:
        self._process = subprocess.Popen(
            [*self.build.command, "-p", str(self.folder), "-c", "nginx.conf"],
            cwd=self.folder,
            env={"OPENSSL_CONF": "/dev/null"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log" / "start").open("wb"),
        )
        _wait(self._serves, self._said)
        return self

    def reload(self) -> None:
        """Reload, and wait until none but new workers are left."""
        before = self._workers()
        self._process.send_signal(signal.SIGHUP)
        _wait(lambda: self._workers() and not self._workers() & before, self._said)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _serves(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"{self.build} did not start: {self._said()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def worker_seconds(self) -> float:
        """The processor time that the workers have used."""
        nanoseconds = (pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in self._workers())
        return sum(map(int, nanoseconds)) / 1e9

    def _workers(self) -> set[int]:
        pid = self._process.pid
        return set(map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def _said(self) -> str:
        files = [self.folder / "log" / "start", self.folder / "log" / "error.log"]
        return "\n".join(path.read_text()[-2000:] for path in files if path.exists())


def _put(path: pathlib.Path, text: str) -> None:
    """Put a new file in the old one's place, as the transaction does; here without waiting for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)


def _wait(condition, said) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"nothing happened within {_SECONDS} seconds: {said()}")
        time.sleep(0.005)
