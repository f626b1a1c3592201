# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""certbot, the ACME client of the distributions: obtains certificates by http-01 (RFC 8555, 8.3), and forgets them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import acme_failure
from ansible_collections.mtls.nginx.plugins.module_utils.host.acme_lineages import command_of
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import PROGRAM_DIRS, run, systemd_runs

PROGRAM = "certbot"
_TIMEOUT = 600  # seconds
_BUSY = "Another instance of Certbot is already running"
_PATIENCE, _PAUSE = 180.0, 1.0  # seconds
_KNOWS_PROFILES = (4, 0)
# What the packages of Debian and of Enterprise Linux call it.
_TIMERS = ("certbot.timer", "certbot-renew.timer")


@dataclass(frozen=True)
class Order:
    """A certificate to obtain: certbot's name for it is ``lineage``; ``webroot`` is the folder nginx serves."""

    service: str
    lineage: str
    server_names: Sequence[str]
    directory_url: str
    webroot: str
    email: str | None = None
    profile: str | None = None


class Certbot:
    """The host's certbot."""

    def __init__(self, program: str) -> None:
        self._program = program

    @classmethod
    def find(cls) -> Certbot | None:
        """Return it, None where it is not installed."""
        program = shutil.which(PROGRAM, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *PROGRAM_DIRS]))
        return cls(program) if program else None

    def obtain(self, order: Order, hook: str) -> None:
        """Obtain a certificate, whatever certbot has; from then on its timer renews it, and runs ``hook``.

        :raises MtlsError: in the words of the ACME server, or of certbot. What was there is still there.
        """
        files.make_directory(order.webroot, 0o755)
        options = [
            *("certonly", "--non-interactive", "--agree-tos", "--force-renewal", "--renew-with-new-domains"),
            *("--webroot", "--webroot-path", order.webroot),
            *("--cert-name", order.lineage),
            *("--server", order.directory_url),
            *("--deploy-hook", command_of(hook)),
            *(("--email", order.email) if order.email else ("--register-unsafely-without-email",)),
            *(part for name in order.server_names for part in ("--domain", name)),
        ]
        if order.profile:
            self._require_profiles(order)
            options += ["--required-profile", order.profile]
        done = self._run(*options)
        if done.returncode != 0:
            raise MtlsError(
                f"service {order.service}: no certificate for {', '.join(order.server_names)} was obtained from"
                f" {order.directory_url}: {acme_failure.explain(done.stdout, order.lineage, order.directory_url)}"
            )

    def forget(self, lineage: str) -> None:
        """Delete a certificate, and with it its renewal.

        :raises MtlsError: certbot does not.
        """
        done = self._run("delete", "--non-interactive", "--cert-name", lineage)
        if done.returncode != 0:
            why = acme_failure.words(done.stdout).rstrip(". ")
            raise MtlsError(
                f"certbot: certificate {lineage} was not deleted: {why}; try 'certbot delete --cert-name {lineage}' by"
                " hand"
            )

    def _require_profiles(self, order: Order) -> None:
        # Python's warnings may come before it, with other numbers.
        found = re.search(r"^certbot (\d+)\.(\d+)\S*", self._run("--version").stdout, re.MULTILINE)
        if not found or (int(found[1]), int(found[2])) < _KNOWS_PROFILES:
            raise MtlsError(
                f"service {order.service}: acme: profile {order.profile} needs certbot 4.0 or newer, and this host has"
                f" {found[0] if found else 'another one'}; remove profile, or install a newer certbot"
            )

    def _run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run it; its timer, or another nginx of the host, may be using it at this moment."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            done = self._call(*options)
            if _BUSY not in done.stdout or time.monotonic() > deadline:
                return done
            time.sleep(_PAUSE)

    def _call(self, *options: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self._program, *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MtlsError(f"certbot did not finish within {_TIMEOUT} s; run it by hand to see why") from None


def renews_by_itself() -> bool:
    """Have the package's timer renew certificates; return whether something does."""
    if systemd_runs():
        for timer in _TIMERS:
            with contextlib.suppress(MtlsError):  # it hangs: the certificate is there, and the user is told
                if run(["systemctl", "enable", "--now", timer]).code == 0:
                    return True
        return False
    return os.path.exists("/etc/cron.d/certbot")
