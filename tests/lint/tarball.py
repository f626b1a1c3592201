# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection's tarball, install it elsewhere and check that it is whole, and holds nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
INSTALLED = BUILD / "installed"


def run(*command: str) -> str:
    """Run a command outside the checkout, with the installed collection only."""
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(INSTALLED)}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(command, cwd="/", env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py"))


def tracked(checkout: Path) -> list[str]:
    """The files that git knows, as far as they are there."""
    command = ["git", "ls-files", "-z", "--cached", "--deduplicate"]
    listed = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and os.path.lexists(checkout / name)]


def build(checkout: Path, folder: Path) -> Path:
    """Build the collection from the tracked files only: whoever tries it out here may keep an authority beside them."""
    with tempfile.TemporaryDirectory(prefix="mtls-build-") as temporary:
        for name in tracked(checkout):
            target = Path(temporary, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, target, follow_symlinks=False)
        run("ansible-galaxy", "collection", "build", "--force", "--output-path", str(folder), temporary)
    (tarball,) = folder.glob("mtls-nginx-*.tar.gz")
    return tarball


def main() -> int:
    for old in BUILD.glob("mtls-nginx-*.tar.gz"):
        old.unlink()
    shutil.rmtree(INSTALLED, ignore_errors=True)
    tarball = build(ROOT, BUILD)
    with tarfile.open(tarball) as archive:
        packed = {member.name for member in archive if not member.isdir()}
    if strangers := sorted(packed - set(tracked(ROOT)) - {"MANIFEST.json", "FILES.json"}):
        print(f"{tarball.name} holds what git does not know: {', '.join(strangers)}", file=sys.stderr)
        return 1

    run("ansible-galaxy", "collection", "install", "--offline", "--collections-path", str(INSTALLED), str(tarball))
    modules = [f"mtls.nginx.{name}" for name in names(ROOT / "plugins" / "modules")]
    documented = [line.split()[0] for line in run("ansible-doc", "--list", "mtls.nginx").splitlines()]
    if documented != modules:
        print(f"ansible-doc lists {documented}, the checkout has {modules}", file=sys.stderr)
        return 1
    run("ansible-doc", *modules)
    for playbook in sorted((ROOT / "playbooks").glob("*.yml")):
        run("ansible-playbook", "--syntax-check", "--inventory", "localhost,", f"mtls.nginx.{playbook.stem}")
    print(f"{tarball.relative_to(ROOT)}: {len(packed)} files, modules {', '.join(documented)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
