# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who besides its owner gets at an authority's directory: git, exFAT and ``cp`` without ``-p`` lose modes.

What is written here has 0600 or 0700, but for certificates and CRLs in a directory of 0700.
"""

from __future__ import annotations

import os
import shlex
import stat

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import Layout
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few

OTHERS = stat.S_IRWXG | stat.S_IRWXO  # what lets anybody but its owner at a file
_NO_MODES = "where the file system keeps no modes, mount it with umask=077"


def check(path: str) -> list[str]:
    """Return warnings about what others may read, or their group may change, in the authority's directory ``path``.

    The files of the holders are left to those who look at each of them anyway.

    :raises MtlsError: anybody may change it, and so let in whom they like.
    """
    status = files.status(path)
    if status is None:
        return []
    modes = {path: status.st_mode, **_modes_in(path)}
    anybody = [name for name, mode in modes.items() if mode & stat.S_IWOTH]
    if anybody:
        raise MtlsError(
            f"{first_few(anybody)}: everybody on this machine may write to it, and so let in whom they like; run "
            f"`{remedy(path)}` ({_NO_MODES}), and see whether index.txt and ca.crt are still yours"
        )
    warnings = []
    group = [name for name, mode in modes.items() if mode & stat.S_IWGRP]
    if group:
        warnings.append(
            f"{first_few(group)}: the members of its group may write to it, and so let in whom they like; run "
            f"`{remedy(path)}` ({_NO_MODES})"
        )
    elif status.st_mode & OTHERS:
        warnings.append(
            f"{path}: other users may look into it (mode {stat.S_IMODE(status.st_mode):04o}), and read each key whose "
            f"own mode lets them; run `{remedy(path)}` ({_NO_MODES})"
        )
    registers = [os.path.join(folder, "register.json") for folder in (Layout(path).clients, Layout(path).servers)]
    exposed = [name for name in registers if is_exposed(files.status(name))]
    if exposed:
        warnings.append(
            f"{first_few(exposed)}: can be read by others, and passwords can be guessed from it; run `{remedy(path)}`"
        )
    return warnings


def is_exposed(status: os.stat_result | None) -> bool:
    """Tell whether the mode of a secret file, if it is there, lets anybody but its owner at it."""
    return status is not None and keys.readable_by_others(status)


def remedy(path: str) -> str:
    """Return the command that takes everything below ``path`` from everybody but its owner."""
    return f"chmod -R go= {shlex.quote(path)}"


def _modes_in(path: str) -> dict[str, int]:
    """Return the modes of the files and folders directly in the directory; of a link, those of where it leads."""
    modes = {}
    with os.scandir(path) as entries:
        for entry in entries:
            status = files.status(entry.path)
            if status is not None and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                modes[entry.path] = status.st_mode
    return dict(sorted(modes.items()))
