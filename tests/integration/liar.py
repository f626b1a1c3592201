# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A compromised host: its "Python" answers what it likes to whatever module Ansible sends."""

from __future__ import annotations

import json
import pathlib
import sys

from .conftest import Site

# Ansible runs it as it runs any Python: with a module's file, or with the module on standard input.
_PROGRAM = """#!{python}
import json, pathlib, re, subprocess, sys

lies = json.loads(pathlib.Path({lies!r}).read_text())
source = pathlib.Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else sys.stdin.buffer.read()
named = re.search(rb"ansible(?:_collections\\.mtls\\.nginx\\.plugins)?\\.modules\\.(\\w+)", source)
module = named[1].decode() if named else "unknown"
if module == "nginx_glance" and module not in lies:  # it wants a closer look, and lies there
    print(json.dumps({{"changed": False, "nginx": None}}))
    sys.exit(0)
with open({heard!r}, "a") as log:
    log.write(module + "\\n")
for lie in lies.get(module, []):
    if "first" in lie:
        marker = pathlib.Path({lies!r} + "." + module)
        calls = len(marker.read_text()) if marker.exists() else 0
        if calls >= lie["first"]:
            continue
        marker.write_text("." * (calls + 1))
    if "print" in lie:
        sys.stdout.write(lie["print"])
        sys.stderr.write(lie.get("stderr", ""))
        sys.exit(lie.get("code", 0))
    done = subprocess.run([{python!r}, *sys.argv[1:]], input=source, stdout=subprocess.PIPE)
    answer = json.loads(done.stdout)
    for path, value in lie["set"]:
        place = answer
        try:
            for key in path[:-1]:
                place = place.setdefault(key, {{}}) if isinstance(place, dict) else place[key]
            place[path[-1]] = value
        except IndexError:  # a list that this answer leaves empty
            pass
    sys.stdout.write(json.dumps(answer))
    sys.exit(0)
sys.exit(subprocess.run([{python!r}, *sys.argv[1:]], input=source).returncode)
"""


class Liar:
    """Makes a host of a site lie. A module that it has no lie for is answered honestly."""

    def __init__(self, site: Site, host: str) -> None:
        self._lies = site.folder / f"{host}.lies.json"
        self._heard = site.folder / f"{host}.heard"
        program = site.folder / f"{host}-python"
        program.write_text(
            _PROGRAM.format(python=sys.executable, lies=str(self._lies), heard=str(self._heard)), encoding="utf-8"
        )
        program.chmod(0o755)
        site.host_vars[host]["ansible_python_interpreter"] = str(program)
        self.tell()

    def tell(self, **lies: list[dict]) -> None:
        """The lies by module: `{"print": text}` instead of an answer, or `{"set": [(path, value), …]}` within one.

        With `first` only so many calls of the module are answered with it.
        """
        self._lies.write_text(json.dumps(lies), encoding="utf-8")
        self._heard.write_text("", encoding="utf-8")
        for marker in self._lies.parent.glob(f"{self._lies.name}.*"):
            marker.unlink()

    @property
    def heard(self) -> list[str]:
        """The modules that were sent to it since it was last told what to say."""
        return self._heard.read_text(encoding="utf-8").split()


def everything(folder: pathlib.Path) -> bytes:
    """All that is in the files below a folder."""
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
