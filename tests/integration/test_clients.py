# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs at the gate do what docs/clients.md says, and the proxies of docs/proxies.md get in as they stand there."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import re

import pytest

from ansible_collections.mtls.nginx.tests.clients import page, programs, proxies
from ansible_collections.mtls.nginx.tests.clients.gate import (
    ALLOWED,
    EXPIRED,
    NOBODY,
    NOT_LISTED,
    PEOPLE,
    open_gate,
)
from ansible_collections.mtls.nginx.tests.clients.table import ALL
from ansible_collections.mtls.nginx.tests.clients.trials import (
    FALSE_SERVER,
    NEEDED,
    NO_REQUEST,
    P12,
    REJECTED,
    SECOND,
    SENT,
    Row,
    contradictions,
    remember,
    send,
)
from ansible_collections.mtls.nginx.tests.gate.nginxes import REPOSITORY

PAGE = page.read(page.PAGE.read_text())
QUICK = [programs.CURL, programs.PYTHON, programs.OPENSSL, programs.NSS, proxies.as_program(proxies.NGINX)]
REFUSED = {NOT_LISTED: "403", EXPIRED: REJECTED, NOBODY: NEEDED, FALSE_SERVER: NO_REQUEST}
_homes = itertools.count()


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    with open_gate(tmp_path_factory.mktemp("clients")) as made:
        yield made


@pytest.mark.parametrize("program", QUICK, ids=lambda program: program.name)
def test_these_do_what_the_page_says(gate, program):
    row = send(program, gate, (*PEOPLE, *P12, FALSE_SERVER, *SECOND))
    assert contradictions([row], PAGE) == []
    assert row.outcomes.items() >= {ALLOWED: "200", **REFUSED}.items()


@pytest.mark.long
@pytest.mark.parametrize("program", ALL, ids=lambda program: program.name)
def test_they_all_do_with_every_key(gate, program):
    if program.version() is None:
        pytest.skip(f"{program.name} is not installed: `make clients` installs it")
    row = send(program, gate)
    remember([row], PAGE)
    assert contradictions([row], PAGE) == []


def test_the_page_names_them_all():
    missing = page.PAGE.read_text().rpartition("\n## ")[2]
    absent = [one.name for one in ALL if one.name not in [row.name for row in PAGE]]
    assert [name for name in absent if name not in missing] == []
    assert {row.name for row in PAGE} <= {one.name for one in ALL}
    of_http = {one.name: not one.instead for one in ALL}
    assert all(row.outcomes.keys() >= {*PEOPLE, *([FALSE_SERVER] if of_http[row.name] else [])} for row in PAGE)


def remedied(heading: str) -> list[set[str]]:
    """What each line of the section's tables with remedies is about; none of them is empty."""
    section = page.PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = []
    for table in re.findall(r"(?m)^\|.* what to do \|\n\|[-|]+\n((?:\|.*\n)+)", section):
        for line in table.splitlines():
            *about, remedy = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            if about[0] not in ("`200`, `101`", "`-`"):
                assert remedy, line
            found.append(set(", ".join(about).split(", ")))
    assert found
    return found


def test_all_that_does_not_work_has_a_remedy():
    """Or the page says that there is none. Whatever the versions: what a run writes is held to it."""
    legend = {word.strip("`") for words in remedied("Who gets in") for word in words}
    unheard = remedied("Programs that do not speak HTTP")
    silent = remedied("A certificate that is not sent")
    unusable = remedied("What a program says of a file it cannot use")
    careless = remedied("Whether the server is verified")
    misdirected = remedied("A second name on one connection")

    def told(lines: list[set[str]], *about: str) -> bool:
        return any(words >= set(about) for words in lines)

    for row in PAGE:
        for column, came in row.outcomes.items():
            if column in SECOND:
                good = told(misdirected, row.name, SECOND[column])
            elif column == FALSE_SERVER:
                good = came == NO_REQUEST or told(careless, row.name)
            elif came == NO_REQUEST:
                good = told(unheard, row.name) or told(unusable, row.name, column)
            else:
                good = came in legend and (came != NEEDED or column == NOBODY or told(silent, row.name))
            assert good, (row.name, column, came)


