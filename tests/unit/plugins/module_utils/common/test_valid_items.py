# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list that is set aside becomes what Ansible's own validator makes of it; what it would refuse or convert is not."""

from __future__ import annotations

import copy

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.mtls.nginx.plugins.module_utils.common import valid_items
from ansible_collections.mtls.nginx.plugins.modules import client_cert
from ansible_collections.mtls.nginx.plugins.plugin_utils import hostvars

CLIENTS = {"clients": client_cert.SPEC["argument_spec"]["clients"]}
FLEET = {"mtls_fleet_clients": hostvars._role_options("ca")["mtls_fleet_clients"]}
SERVICES = {"mtls_services": hostvars._role_options("server")["mtls_services"]}


def by_ansible(spec: dict, value: object) -> tuple[list, set, list]:
    (name,) = spec
    done = ArgumentSpecValidator(copy.deepcopy(spec)).validate({name: copy.deepcopy(value)})
    return done.validated_parameters[name], done._no_log_values, done.error_messages


@pytest.mark.parametrize("spec", [CLIENTS, FLEET], ids=["module", "role"])
@pytest.mark.parametrize(
    "items",
    [
        [],
        [{"name": "a"}, {"name": "b", "state": "revoked", "reason": "keyCompromise"}],
        [{"name": "a", "subject": {"CN": "x", "O": ["y", "z"]}, "days": 90, "mobileconfig": False}],
        [{"name": "a", "p12_password": "of two words", "p12": "modern"}, {"name": "b", "p12_password": "other"}],
        [{"days": 1, "name": ""}],
        [{"name": "a", "formats": ["pem"]}, {"name": "b", "formats": [], "used_by": ["browser", "gem"]}],
        [{"name": "a", "p12_password": "", "csr": "/files/a.csr"}],
    ],
)
def test_what_is_plainly_valid_is_as_ansible_has_it_in_order_too(spec, items):
    (name,) = spec
    before = copy.deepcopy(items)
    rest, valid, secrets = valid_items.set_aside(spec, {name: items, "other": 1})
    expected, no_log, errors = by_ansible(spec, items)
    assert errors == []
    assert rest == {name: [], "other": 1}
    assert [list(item.items()) for item in valid[name]] == [list(item.items()) for item in expected]
    assert secrets == no_log
    assert items == before
    assert all(given is not made for given, made in zip(items, valid[name], strict=True))
    lists = [value for item in valid[name] for value in item.values() if isinstance(value, list)]
    assert len({id(value) for value in lists}) == len(lists), "no item has another one's list"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "a,b",
        ({"name": "a"},),
        ["a"],
        [{}],
        [{"name": None}],
        [{"name": 5}],
        [{"name": "a", "days": "90"}],
        [{"name": "a", "days": True}],
        [{"name": "a", "mobileconfig": "yes"}],
        [{"name": "a", "state": "gone"}],
        [{"name": "a", "key_type": None}],
        [{"name": "a", "nmae": "a"}],
        [{"name": "a", "subject": "CN=a"}],
        [{"name": "a", "formats": "pem"}],
        [{"name": "a", "formats": ["der"]}],
        [{"name": "a", "used_by": ["konqueror"]}],
        [{"name": "a", "formats": [5]}],
        [{"name": "a", "p12_password": 42798}],
        [{"name": "a", "p12_password": "secret\n"}],
        [{"name": "fine"}, {"name": "a", "csr": "~/a.csr"}],
        [{"name": "a", "csr": "$HOME/a.csr"}],
        [{"name": "a", 5: "b"}],
    ],
)
def test_all_else_is_left_to_it(value):
    assert valid_items.set_aside(CLIENTS, {"clients": value}) == ({"clients": value}, {}, set())


def test_an_option_that_is_not_given_is_not_set_aside():
    assert valid_items.set_aside(CLIENTS, {}) == ({}, {}, set())


@pytest.mark.parametrize(
    "option",
    [
        {"type": "str", "aliases": ["b"]},
        {"type": "str", "deprecated_aliases": [{"name": "b"}]},
        {"type": "str", "fallback": (lambda: "x",)},
        {"type": "list", "elements": "dict", "default": []},
        {"type": "list", "elements": "str", "default": [5]},
        {"type": "dict", "apply_defaults": True, "options": {"x": {"type": "int", "default": 1}}},
        {"type": "str", "no_log": True, "default": "secret"},
        {"type": "int", "default": "1"},
    ],
)
def test_an_option_of_more_than_its_own_value_is_left_to_it(option):
    spec = {"type": "list", "elements": "dict", "options": {"a": {"type": "str"}, "c": option}}
    assert valid_items.validated(spec, [{"a": "x"}]) is None
    together = {"type": "list", "elements": "dict", "options": {"a": {"type": "str"}}, "required_together": [["a"]]}
    assert valid_items.validated(together, [{"a": "x"}]) is None


def test_services_have_defaults_that_are_lists_so_ansible_looks_at_them():
    assert valid_items.validated(SERVICES["mtls_services"], [{"name": "nas", "server_names": ["nas.lan"]}]) is None


def test_only_lists_of_dictionaries_are_looked_at():
    options = {"a": {"type": "str"}}
    for kinds in ({"type": "list", "elements": "str"}, {"type": "dict", "elements": "dict"}, {"type": "list"}):
        assert valid_items.validated({**kinds, "options": options}, [{"a": "x"}]) is None


def test_what_may_be_said_of_an_option_may_all_be_said():
    """And a value of its own is a copy."""
    every = dict.fromkeys(("default", "choices")) | {"no_log": False, "required": False, "elements": "str"}
    every |= {"description": "x", "version_added": "1.0.0"}
    options = {"a": {"type": "list", **every}, "b": {}}
    given = [{"a": ["x"], "b": "y"}]
    found = valid_items.validated({"type": "list", **every, "elements": "dict", "options": options}, given)
    assert found == (given, set())
    assert found[0][0]["a"] is not given[0]["a"]
