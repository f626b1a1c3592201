# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets open nothing, and give way to what the inventory says."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.presets import ADMIN_PANEL, PRESETS, with_preset
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service, parse_services

NAS = {"name": "nas", "server_names": ["nas.lan"], "upstream": "http://127.0.0.1:1"}
OPENING = {"public_paths", "exempt_networks", "cors_preflight", "allow", "paths", "identity_headers", "state"}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_opens_nothing(preset):
    assert PRESETS[preset].keys() <= Service.__dataclass_fields__.keys() - OPENING


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_service_has_what_its_preset_says(preset):
    (service,) = parse_services("web", [{**NAS, "preset": preset, "allow": ["phone"]}])
    assert {option: getattr(service, option) for option in PRESETS[preset]} == PRESETS[preset]


def test_the_inventory_counts_more():
    raw = {**NAS, "preset": "nextcloud", "max_body_size": "1m", "read_timeout": None}
    found = with_preset(raw)
    assert (found["max_body_size"], found["read_timeout"], found["request_buffering"]) == ("1m", 3600, False)


def test_an_admin_panel_wants_an_allow_list():
    with pytest.raises(MtlsError, match="host web, service nas: the preset admin_panel wants an allow list"):
        parse_services("web", [{**NAS, "preset": ADMIN_PANEL}])
