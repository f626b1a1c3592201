# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of ``mtls.nginx.inventory_plan``: everything happens here, no host is asked."""

from __future__ import annotations

import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.mtls.nginx.plugins.module_utils.ca.options import DIRECTORY, PKCS11
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import Layout
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import inventory_access
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import (
    AuthorityPlan,
    RevokingPlan,
    authority_path,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.rollover_plan import Move
from ansible_collections.mtls.nginx.plugins.plugin_utils import throwaway
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import (
    base_dir,
    plan_file,
    read_plan,
    read_plan_to_revoke,
)

ARGUMENTS = {
    "only": {"type": "path"},
    "move": {"type": "bool", "default": False},
    "move_clients": {"type": "list", "elements": "str", "default": []},
    "move_count": {"type": "int"},
    "plan_file": {"type": "str"},
    "access": {"type": "bool", "default": False},
    "access_before": {"type": "dict"},
    "to_revoke": {"type": "bool", "default": False},
    "crls_only": {"type": "bool", "default": False},
}

display = Display()


class ActionModule(ActionBase):
    """Reads the whole inventory and returns what each authority has to make true."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the plan of each authority; it is shown at no verbosity, because of the passphrases in it."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            plan_file(arguments["plan_file"], task_vars)  # the summary writes it, at the end
            move = Move(tuple(arguments["move_clients"]), arguments["move_count"]) if arguments["move"] else None
            complete = not self._task.check_mode
            if arguments["to_revoke"]:
                plans, result["left_out"] = _to_revoke(read_plan_to_revoke(task_vars, complete=complete))
            else:
                plans = read_plan(task_vars, move, complete=complete, crls_only=arguments["crls_only"])
            if arguments["only"]:
                plans = _only(authority_path(arguments["only"], base_dir(task_vars)), plans)
            for plan in plans.values():
                _refuse_throwaway(plan)
            if arguments["access"]:
                result["access"] = inventory_access.access_of(plans, base_dir(task_vars))
                result["access_plan"] = inventory_access.markdown(arguments["access_before"], result["access"])
        except MtlsError as error:
            raise AnsibleActionFail(str(error)) from error
        result["changed"] = False
        result["missing"] = [path for path, plan in plans.items() if _would_be_made(plan)]
        result["authorities"] = {path: plan.as_options() for path, plan in plans.items()}
        # Passphrases and export passwords are in it: shown at no verbosity, yet a failure above keeps its message.
        result["_ansible_no_log"] = True
        return result


def _to_revoke(found: RevokingPlan) -> tuple[dict[str, AuthorityPlan], list[str]]:
    """Return the authorities that can be asked, and why others cannot, having warned of all that is wrong."""
    plans = dict(found.authorities)
    left_out = list(found.left_out.values())
    for path, plan in found.authorities.items():
        try:
            _refuse_throwaway(plan)
        except MtlsError as error:
            left_out.append(str(error))
            del plans[path]
    for wrong in dict.fromkeys([*found.contradictions, *left_out]):
        display.warning(wrong)
    if left_out and not plans:
        raise MtlsError("; ".join(left_out))
    return plans, left_out


def _refuse_throwaway(plan: AuthorityPlan) -> None:
    if plan.settings["backend"] in (DIRECTORY, PKCS11):  # their record is in the directory
        throwaway.refuse(plan.path)


def _would_be_made(plan: AuthorityPlan) -> bool:
    """Tell whether there is no authority yet, and none elsewhere that this directory would mirror."""
    made_here = plan.settings["backend"] in (DIRECTORY, PKCS11)
    return made_here and not os.path.exists(Layout(plan.path).certificate)


def _only(path: str, plans: dict[str, AuthorityPlan]) -> dict[str, AuthorityPlan]:
    """Return the plan of one authority, and that of the authority which is to follow it.

    :raises MtlsError: it is the authority of no host, or follows another.
    """
    used = [each for each, plan in plans.items() if not plan.follows]
    if path not in used:
        raise MtlsError(f"{path}: no host uses this authority; known are {', '.join(used) or 'none'}")
    return {each: plans[each] for each in (path, handover.next_path(path)) if each in plans}
