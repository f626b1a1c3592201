# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long lists of dictionaries that are plainly valid: Ansible's validator takes twenty times as long for them.

Only what needs no conversion is taken here. All else is left to the validator, which knows what to say of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Optional

_CLASSES = {"str": str, "int": int, "bool": bool, "dict": dict, "path": str, "list": list}
# An option with anything else is left to the validator.
_KNOWN = frozenset({"type", "elements", "default", "required", "choices", "no_log", "description", "version_added"})
_LINE_ENDS = ("\n", "\r")

_Option = tuple[Optional[type], Mapping[str, Any]]  # the class of its values, None where the validator has to look


def set_aside(
    specs: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]], set[str]]:
    """Return what is for the validator, with empty lists for what is valid; that, as it would return it; its secrets.

    :arg specs: an argument specification.
    :arg given: values by option, of Python's own classes.
    """
    rest, valid, secrets = dict(given), {}, set()
    for name, spec in specs.items():
        found = validated(spec, given.get(name))
        if found is not None:
            rest[name] = []
            valid[name] = found[0]
            secrets |= found[1]
    return rest, valid, secrets


def validated(spec: Mapping[str, Any], value: Any) -> tuple[list[dict[str, Any]], set[str]] | None:
    """Return what Ansible's validator makes of the value of an option that lists dictionaries, and the secrets in it.

    Return None where the validator itself has to look: the list, or something in it, may be wrong or be converted.
    """
    options = spec.get("options")
    if spec.get("type") != "list" or spec.get("elements") != "dict" or not options or value.__class__ is not list:
        return None
    if spec.get("no_log") or not spec.keys() <= _KNOWN | {"options"}:
        return None  # rules about several options together, for instance
    rules: dict[str, _Option] = {name: (_class_of(option), option) for name, option in options.items()}
    required = [name for name, option in options.items() if option.get("required")]
    # In the order in which the validator adds what is missing.
    defaults = [(name, option["default"]) for name, option in options.items() if option.get("default") is not None]
    defaults += [(name, None) for name, option in options.items() if option.get("default") is None]
    if not all(_is_plain_default(*rules[name], default) for name, default in defaults):
        return None
    secrets: set[str] = set()
    items = []
    for given in value:
        item = _item(given, rules, secrets)
        if item is None or not all(name in item for name in required):
            return None
        for name, default in defaults:
            item.setdefault(name, copy.copy(default))
        items.append(item)
    return items, secrets


def _class_of(option: Mapping[str, Any]) -> type | None:
    if not option.keys() <= _KNOWN or option.get("elements", "str") != "str":
        return None
    return _CLASSES.get(option.get("type", "str"))


def _is_plain_default(kind: type | None, option: Mapping[str, Any], default: Any) -> bool:
    if default is None:
        return not option.keys() & {"apply_defaults", "fallback", "aliases", "deprecated_aliases"}
    return kind in (str, int, bool, list) and not option.get("no_log") and _fits(default, kind, option)


def _item(given: Any, rules: Mapping[str, _Option], secrets: set[str]) -> dict[str, Any] | None:
    """Return a copy of one dictionary, or None where the validator has to look at it."""
    if given.__class__ is not dict:
        return None
    item: dict[str, Any] = {}
    for name, value in given.items():
        kind, option = rules.get(name, (None, {}))
        if kind is None or not _fits(value, kind, option):
            return None
        if option.get("no_log"):
            if kind is not str or value.endswith(_LINE_ENDS):
                return None
            secrets.update([value] if value else [])
        item[name] = copy.deepcopy(value) if kind in (dict, list) else value
    return item


def _fits(value: Any, kind: type | None, option: Mapping[str, Any]) -> bool:
    """Tell whether a value stays as it is."""
    if value.__class__ is not kind:
        return False
    if option.get("type") == "path" and isinstance(value, str) and ("~" in value or "$" in value):
        return False  # the validator replaces them
    choices = option.get("choices")
    if value.__class__ is list:
        return all(each.__class__ is str and (choices is None or each in choices) for each in value)
    return choices is None or value in choices
