# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is sent to the gate: programs, then proxies in front."""

from __future__ import annotations

from .programs import PROGRAMS
from .proxies import PROXIES, as_program

ALL = [*PROGRAMS, *map(as_program, PROXIES)]
