# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``worker_shutdown_timeout``: how long a connection may live on after a reload.

A websocket, a running download, and a connection that has not made its first request yet stay with the old worker
processes, which know nothing of a revocation. This directive ends them, and the main context, where it belongs, has no
``conf.d``. So it goes into a file of ours in a folder that the main context includes (``modules-enabled`` in Debian's
and Ubuntu's packages), and where there is none, into one marked line of nginx.conf. nginx accepts the directive only
once: a host that sets its own keeps it.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf

DIRECTIVE = "worker_shutdown_timeout"
FILE_NAME = "mtls-shutdown.conf"

_OUR_LINE = re.compile(rf"^[ \t]*{DIRECTIVE}\b[^\n]*;[ \t]*{nginx_conf.MARKER}[^\n]*\n?", re.MULTILINE)
# ngx_parse_time() in nginx's src/core/ngx_parse.c; a number without a unit is seconds.
_PART = re.compile(r"(\d+)(ms|[smhdw]?)")
_SECONDS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_time(value: str) -> float:
    """Return the seconds of a time as nginx writes it, for example 1m30s."""
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(value))


class OwnBound(NamedTuple):
    """The value that the host sets itself: as it is written, and in which file."""

    value: str
    file: str

    def warning(self, seconds: int | None) -> str | None:
        """Return the warning where connections may live longer than ``seconds`` (0: no limit is wanted), or None."""
        own = parse_time(self.value)
        if not seconds or 0 < own <= seconds:
            return None
        return (
            f"{self.file} sets worker_shutdown_timeout {self.value}, which was left alone: connections from before a"
            f" revocation may live longer than the {seconds} seconds that were asked for"
        )


class ShutdownPlan(NamedTuple):
    """What is to be done: contents of files of ours (None: is to be removed), and the new nginx.conf.

    ``main`` is None where nginx.conf stays as it is.
    """

    files: Mapping[str, bytes | None] = MappingProxyType({})
    main: bytes | None = None
    own: OwnBound | None = None


def plan(conf_path: str, seconds: int) -> ShutdownPlan:
    """Return how the host gets the limit; with 0 seconds, how it loses what we wrote.

    ::raises OSError: nginx.conf cannot be read.
    :raises MtlsError: nginx.conf would have to be edited and is a symbolic link.
    """
    configuration = nginx_conf.load(conf_path, main_context_only=True)
    if configuration.main.error:
        return ShutdownPlan()  # nginx will be asked, and says it better
    own = next(
        (
            OwnBound(" ".join(statement.directive.values), statement.file.path)
            for statement in configuration.find(DIRECTIVE, ())
            if not statement.managed
        ),
        None,
    )
    line = f"{DIRECTIVE} {seconds}s;" if seconds and own is None else None
    path = _path_of_ours(configuration)
    files: dict[str, bytes | None] = {}
    if path is not None:
        files[path] = _file_of_ours(line) if line else None
    text = configuration.main.text
    new_text = _with_line(text, line if path is None else None)
    if new_text == text:
        return ShutdownPlan(files, None, own)
    if os.path.islink(conf_path):
        raise MtlsError(
            f"{conf_path}: is a symbolic link, and is not edited for that reason; put '{DIRECTIVE} {seconds}s;' into"
            " it yourself, or set mtls_shutdown_timeout: 0 to let connections outlive a reload"
        )
    return ShutdownPlan(files, new_text.encode("utf-8", "surrogateescape"), own)


def _path_of_ours(configuration: nginx_conf.Configuration) -> str | None:
    """Return where a file of ours is read in the main context, if anywhere in nginx's own folder."""
    for statement in configuration.find("include", ()):
        if len(statement.directive.args) != 1:
            continue
        pattern = os.path.join(configuration.conf_dir, statement.directive.values[0])
        folder, name = os.path.split(os.path.normpath(pattern))
        if not folder.startswith(configuration.conf_dir + "/") or glob.has_magic(folder):
            continue
        if glob.has_magic(name) and fnmatch.fnmatchcase(FILE_NAME, name):
            return os.path.join(folder, FILE_NAME)
    return None


def _file_of_ours(line: str) -> bytes:
    return (
        f"{nginx_conf.MARKER}: changes made here are overwritten.\n"
        "# After this time old worker processes close their last connections, so no revoked client stays connected.\n"
        f"{line}\n"
    ).encode()


def _with_line(text: str, line: str | None) -> str:
    """Return nginx.conf with our line, where it stands already or else on top; or without it."""
    marked = f"{line}  {nginx_conf.MARKER}\n" if line else ""
    if _OUR_LINE.search(text):
        return _OUR_LINE.sub(marked, text, count=1)
    return marked + text
