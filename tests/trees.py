# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is below a folder, so that whatever touches it is noticed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """A file, a folder (without content) or a link (its target); the inode tells the very same one from a copy."""

    inode: int
    mode: int
    owner: int
    links: int
    content: bytes


def tree(folder: Path) -> dict[str, Entry]:
    """Everything below a folder, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        link = os.fsencode(os.readlink(path)) if path.is_symlink() else None
        content = path.read_bytes() if link is None and path.is_file() else link or b""
        found[str(path.relative_to(folder))] = Entry(
            status.st_ino, status.st_mode, status.st_uid, status.st_nlink, content
        )
    return found
