# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ACME server, Pebble, and hosts that it reaches on port 80: in a network of their own that has only loopback.

What certbot writes on a machine is there written to memory, and is gone afterwards.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

_ADDRESS = "10.22.0.1"
DIRECTORY_URL = f"https://{_ADDRESS}:14000/dir"
PROGRAMS = all(map(shutil.which, ("pebble", "certbot", "unshare", "nsenter")))
# The folder, then a line of /etc/hosts for each name.
_ENTER = """
set -eu
folder=$1
shift
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder/over"
for place in /etc /var/lib /var/log; do
    mkdir -p "$folder/over$place/upper" "$folder/over$place/work"
    upper=$folder/over$place
    mount -t overlay overlay -o "lowerdir=$place,upperdir=$upper/upper,workdir=$upper/work" "$place"
done
rm -rf /etc/letsencrypt/*/ /var/lib/mtls-acme
printf '%s\\n' "$@" >>/etc/hosts
ip link set lo up
ip address add 10.22.0.1/32 dev lo
touch "$folder/ready"
exec sleep infinity
"""


class Network:
    """A network with loopback and nothing else; ``names`` are what resolves there, with addresses of loopback."""

    def __init__(self, folder: pathlib.Path, names: dict[str, str]) -> None:
        self._folder = folder
        (folder / "over").mkdir(parents=True)
        lines = [f"{address} {name}" for name, address in names.items()]
        self._keeper = subprocess.Popen(["unshare", "--net", "--mount", "sh", "-c", _ENTER, "sh", str(folder), *lines])
        self._processes: list[subprocess.Popen[bytes]] = []
        _wait((folder / "ready").exists)
        self.inside = ("nsenter", f"--net=/proc/{self._keeper.pid}/ns/net", f"--mount=/proc/{self._keeper.pid}/ns/mnt")

    def neighbour(self, address: str) -> tuple[str, tuple[str, ...]]:
        """Make another network, which is reached at ``address``: a host of its own.

        Returns a Python that runs there, and the words that have a command of this network run there.
        """
        command = [*self.inside, "unshare", "--net", "sh", "-c", "echo; exec sleep infinity"]
        keeper = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._processes.append(keeper)
        assert keeper.stdout.readline()  # it is in its own network, and no longer in this machine's or in ours
        net = f"/proc/{keeper.pid}/ns/net"
        self.connect(keeper.pid, address)
        there = ("nsenter", f"--net={net}")
        python = self._folder / f"python-{address}"
        python.write_text(f'#!/bin/sh\nexec nsenter --net={net} {sys.executable} "$@"\n')
        python.chmod(0o755)
        return str(python), there

    def connect(self, pid: int | str, address: str) -> None:
        """Have the network of a process reached at ``address``."""
        near, far = f"near{address.replace('.', '')}", f"far{address.replace('.', '')}"
        there = ("nsenter", f"--net=/proc/{pid}/ns/net")
        gateway = f"{address.rpartition('.')[0]}.254"
        for command in (
            (*self.inside, "ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", str(pid)),
            (*self.inside, "ip", "address", "add", f"{gateway}/24", "dev", near),
            (*self.inside, "ip", "link", "set", near, "up"),
            (*there, "ip", "address", "add", f"{address}/24", "dev", far),
            (*there, "ip", "link", "set", far, "up"),
            (*there, "ip", "route", "add", "default", "via", gateway),
            (*there, "ip", "link", "set", "lo", "up"),
        ):
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with open(self._folder / f"{pathlib.Path(command[0]).name}.log", "ab") as log:
            process = subprocess.Popen(
                [*self.inside, *command],
                cwd=self._folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)
        return process

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.inside, *command],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )

    @contextlib.contextmanager
    def entered(self):
        """This thread's sockets are inside meanwhile."""
        with open("/proc/thread-self/ns/net", "rb") as own, open(f"/proc/{self._keeper.pid}/ns/net", "rb") as net:
            _setns(net.fileno())
            try:
                yield
            finally:
                _setns(own.fileno())

    def end(self) -> None:
        for process in [*reversed(self._processes), self._keeper]:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


