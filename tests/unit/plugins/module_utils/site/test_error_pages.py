# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One page a reason, in pieces that nginx can read; ``test_host_files.py`` has templates that cannot be used."""

from __future__ import annotations

import pathlib

import jinja2
import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.error_pages import pages

TEMPLATES = pathlib.Path(__file__).parents[5] / "roles" / "server" / "templates"


@pytest.fixture
def environment():
    return jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined)


def whole(page) -> str:
    """The page, with a word for the link that nginx makes."""
    return "".join("LINK" if piece is None else piece for piece in page["pieces"])


def test_each_reason_has_a_page_with_its_title(environment):
    found = {page["reason"]: whole(page) for page in pages(environment, None)}
    titles = {reason: page.partition("<title>")[2].partition("</title>")[0] for reason, page in found.items()}
    assert titles == {
        "list": "This is not open to you",
        "none": "A certificate is needed here",
        "plain": "Please use https",
        "rejected": "Your certificate was not accepted",
    }


def test_no_page_is_for_421(environment):
    """Browsers open another connection at nginx's own answer."""
    assert not [page for page in pages(environment, None) if "421" in page["key"]]


def test_pages_load_nothing(environment):
    for page in pages(environment, None):
        text = whole(page)
        assert not [word for word in ("src=", "href=", "url(", "@import", "<script") if word in text]


def test_a_template_is_told_what_the_docs_say(environment, tmp_path):
    template = tmp_path / "page.html"
    template.write_text("{{ reason }}|{{ title }}|{{ text | join(' ') }}")
    found = dict(whole(page).split("|", 1) for page in pages(environment, str(template)))
    assert (
        found["plain"] == "Please use https|This page wants an encrypted connection: its address begins with https://."
    )


def test_pieces_make_the_page(environment, tmp_path):
    template = tmp_path / "page.html"
    template.write_text("é" * 2500)
    (page, *_others) = pages(environment, str(template))
    assert [len(piece) for piece in page["pieces"]] == [1000, 1000, 500]


def test_the_largest_page(environment, tmp_path):
    template = tmp_path / "page.html"
    template.write_text("é" * (128 * 1024))
    assert pages(environment, str(template))
    template.write_text("é" * (128 * 1024) + "x")
    with pytest.raises(MtlsError, match="larger than 256 KiB"):
        pages(environment, str(template))


def test_who_came_without_tls_gets_a_link_and_nobody_else(environment):
    assert {page["reason"] for page in pages(environment, None) if None in page["pieces"]} == {"plain"}


@pytest.mark.parametrize("template", [None, "own"])
def test_somebody_to_ask_is_named_and_breaks_nothing(environment, tmp_path, template):
    if template is not None:
        path = tmp_path / "page.html"
        path.write_text('{{ link }}<a href="{{ contact.url }}">{{ contact.name }}</a>')
        template = str(path)
    contact = Contact('Ana "<b>" & Co', "https://help.example.com/?to=ana&x='1'")
    for page in pages(environment, template, contact):
        text = whole(page)
        assert "$" not in text
        assert (
            '<a href="https://help.example.com/?to=ana&amp;x=&#x27;1&#x27;">Ana &quot;&lt;b&gt;&quot; &amp; Co</a>'
            in text
        )


def test_without_anybody_to_ask_nobody_is_named(environment):
    assert not [page for page in pages(environment, None) if "can help" in whole(page)]
    assert [
        page for page in pages(environment, None, Contact("Ana")) if "<p>Ana can help.</p>" not in whole(page)
    ] == []


def test_what_programs_print_begins_with_the_title_and_is_short_text(environment, tmp_path):
    template = tmp_path / "page.html"
    template.write_text("<b>my own</b>")
    titles = {page["reason"]: whole(page).split("<title>")[1].split("</title>")[0] for page in pages(environment, None)}
    for path in (None, str(template)):
        for page in pages(environment, path, Contact("Ana", "mailto:ana@example.com")):
            title, blank, *lines = page["said"].split("\n")
            assert title == titles[page["reason"]]
            assert blank == ""
            assert lines[-2:] == ["Ana (ana@example.com) can help.", ""]
            assert len(page["said"].encode()) < 1000
            assert not [word for word in ("<", "browser", "my own") if word in page["said"]]
            assert page["said"].count("$") == (page["reason"] == "plain")
