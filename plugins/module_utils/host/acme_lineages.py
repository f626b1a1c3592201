# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What certbot renews for us: its "lineages", each with a file of settings in ``renewal``."""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Mapping

CONFIG_DIR = "/etc/letsencrypt"
PREFIX = "mtls-"
_SETTING = re.compile(r"^(?P<name>server|renew_hook) = (?P<value>.*?)\s*$", re.MULTILINE)


def compare(hook: str, lineages: Mapping[str, str], config_dir: str = CONFIG_DIR) -> dict[str, list[str]]:
    """Return how certbot's settings differ from ``lineages``: addresses of ACME directories by name.

    ``outdated`` are those that certbot would renew elsewhere or without ``hook``, or does not know; ``abandoned`` have
    that hook, and are not in ``lineages``.
    """
    known = {}
    for path in glob.glob(os.path.join(glob.escape(config_dir), "renewal", f"{PREFIX}*.conf")):
        known[os.path.basename(path)[: -len(".conf")]] = _settings(path)
    command = _bare(command_of(hook))
    wanted = {name: {"server": server, "renew_hook": command} for name, server in lineages.items()}
    return {
        "outdated": sorted(name for name, settings in wanted.items() if known.get(name) != settings),
        "abandoned": sorted(
            name for name, settings in known.items() if settings.get("renew_hook") == command and name not in wanted
        ),
    }


def command_of(hook: str) -> str:
    """Return how a program is called by certbot, which hands a hook to a shell."""
    return shlex.quote(hook)


def _settings(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return {match["name"]: _bare(match["value"]) for match in _SETTING.finditer(stream.read())}
    except OSError:
        return {}


def _bare(value: str) -> str:
    """Return a value without quotes: certbot's file has more of them, where there are some."""
    return re.sub("[\"']", "", value)
