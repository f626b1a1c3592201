# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host should have, compared with what it has. Reads, and changes nothing."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, nginx_unit, shutdown, swap
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, WantedFile


class FileChange(NamedTuple):
    """One file that differs; ``kind`` is created, changed or removed, ``before`` is None where there was no content."""

    path: str
    kind: str
    before: bytes | None
    before_mode: int | None
    wanted: WantedFile | None


def with_bound(request: ChangeRequest, conf_path: str) -> tuple[ChangeRequest, shutdown.OwnBound | None]:
    """Return the request with ``worker_shutdown_timeout`` as it asks for it, and the host's own setting, if any."""
    if request.shutdown_timeout is None:
        return request, None
    plan = shutdown.plan(conf_path, request.shutdown_timeout)
    wanted = [WantedFile(path, content) for path, content in plan.files.items() if content is not None]
    absent = [path for path, content in plan.files.items() if content is None]
    if plan.main is not None:
        status = os.stat(conf_path)
        owner = (status.st_uid, status.st_gid)
        wanted.append(WantedFile(conf_path, plan.main, status.st_mode & 0o7777, owner=owner))
    return request._replace(wanted=[*request.wanted, *wanted], absent=[*request.absent, *absent]), plan.own


def with_restart(request: ChangeRequest, conf_path: str) -> ChangeRequest:
    """Return the request with the drop-in by which systemd starts nginx again, where that runs it."""
    if request.restart is None:
        return request
    found = nginx_unit.drop_in(conf_path, restart=request.restart)
    wanted = [WantedFile(path, content) for path, content in found.items() if content is not None]
    absent = [path for path, content in found.items() if content is None]
    return request._replace(wanted=[*request.wanted, *wanted], absent=[*request.absent, *absent])


def compare(request: ChangeRequest) -> list[FileChange]:
    """Return the files that differ.

    :raises MtlsError: something else than a regular file is in the place of one.
    """
    changes = []
    for wanted in request.wanted:
        status = _status(wanted.path, follow=not wanted.shared_folder)
        if status is not None and wanted.shared_folder and not stat.S_ISREG(status.st_mode):
            changes.append(FileChange(wanted.path, "changed", None, None, wanted))
            continue
        before = read(wanted.path, follow=not wanted.shared_folder)
        if status is None:
            changes.append(FileChange(wanted.path, "created", None, None, wanted))
            continue
        mode = status.st_mode & 0o7777
        owner = wanted.owner[0] if wanted.owner else os.geteuid()
        group = status.st_gid if wanted.group is None else wanted.group
        if (before, mode, status.st_uid, status.st_gid) != (wanted.content, wanted.mode, owner, group):
            changes.append(FileChange(wanted.path, "changed", before, mode, wanted))
    for path in request.absent:
        status = _status(path)
        if status is not None:
            changes.append(FileChange(path, "removed", read(path), status.st_mode & 0o7777, None))
    return changes


def fingerprint(content: bytes, mode: int) -> str:
    """Return what ``look`` reports of a file that is as ``compare`` wants it."""
    return f"{mode:04o} {hashlib.sha256(content).hexdigest()}"


def fingerprint_of(path: str) -> str | None:
    """Return the ``fingerprint`` of a file of ours, None where there is none, or words of what is there instead."""
    status = _status(path)
    if status is None:
        return None
    content = read(path)
    if content is None or status.st_uid != os.geteuid():
        return "not ours"  # a link that leads nowhere, or another owner
    return fingerprint(content, status.st_mode & 0o7777)


class Look(NamedTuple):
    """What a host has: ``fingerprints`` by path, None where there is no file.

    ``settled``: nothing else differs from the request. ``own_bound`` is the host's own ``worker_shutdown_timeout``.
    """

    settled: bool
    fingerprints: dict[str, str | None]
    own_bound: shutdown.OwnBound | None = None


def look(conf_path: str, paths: Sequence[str], request: ChangeRequest) -> Look:
    """Compare what can be compared before the contents are known; ``paths`` are all files, which ``request`` lacks.

    :raises MtlsError, OSError: something cannot be read, or would be refused.
    :raises swap.Busy: another run is working on the host.
    """
    conf_dir = os.path.dirname(conf_path)
    with swap.exclusive(conf_dir):
        refuse_strays(request._replace(absent=paths))
        beside, own_bound = with_bound(with_restart(request, conf_path), conf_path)
        settled = not swap.Swap(conf_dir).unfinished and not compare(beside)
        return Look(settled, {path: fingerprint_of(path) for path in paths}, own_bound)


def _status(path: str, *, follow: bool = True) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow)
    except FileNotFoundError:
        return os.lstat(path) if os.path.islink(path) else None


def read(path: str, *, follow: bool = True) -> bytes | None:
    """Return the content of a regular file, None where there is none.

    :raises MtlsError: something else has that name.
    """
    try:
        with files.open_regular(path, follow=follow) as handle:
            return handle.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise MtlsError(f"{path}: there is a directory of that name; move it away") from None
        if error.errno in (errno.EINVAL, errno.ELOOP, errno.ENXIO):
            raise MtlsError(f"{path}: is not a regular file; move it away") from None
        raise


def refuse_strays(request: ChangeRequest) -> None:
    """Raise MtlsError for files of ours that match ``owned``, and are neither wanted nor absent."""
    known = {wanted.path for wanted in request.wanted} | set(request.absent)
    found = sorted({path for pattern in request.owned for path in glob.glob(pattern)} - known)
    strays = [path for path in found if nginx_conf.is_managed(read(path) or b"")]
    if strays:
        raise MtlsError(
            f"{', '.join(strays)}: written by mtls.nginx for a service that is no longer listed, and still served."
            " List the service with state: absent to have it removed, or as before to keep it"
        )
