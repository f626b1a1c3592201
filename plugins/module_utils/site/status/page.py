# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`status.html`: the status for people, one file that needs nothing else.

Template, style and script are `playbooks/templates/status.*`. The page is complete without the script, which only
sorts and filters.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import typing as t
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

try:
    import jinja2
    import jinja2.sandbox
    from markupsafe import Markup
except ImportError:  # only on targets, where nothing is rendered
    pass

from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import one_line
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import (
    ACT_NOW,
    ACT_SOON,
    NOTE,
    SOON,
    VALID,
    AuthorityStatus,
    ClientStatus,
    Status,
    StatusFinding,
)

MOST_LANES = 40  # certificates with a line each on the time axis; more are counted by week
_MOST_NAMES = 20  # of a finding
_MOST_ROWS = 100  # of what is revoked
_NEXT_ENDS = 30
_LONGEST_IN_DAYS = 400
_LONGEST_AXIS = 800  # days
_MOST_TICKS = 8
_PRINTED_SERVICES = 12  # wider or longer matrices are printed as groups of clients with the same access
_PRINTED_CLIENTS = 60
_SEARCHABLE = 12  # more rows or columns of a matrix can be filtered
_LEVELS = {ACT_NOW: "Do now", ACT_SOON: "Do soon", NOTE: "Good to know"}
_LOOKS = {ACT_NOW: "ended", ACT_SOON: "soon", NOTE: "note"}  # shape and colour


@dataclass(frozen=True)
class Lane:
    """One certificate on the time axis: `x` in percent of its length, None beyond it."""

    name: str
    what: str
    state: str
    end: datetime
    x: float


@dataclass(frozen=True)
class Bar:
    """Certificates that expire in one step of the axis; all but `count` in percent of axis and highest bar."""

    x: float
    width: float
    valid: float
    soon: float
    count: int
    begin: datetime


@dataclass(frozen=True)
class Axis:
    """From now to the last date; `beyond` certificates expire later, `ended` have expired."""

    end: datetime
    ticks: tuple[tuple[float, str], ...]
    lanes: tuple[Lane, ...]
    bars: tuple[Bar, ...]
    step: int  # days
    highest: int
    beyond: int
    ended: int


@dataclass(frozen=True)
class Group:
    """Clients that enter the same services; `services` is None for all of them."""

    clients: tuple[str, ...]
    services: tuple[str, ...] | None


def render(status: Status, generated: datetime, template_dir: str) -> bytes:
    """Return the file's content. Every name in it is somebody's input, and is escaped."""
    style, script = (_read(template_dir, f"status.{kind}") for kind in ("css", "js"))
    template = _environment(template_dir).get_template("status.html.j2")
    text = template.render(
        status=status,
        generated=generated,
        views=[_View(status, authority) for authority in status.authorities],
        tasks=_tasks(status.findings),
        served={f"{host.name}/{each.service}": each for host in status.hosts for each in host.served},
        levels=_LEVELS,
        looks=_LOOKS,
        most_names=_MOST_NAMES,
        most_rows=_MOST_ROWS,
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )
    return text.encode("utf-8", "replace")


@functools.cache  # a run that writes the page renders it twice, and compiles the template once
def _environment(template_dir: str) -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(template_dir),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_visible,
    )
    environment.filters.update(day=_day, distance=jinja2.pass_context(_distance))
    return environment


def _distance(context: jinja2.runtime.Context, moment: datetime) -> str:
    return distance(context["status"].now, moment)


