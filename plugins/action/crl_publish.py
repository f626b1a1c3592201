# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``mtls.nginx.crl_publish``: everything happens here."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.mtls.nginx.plugins.module_utils.common.entry import describe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import crl_publication
from ansible_collections.mtls.nginx.plugins.plugin_utils.facts import refuse_facts

ARGUMENTS = {
    "ca_path": {"type": "path", "required": True},
    "file": {"type": "path"},
    "command": {"type": "list", "elements": "str", "default": []},
}

display = Display()


class ActionModule(ActionBase):
    """Publishes the CRL; what goes wrong is a warning and the value ``problem``, since the hosts come next."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return whether something was published."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        variables = task_vars or {}
        result.update(changed=False, problem=None)
        try:
            refuse_facts(variables, [variables["inventory_hostname"]])
            if arguments["file"]:
                result["changed"] = crl_publication.to_file(
                    arguments["ca_path"], arguments["file"], check=self._task.check_mode
                )
            if arguments["command"] and not self._task.check_mode:
                crl_publication.to_command(arguments["ca_path"], arguments["command"])
        except MtlsError as error:
            result["problem"] = str(error)
        except OSError as error:
            result["problem"] = describe(error)
        if result["problem"]:
            display.warning(f"the CRL was not published: {result['problem']}")
        return result
