# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ``mtls.nginx.tls_probe``: the requests are made here, in this process."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import authority_path
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service
from ansible_collections.mtls.nginx.plugins.module_utils.site.witnesses import Witnesses
from ansible_collections.mtls.nginx.plugins.plugin_utils.facts import refuse_facts
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import (
    base_dir,
    inventory_reader,
    probe_address,
)

ARGUMENTS = {
    "authority": {"type": "path", "required": True},
    "services": {"type": "list", "elements": "dict", "required": True},
    "address": {"type": "str"},
    "crl_only": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Asks each service of a host, as those who may enter and as those who may not."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the attempts; the task fails where an answer is not the expected one."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        if self._task.check_mode:
            return {
                **result,
                "changed": False,
                "skipped": True,
                "msg": "nothing was asked in check mode",
                "attempts": [],
            }
        host = task_vars["inventory_hostname"]
        try:
            refuse_facts(task_vars, [host])
            services = inventory_reader().services(host, {"mtls_services": arguments["services"]})
            present = [service for service in services if service.present]
            witnesses = {
                service.authority: Witnesses.load(
                    authority_path(service.authority or arguments["authority"], base_dir(task_vars))
                )
                for service in present
            }
            ask = _ask_about_crl if arguments["crl_only"] else _ask
            outcomes = [
                (service, outcome)
                for service in present
                if not service.snippet
                for outcome in ask(service, witnesses, probe_address(arguments["address"], service, task_vars))
            ]
        except MtlsError as error:
            raise AnsibleActionFail(str(error)) from error
        result.update(changed=False, attempts=[probe.summary(service.name, outcome) for service, outcome in outcomes])
        wrong = [
            f"service {service.name}: {outcome.attempt.who} got {outcome.got} instead of {outcome.expected}"
            for service, outcome in outcomes
            if not outcome.ok
        ]
        if wrong:
            result.update(failed=True, msg=f"host {host}, {'; '.join(wrong)}")
        return result


def _target(service: Service, address: str) -> probe.Target:
    return probe.Target(address, service.listen.port, service.probe_name, bool(service.proxy_protocol_from))


def _ask_about_crl(
    service: Service, witnesses: Mapping[str | None, Witnesses], address: str
) -> list[probe.ProbeOutcome]:
    """Ask what a new CRL can change; a service without a gate is left out, because it waits for site.yml."""
    target = _target(service, address)
    first, *others = witnesses[service.authority].certificate_attempts()
    outcome = probe.ask(target, first)
    return [outcome, *(probe.ask(target, attempt) for attempt in others)] if outcome.ok else []


def _ask(service: Service, witnesses: Mapping[str | None, Witnesses], address: str) -> list[probe.ProbeOutcome]:
    target = _target(service, address)
    own = witnesses[service.authority]
    with own.attempts(service, [other for other in witnesses.values() if other is not own]) as attempts:
        return [probe.ask(target, attempt) for attempt in attempts]
