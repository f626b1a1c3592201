# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority survives: runs that are killed at random moments, several runs at once, a full disk.

At the very moment of a kill each file is either the old or the new one, whole; no serial is there twice; what a
client or server holds is in index.txt, and nothing that was recorded, issued or made before is gone. A certificate
may lie in newcerts without a line in index.txt: the next run enters it. When that run is through, nothing is left
of the killed ones, audit.log has each of their acts once, and the one after it changes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import signal
import stat
import subprocess
import sys
import time
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.modules import ca_init, client_cert, crl, server_cert
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, openssl, run_module, tree

MODULES = {module.__name__.rpartition(".")[2]: module for module in (ca_init, client_cert, crl, server_cert)}
KILLS_A_LIFE = 8  # then the authority is put in order, judged and left; a larger one would only take longer to judge
LIMIT = 60  # seconds


class Process:
    """A run of a module: in a process of its own as Ansible starts it, or forked, which spares the imports."""

    def __init__(self, name: str, options: dict[str, t.Any], folder: pathlib.Path, *, forked: bool = True) -> None:
        self.what = f"{name} {options}"
        number = time.monotonic_ns()
        self._answer = folder / f"answer-{number}"
        self._answer.touch()
        question = folder / f"question-{number}"
        question.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
        self.started = time.monotonic()
        self._pid = self._fork(name, question) if forked else self._spawn(name, question)

    def _fork(self, name: str, question: pathlib.Path) -> int:
        pid = os.fork()
        if pid:
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            return pid
        status = 99
        try:
            os.setpgid(0, 0)
            os.dup2(os.open(question, os.O_RDONLY), 0)
            os.dup2(os.open(self._answer, os.O_WRONLY), 1)
            os.dup2(1, 2)
            sys.argv = [name]
            sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
            MODULES[name].main()
        except SystemExit as leaving:
            sys.stdout.flush()
            status = leaving.code or 0
        finally:
            os._exit(status)

    def _spawn(self, name: str, question: pathlib.Path) -> int:
        with question.open() as asked, self._answer.open("w") as answer:
            return subprocess.Popen(
                [sys.executable, "-m", f"ansible_collections.mtls.nginx.plugins.modules.{name}"],
                stdin=asked,
                stdout=answer,
                stderr=answer,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            ).pid

    def kill(self, *, with_children: bool) -> None:
        """Send SIGKILL to the process, or to all of the run: what it forked otherwise goes on by itself."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if with_children else os.kill)(self._pid, signal.SIGKILL)

    def wait(self) -> dict[str, t.Any] | None:
        """Return the module's result, or None when it was killed."""
        deadline = time.monotonic() + LIMIT
        while not (ended := os.waitpid(self._pid, os.WNOHANG))[0]:
            assert time.monotonic() < deadline, f"{self.what} does not end"
            time.sleep(0.002)
        text = self._answer.read_text()
        self._answer.unlink()
        if os.WIFSIGNALED(ended[1]):
            assert os.WTERMSIG(ended[1]) == signal.SIGKILL, text
            return None
        assert "Traceback" not in text, text
        return json.loads(text.splitlines()[-1])


