# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's change goes wrong: all is as it was and served, the error says why, and the next run succeeds."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_process
from ansible_collections.mtls.nginx.tests.ports import free_port

WORK = 0.25  # seconds into its work at which a run is interrupted


class Hosted:
    """A site with one host, which lets `phone` in, and `tablet` or not: that is the change to be made."""

    def __init__(self, site, upstream: str) -> None:
        self.site = site
        self.port = free_port()
        self.host = site.add_host("nas", mtls_clients=[{"name": "phone"}, {"name": "tablet"}])
        self.service = {
            "name": "nas",
            "server_names": ["nas.lan"],
            "listen": f"127.0.0.1:{self.port}",
            "upstream": upstream,
            "allow": ["phone"],
        }
        site.host_vars["nas"]["mtls_services"] = [self.service]
        self.playbook = site.folder / "servers.yml"
        self.playbook.write_text("- hosts: mtls_servers\n  gather_facts: false\n  roles: [mtls.nginx.server]\n")
        site.ok()
        self.nginx = nginx_process.Nginx(shutil.which("nginx"), str(self.host.conf))
        self.conf_d = self.host.folder / "conf.d"

    def ask_for_a_change(self) -> None:
        self.service["allow"] = ["phone"] if self.tablet_is_wanted else ["phone", "tablet"]

    @property
    def tablet_is_wanted(self) -> bool:
        return "tablet" in self.service["allow"]

    @property
    def tablet_is_let_in(self) -> bool:
        """What nginx serves; phone is let in and nobody else is, in any case."""
        assert self.site.status(self.port, client="phone") == 200
        assert self.site.status(self.port) == 400
        return {200: True, 403: False}[self.site.status(self.port, client="tablet")]

    def run(self):
        return self.site.run(playbook=self.playbook)

    def completes(self) -> None:
        run = self.run()
        assert run.returncode == 0, run.text
        assert self.tablet_is_let_in is self.tablet_is_wanted
        assert self.left_over() == []

    def left_over(self) -> list[str]:
        """What an interrupted run has left."""
        return [path for path in self.files() if os.path.basename(path).startswith(".")]

    def files(self) -> dict[str, tuple[int, int, int, bytes]]:
        """All that nginx is configured with: inode, mode, owner, bytes."""
        found = {}
        for path in sorted(self.host.folder.rglob("*")):
            name = str(path.relative_to(self.host.folder))
            if path.is_file() and not name.startswith("log/") and name != "nginx.pid":
                status = path.stat()
                found[name] = (status.st_ino, status.st_mode, status.st_uid, path.read_bytes())
        return found


@pytest.fixture(scope="module")
def made(module_site, upstream):
    return Hosted(module_site, upstream)


@pytest.fixture
def hosted(made):
    """The host, asked for a change; it is in order before and after each test."""
    made.ask_for_a_change()
    yield made
    made.completes()
    assert made.host.test().returncode == 0


# A step fails


