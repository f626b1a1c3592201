# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What readers take is what was measured, and the pages say so."""

from __future__ import annotations

import pathlib
import re

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import readers

DOCS = pathlib.Path(__file__).parents[6] / "docs"


def test_a_new_key_suits_all_of_them():
    assert readers.key_type_for((), "ed25519") == "ed25519"
    assert readers.key_type_for(("aws", "browser"), "ecdsa") == "ecdsa"
    assert readers.key_type_for(("browser",), "ed25519") == "rsa"
    assert readers.key_type_for(("browser", "gem"), "ecdsa") == "rsa"
    assert all("rsa" in reader.key_types for reader in readers.READERS.values())


@pytest.mark.parametrize("name", readers.READERS)
def test_the_page_has_the_same_table(name):
    text = (DOCS / "devices.md").read_text().partition("## Readers")[2]
    (row,) = re.findall(rf"^\| `{name}` \|[^|]*\|([^|]*)\|([^|]*)\|", text, re.MULTILINE)
    reader = readers.READERS[name]
    assert tuple(re.findall(r"`(\w+)`", row[0])) == reader.key_types
    assert tuple(re.findall(r"`(\w+)`", row[1])) == reader.p12


@pytest.mark.parametrize(("name", "programs"), [("aws", ["awscrt"]), ("browser", ["Chromium", "Firefox", "tstclnt"])])
def test_what_is_let_through_got_in(name, programs):
    """As docs/clients.md has it, whatever the versions of its run."""
    text = (DOCS / "clients.md").read_text().partition("## Which key")[2].partition("\n## ")[0]
    for program in programs:
        (row,) = [line.split(" | ") for line in text.splitlines() if line.startswith(f"| {program}")]
        came = dict(zip(("ecdsa", "rsa", "rsa 4096", "ed25519"), row[2:6], strict=True))
        assert {came[kind] for kind in readers.READERS[name].key_types} == {"200"}
