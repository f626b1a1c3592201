# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are either there completely or not at all, also after a power cut.

Each write goes to a neighbour with the final mode, is synced, and is then renamed into place. Python's
standard library only: targets use this too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import stat
import time
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Union

from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

Path = Union[str, "os.PathLike[str]"]

_UNFINISHED = ".new"
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})  # link(2) where there are none


def write_file(path: Path, data: bytes, mode: int, *, durable: bool = True) -> None:
    """Put ``data`` at ``path`` with ``mode``, replacing what is there.

    What can be had again need not be ``durable``: a power cut may leave it empty.
    Raises OSError with its filename set; the old file is then untouched.
    """
    path = os.fspath(path)
    staged, _status = stage(path, data, mode, durable=durable)
    try:
        os.replace(staged, path)
    except BaseException:  # a signal, too, perhaps when it is done
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)
        raise
    if durable:
        sync_directory(os.path.dirname(path))


@contextlib.contextmanager
def replacing(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Yield a stream for a file too large to be held in memory; it takes the place of ``path`` when the block is done.

    When the block fails, the old file is untouched and nothing is left of the new one.
    """
    path = os.fspath(path)
    staged, descriptor = _open_staged(path, mode)
    try:
        with open(descriptor, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(staged, path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = error.filename or path
        os.unlink(staged)
        raise
    sync_directory(os.path.dirname(path))


def create_file(path: Path, data: bytes, mode: int) -> None:
    """Like ``write_file``, but raises FileExistsError rather than replace a file."""
    path = os.fspath(path)
    staged, _status = stage(path, data, mode)
    link_into_place(staged, path)
    sync_directory(os.path.dirname(path))


def link_into_place(staged: str, path: str) -> None:
    """Give a staged file its name, unless there is a file of that name; the staged name is gone in any case."""
    try:
        _link(staged, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)


def _link(staged: str, path: str) -> None:
    try:
        os.link(staged, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # exFAT, FAT, some CIFS: a file cannot be put there without replacing another in one step, so look first. Who
        # writes here holds the lock of the directory.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
        os.rename(staged, path)


def remove_file(path: Path) -> bool:
    """Remove a file durably; return whether there was one."""
    path = os.fspath(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    sync_directory(os.path.dirname(path))
    return True


def rename_file(source: Path, target: Path) -> None:
    """Rename within one directory, durably."""
    os.rename(source, target)
    sync_directory(os.path.dirname(os.fspath(target)))


def make_directory(path: Path, mode: int) -> bool:
    """Create ``path`` and its missing parents with ``mode``; return whether ``path`` was missing."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return False
    parent = os.path.dirname(path.rstrip("/"))
    if parent:
        make_directory(parent, mode)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if os.path.isdir(path):
            return False
        raise
    sync_directory(parent)
    return True


def make_directories(paths: Iterable[str], mode: int) -> None:
    """Create many directories, whose parents exist, with ``mode``; each parent is synced once."""
    parents = set()
    for path in paths:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode)
            parents.add(os.path.dirname(path))
    for parent in parents:
        sync_directory(parent)


def read_if_there(path: Path) -> bytes | None:
    """Return what is in a file, or None when there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def open_regular(path: Path, *, follow: bool = False) -> BinaryIO:
    """Open what others may have put there: a regular file, not a symbolic link unless told to ``follow`` one.

    Raises OSError for anything else. Never waits, as opening a FIFO would.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, "is a directory" if number == errno.EISDIR else "is not a regular file", os.fspath(path))
    return open(descriptor, "rb")


def last_lines(path: Path, size: int, *, since: int = 0) -> list[bytes]:
    """Return the lines of a log that begin in its last ``size`` bytes, and not before the offset ``since``.

    Lines end at a line feed and nowhere else: what callers send is in them, and can hold all other characters. A log
    that cannot be read, or is not a regular file, has none.
    """
    try:
        with open_regular(path) as stream:
            start = max(since, stream.seek(0, os.SEEK_END) - size)
            stream.seek(max(start - 1, 0))
            content = stream.read(size + 1)
    except OSError:
        return []
    lines = content.split(b"\n")
    # From the byte before on, the first piece is the rest of a line that began earlier, or nothing.
    return [line for line in (lines[1:] if start else lines) if line]


def status(path: Path) -> os.stat_result | None:
    """Return the status of a file, or None when it cannot be had."""
    try:
        return os.stat(path)
    except OSError:
        return None


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # the file system cannot sync a directory: fsync(2)
            error.filename = path
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(path: Path, wait: float = 120.0) -> Iterator[None]:
    """Hold the exclusive lock file ``path`` (created 0600 when missing) for the length of the ``with``.

    The kernel drops it when the process ends, however it ends, so a stale lock cannot exist. Raises MtlsError,
    which names the holder, when another process still holds it after ``wait`` seconds.
    """
    path = os.fspath(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise MtlsError(
                        f"{path}: another run{holder(descriptor)} is still working in this directory after {wait:.0f} "
                        "seconds of waiting; run again when it has finished"
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def holder(descriptor: int) -> str:
    """Return who holds a lock, as far as the kernel tells: not in another container, nor on another machine."""
    status = os.fstat(descriptor)
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as locks:  # proc_locks(5)
            pid = next(int(fields[4]) for fields in map(str.split, locks) if file in fields)
        began = times.process_start(pid)
        user = pwd.getpwuid(os.stat(f"/proc/{pid}").st_uid).pw_name
    except (OSError, StopIteration, ValueError, KeyError):
        return ""
    return f" (process {pid} of {user}, since {times.iso(began)})"


def remove_unfinished(directory: Path) -> None:
    """Remove what killed runs left half written in ``directory``; the caller holds the lock of all who write there."""
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name.startswith(".") and name.endswith(_UNFINISHED):
            os.unlink(os.path.join(directory, name))


def stage(path: str, data: bytes, mode: int, *, durable: bool = True) -> tuple[str, os.stat_result]:
    """Write ``data`` beside ``path``, and return where, and the status of that file: it is for the caller to move."""
    staged, descriptor = _open_staged(path, mode)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(descriptor)
            status = os.fstat(descriptor)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = error.filename or path
        os.unlink(staged)
        raise
    return staged, status


def put(path: str, data: bytes, mode: int, *, durable: bool = True) -> os.stat_result:
    """Write a new file where it belongs, and return its status; for what nobody looks at before it is complete.

    Raises FileExistsError where there is one already.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)  # the umask may have taken bits away
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(descriptor)
            return os.fstat(descriptor)
    except OSError as error:
        error.filename = error.filename or path
        raise


def _open_staged(path: str, mode: int) -> tuple[str, int]:
    # A fixed name: what a killed run left behind is replaced by the next write of the same file.
    staged = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}{_UNFINISHED}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(staged, flags, mode)
    except FileExistsError:
        os.unlink(staged)
        descriptor = os.open(staged, flags, mode)
    os.fchmod(descriptor, mode)  # the umask may have taken bits away
    return staged, descriptor
