# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reads a client's files, as far as that was measured: which keys it takes, and which kinds of ``.p12``.

Measured in docs/clients.md (browsers, aws), docs/devices.md (gnome, gpgsm) and docs/programs.md (gem).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import p12
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError


class Reader(NamedTuple):
    """How errors name it, the key types that it takes, and its kinds of .p12: none if it takes PEM files."""

    title: str
    key_types: tuple[str, ...]
    p12: tuple[str, ...] = ()


# All of them take RSA, so there is a key for any of them together.
READERS = {
    "aws": Reader("AWS's SDKs, with s2n, take", (keys.RSA, keys.ECDSA)),
    "browser": Reader("Chromium and Firefox take", (keys.RSA, keys.ECDSA), (p12.COMPATIBLE, p12.MODERN)),
    "gem": Reader("gem and bundler of Debian 12 take", (keys.RSA,)),
    "gnome": Reader("GNOME's certificate viewer takes", (keys.RSA,), (p12.COMPATIBLE,)),
    "gpgsm": Reader("gpgsm before 2.4 takes", (keys.RSA,), (p12.COMPATIBLE,)),
}


def key_type_for(used_by: Iterable[str], usual: str) -> str:
    """Return the type of a new key that nobody has chosen: the ``usual`` one, if all these readers take it."""
    return usual if all(usual in READERS[name].key_types for name in used_by) else keys.RSA


def check_key(owner: str, used_by: Iterable[str], key_type: str, because: str, remedy: str) -> None:
    """Raise MtlsError for a key that one of these readers does not take; ``because`` is what says it has that key."""
    for name in used_by:
        reader = READERS[name]
        if key_type not in reader.key_types:
            raise MtlsError(
                f"{owner}: {because}, and {reader.title} {_said(reader.key_types)} keys only (used_by: {name});"
                f" {remedy}, or remove {name} from used_by"
            )


def check_p12(owner: str, used_by: Iterable[str], kind: str) -> None:
    """Raise MtlsError for a kind of .p12, or none, from which one of these readers cannot be given the key."""
    for name in used_by:
        reader = READERS[name]
        if reader.p12 and kind not in reader.p12:
            raise MtlsError(
                f"{owner}: p12 is {kind}, and {reader.title} a .p12 of the kind {_said(reader.p12)} (used_by: {name});"
                f" set p12: {reader.p12[0]}, or remove {name} from used_by"
            )


def _said(words: Sequence[str]) -> str:
    return " or ".join(words)
