# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The authority's modules, run in Ansible's own process where the result is the same."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import typing as t
from types import ModuleType

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import AnsibleValidationErrorMultiple, UnsupportedError
from ansible.plugins.action import ActionBase

from ansible_collections.mtls.nginx.plugins.module_utils.common import as_written, entry, valid_items
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.plugin_utils.facts import refuse_facts
from ansible_collections.mtls.nginx.plugins.plugin_utils.plain import plain

# Since 2.22, Ansible masks what an argument specification calls secret wherever it shows or logs something, and warns
# of results that are masked by hand.
if _MASKED_BY_HAND := importlib.util.find_spec("ansible.module_utils.secrets") is None:
    from ansible.module_utils.common.parameters import remove_values


@dataclasses.dataclass
class _Call:
    """An ``entry.Call`` made from a task."""

    params: dict[str, t.Any]
    check_mode: bool
    warnings: list[str] = dataclasses.field(default_factory=list)

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)


class AuthorityAction(ActionBase):
    """Runs ``MODULE`` in this process, which saves a second: packing it, and a Python that starts and compiles it.

    On another host, as another user, with another interpreter or environment, or in the background it runs as any
    module does.
    """

    MODULE: ModuleType

    TRANSFERS_FILES = False
    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the module's result."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        try:
            refuse_facts(self._task_vars, [self._task_vars["inventory_hostname"]])
            for name, spec in self.MODULE.SPEC["argument_spec"].items():
                as_written.check(name, self._task.args.get(name), spec, name)
        except MtlsError as error:
            raise AnsibleActionFail(str(error)) from error
        if self._task.get_vars().get("ansible_become") is False:
            # `-e ansible_become=true` is meant for the hosts, yet Ansible has it outrank what the task says.
            self._connection.set_become_plugin(None)
        result.update(self._result())
        return result

    def _result(self) -> dict[str, t.Any]:
        if not self._is_alike():
            done: dict[str, t.Any] = self._execute_module(
                task_vars=self._task_vars, wrap_async=bool(self._task.async_val)
            )
            return done
        rules = {name: rule for name, rule in self.MODULE.SPEC.items() if name != "supports_check_mode"}
        given, valid, secrets = valid_items.set_aside(rules["argument_spec"], plain(self._task.args))
        validation = ArgumentSpecValidator(**rules).validate(given)
        call = _Call({**validation.validated_parameters, **valid}, self._task.check_mode)
        if validation.error_messages:
            result = {"failed": True, "msg": self._refusal(validation.errors)}
        else:
            result = entry.result_of(lambda: self._work(call))
        if call.warnings:
            result["warnings"] = call.warnings
        if _MASKED_BY_HAND:
            # Results have no secrets in them, but a message may cite what was given.
            shown = {name: result[name] for name in ("msg", "warnings") if name in result}
            result.update(remove_values(shown, validation._no_log_values | secrets))
        return result

    def _work(self, call: entry.Call) -> dict[str, t.Any]:
        """Return the result of the module's work, in this process."""
        result: dict[str, t.Any] = self.MODULE.work(call)
        return result

    def _refusal(self, errors: AnsibleValidationErrorMultiple) -> str:
        """Return what a module says of invalid arguments."""
        prefix = f"Unsupported parameters for ({self._task.action}) module: "
        return f"{prefix if isinstance(errors[0], UnsupportedError) else ''}{errors.msg}"

    def _is_alike(self) -> bool:
        """Tell whether the module would run here, as this user, with this interpreter and environment."""
        return (
            self._connection.transport == "local"
            and not self._connection.become
            and not self._task.async_val
            and not self._compute_environment_string()
            and self._interpreter() == sys.executable
        )

    def _interpreter(self) -> str | None:
        variables = self._task_vars
        if self._task.delegate_to:
            variables = variables["ansible_delegated_vars"][self._task.delegate_to]
        found: str | None = self._templar.template(variables.get("ansible_python_interpreter"))
        return found
