# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host for what changes it: a folder as its /etc/nginx, and a real nginx that the collection starts there."""

from __future__ import annotations

import datetime
import os
import pathlib
import shutil

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.host import transaction
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, GateProbe, WantedFile
from ansible_collections.mtls.nginx.plugins.module_utils.host.transaction import TransactionOutcome
from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.trees import Entry, tree

BINARY = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
MARKER = "# Managed by mtls.nginx\n"


def self_signed(name: str, days: int = 1) -> tuple[bytes, bytes]:
    """A certificate that is its own CA, and its key."""
    now = datetime.datetime.now(datetime.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Host:
    """A folder as a host's /etc/nginx, and the nginx that runs with it."""

    def __init__(self, root: pathlib.Path, pair: tuple[bytes, bytes]) -> None:
        self.root = root
        self.certificate, self.key = pair
        self.conf = root / "etc" / "nginx"
        for folder in (self.conf / "conf.d", self.conf / "sites-enabled", root / "log", root / "tmp"):
            folder.mkdir(parents=True)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{kind}_temp_path {root}/tmp/{kind};" for kind in kinds)
        self.main = self.conf / "nginx.conf"
        self.main.write_text(
            f"user root; worker_processes 2; pid {root}/nginx.pid; error_log {root}/log/error.log;\n"
            "events { worker_connections 64; }\n"
            f"http {{ access_log off; {temporary}\n"
            f"include {self.conf}/conf.d/*.conf;\ninclude sites-enabled/*;\n}}\n"
        )
        self.port = free_port()
        self.nginx = Nginx(str(BINARY), str(self.main))

    def path(self, name: str) -> str:
        return str(self.conf / name)

    def server(self, status: int = 200, more: str = "") -> WantedFile:
        """A service with client certificates: 400 without one, whatever the status."""
        text = (
            f"{MARKER}server {{\n listen 127.0.0.1:{self.port} ssl; server_name a.test;\n"
            f" ssl_certificate {self.path('server-certs/a.crt')};\n"
            f" ssl_certificate_key {self.path('server-certs/a.key')};\n"
            f" ssl_client_certificate {self.path('client-certs/ca.crt')}; ssl_verify_client optional;\n"
            f" access_log {self.root}/log/a.log;\n return {status};\n {more}\n}}\n"
        )
        return WantedFile(self.path("conf.d/mtls-a.conf"), text.encode())

    def wanted(self, status: int = 200, more: str = "") -> list[WantedFile]:
        return [
            WantedFile(self.path("client-certs/ca.crt"), self.certificate),
            WantedFile(self.path("server-certs/a.crt"), self.certificate),
            self.server(status, more),
            WantedFile(self.path("server-certs/a.key"), self.key, 0o600, secret=True),
        ]

    def apply(self, *wanted: WantedFile, **options: object) -> TransactionOutcome:
        return transaction.run(self.nginx, ChangeRequest(wanted=wanted, **options))

    def serve(self, status: int, **options: object) -> TransactionOutcome:
        """Make the service answer with a status."""
        return self.apply(*self.wanted(status), gates=[GateProbe("127.0.0.1", self.port, "a.test", status)], **options)

    def status(self) -> str:
        """What the service answers now."""
        target = probe.Target("127.0.0.1", self.port, "a.test")
        return probe.ask(target, probe.Attempt("no certificate", 200)).got

    def tree(self) -> dict[str, Entry]:
        """All that is below the configuration folder."""
        return tree(self.conf)

    def workers(self) -> set[int]:
        master = self.nginx.master()
        assert master is not None
        return {worker.pid for worker in self.nginx.workers(master)}

    def accepts(self) -> bool:
        return self.nginx.test().accepted


def forked(work) -> int:
    """Run something in a process of its own, which ends with status 0 if it raises nothing."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid
