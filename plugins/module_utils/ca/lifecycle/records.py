# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of an authority that is taken over, of which several files may hold a part: ``index.txt.old``, a copy.

A revocation that any of them has counts. Who takes a line out of index.txt does not make a certificate good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle.findings import is_former
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, first_few

_FOREIGN = "is the record of another CA"
_SHOWN = 10  # items of a list in a message


@dataclass
class Record:
    """The lines of all files that belong together; ``path`` is the main one, None where there is no record."""

    index: Index
    path: str | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def merge(self, other: Index) -> None:
        """Take what another file of the same record has and this one has not, and say so."""
        added, revoked = [], []
        for entry in self.index.differing(other):
            serial = entry.serial
            if serial not in self.index:
                self.index.add(serial, entry.not_after, entry.subject)
                added.append(serial)
            if entry.revoked_at is None or (entry.on_hold and serial not in added):  # it may be released now
                continue
            known = self.index.get(serial)
            if known is not None and known.needs_revoking(entry.reason):
                self.index.revoke(serial, entry.revoked_at, entry.reason or "unspecified")
                revoked.append(serial)
        if added:
            self.warnings.append(
                f"{other.path}: has {len(added)} certificates that {self.path} does not list any more; they are "
                f"recorded as they are there: {first_few(added, _SHOWN)}"
            )
        if revoked:
            self.warnings.append(
                f"{other.path}: has certificates as revoked, and {self.path} does not; they are revoked: "
                f"{first_few(revoked, _SHOWN)}"
            )


def gather(paths: Iterable[str], issued: Mapping[str, str], place: str) -> Record:
    """Return what the files say of the CA that issued certificates with these serials, with their subjects.

    :arg place: the file that it will be.
    :raises MtlsError: a file that is damaged, or records of several CAs, of which none is known to be the one.
    """
    loaded: dict[str, Index] = {}
    record = Record(Index(place, {}))
    for path in paths:
        try:
            loaded[path] = Index.load(path)
        except MtlsError as error:
            if not is_former(path):
                raise
            record.skipped[path] = f"is an older copy of a record, and damaged: {error}"
    current = [path for path in loaded if not is_former(path)] or list(loaded)
    current = [path for path in current if len(loaded[path])] or current[:1]
    if len(current) > 1:
        ours = [path for path in current if _shares(loaded[path], issued)]
        if not ours:
            raise MtlsError(f"{', '.join(current)}: are the records of several CAs; give one in source")
        record.skipped.update((path, _FOREIGN) for path in current if path not in ours)
        current = ours
    if not current:
        return record
    record.path = max(current, key=lambda path: len(loaded[path]))
    record.index = loaded[record.path].copy(place)
    _check_ours(record, issued)
    for path, index in loaded.items():
        if path == record.path or path in record.skipped:
            continue
        if (
            not len(index)
            or path.startswith(record.path)
            or _shares(index, issued)
            or not index.is_apart_from(record.index)
        ):
            record.merge(index)
        else:
            record.skipped[path] = _FOREIGN
    return record


def _shares(index: Index, subjects: Mapping[str, str]) -> bool:
    """Tell whether a record has a line of one of these serials with the same subject."""
    entries = ((index.get(serial), subjects.get(serial)) for serial in index)
    return any(entry is not None and entry.subject == subject for entry, subject in entries)


def _check_ours(record: Record, issued: Mapping[str, str]) -> None:
    index = record.index
    both = [serial for serial in issued if serial in index]
    if both and not _shares(index, issued):
        entry = index.get(both[0])
        raise MtlsError(
            f"{record.path}: {_FOREIGN}: it has {both[0]} as {entry.subject if entry else ''}, and that certificate "
            f"is {issued[both[0]]}; give the right record in source"
        )
