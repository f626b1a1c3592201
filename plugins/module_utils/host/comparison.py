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
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, nginx_unit, shutdown, swap
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import (
    ChangeRequest,
    Snippet,
    SnippetPlaces,
    Textfile,
    WantedFile,
)


class FileChange(NamedTuple):
    """One file that differs; ``kind`` is created, changed or removed, ``before`` is None where there was no content."""

    path: str
    kind: str
    before: bytes | None
    before_mode: int | None
    wanted: WantedFile | None


def with_textfile(request: ChangeRequest) -> ChangeRequest:
    """Return the request with the metrics of the files that it puts in place."""
    textfile = request.textfile
    if textfile is None or folder_in_the_way(textfile):
        return request
    # Only here: most hosts have none, and need not load what reads certificates.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import end_dates

    new: dict[str, bytes | None] = {wanted.path: wanted.content for wanted in request.wanted}
    new.update(dict.fromkeys(request.absent))
    content = end_dates.render(textfile, lambda path: new[path] if path in new else _read_if_possible(path))
    return request._replace(wanted=[*request.wanted, WantedFile(textfile.path, content, shared_folder=True)])


def _read_if_possible(path: str) -> bytes | None:
    """Return what is in a file, or None where it cannot be read.

    For the metrics: a broken certificate of the host's own must not keep a CRL from being installed.
    """
    try:
        return read(path)
    except (MtlsError, OSError):
        return None


def folder_in_the_way(textfile: Textfile) -> bool:
    """Tell whether there is a folder in the place of the metrics, so that they cannot be written.

    Whoever may write there must not be able to keep a CRL from being installed.
    """
    return os.path.isdir(textfile.path) and not os.path.islink(textfile.path)


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


def _fingerprint(path: str) -> str | None:
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
    fingerprints: Mapping[str, str | None]
    own_bound: shutdown.OwnBound | None = None
    snippets: SnippetPlaces = SnippetPlaces()


def look(conf_path: str, paths: Sequence[str], request: ChangeRequest, binary: str = "nginx") -> Look:
    """Compare what can be compared before the contents are known; ``paths`` are all files, which ``request`` lacks.

    Whatever cannot be read, or would be refused, counts as not settled: the transaction then says why.

    :raises swap.Busy: another run is working on the host.
    """
    conf_dir = os.path.dirname(conf_path)
    try:
        with swap.exclusive(conf_dir):
            refuse_strays(request._replace(absent=paths))
            beside, own_bound = with_bound(with_restart(with_textfile(request), conf_path), conf_path)
            settled = not swap.Swap(conf_dir).unfinished and not compare(beside)
            if request.textfile is not None and folder_in_the_way(request.textfile):
                settled = False  # who carries the request out says so
            places = snippet_places(conf_path, request.snippets)
            found = {path: _fingerprint(path) for path in paths}
            if request.renewals is not None:
                found[request.renewals.folder] = _renewals(request.renewals.folder, binary, conf_path)
            return Look(settled, found, own_bound, places)
    except swap.Busy:
        raise
    except (MtlsError, OSError):
        return Look(False, {})


def _renewals(folder: str, binary: str, conf_path: str) -> str | None:
    if not os.path.isdir(folder):
        return None
    # Only here: most hosts have none.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_process, renewals

    return renewals.look(folder, nginx_process.Nginx(binary, conf_path))


def snippet_places(
    conf_path: str,
    wanted: Sequence[Snippet],
    configuration: nginx_conf.Configuration | None = None,
    *,
    judge: bool = True,
) -> SnippetPlaces:
    """Return where the snippets are included, in this configuration or else in that on disk.

    Without ``judge`` only where they can be asked.

    :raises MtlsError: one is included where it protects nothing.
    """
    if not wanted:
        return SnippetPlaces()
    # Only here: most hosts have none, and need not load what looks for them.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import snippets

    configuration = configuration or nginx_conf.load(conf_path)
    unguarded = snippets.included_nowhere(configuration, wanted) if judge else []
    return SnippetPlaces(unguarded, snippets.gates(configuration, wanted))


def held(expected: Mapping[str, str | None]) -> dict[str, dict[str, Any]]:
    """Return the certificates and CRLs of those files that are not as ``expected`` (fingerprints), by path.

    See ``certificates.Contents.as_answer``. Missing files are left out.
    """
    found = {}
    for path, fingerprinted in expected.items():
        content = None if _fingerprint(path) == fingerprinted else read(path)
        if content is not None:
            # Only here: an unchanged host need not load what reads certificates.
            from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates

            found[path] = certificates.read(content).as_answer()
    return found


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
            raise MtlsError(f"{path}: is no regular file; move it away") from None
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
