# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own files that programs on hosts are made of."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping

PACKAGE = "ansible_collections/mtls/nginx/plugins/module_utils"
_MODULE_UTILS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_ROOMS = ("common", "host")


@functools.lru_cache(maxsize=1)
def sources() -> Mapping[str, str]:
    """Return the texts by path, from ``ansible_collections`` on."""
    found = {}
    folder = ""
    for part in PACKAGE.split("/"):
        folder = f"{folder}{part}/"
        found[f"{folder}__init__.py"] = ""  # else an installed Ansible would be asked first
    for room in _ROOMS:
        source = os.path.join(_MODULE_UTILS, room)
        for name in sorted(os.listdir(source)):
            if name.endswith(".py"):
                with open(os.path.join(source, name), encoding="utf-8") as stream:
                    found[f"{PACKAGE}/{room}/{name}"] = stream.read()
    return found
