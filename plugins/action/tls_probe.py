# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ``mtls.nginx.tls_probe``: the requests are made here, in this process."""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Mapping
from dataclasses import replace

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers, pages, served_certificate
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import authority_path
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service
from ansible_collections.mtls.nginx.plugins.module_utils.site.snippet_targets import (
    SnippetTarget,
    targets,
    with_own_pages,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.stale_workers import Question, ask_again
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
    "reloaded": {"type": "bool", "default": False},
    "snippet_gates": {"type": "list", "elements": "dict", "default": []},
}
# Where the configuration has an include that the running nginx does not know.
_INCLUDED = " (if the include of its snippet is new, reload nginx)"


def load() -> None:
    """Load what is the same for each host."""
    inventory_reader()


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
                "not_asked": [],
                "unanswered": [],
                "certificates": [],
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
            gates = answers.read_snippet_gates(host, arguments["snippet_gates"])
            asked: list[tuple[Question, probe.ProbeOutcome]] = []
            not_asked: list[dict[str, str]] = []
            unanswered: list[dict[str, str]] = []
            certificates: list[served_certificate.Served] = []
            for service in present:
                address = probe_address(arguments["address"], service, task_vars)
                ours = [SnippetTarget(service.name, service.target(address))]
                outcomes: list[probe.ProbeOutcome] = []
                for place in targets(service, gates, address) if service.snippet else ours:
                    why, found = _ask(place, service, witnesses, crl_only=arguments["crl_only"])
                    asked += found
                    outcomes += [outcome for _question, outcome in found]
                    if why and service.snippet:
                        not_asked.append({"service": service.name, "why": replace(place, why=why).not_asked})
                    trouble = None if arguments["crl_only"] else _ask_page(service, witnesses[service.authority], found)
                    if trouble is not None:
                        unanswered.append({"service": service.name, "why": trouble.text})
                path = authority_path(service.authority or arguments["authority"], base_dir(task_vars))
                if served := served_certificate.of(service, host, path, outcomes, times.now()):
                    certificates.append(served)
        except MtlsError as error:
            raise AnsibleActionFail(str(error)) from error
        # Nothing was reloaded: whoever answered once speaks for all of nginx's workers.
        stale = {each.question: each for each in ask_again(asked)} if arguments["reloaded"] else {}
        asked = [(question, stale[question].outcome if question in stale else outcome) for question, outcome in asked]
        result.update(
            changed=False,
            attempts=[probe.summary(question.service, outcome) for question, outcome in asked],
            not_asked=not_asked,
            unanswered=unanswered,
            certificates=[served.as_result() for served in certificates],
        )
        snippets = {service.name for service in present if service.snippet}
        wrong = [
            stale[question].words
            if question in stale
            else f"service {question.service}: {outcome.attempt.who} got {outcome.got} instead of {outcome.expected}"
            + (_INCLUDED if question.service in snippets else "")
            for question, outcome in asked
            if not outcome.ok
        ]
        if not arguments["crl_only"]:
            wrong += [_said(served) for served in certificates if served.trouble or served.is_another]
        if wrong:
            result.update(failed=True, msg=f"host {host}, {'; '.join(wrong)}")
        return result


def _said(served: served_certificate.Served) -> str:
    if served.trouble:
        return f"service {served.service}: the certificate that it serves ({served.issuer}) {served.trouble}"
    return (
        f"service {served.service}: it does not serve the certificate that the authority has issued, but one by"
        f" {served.issuer}; see which program answers there, or reload nginx"
    )


def _ask_page(
    service: Service, own: Witnesses, found: list[tuple[Question, probe.ProbeOutcome]]
) -> pages.PageTrouble | None:
    """Ask for what is behind the gate, as the client whom the gate has let in; return what is wrong with it."""
    attempt = own.page_attempt(service)
    if attempt is None:
        return None
    for question, outcome in found:
        if outcome.status == probe.LET_IN and question.attempt.certificate == attempt.certificate:
            return pages.trouble(service, probe.ask(question.target, attempt))
    return None


def _ask(
    place: SnippetTarget, service: Service, witnesses: Mapping[str | None, Witnesses], *, crl_only: bool
) -> tuple[str | None, list[tuple[Question, probe.ProbeOutcome]]]:
    """Return why a place cannot be asked, if so, and the answers to each kind of caller.

    With ``crl_only`` a place without a gate is left out, because it waits for site.yml.
    """
    target = place.target
    if target is None:
        return place.why, []
    own = witnesses[service.authority]
    others = [other for other in witnesses.values() if other is not own]
    with contextlib.nullcontext(own.certificate_attempts()) if crl_only else own.attempts(service, others) as attempts:
        if place.own_pages:
            attempts = with_own_pages(attempts)
            if not attempts:
                return "its own error pages hide what the gate answers", []
        first = probe.ask(target, attempts[0])
        if service.snippet and first.status is None:
            return f"{target.server_name} at {target.address}:{target.port}: {first.error}", []
        if crl_only and not first.ok:
            return "it did not refuse a request without a certificate", []
        outcomes = [first, *(probe.ask(target, attempt) for attempt in attempts[1:])]
    return None, [(Question(service.name, target, outcome.attempt), outcome) for outcome in outcomes]
