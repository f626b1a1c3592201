# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``certificate`` of a service: files of the host's own, or ``acme`` with ``mtls_acme``."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import nearest

ACME = "acme"
WEBROOT = "/var/lib/mtls-acme"
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
HTTP_01 = "http-01"
_FILES = ("path", "key")
_OPTIONS = ("email", "directory_url", "profile", "challenge")
_EMAIL = re.compile(r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(r"https://[\w.-]+(?::\d{1,5})?/[\w./~%+-]*|https://\[[0-9a-f:.]+\](?::\d{1,5})?/[\w./~%+-]*")
_PROFILE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class AcmeOrder:
    """How a certificate is obtained: from which ACME server, for whom. ``profile`` is None for the server's default."""

    email: str | None
    directory_url: str
    profile: str | None


def files(where: str, value: t.Any) -> tuple[str, str] | None:
    """Return path and key; None where there are none, or ``acme``.

    :raises MtlsError: it is neither.
    """
    if value is None or value == ACME:
        return None
    if not isinstance(value, Mapping):
        raise MtlsError(
            f"{where}: certificate is neither acme nor a dictionary; write certificate: acme, or path and key of the"
            " certificate that the host has"
        )
    for name in value:
        if name not in _FILES:
            close = nearest(str(name), _FILES)
            hint = f"did you mean {close}?" if close else "there are path and key"
            raise MtlsError(f"{where}: certificate: there is no option {name!r}; {hint}")
    for name in _FILES:
        if not isinstance(value.get(name), str):
            what = "is not text" if value.get(name) is not None else "is missing"
            raise MtlsError(f"{where}: certificate: {name} {what}; give path and key")
    return value["path"], value["key"]


def order(
    where: str, own: Mapping[str, t.Any] | None, defaults: Mapping[str, t.Any] | None, server_names: Sequence[str]
) -> AcmeOrder:
    """Return how the certificate of a service is obtained: by its ``acme``, and ``mtls_acme`` for what that leaves out.

    :raises MtlsError: no ACME server could understand it, or ``http-01`` cannot prove these names (RFC 8555, 8.3).
    """
    said = {name: next((each[name] for each in (own, defaults) if each and each.get(name)), None) for name in _OPTIONS}
    email, url, profile = said["email"], said["directory_url"] or LETS_ENCRYPT, said["profile"]
    for name, value, pattern, form in (
        ("email", email, _EMAIL, "write it as ana@example.com"),
        ("directory_url", url, _URL, "write it as https://acme.example.com/directory"),
        ("profile", profile, _PROFILE, "write its name, such as shortlived"),
    ):
        if value is not None and not pattern.fullmatch(value):
            raise MtlsError(f"{where}: acme: {name} {value!r} is not valid; {form}")
    for name in server_names:
        if name.startswith("*."):
            raise MtlsError(
                f"{where}: certificate: acme cannot get a certificate for {name}, since http-01 cannot prove a "
                "wildcard; list the host names, or have an ACME client of yours use dns-01 and give its files as path "
                "and key"
            )
        if "." not in name or ":" in name or name.replace(".", "").isdigit():
            raise MtlsError(
                f"{where}: certificate: acme needs public host names, and {name} is not one; remove certificate, and "
                "the authority issues one"
            )
    return AcmeOrder(email, url, profile)
