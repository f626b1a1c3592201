# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of `mtls.nginx.inventory_plan`: everything happens here, no host is asked."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.mtls.nginx.plugins.module_utils.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import read_plan


class ActionModule(ActionBase):
    """Reads the whole inventory and returns what each authority has to make true."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        try:
            plans = read_plan(task_vars or {})
        except MtlsError as error:
            raise AnsibleActionFail(str(error)) from error
        result["changed"] = False
        result["authorities"] = {path: plan.as_options() for path, plan in plans.items()}
        # Passphrases and export passwords are in it: shown at no verbosity, yet a failure above keeps its message.
        result["_ansible_no_log"] = True
        return result
