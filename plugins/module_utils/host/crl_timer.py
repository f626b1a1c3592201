# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timer that has a host fetch its CRL: its program and settings, systemd's units, or an entry of cron's."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_records
from ansible_collections.mtls.nginx.plugins.module_utils.host.crl_place import HEARD, TOLD, Place
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import run

MINUTES = "minutes"
MARK = "# Written by mtls.nginx, which also removes it.\n"
_SERVICE = (
    MARK
    + """\
[Unit]
Description=mtls.nginx: fetch the CRL
Wants=network-online.target
After=network-online.target nginx.service

[Service]
Type=oneshot
ExecStart="{python}" -I -B "{program}" "{folder}"
# Longer than fetching, waiting for another run, and a reload take.
TimeoutStartSec=15min
"""
)
_TIMER = (
    MARK
    + """\
[Unit]
Description=mtls.nginx: when to fetch the CRL

[Timer]
OnActiveSec=1min
OnUnitActiveSec={minutes}min
AccuracySec=1s
RandomizedDelaySec={spread}s

[Install]
WantedBy=timers.target
"""
)


class Timer:
    """The timer of a host, on systemd or, without it, on cron."""

    def __init__(self, place: Place, *, systemd: bool) -> None:
        self._place = place
        self._systemd = systemd

    def digest(self) -> str | None:
        """Return ``fingerprint`` of what is installed; None where nothing is, or it does not run as it should."""
        found = {os.path.relpath(path, self._place.folder): _text(path) or "" for path in self._installed()}
        if not found:
            return None
        minutes = found.get(MINUTES, "")
        if not minutes.strip().isdigit() or any(_text(path) != text for path, text in self._starters(int(minutes))):
            return None
        if self._systemd and not self._is_active():
            return None
        return fingerprint(found)

    def install(self, wanted: Mapping[str, str]) -> None:
        """Put the files in place and start the timer; ``wanted`` is by path in the folder."""
        files.make_directory(self._place.folder, 0o755)
        for path in self._installed():
            if os.path.relpath(path, self._place.folder) not in wanted:
                os.unlink(path)
        for name, text in wanted.items():
            path = os.path.join(self._place.folder, name)
            files.make_directory(os.path.dirname(path), 0o755)
            files.write_file(path, text.encode(), 0o644, durable=False)
        files.write_file(os.path.join(self._place.folder, HEARD), b"", 0o644, durable=False)
        for path, text in self._starters(int(wanted[MINUTES])):
            files.write_file(path, text.encode(), 0o644)
        for path in set(self._place.starters) - {path for path, _text_of in self._starters(1)}:
            if os.path.lexists(path):
                os.unlink(path)
        if self._systemd:
            _systemctl("daemon-reload")
            _systemctl("enable", f"{self._place.name}.timer")
            _systemctl("restart", f"{self._place.name}.timer")

    def remove(self) -> None:
        """Stop the timer, and remove all that ``install`` and the program wrote there."""
        if self._systemd and os.path.lexists(self._place.unit("timer")):
            _systemctl("disable", "--now", f"{self._place.name}.timer")
        for path in self._place.starters:
            if os.path.lexists(path):
                os.unlink(path)
        if self._systemd:
            _systemctl("daemon-reload")
            _systemctl("reset-failed", f"{self._place.name}.service", must=False)
        metrics = self._metrics()
        if metrics:
            with contextlib.suppress(OSError):
                os.unlink(metrics)
        shutil.rmtree(self._place.folder, ignore_errors=True)

    def _metrics(self) -> str | None:
        settings = _text(os.path.join(self._place.folder, crl_records.SETTINGS)) or ""
        try:
            return crl_records.metrics_of(json.loads(settings)["textfile"])
        except (ValueError, KeyError, TypeError):
            return None

    def _installed(self) -> Iterator[str]:
        for folder, _folders, names in os.walk(self._place.folder):
            for name in names:
                if folder != self._place.folder or name not in (crl_records.STATE, HEARD, TOLD):
                    yield os.path.join(folder, name)

    def _starters(self, minutes: int) -> list[tuple[str, str]]:
        """Return the files that start the program every so many minutes, each with its text."""
        if self._systemd:
            words = {"python": sys.executable, "program": self._place.program, "folder": self._place.folder}
            quoted = {name: word.replace("%", "%%") for name, word in words.items()}
            return [
                (self._place.unit("service"), _SERVICE.format(**quoted)),
                (self._place.unit("timer"), _TIMER.format(minutes=minutes, spread=minutes * 6)),
            ]
        command = shlex.join([sys.executable, "-I", "-B", self._place.program, self._place.folder])
        return [(self._place.cron, f"{MARK}{cron_of(minutes)} root {command}\n".replace("%", "\\%"))]

    def _is_active(self) -> bool:
        shown = _systemctl("show", "--property=ActiveState,UnitFileState", f"{self._place.name}.timer", must=False)
        return set(shown.split()) == {"ActiveState=active", "UnitFileState=enabled"}


def fingerprint(wanted: Mapping[str, str]) -> str:
    """Return a digest of files by path in the folder."""
    return hashlib.sha256(json.dumps(dict(wanted), sort_keys=True).encode()).hexdigest()


def cron_of(minutes: int) -> str:
    """Return the five fields of cron for every so many minutes: a divisor of an hour, or hours that divide a day."""
    return f"*/{minutes} * * * *" if minutes < 60 else f"7 */{minutes // 60} * * *"


def facts(place: Place, *, systemd: bool) -> dict[str, Any]:
    """Return how a host stands that fetches its CRL: the value of ``nginx_facts``."""
    known = crl_records.records(place.folder)
    return {
        "digest": Timer(place, systemd=systemd).digest(),
        "success": min((record.success or 0.0 for record in known.values()), default=0.0),
        "failures": [record.failure for record in known.values() if record.failure],
    }


def _text(path: str) -> str | None:
    try:
        with files.open_regular(path) as stream:
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return None


def _systemctl(*words: str, must: bool = True) -> str:
    done = run(["systemctl", *words])
    if must and done.code != 0:
        raise MtlsError(f"systemctl {' '.join(words)}: {done.output.strip()}")
    return done.output
