# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorities for tests, in a directory, as `ca_init` makes them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority


def new_authority(
    path: str | os.PathLike[str],
    subject: Mapping[str, str],
    *,
    passphrase: str | None = None,
    days: int = 3650,
    crl_days: int = 30,
    key_type: str = "ecdsa",
    key: keys.KeyKind | None = None,
) -> None:
    """Make an authority with a P-256 key, or one of another type, or bring one into line with what is wanted."""
    wanted = WantedAuthority(str(path), subject, key or keys.KeyKind(key_type), passphrase, days, crl_days)
    creation.ensure(wanted, check=False)
