# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host keeps the public CAs that it trusts."""

from __future__ import annotations

import os

# As Go looks for it: crypto/x509/root_linux.go.
_PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL 8 and 9
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL 10
    "/etc/ssl/cert.pem",  # Alpine without its package
)


def bundle(root: str = "") -> str | None:
    """Return the path of the bundle, None where the host has none; ``root`` is the folder that stands for ``/``."""
    return next((place for place in _PLACES if os.path.isfile(root + place)), None)
