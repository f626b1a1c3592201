# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where private keys, passphrases and passwords go, as the kernel sees it: strace follows whole runs.

Files and directories of the authority are private from the call that creates them on, whatever the umask; what is
secret is written to such files and to the pipes between a run's own processes, and nowhere else: not to the output,
the system's log, a temporary file, the arguments or the environment of a process.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT

from .conftest import PASSPHRASE, SITE

PASSWORD = "staple-for-the-phone"
CALLS = (
    "open,openat,?openat2,creat,mkdir,mkdirat,chmod,fchmod,fchmodat,?fchmodat2,execve,execveat,"
    "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,link,linkat,rename,renameat,renameat2,symlink"
)
_CALL = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2}|[^>\\])*)>")
_MODE = re.compile(r", (0\d+)(?:\)| <unfinished)")
WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg")
PUBLIC = (".crt", ".csr", ".html", ".pem")


@dataclasses.dataclass(frozen=True)
class Call:
    """One system call: what it was given, as far as it matters here."""

    name: str
    arguments: str

    @property
    def texts(self) -> list[bytes]:
        return [_bytes(text) for text in _TEXT.findall(self.arguments)]

    @property
    def path(self) -> str:
        return os.fsdecode(self.texts[0]) if self.texts else ""

    @property
    def mode(self) -> int | None:
        found = _MODE.search(self.arguments)
        return int(found[1], 8) if found else None

    @property
    def descriptor(self) -> tuple[int, str]:
        """The number of its first file descriptor, and what that leads to."""
        found = _DESCRIPTOR.search(self.arguments)
        return (int(found[1]), os.fsdecode(_bytes(found[2]))) if found else (-1, "")


def _bytes(text: str) -> bytes:
    return re.sub(rb"\\x(..)", lambda found: bytes.fromhex(found[1].decode()), text.encode())


@pytest.fixture(scope="session")
def strace() -> list[str]:
    """The command that follows another one; skips where that cannot be done."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed: apt-get install strace")
    tried = subprocess.run(
        [program, "-f", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"strace may not follow processes here: {tried.stderr.strip()}")
    return [program, "-f", "-qq", "-y", "-xx", "-s", "4194304", "--seccomp-bpf", "-e", f"trace={CALLS}"]


def calls_in(log: pathlib.Path) -> list[Call]:
    calls = []
    for line in log.read_text().splitlines():
        found = _CALL.match(line)
        if found:
            calls.append(Call(found["name"], found["arguments"]))
    return calls


@pytest.fixture
def system_log():
    """What reaches the system's log while the test runs, where there is none that listens."""
    path, received = "/dev/log", []
    if os.path.lexists(path) or os.geteuid() != 0:
        yield received
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(0.1)
        done = threading.Event()

        def listen() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    received.append(listener.recv(1 << 20))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield received
        finally:
            done.set()
            thread.join()
            os.unlink(path)


