# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary at the end of a run, or what the doctor says.

It says what changed on which host, what the probe saw, and which hosts were not reached; and the same for a program,
in the file that MTLS_RESULT_FILE names: upkeep reads it. Ansible loads it by itself, because it lies beside the
playbooks. It is a callback, not a task, so that it also comes after a rollout that has stopped.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
import typing as t
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible.plugins.callback import CallbackBase

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.revoking import said_of_return
from ansible_collections.mtls.nginx.plugins.module_utils.site.answers import printable

_WIDTH = 110
_EVERY_SERVICE = "(all)"
_FILES = (
    (r"conf\.d/mtls-(?P<service>[^/]+)\.conf$", "server block"),
    (r"snippets/mtls-(?P<service>[^/]+)\.conf$", "snippet"),
    (r"server-certs/(?P<service>[^/]+)\.crt$", "server certificate"),
    (r"server-certs/(?P<service>[^/]+)\.key$", "server key"),
    (r"conf\.d/mtls\.conf$", "who may enter"),
    (r"client-certs/(?:[^/]+/)?ca\.crt$", "CA"),
    (r"client-certs/(?:[^/]+/)?(crl\.pem|revoked\.map|crl-end\.map)$", "CRL"),
)


@dataclass
class HostReport:
    """What is known of one host."""

    changes: list[tuple[str, str, str]] = field(default_factory=list)  # service, what, how
    installed: bool = False
    accepted: bool | None = None
    seen: bool = False
    attempts: list[Mapping[str, t.Any]] | None = None
    failure: str | None = None
    unreachable: bool = False
    unguarded: list[tuple[str, str]] = field(default_factory=list)  # service, path of its snippet

    def take_site(self, result: Mapping[str, t.Any]) -> None:
        """Take what the task ``nginx_site`` ended with."""
        self.seen = True
        self.accepted = result.get("accepted")
        self.changes += [(*_about(file["path"]), file["change"]) for file in result.get("files") or []]
        self.unguarded = [(item["service"], item["path"]) for item in result.get("unguarded") or []]
        if result.get("started"):
            self.changes.append((_EVERY_SERVICE, "nginx", "started"))

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to be told but that all is well."""
        return not (self.changes or self.installed or self.failure or self.unguarded) and all(
            attempt["ok"] for attempt in self.attempts or []
        )

    def lines(self, *, check: bool) -> list[str]:
        """Return what to say of the host, line by line."""
        services = dict.fromkeys(
            sorted(service for service, _what, _how in self.changes if service != _EVERY_SERVICE)
            + [attempt["service"] for attempt in self.attempts or []]
        )
        rows = [(service, self._changed(service), self._probed(service)) for service in services]
        if common := self._changed(_EVERY_SERVICE):
            rows.append((_EVERY_SERVICE, common, ""))
        width = max((len(service) for service, _changed, _probed in rows), default=0)
        told = [
            f"{service:{width}}  {'; '.join(part for part in (changed or 'nothing changed', probed) if part)}"
            for service, changed, probed in rows
        ]
        told[:0] = [
            f"{service}: GUARDS NOTHING until a server block includes {path}" for service, path in self.unguarded
        ]
        if self.installed:
            told.insert(0, "nginx would be installed" if check else "nginx installed")
        if check and self.changes:
            told.append("nginx would accept it" if self.accepted else "nginx was not asked: it is not installed yet")
        if self.failure:
            told.append(f"FAILED: {self.failure}")
        return told

    def _changed(self, of: str) -> str:
        by_change: dict[str, dict[str, None]] = {}
        for service, what, how in self.changes:
            if service == of:
                by_change.setdefault(how, {})[what] = None
        return ", ".join(f"{' and '.join(what)} {how}" for how, what in by_change.items())

    def _probed(self, service: str) -> str:
        if self.attempts is None:
            return ""
        asked = [attempt for attempt in self.attempts if attempt["service"] == service]
        wrong = [f"{a['who']} got {a['got']} instead of {a['expected']}" for a in asked if not a["ok"]]
        if wrong:
            return f"PROBE: {'; '.join(wrong)}"
        let_in = sum(not attempt["expected"].startswith("4") for attempt in asked)
        return f"probe as expected: {let_in} let in, {len(asked) - let_in} kept out" if asked else ""


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
    quiet, missing = [], []
    for host in hosts:
        report = reports.get(host, HostReport())
        if not (report.seen or report.failure):
            missing.append(host)
        elif report.quiet:
            quiet.append(host)
        else:
            told.setdefault(tuple(report.lines(check=check)), []).append(host)
    lines = list(authorities)
    for about, names in told.items():
        lines += [_names("", names), *(part for line in about for part in _wrapped("  ", line))]
    if quiet:
        lines.append(_names("nothing to change" if check else "nothing changed, every probe as expected", quiet))
    if missing:
        lines.append(_names("NOT REACHED, the run stopped before", missing))
    return lines


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
        self._authorities: list[str] = []
        self._not_asked: list[str] = []
        self._diagnoses: list[str] = []
        self._status: dict[str, t.Any] | None = None
        self._check = False

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """Note the hosts of the play, and whether it is check mode."""
        variables = play.get_variable_manager().get_vars(play=play)
        self._hosts.update(dict.fromkeys(variables["ansible_play_hosts_all"]))
        self._check = bool(variables["ansible_check_mode"])

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """Note what an action of the collection returned."""
        report = self._reports.setdefault(result._host.get_name(), HostReport())
        action, values = result._task.action, result._result
        if action == "mtls.nginx.nginx_site":
            report.take_site(values)
        elif action == "mtls.nginx.tls_probe":
            report.attempts = None if values.get("skipped") else values.get("attempts")
        elif action == "mtls.nginx.nginx_install" and values.get("changed"):
            report.installed = True
        elif action == "mtls.nginx.trust_check" and not values.get("asked", True) and values.get("msg"):
            self._not_asked.append(result._host.get_name())
        elif action == "mtls.nginx.ca_init" and values.get("created"):
            self._authorities.append(_of_creation(values["ca_path"], self._not_asked, check=self._check))
        elif action == "mtls.nginx.client_cert":
            self._authorities += _of_clients(values)
        elif action == "mtls.nginx.doctor":
            self._diagnoses.append("\n".join([values["msg"], *(f"    {each}" for each in values["commands"])]))
        elif action == "mtls.nginx.status":
            self._status = {key: values[key] for key in ("due", "summary", "page", "document")}

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        """Note a new CRL: the task loops over authorities."""
        if result._task.action == "mtls.nginx.crl" and result._result.get("changed"):
            self._authorities.append("CRL would be written" if self._check else "CRL written")
        if result._task.action == "mtls.nginx.crl":
            for name in result._result.get("coming_back") or ():
                self._authorities += _wrapped("", f"WARNING: {said_of_return(name)}")

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """Note why a host failed, and what its probe saw."""
        if ignore_errors:
            return
        report = self._reports.setdefault(result._host.get_name(), HostReport())
        if result._task.action == "mtls.nginx.tls_probe" and result._result.get("attempts"):
            report.attempts = result._result["attempts"]
        report.failure = printable(str(result._result.get("msg") or "see above"))

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
        if not any(report.seen for report in self._reports.values()):
            return
        self._display.banner("MTLS PLAN" if self._check else "MTLS SUMMARY")
        for line in render(self._reports, self._hosts, self._authorities, check=self._check):
            self._display.display(line)

    def _write_result(self, path: str) -> None:
        result = {
            "hosts": list(self._hosts),
            "failures": {host: report.failure for host, report in self._reports.items() if report.failure},
            "unreachable": [host for host, report in self._reports.items() if report.unreachable],
            "status": self._status,
        }
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(result, stream)


def _of_creation(path: str, not_asked: list[str], *, check: bool) -> str:
    """Return that an authority is new; ``not_asked`` are hosts that could not say whether they trust another one."""
    line = f"authority {'would be created' if check else 'created'}: {path}"
    if not_asked:
        line += f", without having asked {', '.join(not_asked)}"
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _of_clients(values: Mapping[str, t.Any]) -> list[str]:
    by_action: dict[str, list[str]] = {}
    for client in values.get("clients") or []:
        by_action.setdefault(client["action"], []).append(client["name"])
    strays = [client["name"] for client in values.get("unmanaged") or []]
    if (more := values.get("unmanaged_count", 0) - len(strays)) > 0:
        strays.append(f"and {more} more")
    by_action["unmanaged, still valid"] = strays
    return [
        textwrap.fill(f"clients {action}: {', '.join(names)}", _WIDTH, subsequent_indent="  ")
        for action, names in by_action.items()
        if names and action != "unchanged"
    ]
