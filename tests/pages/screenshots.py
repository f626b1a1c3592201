# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a sample of each page that the collection makes, and take pictures of it with Chromium, for people to look at.

Each page is taken at the widths of a phone and of a desktop, light and dark, once in full length, and printed.
"""

from __future__ import annotations

import argparse
import html
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.mtls.nginx.plugins.module_utils.site import status_page
from ansible_collections.mtls.nginx.tests.pages import samples

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "screenshots"
TEMPLATES = str(ROOT / "playbooks" / "templates")
WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}
# Settings of the engine, not of the window, whose dark mode would also repaint pages that have none.
SCHEMES = {"light": "preferredColorScheme=1", "dark": "preferredColorScheme=0"}


@dataclass(frozen=True)
class Page:
    """A page to look at: `write` makes it, and may put what it needs into the folder it is given."""

    name: str
    write: Callable[[Path], bytes]


def status(fleet: Callable[[Path], samples.Fleet], **more: object) -> Callable[[Path], bytes]:
    def write(folder: Path) -> bytes:
        found = fleet(folder).status(**more)
        return status_page.render(found, found.now, TEMPLATES)

    return write


PAGES = (
    Page("status-small", status(samples.small)),
    Page("status-mixed", status(samples.mixed, answers=samples.mixed_answers())),
    Page("status-large", status(samples.large)),
)


def chromium(profile: Path, *arguments: str) -> str:
    """Run it once and return what it prints. It needs no network, and gets a profile of its own."""
    command = shutil.which("chromium") or shutil.which("google-chrome")
    if command is None:
        sys.exit("chromium is not installed: tests/packages.sh chromium")
    flags = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
    )
    done = subprocess.run([command, *flags, *arguments], check=True, capture_output=True, encoding="utf-8", timeout=60)
    return done.stdout


def picture(page: Path, target: Path, size: tuple[int, int], scheme: str, profile: Path) -> None:
    """Take one. The page is in a frame, because a window of Chromium's is 500 pixels wide at least."""
    width, height = size
    frame = page.with_name("frame.html")
    frame.write_text(
        "<!DOCTYPE html><meta name=color-scheme content='light dark'>"
        "<style>body,iframe{margin:0;border:0;display:block}</style>"
        f"<iframe src='{html.escape(page.name)}' width={width} height={height}></iframe>",
        encoding="utf-8",
    )
    chromium(
        profile,
        f"--blink-settings={SCHEMES[scheme]}",
        f"--window-size={max(width, 500)},{height}",
        f"--screenshot={target}",
        frame.as_uri(),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", help=f"of {', '.join(page.name for page in PAGES)}; all by default")
    wanted = parser.parse_args().pages
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        if wanted and page.name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder, profile = Path(scratch, "page"), Path(scratch, "profile")
            folder.mkdir()
            file = folder / f"{page.name}.html"
            file.write_bytes(page.write(folder))
            shutil.copy(file, OUTPUT)
            for device, (width, height) in WIDTHS.items():
                for scheme in SCHEMES:
                    picture(file, OUTPUT / f"{page.name}-{device}-{scheme}.png", (width, height), scheme, profile)
                picture(file, OUTPUT / f"{page.name}-{device}-long.png", (width, 5 * height), "light", profile)
            chromium(profile, f"--print-to-pdf={OUTPUT / page.name}.pdf", "--no-pdf-header-footer", file.as_uri())
        print(OUTPUT / f"{page.name}-*.png", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
