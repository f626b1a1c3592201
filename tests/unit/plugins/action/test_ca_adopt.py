# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the adoption of a large folder is, while Ansible shows nothing."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.action import ca_adopt
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import findings
from ansible_collections.mtls.nginx.tests.unit.actions import Controller
from ansible_collections.mtls.nginx.tests.unit.support import tree


@pytest.fixture
def shown(monkeypatch) -> list[str]:
    lines: list[str] = []

    def display(_self, text, **_options) -> None:
        if text.startswith("ca_adopt: "):
            lines.append(text)

    monkeypatch.setattr(ca_adopt.Display, "display", display)
    return lines


@pytest.fixture
def run(tmp_path, pki, monkeypatch):
    pki.serve(*(Client(f"phone-{number}", p12="none") for number in range(6)))
    for number in range(1000):
        (pki.path / "newcerts" / f"copy-{number}.pem").hardlink_to(pki.path / "ca.crt")
    monkeypatch.setattr(findings, "_TOLD_AFTER", 100)
    controller = Controller(tmp_path / "site", {"nas": {}})
    return lambda **options: controller.run(
        "ca_adopt", path=str(tmp_path / "adopted"), source=[str(pki.path)], **options
    )


@pytest.mark.parametrize("check", [True, False])
def test_a_folder_of_many_files_is_told(run, shown, pki, tmp_path, monkeypatch, check):
    monkeypatch.setattr(ca_adopt, "_FIRST", 0.0)
    monkeypatch.setattr(ca_adopt, "_TELL", 0.0)
    before = tree(pki.path)
    assert run(check=check)["changed"]
    assert "ca_adopt: 100 of 1,0" in shown[0]
    assert shown[0].endswith(" files read")
    assert any(line.endswith(" certificates verified") for line in shown)
    assert any(line.endswith(" files written") for line in shown) is not check
    assert (tmp_path / "adopted").exists() is not check
    assert tree(pki.path) == before


def test_one_that_is_over_at_once_is_not(run, shown):
    assert run()["changed"]
    assert shown == []


def test_lines_come_seconds_apart(run, shown, monkeypatch):
    monkeypatch.setattr(ca_adopt, "_FIRST", 0.0)
    assert run()["changed"]
    assert len(shown) == 1
