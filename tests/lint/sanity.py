# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ``ansible-test sanity`` on a copy of the checkout, without ignore files.

ansible-test wants the collection in a git repository below ``ansible_collections/mtls/nginx``, keeps its virtual
environments in the home directory and hides pip's environment variables from pip. All three are given to it in
``build/sanity``, so that nothing outside the checkout is written.
"""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "sanity"
TREE = WORK / "ansible_collections" / "mtls" / "nginx"
HOME = WORK / "home"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
OLDEST = "3.9"  # the oldest Python of a target

# ansible-test downloads a script of this name and calling convention. The pip at hand can do the same for each of its
# ten environments, and need not compile what runs once.
GET_PIP = f"""\
import subprocess
import sys

arguments = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([{sys.executable!r}, "-m", "pip", "--python", sys.executable, "install", *arguments])
"""


def copy_checkout() -> None:
    """Copy what git knows or would add, so that neither builds nor environments are looked at."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    shutil.rmtree(TREE, ignore_errors=True)
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, TREE / name
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet"], cwd=TREE, check=True)


def prepare_home(*pythons: str) -> None:
    """Write pip's settings and the bootstrap script where ansible-test's pip finds them."""
    from ansible_test._internal.python_requirements import get_venv_packages

    for python in pythons:
        version = get_venv_packages(SimpleNamespace(version=python))["pip"]
        script = HOME / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(GET_PIP)

    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], stdout=subprocess.PIPE, text=True, check=True
    )
    settings = configparser.RawConfigParser()
    settings["global"] = {}
    for line in reversed(listed.stdout.splitlines()):  # the environment's values come first in the list, and win
        name, value = line.split("=", maxsplit=1)
        settings["global"][name.rpartition(".")[2]] = ast.literal_eval(value)
    settings["global"]["quiet"] = "1"
    settings["install"] = {"no-compile": "true"}
    configuration = HOME / ".config" / "pip" / "pip.conf"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    with configuration.open("w") as file:
        settings.write(file)


def older_python() -> str | None:
    """The oldest Python at hand that a target may have, if it is older than the one that runs this."""
    check = ["", "-c", "import ensurepip"]
    for minor in range(int(OLDEST.partition(".")[2]), sys.version_info.minor):
        check[0] = f"python3.{minor}"
        if shutil.which(check[0]) and subprocess.run(check, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return f"3.{minor}"
    return None


def sanity(*options: str) -> int:
    command = ["ansible-test", "sanity", "--color", "no", "--junit", *options]
    environment = {**os.environ, "HOME": str(HOME)}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(command, cwd=TREE, env=environment, check=False).returncode


def report(older: str | None) -> None:
    """Say what looked at nothing, for want of files, of a tool or of a Python: ansible-test keeps silent about it."""
    lines = [
        f"{case.get('name').removesuffix(f'-python-{PYTHON}')}: {reason.text}"
        for path in sorted((TREE / "tests" / "output" / "junit").glob("*.xml"))
        for case in ElementTree.parse(path).iter("testcase")
        for reason in case.iter("skipped")
    ]
    if older != OLDEST:
        lines.append(f"compile and import on Python {OLDEST}, the oldest of a target: not on this machine.")
    print("\nSanity tests that looked at nothing:", *lines, sep="\n  ", flush=True)


def main() -> int:
    if ignored := sorted(path.name for path in (ROOT / "tests" / "sanity").glob("ignore*.txt")):
        print(f"tests/sanity: the sanity tests are to pass without {', '.join(ignored)}", file=sys.stderr)
        return 1
    older = older_python()
    copy_checkout()
    prepare_home(PYTHON, older or PYTHON)
    status = sanity("--venv", "--python", PYTHON)
    if older:
        here = ("--controller", f"origin:python={PYTHON}", "--target-python", older)
        status = sanity("--test", "compile", "--test", "import", *here) or status
    report(older)
    return status


if __name__ == "__main__":
    sys.exit(main())
