# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/clients.md: written from a run, and read back, so that a later run can be held against it."""

from __future__ import annotations

import datetime
import pathlib
import re
from collections.abc import Iterable, Sequence

from ansible_collections.mtls.nginx.tests.gate.nginxes import REPOSITORY

from .gate import ALLOWED, EXPIRED, FOREIGN, KEYS, NAME, NOBODY, NOT_LISTED, PEOPLE, REVOKED
from .programs import Said
from .trials import FALSE_SERVER, NEEDED, NO_REQUEST, NOT_ASKED, P12, SECOND, SECOND_NAME, SENT, Row

PAGE = REPOSITORY / "docs" / "clients.md"
_LONGEST = 110
_TITLES = ("A certificate is needed here", "Your certificate was not accepted", "This is not open to you")
_REFUSED = {NOBODY: "400, none was sent", REVOKED: "400, not accepted", NOT_LISTED: "403"}
_TEMPLATE = pathlib.Path(__file__).with_name("template.md")
_REMEDIES = {
    REVOKED: "issue a new certificate, if it was revoked by mistake: a revocation is permanent",
    EXPIRED: "install the renewed one from `pki/clients/<name>/`; nobody else can enter with the old one",
    FOREIGN: "the program has the wrong file, or the host the wrong authority",
}
_SILENT = {FOREIGN: "is of another CA than the server names", EXPIRED: "has expired"}
_SILENT |= {name: f"has a key of the type {name}" for name in KEYS}
_SILENT_REMEDIES = {
    FOREIGN: "install the one that this authority has issued",
    EXPIRED: "install the renewed one",
}
# By how an outcome begins.
_SECOND_SEEN = {
    r"421 \(": (
        '"421 Misdirected Request"',
        "a connection for each name: ask by its own URL; in a proxy, `Host` as in [proxies.md](proxies.md)",
    ),
    r"421, then ": ("nothing: the program asks again, on a connection for the second name", "nothing"),
    r"(?!421)\d": ("nothing: the second name had a connection of its own", "nothing"),
}
_OTHER_KEY = "`key_type: ecdsa` or `rsa`"
_PEM_FILES = "give it PEM files"


def write(rows: Sequence[Row], missing: Sequence[str], nginx: str, day: datetime.date) -> str:
    """The page. `missing` are the programs that this machine does not have."""
    with_files = [row for row in rows if set(row.outcomes) & {*KEYS, *P12}]
    of_http = [row for row in rows if not row.instead]
    with_second = [row for row in rows if SECOND_NAME in row.outcomes]
    text = _TEMPLATE.read_text()
    for word, value in {
        "DATE": day.isoformat(),
        "NGINX": nginx,
        "PEOPLE": _outcomes(rows, PEOPLE),
        "REASONS": _reasons(rows[0]),
        "KEYS": _outcomes(with_files, (*KEYS, *P12)),
        "FALSE_SERVER": _outcomes(of_http, [FALSE_SERVER]),
        "SENT": _sent(of_http),
        "SECOND": _outcomes(with_second, list(SECOND)),
        "SECOND_SEEN": _second_seen(with_second),
        "NOT_SENT": _not_sent(rows),
        "OWN_WORDS": _own_words(rows),
        "OTHERS": _others(rows),
        "SEEN": _seen(of_http),
        "EXIT": _exit_statuses(rows),
        "MISSING": _list(missing),
    }.items():
        text = text.replace(f"@{word}@", value)
    return text


def read(text: str) -> list[Row]:
    """The rows of a page: names, versions and outcomes."""
    rows: dict[str, Row] = {}
    columns: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("| ") else []
        if cells[:2] == ["program", "version"]:
            columns = cells[2:]
        elif not cells:
            columns = [] if not line.startswith("|") else columns
        elif columns:
            row = rows.setdefault(cells[0], Row(cells[0], cells[1]))
            row.outcomes |= {
                column: cell.strip("`") for column, cell in zip(columns, cells[2:], strict=True) if cell != NOT_ASKED
            }
    return list(rows.values())


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    texts = [f"| {' | '.join(cells)} |" for cells in (head, *lines)]
    return "\n".join([texts[0], "|---" * len(head) + "|", *texts[1:]]) + "\n"


