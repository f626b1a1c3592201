# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much is tried: the same few examples in every run, many new ones in the long trials (``pytest -m long``)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_COMMON = {
    "deadline": timedelta(seconds=20),  # hostile input must not cost time
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    "database": None,
}
settings.register_profile("brief", max_examples=50, derandomize=True, **_COMMON)
settings.register_profile("thorough", max_examples=300, print_blob=True, **_COMMON)


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("thorough" if _is_long(config) else "brief")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """These are long trials, too."""
    if _is_long(config):
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker("long")


def _is_long(config: pytest.Config) -> bool:
    return config.option.markexpr == "long"
