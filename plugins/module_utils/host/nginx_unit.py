# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nginx's unit, where systemd runs it: our drop-in that has it started again, and what others confine it to.

Debian's unit has no ``Restart=``. An upstream's name that does not resolve yet, or an address that comes later, leaves
nginx down for good after a power cut. With ``RestartSec=5`` systemd's limit of five starts in ten seconds is never met.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, one_line
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import (
    DEFAULT_CONF,
    UNIT,
    Process,
    run,
    systemd_runs,
)

# systemd.unit(5), "Unit File Load Path": the first one that has the unit counts.
FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
# The number has it read before drop-ins of the host's own, which win.
DROP_IN = f"{FOLDERS[0]}/{UNIT}.d/10-mtls-nginx.conf"
_RESTART = (
    f"{nginx_conf.MARKER}: changes made here are overwritten. mtls_nginx_restart: false removes it.\n"
    "[Service]\n"
    "Restart=on-failure\n"
    "RestartSec=5\n"
).encode()

_SETTING = re.compile(r"^[ \t]*([A-Za-z]+)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
# systemd.exec(5): what gives the processes of a unit another view of the file system.
_VIEWS = frozenset(
    [
        "BindPaths",
        "BindReadOnlyPaths",
        "InaccessiblePaths",
        "MountImages",
        "RootDirectory",
        "RootImage",
        "TemporaryFileSystem",
    ]
)
_COPIES = frozenset(["BindPaths", "BindReadOnlyPaths", "LoadCredential"])
# … and what takes something away from them.
_CONFINED = _VIEWS | frozenset(
    [
        "AmbientCapabilities",
        "CapabilityBoundingSet",
        "DynamicUser",
        "Group",
        "LimitNOFILE",
        "LimitNPROC",
        "MemoryDenyWriteExecute",
        "MemoryMax",
        "NoNewPrivileges",
        "PrivateUsers",
        "ProtectHome",
        "ProtectSystem",
        "ReadOnlyPaths",
        "RestrictAddressFamilies",
        "SystemCallFilter",
        "TasksMax",
        "User",
    ]
)


def drop_in(conf_path: str, *, restart: bool) -> dict[str, bytes | None]:
    """Return what should be in our drop-in, by path: None for nothing. Empty where it is not this nginx's unit."""
    if conf_path != DEFAULT_CONF:
        return {}
    return {DROP_IN: _RESTART if restart and systemd_runs() and _leaves_it_down() else None}


def put_in_place(content: bytes | None) -> None:
    """Write or remove our drop-in, and have systemd read it.

    :raises MtlsError: systemd does not.
    ::raises OSError: it cannot be written.
    """
    folder = os.path.dirname(DROP_IN)
    if content is None:
        os.unlink(DROP_IN)
        if not os.listdir(folder):
            os.rmdir(folder)
    else:
        files.make_directory(folder, 0o755)
        files.write_file(DROP_IN, content, 0o644)
    if systemd_runs():
        done = run(["systemctl", "daemon-reload"])
        if done.code:
            raise MtlsError(f"systemctl daemon-reload: {done.output.strip()}")


def confinement(conf_path: str) -> str:
    """Return which drop-ins of the host's own confine nginx, as the end of a sentence; empty where none does."""
    found = _quoted(_CONFINED) if conf_path == DEFAULT_CONF and systemd_runs() else ""
    return f" ({UNIT} is confined by {found})" if found else ""


def unseen(master: Process, paths: Iterable[str]) -> str | None:
    """Return why the running nginx does not see one of the files at ``paths``, or None.

    Where a file that is a mount is replaced, Linux drops the mount (3.18): one that is bound to itself is no trouble.
    """
    namespace = f"/proc/{master.pid}/ns/mnt"
    try:
        if os.readlink(namespace) == os.readlink("/proc/self/ns/mnt"):
            return None
        path = next((path for path in paths if _is_hidden(path, f"/proc/{master.pid}/root")), None)
    except OSError:
        return None  # not root: nginx is asked in other ways
    if path is None:
        return None
    by = _quoted(_VIEWS)
    return (
        f"nginx does not see {path}, but something else in its place{f', because of {by}' if by else ''}. Remove "
        "that, or bind the folder to itself, and restart nginx"
    )


def copies(paths: Collection[str]) -> list[str]:
    """Return warnings about those of ``paths`` that systemd shows nginx in another place, as they were at its start."""
    found = []
    for file, name, value in _settings(_COPIES):
        for words in value.split():
            first, _colon, second = words.lstrip("-").partition(":")
            source = second if name.startswith("LoadCredential") else first
            if source in paths and second not in ("", first):
                found.append(
                    f"{source} changes, but {file} ({name}={words}) shows nginx the one from when it started: what "
                    "reads that keeps the old one until nginx is restarted"
                )
    return found


def _leaves_it_down() -> bool:
    """Tell whether there is a unit, and it does not say itself when it is started again."""
    path = next((path for folder in FOLDERS if os.path.lexists(path := os.path.join(folder, UNIT))), None)
    text = _read(path) if path else ""  # empty where it is masked, too
    return bool(text) and all(value in ("", "no") for name, value in _SETTING.findall(text) if name == "Restart")


def _is_hidden(path: str, root: str) -> bool:
    real = os.path.realpath(path)
    while not os.path.exists(real):
        real = os.path.dirname(real)
    try:
        return not os.path.samestat(os.stat(real), os.stat(f"{root}{real}"))
    except (FileNotFoundError, NotADirectoryError):
        return True


def _quoted(names: Collection[str]) -> str:
    by_file: dict[str, list[str]] = {}
    for file, name, value in _settings(names):
        by_file.setdefault(file, []).append(one_line(f"{name}={value}"))
    return "; ".join(f"{file}: {', '.join(lines)}" for file, lines in by_file.items())


def _settings(names: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Yield file, name and value of such settings in drop-ins of the host's own."""
    for folder in FOLDERS[:-1]:
        for path in sorted(glob.glob(os.path.join(folder, f"{UNIT}.d", "*.conf"))):
            for name, value in _SETTING.findall(_read(path)):
                if name in names:
                    yield path, name, value


def _read(path: str) -> str:
    try:
        return (files.read_if_there(path) or b"").decode("utf-8", "replace")
    except OSError:
        return ""
