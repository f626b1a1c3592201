# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of `mtls.nginx.client_cert`: the module does the work, and meanwhile this tells how far it is."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import typing as t
from collections.abc import Iterator

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.mtls.nginx.plugins.module_utils.ca import progress

_LOOK = 0.2  # seconds between two looks
_TELL = 5.0  # seconds between two lines


class ActionModule(ActionBase):
    """Runs the module; a module itself can print nothing before its end."""

    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        with self._progress_told():
            result.update(self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val)))
        return result

    @contextlib.contextmanager
    def _progress_told(self) -> Iterator[None]:
        path = self._task.args.get("ca_path")
        if self._connection.transport != "local" or not isinstance(path, str) or self._task.async_val:
            yield  # the authority is out of sight, or nobody waits
            return
        over = threading.Event()
        teller = threading.Thread(target=_tell, args=(os.path.expanduser(path), over), daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()


def _tell(ca_path: str, over: threading.Event) -> None:
    begin, due = time.time(), 0.0
    while not over.wait(_LOOK):
        if time.monotonic() >= due and (found := progress.read(ca_path, begin)):
            done, total = found
            Display().display(f"client_cert: {done:,} of {total:,} certificates")
            due = time.monotonic() + _TELL
