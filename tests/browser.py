# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's Chromium, with the certificate store that NSS has for it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import uuid
from collections.abc import Callable, Iterator

POLICIES = pathlib.Path("/etc/chromium/policies/managed")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)


class Browser:
    """A person's Chromium: a home with a certificate store, trusting the authority's servers."""

    def __init__(self, home: pathlib.Path, authority: pathlib.Path) -> None:
        self.home = home
        self.store = f"sql:{home}/.pki/nssdb"
        (home / ".pki/nssdb").mkdir(parents=True)
        self.command("certutil", "-d", self.store, "-N", "--empty-password")
        self.command("certutil", "-d", self.store, "-A", "-t", "C,,", "-n", "authority", "-i", authority)

    def command(self, *command: object) -> str:
        return subprocess.run(
            [str(part) for part in command],
            env={**os.environ, "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=True,
        ).stdout

    def install(self, bundle: pathlib.Path) -> None:
        """What the person does: the file, and the password that came another way."""
        self.command("pk12util", "-d", self.store, "-i", bundle, "-w", f"{bundle}.password")

    def see(self, url: str) -> str:
        """Return the page that a fresh profile shows."""
        profile = self.home / f"profile-{uuid.uuid4()}"
        return self.command("timeout", "60", "chromium", *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url)


@contextlib.contextmanager
def selection() -> Iterator[Callable[..., None]]:
    """Yield what sets a policy by which the browser answers its question for a certificate, for a URL.

    Without one it waits for a person. `issuer` is what the certificate's issuer must have; by default any will do.
    """
    POLICIES.mkdir(parents=True, exist_ok=True)
    path = POLICIES / f"mtls-nginx-test-{uuid.uuid4()}.json"

    def select(url: str, **issuer: str) -> None:
        rule = {"pattern": url, "filter": {"ISSUER": issuer} if issuer else {}}
        path.write_text(json.dumps({"AutoSelectCertificateForUrls": [json.dumps(rule)]}))

    try:
        yield select
    finally:
        path.unlink(missing_ok=True)
