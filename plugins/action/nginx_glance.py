# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``mtls.nginx.nginx_glance``: the module runs on the host, and its answer is checked here."""

from __future__ import annotations

import typing as t

from ansible_collections.mtls.nginx.plugins.module_utils.site import answers
from ansible_collections.mtls.nginx.plugins.plugin_utils.host_action import HostAction


class ActionModule(HostAction):
    """Returns what ``nginx_facts`` would, or nothing where that has to look."""

    def _result(self) -> dict[str, t.Any]:
        return self._ask("nginx_glance", self._task.args, answers.NGINX_GLANCE)
