# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The beginners' mistakes that are found in the inventory; and docs/troubleshooting.md explains all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import InventoryReader
from ansible_collections.mtls.nginx.tests.mistakes import (
    FROM_AN_ACME_SERVER,
    IN_A_RUN,
    IN_THE_INVENTORY,
    good,
    pattern,
)
from ansible_collections.mtls.nginx.tests.unit.support import read_yaml

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `+ ?(.+?) ?`+ \| (.+?) \| (.+?) \|$", re.MULTILINE)


OPTIONS = {
    role: read_yaml(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    for role in ("ca", "server")
}


def plan(variables):
    reader = InventoryReader(ca_spec=OPTIONS["ca"], server_spec=OPTIONS["server"])
    return reader.plan({"nas": variables}, {"nas": "/inventory"})


def test_without_a_mistake_there_is_a_plan():
    assert plan(good())


@pytest.mark.parametrize("message", IN_THE_INVENTORY)
def test_a_mistake_gets_its_message(message):
    variables = good()
    IN_THE_INVENTORY[message](variables)
    with pytest.raises(MtlsError) as caught:
        plan(variables)
    said = str(caught.value)
    assert pattern(message).search(said), said
    assert "\n" not in said
    assert len(said) < 300


def test_the_page_explains_each_of_them_and_no_others():
    rows = ROW.findall((ROOT / "docs" / "troubleshooting.md").read_text())
    explained = [message for message, _why, _remedy in rows]
    assert len(set(explained)) == len(explained)
    assert set(explained) == {*IN_THE_INVENTORY, *IN_A_RUN, *FROM_AN_ACME_SERVER}
    assert len(explained) >= 40


def test_nothing_else_in_its_tables():
    """Each row of a table is one that the test above has read."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(lines) == len(ROW.findall(text))
