# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ``mtls.nginx.tls_probe``: the requests are made here, in this process."""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible.errors import AnsibleError

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import answers, pages, probe_places, served_certificate
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import authority_path
from ansible_collections.mtls.nginx.plugins.module_utils.site.kept_out import advice
from ansible_collections.mtls.nginx.plugins.module_utils.site.known_variables import FROM_HOST, check_probe_from
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service
from ansible_collections.mtls.nginx.plugins.module_utils.site.snippet_targets import (
    OWN_PAGES,
    SnippetTarget,
    targets,
    with_own_pages,
)
from ansible_collections.mtls.nginx.plugins.module_utils.site.stale_workers import Question, ask_again
from ansible_collections.mtls.nginx.plugins.module_utils.site.witnesses import Witnesses
from ansible_collections.mtls.nginx.plugins.plugin_utils.host_action import HostAction
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import (
    address_for_others,
    base_dir,
    inventory_reader,
    is_local,
    probe_address,
)

ARGUMENTS = {
    "authority": {"type": "path", "required": True},
    "services": {"type": "list", "elements": "dict", "required": True},
    "address": {"type": "str"},
    "crl_only": {"type": "bool", "default": False},
    "reloaded": {"type": "bool", "default": False},
    "snippet_gates": {"type": "list", "elements": "dict", "default": []},
    "away": {"type": "list", "elements": "str"},
}
# Where the configuration has an include that the running nginx does not know.
_INCLUDED = " (if the include of its snippet is new, reload nginx)"


def load() -> None:
    """Load what is the same for each host."""
    inventory_reader()


@dataclass
class _Found:
    """What became of a host's services: what was ``asked`` from here, what elsewhere, and what is to be said of it."""

    asked: list[tuple[Question, probe.ProbeOutcome]] = field(default_factory=list)
    by_host: list[tuple[Question, probe.ProbeOutcome]] = field(default_factory=list)
    not_asked: list[dict[str, str]] = field(default_factory=list)
    asked_from: list[dict[str, str]] = field(default_factory=list)
    unanswered: list[dict[str, str]] = field(default_factory=list)
    certificates: list[served_certificate.Served] = field(default_factory=list)


