# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenarios' images: a distribution with systemd and Python, without nginx.

Each starts from the official image where that can be pulled. Where it cannot, it is rebuilt from the distribution's
own signed packages, or, for what is not Debian, replaced by a stand-in that says so in its name. What was rebuilt is
kept as a tarball below build/cache.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / "build" / "cache" / "images"
REBUILD = "rebuild"
_LABEL = "mtls.nginx.origin"
_SECONDS_TO_PULL = 600

_DEBIAN_PACKAGES = ("apt", "systemd", "systemd-sysv", "python3", "ca-certificates", "iproute2", "procps")
_WITH_APT = f"""
RUN apt-get -qq update \\
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends {" ".join(_DEBIAN_PACKAGES)} \\
 && rm -rf /var/lib/apt/lists/*
"""
_WITH_DNF = """
RUN dnf -q -y install systemd python3 iproute procps-ng && dnf -q clean all
"""


class NoImage(Exception):
    """Why an image cannot be had here."""


@dataclass(frozen=True)
class Platform:
    """One platform. MTLS_BASE_<NAME> names another image to start from, or `rebuild`."""

    name: str
    official: str
    suite: str
    adapt: str = _WITH_APT
    include: tuple[str, ...] = ()
    stand_in: str | None = None  # a script for mmdebstrap that makes what is built into something else

    @property
    def variable(self) -> str:
        return self.name.upper().replace("-", "_").replace(".", "_")


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform("debian-11", "debian:11", "bullseye"),
        Platform("debian-12", "debian:12", "bookworm"),
        Platform("debian-13", "debian:13", "trixie"),
        Platform("debian-14", "debian:forky", "forky"),
        Platform("ubuntu-24.04", "ubuntu:24.04", "trixie", stand_in="stand-in-ubuntu.sh"),
        Platform(
            "centos-9",
            "quay.io/centos/centos:stream9",
            "bookworm",
            adapt=_WITH_DNF,
            include=("dnf", "python3-dnf", "rpm", "createrepo-c", "nginx-light"),
            stand_in="stand-in-centos.sh",
        ),
    )
}


@dataclass(frozen=True)
class Image:
    """An image in the engine. `origin` says what it really is."""

    tag: str
    origin: str


def image(platform: Platform) -> Image:
    """Bring a platform's image into the engine. Raises NoImage."""
    base = os.environ.get(f"MTLS_BASE_{platform.variable}", "")
    if base != REBUILD and (made := _adapted(platform, base or platform.official)):
        return made
    if base not in ("", REBUILD):
        raise NoImage(f"{platform.name}: {base} (MTLS_BASE_{platform.variable}) cannot be pulled")
    return _rebuilt(platform)


def build_ahead(platforms: Sequence[Platform]) -> None:
    """Rebuild now what `image` would rebuild. Where an official image can be pulled, so can all. Raises NoImage."""
    bases = {platform: os.environ.get(f"MTLS_BASE_{platform.variable}", "") for platform in platforms}
    rebuilt = [platform for platform, base in bases.items() if base == REBUILD]
    free = [platform for platform, base in bases.items() if base == ""]
    if free and not _pulled(free[0]):
        rebuilt += free
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(_tarball, rebuilt))


def _pulled(platform: Platform) -> bool:
    try:
        _docker("pull", "--quiet", platform.official, seconds=_SECONDS_TO_PULL)
    except NoImage:
        return False
    return True


def _docker(*arguments: str, given: str | None = None, seconds: int | None = None) -> str:
    try:
        return subprocess.run(
            ["docker", *arguments], input=given, capture_output=True, text=True, timeout=seconds, check=True
        ).stdout.strip()
    except subprocess.CalledProcessError as error:
        raise NoImage(f"docker {arguments[0]}: {error.stderr.strip().splitlines()[-1:]}") from error
    except subprocess.TimeoutExpired as error:
        raise NoImage(f"docker {arguments[0]}: not finished within {seconds} seconds") from error


def _adapted(platform: Platform, base: str) -> Image | None:
    """The base with systemd and Python added to it, or None where it cannot be pulled."""
    try:
        _docker("pull", "--quiet", base, seconds=_SECONDS_TO_PULL)
    except NoImage:
        return None
    digest = _docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", base)
    made = Image(f"mtls-test/{platform.name}", f"official image {digest}")
    recipe = f'FROM {base}{platform.adapt}LABEL {_LABEL}="{made.origin}"\n'
    _docker("build", "--quiet", "--network", "host", "--tag", made.tag, "-", given=recipe)
    return made


def _rebuilt(platform: Platform) -> Image:
    if platform.stand_in:
        made = Image(
            f"mtls-test/{platform.name}-stand-in", f"stand-in for {platform.official}: Debian {platform.suite} inside"
        )
    else:
        made = Image(f"mtls-test/{platform.name}", f"rebuilt from the packages of {platform.suite}")
    _docker("import", "--change", f'LABEL {_LABEL}="{made.origin}"', str(_tarball(platform)), made.tag)
    return made


def _tarball(platform: Platform) -> Path:
    """The platform's root file system, from the cache or built."""
    name = f"{platform.name}-stand-in" if platform.stand_in else platform.name
    tarball = CACHE / f"{name}-{_recipe_digest(platform)}.tar"
    if not tarball.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        for old in CACHE.glob(f"{name}-????????????.tar"):
            old.unlink()
        _bootstrap(platform, tarball)
    return tarball


def _recipe_digest(platform: Platform) -> str:
    digest = hashlib.sha256(repr((platform, _DEBIAN_PACKAGES)).encode())
    if platform.stand_in:
        digest.update((HERE / platform.stand_in).read_bytes())
    return digest.hexdigest()[:12]


def _bootstrap(platform: Platform, tarball: Path) -> None:
    """A root file system as a tarball, made by mmdebstrap from packages whose signatures it checks."""
    partial = tarball.with_suffix(".partial.tar")
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join((*_DEBIAN_PACKAGES, *platform.include))}",
        # A mirror that lags behind is recent enough to test with. What it signed is still checked.
        "--aptopt=Acquire::Check-Valid-Until false",
        *([f"--customize-hook={HERE / platform.stand_in}"] if platform.stand_in else []),
        platform.suite,
        str(partial),
    ]
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise NoImage("mmdebstrap is not installed") from error
    except subprocess.CalledProcessError as error:
        raise NoImage(f"{platform.name}: mmdebstrap failed:\n{error.stdout}") from error
    partial.replace(tarball)


def variables(images: Mapping[str, Image]) -> dict[str, str]:
    """The environment in which molecule.yml finds the images."""
    return {f"MTLS_IMAGE_{PLATFORMS[name].variable}": made.tag for name, made in images.items()}
