# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gains and who loses entry: the model, and how it is written."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ansible_collections.mtls.nginx.plugins.module_utils.host.gates import Gate
from ansible_collections.mtls.nginx.plugins.module_utils.site.access_plan import (
    EXPIRED,
    GONE,
    MARKER,
    NEW,
    OFF_THE_LIST,
    REVOKED,
    AccessPlan,
    Change,
    Person,
    changes,
    code,
    document,
    entrants,
)

NAMES = ("ana", "bea", "carl", "dora")
PEOPLE = [Person(name, (f"CN={name}",)) for name in NAMES]
MINUS = "\N{MINUS SIGN}"


def gate(*names: str, service: str = "wiki", **more: object) -> Gate:
    return Gate(service, subjects=tuple(f"CN={name}" for name in names), **more)


def change(old: Gate | None, new: Gate | None, people: list[Person] = PEOPLE) -> Change | None:
    found = changes([old] if old else [], [new] if new else [], {"wiki": people})
    assert len(found) <= 1
    return found[0] if found else None


def line(old: Gate | None, new: Gate | None, people: list[Person] = PEOPLE) -> str:
    plan = AccessPlan()
    plan.add("nas", [change(old, new, people)])
    (only,) = plan.lines()
    return only


def person(name: str, **more: object) -> list[Person]:
    """All of them, this one otherwise."""
    return [Person(name, (f"CN={name}",), **more), *(each for each in PEOPLE if each.name != name)]