class ActionModule(HostAction):
    """Asks each service of a host, as those who may enter and as those who may not."""

    _requires_connection = False

    def _result(self) -> dict[str, t.Any]:
        """Return the attempts; the task fails where an answer is not the expected one."""
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        if self._task.check_mode:
            return {
                "changed": False,
                "skipped": True,
                "msg": "nothing was asked in check mode",
                "attempts": [],
                "not_asked": [],
                "asked_from": [],
                "unanswered": [],
                "certificates": [],
            }
        self._own_authority: str = arguments["authority"]
        self._address: str | None = arguments["address"]
        self._crl_only: bool = arguments["crl_only"]
        given = {"mtls_services": arguments["services"]}
        services = inventory_reader().services(self._host, given, base_dir(self._task_vars))
        present = [service for service in services if service.present]
        self._witnesses = {service.authority: Witnesses.load(self._path(service)) for service in present}
        self._gates = answers.read_snippet_gates(self._host, arguments["snippet_gates"])
        self._from, self._missing = self._wanted(), self._away(present, arguments["away"])
        self._other = probe_places.another_host(self._from)
        found = _Found()
        for service in present:
            self._ask_service(service, found)
        return self._judged(found, present, reloaded=arguments["reloaded"])

    def _judged(self, found: _Found, present: Sequence[Service], *, reloaded: bool) -> dict[str, t.Any]:
        """Return the result, which is a failure where an answer is not the expected one."""
        # Nothing was reloaded: whoever answered once speaks for all of nginx's workers.
        stale = {each.question: each for each in ask_again(found.asked)} if reloaded else {}
        asked = [
            (question, stale[question].outcome if question in stale else outcome) for question, outcome in found.asked
        ]
        asked += found.by_host
        result: dict[str, t.Any] = {
            "changed": False,
            "attempts": [probe.summary(question.service, outcome) for question, outcome in asked],
            "not_asked": found.not_asked,
            "asked_from": found.asked_from,
            "unanswered": found.unanswered,
            "certificates": [served.as_result() for served in found.certificates],
        }
        snippets = {service.name for service in present if service.snippet}
        wrong = [
            stale[question].words
            if question in stale
            else f"service {question.service}: {outcome.attempt.who} got {outcome.got} instead of {outcome.expected}"
            + (_INCLUDED if question.service in snippets else "")
            + _where(question, outcome)
            for question, outcome in asked
            if not outcome.ok
        ]
        if not self._crl_only:
            wrong += [_said(served) for served in found.certificates if served.trouble or served.is_another]
        if wrong:
            kept_out = advice(outcome for _question, outcome in asked if not outcome.ok)
            result.update(failed=True, msg=f"host {self._host}, {'; '.join(wrong)}{kept_out}")
        return result

    def _path(self, service: Service) -> str:
        """Return the directory of a service's authority."""
        return authority_path(service.authority or self._own_authority, base_dir(self._task_vars))

    def _ask_service(self, service: Service, found: _Found) -> None:
        """Ask a service, from here or from elsewhere."""
        explicit = bool(service.probe_address or self._address)
        why = probe_places.not_asked(service, self._from, self._missing)
        if why := why or probe_places.out_of_reach(service, self._other, explicit=explicit):
            found.not_asked.append({"service": service.name, "why": why})
            return
        local = is_local(self._task_vars)
        cause = probe_places.from_host(service, self._from, local=local, explicit=explicit)
        if cause and self._crl_only:
            found.not_asked.append({"service": service.name, "why": f"{cause}, and {probe_places.NO_KEYS}"})
            return
        address = probe_address(self._address, service, self._task_vars)
        if cause and not self._other:
            address = service.probe_address or service.local_address
        elif cause and not explicit:
            address = address_for_others(service, self._task_vars)
        outcomes: list[probe.ProbeOutcome] = []
        ours = [SnippetTarget(service.name, service.target(address))]
        for place in targets(service, self._gates, address) if service.snippet else ours:
            if cause:
                self._have_asked(place, service, cause, found)
            else:
                sure = local or explicit or self._from or service.snippet or self._crl_only
                outcomes += self._ask_from_here(place, service, address, found, elsewhere_too=not sure)
        if served := served_certificate.of(service, self._host, self._path(service), outcomes, times.now()):
            found.certificates.append(served)

    def _ask_from_here(
        self, place: SnippetTarget, service: Service, address: str, found: _Found, *, elsewhere_too: bool
    ) -> list[probe.ProbeOutcome]:
        """Return the answers of one place. With ``elsewhere_too``, the host asks if it cannot be reached from here."""
        why, answered = _ask(place, service, self._witnesses, crl_only=self._crl_only)
        if elsewhere_too and not answered[0][1].reached:
            cause = probe_places.unreached(answered[0][0].target, answered[0][1])
            own = SnippetTarget(service.name, service.target(service.local_address))
            self._have_asked(own, service, cause, found)
            return []
        found.asked += answered
        if why and service.snippet:
            found.not_asked.append({"service": service.name, "why": replace(place, why=why).not_asked})
        if not self._crl_only:
            redirect = _no_redirect(service, address)
            page = _ask_page(service, self._witnesses[service.authority], answered)
            troubles = [redirect, page.text if page else None]
            found.unanswered += [{"service": service.name, "why": trouble} for trouble in troubles if trouble]
        return [outcome for _question, outcome in answered]

    def _have_asked(self, place: SnippetTarget, service: Service, cause: str, found: _Found) -> None:
        """Have another machine ask, for a ``cause``."""
        # They hide all but the answer to somebody who may enter, and nobody who may is sent from there.
        place = replace(place, target=None, why=OWN_PAGES) if place.own_pages else place
        if place.target is None:
            found.not_asked.append({"service": service.name, "why": place.not_asked})
            return
        found.by_host += self._asked_by_host(place.target, service)
        asked_from = {"service": service.name, "place": self._other or FROM_HOST, "why": cause}
        if asked_from not in found.asked_from:
            found.asked_from.append(asked_from)

    def _wanted(self) -> str | None:
        """Return the host's ``mtls_probe_from``. It is no option: each one is templated for each host."""
        if "mtls_probe_from" not in self._task_vars:
            return None
        value = self._templar.template(self._task_vars["mtls__probe_from"])
        check_probe_from(self._host, value, self._task_vars["groups"]["all"])
        return FROM_HOST if value == self._host else str(value)

    def _away(self, present: Sequence[Service], known: Sequence[str] | None) -> Collection[str]:
        """Return which of the addresses that services listen on the host does not have now."""
        own = list(dict.fromkeys(each.own_address for each in present if each.own_address and not each.at_loopback))
        if not own:
            return ()
        if known is None:  # what nginx_site has found out in this run
            known = (self._task_vars.get("mtls__site") or {}).get("away")
        if known is None:
            answer = self._ask("nginx_facts", {"test": False, "addresses": own}, answers.NGINX_FACTS)
            known = [] if answer.get("failed") else answer["nginx"]["away"]
        return known or ()

    def _asked_by_host(self, target: probe.Target, service: Service) -> list[tuple[Question, probe.ProbeOutcome]]:
        """Have the host itself ask, or the other one; return the answers to those who need no client's key."""
        other = self._other
        with self._witnesses[service.authority].attempts(service) as attempts:
            questions = probe_places.questions(target, attempts)
        tried = [attempt for attempt, _gate in questions]
        options = {"test": False, "ask": [gate for _attempt, gate in questions]}
        if other:
            answer = self._other_says(other, service, options)
        else:
            answer = self._ask("nginx_facts", options, answers.NGINX_FACTS)
        if answer.get("failed"):
            whose = f"host {other}: it could not ask service {service.name} of host {self._host}"
            own = f"host {self._host}: it could not ask its own service {service.name}"
            raise MtlsError(f"{whose if other else own}: {answer['msg']}")
        outcomes = probe_places.outcomes(other or self._host, tried, answer["nginx"]["asked"])
        return [(Question(service.name, target, outcome.attempt), outcome) for outcome in outcomes]

    def _other_says(self, other: str, service: Service, options: dict[str, t.Any]) -> dict[str, t.Any]:
        """Return the answer of another host.

        :raises MtlsError: there is none. It is no reason to count the service's own host as unreachable.
        """
        try:
            with self._at(other):
                return self._ask("nginx_facts", options, answers.NGINX_FACTS)
        except AnsibleError as error:  # no connection, no such plugin
            said = answers.printable(str(error).strip())
            raise MtlsError(
                f"host {self._host}, service {service.name}: {other}, which asks it (mtls_probe_from), does"
                f" not answer: {said}; see why, or set mtls_probe_from to another host, or to none"
            ) from error