@dataclasses.dataclass
class Seen:
    """All that was ever seen of one authority: none of it may go."""

    path: pathlib.Path
    lines: dict[str, str] = dataclasses.field(default_factory=dict)
    issued: dict[str, bytes] = dataclasses.field(default_factory=dict)
    keys: dict[pathlib.Path, set[bytes]] = dataclasses.field(default_factory=dict)
    crl: tuple[int, bytes] = (0, b"")

    def look(self, *, settled: bool = False) -> None:
        """Judge the directory as it is; ``settled`` when the last run was not killed."""
        recorded = self._look_at_record()
        issued = self._look_at_issued()
        for holder in (*self.path.glob("clients/*/"), *self.path.glob("servers/*/")):
            self._look_at_holder(holder, recorded, issued)
        self._look_at_crl()
        unfinished = [path for path in self.path.rglob(".*") if path.name not in (".lock", ".settled")]
        assert all(path.name.endswith((".new", ".pending")) for path in unfinished), unfinished
        if settled:
            assert unfinished == []
            assert set(issued) == set(recorded), "newcerts and index.txt differ"
            self._look_at_audit_log()
        for register in self.path.glob("*/register.json"):
            json.loads(register.read_text())

    def _look_at_record(self) -> set[str]:
        path = self.path / "index.txt"
        if not path.exists():
            assert not self.lines
            return set()
        index = Index.load(str(path))  # no serial twice, no half line
        lines = {line.split("\t")[3]: line for line in path.read_text().splitlines()}
        assert len(lines) == len(index)
        for serial, line in self.lines.items():
            assert serial in lines, f"{serial} is gone from index.txt"
            assert line[0] == "V" or line == lines[serial], f"{serial} was revoked, and is no more"
        self.lines = lines
        return set(lines)

    def _look_at_audit_log(self) -> None:
        events = [json.loads(line) for line in (self.path / "audit.log").read_text().splitlines()]
        began = [event["serial"] for event in events if event["did"] in ("issued", "renewed", "entered")]
        ended = [event["serial"] for event in events if event["did"] == "revoked"]
        assert sorted(began) == sorted(self.lines), "audit.log and index.txt differ"
        assert sorted(ended) == sorted(serial for serial, line in self.lines.items() if line[0] == "R")

    def _look_at_issued(self) -> dict[str, bytes]:
        issued = {}
        for path in self.path.glob("newcerts/[!.]*"):
            issued[path.stem] = path.read_bytes()
            certificate = x509.load_pem_x509_certificate(issued[path.stem])
            assert numbers.hexadecimal(certificate.serial_number) == path.stem
        assert self.issued.items() <= issued.items(), "an issued certificate is gone, or another"
        self.issued = issued
        if (self.path / "serial").exists():
            numbers.read_number(str(self.path / "serial"))
        return issued

    def _look_at_holder(self, holder: pathlib.Path, recorded: set[str], issued: dict[str, bytes]) -> None:
        present = set()
        for path in holder.glob("[!.]*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o644 if path.suffix in (".crt", ".csr") else 0o600), path
            data = path.read_bytes()
            assert data, path
            if path.suffix == ".crt":
                serial = numbers.hexadecimal(x509.load_pem_x509_certificate(data).serial_number)
                assert serial in recorded, f"{path} is not in index.txt"
                assert data == issued[serial]
            elif path.suffix == ".key":
                serialization.load_pem_private_key(data, None)
                present.add(hashlib.sha256(data).digest())
            elif path.suffix == ".password":
                assert data.endswith(b"\n")
        assert self.keys.setdefault(holder, set()) <= present, f"{holder}: a key is gone"
        self.keys[holder] = present

    def _look_at_crl(self) -> None:
        if not (self.path / "crl.pem").exists():
            assert not self.crl[0]
            return
        data = (self.path / "crl.pem").read_bytes()
        found = x509.load_pem_x509_crl(data)
        number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        assert number > self.crl[0] or (number, data) == self.crl
        assert numbers.read_number(str(self.path / "crlnumber")) > number
        authority = x509.load_pem_x509_certificate((self.path / "ca.crt").read_bytes())
        assert found.is_signature_valid(authority.public_key())
        self.crl = (number, data)


class Life:
    """One authority, from its making on: what is wanted of it changes from run to run."""

    def __init__(self, folder: pathlib.Path, chance: random.Random) -> None:
        self.folder = folder
        self.path = folder / "pki"
        self.chance = chance
        self.seen = Seen(self.path)
        self._clients: dict[str, dict[str, t.Any]] = {}
        self._servers: list[dict[str, t.Any]] = []
        self._days = {"days": 365, "renew_before": 30}
        self._crl_days = 30
        self._key_type = chance.choice(["ecdsa", "ecdsa", "rsa"])

    def options(self, name: str) -> dict[str, t.Any]:
        common = {"ca_path": str(self.path)}
        if name == "ca_init":
            return {"path": str(self.path), "subject": SUBJECT, "key_type": self._key_type, "key_size": 2048}
        if name == "client_cert":
            return {**common, **self._days, "key_type": "ecdsa", "clients": list(self._clients.values())}
        if name == "server_cert":
            return {**common, "servers": self._servers}
        return {**common, "days": self._crl_days, "refresh_before": self._crl_days - 1}

    def ask_for_something_else(self) -> str:
        """Change the inventory, and return the module that has something to do then."""
        name = self.chance.choice(["client_cert"] * 4 + ["crl", "server_cert", "ca_init"])
        if name == "client_cert":
            self._ask_for_other_clients()
        elif name == "server_cert":
            number = len(self._servers)
            self._servers += [
                {"host": f"h{number + i}", "name": "web", "server_names": [f"h{number + i}.lan"]} for i in range(4)
            ]
        elif name == "crl":
            self._crl_days = 90 if self._crl_days == 30 else 30
        else:
            (self.path / "openssl.cnf").unlink(missing_ok=True)
        return name

    def _ask_for_other_clients(self) -> None:
        change = self.chance.choice(["new", "new", "revoke", "again", "subject", "p12", "renew"])
        if change == "new" or not self._clients:
            for number in range(len(self._clients), len(self._clients) + self.chance.randint(3, 8)):
                self._clients[f"c{number}"] = {"name": f"c{number}"}
        elif change == "renew":  # what ends within 399 days
            self._days = {"days": self._days["days"] + 40, "renew_before": self._days["days"] + 39}
        for client in self.chance.sample(list(self._clients.values()), min(4, len(self._clients))):
            if change == "revoke":
                client["state"] = "revoked"
            elif change == "again":
                client["state"] = "present"
            elif change == "subject":
                client["subject"] = {"CN": f"{client['name']} of {self.chance.randrange(1000)}"}
            elif change == "p12":
                client["p12"] = self.chance.choice(["modern", "compatible", "none"])

    def start(self, name: str, *, forked: bool = True) -> Process:
        return Process(name, self.options(name), self.folder, forked=forked)

    def wait_for_the_orphans(self) -> None:
        """What the killed run had forked may still work, and holds the lock as long as it does."""
        if self.path.is_dir():
            with files.lock(self.path / ".lock", wait=LIMIT):
                pass

    def settle(self) -> None:
        """Run everything to the end, twice: the second time changes nothing; and openssl reads what there is."""
        names = ["ca_init", "client_cert", "server_cert", "crl"]
        for name in names:
            result = self.start(name).wait()
            assert result is not None
            assert not result.get("failed"), result
        self.seen.look(settled=True)
        self._check_holders()
        before = tree(self.path)
        for name in names:
            result = self.start(name).wait()
            assert result is not None
            assert result["changed"] is False, result
            # A certificate of a killed run, for a subject that the client had then, was never handed out.
            served = {client["dn"] for client in result.get("clients", [])}
            assert all(stray["dn"] not in served for stray in result.get("unmanaged", [])), result
        assert tree(self.path) == before
        self._check_with_openssl()

    def _check_holders(self) -> None:
        for name, client in self._clients.items():
            if client.get("state") == "revoked":
                continue
            base = self.path / "clients" / name / name
            certificate = x509.load_pem_x509_certificate(base.with_name(f"{name}.crt").read_bytes())
            assert self.seen.lines[numbers.hexadecimal(certificate.serial_number)][0] == "V"
            key = serialization.load_pem_private_key(base.with_name(f"{name}.key").read_bytes(), None)
            assert key.public_key() == certificate.public_key()
            if client.get("p12") != "none":
                password = base.with_name(f"{name}.p12.password").read_bytes().strip()
                packed = pkcs12.load_pkcs12(base.with_name(f"{name}.p12").read_bytes(), password)
                assert packed.cert.certificate == certificate

    def _check_with_openssl(self) -> None:
        ca = ("ca", "-batch", "-config", "openssl.cnf")
        openssl(*ca, "-updatedb", cwd=self.path)
        openssl(*ca, "-gencrl", "-out", self.folder / "by-hand.pem", cwd=self.path)
        assert x509.load_pem_x509_crl((self.folder / "by-hand.pem").read_bytes()) is not None
        letters = {"V": "Valid", "R": "Revoked"}
        for serial in self.chance.sample(sorted(self.seen.lines), min(2, len(self.seen.lines))):
            said = openssl(*ca, "-status", serial, cwd=self.path, ok=None)
            assert f"{serial}={letters[self.seen.lines[serial][0]]}" in said, said
        live = [self.path / f"newcerts/{serial}.pem" for serial, line in self.seen.lines.items() if line[0] == "V"]
        if live:
            openssl("verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem", *live, cwd=self.path)


class Trial:
    """Kills runs until so many died in the middle, and keeps count."""

    def __init__(self, folder: pathlib.Path, seed: int) -> None:
        self.killed = 0
        self.together = 0
        self._chance = random.Random(seed)
        self._folder = folder
        self._lasts: dict[tuple[str, bool], float] = {}  # how long a run of this module took at most

    def run(self, kills: int, *, forked: bool = True) -> None:
        wanted, number = self.killed + kills, 0
        while self.killed < wanted:
            number += 1
            folder = self._folder / f"{'forked' if forked else 'spawned'}-{number}"
            folder.mkdir()
            life = Life(folder, self._chance)
            stop = min(wanted, self.killed + KILLS_A_LIFE)
            self._until_killed(life, "ca_init", forked)
            assert life.start("ca_init").wait()
            while self.killed < stop:
                self._until_killed(life, life.ask_for_something_else(), forked)
            life.settle()

    def _until_killed(self, life: Life, name: str, forked: bool) -> None:
        """Start a run, often with another one beside it, and kill it; it may be through before."""
        lasts = self._lasts.setdefault((name, forked), 0.05 if forked else 0.6)
        beside = self._chance.choice([None, None, name, "crl", "client_cert", "ca_init"])
        run = life.start(name, forked=forked)
        other = life.start(beside, forked=forked) if beside and (life.path / "crl.pem").exists() else None
        # The first half of a real process's time goes into imports.
        time.sleep(self._chance.uniform(0 if forked else lasts * 0.5, lasts))
        run.kill(with_children=self._chance.random() < 0.5)
        result = run.wait()
        if result is None:
            self.killed += 1
            self._lasts[name, forked] *= 0.98
        else:
            assert not result.get("failed"), result
            self._lasts[name, forked] = min(1.3 * lasts, time.monotonic() - run.started + 0.01)
        if other is None:
            life.wait_for_the_orphans()
        else:
            self.together += 1
            done = other.wait()
            assert done is not None
            assert not done.get("failed"), done
        life.seen.look()


def try_to_kill(folder: pathlib.Path, *, forked: int, spawned: int) -> str:
    seed = random.SystemRandom().randrange(1 << 32)
    trial = Trial(folder, seed)
    try:
        trial.run(forked)
        trial.run(spawned, forked=False)
    except AssertionError as error:
        error.add_note(f"chance began with {seed}, after {trial.killed} kills")
        raise
    return f"{trial.killed} killed in the middle of their work, {trial.together} runs beside others"


def test_runs_killed_at_random_moments(tmp_path, record_property):
    record_property("runs", try_to_kill(tmp_path, forked=40, spawned=6))


@pytest.mark.long
def test_500_runs_killed_at_random_moments(tmp_path, record_property):
    record_property("runs", try_to_kill(tmp_path, forked=400, spawned=100))


def test_several_runs_at_once_issue_each_client_once(tmp_path):
    """Two whole inventories for one directory, as real module processes, from the very beginning."""
    life = Life(tmp_path, random.Random(1))
    life._clients = {f"c{number}": {"name": f"c{number}"} for number in range(6)}
    for result in [run.wait() for run in [life.start("ca_init", forked=False) for _run in range(3)]]:
        assert not result.get("failed"), result
    runs = [life.start("client_cert", forked=False) for _run in range(3)]
    runs += [life.start("crl", forked=False)]
    for result in [run.wait() for run in runs]:
        assert not result.get("failed"), result
    assert len(life.seen.lines) == 0
    life.settle()
    assert len(life.seen.lines) == 6


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder: pathlib.Path, *, leave: int) -> None:
    """Leave ``leave`` pages of 4 KiB."""
    with (folder / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(4096))
    size = (folder / "ballast").stat().st_size
    os.truncate(folder / "ballast", max(0, size - leave * 4096))


