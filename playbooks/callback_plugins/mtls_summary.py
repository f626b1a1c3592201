# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary at the end of a run, or what the doctor says.

It says who gains and who loses entry, what changed on which host, who was let in and who was kept out, and which hosts
were not reached; the access plan as Markdown too, in the file of ``mtls_plan_file``; and the result for a program, in
the file that MTLS_RESULT_FILE names: upkeep reads it. Ansible loads it by itself, because it lies beside the playbooks.
It is a callback, not a task, so that it also comes after a run that has stopped, however early.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import textwrap
import time
import typing as t
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.revoking import said_of_return
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.entry import describe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import access_plan
from ansible_collections.mtls.nginx.plugins.module_utils.site.answers import printable
from ansible_collections.mtls.nginx.plugins.module_utils.site.known_variables import FROM_HOST
from ansible_collections.mtls.nginx.plugins.module_utils.site.people import RUN_BEGAN
from ansible_collections.mtls.nginx.plugins.module_utils.site.probe_places import NO_KEYS
from ansible_collections.mtls.nginx.plugins.plugin_utils.facts import refuse_facts
from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import plan_file

_OURS = "mtls.nginx."
_ACTIONS = "ansible_collections.mtls.nginx.plugins.action."
_WIDTH = 110
_EVERY_SERVICE = "(all)"
_MOST_CLIENTS = 40  # are named; of those that are revoked, all
_PLAN_MODE = 0o644  # names of clients and services, which whoever reads the inventory knows
_FILES = (
    (r"conf\.d/mtls-(?P<service>[^/]+)\.conf$", "server block"),
    (r"snippets/mtls-(?P<service>[^/]+)\.conf$", "snippet"),
    (r"server-certs/(?P<service>[^/]+)\.crt$", "server certificate"),
    (r"server-certs/(?P<service>[^/]+)\.key$", "server key"),
    (r"server-certs/acme-deploy-hook$", "certbot's deploy hook"),
    (r"conf\.d/mtls\.conf$", "who may enter"),
    (r"client-certs/(?:[^/]+/)?ca\.crt$", "CA"),
    (r"nginx\.service\.d/10-mtls-nginx\.conf$", "restart after a failure"),
    (r"client-certs/(?:[^/]+/)?(crl\.pem|revoked\.map|crl-end\.map)$", "CRL"),
)


_CLIENT = re.compile(r"client '(?P<name>.*)', who (?P<what>.*)")
# What is said of a client that was sent to the gate, for what the name alone does not say.
_IN_SHORT = {"may enter": "", "is not on the allow list": " (not on the list)", "is revoked": " (revoked)"}


