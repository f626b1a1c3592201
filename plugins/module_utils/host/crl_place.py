# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on a host the program is that fetches its CRL and watches whether the controller still comes."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import DEFAULT_CONF

_NAME = "mtls-crl"
PROGRAM = "program"
HEARD, TOLD = "heard", "told.json"  # when the controller last came, by the file's time; when somebody was told


class Place(NamedTuple):
    """Where on a host all of it is: a folder for variable data, systemd's and cron's."""

    name: str = _NAME
    data: str = "/var/lib"
    units: str = "/etc/systemd/system"
    cron_folder: str = "/etc/cron.d"

    @classmethod
    def of(cls, conf_path: str) -> Place:
        """Return the place for an nginx, by its configuration file: each of a host has its own."""
        if conf_path == DEFAULT_CONF:
            return cls()
        return cls(f"{_NAME}-{hashlib.sha256(conf_path.encode()).hexdigest()[:8]}")

    @property
    def folder(self) -> str:
        """The folder of the program, its settings, and what it remembers."""
        return os.path.join(self.data, self.name)

    @property
    def program(self) -> str:
        """The program's folder."""
        return os.path.join(self.folder, PROGRAM)

    @property
    def cron(self) -> str:
        """The file for cron."""
        return os.path.join(self.cron_folder, self.name)

    def unit(self, kind: str) -> str:
        """Return the path of a unit, a service or a timer."""
        return os.path.join(self.units, f"{self.name}.{kind}")

    @property
    def starters(self) -> tuple[str, ...]:
        """What may start the program: systemd's units, or cron's file."""
        return self.unit("service"), self.unit("timer"), self.cron

    @property
    def exists(self) -> bool:
        """Whether something of it is there."""
        return any(os.path.lexists(path) for path in (self.folder, *self.starters))


def note_that_the_controller_came(conf_path: str, metrics: str | None) -> None:
    """Note it where somebody looks: the age of the ``metrics``, and what the host's timer reads (``heard.py``)."""
    paths = [os.path.join(Place.of(conf_path).folder, HEARD), *([metrics] if metrics else [])]
    for path in paths:
        with contextlib.suppress(OSError):
            os.utime(path, follow_symlinks=False)
