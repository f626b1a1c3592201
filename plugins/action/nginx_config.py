# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``mtls.nginx.nginx_config``: the module runs on the host, and its answer is checked here."""

from __future__ import annotations

import typing as t

from ansible_collections.mtls.nginx.plugins.module_utils.host.shutdown import OwnBound
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers
from ansible_collections.mtls.nginx.plugins.plugin_utils.host_action import HostAction


class ActionModule(HostAction):
    """Changes the host's files in one transaction, and warns of a ``worker_shutdown_timeout`` of its own."""

    def _result(self) -> dict[str, t.Any]:
        result = self._ask("nginx_config", self._task.args, answers.NGINX_CONFIG)
        own = result.get("own_shutdown_timeout")
        if warning := own and OwnBound(**own).warning(int(self._task.args.get("shutdown_timeout") or 0)):
            result["warnings"] = [*result.get("warnings", ()), warning]
        return result