class _View:
    """One authority in the words of the template."""

    def __init__(self, status: Status, authority: AuthorityStatus) -> None:
        self.authority = authority
        self.axis = axis(authority, status.now)
        self.groups = groups(authority)
        self.counts = [
            (state, sum(client.certificate.state == state for client in authority.clients))
            for state in dict.fromkeys(client.certificate.state for client in authority.clients)
        ]
        self.prints_matrix = len(authority.services) <= _PRINTED_SERVICES and len(authority.clients) <= _PRINTED_CLIENTS
        self.searchable = max(len(authority.services), len(authority.clients)) > _SEARCHABLE
        self.next_ends = sorted(
            (end for end in _ends(authority) if end.end > status.now), key=lambda end: (end.end, end.name)
        )[:_NEXT_ENDS]
        self.servers = [service for service in authority.services if service.certificate is not None]
        held = [service.certificate for service in self.servers if service.certificate is not None]
        self.earliest_server = min((one.not_after for one in held if one.not_after), default=None)
        self.worst_server = next((one.state for one in held if one.state != VALID), VALID)
        longest = max((len(client.name) for client in authority.clients), default=0)
        self.name_width = min(max(longest * 15 // 2 + 16, 90), 190)
        # What every client may enter is seen first, also where a phone shows a few columns only.
        self.columns = sorted(authority.services, key=lambda service: service.allow is not None)
        self._ids = [service.id for service in self.columns]
        names = [service.name for service in authority.services]
        self._labels = {
            service.id: service.name if names.count(service.name) == 1 else service.id for service in authority.services
        }

    def labelled(self, services: Iterable[str]) -> str:
        """Services by their names, with the host where another host has one of the same name."""
        return ", ".join(self._labels[service] for service in services)

    def cells(self, client: ClientStatus) -> Markup:
        """Return the client's cells of the matrix. Closing tags of table cells may be left out in HTML."""
        enters, waits = set(client.enters), set(client.waits)
        cells = ("<td>✓" if i in enters else "<td class=w>○" if i in waits else "<td>" for i in self._ids)
        return Markup("".join(cells))


def _tasks(findings: Iterable[StatusFinding]) -> list[list[StatusFinding]]:
    """Return the findings, those together that one command is the answer to; the most urgent first, as they come."""
    by_command: dict[str, list[StatusFinding]] = {}
    for finding in findings:
        by_command.setdefault(finding.command or f"by hand {finding.level}", []).append(finding)
    return list(by_command.values())


def groups(authority: AuthorityStatus) -> list[Group]:
    """Who enters the same services, the largest group first; who enters none is in none."""
    by_access: dict[tuple[str, ...], list[str]] = {}
    for client in authority.clients:
        if client.enters:
            by_access.setdefault(client.enters, []).append(client.name)
    found = [
        Group(tuple(clients), None if len(services) == len(authority.services) else services)
        for services, clients in by_access.items()
    ]
    return sorted(found, key=lambda group: (-len(group.clients), group.clients))


def axis(authority: AuthorityStatus, now: datetime) -> Axis | None:
    """Return the ends of clients' and servers' certificates as they lie ahead; None where there are none."""
    everything = list(_ends(authority))
    ahead = sorted((end for end in everything if end.end > now), key=lambda end: (end.end, end.name))
    if not ahead:
        return None
    begin = now.replace(hour=0, minute=0, second=0)  # so that the page is the same all day
    days = min(max((ahead[-1].end - begin).days + 1, 30), _LONGEST_AXIS)
    step = 7 if days <= 430 else 14
    days = -(-days // step) * step
    shown = [end for end in ahead if end.end <= begin + timedelta(days=days)]

    def place(moment: datetime) -> float:
        return round((moment - begin) / timedelta(days=days) * 100, 2)

    lanes: tuple[Lane, ...] = ()
    bars: tuple[Bar, ...] = ()
    highest = 0
    if len(ahead) <= MOST_LANES:
        lanes = tuple(Lane(end.name, end.what, end.state, end.end, place(end.end)) for end in shown)
    else:
        counted: dict[int, list[Lane]] = {}
        for end in shown:
            counted.setdefault((end.end - begin).days // step, []).append(end)
        highest = max(map(len, counted.values()))
        bars = tuple(_bar(number, ends, highest, step, days, begin) for number, ends in sorted(counted.items()))
    return Axis(
        end=begin + timedelta(days=days),
        ticks=tuple(_ticks(begin, days, place)),
        lanes=lanes,
        bars=bars,
        step=step,
        highest=highest,
        beyond=len(ahead) - len(shown),
        ended=len(everything) - len(ahead),
    )


def _bar(number: int, ends: Sequence[Lane], highest: int, step: int, days: int, begin: datetime) -> Bar:
    soon = sum(end.state == SOON for end in ends)
    return Bar(
        x=round(number * step / days * 100, 2),
        width=round(step / days * 85, 2),  # a gap beside each
        valid=round((len(ends) - soon) / highest * 100, 2),
        soon=round(soon / highest * 100, 2),
        count=len(ends),
        begin=begin + timedelta(days=number * step),
    )


def _ticks(begin: datetime, days: int, place: t.Callable[[datetime], float]) -> Iterable[tuple[float, str]]:
    """Return the first days of months, as many as have room for a label."""
    step = next((step for step in (1, 2, 3, 4, 6) if days / 30.4 / step <= _MOST_TICKS), 12)
    month = begin.replace(day=1)
    for number in range(1, days // 28 + 2):
        year, index = divmod(month.month - 1 + number, 12)
        first = month.replace(year=month.year + year, month=index + 1)
        x = place(first)
        if number % step == 0 and x <= 92:  # the label lies to the right of it
            yield x, f"{times.MONTHS[index]} {first.year}"


def _ends(authority: AuthorityStatus) -> Iterable[Lane]:
    """Every certificate in use, as a lane that has no place yet."""
    for client in authority.clients:
        if client.certificate.not_after is not None:
            yield Lane(client.name, "client", client.certificate.state, client.certificate.not_after, 0)
    for service in authority.services:
        if service.certificate is not None and service.certificate.not_after is not None:
            yield Lane(service.id, "server", service.certificate.state, service.certificate.not_after, 0)


def distance(now: datetime, moment: datetime) -> str:
    """How far away, from midnight to midnight, in days or years: a static page ages, and is the same all day."""
    days = (moment.date() - now.date()).days
    if days == 0:
        return "today"
    if abs(days) > _LONGEST_IN_DAYS:
        counted = f"{abs(days) / 365.25:.1f}".removesuffix(".0") + " years"
    else:
        counted = f"{abs(days)} day{'' if abs(days) == 1 else 's'}"
    return f"in {counted}" if days > 0 else f"{counted} ago"


def _day(moment: datetime) -> Markup:
    return Markup("<time datetime={}>{}</time>").format(moment.strftime("%Y-%m-%dT%H:%MZ"), f"{moment:%Y-%m-%d}")


def _visible(value: t.Any) -> t.Any:
    """Control and invisible characters as escapes, and what UTF-8 cannot hold."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _read(template_dir: str, name: str) -> str:
    with open(os.path.join(template_dir, name), encoding="utf-8") as stream:
        return stream.read().strip()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
