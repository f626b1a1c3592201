# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A play without hosts fails, with what to do."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader

from ansible_collections.mtls.nginx.plugins.lookup.hosts import LookupModule
from ansible_collections.mtls.nginx.tests.unit.actions import command_line

GROUPS = {
    "all": ["nas", "web", "spare"],
    "ungrouped": ["spare"],
    "mtls_servers": ["nas", "web"],
    "empty": [],
    "home": ["nas"],
}


def look(*terms, left=None, groups=None):
    groups = GROUPS if groups is None else groups
    variables = {"groups": groups, "ansible_play_hosts_all": groups["all"] if left is None else left}
    return LookupModule(loader=DataLoader()).run(terms, variables)


@pytest.fixture(autouse=True)
def called(monkeypatch):
    command_line(monkeypatch, inventory=("hosts.yml",))


@pytest.mark.parametrize(
    "pattern",
    ["mtls_servers", "nas", "all", "n*", "~we.$", "mtls_servers:!nas", "mtls_servers[0]", "home:&mtls_servers"],
)
def test_the_pattern_is_returned_as_it_is(pattern):
    assert look(pattern) == [pattern]
    assert look([pattern, "home"], "web") == [pattern, "home", "web"]


@pytest.mark.parametrize("pattern", ["mtls_server", "empty", "nobody", "home:!nas", "localhost"])
def test_nobody_matches(pattern):
    with pytest.raises(AnsibleLookupError) as caught:
        look(pattern)
    text = str(caught.value)
    assert f"no host of the inventory hosts.yml matches '{pattern}', so nothing was done" in text
    assert "Its groups with hosts: home, mtls_servers." in text


def test_an_inventory_without_groups():
    with pytest.raises(AnsibleLookupError, match="Its groups with hosts: none"):
        look("mtls_servers", groups={"all": [], "ungrouped": []})


def test_many_groups_are_not_all_named():
    groups = {**GROUPS, **{f"group{number:02}": ["nas"] for number in range(20)}}
    with pytest.raises(AnsibleLookupError, match=r"group00, .*, group09 and 12 more"):
        look("nobody", groups=groups)


def test_the_limit_leaves_none_of_those_that_match(monkeypatch):
    command_line(monkeypatch, inventory=("hosts.yml",), subset="spare")
    with pytest.raises(AnsibleLookupError) as caught:
        look("mtls_servers", left=["spare"])
    assert "no host is left of the 2 that match 'mtls_servers': none of them is among 'spare' of --limit" in str(
        caught.value
    )
    assert str(caught.value).endswith("They are nas, web")
    assert look("mtls_servers", left=["web"]) == ["mtls_servers"]


def test_a_check_of_the_syntax_asks_no_inventory(monkeypatch):
    command_line(monkeypatch, syntax=True)
    assert look("nobody", groups={"all": []}) == ["nobody"]