def _no_redirect(service: Service, address: str) -> str | None:
    """Return what is wrong with the redirect on port 80, None where it redirects or there is none.

    It is no gate, and what is in front of the host may treat port 80 in another way: the task does not fail.
    """
    target = service.plain_target(address)
    if target is None:
        return None
    outcome = probe.ask(target, probe.Attempt("somebody with http", probe.REDIRECTED, path="/"))
    if outcome.ok:
        return None
    way = "with the PROXY protocol" if target.proxy_protocol else "without the PROXY protocol (http_proxy_protocol)"
    return (
        f"redirect_http: http://{target.server_name}/ at {address}:{target.port}, asked {way}, does not redirect:"
        f" {outcome.got}"
    )


def _where(question: Question, outcome: probe.ProbeOutcome) -> str:
    """Return where a request went that got no answer, and what to do if that is not the service."""
    if outcome.status is not None:
        return ""
    where = f" (at {question.target.address}:{question.target.port}"
    return f"{where}; if that is not where the service is reached, set its probe_address, or mtls_probe_from)"


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
                return OWN_PAGES, []
        first = probe.ask(target, attempts[0])
        if service.snippet and first.status is None:
            return f"{target.server_name} at {target.address}:{target.port}: {first.error}", []
        if crl_only and not first.ok:
            return "it did not refuse a request without a certificate", []
        outcomes = [first, *(probe.ask(target, attempt) for attempt in attempts[1:])]
    return None, [(Question(service.name, target, outcome.attempt), outcome) for outcome in outcomes]
