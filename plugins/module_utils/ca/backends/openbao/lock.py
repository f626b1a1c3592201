# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One controller at a time: a document in a KV engine, version 2, that only who holds the lock replaces.

Each write names the version that it follows (check-and-set), so of two controllers one fails. A lock whose last
write is older than the lease, by the server's clock, may be taken. Its holder finds out when it renews, which comes
before everything that must not be done by two.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.api import Answer, Server, server_time
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

LEASE = 300.0  # seconds: longer than the keys of one chunk take, and the files after it
WAIT = 2 * LEASE  # a dead holder is outlived
_POLL = 0.5


class Lock:
    """The lock of one PKI mount."""

    def __init__(self, server: Server, lock_mount: str, mount: str, local_lock: str) -> None:
        """Whoever holds the file ``local_lock`` may take the lock of a run with that file: it cannot be alive."""
        self._server = server
        self._path = f"{lock_mount}/data/mtls-nginx/{mount}"
        self._mount = lock_mount
        self._local_lock = local_lock
        self._controller = ""
        self._version = 0
        self._renewed = 0.0
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator[Lock]:
        """Hold the lock for the length of the ``with``.

        :raises MtlsError: another controller still has it after ``WAIT`` seconds, or the KV engine cannot be used.
        """
        self._controller = _identity(self._local_lock)
        self._acquire()
        try:
            yield self
        finally:
            with contextlib.suppress(MtlsError):  # it ends with its lease
                self._write(None)

    def renew(self) -> None:
        """Make sure that the lock is ours for the length of a request; cheap when it was done lately.

        :raises MtlsError: another took it, because this run stalled for longer than the lease.
        """
        with self._guard:
            age = time.monotonic() - self._renewed
            if age < LEASE / 10:
                return
            if not self._write(self._controller):
                raise MtlsError(
                    f"{self._path}: this run stalled for {age:.0f} seconds and lost the lock to another "
                    "controller; run again: what was done is kept"
                )

    def _acquire(self) -> None:
        deadline = time.monotonic() + WAIT
        while True:
            answer = self._server.ask("GET", self._path, accept=(404,))
            if answer.status == 404 and "no handler for route" in " ".join(answer.errors):
                raise MtlsError(
                    f"{self._server.url}: there is no KV engine at {self._mount}, which holds the controllers' lock; "
                    f"run `bao secrets enable -path={self._mount} -version=2 kv`, or correct lock_mount"
                )
            holder = self._holder(answer)
            if holder is None and self._write(self._controller):
                return
            if time.monotonic() >= deadline:
                raise MtlsError(
                    f"{self._path}: another controller ({holder or 'it changes'}) is still working with this authority "
                    f"after {WAIT:.0f} seconds of waiting; run again when it has finished"
                )
            time.sleep(_POLL)

    def _holder(self, answer: Answer) -> str | None:
        """Return who holds the lock, and note the version to follow."""
        try:
            metadata = answer.data.get("metadata") or {}
            self._version = int(metadata["version"]) if metadata or answer.status != 404 else 0
            written = server_time(metadata["created_time"]) if self._version else None
            content = dict(answer.data.get("data") or {})
        except (KeyError, TypeError, ValueError) as error:
            raise MtlsError(f"{self._path}: is not a document of a KV engine, version 2; correct lock_mount") from error
        if written is None or not content.get("controller") or content["controller"] == self._controller:
            return None
        now = answer.date or times.now()
        return None if (now - written).total_seconds() > LEASE else str(content.get("holder"))

    def _write(self, controller: str | None) -> bool:
        """Replace the document that was seen last; return False when somebody else did."""
        holder = f"{socket.gethostname()}, process {os.getpid()}" if controller else None
        began = time.monotonic()
        document = {"options": {"cas": self._version}, "data": {"controller": controller, "holder": holder}}
        answer = self._server.ask("POST", self._path, document, accept=(400,))
        if answer.status == 400:
            if "check-and-set" in " ".join(answer.errors):
                return False
            raise MtlsError(f"{self._path}: cannot be written ({'; '.join(answer.errors)}); correct lock_mount")
        version = answer.data.get("version")
        if not isinstance(version, int):
            raise MtlsError(f"{self._path}: is not in a KV engine, version 2; correct lock_mount")
        self._version = version
        self._renewed = began
        return True


def _identity(path: str) -> str:
    """Return what no other file has while this kernel runs, not even a copy of its directory on another machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            kernel = stream.read().strip()
    except OSError:  # not Linux
        kernel = socket.gethostname()
    status = os.stat(path)
    return f"{kernel}/{status.st_dev}/{status.st_ino}"
