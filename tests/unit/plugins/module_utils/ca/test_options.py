# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of all backends: no secret is ever shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca import options

SECRETS = {"pin", "token", "secret_id", "passphrase", "ca_passphrase"}


def flat(specs: Mapping[str, Mapping[str, Any]], above: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, spec in specs.items():
        yield f"{above}{name}", spec
        yield from flat(spec.get("options", {}), f"{above}{name}.")


ALL = dict(flat({**options.AUTHORITY_OPTIONS, "parent": options.PARENT_OPTION}))


def test_there_is_one_set_for_each_backend() -> None:
    assert set(options.BACKENDS) == {
        "directory",
        *(name[3:] for name in ALL if name in {f"ca_{b}" for b in options.BACKENDS}),
    }
    assert ALL["ca_backend"]["choices"] == list(options.BACKENDS)


@pytest.mark.parametrize("name", sorted(ALL))
def test_secrets_are_not_logged_and_nothing_else_is_hidden(name: str) -> None:
    # A token of PKCS #11 is a device's label.
    secret = name.rpartition(".")[2] in SECRETS and name not in ("ca_pkcs11.token", "parent.pkcs11.token")
    assert ALL[name].get("no_log", False) is secret
