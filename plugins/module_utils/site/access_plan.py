# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access plan: for each service, who gains entry, who loses it and why; in lines for a terminal, or in Markdown.

Whatever it names comes from inventories and hosts, and is text that nobody vouches for.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import first_few
from ansible_collections.mtls.nginx.plugins.module_utils.host.gates import Gate
from ansible_collections.mtls.nginx.plugins.module_utils.site.answers import printable

MARKER = "<!-- mtls-access-plan -->"  # by which the comment on a pull or merge request is found again
NEW, GONE = "new", "gone"
OFF_THE_LIST, REVOKED, EXPIRED = "off the list", "revoked", "its certificate has expired"
_MINUS = "\N{MINUS SIGN}"
_EVERY_CLIENT = "open to every client"
# The plan stays under 60 lines, with its headings and with what a run adds to it.
_MOST_LINES = 45
_MOST_NAMES, _MOST_NAMES_IN_MARKDOWN = 20, 100
_MOST_HOSTS = 10
_MOST_OTHERS = 8
_LONGEST = 1000  # characters of a line about something else


@dataclass(frozen=True)
class Person:
    """A client: its name, its subjects in nginx's DN format, and whether its certificate was and will be good.

    ``why`` it will be good no more: REVOKED or EXPIRED.
    """

    name: str
    subjects: tuple[str, ...]
    before: bool = True
    after: bool = True
    why: str = REVOKED


