# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of `mtls.nginx.trust_check`: the host says what it trusts, and here is what that means."""

from __future__ import annotations

import os
import time
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.standing import Answer, Standing, check, expected
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import authorities_of, base_dir, inventory_reader

ARGUMENTS = {
    "missing": {"type": "list", "elements": "path", "required": True},
    "authority": {"type": "path", "required": True},
    "services": {"type": "list", "elements": "dict", "required": True},
    "binary": {"type": "str", "default": "nginx"},
    "conf_path": {"type": "path", "default": "/etc/nginx/nginx.conf"},
    "replace_authority": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        host, conf_path = task_vars["inventory_hostname"], os.path.normpath(arguments["conf_path"])
        try:
            services = inventory_reader().services(host, {"mtls_services": arguments["services"]})
            authorities = authorities_of(services, arguments["authority"], base_dir(task_vars))
            standings = [
                Standing.of(os.path.dirname(conf_path), trust, path)
                for trust, (path, _entered) in authorities.items()
                if path in arguments["missing"]
            ]
            if not standings or arguments["replace_authority"]:
                return {**result, "changed": False, "asked": False}
            before = time.time()
            looked: dict[str, t.Any]
            options = {
                "test": False,
                "binary": arguments["binary"],
                "conf_path": conf_path,
                "expected": expected(standings),
            }
            try:
                looked = self._execute_module("mtls.nginx.nginx_facts", options, task_vars=task_vars)
            except AnsibleConnectionFailure as error:
                # Not `unreachable`: with any_errors_fatal one host that is down would keep all others from their files.
                return {**result, "changed": False, "asked": False, "msg": f"host {host} cannot be reached: {error}"}
            if "mtls_nginx" not in looked.get("ansible_facts", {}):  # failed
                return looked
            now = time.time()
            answer = Answer.of(looked["ansible_facts"]["mtls_nginx"]["trust"], before, now)
            check(host, answer, standings, now, replace_authority=False)
        except MtlsError as error:
            raise AnsibleActionFail(str(error)) from error
        return {**result, "changed": False, "asked": True}
