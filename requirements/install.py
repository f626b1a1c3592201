# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""install.py PYTHON ARGUMENT...: `pip install` with these arguments, for an environment's Python.

uv does it in a tenth of pip's processor time. It does not read pip's settings: those that say where packages come from
are handed on. Where there are others, or no uv (venv.sh installs it), or uv cannot do it, pip does.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

UV = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "uv"
# What pip calls it: uv's variable, and what is between several values there.
SETTINGS = {
    "cert": ("SSL_CERT_FILE", " "),
    "constraint": ("UV_CONSTRAINT", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "index-url": ("UV_DEFAULT_INDEX", " "),
}
# Of these uv need not know.
ITS_OWN = {
    "cache-dir",
    "config-file",
    "default-timeout",
    "disable-pip-version-check",
    "no-cache-dir",
    "quiet",
    "retries",
    "timeout",
}


def pip_settings(python: str) -> dict[str, str]:
    """pip's settings for `pip install` by name, from its files and from the environment, which goes before them."""
    listed = subprocess.run([python, "-m", "pip", "config", "list"], stdout=subprocess.PIPE, text=True, check=True)
    parts: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.stdout.splitlines():
        name, value = line.split("=", maxsplit=1)
        part, _dot, setting = name.rpartition(".")
        if part in parts:
            parts[part][setting] = ast.literal_eval(value)
    return {setting: value for part in parts.values() for setting, value in part.items()}


def uv_environment(settings: dict[str, str]) -> dict[str, str] | None:
    """The same in uv's variables, or None where it cannot be said there."""
    if settings.keys() - SETTINGS.keys() - ITS_OWN:
        return None
    # As pip does: the best version, wherever it is.
    environment = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    for name in SETTINGS.keys() & settings.keys():
        variable, between = SETTINGS[name]
        environment[variable] = between.join(settings[name].split())
    return environment


def main(python: str, arguments: list[str]) -> int:
    environment = uv_environment(pip_settings(python)) if UV.exists() else None
    if environment is not None:
        command = [str(UV), "pip", "install", "--quiet", "--python", python, *arguments]
        if subprocess.run(command, env={**os.environ, **environment}, check=False).returncode == 0:
            return 0
        sys.stderr.write("uv cannot install these (see above): pip tries.\n")
    return subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
