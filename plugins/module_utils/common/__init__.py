# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every room needs, hosts included: standard library only, Python 3.9.

Each module comes by here before anything else of ours: what an older Python makes of the rest is no message.
"""

from __future__ import annotations

import json
import sys

_OLDEST = (3, 9)


def refuse_older_python(version: tuple[int, ...], program: str) -> None:
    """End the module with a message, where this Python, ``version`` of ``program``, is too old for it."""
    if version < _OLDEST:
        found, needed = (".".join(map(str, numbers)) for numbers in (version, _OLDEST))
        message = (
            f"this host's Python is {found} ({program}), and {needed} or newer is needed; install one, and name it in"
            " ansible_python_interpreter"
        )
        sys.stdout.write(json.dumps({"failed": True, "msg": message}))
        raise SystemExit(1)


refuse_older_python(sys.version_info[:3], sys.executable)
