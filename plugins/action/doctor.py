# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ``mtls.nginx.doctor``: inventory, record and a real request here, files and logs on the host."""

from __future__ import annotations

import dataclasses
import os
import time
import typing as t
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from ansible.errors import AnsibleError

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers, evidence, pages, served_certificate
from ansible_collections.mtls.nginx.plugins.module_utils.site.diagnosis import Diagnosis, HostState, Reality, diagnose
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import gate_files
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service
from ansible_collections.mtls.nginx.plugins.module_utils.site.snippet_targets import OWN_PAGES, SnippetTarget, targets
from ansible_collections.mtls.nginx.plugins.module_utils.site.standing import clock_offset
from ansible_collections.mtls.nginx.plugins.plugin_utils.command_line import same_options
from ansible_collections.mtls.nginx.plugins.plugin_utils.host_action import HostAction
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import probe_address, read_plan

ARGUMENTS = {
    "service": {"type": "str"},
    "client": {"type": "str"},
    "certificate": {"type": "path"},
    "address": {"type": "str"},
    "binary": {"type": "str", "default": "nginx"},
    "conf_path": {"type": "path", "default": "/etc/nginx/nginx.conf"},
    "log_dir": {"type": "path", "default": "/var/log/nginx"},
}
_VERDICTS = {True: "let in", False: "not let in", None: "unknown"}


class ActionModule(HostAction):
    """Says why a client gets into a service of a host, or does not."""

    def _result(self) -> dict[str, t.Any]:
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        plans = read_plan(self._task_vars)
        found = evidence.gather(_question(arguments, self._host, plans), plans)
        intent = dataclasses.replace(found.intent, options=same_options())
        reality = self._reality(found, arguments)
        diagnosis = diagnose(intent, found.record, reality)
        if diagnosis.let_in and diagnosis.as_intended:
            # Nobody but who is to enter goes on to what the gate guards.
            reality = replace(reality, page=self._page(found, arguments, reality))
            diagnosis = diagnose(intent, found.record, reality)
        return {"changed": False, **_as_result(diagnosis)}

    def _reality(self, found: evidence.Evidence, arguments: dict[str, t.Any]) -> Reality:
        if found.service is None:
            return Reality(now=times.now())
        address = probe_address(arguments["address"], found.service, self._task_vars)
        if found.service.snippet:
            return self._of_snippet(found, found.service, arguments, address)
        # Before the host is looked at, so that its log has this request too.
        answer = _ask(found, found.service.target(address))
        gate, state, trouble = self._look(found, arguments)
        served = served_certificate.of(found.service, self._host, found.record.path, [answer], times.now())
        return Reality(
            served=served.words(gate["certificate"] if gate else None) if served else None,
            now=times.now(),
            host=state,
            trouble=trouble,
            address=f"{address}:{found.service.listen.port}",
            answer=answer,
            as_client=found.identity is not None,
        )

    def _page(
        self, found: evidence.Evidence, arguments: dict[str, t.Any], reality: Reality
    ) -> pages.PageTrouble | None:
        """Ask for what is behind the gate, as the client whom it has let in; return what is wrong with it."""
        service = found.service
        was_let_in = reality.as_client and reality.answer is not None and reality.answer.status == probe.LET_IN
        if service is None or found.identity is None or not was_let_in:
            return None
        certificate = found.record.certificate
        if not service.opens_page(found.intent.client, certificate.dn if certificate else None):
            return None
        target = service.target(probe_address(arguments["address"], service, self._task_vars))
        return pages.trouble(service, probe.ask(target, pages.attempt(service, found.intent.who, *found.identity)))

    def _of_snippet(
        self, found: evidence.Evidence, service: Service, arguments: dict[str, t.Any], address: str
    ) -> Reality:
        """Return what there is of a snippet: where it is, only the host knows."""
        gate, state, trouble = self._look(found, arguments)
        places = targets(service, gate["snippet_gates"], address) if gate else []
        asked = [(place, place.target, _ask(found, place.target)) for place in places if place.target]
        # What is open says more than what is closed.
        place, target, answer = max(asked, key=_is_odd, default=(None, None, None))
        not_asked = places[0].not_asked if places and place is None else None
        if place and answer and place.own_pages and answer.status != probe.LET_IN:
            not_asked = replace(place, why=OWN_PAGES).not_asked
            answer = None
        return Reality(
            now=times.now(),
            host=state,
            trouble=trouble,
            address=f"{target.address}:{target.port}" if target else "",
            answer=answer,
            as_client=found.identity is not None,
            snippet=True,
            not_asked=not_asked,
        )

    def _look(
        self, found: evidence.Evidence, arguments: dict[str, t.Any]
    ) -> tuple[dict[str, t.Any] | None, HostState | None, str | None]:
        """Return what the host says of itself, as it says it and for the diagnosis, or why it says nothing."""
        before = time.time()
        try:
            answer = self._ask("nginx_gate", _gate_options(found, arguments), answers.NGINX_GATE)
        except (AnsibleError, MtlsError) as error:  # no connection, no privileges, a lie
            return None, None, answers.printable(str(error).strip())
        after = time.time()
        if answer.get("failed"):
            return None, None, answers.printable(answer["msg"].strip())
        return answer["gate"], _state(answer["gate"], before, after), None


