# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ``mtls.nginx.handouts``: the pages are made here, where the authority is."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import Layout
from ansible_collections.mtls.nginx.plugins.module_utils.common import contact, files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.handouts import Handouts, Template
from ansible_collections.mtls.nginx.plugins.plugin_utils.facts import refuse_facts
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import PAGE_DIR

ARGUMENTS = {
    "ca_path": {"type": "path", "required": True},
    "services": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "urls": {"type": "list", "elements": "str", "required": True},
            "allow": {"type": "list", "elements": "str"},
            "issued_by_authority": {"type": "bool", "default": False},
            "renewal_urls": {"type": "list", "elements": "str", "default": []},
            "renewal_allow": {"type": "list", "elements": "str"},
        },
    },
    "template": {"type": "path"},
    "contact": contact.OPTION,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "foreseen": {"type": "list", "elements": "dict", "default": []},
    "revoked": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):
    """Writes a page for each client, where it differs."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return which pages were written and removed, or would be."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        task_vars = task_vars or {}
        try:
            refuse_facts(task_vars, [task_vars["inventory_hostname"]])
            # Another run may be at the same pages.
            with self._lock(arguments["ca_path"]):
                handouts = Handouts(
                    arguments["ca_path"],
                    arguments["services"],
                    Template(PAGE_DIR, arguments["template"] or None, contact.Contact.of(arguments["contact"])),
                )
                outcome = handouts.reconcile(
                    wanted=arguments["state"] == "present",
                    check=self._task.check_mode,
                    foreseen=arguments["foreseen"],
                    revoked=set(arguments["revoked"]),
                )
        except MtlsError as error:
            raise AnsibleActionFail(str(error)) from error
        except OSError as error:
            raise AnsibleActionFail(
                f"{os.fsdecode(error.filename or arguments['ca_path'])}: {error.strerror}"
            ) from error
        result.update(
            changed=bool(outcome.written or outcome.removed),
            written=outcome.written,
            removed=outcome.removed,
            diff={"before": "".join(outcome.before), "after": "".join(outcome.after)},
        )
        return result

    def _lock(self, ca_path: str) -> contextlib.AbstractContextManager[None]:
        if self._task.check_mode or not os.path.isdir(ca_path):
            return contextlib.nullcontext()
        return files.lock(Layout(ca_path).lock)
