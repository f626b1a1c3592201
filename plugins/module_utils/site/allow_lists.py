# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is on an allow list: clients of the inventory by name, and whoever is not in it, or not fully, by subject.

A subject may be one that ``subject`` of a client cannot say: two attributes in one RDN, an attribute that is not known
here, or the same attribute in two places.
"""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import chains
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import nginx_dn_of, respelled
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

DN, CERTIFICATE = "dn", "certificate"
# As it comes from a certificate, in nginx's spelling (nginx fact 1.2).
PRINT_DN = "openssl x509 -noout -subject -nameopt RFC2253 -in FILE"


@dataclass(frozen=True)
class AllowList:
    """Names of clients, and subjects in nginx's DN format."""

    names: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anybody on it."""
        return bool(self.names or self.subjects)

    def has(self, name: str | None, dn: str | None) -> bool:
        """Whether a client is on it, by its name or its subject. nginx's maps ignore case."""
        return name in self._names or (dn is not None and dn.lower() in self._keys)

    @functools.cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.names)

    @functools.cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(dn.lower() for dn in self.subjects)


def parse(where: str, raw: Sequence[t.Any], place: t.Callable[[str, str], str]) -> AllowList:
    """Return an allow list as the inventory has it: names, and dictionaries with ``dn`` or ``certificate``.

    :arg place: returns the full path of a file, of what it is and its path as it was written.
    :raises MtlsError: an item that is nothing of these, or a file that is no certificate.
    """
    names: dict[str, None] = {}
    subjects: dict[str, str] = {}
    for number, item in enumerate(raw, 1):
        if isinstance(item, Mapping):
            dn = _subject(f"{where}, item {number}", item, place)
            subjects.setdefault(dn.lower(), dn)  # a map with a key twice is an error to nginx
        elif isinstance(item, (str, int)) and not isinstance(item, bool):
            names[str(item)] = None
        else:
            raise MtlsError(f"{where}, item {number}: {_HINT}")
    return AllowList(tuple(names), tuple(subjects.values()))


_HINT = "is not the name of a client; write a name, or a dictionary of dn or certificate"


def _subject(where: str, item: Mapping[t.Any, t.Any], place: t.Callable[[str, str], str]) -> str:
    given = {key: value for key, value in item.items() if value is not None}
    if len(given) != 1 or not given.keys() <= {DN, CERTIFICATE}:
        raise MtlsError(f"{where}: has {', '.join(map(repr, item)) or 'nothing in it'}; give it {DN} or {CERTIFICATE}")
    ((kind, value),) = given.items()
    if not isinstance(value, str):
        raise MtlsError(f"{where}: {kind} is {value!r}, not text; put it in quotes")
    if kind == CERTIFICATE:
        path = place(f"{where}: {CERTIFICATE}", value)
        try:
            return nginx_dn_of(chains.read_one(path))
        except MtlsError as error:
            raise MtlsError(f"{where}: {error}") from None
    written = respelled(value)
    if written is None:
        raise MtlsError(f"{where}: dn {value!r} is not a subject; print the certificate's with: {PRINT_DN}")
    if written != value:
        raise MtlsError(
            f"{where}: dn {value!r} is not in nginx's DN format, in which it may be {written!r}, or the same in "
            "another order;"
            f" print the certificate's with: {PRINT_DN}"
        )
    return value
