# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a sample of each page that the collection makes, and take pictures of it with Chromium, for people to look at.

Each page is taken at the widths of a phone, a tablet, a narrow window and a desktop, light and dark side by side, on
the first screen and in full length, and printed.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.mtls.nginx.plugins.module_utils.site.status import page as status_page
from ansible_collections.mtls.nginx.tests.pages import samples

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "screenshots"
TEMPLATES = str(ROOT / "playbooks" / "templates")
WIDTHS = {"phone": (390, 844), "tablet": (700, 900), "narrow": (1100, 900), "desktop": (1280, 900)}
SCHEMES = ("light", "dark")


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


def as_it_is(page: bytes) -> Callable[[Path], bytes]:
    return lambda _folder: page


PAGES = (
    Page("status-small", status(samples.small)),
    Page("status-household", status(samples.household)),
    Page("status-mixed", status(samples.mixed, answers=samples.mixed_answers())),
    Page("status-large", status(samples.large)),
    Page("handout", samples.handout),
    Page("handout-program", samples.handout_of_a_program),
    *(Page(f"refused-{reason}", as_it_is(page)) for reason, page in samples.refusals().items()),
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


@contextlib.contextmanager
def written(page: Page) -> Iterator[tuple[Path, Path]]:
    """The page in a folder of its own, and a folder for Chromium's profile."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, profile = Path(scratch, "page"), Path(scratch, "profile")
        folder.mkdir()
        file = folder / f"{page.name}.html"
        file.write_bytes(page.write(folder))
        yield file, profile


def picture(page: Path, target: Path, size: tuple[int, int], profile: Path, schemes: Sequence[str] = SCHEMES) -> None:
    """Take one, the schemes side by side.

    The page is in frames: a window of Chromium's is 500 pixels wide at least, and a frame can have a scheme of its own.
    """
    width, height = size
    source = html.escape(page.name)
    frame = page.with_name("frame.html")
    frame.write_text(
        "<!DOCTYPE html><style>"
        "body{margin:0;display:flex;gap:16px;background:#888}iframe{border:0;background:Canvas}"
        "</style>"
        + "".join(
            f"<iframe src='{source}' width={width} height={height} style='color-scheme:{scheme}'></iframe>"
            for scheme in schemes
        ),
        encoding="utf-8",
    )
    window = len(schemes) * (width + 16) - 16
    chromium(profile, f"--window-size={window},{height}", f"--screenshot={target}", frame.as_uri())


def take_all(page: Page) -> None:
    """Take what there is to look at of one page."""
    with written(page) as (file, profile):
        shutil.copy(file, OUTPUT)
        for device, (width, height) in WIDTHS.items():
            picture(file, OUTPUT / f"{page.name}-{device}.png", (width, height), profile)
            picture(file, OUTPUT / f"{page.name}-{device}-long.png", (width, 5 * height), profile)
        chromium(profile, f"--print-to-pdf={OUTPUT / page.name}.pdf", "--no-pdf-header-footer", file.as_uri())
    print(OUTPUT / f"{page.name}-*.png", flush=True)


def take_for_readme() -> None:
    """Take the two pictures that are kept."""
    pages = {page.name: page for page in PAGES}
    with written(pages["status-household"]) as (file, profile):
        picture(file, ROOT / "docs" / "status.png", (1060, 780), profile, ["light"])
    with written(pages["handout"]) as (file, profile):
        picture(file, ROOT / "docs" / "handout.png", WIDTHS["phone"], profile)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", help=f"of {', '.join(page.name for page in PAGES)}; all by default")
    parser.add_argument("--readme", action="store_true", help="take the two pictures of the README instead")
    given = parser.parse_args()
    if given.readme:
        take_for_readme()
        return 0
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        if not given.pages or page.name in given.pages:
            take_all(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
