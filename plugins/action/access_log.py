# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``mtls.nginx.access_log``: the module runs on the host, and its answer is checked here."""

from __future__ import annotations

import typing as t

from ansible_collections.mtls.nginx.plugins.module_utils.site import answers
from ansible_collections.mtls.nginx.plugins.plugin_utils.host_action import HostAction


class ActionModule(HostAction):
    """Returns which client certificates came to the services of one host; no host has a say about another's."""

    def _result(self) -> dict[str, t.Any]:
        answer = self._ask("access_log", self._task.args, answers.ACCESS_LOG)
        for caller in answer.get("callers", ()):
            if caller["service"] not in self._task.args["services"]:
                raise answers.refusal(self._host, "access_log", f"nobody asked for service {caller['service']}")
            caller["host"] = self._task.args["host"]
        if not answer.get("failed"):
            answer["host"] = self._task.args["host"]
        return answer
