# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom people may ask: what is taken, how it is said, and what no page may link to."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.contact import Contact
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"name": "Ana"}, "Ana"),
        ({"name": "Ana", "url": None}, "Ana"),
        ({"name": "José Núñez", "url": "mailto:jose@example.com"}, "José Núñez (jose@example.com)"),
        ({"name": "IT", "url": "tel:+34961234567"}, "IT (+34961234567)"),
        ({"name": "IT", "url": "https://chat.example.com/a?b=c&d"}, "IT (https://chat.example.com/a?b=c&d)"),
    ],
)
def test_how_it_is_said(option, said):
    assert str(Contact.of(option)) == said


@pytest.mark.parametrize("option", [None, {}])
def test_nobody(option):
    assert Contact.of(option) is None


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "JAVASCRIPT:alert(1)",
        " https://a.example",
        "https://a.example/\n",
        'https://a.example/"',
        "https://a.example/<b>",
        "https://a.example/$host",
        "//a.example",
        "/help",
        "https:",
        "",
        "https://" + "a" * 500,
    ],
)
def test_what_no_page_may_link_to(url):
    with pytest.raises(
        MtlsError, match=r"mtls_contact: url .* is not an address that a page may link to; write https://… or"
    ):
        Contact.of({"name": "Ana", "url": url})


def test_a_mail_address_alone_is_told_how_to_be_written():
    with pytest.raises(MtlsError, match=r"write mailto:ana@example\.com$"):
        Contact.of({"name": "Ana", "url": "ana@example.com"})


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x1b[2J", "a\u202eb", "x" * 201, "$host"])
def test_names_that_are_no_line(name):
    with pytest.raises(MtlsError, match="mtls_contact: name"):
        Contact.of({"name": name})
