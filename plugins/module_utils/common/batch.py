# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files by the hundred, durable together.

Each is written beside its place. ``commit`` makes all their contents durable, moves them into place, and makes their
names durable: one file is as safe as with files.py, and for all of them the disk is waited for twice.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
from collections import deque
from typing import Callable, NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.common import files

_MANY = 32  # below, a sync for each file takes no longer than one of the whole file system
# Where syncfs(2) is known to leave nothing behind. FUSE for one does not tell its server of it.
_FILE_SYSTEMS = frozenset({"ext3", "ext4", "xfs"})
_FIRST_TO_REPORT_ERRORS = (5, 8)  # Linux: syncfs(2), section "Errors"


class _Staged(NamedTuple):
    staged: str
    path: str
    replace: bool


class Batch:
    """Files that are to be durable together; the process that wrote them calls ``commit``.

    A process that is forked has a batch of its own from then on, so nothing may be written before.
    """

    def __init__(self, directory: str, expected: int, *, fresh: bool = False) -> None:
        """Say how many files there will be below ``directory``; nothing is touched yet.

        In a ``fresh`` one, which nobody looks into before it is renamed into its place, they are written where they
        belong, and no file may be there yet. When something fails, it is for the caller to remove it all.
        """
        self._fresh = fresh
        self._sync_all = _file_system_sync(directory) if expected >= _MANY else None
        self._directory = directory
        self._descriptor: int | None = None
        self._staged: deque[_Staged] = deque()
        self._removals: list[str] = []
        self._parents: set[str] = set()  # of what was written where it belongs

    def write(self, path: str, data: bytes, mode: int) -> os.stat_result:
        """Put ``data`` at ``path`` with ``mode``, replacing what is there; return the status that it will have."""
        return self._stage(path, data, mode, replace=True)

    def create(self, path: str, data: bytes, mode: int) -> os.stat_result:
        """Like ``write``, but ``commit`` raises FileExistsError rather than replace a file."""
        return self._stage(path, data, mode, replace=False)

    def remove(self, path: str) -> None:
        """Remove a file, if it is there, when all else is durable."""
        self._removals.append(path)

    def removes(self, path: str) -> bool:
        """Tell whether a file is to be removed."""
        return path in self._removals

    def _stage(self, path: str, data: bytes, mode: int, *, replace: bool) -> os.stat_result:
        if self._sync_all is not None and self._descriptor is None:
            # Before the first write: it is told of the errors from then on.
            self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if self._fresh:
            status = files.put(path, data, mode, durable=self._sync_all is None)
            self._parents.add(os.path.dirname(path))
            return status
        staged, status = files.stage(path, data, mode, durable=self._sync_all is None)
        self._staged.append(_Staged(staged, path, replace))
        return status

    def commit(self) -> None:
        """Put the files into place, durably, and remove what is to be removed.

        Raises OSError with its filename set; those that are not in place then are gone.
        """
        try:
            if self._staged:
                self._sync()
            parents = self._parents | {os.path.dirname(path) for _staged, path, _replace in self._staged}
            while self._staged:
                staged, path, replace = self._staged[0]
                (os.replace if replace else files.link_into_place)(staged, path)
                self._staged.popleft()
            if not self._sync():
                for parent in parents:
                    files.sync_directory(parent)
            for path in self._removals:
                files.remove_file(path)
        finally:
            self._removals.clear()
            self._parents.clear()
            for staged, _path, _replace in self._staged:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(staged)
            self._staged.clear()
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _sync(self) -> bool:
        """Sync the whole file system; return whether that is the way here."""
        if self._sync_all is None or self._descriptor is None:
            return False
        try:
            self._sync_all(self._descriptor)
        except OSError as error:
            error.filename = self._directory
            raise
        return True


@functools.cache
def _file_system_sync(directory: str) -> Callable[[int], None] | None:
    """Return what syncs the whole file system of a directory by its descriptor, or None where each file has to be."""
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if platform.system() != "Linux" or not release or tuple(map(int, release.groups())) < _FIRST_TO_REPORT_ERRORS:
        return None
    if _file_system_of(directory) not in _FILE_SYSTEMS:
        return None
    try:
        import ctypes

        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (ImportError, OSError, AttributeError):
        return None

    def sync(descriptor: int) -> None:
        if syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return sync


def _file_system_of(directory: str) -> str | None:
    """Return the type of the file system that a directory is on, by its device (proc(5), mountinfo)."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as stream:
            mounts = [line.partition(" - ") for line in stream]
    except OSError:
        return None
    return next((after.split(" ", 1)[0] for before, _dash, after in mounts if before.split()[2] == wanted), None)
