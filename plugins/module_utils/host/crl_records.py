# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a host that fetches its CRL, and what it remembers, without all that it takes to fetch one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SETTINGS, STATE = "settings.json", "state.json"
_METRICS = "mtls_nginx_crl_fetch.prom"


@dataclass
class Record:
    """What is remembered of one source.

    ``success`` is when it was last good, in seconds since 1970, ``failure`` why the last attempt failed, None if it did
    not. ``validators`` ask for the file with the fingerprint ``digest``, last found good, only if it has changed.
    """

    url: str
    success: float | None = None
    failure: str | None = None
    digest: str | None = None
    validators: dict[str, str] = field(default_factory=dict)


def records(folder: str) -> dict[str, Record]:
    """Return what is remembered of each source, by name; nothing where that cannot be read."""
    try:
        with open(os.path.join(folder, STATE), encoding="utf-8") as stream:
            return {name: Record(**each) for name, each in json.load(stream).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def metrics_of(textfile: Mapping[str, Any] | None) -> str | None:
    """Return the path of the metrics about fetching, beside those of ``textfile``, an option of ``nginx_config``.

    None where there are none.
    """
    return os.path.join(os.path.dirname(textfile["path"]), _METRICS) if textfile else None
