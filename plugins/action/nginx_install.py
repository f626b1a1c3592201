# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``mtls.nginx.nginx_install``: Ansible's own modules do the work on the host."""

from __future__ import annotations

import typing as t

from ansible.module_utils.facts.system.pkg_mgr import PKG_MGRS
from ansible.utils.display import Display

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers
from ansible_collections.mtls.nginx.plugins.plugin_utils.host_action import HostAction

ARGUMENTS = {"package": {"type": "str", "default": "nginx"}, "systemd": {"type": "bool", "default": True}}
# What ansible.builtin.apt says on a minimal Debian or Ubuntu.
_NO_BINDINGS = "must be installed to use check mode"
_MANAGERS = frozenset(manager["name"] for manager in PKG_MGRS)

display = Display()


class ActionModule(HostAction):
    """Finds the host's package manager, and has it install nginx."""

    def _result(self) -> dict[str, t.Any]:
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        # Not ansible.builtin.package, which hands on whatever facts the host adds.
        looked = self._ask(
            "ansible.builtin.setup", {"gather_subset": ["!all", "!min", "pkg_mgr"]}, answers.PACKAGE_MANAGER
        )
        if looked.get("failed"):
            return looked
        manager = looked["ansible_facts"]["ansible_pkg_mgr"]
        if manager not in _MANAGERS:
            raise MtlsError(
                f"host {self._host}: has no package manager that Ansible knows ({manager}); install nginx yourself"
            )
        options = {"name": arguments["package"], "state": "present", "update_cache": True}
        result = self._ask(f"ansible.legacy.{manager}", options, answers.CHANGED)
        if self._task.check_mode and result.get("failed") and _NO_BINDINGS in result.get("msg", ""):
            display.warning(
                f"host {self._host}: apt could not be asked about the package {arguments['package']}, for in check mode"
                " Ansible needs python3-apt on the host; a run installs both"
            )
            return {"changed": True}
        if result.get("failed") or not arguments["systemd"] or self._task.check_mode:
            return result
        boot = self._ask("ansible.builtin.systemd_service", {"name": "nginx", "enabled": True}, answers.CHANGED)
        return boot if boot.get("failed") else {**result, "changed": result["changed"] or boot["changed"]}
