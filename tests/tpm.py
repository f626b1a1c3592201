# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TPM in software (swtpm) with a PKCS#11 token in it (tpm2-pkcs11), behind a resource manager of its own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.tokens import PIN, forget_library

# Debian has it where p11-kit looks.
LIBRARY = next(map(str, pathlib.Path("/usr/lib").glob("*/pkcs11/libtpm2_pkcs11.so")), "")
_PROGRAMS = ("swtpm", "tpm2-abrmd", "tpm2_ptool", "dbus-daemon")
MISSING = [name for name in _PROGRAMS if shutil.which(name, path="/usr/sbin:/usr/bin") is None]
LABEL = "tpm"


@contextlib.contextmanager
def new_tpm(folder: pathlib.Path) -> Iterator[dict[str, object]]:
    """Yield the modules' options `pkcs11` for an empty token; where to find it is in the environment meanwhile."""
    store, state, port = folder / "store", folder / "state", _two_free_ports()
    for each in (store, state):
        each.mkdir(parents=True)
    before = dict(os.environ)
    with contextlib.ExitStack() as running:
        _start(
            running,
            *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init,startup-clear"),
            *("--server", f"type=tcp,port={port},bindaddr=127.0.0.1"),
            *("--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1"),
        )
        bus = _start(running, "dbus-daemon", "--session", "--nofork", "--print-address")
        os.environ["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip()
        _wait_for(port)
        _start(running, "tpm2-abrmd", "--session", "--allow-root", "--tcti", f"swtpm:host=127.0.0.1,port={port}")
        os.environ |= {f"{name}_TCTI": "tabrmd:bus_type=session" for name in ("TPM2TOOLS", "TPM2_PKCS11")}
        os.environ |= {"TPM2_PKCS11_STORE": str(store), "TPM2_PKCS11_LOG_LEVEL": "0"}
        try:
            _tool("init", "--path", store, retries=20)
            pins = ("--userpin", PIN, "--sopin", "87654321")
            _tool("addtoken", "--path", store, "--pid", "1", "--label", LABEL, *pins)
            yield {"module": LIBRARY, "token": LABEL, "key": "ca", "pin": PIN, "pin_file": None}
        finally:
            forget_library(LIBRARY)
            os.environ.clear()
            os.environ.update(before)


def _two_free_ports() -> int:
    """Return a port after which one is free too: that of the TPM's control channel, as clients look for it."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError, OverflowError), socket.socket() as control:
            control.bind(("127.0.0.1", port + 1))
            return port


def _start(running: contextlib.ExitStack, *command: str) -> subprocess.Popen[str]:
    path = shutil.which(command[0], path="/usr/sbin:/usr/bin")
    process = subprocess.Popen([str(path), *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    running.callback(process.wait)
    running.callback(process.terminate)
    return process


def _wait_for(port: int) -> None:
    # By looking, not by connecting: swtpm serves one connection, and ends with it.
    wanted = f"0100007F:{port:04X} "
    for _attempt in range(100):
        if wanted in pathlib.Path("/proc/net/tcp").read_text():
            return
        time.sleep(0.1)
    raise AssertionError(f"swtpm does not listen on port {port}")


def _tool(*arguments: object, retries: int = 0) -> None:
    command = ["tpm2_ptool", *map(str, arguments)]
    for attempt in range(retries + 1):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if attempt < retries:  # the resource manager is not on the bus yet
            time.sleep(0.3)
    raise AssertionError(done.stderr)