def _question(arguments: dict[str, t.Any], host: str, plans: t.Mapping[str, t.Any]) -> evidence.Question:
    if not arguments["service"]:
        services = evidence.service_names(host, plans)
        raise MtlsError(
            f"host {host}: say which service, with -e mtls_service=NAME; it has {', '.join(services) or 'none'}"
        )
    if bool(arguments["client"]) == bool(arguments["certificate"]):
        raise MtlsError(
            f"host {host}, service {arguments['service']}: say who, with either -e mtls_client=NAME or"
            " -e mtls_certificate=FILE"
        )
    certificate = arguments["certificate"] and os.path.abspath(arguments["certificate"])
    return evidence.Question(host, arguments["service"], arguments["client"] or None, certificate or None)


def _ask(found: evidence.Evidence, target: probe.Target) -> probe.ProbeOutcome:
    if found.identity is None:
        return probe.ask(target, probe.Attempt("nobody", probe.NO_OR_BAD_CERTIFICATE))
    return probe.ask(target, probe.Attempt(found.intent.who, probe.LET_IN, *found.identity))


def _is_odd(asked: tuple[SnippetTarget, probe.Target, probe.ProbeOutcome]) -> bool:
    place, _target, outcome = asked
    return outcome.status is not None and not outcome.ok and (not place.own_pages or outcome.status == probe.LET_IN)


def _gate_options(found: evidence.Evidence, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    service = t.cast(Service, found.service)
    certificate = found.record.certificate
    return {
        "service": service.name,
        "variable": service.variable,
        **gate_files(os.path.dirname(os.path.normpath(arguments["conf_path"])), service),
        "snippet": service.snippet,
        "server_names": list(service.server_names),
        "serial": certificate.serial if certificate else "",
        "dn": certificate.dn if certificate else "",
        **{name: arguments[name] for name in ("binary", "conf_path", "log_dir")},
    }


def _state(gate: dict[str, t.Any], before: float, after: float) -> HostState:
    """Return the diagnosis' view of what the host says; it read its clock between ``before`` and ``after``."""
    offset = clock_offset(gate["clock"], before, after)
    return HostState(
        offset=timedelta(seconds=offset),
        crl_begin=_moment(gate["crl_begin"]),
        crl_end=_moment(gate["crl_end"]),
        **{
            name: gate[name]
            for name in (
                "running",
                "configured",
                "included",
                "allow",
                "ca",
                "crl",
                "revoked",
                "requests",
                "without",
                "http3",
                "errors",
                "unread",
            )
        },
    )


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


def _as_result(diagnosis: Diagnosis) -> dict[str, t.Any]:
    """Return the diagnosis in the words of the module's return values."""
    return {
        "msg": diagnosis.paragraph,
        "verdict": _VERDICTS[diagnosis.let_in],
        "intent": _VERDICTS[diagnosis.meant],
        "as_intended": diagnosis.as_intended,
        "causes": [
            {"cause": finding.cause, "text": finding.text, "remedy": finding.remedy} for finding in diagnosis.findings
        ],
        "remedy": diagnosis.remedy,
        "commands": list(diagnosis.commands),
    }
