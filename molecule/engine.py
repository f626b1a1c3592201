# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker engine for the scenarios: the one that answers, or one of our own that leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE = 60  # seconds for the engine to start, and to end
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_TABLES = ("iptables", "ip6tables")


class NoEngine(Exception):
    """Why there is no engine to be had here."""


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")


def _output(*command: str, given: str | None = None) -> str:
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout


def _answers() -> bool:
    """Whether the engine that DOCKER_HOST or the current context names answers."""
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def engine(log: Path) -> Iterator[str]:
    """An engine that answers under the environment's DOCKER_HOST; the value says which. Raises NoEngine.

    One that runs already is used and left running. Otherwise `dockerd` is started, with folders of its own, and at
    the end its containers, networks, firewall rules, folders and itself are gone.
    """
    if _find("docker") is None:
        raise NoEngine("there is no docker command")
    if _answers():
        yield "the engine that was running already"
        return
    if _find("dockerd") is None:
        raise NoEngine("no Docker engine answers, and dockerd is not installed (Debian's package is docker.io)")
    if os.geteuid() != 0:
        raise NoEngine("no Docker engine answers, and only root can start one")
    with _network_as_it_was(), tempfile.TemporaryDirectory(prefix="mtls-docker-", dir="/var/tmp") as folder:
        process = _start(Path(folder), log)
        try:
            _wait(process, log)
            yield "an engine of its own"
        finally:
            if _answers():
                _remove_containers()
            _end(process)
            os.environ.pop("DOCKER_HOST", None)
            _unmount(folder)


def _start(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    os.environ["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
    places = {"data-root": "data", "exec-root": "run", "pidfile": "pid", "config-file": "daemon.json"}
    (folder / "daemon.json").write_text("{}")  # not the machine's
    with log.open("wb") as stream:
        return subprocess.Popen(
            [
                str(_find("dockerd")),
                f"--host=unix://{folder}/docker.sock",
                *(f"--{option}={folder / name}" for option, name in places.items()),
            ],
            env={**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in a terminal is for the scenarios; the engine is still needed to tidy up
        )


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _answers():
        if process.poll() is not None or time.monotonic() > deadline:
            said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            raise NoEngine(f"dockerd does not start: {said[-1] if said else 'it said nothing'} (see {log})")
        time.sleep(0.2)


def _remove_containers() -> None:
    if containers := _output("docker", "ps", "--all", "--quiet").split():
        subprocess.run(["docker", "rm", "--force", "--volumes", *containers], stdout=subprocess.DEVNULL, check=False)
    subprocess.run(["docker", "network", "prune", "--force"], stdout=subprocess.DEVNULL, check=False)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _unmount(folder: str) -> None:
    """What dockerd had mounted below its folders, the deepest first."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounts if mount.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)


@contextlib.contextmanager
def control_groups() -> Iterator[Path]:
    """A control group (version 2) for the containers' systemd instances, gone at the end. Raises NoEngine."""
    for mount in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (mount / "cgroup.procs").exists() and (mount / "cgroup.controllers").exists():
            break
    else:
        raise NoEngine("no control groups of version 2 are mounted below /sys/fs/cgroup")
    group = mount / "mtls"
    try:
        yield group
    finally:
        for folder, _folders, _files in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


@contextlib.contextmanager
def _network_as_it_was() -> Iterator[None]:
    """dockerd leaves its bridge and firewall rules behind, and packets are forwarded and filtered: undone here."""
    forwarding = _FORWARDING.read_text()
    bridge = Path("/sys/class/net/docker0")
    had_bridge = bridge.exists()
    policies = {tables: _forward_policy(tables) for tables in _TABLES}
    try:
        yield
    finally:
        for tables, policy in policies.items():
            if policy is not None:
                _forget_rules(tables, policy)
        if bridge.exists() and not had_bridge:
            subprocess.run([str(_find("ip") or "ip"), "link", "delete", "docker0"], check=False)
        _FORWARDING.write_text(forwarding)


def _forward_policy(tables: str) -> str | None:
    """ACCEPT or DROP, or None where these tables are not there."""
    program = _find(tables)
    if program is None:
        return None
    try:
        return _output(program, "-S", "FORWARD").splitlines()[0].split()[-1]
    except (subprocess.CalledProcessError, IndexError):
        return None


def _forget_rules(tables: str, policy: str) -> None:
    """Take out what names Docker, and nothing else: somebody else may have added rules meanwhile."""
    rules = _output(str(_find(f"{tables}-save")))
    kept = [line for line in rules.splitlines() if "DOCKER" not in line and "docker0" not in line]
    _output(str(_find(f"{tables}-restore")), given="\n".join(kept) + "\n")
    _output(str(_find(tables)), "-P", "FORWARD", policy)