CASES = {
    "the same": (gate("ana"), gate("ana"), PEOPLE, None),
    "on the list": (gate("ana"), gate("ana", "bea", "carl"), PEOPLE, "+ bea, carl"),
    "off the list": (gate("ana", "bea"), gate("bea"), PEOPLE, f"{MINUS} ana (off the list)"),
    "revoked, and off the list": (
        gate("ana", "bea"),
        gate("bea"),
        person("ana", after=False),
        f"{MINUS} ana (revoked)",
    ),
    "revoked, and still listed": (
        gate("ana"),
        gate("ana"),
        person("ana", after=False),
        f"{MINUS} ana (revoked)",
    ),
    "revoked long ago": (gate("ana"), gate(), person("ana", before=False, after=False), None),
    "expired long ago": (
        gate("ana"),
        gate(),
        person("ana", before=False, after=False, why=EXPIRED),
        f"{MINUS} ana (its certificate has expired)",
    ),
    "a new certificate": (gate("ana"), gate("ana"), person("ana", before=False), "+ ana"),
    "a new subject": (
        gate("ana"),
        Gate("wiki", subjects=("O=Acme,CN=ana",)),
        [Person("ana", ("CN=ana", "O=Acme,CN=ana"))],
        None,
    ),
    "nobody's subject": (gate("eve"), gate(), PEOPLE, f"{MINUS} CN=eve (off the list)"),
    "new": (None, gate("bea", "ana"), PEOPLE, "new; + ana, bea"),
    "gone": (gate("bea", "ana"), None, PEOPLE, f"gone; {MINUS} ana, bea"),
    "opened": (gate("ana"), gate(everybody=True), PEOPLE, "open to every client"),
    "new and open": (None, gate(everybody=True), PEOPLE, "open to every client; new"),
    "closed": (
        gate(everybody=True),
        gate("ana", "bea", "carl"),
        PEOPLE,
        f"no longer open to every client; {MINUS} dora (off the list)",
    ),
    "open, and somebody new": (gate(everybody=True), gate(everybody=True), person("ana", before=False), "+ ana"),
    "open, and somebody revoked": (
        gate(everybody=True),
        gate(everybody=True),
        person("ana", after=False),
        f"{MINUS} ana (revoked)",
    ),
    "a public path": (
        gate("ana"),
        gate("ana", public=("/x/",)),
        PEOPLE,
        "/x/ open to everybody, without a certificate",
    ),
    "a network": (
        gate("ana", networks=("192.0.2.0/24",)),
        gate("ana", networks=("192.0.2.0/24", "2001:db8::/32")),
        PEOPLE,
        "open without a certificate from 2001:db8::/32",
    ),
    "no public path any more": (
        gate("ana", public=("/x/",)),
        gate("ana"),
        PEOPLE,
        "no longer /x/ open to everybody, without a certificate",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_who_and_why(case):
    old, new, people, expected = CASES[case]
    if expected is None:
        assert change(old, new, people) is None
    else:
        assert line(old, new, people) == f"wiki: {expected} — on nas"


def test_it_can_be_passed_on_as_plain_values():
    for old, new, people, _expected in CASES.values():
        found = change(old, new, people)
        assert found is None or Change.of_result(found.as_result()) == found


@st.composite
def gates_and_people(draw):
    """What a host has and is to have, with people whose certificates come and go."""
    places = [("wiki", ""), ("wiki", "/admin/"), ("nas", "")]
    subjects = st.lists(st.sampled_from([f"CN={name}" for name in (*NAMES, "eve")]), unique=True).map(tuple)

    def some_gates() -> list[Gate]:
        chosen = draw(st.lists(st.sampled_from(places), unique=True))
        return [
            Gate(service, path, everybody, () if everybody else draw(subjects))
            for service, path in chosen
            for everybody in [draw(st.booleans())]
        ]

    people = [
        Person(
            name, (f"CN={name}",), draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from([REVOKED, EXPIRED]))
        )
        for name in NAMES
    ]
    return some_gates(), some_gates(), people


def let_in(gates: list[Gate], people: list[Person], when: str) -> dict[tuple[str, str], set[str]]:
    return {
        (gate.service, gate.path): {name for name, who in entrants(gate, people).items() if getattr(who, when)}
        for gate in gates
    }


@given(gates_and_people())
def test_the_plan_applied_to_what_a_host_had_gives_what_it_has(given):
    old, new, people = given
    had, has = let_in(old, people, "before"), let_in(new, people, "after")
    found = changes(old, new, {"wiki": people, "nas": people})
    for each in found:
        place = (each.service, each.path)
        if each.state == NEW:
            had[place] = set()
        had[place] = (had[place] | set(each.gained)) - {name for name, _why in each.lost}
        if "open to every client" in each.opened:
            had[place] = {who.name for who in people if who.after}
        if each.state == GONE:
            assert had.pop(place) == set()
        assert all(why in (REVOKED, EXPIRED, OFF_THE_LIST, "") for _name, why in each.lost)
    assert had == has


def test_what_opens_comes_first_then_who_gains_then_who_loses():
    plan = AccessPlan()
    plan.add(
        "one", [Change("a", lost=(("ana", REVOKED),)), Change("b", gained=("bea",)), Change("c", opened=("wide",))]
    )
    plan.add("two", [Change("b", gained=("bea",))])
    assert plan.lines() == ["c: wide — on one", "b: + bea — on one, two", f"a: {MINUS} ana (revoked) — on one"]


@pytest.mark.parametrize("write", [AccessPlan.lines, AccessPlan.markdown])
@pytest.mark.parametrize("alike", [True, False], ids=["the same", "each another"])
def test_it_stays_short_however_large_the_fleet(write, alike):
    plan = AccessPlan()
    clients = tuple(f"client-{number:04}" for number in range(1000))
    for number in range(200):
        gained = clients if alike else (*clients[:number], *clients[number + 1 :])
        plan.add(f"host-{number}", [Change(f"service-{number}", gained=gained), Change("open", opened=("wide",))])
    lines = write(plan)
    assert len(lines) < 60
    assert all(len(each) < 4000 for each in lines)
    assert lines[0].replace("*", "").replace("`", "").replace("- ", "", 1).startswith("open: wide — on host-0, host-1,")
    if not alike:
        assert lines[-1].endswith("156 more changes, too many to be shown here: use --limit")


HOSTILE = (
    "[x](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "`; **bold** `",
    "``two``",
    "`",
    "@everybody #1 !2 ~3",
    "a\\`b",
    "-->",
    "| a | b |",
    "&lt;script&gt;",
    " ",
    "\u202edrowssap",
    "line\n# heading",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_name_has_a_meaning_in_markdown(text):
    plan = AccessPlan()
    plan.add(text, [Change(text, text, opened=(text,), gained=(text,), lost=((text, REVOKED),))])
    written = document(plan, [text], check=True)
    assert all(each.isprintable() for each in written.splitlines())
    tokens = [each for token in MarkdownIt().parse(written) for each in (token, *(token.children or ()))]
    kinds = Counter(token.type.removesuffix("_open") for token in tokens if not token.type.endswith("_close"))
    assert set(kinds) <= {
        *("html_block", "heading", "inline", "text", "bullet_list", "list_item", "paragraph", "strong", "code_inline")
    }
    assert [kinds[kind] for kind in ("html_block", "heading", "list_item", "code_inline")] == [1, 1, 2, 6]
    for token in tokens:
        assert token.type != "text" or not set(token.content) & set("@#<[`!~|")


def test_a_code_span_holds_what_it_was_given():
    for text in [each for each in HOSTILE if each.isprintable() and each.strip()] + [
        "".join(parts) for parts in itertools.product("`a ", repeat=4) if "".join(parts).strip()
    ]:
        (inline,) = [token for token in MarkdownIt().parse(f"x{code(text)}x") if token.type == "inline"]
        kinds = [token.type for token in inline.children]
        assert kinds == ["text", "code_inline", "text"]
        assert inline.children[1].content.strip() == text.strip()


def test_the_document_claims_nothing_of_hosts_that_are_not_known():
    said = document(AccessPlan(), [f"host-{number}: FAILED" for number in range(200)], check=True, complete=False)
    assert "Nobody gains or loses entry" not in said
    assert "It is not known who gains or loses entry." in said
    assert len(said.splitlines()) < 60
    assert said.endswith("- and 192 lines more in the run's output\n")


def test_the_document_says_what_else_there_is():
    assert document(AccessPlan(), ["nas: FAILED"], check=False).splitlines() == [
        MARKER,
        "### Who gained and who lost entry",
        "",
        "Nobody gains or loses entry.",
        "",
        "- `nas: FAILED`",
    ]
