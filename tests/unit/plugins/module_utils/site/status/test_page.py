# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: complete, escaped, small, and the same as long as nothing changes."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import pathlib
import re
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site.status import document
from ansible_collections.mtls.nginx.plugins.module_utils.site.status import page as status_page
from ansible_collections.mtls.nginx.plugins.module_utils.site.status.model import (
    AuthorityStatus,
    CertificateStatus,
    ClientStatus,
    ServiceStatus,
    Status,
)
from ansible_collections.mtls.nginx.tests.pages import samples

TEMPLATES = str(pathlib.Path(__file__).parents[6] / "playbooks" / "templates")
NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u202e\n\\{{ 7*7 }}"


class Page(html.parser.HTMLParser):
    """What a page says and is made of."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(content.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.said).split())


def page(status, generated=NOW):
    return status_page.render(status, generated, TEMPLATES)


def test_names_are_text_and_nothing_else(attacked):
    found = Page(page(attacked(HOSTILE)))
    assert not [tag for tag, _attributes in found.tags if tag == "img"]
    assert [tag for tag, _attributes in found.tags].count("script") == 1
    assert not any(name.startswith("on") or name == "style" for _tag, attributes in found.tags for name in attributes)
    assert "</script><img src=x onerror=alert(1)>\"'&\\u202e\\n\\{{ 7*7 }}" in found.text
    assert "\u202e" not in page(attacked(HOSTILE)).decode()


def test_the_page_needs_nothing_but_itself(mixed):
    content = page(mixed).decode()
    assert not re.search(r"(?:src|href|url\()=?[\"']?(?!#)\w*:?//", content)
    assert "@import" not in content
    (policy,) = (attributes["content"] for tag, attributes in Page(page(mixed)).tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; ")
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (body,) = re.findall(f"<{tag}>(.*?)</{tag}>", content, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_the_page_says_all_of_it(mixed):
    text = Page(page(mixed)).text
    (authority,) = mixed.authorities
    for client in authority.clients:
        assert client.name in text
    for finding in mixed.findings:
        assert finding.title in text
        assert finding.command is None or finding.command in text
    for certificate in (*authority.unmanaged, *authority.revoked):
        assert certificate.serial in text
    assert "number 2, 1 revoked" in text
    assert "ssh: connect to host home port 22: No route to host" in text
    assert "0 of 1 as expected" in text


def test_each_row_of_the_matrix_says_where_its_client_enters(mixed):
    content = page(mixed).decode()
    (authority,) = mixed.authorities
    rows = dict(re.findall(r"<tr><th scope=row>([^<]*)<td data-k=[^\n]*?((?:<td(?: class=w)?>[✓○]?)+)\n", content))
    assert len(rows) == len(authority.clients)
    for client in authority.clients:
        cells = re.findall(r"<td(?: class=w)?>([✓○]?)", rows[client.name])
        columns = [service.id for service in authority.services if service.allow is None]
        columns += [service.id for service in authority.services if service.allow is not None]
        assert {name for name, cell in zip(columns, cells, strict=True) if cell == "✓"} == set(client.enters)
        assert {name for name, cell in zip(columns, cells, strict=True) if cell == "○"} == set(client.waits)


def test_what_every_client_may_enter_stands_first_and_in_words(mixed):
    content = page(mixed).decode()
    assert content.index("Open to every client of the authority: wiki.") < content.index("<table id=m1")
    (first, *others) = re.findall(r"<th scope=col( class=every)? title=", content)
    assert first
    assert not any(others)


def test_on_a_phone_each_cell_of_a_list_says_what_it_is(mixed):
    """Its headings have no room there."""
    headings = {
        title
        for table in re.findall(r"<table class=.?list.*?</thead>", page(mixed).decode())
        for title in re.findall(r"<th>([^<]*)", table)[1:]
    }
    assert {"State", "Problems", "May enter", "Reason", "Serial"} <= headings
    assert headings <= set(re.findall(r"<td data-h=\"?([^\">]*)", page(mixed).decode()))


def test_nothing_to_do_and_nothing_there():
    text = Page(page(Status(NOW, None, ()))).text
    assert "Nothing. Everything matches the inventory" in text
    empty = AuthorityStatus("/pki", "CN=CA", CertificateStatus("valid", "01", NOW + timedelta(days=900)))
    assert "The inventory has no clients: nobody is let in." not in Page(page(Status(NOW, None, (empty,)))).text
    nobody = dataclasses.replace(empty, services=(ServiceStatus("nas", "nas", ("nas.lan",), None, None),))
    assert "The inventory has no clients: nobody is let in." in Page(page(Status(NOW, None, (nobody,)))).text


@pytest.mark.slow
def test_clients_with_the_same_access_are_grouped(large):
    (authority,) = large.authorities
    groups = status_page.groups(authority)
    assert sorted(name for group in groups for name in group.clients) == sorted(
        client.name for client in authority.clients if client.enters
    )
    assert len(groups) < len(authority.clients) / 5
    by_name = {client.name: client.enters for client in authority.clients}
    assert all(by_name[name] == group.services for group in groups for name in group.clients)
    assert [len(group.clients) for group in groups] == sorted((len(group.clients) for group in groups), reverse=True)


def ending(*days):
    """An authority whose clients' certificates end in so many days."""
    clients = tuple(
        ClientStatus(f"c{number}", None, CertificateStatus("valid", "01", NOW + timedelta(days=end)), (), ())
        for number, end in enumerate(days)
    )
    return AuthorityStatus("/pki", "CN=CA", clients=clients)


