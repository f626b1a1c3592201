# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What certbot renews for us: its "lineages", each with a file of settings in ``renewal``."""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Collection, Mapping
from typing import Any

CONFIG_DIR = "/etc/letsencrypt"
PREFIX = "mtls-"
_SETTING = re.compile(r"^\s*(?P<name>\S+) = (?P<value>.*?)\s*$", re.MULTILINE)
_SECTION = re.compile(r"^\s*\[+(?P<name>[^\[\]]+)\]+\s*$", re.MULTILINE)


def compare(hook: str, lineages: Mapping[str, Mapping[str, Any]], config_dir: str = CONFIG_DIR) -> dict[str, list[str]]:
    """Return how certbot's settings differ from ``lineages``: what ``own_certificates.renewals`` returns, by name.

    ``outdated`` are those that certbot does not know, cannot renew since their account is not there any more, or would
    renew in another way: elsewhere, for other names, by another folder, with another profile, or without ``hook``.
    ``abandoned`` have that hook, and are not in ``lineages``.
    """
    known = {}
    for path in glob.glob(os.path.join(glob.escape(config_dir), "renewal", f"{PREFIX}*.conf")):
        known[os.path.basename(path)[: -len(".conf")]] = _settings(path)
    command = _bare(command_of(hook))
    return {
        "outdated": sorted(
            name
            for name, wanted in lineages.items()
            if _is_outdated(name, known.get(name), command, wanted, config_dir)
        ),
        "abandoned": sorted(
            name for name, settings in known.items() if settings.get("hook") == command and name not in lineages
        ),
    }


def _is_outdated(
    name: str, there: Mapping[str, Any] | None, command: str, wanted: Mapping[str, Any], config_dir: str
) -> bool:
    if not there:
        return True
    said = {"server": wanted["directory_url"], "profile": wanted["profile"], "hook": command}
    if said != {key: there[key] for key in said}:
        return True
    if not os.path.isdir(os.path.join(config_dir, accounts(wanted["directory_url"]), there["account"] or "")):
        return True
    webroots, names = there["webroots"], wanted["server_names"]
    if any(webroots.get(each) != os.path.normpath(wanted["webroot"]) for each in names):
        return True
    # certbot asks again for the names in the certificate. It keeps the folder of a name that is no longer there; and a
    # name that nobody has asked for is the ACME server's own affair.
    gone = set(webroots).difference(names)
    return bool(gone) and not gone.isdisjoint(_names(os.path.join(config_dir, "live", name, "fullchain.pem")))


def _names(path: str) -> Collection[str]:
    """Return the names of a certificate, none without one."""
    from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates

    try:
        with open(path, "rb") as stream:
            found = certificates.leaf(stream.read())
    except OSError:
        return ()
    return found[1] if found else ()


def accounts(directory_url: str) -> str:
    """Return the folder, below certbot's own, of its accounts at an ACME server."""
    return os.path.join("accounts", directory_url.partition("://")[2].rstrip("/"))


def command_of(hook: str) -> str:
    """Return how a program is called by certbot, which hands a hook to a shell."""
    return shlex.quote(hook)


def _settings(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            _before, *named = _SECTION.split(stream.read())
    except OSError:
        return {}
    sections = {
        name: {match["name"]: _bare(match["value"]) for match in _SETTING.finditer(text)}
        for name, text in zip(named[::2], named[1::2])
    }
    settings = sections.get("renewalparams", {})
    return {
        "server": settings.get("server"),
        "profile": settings.get("required_profile"),
        "hook": settings.get("renew_hook"),
        "account": settings.get("account"),
        # A folder for each name.
        "webroots": {name: os.path.normpath(folder) for name, folder in sections.get("webroot_map", {}).items()},
    }


def _bare(value: str) -> str:
    """Return a value without quotes: certbot's file has more of them, where there are some."""
    return re.sub("[\"']", "", value)
