# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/variables.md lists each variable of the roles and of the playbooks, with its default, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site import known_variables
from ansible_collections.mtls.nginx.tests.unit.support import read_yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "variables.md").read_text()
ROLES = {path.parts[-3]: read_yaml(path) for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))}
ENTRIES = {
    (role, entry): spec.get("options", {})
    for role, specs in ROLES.items()
    for entry, spec in specs["argument_specs"].items()
}
OPTIONS = {name: spec for options in ENTRIES.values() for name, spec in options.items()}
# What a row for these says, the table below its heading says of each of their options.
WITH_A_TABLE = {
    "mtls_clients": "`mtls_clients` and `mtls_fleet_clients`",
    "mtls_fleet_clients": "`mtls_clients` and `mtls_fleet_clients`",
    "mtls_services": "`mtls_services`",
    "mtls_revoked": "`mtls_revoked`",
}
_ROW = re.compile(r"^\| `(?P<name>\w+(?:\.\w+)*)` \| (?P<says>.+) \| ?(?P<default>.*?) ?\|$", re.MULTILINE)


def rows(text: str) -> dict[str, re.Match[str]]:
    found = list(_ROW.finditer(text))
    names = [row["name"] for row in found]
    assert sorted(names) == sorted(set(names))
    return {row["name"]: row for row in found}


def section(heading: str) -> str:
    (text,) = re.findall(rf"^### {re.escape(heading)}$(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    return text


def flat(options: Mapping[str, dict], prefix: str = "") -> Iterator[tuple[str, dict]]:
    for name, spec in options.items():
        yield prefix + name, spec
        yield from flat(spec.get("options", {}), f"{prefix}{name}.")


def as_said(spec: dict) -> str:
    """How a specification's default is written in the table."""
    if spec.get("required"):
        return "required"
    default = spec.get("default")
    if default is None or default in ("", []):
        return ""
    if isinstance(default, list):  # one item may stand without brackets
        return ", ".join(f"`{item}`" for item in default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def played() -> dict[str, set[str]]:
    """The variables that playbooks and tasks read and no role specifies, with the literal defaults they have there."""
    text = "\n".join(
        re.sub(r"(^|\s)#.*", "", path.read_text(), flags=re.MULTILINE)
        for path in [*ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("roles/*/tasks/*.yml")]
    )
    names = set(re.findall(r"\bmtls_[a-z][a-z_]*\b", text)) - OPTIONS.keys()
    names.remove("mtls_servers")  # the group, the default of `mtls_hosts`
    return {name: set(re.findall(rf"\b{name} \| default\('?(\w+)'?\)", text)) - {"omit"} for name in names}


PLAYED = played()
VARIABLES = rows(re.sub(r"^### .*?(?=^##)", "", PAGE, flags=re.MULTILINE | re.DOTALL))


def test_it_lists_each_variable_and_no_other():
    assert set(VARIABLES) == set(OPTIONS) | set(PLAYED)


def test_what_the_playbooks_read_is_known_where_unknown_variables_are_refused():
    assert set(PLAYED) <= known_variables.PLAYBOOKS | known_variables.ONE_RUN
    assert set(PLAYED) | set(OPTIONS) >= known_variables.PLAYBOOKS | known_variables.ONE_RUN


def test_the_sweep_finds_the_variables_of_the_playbooks():
    assert {"mtls_hosts", "mtls_batch", "mtls_probe_address", "mtls_step", "mtls_warn_days"} <= set(PLAYED)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_a_roles_variable_has_the_default_that_is_specified(name):
    assert VARIABLES[name]["default"] == as_said(OPTIONS[name])


@pytest.mark.parametrize("name", sorted(PLAYED))
def test_a_playbooks_variable_has_the_default_that_is_read(name):
    assert all(VARIABLES[name]["default"] == f"`{default}`" for default in PLAYED[name])


@pytest.mark.parametrize("name", sorted(name for name, spec in OPTIONS.items() if "options" in spec))
def test_it_lists_each_option_of_a_variable(name):
    specified = dict(flat(OPTIONS[name]["options"]))
    if name in WITH_A_TABLE:
        table = rows(section(WITH_A_TABLE[name]))
        assert {option: row["default"] for option, row in table.items()} == {
            option: as_said(spec) for option, spec in specified.items()
        }
    else:
        listed = re.findall(r"`(\w+)`", VARIABLES[name]["says"].partition(": ")[2])
        assert listed == list(OPTIONS[name]["options"])


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_role_has_the_defaults_that_are_specified(role):
    defaults = read_yaml(ROOT / "roles" / role / "defaults" / "main.yml")
    specified = {name: spec["default"] for name, spec in ENTRIES[role, "main"].items() if "default" in spec}
    assert defaults == specified


@pytest.mark.parametrize(("role", "entry"), [key for key in ENTRIES if key[1] != "main"])
def test_no_entry_point_says_the_options_of_main_again(role, entry):
    assert not ENTRIES[role, entry].keys() & ENTRIES[role, "main"].keys()
