# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that gets no answer: programs that ban whoever is refused take its probe for an attack."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe

# Bans drop packets, or refuse them as if nothing listened.
_NO_WAY_THROUGH = ("no answer within", "connection refused", "no route to host", "connection reset")


def advice(outcomes: Iterable[probe.ProbeOutcome]) -> str:
    """Return what may keep the controller from a host, as the end of a message; empty where it got through."""
    if not any((outcome.error or "").startswith(_NO_WAY_THROUGH) for outcome in outcomes):
        return ""
    return (
        ". If it answers on the host itself, something in between keeps the controller out: a firewall, or fail2ban or"
        " CrowdSec, which ban whoever is refused several times, as the probe deliberately is; exempt the controller "
        "there"
        " (docs/monitoring.md)"
    )
