# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CRL once more, as lines of nginx maps that are looked at for each request.

nginx asks the CRL at full handshakes only. Another server block of the same socket may keep sessions, and a resumed
one keeps the verdict of its first handshake, even after the certificate is revoked or the CRL has expired.
"""

from __future__ import annotations

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, numbers
from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_lines


def revoked_lines(crl_pem: str, path: str) -> str:
    """Return lines for a map of ``$ssl_client_serial``: one for each certificate that the CRLs list."""
    return crl_lines.revoked(
        numbers.hexadecimal(entry.serial_number)
        for crl in crls.parse_crls(crl_pem.encode(), path)
        for entry in crl.parsed
    )


def ended_lines(crl_pem: str, path: str) -> str:
    """Return a line for a map of ``$msec``: from when on the first of the CRLs has expired."""
    return crl_lines.ended(min(crls.state_of(crl).next_update for crl in crls.parse_crls(crl_pem.encode(), path)))
