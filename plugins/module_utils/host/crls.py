# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CRLs that a host has, wherever they are below ``client-certs``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.entry import describe

LARGEST = 1 << 26  # bytes of all files together: more than a million revoked certificates in PEM
_OTHER_CHARACTERS = re.compile(rb"[^\n -~]")


@dataclass(frozen=True)
class CrlFile:
    """A file ``crl.pem`` and its content, in which characters that PEM has no use for are question marks."""

    path: str
    content: str


def read_all(conf_dir: str, warn: Callable[[str], None], *, most: int = LARGEST) -> list[CrlFile]:
    """Return the regular files ``client-certs/**/crl.pem`` below nginx's directory, by path.

    Symbolic links are not followed. ``warn`` is called for what is there and cannot be read, and for files that do not
    fit into ``most`` bytes with those before them.
    """
    found = []
    left = most
    top = os.path.join(conf_dir, "client-certs")
    for folder, names, _files in os.walk(top, onerror=lambda error: _tell(error, warn)):
        names.sort()
        path = os.path.join(folder, "crl.pem")
        try:
            with files.open_regular(path) as stream:
                content = stream.read(left + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            _tell(error, warn)
            continue
        if len(content) > left:
            warn(f"{path}: was not read, because the CRLs of this host have more than {most:,} bytes")
            continue
        left -= len(content)
        text = _OTHER_CHARACTERS.sub(b"?", content.replace(b"\r\n", b"\n"))
        found.append(CrlFile(path, text.decode("ascii")))
    return found


def _tell(error: OSError, warn: Callable[[str], None]) -> None:
    if not isinstance(error, FileNotFoundError):  # a host without services has no CRL
        warn(describe(error))