def test_few_certificates_have_a_line_each_on_the_time_axis():
    axis = status_page.axis(ending(300, -4, 10, 5000), NOW)
    assert [(lane.name, lane.x) for lane in axis.lanes] == [("c2", 1.33), ("c0", 37.04)]
    assert (axis.beyond, axis.ended, axis.bars) == (1, 1, ())
    assert len(axis.ticks) <= 8
    assert all(0 <= x <= 92 for x, _label in axis.ticks)
    assert [label for _x, label in axis.ticks][:2] == ["Mar 2027", "Jul 2027"]
    assert status_page.axis(ending(-1), NOW) is None


def test_many_certificates_are_counted_by_week():
    axis = status_page.axis(ending(*[3] * 30, *[360] * 15), NOW)
    assert axis.lanes == ()
    assert [(week.count, week.valid) for week in axis.bars] == [(30, 100), (15, 50)]
    assert all(week.x + week.width <= 100 for week in axis.bars)
    assert axis.highest == 30


@pytest.mark.parametrize(
    ("hours", "said"),
    [(0, "today"), (5, "today"), (6, "in 1 day"), (50, "in 2 days"), (-20, "1 day ago"), (-50, "2 days ago")]
    + [
        (days * 24, said)
        for days, said in ((400, "in 400 days"), (401, "in 1.1 years"), (3652, "in 10 years"), (-800, "2.2 years ago"))
    ],
)
def test_distances_are_counted_from_midnight_to_midnight(hours, said):
    assert status_page.distance(NOW, NOW + timedelta(hours=hours)) == said


@pytest.mark.slow
def test_a_thousand_clients_at_fifty_services_stay_small(large):
    (authority,) = large.authorities
    assert len(authority.clients) >= 1000
    assert len(authority.services) == 50
    assert len(page(large)) < 3_000_000
    assert len(document.render(large, NOW)) < 3_000_000
    # Also where everybody may enter everything.
    everywhere = tuple(service.id for service in authority.services)
    clients = tuple(dataclasses.replace(client, enters=everywhere, waits=()) for client in authority.clients)
    full = dataclasses.replace(large, authorities=(dataclasses.replace(authority, clients=clients),))
    assert len(page(full)) < 3_000_000
    # And where no two may enter the same.
    clients = tuple(
        dataclasses.replace(client, enters=tuple(name for bit, name in enumerate(everywhere) if ~number >> bit & 1))
        for number, client in enumerate(authority.clients)
    )
    full = dataclasses.replace(large, authorities=(dataclasses.replace(authority, clients=clients),))
    assert len(page(full)) < 3_000_000


def test_the_same_all_day(mixed):
    """What `changed` rests on: the files differ when something does, and not because a minute has passed."""
    morning, evening = (dataclasses.replace(mixed, now=NOW.replace(hour=hour)) for hour in (3, 22))
    assert page(morning) == page(evening)
    assert page(mixed, NOW) != page(mixed, NOW + timedelta(minutes=1))


def test_what_utf_8_cannot_hold_is_an_escape(attacked):
    assert "\\udcff" in Page(page(attacked("\udcff"))).text


def test_who_is_on_a_list_by_subject_is_counted_and_named(tmp_path):
    fleet = samples.small(tmp_path)
    fleet.service("nas", "by-subject", allow=[{"dn": "CN=a+UID=7,O=Acme"}])
    fleet.service("nas", "shut", allow=[])
    found = Page(page(fleet.status()))
    assert "On allow lists by subject" in found.text
    assert "CN=a+UID=7,O=Acme" in found.text
    told = [text for text in found.said if text in ("a list of 1", "a list of 2", "nobody")]
    assert told == ["a list of 2", "a list of 1", "nobody"]
