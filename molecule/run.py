# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""run.py [--images] SCENARIO…: `molecule test` of each, with an engine and the images that it needs.

With `--images`, the images that have to be built here are built, and nothing is tested. Without an engine nothing is
done, and the reason is said: that is no failure.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import images
from engine import NoEngine, control_groups, engine

HERE = Path(__file__).resolve().parent
WORK = HERE.parent / "build" / "molecule"


def needed(scenarios: list[str]) -> list[images.Platform]:
    """The platforms whose images the scenarios name."""
    named = " ".join((HERE / scenario / "molecule.yml").read_text() for scenario in scenarios)
    return [
        platform for platform in images.PLATFORMS.values() if re.search(rf"MTLS_IMAGE_{platform.variable}\b", named)
    ]


def bring(platforms: list[images.Platform]) -> dict[str, images.Image]:
    made = {}
    for platform in platforms:
        started = time.monotonic()
        made[platform.name] = images.image(platform)
        print(f"{platform.name}: {made[platform.name].origin} ({time.monotonic() - started:.0f} s)", flush=True)
    return made


def test(scenario: str, environment: dict[str, str]) -> bool:
    """Whether it passed; what it says is shown at its end."""
    started = time.monotonic()
    folder = WORK / scenario
    done = subprocess.run(
        ["molecule", "test", "--scenario-name", scenario],
        cwd=HERE.parent,
        env={**environment, "MOLECULE_EPHEMERAL_DIRECTORY": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    passed = done.returncode == 0
    said = f"scenario {scenario}: {'passed' if passed else 'FAILED'} ({time.monotonic() - started:.0f} s)"
    print(done.stdout, said, sep="\n", flush=True)
    return passed


def test_all(scenarios: list[str], environment: dict[str, str]) -> bool:
    """One after the other: two at once are in each other's way in Molecule's and Ansible's caches."""
    results = [test(scenario, environment) for scenario in scenarios]  # each, also after one that failed
    return all(results)


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, interrupted)
    scenarios = [argument for argument in arguments if argument != "--images"]
    try:
        with control_groups() as groups, engine(WORK / "dockerd.log") as which:
            print(f"Docker: {which}", flush=True)
            if "--images" in arguments:
                images.build_ahead(needed(scenarios))
                return 0
            made = bring(needed(scenarios))
            environment = {
                **os.environ,
                **images.variables(made),
                "MTLS_CGROUPS": str(groups),
                "HOME": str(WORK / "home"),  # Molecule and its modules keep caches there
                "ANSIBLE_HOME": str(WORK / "home" / ".ansible"),
            }
            passed = test_all(scenarios, environment)
    except NoEngine as reason:
        print(f"Molecule's scenarios were skipped ({', '.join(scenarios)}): {reason}.", flush=True)
        return 0
    except images.NoImage as reason:
        print(reason, file=sys.stderr)
        return 1
    return 0 if passed else 1


def interrupted(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