def _outcomes(rows: Iterable[Row], columns: Sequence[str]) -> str:
    return _table(
        ["program", "version", *columns],
        [[row.name, row.version, *(row.outcomes.get(column, NOT_ASKED) for column in columns)] for row in rows],
    )


def _reasons(row: Row) -> str:
    lines = [[who, f"`{row.logged[who]}`", _REMEDIES[who]] for who in (REVOKED, EXPIRED, FOREIGN)]
    return _table(["certificate", "`verify=` in the access log", "what to do"], lines)


def _not_sent(rows: Sequence[Row]) -> str:
    lines = []
    for column, why in _SILENT.items():
        if quiet := [row.name for row in rows if row.outcomes.get(column) == NEEDED]:
            lines.append([why, _list(quiet), _SILENT_REMEDIES.get(column, _OTHER_KEY)])
    return _table(["the certificate", "not sent by", "what to do"], lines)


def _own_words(rows: Sequence[Row]) -> str:
    lines = [
        [row.name, column, _words(row.said[column]), _PEM_FILES if column in P12 else _OTHER_KEY]
        for row in rows
        for column in (*KEYS, *P12)
        if row.outcomes.get(column) == NO_REQUEST
    ]
    return _table(["program", "with", "it says", "what to do"], lines)


def _others(rows: Sequence[Row]) -> str:
    lines = [[row.name, _words(row.said[ALLOWED]), row.instead] for row in rows if row.instead]
    return _table(["program", "it says, with whatever certificate", "what to do"], lines)


def _sent(rows: Sequence[Row]) -> str:
    remedy = "nothing in that program: use another one where somebody else may answer at the address"
    lines = [[row.name, remedy] for row in rows if row.outcomes.get(FALSE_SERVER) == SENT]
    return _table(["sends to a false server", "what to do"], lines or [["none", "nothing"]])


def _second_seen(rows: Sequence[Row]) -> str:
    lines: dict[tuple[str, ...], list[str]] = {}
    for beginning, seen_and_remedy in _SECOND_SEEN.items():
        for column, whose in SECOND.items():
            if names := [row.name for row in rows if re.match(beginning, row.outcomes[column])]:
                lines.setdefault((_list(names), *seen_and_remedy), []).append(whose)
    cells = [[names, _list(whose), *more] for (names, *more), whose in lines.items()]
    return _table(["program", "who asks", "the person sees", "what to do"], cells)


def _seen(rows: Sequence[Row]) -> str:
    return _table(
        ["program", *_REFUSED.values()],
        [[row.name, *(_words(row.said[who]) for who in _REFUSED)] for row in rows],
    )


def _exit_statuses(rows: Sequence[Row]) -> str:
    statuses: dict[str, list[str]] = {}
    for row in rows:
        if row.has_status:
            refused = sorted({str(row.said[who].status) for who in _REFUSED})
            statuses.setdefault(" or ".join(refused), []).append(row.name)
    return _table(["exit status", "of"], [[status, _list(names)] for status, names in sorted(statuses.items())])


def _words(said: Said) -> str:
    """What a person makes of a program's output."""
    if any(title in said.text for title in _TITLES):
        return "the text"
    text = re.sub(r"\x1b\[[0-9;]*m", "", said.text)
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    if not lines:
        return "nothing"
    status = [line for line in lines if re.search(r"\b(?:400|403)\b", line)]
    errors = [line for line in lines if re.search("error|fail|unable", line, re.IGNORECASE)]
    line = status[0] if status else (errors or lines)[-1]
    line = re.sub(rf"(?:{NAME}|127\.0\.0\.1):\d+", "nas.example.com", line)
    line = re.sub(rf'"{NAME}" \(\S+\), port \d+', "nas.example.com", line)
    line = re.sub(r"^\d{4}[-/]\d\d[-/]\d\d \d\d:\d\d:\d\d ", "", line)
    line = line.replace("|", "\\|").replace("`", "'")
    return f"`{line[:_LONGEST]}{'…' if len(line) > _LONGEST else ''}`"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "None."