@contextlib.contextmanager
def full_disk(hosted):
    with _mounted(hosted.conf_d, "size=64k,mode=755"):
        with contextlib.suppress(OSError), open(hosted.conf_d / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        yield


@contextlib.contextmanager
def read_only(hosted):
    with _mounted(hosted.conf_d, "mode=755"):
        subprocess.run(["mount", "-o", "remount,ro", hosted.conf_d], check=True)
        yield


@contextlib.contextmanager
def _mounted(folder: pathlib.Path, options: str):
    kept = {path.name: path for path in folder.iterdir()}
    contents = {name: path.read_bytes() for name, path in kept.items()}
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def rejected(hosted):
    """A time that nginx cannot count in milliseconds."""
    hosted.service["read_timeout"] = 10**17
    try:
        yield
    finally:
        del hosted.service["read_timeout"]


@contextlib.contextmanager
def taken_port(hosted):
    """Another program's port in the host's own configuration, in a way that only the reload finds out."""
    foreign = hosted.conf_d / "foreign.conf"
    with socket.create_server(("127.0.0.1", 0)) as other:
        foreign.write_text(f"server {{ listen localhost:{other.getsockname()[1]}; return 204; }}\n")
        try:
            yield
        finally:
            foreign.unlink()


@contextlib.contextmanager
def dying_workers(hosted):
    """Each one is killed as long as the new configuration is in place."""
    nginx, over, maps = hosted.nginx, threading.Event(), hosted.conf_d / "mtls.conf"
    old, old_maps = nginx.workers(nginx.master()), maps.read_bytes()

    def kill_new_ones():
        while not over.is_set():
            time.sleep(0.02)
            new = nginx.workers(nginx.master()) - old
            if maps.read_bytes() != old_maps:
                for worker in new:
                    os.kill(worker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_new_ones)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()


STEPS = {
    full_disk: ["the files could not be put in place", "mtls.conf", "no space left on device", "free some space"],
    read_only: ["the files could not be put in place", "mtls.conf", "read-only file system"],
    rejected: ["nginx rejects the new configuration, so nothing was changed", "proxy_read_timeout"],
    taken_port: [
        "the reload failed",
        "failed (98: Address already in use)",
        "nginx keeps serving as before. It cannot be reloaded with the old configuration either",
    ],
    dying_workers: ["the reload failed", "worker processes die", "nginx serves with the old configuration"],
}


@pytest.mark.parametrize(
    "fault",
    # What the transaction's own tests try as well is left to the long trials here.
    [pytest.param(step, marks=[pytest.mark.long] if step is read_only else []) for step in STEPS],
    ids=[step.__name__ for step in STEPS],
)
def test_a_step_fails(hosted, fault):
    served = hosted.tablet_is_let_in
    with fault(hosted):
        before = hosted.files()
        run = hosted.run()
        assert run.returncode != 0
        assert "Traceback" not in run.text
        said = " ".join(run.text.split())
        assert [words for words in STEPS[fault] if words not in said] == [], said
        assert hosted.files() == before
        assert hosted.host.test().returncode == 0
        assert hosted.tablet_is_let_in is served


# The run is interrupted from outside


def busy(hosted) -> list[int]:
    """The processes that hold the transaction's lock, which is on nginx's folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if any(
                os.readlink(f"/proc/{pid}/fd/{name}") == str(hosted.host.folder)
                for name in os.listdir(f"/proc/{pid}/fd")
            ):
                found.append(int(pid))
    return found


def wait_until(condition, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_whole(hosted) -> None:
    """Either configuration, but one of them: in the files, in nginx's eyes, and served."""
    assert hosted.host.test().returncode == 0
    assert isinstance(hosted.tablet_is_let_in, bool)


@pytest.mark.parametrize("delay", [WORK, *(pytest.param(n / 10, marks=pytest.mark.long) for n in range(15))])
def test_the_controller_is_killed(hosted, delay):
    hosted.site.write()
    controller = subprocess.Popen(
        ["ansible-playbook", "-i", hosted.site.source, hosted.playbook],
        cwd=hosted.site.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until(lambda: busy(hosted))
    time.sleep(delay)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    wait_until(lambda: not busy(hosted))
    is_whole(hosted)


SSH = """#!/bin/sh
# In the place of ssh: runs the command here, and loses the connection when the module is at work.
for command; do :; done
cat > "$0.input"
if grep -q modules.nginx_config "$0.input"; then
    setsid sh -c "echo \\$\\$ > $0.pid; $command" < "$0.input" > "$0.output" 2>&1 &
    sleep {delay}
    {hang_up}
    echo "Connection to nas closed by remote host." >&2
    exit 255
fi
exec sh -c "$command" < "$0.input"
"""


@pytest.mark.parametrize("hang_up", [":", 'kill -HUP -- "-$(cat $0.pid)"'], ids=["goes_on", "is_hung_up"])
def test_the_connection_is_lost(hosted, hang_up):
    script = hosted.site.folder / "ssh"
    script.write_text(SSH.format(delay=WORK + 0.5, hang_up=hang_up))
    script.chmod(0o755)
    before, served = hosted.files(), hosted.tablet_is_let_in
    variables = dict(hosted.site.host_vars["nas"])
    hosted.site.host_vars["nas"] |= {
        "ansible_connection": "ssh",
        "ansible_ssh_executable": str(script),
        "ansible_pipelining": True,
    }
    try:
        run = hosted.run()
    finally:
        hosted.site.host_vars["nas"] = variables
    assert "UNREACHABLE" in run.text, run.text
    leader = int((hosted.site.folder / "ssh.pid").read_text())
    wait_until(lambda: not os.path.exists(f"/proc/{leader}"))
    is_whole(hosted)
    if hang_up == ":":
        assert hosted.tablet_is_let_in is hosted.tablet_is_wanted
    elif hosted.tablet_is_let_in is served:
        assert hosted.files() == before
