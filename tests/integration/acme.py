# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ACME server, Pebble, and hosts that it reaches on port 80: in a network of their own that has only loopback.

What certbot writes on a machine is there written to memory, and is gone afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
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
        keeper = subprocess.Popen([*self.inside, "unshare", "--net", "sleep", "infinity"])
        self._processes.append(keeper)
        net = f"/proc/{keeper.pid}/ns/net"
        _wait(lambda: os.readlink(net) != os.readlink(f"/proc/{self._keeper.pid}/ns/net"))
        near, far = f"near{len(self._processes)}", f"far{len(self._processes)}"
        there = ("nsenter", f"--net={net}")
        for command in (
            (*self.inside, "ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", str(keeper.pid)),
            (*self.inside, "ip", "address", "add", f"{address.rpartition('.')[0]}.254/24", "dev", near),
            (*self.inside, "ip", "link", "set", near, "up"),
            (*there, "ip", "address", "add", f"{address}/24", "dev", far),
            (*there, "ip", "link", "set", far, "up"),
            (*there, "ip", "route", "add", "default", "via", f"{address.rpartition('.')[0]}.254"),
            (*there, "ip", "link", "set", "lo", "up"),
        ):
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        python = self._folder / far
        python.write_text(f'#!/bin/sh\nexec nsenter --net={net} {sys.executable} "$@"\n')
        python.chmod(0o755)
        return str(python), there

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
    """The ACME server. Its certificates are valid for ``days``."""

    def __init__(self, network: Network, folder: pathlib.Path, days: float = 90) -> None:
        folder.mkdir()
        self._network = network
        self._folder = folder
        self.ca = folder / "ca.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-keyout", folder / "ca.key", "-out", self.ca, "-days", "3000", "-subj", "/CN=pebble"),
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
            "privateKey": str(self._folder / "ca.key"),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "certificateValidityPeriod": int(days * 86400),
        }
        (self._folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        self._process = self._network.start(
            "pebble",
            "-config",
            str(self._folder / "pebble.json"),
            PEBBLE_VA_NOSLEEP="1",
            PEBBLE_WFE_NONCEREJECT="0",
            PEBBLE_AUTHZREUSE="0",
        )
        with self._network.entered():
            _wait(_listens)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def restart(self, days: float) -> None:
        """Start anew: it has forgotten all accounts."""
        self.stop()
        self.start(days)


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
