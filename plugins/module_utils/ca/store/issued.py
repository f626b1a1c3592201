# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``newcerts``: a copy of each certificate that was issued, by its serial."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence

from ansible_collections.mtls.nginx.plugins.module_utils.common.parallel import spread

_BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_SEARCHED_AT_ONCE = 1000  # certificates


def find_by_fingerprint(directory: str, fingerprint: str) -> str | None:
    """Return the serial of the certificate in ``directory`` with this fingerprint, or None.

    That takes a second for every 50,000 certificates or so.

    :arg fingerprint: SHA-1 or SHA-256, in lower-case hexadecimal digits.
    """
    if not os.path.isdir(directory):  # an external CA's certificates are not here
        return None
    names = [name for name in os.listdir(directory) if name.endswith(".pem") and name[0] != "."]
    parts = [names[start : start + _SEARCHED_AT_ONCE] for start in range(0, len(names), _SEARCHED_AT_ONCE)]

    def search(part: Sequence[str]) -> str | None:
        return next((name[:-4] for name in part if _has_fingerprint(os.path.join(directory, name), fingerprint)), None)

    return next(filter(None, spread(search, parts)), None)


def _has_fingerprint(path: str, fingerprint: str) -> bool:
    with open(path, "rb") as stream:
        _text, _begin, rest = stream.read().partition(_BEGIN_CERTIFICATE)
    try:
        der = base64.b64decode(rest.partition(b"-----")[0])
    except ValueError:  # no certificate: others complain
        return False
    # Not a matter of security: nginx and people name certificates by SHA-1.
    digest = hashlib.sha1(der, usedforsecurity=False) if len(fingerprint) == 40 else hashlib.sha256(der)
    return digest.hexdigest() == fingerprint