def test_the_handout_agrees():
    """Its steps and its reasons are about browsers and curl: what the page has of them."""
    handout = " ".join((REPOSITORY / "roles" / "ca" / "templates" / "handout.html.j2").read_text().split())
    rows = {row.name.partition(" ")[0]: row.outcomes for row in PAGE}
    ours = {name: rows[name] for name in ("Chromium", "Firefox", "curl")}
    assert {came[kind] for came in ours.values() for kind in (ALLOWED, *P12)} == {"200"}
    assert "curl --cert {{ crt_curl }} --key {{ key_argument }}" in handout
    for name in ("Chromium", "Firefox"):
        assert (ours[name]["Ed25519"] != "200") == ("Firefox and Chromium on Linux refuse the file" in handout)
        assert (ours[name][EXPIRED] == NEEDED) == ("browsers do not offer it any more" in handout)
    assert (rows["awscrt"]["Ed25519"], rows["curl-cffi"]["Ed25519"]) == (NO_REQUEST, NO_REQUEST)
    assert "which browsers, AWS&rsquo;s SDKs and curl-cffi do not take" in handout


def test_what_is_written_is_read_back(gate):
    row = send(programs.CURL, gate)
    other = dataclasses.replace(row, name="another", version="1")
    (first, second) = page.read(page.write([row, other], ["a third"], gate.nginx, datetime.date(2026, 11, 29)))
    assert (first.name, first.version, first.outcomes) == (row.name, row.version, row.outcomes)
    assert (second.name, second.version, second.outcomes) == ("another", "1", row.outcomes)


def test_what_speaks_against_the_page_is_found():
    said = Row("program", "1", outcomes={ALLOWED: "200", EXPIRED: REJECTED, FALSE_SERVER: NO_REQUEST})

    def found(version: str, **changed: str) -> int:
        return len(contradictions([Row("program", version, outcomes={**said.outcomes, **changed})], [said]))

    assert found("1") == found("2") == 0
    assert (found("1", **{EXPIRED: NEEDED}), found("2", **{EXPIRED: NEEDED})) == (1, 0)
    assert (found("2", **{EXPIRED: "200"}), found("2", **{FALSE_SERVER: SENT})) == (1, 1)
    said.outcomes[FALSE_SERVER] = SENT
    assert found("2") == 0
    caught = Row("program", "1", outcomes={FALSE_SERVER: NO_REQUEST})
    remember([caught], [said])
    assert caught.outcomes == {FALSE_SERVER: SENT}


# --- what the recipes are made of: without one of its lines, a proxy does not get in, or trusts anybody


def came_of(gate, proxy: proxies.Proxy, *left_out: tuple[str, str], **visit) -> str:
    """The status that the caller reads from a proxy, some of whose configuration is something else."""

    class Changed(proxies.Proxy):
        def configuration(self, *arguments) -> str:
            text = super().configuration(*arguments)
            for documented, instead in left_out:
                assert documented in text
                text = text.replace(documented, instead)
            return text

    home = gate.folder / f"left-out-{next(_homes)}"
    fields = {field.name: getattr(proxy, field.name) for field in dataclasses.fields(proxy)}
    said = Changed(**fields).ask(programs.Visit(gate, home, gate.people[ALLOWED], **visit))
    gate.requests()
    return said.text.rpartition("\n")[2]


def test_each_line_of_the_nginx_recipe_is_needed(gate):
    assert came_of(gate, proxies.NGINX) == "200"
    no_name = ("proxy_ssl_server_name         on;", "")
    unverified = ("proxy_ssl_verify              on;", "")
    assert came_of(gate, proxies.NGINX, no_name, unverified) == "421"
    assert came_of(gate, proxies.NGINX, ("Host         localhost;", "Host $host;")) == "421"
    assert came_of(gate, proxies.NGINX, trusted=gate.other_ca) == "502"
    assert came_of(gate, proxies.NGINX, unverified, trusted=gate.other_ca) == "200"


@pytest.mark.long
@pytest.mark.parametrize(
    ("heading", "line", "instead"),
    [
        ("Traefik", "passHostHeader: false", "passHostHeader: true"),
        ("HAProxy", "sni str(localhost)", ""),
        ("HAProxy", "http-request set-header Host localhost", ""),
        ("Envoy", "sni: localhost", ""),
        ("Envoy", ", host_rewrite_literal: localhost", ""),
    ],
)
def test_what_other_proxies_do_by_default_is_not_enough(gate, heading, line, instead):
    (proxy,) = [one for one in proxies.PROXIES if one.heading == heading]
    if proxy.version() is None:
        pytest.skip(f"{heading} is not installed: `make clients` installs it")
    assert came_of(gate, proxy, (line, instead)) == "421"