@dataclass(frozen=True)
class Change:
    """What becomes of who may enter a service, or one of its paths.

    ``state`` is NEW or GONE for the service or the path's list itself. ``opened`` and ``closed`` are words; ``lost``
    are pairs of a name and why.
    """

    service: str
    path: str = ""
    state: str = ""
    opened: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()
    lost: tuple[tuple[str, str], ...] = ()

    def as_result(self) -> dict[str, t.Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def of_result(cls, values: Mapping[str, t.Any]) -> Change:
        """Return what ``as_result`` wrote."""
        lost = tuple((name, why) for name, why in values["lost"])
        texts = {name: tuple(values[name]) for name in ("opened", "closed", "gained")}
        return cls(values["service"], values["path"], values["state"], **texts, lost=lost)


def changes(before: Iterable[Gate], after: Iterable[Gate], people: Mapping[str, Sequence[Person]]) -> list[Change]:
    """Return what changes between the gates that a host has and those that it is to have.

    ``people`` are the clients of each service's authority, by service.
    """
    old, new = ({(gate.service, gate.path): gate for gate in gates} for gates in (before, after))
    found = [
        _change(place, old.get(place), new.get(place), people.get(place[0], ()))
        for place in sorted(old.keys() | new.keys())
    ]
    return [change for change in found if change is not None]


def entrants(gate: Gate, people: Iterable[Person]) -> dict[str, Person]:
    """Return, by name, whom a gate would let in with a good certificate; a subject that is nobody's is its own name."""
    if gate.everybody:
        return {person.name: person for person in people}
    by_subject = {subject: person for person in people for subject in person.subjects}
    listed = [by_subject.get(subject) or Person(subject, (subject,)) for subject in gate.subjects]
    return {person.name: person for person in listed}


def _change(place: tuple[str, str], old: Gate | None, new: Gate | None, people: Sequence[Person]) -> Change | None:
    was, will = (_doors(gate) if gate else [] for gate in (old, new))
    lets_all, let_all = bool(new and new.everybody), bool(old and old.everybody)
    before = {name: who for name, who in entrants(old, people).items() if who.before} if old else {}
    after = {name: who for name, who in entrants(new, people).items() if who.after} if new else {}
    # Where it opens to every client, that is said in words and not name by name.
    gained = () if lets_all and not let_all else tuple(sorted(after.keys() - before.keys()))
    losing = {name: who for name, who in before.items() if name not in after}
    if old and not old.everybody and new and not new.everybody:  # who is taken off a list may have expired before
        leaving = entrants(old, people).items() - entrants(new, people).items()
        losing.update((name, who) for name, who in leaving if who.why == EXPIRED and not who.after)
    otherwise = OFF_THE_LIST if new else ""
    lost = tuple((name, otherwise if losing[name].after else losing[name].why) for name in sorted(losing))
    state = NEW if old is None else GONE if new is None else ""
    opened = tuple(door for door in will if door not in was)
    closed = tuple(door for door in was if door not in will)
    if not (state or opened or closed or gained or lost):
        return None
    return Change(*place, state, opened, closed, gained, lost)


def _doors(gate: Gate) -> list[str]:
    """Return in words how somebody enters who is on no list."""
    return [
        *([_EVERY_CLIENT] if gate.everybody else []),
        *(f"{path} open to everybody, without a certificate" for path in gate.public),
        *(f"open without a certificate from {network}" for network in gate.networks),
    ]


@dataclass
class AccessPlan:
    """The changes of all hosts, each once, with the hosts that it is of."""

    _hosts: dict[Change, dict[str, None]] = field(default_factory=dict)

    def add(self, host: str, found: Iterable[Change]) -> None:
        """Add the changes of a host."""
        for change in found:
            self._hosts.setdefault(change, {})[host] = None

    def lines(self) -> list[str]:
        """Return a line for each change, for a terminal."""
        return self._lines(_Plain())

    def markdown(self) -> list[str]:
        """Return a list item for each change, in Markdown."""
        return [f"- {line}" for line in self._lines(_Markdown())]

    def _lines(self, style: _Plain) -> list[str]:
        rows = [(change, [_place(change)], list(hosts)) for change, hosts in self._hosts.items()]
        if len(rows) > _MOST_LINES:  # services with the same change share a line
            alike: dict[Change, tuple[dict[str, None], dict[str, None]]] = {}
            for change, places, hosts in rows:
                all_places, all_hosts = alike.setdefault(replace(change, service="", path=""), ({}, {}))
                all_places.update(dict.fromkeys(places))
                all_hosts.update(dict.fromkeys(hosts))
            rows = [(change, list(places), list(hosts)) for change, (places, hosts) in alike.items()]
        rows.sort(key=lambda row: (_rank(row[0]), row[1]))
        lines = [style.line(*row) for row in rows[:_MOST_LINES]]
        if len(rows) > _MOST_LINES:
            lines.append(f"… and {len(rows) - _MOST_LINES} more changes, too many to be shown here: use --limit")
        return lines


def _place(change: Change) -> str:
    return f"{change.service} {change.path}" if change.path else change.service


def _rank(change: Change) -> int:
    """Return where a change stands: what opens comes first, then who gains entry, then who loses it."""
    return 0 if change.opened else 1 if change.gained else 2


class _Plain:
    """How a change is written for a terminal."""

    most_names = _MOST_NAMES

    def text(self, text: str) -> str:
        """Return a text that nobody vouches for."""
        return printable(text, most=200)

    def name(self, text: str) -> str:
        """Return who somebody is; a subject has commas of its own."""
        return f"'{self.text(text)}'" if "," in text else self.text(text)

    def place(self, text: str) -> str:
        """Return the name of a service."""
        return self.text(text)

    def strong(self, text: str) -> str:
        """Return words that must not be overlooked."""
        return self.text(text)

    def line(self, change: Change, places: Sequence[str], hosts: Sequence[str]) -> str:
        """Return the line of a change of these services on these hosts."""
        parts = [self.strong(door) for door in change.opened]
        parts += [change.state] if change.state else []
        parts += [f"no longer {self.text(door)}" for door in change.closed]
        if change.gained:
            parts.append("+ " + self._names([self.name(name) for name in change.gained]))
        if change.lost:
            lost = [f"{self.name(name)} ({why})" if why else self.name(name) for name, why in change.lost]
            parts.append(f"{_MINUS} " + self._names(lost))
        services = first_few([self.place(place) for place in places], _MOST_HOSTS)
        on = first_few([self.text(host) for host in hosts], _MOST_HOSTS)
        return f"{services}: {'; '.join(parts)} — on {on}"

    def _names(self, names: Sequence[str]) -> str:
        return first_few(names, self.most_names)


class _Markdown(_Plain):
    """How a change is written in Markdown: whatever nobody vouches for is code, where nothing has a meaning."""

    most_names = _MOST_NAMES_IN_MARKDOWN

    def text(self, text: str) -> str:
        """Return a text as a code span (CommonMark 0.31, section 6.1), where nobody is mentioned either."""
        return code(super().text(text))

    def name(self, text: str) -> str:
        """Return who somebody is."""
        return self.text(text)

    def place(self, text: str) -> str:
        """Return the name of a service."""
        return f"**{self.text(text)}**"

    def strong(self, text: str) -> str:
        """Return words that must not be overlooked."""
        return f"**{self.text(text)}**"


def code(text: str) -> str:
    """Return ``text``, which is one line, as a code span of Markdown."""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    padding = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{padding}{printable(text)}{padding}{fence}"


def document(plan: AccessPlan, others: Sequence[str], *, check: bool, complete: bool = True) -> str:
    """Return the plan as a Markdown document; ``others`` are lines of what else there is to say, such as failures.

    ``complete``: it is known of all hosts.
    """
    title = "Access plan: who would gain and lose entry" if check else "Who gained and who lost entry"
    nobody = "Nobody gains or loses entry." if complete else "It is not known who gains or loses entry."
    items = plan.markdown() or [nobody]
    told = [f"- {code(printable(line, most=_LONGEST))}" for line in others[:_MOST_OTHERS]]
    if len(others) > _MOST_OTHERS:
        told.append(f"- and {len(others) - _MOST_OTHERS} lines more in the run's output")
    told = ["", *told] if told else []
    return "\n".join([MARKER, f"### {title}", "", *items, *told, ""])