@dataclass
class HostReport:
    """What is known of one host."""

    changes: list[tuple[str, str, str]] = field(default_factory=list)  # service, what, how
    installed: bool = False
    has_nginx: bool = True
    accepted: bool | None = None
    seen: bool = False
    attempts: list[Mapping[str, t.Any]] | None = None
    failure: str | None = None
    unreachable: bool = False
    unguarded: list[tuple[str, str]] = field(default_factory=list)  # service, path of its snippet
    elsewhere: list[tuple[str, str]] = field(default_factory=list)  # service, where which other block answers
    handover: str | None = None  # what more than a reload nginx needs
    access: list[access_plan.Change] = field(default_factory=list)
    compared: bool = True
    authorities: list[str] = field(default_factory=list)
    not_asked: list[tuple[str, str]] = field(default_factory=list)  # service, why
    asked_from: list[tuple[str, str, str]] = field(default_factory=list)  # service, from where, why
    unanswered: list[tuple[str, str]] = field(default_factory=list)  # service, why nobody sees a page
    stand_ins: list[tuple[str, str]] = field(default_factory=list)  # service, why the authority's certificate is served

    def take_site(self, result: Mapping[str, t.Any]) -> None:
        """Take what the task ``nginx_site`` ended with."""
        self.seen = True
        self.accepted = result.get("accepted")
        self.has_nginx = result.get("installed", True)
        self.changes += [(*_about(file["path"]), file["change"]) for file in result.get("files") or []]
        self.unguarded = [(item["service"], item["path"]) for item in result.get("unguarded") or []]
        self.elsewhere = [(item["service"], item["why"]) for item in result.get("elsewhere") or []]
        self.handover = result.get("handover")
        failure = result.get("msg") or ""  # said once: there, or here
        self.stand_ins = [(name, why) for name, why in (result.get("stand_ins") or {}).items() if why not in failure]
        self.changes += [(service, "certificate", "obtained") for service in result.get("obtained") or []]
        if access := result.get("access"):
            self.access = [access_plan.Change.of_result(change) for change in access["changes"]]
            self.compared, self.authorities = access["compared"], access["authorities"]
        if result.get("started"):
            self.changes.append((_EVERY_SERVICE, "nginx", "started"))

    def expect_crl(self) -> None:
        """Take that a new CRL would come, which check mode has not written."""
        if self.seen and not any(what == "CRL" for _service, what, _how in self.changes):
            self.changes.append((_EVERY_SERVICE, "CRL", "changed"))

    def take_probe(self, result: Mapping[str, t.Any]) -> None:
        """Take what the task ``tls_probe`` ended with."""
        self.attempts = None if result.get("skipped") else result.get("attempts")
        self.not_asked = [(item["service"], item["why"]) for item in result.get("not_asked") or []]
        self.asked_from = [
            (item["service"], _place(item["place"]), item["why"]) for item in result.get("asked_from") or []
        ]
        self.unanswered = [(item["service"], item["why"]) for item in result.get("unanswered") or []]

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to be told but that all is well."""
        told = self.changes or self.installed or self.failure or self.unguarded or self.elsewhere
        told = told or self.not_asked or self.asked_from or self.unanswered or self.stand_ins
        return not told and all(attempt["ok"] for attempt in self.attempts or [])

    def lines(self, *, check: bool) -> list[str]:
        """Return what to say of the host, line by line."""
        services = dict.fromkeys(
            sorted(service for service, _what, _how in self.changes if service != _EVERY_SERVICE)
            + [attempt["service"] for attempt in self.attempts or []]
        )
        rows = [(service, self._changed(service, check=check), self._probed(service)) for service in services]
        if common := self._changed(_EVERY_SERVICE, check=check):
            rows.append((_EVERY_SERVICE, common, ""))
        width = max((len(service) for service, _changed, _probed in rows), default=0)
        told = [
            f"{service:{width}}  {'; '.join(part for part in (changed or 'nothing changed', probed) if part)}"
            for service, changed, probed in rows
        ]
        told[:0] = [
            f"{service}: GUARDS NOTHING until a server block includes {path}" for service, path in self.unguarded
        ]
        told += [f"{service}: NOT AT EVERY ADDRESS: {why}" for service, why in self.elsewhere]
        told += [f"{service}: NOT ASKED: {why}" for service, why in self.not_asked]
        told += [f"{service}: asked from {place}, {why}; {NO_KEYS}" for service, place, why in self.asked_from]
        told += [f"{service}: {why}" for service, why in [*self.unanswered, *self.stand_ins]]
        if self.handover:
            told.append(self.handover)
        if self.installed:
            told.insert(0, "nginx would be installed" if check else "nginx installed")
        if check and self.accepted:
            told.append("nginx would accept it")
        elif check and not self.has_nginx:
            told.append("nginx was not asked: it is not installed yet")
        if not self.compared:
            told.append("who could enter before could not be read, so it is not known who gains or loses entry")
        if self.failure:
            told.append(f"FAILED: {self.failure}")
        return told

    def told_quietly(self, *, check: bool) -> str:
        """Return what to say of a host of which there is nothing else to be told."""
        if check:
            return "nothing to change"
        asked = dict.fromkeys(attempt["service"] for attempt in self.attempts or [])
        probed = {service: self._probed(service) for service in asked}
        if len(set(probed.values())) == 1:
            return "; ".join(["nothing changed", *set(probed.values())])
        return "; ".join(["nothing changed", *(f"{service}: {said}" for service, said in probed.items())])

    def _changed(self, of: str, *, check: bool) -> str:
        by_change: dict[str, dict[str, None]] = {}
        for service, what, how in self.changes:
            if service == of:
                by_change.setdefault(f"would be {how}" if check else how, {})[what] = None
        return ", ".join(f"{' and '.join(what)} {how}" for how, what in by_change.items())

    def _probed(self, service: str) -> str:
        """Return who was let in and who was kept out, by name; only those who were sent."""
        asked = [attempt for attempt in self.attempts or [] if attempt["service"] == service]
        wrong = [f"{a['who']} got {a['got']} instead of {a['expected']}" for a in asked if not a["ok"]]
        if wrong:
            return f"PROBE: {'; '.join(wrong)}"
        let_in = [_in_short(attempt["who"]) for attempt in asked if not _is_refusal(attempt)]
        kept_out = [_in_short(attempt["who"]) for attempt in asked if _is_refusal(attempt)]
        said = (("let in: ", let_in), ("kept out: ", kept_out))
        return "; ".join(what + ", ".join(names) for what, names in said if names)


def _is_refusal(attempt: Mapping[str, t.Any]) -> bool:
    """Tell whether somebody was kept out; where a host has pages of its own for that, any status but 2xx says so."""
    return bool(attempt["got"].startswith("4") or attempt["expected"].startswith("anything but 2"))


def _in_short(who: str) -> str:
    """Return who was sent to a gate: a client by its name."""
    match = _CLIENT.fullmatch(who.rstrip(","))
    if match and match["what"] in _IN_SHORT:
        return match["name"] + _IN_SHORT[match["what"]]
    return re.sub(r"^client '(.*)', whose certificate is good$", r"\1", who.rstrip(","))


def _about(path: str) -> tuple[str, str]:
    """Return which service a file belongs to, and what it is."""
    for pattern, what in _FILES:
        if match := re.search(pattern, path):
            return match.groupdict().get("service") or _EVERY_SERVICE, what
    return _EVERY_SERVICE, os.path.basename(path)


def render(
    reports: Mapping[str, HostReport], hosts: Iterable[str], authorities: Iterable[str], *, check: bool
) -> list[str]:
    """Return the summary's lines. ``hosts`` are all that the run was for; those with the same lines share them."""
    told: dict[tuple[str, ...], list[str]] = {}
    quiet: dict[str, list[str]] = {}
    missing = []
    for host in hosts:
        report = reports.get(host, HostReport())
        if not (report.seen or report.failure):
            missing.append(host)
        elif report.quiet and report.compared:
            quiet.setdefault(report.told_quietly(check=check), []).append(host)
        else:
            told.setdefault(tuple(report.lines(check=check)), []).append(host)
    lines = [*plan_of(reports, hosts).lines(), *authorities]  # a change is one line, however long
    for about, names in told.items():
        lines += [_names("", names), *(part for line in about for part in _wrapped("  ", line))]
    lines += [_names(about, names) for about, names in quiet.items()]
    if missing:
        lines.append(_names("NOT REACHED, the run stopped before", missing))
    return lines


