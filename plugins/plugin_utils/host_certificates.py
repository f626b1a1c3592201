# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting in place what a host serves, where some of its certificates are its own, or come from an ACME server."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ansible.utils.display import Display

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers, host_paths, own_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.site.own_certificates import Choice
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

Answer = dict[str, t.Any]
# What the last of several steps has found.
_LAST = ("snippet_gates", "unguarded", "elsewhere", "nginx")

display = Display()


@dataclass(frozen=True)
class Steps:
    """What a host is asked and told by.

    ``look`` returns what ``nginx_facts`` answers, ``transact`` puts in place what differs from that and returns what
    was done, ``ask`` returns what a module answers, ``install`` what the package manager does.
    """

    look: Callable[[], Answer]
    transact: Callable[[Answer, Choice], Answer]
    ask: Callable[[str, Answer, answers.Fields], Answer]
    install: Callable[[str, str], Answer]


class HostCertificates:
    """The certificates of one host. ``can_stand_in`` are the services for which the authority has one."""

    def __init__(
        self, name: str, conf_dir: str, services: Sequence[Service], can_stand_in: Collection[str], *, check: bool
    ) -> None:
        self._name = name
        self._conf_dir = conf_dir
        self._services = services
        self._can_stand_in = can_stand_in
        self._check = check

    def bring(self, steps: Steps, facts: Answer) -> tuple[Answer, Choice]:
        """Put everything in place, with certificates that have to be obtained first in a transaction of their own.

        Returns the result, and what is served in the end.

        :raises MtlsError: see ``own_certificates.choose``.
        """
        choice = self._choose(facts)
        result = steps.transact(facts, choice)
        abandoned = (facts["acme"] or {}).get("abandoned", [])
        if result.get("failed") or not (choice.due or choice.stale or abandoned):
            return result, choice
        if self._check:
            due = [f"a certificate for {service.name} would be obtained" for service in choice.due]
            message = "; ".join([result["message"], *due])
            return {**result, "changed": True, "message": message}, choice.to_be_obtained()
        failures: dict[str, str] = {}
        if choice.due or abandoned:
            answer = self._have_obtained(steps, choice.due, abandoned)
            result = _merged(result, answer)
            if result.get("failed"):
                return result, choice
            failures = {failure: f"host {self._name}, {failure}" for failure in answer["failures"]}
        looked = steps.look()
        if looked.get("failed"):
            return failed_after(result, looked), choice
        facts = looked["nginx"]
        again = self._choose(facts)
        again.failures.update(failures)
        if choice.due:
            result = _merged(result, steps.transact(facts, again))
        for service in sorted(again.stale & choice.stale - {service.name for service in choice.due}):
            path = facts["certificates"][service]["path"]
            again.failures[service] = (
                f"host {self._name}, service {service}: it serves another certificate than the one in {path}, even "
                "after a reload; find out which program or server block answers there"
            )
        return result, again

    def tell(self, result: Answer, choice: Choice) -> Answer:
        """Return the result with what is to be told of certificates, and warn."""
        for service, note in choice.notes.items():
            if service not in choice.failures:
                display.warning(f"host {self._name}, service {service}: {note}")
        result = {**result, "stand_ins": choice.notes}
        if choice.failures:
            result.update(failed=True, msg="; ".join(choice.failures.values()))
        return result

    def _choose(self, facts: Answer) -> Choice:
        return own_certificates.choose(self._name, self._conf_dir, self._services, facts, self._can_stand_in)

    def _have_obtained(self, steps: Steps, due: list[Service], abandoned: list[str]) -> Answer:
        """Have certbot obtain and forget certificates, and install it before that where it is missing."""
        options = {
            "orders": own_certificates.orders(self._conf_dir, due),
            "forget": abandoned,
            "hook": host_paths.acme_hook(self._conf_dir),
        }
        answer = steps.ask("nginx_acme", options, answers.NGINX_ACME)
        if answer.get("failed") or answer["installed"] or not due:
            return answer
        installed = steps.install("certbot", "certbot, which certificate: acme needs,")
        if installed.get("failed"):
            return installed
        answer = steps.ask("nginx_acme", options, answers.NGINX_ACME)
        if not (answer.get("failed") or answer["installed"]):
            raise MtlsError(f"host {self._name}: the package certbot is installed, but there is no program certbot")
        return answer


def failed_after(result: Answer, failure: Answer) -> Answer:
    """Return what was done on a host before a step failed, and why that one did."""
    return {**result, "failed": True, "msg": failure["msg"]}


def _merged(result: Answer, later: Answer) -> Answer:
    """Return what two steps did, one after the other. Who may enter, the first one has decided."""
    if later.get("failed"):
        return failed_after(result, later)
    both = {**result, **{name: later[name] for name in _LAST if name in later}}
    for name in ("changed", "reloaded", "started"):
        both[name] = bool(result[name] or later.get(name))
    for name in ("files", "warnings", "diff"):
        if found := [*(result.get(name) or ()), *(later.get(name) or ())]:
            both[name] = found
    both["handover"] = result.get("handover") or later.get("handover")
    both["obtained"] = obtained = [*result.get("obtained", ()), *later.get("obtained", ())]
    said = f"certificates obtained for {', '.join(obtained)}" if later.get("obtained") else later.get("message")
    return {**both, "message": "; ".join(filter(None, [result["message"], said]))}
