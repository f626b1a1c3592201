# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``mtls.nginx.client_cert``: shows the progress of long runs."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import typing as t
from collections.abc import Iterator

from ansible.utils.display import Display

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import progress
from ansible_collections.mtls.nginx.plugins.modules import client_cert
from ansible_collections.mtls.nginx.plugins.plugin_utils.authority_action import AuthorityAction

_LOOK = 0.2  # seconds between two looks
_TELL = 5.0  # seconds between two lines


class ActionModule(AuthorityAction):
    """Issues, renews and revokes client certificates, and shows the progress.

    A task prints nothing before its end, unless a thread of its own does.
    """

    MODULE = client_cert

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the task's result, having shown its progress meanwhile."""
        if task_vars and task_vars.get("mtls__clients_of_plan"):  # the role says so, whose first task made the plan
            plan = task_vars["mtls__inventory"]["authorities"][self._task.args["ca_path"]]
            self._task.args = {**self._task.args, "clients": plan["clients"]}
        with self._progress_told():
            return super().run(tmp, task_vars)

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
