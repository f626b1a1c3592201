# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command must be told to read the same inventory, in the words of a shell."""

from __future__ import annotations

import pytest
from ansible import context
from ansible.utils.context_objects import CLIArgs

from ansible_collections.mtls.nginx.plugins.plugin_utils.command_line import same_options


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"inventory": ["{here}/inventory/hosts.yml"]}, "-i inventory/hosts.yml"),
        ({"inventory": ["/srv/my hosts.yml", "a.lan,"]}, "-i '/srv/my hosts.yml' -i a.lan,"),
        (
            {
                "inventory": ["{here}/hosts"],
                "vault_ids": ["prod@prompt"],
                "vault_password_files": ["{here}/.vault"],
                "become_ask_pass": True,
                "ask_vault_pass": False,
                "ask_pass": True,
            },
            "-i hosts --vault-id prod@prompt --vault-password-file .vault -K -k",
        ),
    ],
)
def test_same_options(tmp_path, monkeypatch, given, options):
    monkeypatch.chdir(tmp_path)
    filled = {
        name: [item.format(here=tmp_path) for item in value] if isinstance(value, list) else value
        for name, value in given.items()
    }
    monkeypatch.setattr(context, "CLIARGS", CLIArgs(filled))
    assert same_options() == options


def test_the_inventory_of_ansible_cfg_is_named_too(monkeypatch):
    monkeypatch.setattr(context, "CLIARGS", CLIArgs({}))
    assert same_options() == "-i /etc/ansible/hosts"