def secrets_below(folder: pathlib.Path, *given: str) -> dict[str, bytes]:
    """What must not be seen: the words given, generated passwords, and each private key in the forms it might take."""
    secrets = {f"given {number}": text.encode() for number, text in enumerate(given)}
    for path in folder.rglob("*.p12.password"):
        secrets[str(path)] = path.read_bytes().strip()
    for path in folder.rglob("*.key"):
        data = path.read_bytes()
        lines = data.splitlines()
        secrets[f"{path} as text"] = lines[len(lines) // 2]
        secrets[f"{path} as DER"] = base64.b64decode(b"".join(lines[1:-1]))[-40:]
        with contextlib.suppress(TypeError):  # encrypted
            secrets[f"{path} as a number"] = private_number(data)
    assert all(len(secret) > 15 for secret in secrets.values())
    return secrets


def private_number(pem: bytes) -> bytes:
    numbers = serialization.load_pem_private_key(pem, None).private_numbers()
    number = numbers.p if isinstance(numbers, rsa.RSAPrivateNumbers) else numbers.private_value
    return number.to_bytes((number.bit_length() + 7) // 8, "big")[4:]


def check_files(calls: list[Call], folder: pathlib.Path) -> int:
    """Check each file and directory that was made below ``folder``; return how many secret files there were."""
    secret = 0
    for call in calls:
        if call.name in ("mkdir", "mkdirat") and call.path.startswith(str(folder)):
            assert call.mode == 0o700, call
        elif "O_CREAT" in call.arguments and call.path.startswith(str(folder)):
            assert call.mode is not None, call
            public = pathlib.Path(call.path.removesuffix(".new")).suffix in PUBLIC
            assert call.mode == 0o600 or (public and call.mode == 0o644), call
            assert "O_EXCL" in call.arguments or call.path.endswith(("/.lock", "/audit.log")), call  # appended to
            secret += not public
        elif call.name.startswith(("chmod", "fchmod")):
            target = call.path or call.descriptor[1]
            if target.startswith(str(folder)) and pathlib.Path(target.removesuffix(".new")).suffix not in PUBLIC:
                assert call.mode in (0o600, 0o700), call
    return secret


def check_writes(calls: list[Call], secrets: dict[str, bytes], *places: pathlib.Path) -> set[str]:
    """Check where secrets were written: to files below ``places`` and to pipes of the run's own; return which were."""
    written = set()
    for call in calls:
        if call.name not in WRITES:
            continue
        number, target = call.descriptor
        data = b"".join(call.texts)
        for name, secret in secrets.items():
            if secret in data:
                written.add(name)
                private = target.startswith(tuple(str(place) for place in places))
                pipe = target.startswith("pipe:") and number > 2
                assert private or pipe, f"{name} was written to {number}, {target}"
    return written


MODULES = {
    "ca_init": {"subject": SUBJECT, "key_type": "rsa", "key_size": 2048, "passphrase": PASSPHRASE},
    "client_cert": {
        "clients": [
            {"name": "phone", "p12_password": PASSWORD},
            *({"name": f"c{number}", "key_type": kind} for number, kind in enumerate(["ecdsa", "ecdsa", "rsa"])),
        ]
    },
    "server_cert": {"servers": [{"host": f"h{n}", "name": "web", "server_names": [f"h{n}.lan"]} for n in range(4)]},
    "crl": {"days": 90, "refresh_before": 60},
}


def test_each_module_keeps_secrets_from_the_first_call_on(strace, system_log, tmp_path):
    pki, elsewhere = tmp_path / "pki", tmp_path / "tmp"
    elsewhere.mkdir()
    calls, outputs = [], []
    for name, options in MODULES.items():
        place = {"path": str(pki)} if name == "ca_init" else {"ca_path": str(pki), "ca_passphrase": PASSPHRASE}
        arguments = {"ANSIBLE_MODULE_ARGS": {**options, **place, "_ansible_diff": True, "_ansible_verbosity": 4}}
        log = tmp_path / f"{name}.strace"
        done = subprocess.run(
            [*strace, "-o", log, sys.executable, "-m", f"ansible_collections.mtls.nginx.plugins.modules.{name}"],
            input=json.dumps(arguments).encode(),
            env={
                # Not what has it measured for `make coverage`, which writes files too.
                **{name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TMPDIR": str(elsewhere),
            },
            capture_output=True,
            umask=0,
            check=False,
        )
        assert json.loads(done.stdout)["changed"], done
        calls.append(calls_in(log))
        outputs += [done.stdout, done.stderr]
        log.unlink()

    secrets = secrets_below(pki, PASSPHRASE, PASSWORD)
    assert len(secrets) == 2 + 3 + 2 + 3 * 8  # words, passwords, the encrypted key, and the others
    seen = set()
    for of_one in calls:
        seen |= check_writes(of_one, secrets, pki)
        assert [call.name for call in of_one].count("execve") == 1, "a program was started"
    assert seen >= {name for name in secrets if name.endswith((".password", "as text"))}, "strace missed something"
    assert sum(check_files(of_one, pki) for of_one in calls) > 20
    made = {call.path for of_one in calls for call in of_one if re.search("O_CREAT|O_WRONLY|O_RDWR", call.arguments)}
    strange = {path for path in made if not path.startswith((str(pki), "/dev/"))}
    assert strange == set(), "files were written elsewhere"
    assert list(elsewhere.iterdir()) == []
    for output in (*outputs, *system_log):
        assert not [name for name, secret in secrets.items() if secret in output]


def test_no_process_shows_a_secret_while_it_runs(tmp_path):
    """Arguments and environment of all processes of a run, looked at again and again."""
    pki = tmp_path / "pki"
    looked = 0
    for name, options in MODULES.items():
        place = {"path": str(pki)} if name == "ca_init" else {"ca_path": str(pki), "ca_passphrase": PASSPHRASE}
        with subprocess.Popen(
            [sys.executable, "-m", f"ansible_collections.mtls.nginx.plugins.modules.{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        ) as process:
            process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {**options, **place}}).encode())
            process.stdin.close()
            while process.poll() is None:
                for shown in shown_by_session(process.pid):
                    looked += 1
                    assert PASSPHRASE.encode() not in shown
                    assert PASSWORD.encode() not in shown
                    assert b"PRIVATE KEY" not in shown
                time.sleep(0.01)
        assert process.returncode == 0
    assert looked > 50


def shown_by_session(session: int) -> list[bytes]:
    shown = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(entry.name)) == session:
                shown += [(entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()]
    return shown


@pytest.mark.long
def test_a_whole_run_of_the_playbook_keeps_secrets(strace, site, tmp_path):
    """From ansible-playbook to nginx, in every process in between."""
    port = free_port()
    nginx = site.add_host("nas", mtls_clients=[{"name": "phone", "p12_password": PASSWORD}, {"name": "tablet"}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{port}", "root": "/srv"}
    ]
    site.write()
    log, elsewhere = tmp_path / "strace", tmp_path / "tmp"
    elsewhere.mkdir()
    output = tmp_path / "output"
    with (
        output.open("wb") as stream,
        subprocess.Popen(
            [*strace, "-o", log, "ansible-playbook", "-i", site.source, SITE, "--diff", "-vvv"],
            env={
                **os.environ,
                "ANSIBLE_LOCAL_TEMP": str(elsewhere / "local"),
                "ANSIBLE_REMOTE_TEMP": str(elsewhere / "remote"),
                "ANSIBLE_LOG_PATH": str(elsewhere / "ansible.log"),
                "TMPDIR": str(elsewhere),
            },
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        ) as process,
    ):
        deadline = time.monotonic() + 120
        while b"PLAY RECAP" not in output.read_bytes() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        nginx.stop()  # strace follows it, too
        process.wait(10)
    said = output.read_text()
    assert re.search("failed=0 .*", said.partition("PLAY RECAP")[2]), said
    calls = calls_in(log)
    log.unlink()
    secrets = secrets_below(site.pki, PASSPHRASE, PASSWORD)
    # The one private key that leaves the controller is the server's.
    assert check_writes(calls, secrets, site.pki, nginx.folder / "server-certs", pathlib.Path("/memfd:secret"))
    for call in calls:
        if call.name == "execve":
            assert not [name for name, secret in secrets.items() if any(secret in text for text in call.texts)]
    for shown in (said.encode(), (elsewhere / "ansible.log").read_bytes()):
        assert not [name for name, secret in secrets.items() if secret in shown]
    assert check_files(calls, site.pki) > 8
    assert (nginx.folder / "conf.d").is_dir()
