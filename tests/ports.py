# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of loopback for the servers that tests start."""

from __future__ import annotations

import itertools
import os
import socket

# Below the ports that Linux gives to outgoing connections (ip_local_port_range, from 32768), one of which could
# otherwise take a port between this and the server's start.
_FIRST = 10_000
_EACH = 2_000  # for one of pytest-xdist's processes
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# Where to begin differs, for the sake of two runs at once.
_numbers = itertools.count(os.getpid() * 50)


def free_port() -> int:
    """A port where nobody listens; the next ones first, so that none is given again soon.

    Each process of pytest-xdist has ports of its own: what one was given and does not use yet looks free to all.
    """
    for number in itertools.islice(_numbers, _EACH):
        port = _FIRST + _worker * _EACH + number % _EACH
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port of {_EACH} is free")
