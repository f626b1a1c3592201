# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What well-known applications need of the proxy before them. A preset opens nothing."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

ADMIN_PANEL = "admin_panel"

# docs/services.md names the sources.
PRESETS: Mapping[str, Mapping[str, t.Any]] = {
    # Its websocket sends a ping every 55 seconds, and backups are uploaded whole.
    "home_assistant": {"max_body_size": "0", "request_buffering": False, "read_timeout": 3600},
    # Files of 10 GiB, or in chunks; assembling them takes its time.
    "nextcloud": {"max_body_size": "10g", "request_buffering": False, "read_timeout": 3600},
    "immich": {"max_body_size": "50000m", "request_buffering": False, "read_timeout": 600},
    # Attachments and Sends have 525 MiB at most; the notifications are a websocket that is mostly silent.
    "vaultwarden": {"max_body_size": "525m", "read_timeout": 3600},
    # Nothing of its own: it refuses what would open the panel (services.py).
    ADMIN_PANEL: {},
}


def with_preset(raw: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a service's options; where the inventory is silent, those of its preset."""
    said = {option: value for option, value in raw.items() if value is not None}
    return {**PRESETS.get(raw.get("preset") or "", {}), **said}