class Pebble:
    """The ACME server. Its certificates are valid for ``days``, or as long as those of one of its ``profiles``.

    ``program`` is another build of it; older ones have no profiles.
    """

    def __init__(
        self,
        network: Network,
        folder: pathlib.Path,
        days: float = 90,
        program: pathlib.Path | str = "pebble",
        profiles: dict[str, float] | None = None,
    ) -> None:
        folder.mkdir()
        self._program = str(program)
        self._profiles = profiles or {}
        self.network = network
        self._folder = folder
        self.key = folder / "ca.key"
        self.ca = folder / "ca.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-keyout", self.key, "-out", self.ca, "-days", "3000", "-subj", "/CN=pebble"),
                *("-addext", "subjectAltName=IP:" + _ADDRESS),
            ],
            capture_output=True,
            check=True,
        )
        self.start(days)

    def start(self, days: float) -> None:
        settings = {
            "listenAddress": f"{_ADDRESS}:14000",
            "managementListenAddress": f"{_ADDRESS}:15000",
            "certificate": str(self.ca),
            "privateKey": str(self.key),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "domainBlocklist": ["blocked.test"],
            "certificateValidityPeriod": int(days * 86400),
        }
        if self._profiles:
            settings["profiles"] = {
                name: {"description": name, "validityPeriod": int(valid * 86400)}
                for name, valid in self._profiles.items()
            }
        (self._folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        self._process = self.network.start(
            self._program,
            "-config",
            str(self._folder / "pebble.json"),
            PEBBLE_VA_NOSLEEP="1",
            PEBBLE_WFE_NONCEREJECT="0",
            PEBBLE_AUTHZREUSE="0",
        )
        with self.network.entered():
            _wait(_listens)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def restart(self, days: float) -> None:
        """Start anew: it has forgotten all accounts."""
        self.stop()
        self.start(days)


class Front:
    """What stands before Pebble, and refuses what Pebble never does: `refusals` are answers by a part of the path.

    An answer has the name of a problem (RFC 8555, 6.7), a status and the words.
    """

    directory_url = f"https://{_ADDRESS}:14002/dir"

    def __init__(self, pebble: Pebble) -> None:
        self.refusals: dict[str, tuple[str, int, str]] = {}
        self._pebble = pebble
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                front.answer(self)

            do_GET = do_HEAD = do_POST

            def log_message(self, *arguments: object) -> None:
                pass

        with pebble.network.entered():
            self._server = http.server.ThreadingHTTPServer((_ADDRESS, 14002), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pebble.ca, pebble.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, asked: http.server.BaseHTTPRequestHandler) -> None:
        body = asked.rfile.read(int(asked.headers.get("Content-Length", 0)))
        refusal = next((self.refusals[part] for part in self.refusals if part in asked.path), None)
        method = asked.command
        if method == "POST" and refusal:
            # With a nonce, as with all answers.
            _status, headers, _content = self._ask("HEAD", "/nonce-plz", b"", {})
            name, status, words = refusal
            problem = {"type": f"urn:ietf:params:acme:error:{name}", "detail": words, "status": status}
            content = json.dumps(problem).encode()
            headers = [*headers, ("Content-Type", "application/problem+json")]
        else:
            status, headers, content = self._ask(method, asked.path, body, dict(asked.headers))
        asked.send_response(status)
        for key, value in headers:
            if key.lower() not in ("connection", "content-length", "transfer-encoding"):
                asked.send_header(key, value)
        asked.send_header("Content-Length", str(len(content)))
        asked.end_headers()
        if method != "HEAD":
            asked.wfile.write(content)

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]):
        context = ssl.create_default_context(cafile=str(self._pebble.ca))
        connection = http.client.HTTPSConnection(_ADDRESS, 14000, context=context, timeout=30)
        with self._pebble.network.entered():
            connection.connect()
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def served(network: Network, name: str, address: str = "127.0.0.1", port: int = 443) -> bytes:
    """Return the certificate that is served, in DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        network.entered(),
        socket.create_connection((address, port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=name) as connection,
    ):
        return connection.getpeercert(binary_form=True)


def _setns(descriptor: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


def _listens() -> bool:
    with contextlib.suppress(OSError), socket.create_connection((_ADDRESS, 14000), timeout=1):
        return True
    return False


def _wait(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not start"
        time.sleep(0.05)
