# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of Ansible's, made plain."""

from __future__ import annotations

import datetime
from types import MappingProxyType

import pytest

from ansible_collections.mtls.nginx.plugins.plugin_utils.plain import is_plain, plain


class Tagged(str):
    """As ansible-core has them: a text that knows where it stands."""

    __slots__ = ("origin",)


def test_values_come_without_what_ansible_attaches_to_them():
    given = MappingProxyType({Tagged("clients"): (Tagged("phone"), [True, 3, None, {"days": 1.5}])})
    bare = plain(given)
    assert bare == {"clients": ["phone", [True, 3, None, {"days": 1.5}]]}
    (key,), (value, _rest) = bare, bare["clients"]
    assert [part.__class__ for part in (bare, key, value)] == [dict, str, str]


class Vaulted:
    """As ansible-core 2.18 and older have a variable in a vault: its text is the secret."""

    def __str__(self):
        return "secret"


def test_what_json_does_not_know_comes_as_text():
    assert plain({"passphrase": Vaulted(), "day": datetime.date(2026, 11, 28)}) == {
        "passphrase": "secret",
        "day": "2026-11-28",
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"name": Tagged("phone"), "days": 90, "allow": [None, True, 1.5, {}]}, True),
        ("100% & #1 ~ $HOME", True),
        ("{{ vault }}", False),
        ("{% if a %}b{% endif %}", False),
        ("a{# comment #}", False),
        ("#jinja2: variable_start_string: '[['\n[[ vault ]]", False),
        ([{"name": "phone", "p12_password": Tagged("{{ vault }}")}], False),
        ({"{{ key }}": 1}, False),
        ({"passphrase": Vaulted()}, False),
        ([datetime.date(2026, 11, 28)], False),
    ],
)
def test_what_a_template_or_a_vault_has_to_say_is_not_plain(value, expected):
    assert is_plain(value) is expected
