# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replaces several files together, and restores them together, also after a kill or a power cut.

A journal beside nginx's main configuration file says how far a swap has come. The previous files are kept as hard links
beside themselves, so that restoring them needs no space and brings back the very same files: bytes, mode, owner and all
else. The names begin with a dot, which keeps them out of nginx's ``include *.conf``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

JOURNAL = ".mtls-nginx.journal"
_LOCK_TIMEOUT = 120.0

# How far a swap has come: nothing is replaced while PREPARING, everything is decided when DONE. RESTORED is never
# written: undone, or decided, but nginx may not have read it yet.
_PREPARING, _SWAPPING, _DONE, _RESTORED = "preparing", "swapping", "done", "restored"


class Busy(MtlsError):
    """Another run is working on the host."""


class NewFile(NamedTuple):
    """What ``path`` is to become; ``content`` None removes it.

    ``owner`` is user and group, None for whoever runs this.
    """

    path: str
    content: bytes | None
    mode: int
    owner: tuple[int, int] | None = None


class Swap:
    """The swap that is under way, or was left behind, in the configuration folder ``directory``."""

    def __init__(self, directory: str) -> None:
        self._journal = os.path.join(directory, JOURNAL)
        self._state: str | None = None
        self._unread = False  # nginx may serve something else than what is in place
        self._existed: dict[str, bool] = {}
        self._directories: list[str] = []
        self._load()

    @property
    def unfinished(self) -> bool:
        """Tell whether a swap was begun and not finished, by this run or an earlier one."""
        return self._state is not None

    def apply(self, new_files: Sequence[NewFile]) -> None:
        """Put all files in place. After an error, call ``undo``.

        :raises OSError: names the file that could not be written.
        """
        self._existed = {new.path: os.path.lexists(new.path) for new in new_files}
        self._directories = _missing_directories(new.path for new in new_files if new.content is not None)
        self._state = _PREPARING  # before it is written: a journal that could only half be written is to be removed
        self._save(_PREPARING)
        self._remove_leftovers()
        for new in new_files:
            if self._existed[new.path]:
                os.link(new.path, _old(new.path), follow_symlinks=False)
        for directory in self._directories:
            files.make_directory(directory, 0o755)
        for new in new_files:
            if new.content is not None:
                _write(_new(new.path), new.content, new.mode, new.owner)
        self._sync()
        self._save(_SWAPPING)
        for new in new_files:
            if new.content is not None:
                os.replace(_new(new.path), new.path)
            else:
                os.unlink(new.path)
        self._sync()

    def undo(self) -> None:
        """Bring back every file as it was, and remove what was not there.

        Can be repeated after an interruption. If nginx may have read what was in place in between, the swap counts as
        unfinished until ``finish`` is called.

        :raises OSError: a file could not be restored; the journal stays.
        """
        if self._state == _DONE:
            if self._unread:
                self._remove_leftovers()
                self._state = _RESTORED
            else:
                self.finish()
            return
        if self._state == _SWAPPING:
            for path, existed in self._existed.items():
                if not existed:
                    _remove(path)
                elif os.path.lexists(_old(path)):
                    os.replace(_old(path), path)
            self._unread = True
        self._remove_leftovers()
        for directory in reversed(self._directories):
            # Not ours alone any more when something else is in it.
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        self._sync()
        # The journal on disk stays as it is: with the old files back, undoing it once more changes nothing.
        self._state = _RESTORED
        if not self._unread:
            self.finish()

    @contextlib.contextmanager
    def hidden(self, paths: Sequence[str]) -> Iterator[None]:
        """Take files of this swap away for a moment; after a kill in between, ``undo`` restores what was before."""
        aside = _old if self._state == _RESTORED else _new
        taken = []
        try:
            for path in paths:
                os.replace(path, aside(path))
                taken.append(path)
            yield
        finally:
            for path in taken:
                os.replace(aside(path), path)

    def holds(self, paths: Iterable[str]) -> bool:
        """Tell whether all these files are part of the swap that is under way, so that they can be hidden."""
        return self.unfinished and set(paths) <= self._existed.keys()

    def decide(self) -> None:
        """Have an interrupted run completed from here on, and no longer undone."""
        self._save(_DONE)

    def decide_unread(self) -> None:
        """Keep the files, though nginx cannot read them now: the unfinished swap tells the next run."""
        self._unread = True
        self.decide()
        with contextlib.suppress(OSError):  # the next run removes them
            self._remove_leftovers()

    def finish(self) -> None:
        """Remove the previous files and the journal, once decided or undone."""
        self._remove_leftovers()
        self._sync()
        files.remove_file(self._journal)
        self._state, self._unread = None, False

    def _remove_leftovers(self) -> None:
        for path in self._existed:
            # A rename onto another name of the same file does nothing, so even a restored file may have its link left.
            _remove(_old(path))
            _remove(_new(path))

    def _sync(self) -> None:
        for directory in sorted({os.path.dirname(path) for path in self._existed}):
            if os.path.isdir(directory):
                files.sync_directory(directory)

    def _save(self, state: str) -> None:
        record = {"state": state, "existed": self._existed, "directories": self._directories, "unread": self._unread}
        files.write_file(self._journal, json.dumps(record, indent=1).encode(), 0o600)
        self._state = state

    def _load(self) -> None:
        try:
            with open(self._journal, "rb") as handle:
                record = json.load(handle)
            self._state = record["state"]
            self._existed = dict(record["existed"])
            self._directories = list(record["directories"])
            self._unread = record["unread"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            raise MtlsError(
                f"{self._journal}: this is not the journal of an interrupted run; look at the files beside the "
                "configuration"
                " whose names end in .mtls-old, put back what is right, and remove the journal"
            ) from None


@contextlib.contextmanager
def exclusive(directory: str) -> Iterator[None]:
    """Keep other runs on this host out of the configuration folder. Leaves no file, and nothing when killed.

    :raises Busy: another run has not finished after two minutes.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(
                        f"{directory}: another run{files.holder(descriptor)} is changing this host's nginx; wait for "
                        "it and run again"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _old(path: str) -> str:
    return _beside(path, "mtls-old")


def _new(path: str) -> str:
    return _beside(path, "mtls-new")


def _beside(path: str, suffix: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{suffix}")


def _remove(path: str) -> None:
    # Asked first: a read-only file system refuses to remove even what is not there.
    if os.path.lexists(path):
        os.unlink(path)


def _write(path: str, content: bytes, mode: int, owner: tuple[int, int] | None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as handle:
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)  # what the umask took away
            handle.write(content)
            handle.flush()
            os.fsync(descriptor)
    except OSError as error:  # even closing can fail on a full disk, and that error names no file
        raise OSError(error.errno, error.strerror, path) from error


def _missing_directories(paths: Iterable[str]) -> list[str]:
    """Return the folders to be created for the paths, parents first."""
    missing: set[str] = set()
    for path in paths:
        folder = os.path.dirname(path)
        while not os.path.lexists(folder):
            missing.add(folder)
            folder = os.path.dirname(folder)
    return sorted(missing)
