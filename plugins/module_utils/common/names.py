# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of clients, services and hosts: which are allowed, which collide, which was probably meant."""

from __future__ import annotations

import difflib
import ipaddress
import re
import unicodedata
from collections.abc import Iterable

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

MAX_CLIENT_NAME = 64  # characters: ub-common-name, RFC 5280 appendix A.1
_MAX_CLIENT_NAME_BYTES = 200  # a file name has 255; "<name>-<serial>.key" and "<name>.p12.password" must fit
_RESERVED_CLIENT_NAMES = frozenset({"register.json", "handouts.json", "renewals.json"})
_PLAIN_CLIENT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.@-]{0,63}", re.ASCII)  # of which most are
# With "mtls_" and "_state" around it, a name of 32 still fits nginx's default variables_hash_bucket_size.
_SERVICE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")


def is_address(name: str, *, zone: bool = False) -> bool:
    """Tell whether it is an IP address. nginx knows no zones, and for ipaddress any text after a ``%`` is one."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return zone or "%" not in name


def check_client_name(name: object) -> None:
    """Raise MtlsError unless ``name`` can be a file name and a certificate's CN."""
    if not isinstance(name, str):
        raise MtlsError(f"client name {name!r}: is a {type(name).__name__}, not text; put it in quotes")
    trouble = _client_name_trouble(name)
    if trouble:
        raise MtlsError(f"client name {name!r}: {trouble}")


def _client_name_trouble(name: str) -> str | None:
    if _PLAIN_CLIENT_NAME.fullmatch(name) and name not in _RESERVED_CLIENT_NAMES:
        return None
    if not name:
        return "is empty; give the client a name"
    if name.strip() != name:
        return "begins or ends with a space; remove it"
    if name.startswith("."):
        return "begins with a dot; choose a name that can be a visible file"
    if "/" in name:
        return "contains '/', and the name is a file name; replace it, for instance with '-'"
    if not name.isprintable():
        return "contains a control or invisible character; retype it"
    if len(name) > MAX_CLIENT_NAME:
        return f"has {len(name)} characters, and X.509 allows a CN at most {MAX_CLIENT_NAME}; shorten it"
    if len(name.encode()) > _MAX_CLIENT_NAME_BYTES:
        return f"needs {len(name.encode())} bytes as a file name, {_MAX_CLIENT_NAME_BYTES} are possible; shorten it"
    if name in _RESERVED_CLIENT_NAMES:
        return "is the name of a file the authority keeps; choose another one"
    return None


def check_service_name(name: object) -> None:
    """Raise MtlsError unless ``name`` can be part of a file name and of nginx variable names."""
    if not isinstance(name, str) or not _SERVICE_NAME.fullmatch(name):
        raise MtlsError(f"service name {name!r}: use lower-case letters, digits and dashes inside, 32 at most")


def fold(name: str) -> str:
    """Return what two names share when they differ only in case or in the composition of accents.

    nginx maps ignore case (nginx fact A3), and so do some file systems.
    """
    return unicodedata.normalize("NFC", name).casefold()


def check_no_collision(names: Iterable[str]) -> None:
    """Raise MtlsError when two different names of ``names`` fold to the same one."""
    names = list(names)
    # All at once: nothing is composed with a line feed, and casefold knows no neighbours.
    folded = fold("\n".join(names)).split("\n")
    if len(set(folded)) == len(folded) == len(names):
        return
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(fold(name), name)
        if other != name:
            raise MtlsError(
                f"client names {other!r} and {name!r} differ only in case, and nginx maps ignore case; rename one"
            )


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate whose spelling is closest to ``name``, or None when none is close."""
    by_folded = {fold(candidate): candidate for candidate in candidates}
    found = difflib.get_close_matches(fold(name), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None