@pytest.mark.parametrize("leave", [0, 1, 2, 3, 5, 8, 13, 21, 34])
def test_a_full_disk_is_named_and_nothing_is_lost(small_disk, tmp_path, leave):
    life = Life(tmp_path, random.Random(1))
    life.path = life.seen.path = small_disk / "pki"
    life._clients = {"first": {"name": "first"}}
    life.settle()
    life._clients |= {f"c{number}": {"name": f"c{number}"} for number in range(12)}
    life._clients["first"]["state"] = "revoked"
    fill(small_disk, leave=leave)
    result = life.start("client_cert").wait()
    assert result["failed"], result
    assert result["msg"].startswith(str(life.path)), result["msg"]
    assert result["msg"].endswith(": no space left on device; free some space and run again")
    assert "\n" not in result["msg"]
    life.seen.look()
    (small_disk / "ballast").unlink()
    life.settle()
    assert sum(line[0] == "V" for line in life.seen.lines.values()) == 12
    assert sum(line[0] == "R" for line in life.seen.lines.values()) == 1


def test_a_full_disk_while_the_authority_is_made(small_disk, tmp_path):
    life = Life(tmp_path, random.Random(1))
    life.path = life.seen.path = small_disk / "pki"
    for leave in range(12):
        fill(small_disk, leave=leave)
        result = life.start("ca_init").wait()
        life.seen.look()
        if not result.get("failed"):
            break
        assert result["msg"].endswith("no space left on device; free some space and run again"), result
    assert leave > 3
    (small_disk / "ballast").unlink()
    life.settle()


def test_the_raw_module_answers_as_the_forked_one(tmp_path):
    """What is killed above is what Ansible starts: the same module, the same answer."""
    options = {"path": str(tmp_path / "one"), "subject": SUBJECT, "key_type": "ecdsa"}
    spawned = run_module("ca_init", **options)
    forked = Process("ca_init", {**options, "path": str(tmp_path / "two")}, tmp_path).wait()
    assert spawned["added"] == forked["added"]
    assert (spawned["created"], forked["created"]) == (True, True)
