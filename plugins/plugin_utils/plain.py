# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values without what Ansible attaches to them."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

_OVERRIDES = "#jinja2:"  # begins a text that says how its own template is written


def plain(value: t.Any) -> t.Any:
    """Return a value without what ansible-core 2.19 and newer attach to it: mostly its file and line.

    The argument validator copies all of that for each value, which takes longer than all else for long lists.
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, str):
        return str.__str__(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)  # of a secret in a vault, its text; of a date, how a module would be given it


def is_plain(value: t.Any) -> bool:
    """Tell whether a variable is what the inventory says, without a template or a vault's secret anywhere in it."""
    if isinstance(value, str):
        return "{" not in value and not value.startswith(_OVERRIDES)
    if isinstance(value, dict):
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float))