def plan_of(reports: Mapping[str, HostReport], hosts: Iterable[str]) -> access_plan.AccessPlan:
    """Return who gains and who loses entry on these hosts."""
    plan = access_plan.AccessPlan()
    for host in hosts:
        plan.add(host, reports.get(host, HostReport()).access)
    return plan


def _names(what: str, names: list[str]) -> str:
    count = f" ({len(names)} hosts)" if len(names) > 1 else ""
    return textwrap.fill(f"{what}{': ' if what else ''}{', '.join(names)}{count}", _WIDTH, subsequent_indent="  ")


def _wrapped(indent: str, line: str) -> list[str]:
    return textwrap.wrap(
        line,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


class CallbackModule(CallbackBase):
    """Listens to the collection's own actions, and to failures."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "mtls_summary"

    def __init__(self) -> None:
        super().__init__()
        self._reports: dict[str, HostReport] = {}
        self._hosts: dict[str, None] = {}
        self._left_out: dict[str, None] = {}  # hosts that --limit keeps out of the run
        self._authorities: list[str] = []
        self._not_asked: list[str] = []
        self._diagnoses: list[str] = []
        self._status: dict[str, t.Any] | None = None
        self._check = False
        self._of_clients: set[str] = set()  # those of whom it is said already that they are revoked
        self._new_crls: set[str] = set()  # the directories of authorities
        self._plan_file: str | None = None

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        """Note when the run began, for the processes that it starts: what is issued from now on is new."""
        os.environ[RUN_BEGAN] = repr(time.time())

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """Note the hosts of the play, and whether it is check mode."""
        variables = play.get_variable_manager().get_vars(play=play)
        self._hosts.update(dict.fromkeys(variables["ansible_play_hosts_all"]))
        self._left_out.update(dict.fromkeys(_outside(play)))
        self._check = bool(variables["ansible_check_mode"])
        if self._hosts:
            self._plan_file = self._plan_file or _plan_file(play, next(iter(self._hosts)))

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """Load what an action of ours needs on each host: their processes are forks of this one, and have it then."""
        name = str(task.action)
        if not name.startswith(_OURS):
            return
        with contextlib.suppress(ImportError):  # Ansible says it
            action = importlib.import_module(f"{_ACTIONS}{name.removeprefix(_OURS)}")
            if load := getattr(action, "load", None):
                load()
                # Garbage collection in a fork would write to, and so copy, what it shares with this process.
                gc.freeze()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """Note what an action of the collection returned."""
        report = self._reports.setdefault(result._host.get_name(), HostReport())
        action, values = result._task.action, result._result
        if action == "mtls.nginx.nginx_site":
            report.take_site(values)
        elif action == "mtls.nginx.tls_probe":
            report.take_probe(values)
        elif action == "mtls.nginx.nginx_install" and values.get("changed"):
            report.installed = True
        elif action == "mtls.nginx.trust_check" and not values.get("asked", True) and values.get("msg"):
            self._not_asked.append(result._host.get_name())
        elif action == "mtls.nginx.ca_init" and values.get("created"):
            self._authorities.append(_of_creation(values["ca_path"], self._not_asked, check=self._check))
        elif action == "mtls.nginx.client_cert":
            self._authorities += _of_clients(values, check=self._check)
            self._of_clients.update(each["name"] for each in values.get("clients") or [] if each["action"] == "revoked")
        elif action == "mtls.nginx.doctor":
            self._diagnoses.append("\n".join([values["msg"], *(f"    {each}" for each in values["commands"])]))
        elif action == "mtls.nginx.status":
            self._status = {key: values[key] for key in ("due", "summary", "page", "document")}

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        """Note a new CRL, and who is revoked by it: the task loops over authorities."""
        values = result._result
        if result._task.action != "mtls.nginx.crl":
            return
        self._authorities += _of_revocations(values, self._of_clients, check=self._check)
        if values.get("changed"):
            self._authorities.append("CRL would be written" if self._check else "CRL written")
            self._new_crls.add(str(values.get("mtls__crl_of")))
        for name in values.get("coming_back") or ():
            said = said_of_return(name, on_hold=name in values["coming_back_from_hold"])
            self._authorities.append(_filled(f"WARNING: {said}"))

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """Note why a host failed, what was done there all the same, and what its probe saw."""
        if ignore_errors:
            return
        report = self._reports.setdefault(result._host.get_name(), HostReport())
        if result._task.action == "mtls.nginx.tls_probe" and result._result.get("attempts"):
            report.take_probe(result._result)
        if result._task.action == "mtls.nginx.nginx_site" and "files" in result._result:
            # A certificate of the host's own is no good, or a step failed after others were done.
            report.take_site(result._result)
        report.failure = printable(_why(result._result))

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        """Note that a host cannot be reached."""
        report = self._reports.setdefault(result._host.get_name(), HostReport())
        report.failure, report.unreachable = "it cannot be reached", True

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """Show the summary."""
        if path := os.environ.get("MTLS_RESULT_FILE"):
            self._write_result(path)
        if self._diagnoses:
            # Not wrapped, so that the commands in them can be copied.
            self._display.banner("MTLS DOCTOR")
            self._display.display("\n\n".join(self._diagnoses))
        if self._check:
            for report in self._reports.values():
                if self._new_crls.intersection(report.authorities):
                    report.expect_crl()
        has_something_to_say = self._authorities or any(each.seen or each.failure for each in self._reports.values())
        if not has_something_to_say or self._diagnoses or self._status:
            return
        self._display.banner("MTLS PLAN" if self._check else "MTLS SUMMARY")
        for line in render(self._reports, self._hosts, self._authorities, check=self._check):
            self._display.display(line)
        left_out = [host for host in self._left_out if host not in self._hosts]
        if self._new_crls and left_out:
            self._display.display(_names("NOT IN THIS RUN, so the new CRL does not get there", left_out))
        if self._plan_file:
            self._write_plan(self._plan_file)

    def _write_plan(self, path: str) -> None:
        failures: dict[str, list[str]] = {}
        missing = []
        for host in self._hosts:
            report = self._reports.get(host, HostReport())
            if report.failure:
                failures.setdefault(report.failure, []).append(host)
            elif not report.seen:
                missing.append(host)
            elif not report.compared:
                failures.setdefault("who could enter before could not be read", []).append(host)
        others = [f"{_names('', hosts)}: {failure}" for failure, hosts in failures.items()]
        if missing:
            others.append(_names("NOT REACHED, the run stopped before", missing))
        complete = not others
        others = [" ".join(line.split()) for line in [*others, *self._authorities]]
        plan = plan_of(self._reports, self._hosts)
        text = access_plan.document(plan, others, check=self._check, complete=complete)
        try:
            files.write_file(path, text.encode("utf-8", "replace"), _PLAN_MODE)
        except OSError as error:
            self._display.warning(f"mtls_plan_file: the access plan was not written: {describe(error)}")

    def _write_result(self, path: str) -> None:
        result = {
            "hosts": list(self._hosts),
            "failures": {host: report.failure for host, report in self._reports.items() if report.failure},
            "unreachable": [host for host, report in self._reports.items() if report.unreachable],
            "status": self._status,
        }
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(result, stream)


def _plan_file(play: t.Any, host: str) -> str | None:
    """Return where the access plan goes, as the inventory or the command line says it for ``host``."""
    manager = play.get_variable_manager()
    variables = manager.get_vars(play=play, host=manager._inventory.get_host(host))
    if "mtls_plan_file" not in variables:
        return None
    try:
        refuse_facts(variables, [host])  # no host chooses where the controller writes
        given = Templar(loader=play.get_loader(), variables=variables).template(variables["mtls_plan_file"])
        return plan_file(given and str(given), variables)
    except (AnsibleError, MtlsError):  # the run's first task says so
        return None


def _outside(play: t.Any) -> list[str]:
    """Return the hosts that a play names and ``--limit`` leaves out."""
    if not context.CLIARGS.get("subset"):
        return []
    inventory = play.get_variable_manager()._inventory
    every = inventory.get_hosts(play.hosts, ignore_limits=True, ignore_restrictions=True)
    limited = {host.name for host in inventory.get_hosts(play.hosts, ignore_restrictions=True)}
    return [host.name for host in every if host.name not in limited]


def _place(name: str) -> str:
    return "the host itself" if name == FROM_HOST else name


def _of_creation(path: str, not_asked: list[str], *, check: bool) -> str:
    """Return that an authority is new; ``not_asked`` are hosts that could not say whether they trust another one."""
    line = f"authority {'would be created' if check else 'created'}: {path}"
    if not_asked:
        line += f"; not asked which CA they trust: {', '.join(not_asked)}"
    return _filled(line)


def _of_clients(values: Mapping[str, t.Any], *, check: bool) -> list[str]:
    by_action: dict[str, list[str]] = {}
    for client in values.get("clients") or []:
        if client["action"] != "unchanged":
            action = f"that would be {client['action']}" if check else client["action"]
            by_action.setdefault(action, []).append(client["name"])
    strays = [client["name"] for client in values.get("unmanaged") or []]
    if (more := values.get("unmanaged_count", 0) - len(strays)) > 0:
        strays.append(f"and {more} more")
    by_action = {action: names if "revoked" in action else _some(names) for action, names in by_action.items()}
    by_action["unmanaged, still valid"] = strays
    return [_filled(f"clients {action}: {', '.join(names)}") for action, names in by_action.items() if names]


def _some(names: list[str]) -> list[str]:
    more = len(names) - _MOST_CLIENTS
    return [*names[:_MOST_CLIENTS], f"and {more} more"] if more > 0 else names


def _of_revocations(values: Mapping[str, t.Any], of_clients: Iterable[str], *, check: bool) -> list[str]:
    """Return whose certificates a CRL comes to list, or lists no more, but for ``of_clients``."""
    by_action: dict[str, list[str]] = {}
    for item in values.get("revoked") or []:
        if item["action"] != "unchanged" and item["client"] not in of_clients:
            by_action.setdefault(item["action"], []).append(f"{item['client']} ({item['serial']})")
    return [
        _filled(f"certificates {'that would be ' if check else ''}{action}: {', '.join(names)}")
        for action, names in by_action.items()
    ]


def _filled(line: str) -> str:
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _why(result: Mapping[str, t.Any]) -> str:
    """Return why a task failed; of a loop, why its items did."""
    failed = [item["msg"] for item in result.get("results") or [] if item.get("failed") and item.get("msg")]
    return "; ".join(map(str, failed)) or str(result.get("msg") or "see above")
