# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that must be what somebody wrote: YAML reads ``012345`` as 5349, ``12:30:45`` as 45045 and ``yes`` as true.

Ansible makes text of these again, which is another one: a passphrase that nobody knows, the serial of somebody else. So
what arrives as a number, a truth value or a list is refused, before Ansible's validation hides what it was.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

_IDENTIFIERS = frozenset({"serial", "fingerprint", "anything"})
_NOT_TEXT = (bool, int, float, datetime.date)


def check(
    where: str, value: Any, spec: Mapping[str, Any], name: str, follow: Callable[[Any], Any] = lambda given: given
) -> None:
    """Raise MtlsError unless secrets and serials in the value of an option are texts, at any depth.

    :arg where: the beginning of the error; it never shows a secret.
    :arg spec: the argument specification of the option ``name``.
    :arg follow: returns what a value stands for, for instance the variable that a template names.
    """
    value = follow(value)
    if is_secret(spec) and isinstance(value, (Mapping, list, tuple)):
        raise MtlsError(f"{where}: is a list or a dictionary, and not one text; write it in quotes")
    if isinstance(value, Mapping):
        for key, below in (spec.get("options") or {}).items():
            if key in value:
                check(f"{where}, {key}", value[key], below, key, follow)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value, 1):
            check(f"{where}, item {number}", item, spec, name, follow)
    elif is_secret(spec) or name in _IDENTIFIERS:
        _check_text(where, value, shown=not is_secret(spec))


def is_secret(spec: Mapping[str, Any]) -> bool:
    """Tell whether an option is a secret text."""
    return bool(spec.get("no_log")) and spec.get("type", "str") == "str"


def _check_text(where: str, value: Any, *, shown: bool) -> None:
    if isinstance(value, _NOT_TEXT):
        read = f" ({value})" if shown else ""
        raise MtlsError(
            f"{where}: is not text, since without quotes YAML reads it as a number, a date or yes and no{read}; "
            "put it in quotes"
        )
    if not shown and isinstance(value, str) and value.endswith(("\n", "\r")):
        raise MtlsError(f"{where}: ends with a line break, which is a part of the secret; put it in quotes on one line")
