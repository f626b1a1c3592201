# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How this run was started, for commands that people are to type after it."""

from __future__ import annotations

import os
import shlex

from ansible import constants as C
from ansible import context


def same_options() -> str:
    """Return the options with which another command reads the same inventory and opens the same vaults.

    They hold no secret: a password itself is on no command line. Files below the current directory are relative to it.
    """
    given = context.CLIARGS
    words = [word for source in given.get("inventory") or C.DEFAULT_HOST_LIST for word in ("-i", _short(source))]
    for identity in given.get("vault_ids") or ():
        words += ["--vault-id", identity]
    for path in given.get("vault_password_files") or ():
        words += ["--vault-password-file", _short(path)]
    for name, option in (("ask_vault_pass", "-J"), ("become_ask_pass", "-K"), ("ask_pass", "-k")):
        if given.get(name):
            words.append(option)
    return shlex.join(words)


def _short(source: str) -> str:
    """Return a path as it is typed here; a list of hosts (with a comma) is none."""
    if "," in source:
        return source
    inside = os.path.relpath(source)
    return source if inside.split(os.sep)[0] == os.pardir else inside
