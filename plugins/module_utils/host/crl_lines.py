# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CRL says, as lines of nginx maps: the controller writes them, and a host that fetches its CRL."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import nginx_quote


def revoked(serials: Iterable[str]) -> str:
    """Return lines for a map of ``$ssl_client_serial``: one for each serial, as nginx writes it."""
    # A set: two CAs may have revoked the same number, and nginx refuses a map with one key twice.
    lines = "".join(f"{serial} 1;\n" for serial in sorted(set(serials)))
    return f"# Managed by mtls.nginx: the serials in crl.pem.\n{lines}"


def ended(end: datetime) -> str:
    """Return a line for a map of ``$msec``: from when on the first of the CRLs has expired."""
    return f"# Managed by mtls.nginx: from {times.iso(end)} on.\n{nginx_quote('~' + since(end))} 1;\n"


def since(moment: datetime) -> str:
    """Return a regular expression for values of ``$msec`` (``1796310000.123``) that are at ``moment`` or later.

    nginx compares no numbers, so this goes through the digits: the same beginning and then a greater digit. Each digit
    is looked at once, because this is asked for each request.
    """
    digits = str(int(moment.timestamp()))
    later = ""
    for place, digit in enumerate(reversed(digits)):
        later = digit + later
        if digit != "9":
            later = f"(?:[{int(digit) + 1}-9]\\d{{{place}}}|{later})"
    return rf"^(?:{later}|\d{{{len(digits) + 1},}})\."
