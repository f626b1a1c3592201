# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``mtls.nginx.ca_adopt``: tells how far it is with a folder of many files."""

from __future__ import annotations

import time
import typing as t

from ansible.utils.display import Display

from ansible_collections.mtls.nginx.plugins.module_utils.common import entry
from ansible_collections.mtls.nginx.plugins.modules import ca_adopt
from ansible_collections.mtls.nginx.plugins.plugin_utils.authority_action import AuthorityAction

_FIRST = 2.0  # seconds until the first line: most adoptions are over by then
_TELL = 5.0  # seconds between two lines


class ActionModule(AuthorityAction):
    """Adopts an authority made elsewhere."""

    MODULE = ca_adopt

    def _work(self, call: entry.Call) -> dict[str, t.Any]:
        return ca_adopt.work(call, _Teller())


class _Teller:
    """Shows a line now and then, which a task that is at work does not."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _FIRST

    def __call__(self, what: str, done: int, total: int) -> None:
        if time.monotonic() >= self._due:
            Display().display(f"ca_adopt: {done:,} of {total:,} {what}")
            self._due = time.monotonic() + _TELL
