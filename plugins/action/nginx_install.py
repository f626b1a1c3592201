# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``mtls.nginx.nginx_install``: Ansible's own modules do the work on the host."""

from __future__ import annotations

import typing as t

from ansible_collections.mtls.nginx.plugins.module_utils.site import answers
from ansible_collections.mtls.nginx.plugins.plugin_utils.package_action import PackageAction

ARGUMENTS = {"package": {"type": "str", "default": "nginx"}, "systemd": {"type": "bool", "default": True}}


class ActionModule(PackageAction):
    """Has the host's package manager install nginx."""

    def _result(self) -> dict[str, t.Any]:
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        result = self._install(arguments["package"], "nginx")
        if result.get("failed") or not arguments["systemd"] or self._task.check_mode:
            return result
        boot = self._ask("ansible.builtin.systemd_service", {"name": "nginx", "enabled": True}, answers.CHANGED)
        return boot if boot.get("failed") else {**result, "changed": result["changed"] or boot["changed"]}
