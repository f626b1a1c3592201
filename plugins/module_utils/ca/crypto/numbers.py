# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serial and CRL numbers, and the files ``serial`` and ``crlnumber`` in which openssl counts them on.

One spelling everywhere: upper-case hexadecimal with an even number of digits, as in ``index.txt``,
``newcerts/<SERIAL>.pem`` and nginx's ``$ssl_client_serial``.
"""

from __future__ import annotations

import re
import secrets

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

_LARGEST = 1 << 159  # 20 octets with the sign bit clear: RFC 5280, 4.1.2.2
_SEQUENTIAL_BELOW = 1 << 64


def hexadecimal(number: int) -> str:
    """Return the one spelling of ``number``."""
    text = f"{number:X}"
    return text if len(text) % 2 == 0 else "0" + text


def parse_serial(text: str) -> str:
    """Return the one spelling of a serial that a person typed: any case, with colons, spaces or ``0x``.

    :raises MtlsError: not a hexadecimal number.
    """
    digits = re.sub(r"[:\s]", "", text).lower().removeprefix("0x")
    if not re.fullmatch("[0-9a-f]{1,64}", digits):
        raise MtlsError(f"serial {text!r}: is not hexadecimal; copy it from index.txt, in quotes")
    return hexadecimal(int(digits, 16))


def random_serial() -> int:
    """Return a random serial number of 71 bits, the first of them set: nine octets, as many in every one.

    The CA/Browser Forum wants 64 random bits (Baseline Requirements, 7.1). More only make the CRL longer, which each
    full handshake hashes, and each line of the log.
    """
    return 1 << 70 | secrets.randbits(70)


def is_allowed(number: int) -> bool:
    """Tell whether a certificate may have this serial number (RFC 5280, 4.1.2.2)."""
    return 0 < number < _LARGEST


def is_sequential(number: int) -> bool:
    """Tell whether a ``serial`` file that holds ``number`` counts up, or holds a random number."""
    return number < _SEQUENTIAL_BELOW


def read_number(path: str) -> int:
    """Return the number in one of openssl's number files.

    :raises MtlsError: the file holds something else.
    """
    with open(path, encoding="ascii", errors="replace") as stream:
        text = stream.read(200).strip()
    if not re.fullmatch("[0-9A-Fa-f]{1,40}", text):
        raise MtlsError(f"{path}: holds {text[:50]!r}, not a hexadecimal number; restore it from a backup")
    return int(text, 16)


def check_crl_number(number: int, path: str) -> None:
    """Raise MtlsError for a CRL number that is larger than RFC 5280, 5.2.3, allows."""
    if number >= _LARGEST:
        raise MtlsError(f"{path}: holds {number:X}, and a CRL number has 20 octets at most; restore it from a backup")


def write_number(path: str, number: int) -> None:
    """Write one of openssl's number files, durably."""
    files.write_file(path, f"{hexadecimal(number)}\n".encode(), 0o600)
