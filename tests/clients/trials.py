# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each program sent to the gate, once for each certificate: what came of it, and what it showed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from . import gate as gates
from .gate import ALLOWED, KEYS, NOBODY, P12_KINDS, PEOPLE, Gate, Request
from .programs import Program, Said, Visit

NEEDED, REJECTED, NO_REQUEST, SENT = "400 needed", "400 rejected", "no request", "sent"
FALSE_SERVER = "false server"
SECOND_NAME, SECOND_UNKNOWN = "second name", "second name, no certificate"
SECOND = {SECOND_NAME: ALLOWED, SECOND_UNKNOWN: NOBODY}
_SECOND_PATH, _MISDIRECTED = "/inside/second", 421
P12 = tuple(f"`.p12` {kind}" for kind in P12_KINDS)
COLUMNS = (*PEOPLE, *KEYS, *P12, FALSE_SERVER, *SECOND)
NOT_ASKED = "-"
_homes = itertools.count()


@dataclass
class Row:
    """One program: the outcome by column, what the access log says of the certificate, what the program said.

    `has_status` tells whether its exit status is its own; `instead`, what to do with one that does not speak HTTP.
    """

    name: str
    version: str
    has_status: bool = True
    instead: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)
    logged: dict[str, str] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)


def send(program: Program, gate: Gate, columns: Sequence[str] = COLUMNS) -> Row:
    """Have a program ask, for each of these columns that it has anything to do with."""
    row = Row(program.name, program.version(), not (program.library or program.proxy), program.instead)
    for column, visit in _visits(program, gate):
        if column not in columns:
            continue
        said = program.second(visit) if program.second and column in SECOND else program.ask(visit)
        requests = gate.requests()
        row.outcomes[column] = second_outcome(requests) if column in SECOND else outcome(requests)
        if column == FALSE_SERVER and requests:
            row.outcomes[column] = SENT
        row.logged[column] = requests[-1].verify if requests else ""
        row.said[column] = said
    return row


def outcome(requests: Sequence[Request]) -> str:
    """What the last of a visit's requests came to; browsers ask for an icon of their own accord."""
    asked = [request for request in requests if request.path.startswith("/inside")]
    if not asked:
        return NO_REQUEST
    last = asked[-1]
    if last.status == 400:
        return NEEDED if last.verify == "NONE" else REJECTED
    return str(last.status)


def second_outcome(requests: Sequence[Request]) -> str:
    """What the requests for the second name came to, in their order, and over which HTTP they went."""
    # With HTTP/2 nginx may not have read the path yet.
    asked = [one.status for one in requests if one.path == _SECOND_PATH or one.status == _MISDIRECTED]
    if not asked:
        return NO_REQUEST
    # There is a log for each service. What was misdirected comes before the answer to its repetition.
    protocol = next(one.protocol for one in requests if one.protocol)
    return f"{', then '.join(map(str, sorted(asked, reverse=True)))} ({protocol})"


def _visits(program: Program, gate: Gate) -> Iterator[tuple[str, Visit]]:
    def visit(files: gates.Files | None, kind: str | None, **more) -> Visit:
        """With PEM files where the program takes them, unless a kind of .p12 is asked for."""
        if files and not program.pem:
            kind = kind or P12_KINDS[0]
        bundle = files.p12[kind] if files and kind else None
        home = gate.folder / f"home-{next(_homes)}"
        return Visit(gate, home, None if bundle else files, bundle, **more)

    for who in PEOPLE:
        yield who, visit(gate.people[who], None)
    # A proxy uses its files as any program of its kind does. Who does not speak HTTP gets in with none.
    for name in KEYS if not (program.proxy or program.instead) else ():
        yield name, visit(gate.keys[name], None)
    if program.p12:
        for kind, column in zip(P12_KINDS, P12, strict=True):
            yield column, visit(gate.people[ALLOWED], kind)
    # Whoever sends anything there does not look whom it talks to.
    if not program.instead:
        yield FALSE_SERVER, visit(gate.people[ALLOWED], None, trusted=gate.other_ca)
    for column, who in SECOND.items() if program.second else ():
        yield column, visit(gate.people[who], None)


def remember(rows: Sequence[Row], page: Sequence[Row]) -> None:
    """Have what a program has once sent to a false server stay on the page: whether it comes that far is a race."""
    sent = {(row.name, row.version) for row in page if row.outcomes.get(FALSE_SERVER) == SENT}
    for row in rows:
        if (row.name, row.version) in sent:
            row.outcomes[FALSE_SERVER] = SENT


def contradictions(rows: Sequence[Row], page: Sequence[Row]) -> list[str]:
    """What speaks against the page, or against the gate.

    Whatever the version, nobody but the allowed enters, and no program begins to send requests to a server that it does
    not trust. The rest is the page's for the version that is on it.
    """
    found = []
    documented = {row.name: row for row in page}
    for row in rows:
        said = documented.get(row.name)
        for column, came in row.outcomes.items():
            if column in PEOPLE and column != ALLOWED and came[0] in "12":
                found.append(f"{row.name} {row.version}, {column}: got in")
            elif said and came != said.outcomes.get(column) and (came == SENT or said.version == row.version):
                found.append(f"{row.name} {row.version}, {column}: {came}; on the page: {said.outcomes.get(column)}")
    return found
