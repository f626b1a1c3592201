# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This machine once more, with a systemd that has booted: its files below an overlay, in namespaces of its own.

Nothing of what happens there is left afterwards, except in the folders that are shared with it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import signal
import subprocess
import time

_MADE = itertools.count()
_GROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}
# The folder, then what is shared.
_BOOT = """
set -eu
folder=$1
shift
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
root=$folder/root
for shared; do
    mkdir -p "$root$shared"
    mount --rbind "$shared" "$root$shared"
done
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mountpoint -q /sys/fs/cgroup && mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
# A /dev of its own: systemd puts links there.
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount --rbind /dev/pts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/run"
# What would mount the machine's disks, or clean up.
: >"$root/etc/fstab"
for unit in tmp.mount systemd-tmpfiles-setup.service systemd-networkd-wait-online.service; do
    ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done
rm -rf "$root/var/lib/systemd/linger"
cd "$root"
mkdir .old
pivot_root . .old
umount -l .old
rmdir .old
# As on a machine: what systemd mounts for a service, its credentials above all, is to arrive there.
mount --make-rshared /
exec env -i container=mtls-test /lib/systemd/systemd --unit=sysinit.target
"""


class Booted:
    """A machine. `shared` folders are those outside, at the same paths."""

    def __init__(self, folder: pathlib.Path, *shared: pathlib.Path) -> None:
        self._group = (
            next(pathlib.Path(path) for path in _GROUPS if pathlib.Path(path, "cgroup.controllers").exists())
            / f"mtls-test-{os.getpid()}-{next(_MADE)}"
        )
        self._group.mkdir()
        self._log = folder / "boot.log"
        self._place = folder / "machine"
        self._place.mkdir()
        with self._log.open("wb") as log:
            self._unshare = subprocess.Popen(
                [
                    *("sh", "-c", 'echo 0 >"$0/cgroup.procs" && exec "$@"', self._group),
                    *("setpriv", "--pdeathsig", "KILL"),
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup"),
                    *("sh", "-c", _BOOT, "boot", self._place, *shared),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.off()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._unshare.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                if self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.1)
        raise AssertionError(f"systemd does not boot: {self._log.read_text(errors='replace')[-2000:]}")

    @property
    def pid(self) -> str:
        """Of its systemd, as it is outside."""
        path = pathlib.Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        return path.read_text().split()[0]

    def run(
        self, *command: object, check: bool = True, user: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, as root or as a user."""
        as_user = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user else []
        return subprocess.run(
            ["nsenter", "--target", self.pid, "--all", "env", "--chdir=/", *as_user, *map(str, command)],
            env={**_ENVIRONMENT, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=check,
        )

    def systemctl(self, *words: str) -> str:
        return self.run("systemctl", *words).stdout

    def off(self) -> None:
        """Power off, and leave nothing behind."""
        if self._unshare.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                os.kill(int(self.pid), signal.SIGKILL)
            self._unshare.kill()
        self._unshare.wait()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for group, _groups, _files in os.walk(self._group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(group)
            if not self._group.exists():
                break
            time.sleep(0.1)
