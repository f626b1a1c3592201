# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the host treats nginx's logs (logrotate(8)): whose they are, where old ones go, with what they are compressed."""

from __future__ import annotations

import contextlib
import glob
import grp
import os
import pwd
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.common import files

_OF_NGINX = "/etc/logrotate.d/nginx"
_ALL = ("/etc/logrotate.conf", "/etc/logrotate.d/*")
_CREATE = re.compile(r"^[ \t]*create[ \t]+(0?[0-7]{3})[ \t]+(\S+)[ \t]+(\S+)", re.MULTILINE)
_OLD_FOLDER = re.compile(r'^[ \t]*olddir[ \t]+"?([^"\n]*?)"?[ \t]*$', re.MULTILINE)
_STRICT = 0o640
# What a compressed file begins with; Python reads gzip only, everywhere.
_COMPRESSED = {b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\x04\x22\x4d\x18": "lz4"}
_LONGEST_START = max(map(len, _COMPRESSED))


@dataclass(frozen=True)
class Ownership:
    """What a new log is like: mode, user and group."""

    mode: int
    uid: int
    gid: int


def ownership() -> Ownership:
    """Return what logrotate makes nginx's logs, so that they are the same before the first rotation."""
    match = _CREATE.search(_text(_OF_NGINX))
    with contextlib.suppress(KeyError):
        if match:
            return Ownership(int(match[1], 8), pwd.getpwnam(match[2]).pw_uid, grp.getgrnam(match[3]).gr_gid)
    return Ownership(_STRICT, os.geteuid(), os.getegid())


def create_missing(paths: Iterable[str]) -> None:
    """Create the logs that are not there yet: nginx itself makes them 0644, with names and URLs for everybody to read.

    Whatever cannot be created is left to nginx, which says so.
    """
    wanted: Ownership | None = None
    for path in paths:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            continue
        try:
            wanted = wanted or ownership()
            # Not root, or root where that user is unknown (a rootless container: EINVAL): then it is ours.
            with contextlib.suppress(OSError):
                os.fchown(descriptor, wanted.uid, wanted.gid)
            os.fchmod(descriptor, wanted.mode)
        finally:
            os.close(descriptor)


def folders(log_dir: str) -> list[str]:
    """Return the folders that have logs of ``log_dir``, those with old ones too (``olddir``)."""
    texts = (_text(path) for pattern in _ALL for path in sorted(glob.glob(pattern)))
    old = [os.path.normpath(os.path.join(log_dir, value)) for text in texts for value in _OLD_FOLDER.findall(text)]
    return [folder for folder in dict.fromkeys([log_dir, *old]) if os.path.isdir(folder)]


def compression(path: str) -> str | None:
    """Return with what a log is compressed that cannot be read here, or None."""
    try:
        with files.open_regular(path) as stream:
            start = stream.read(_LONGEST_START)
    except OSError:
        return None
    return next((name for magic, name in _COMPRESSED.items() if start.startswith(magic)), None)


def _text(path: str) -> str:
    try:
        return (files.read_if_there(path) or b"").decode("utf-8", "replace")
    except OSError:
        return ""
