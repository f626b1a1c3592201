# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unit tests and the whole workflow on each supported ansible-core, with the Pythons that this machine has.

`matrix.py --ends` takes the oldest pair and the newest one only; with `--environments` their virtual environments are
made, and nothing is tested. Other arguments are pytest's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "matrix"

# Each ansible-core with the oldest and the newest Python that both it and the collection can do with.
CORES = {
    "2.17": ("3.11", "3.12"),
    "2.18": ("3.11", "3.13"),
    "2.19": ("3.11", "3.13"),
    "2.20": ("3.12", "3.14"),
    "2.21": ("3.12", "3.14"),
    "2.22": ("3.13", "3.14"),
}
CANDIDATES = {"2.22": "ansible-core>=2.22.0rc1,<2.23"}  # release candidates too: there was nothing else yet
OLDEST = {"2.17": "cryptography==42.*"}  # the oldest of everything together
PACKAGES = ("hypothesis", "markdown-it-py", "pkilint", "pytest", "pytest-xdist", "python-pkcs11")
TESTS = (
    "tests/unit",
    "--ignore=tests/unit/fuzz",  # about this project's own parsing, which no ansible-core has a part in
    "tests/integration/test_workflow.py::test_from_an_inventory_to_a_guarded_host_and_on",
    "tests/integration/test_rollout.py",
    "tests/integration/test_authority_action.py",
)


def python(minor: str) -> str | None:
    """A Python of this version that can make virtual environments: the distribution's, on the path, or pyenv's."""
    program = f"python{minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    on_path = (shutil.which(f"/usr/bin/{program}"), shutil.which(program))
    for found in (*on_path, *sorted(pyenv.glob(f"versions/{minor}.*/bin/{program}"))):
        if found and _runs([str(found), "-c", "import ensurepip"]):
            return str(found)
    return None


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def pairs() -> list[tuple[str, str]]:
    """(ansible-core, Python): for each core the oldest Python at hand in its range, for the newest also the newest."""
    chosen = []
    for core, (oldest, newest) in CORES.items():
        span = [f"3.{minor}" for minor in range(int(oldest[2:]), int(newest[2:]) + 1)]
        here = [minor for minor in span if python(minor)]
        if not here:
            print(f"ansible-core {core}: skipped, there is no Python {oldest} to {newest} here", flush=True)
            continue
        wanted = {here[0], here[-1]} if core == max(CORES) else {here[0]}
        chosen += [(core, minor) for minor in sorted(wanted)]
    return chosen


def environment_of(core: str, minor: str) -> Path:
    """The folder of the pair's virtual environment, made unless it is there."""
    folder = WORK / f"{core}-py{minor}"
    if not (folder / "complete").exists():
        subprocess.run([str(python(minor)), "-m", "venv", "--clear", folder], check=True)
        packages = [CANDIDATES.get(core, f"ansible-core=={core}.*"), OLDEST.get(core, "cryptography>=42"), *PACKAGES]
        install = ROOT / "requirements" / "install.py"
        subprocess.run([sys.executable, install, folder / "bin" / "python", *packages], check=True)
        (folder / "complete").touch()
    return folder


def run(core: str, minor: str, options: list[str]) -> bool:
    folder = environment_of(core, minor)
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "build" / "collections"),
    }
    started = time.monotonic()
    settings = (f"--override-ini=cache_dir={folder / 'cache'}", "--override-ini=tmp_path_retention_policy=failed")
    command = [folder / "bin" / "python", "-m", "pytest", "--quiet", *options, *settings, *TESTS]
    passed = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0
    took = time.monotonic() - started
    print(f"ansible-core {core}, Python {minor}: {'passed' if passed else 'FAILED'} ({took:.0f} s)", flush=True)
    return passed


def main() -> int:
    chosen, options = pairs(), sys.argv[1:]
    if "--ends" in options:
        options.remove("--ends")
        chosen = list(dict.fromkeys([*chosen[:1], *chosen[-1:]]))
    if "--environments" in options:
        for core, minor in chosen:
            environment_of(core, minor)
        return 0
    results = [run(core, minor, options) for core, minor in chosen]
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
