# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients of an authority as a host sees them, before and after a run: whose certificate is good at its gate.

Read from the authority's directory, without its key and without its lock.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import read_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import Published
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import subjects
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.chains import read_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import revoking
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.ownership import Ownership
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import Layout
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site.access_plan import EXPIRED, REVOKED, Person

# An environment variable with the time at which the run began, in seconds since 1970: the summary's callback sets it.
RUN_BEGAN = "MTLS_RUN_BEGAN"
_EARLIER = times.CLOCK_SKEW.total_seconds() + 3600  # by which a certificate begins before it is issued, at most


@dataclass(frozen=True)
class Turn:
    """What a run does to certificates, seen from one host: sets of serials.

    ``added`` and ``removed`` are those by which its new CRL differs from the one that it has. ``revoking`` and
    ``releasing`` are what check mode foresees. ``clients`` are the inventory's, which get a certificate in check mode;
    None where they have theirs. ``began`` is when the run began, in seconds since 1970: what was issued since then let
    nobody in before.
    """

    added: Collection[str] = ()
    removed: Collection[str] = ()
    revoking: Collection[str] = ()
    releasing: Collection[str] = ()
    clients: Sequence[Mapping[str, Any]] | None = None
    began: float | None = None


def people_of(path: str, turn: Turn) -> list[Person]:
    """Return the clients of the authority in ``path``, and whoever else the run revokes or releases.

    :raises MtlsError: the authority's files cannot be read.
    """
    foreseen = {client["name"]: client for client in turn.clients or ()}
    if not os.path.exists(Layout(path).certificate):
        return [_newcomer(client) for client in foreseen.values()]
    found = _Clerk(path, turn).clients()
    people = [_person(name, kept, foreseen.get(name)) for name, kept in found.items()]
    return [*people, *(_newcomer(foreseen[name]) for name in foreseen.keys() - found.keys())]


def anything_issued(path: str, began: float) -> bool:
    """Tell whether a certificate was issued since ``began``, which costs one look at the directory."""
    directories = [path, handover.next_path(path)]
    return any(_changed_since(Layout(directory).issued, began) for directory in directories)


def is_renewed(path: str, began: float) -> bool:
    """Tell whether the authority's certificates or CRL were written since ``began``."""
    layout = Layout(path)
    return any(_changed_since(each, began) for each in (layout.certificate, layout.crl))


def _changed_since(path: str, moment: float) -> bool:
    try:
        return os.stat(path).st_mtime >= moment
    except OSError:
        return False


def _issued_since(path: str, moment: float) -> bool:
    """Tell whether a certificate is new: a file that is may be a copy, of a server's record for instance."""
    if not _changed_since(path, moment):
        return False
    begin = read_certificates(path)[0].not_valid_before_utc
    return begin.timestamp() >= moment - _EARLIER


def foreseen_revocations(path: str, items: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return, by serial, what ``mtls_revoked`` would do to certificates: revoke or release them.

    What cannot be found, or is not plain, the module ``crl`` has refused before.
    """
    if not os.path.exists(Layout(path).certificate) or Layout(path).is_trusted():
        return {}
    finder = revoking.Finder.of_published(path, read_authority(path))
    actions: dict[str, str] = {}
    for item in items:
        try:
            actions.update((each.serial, each.action) for each in finder.find(revoking.RevocationRequest.of(item)))
        except MtlsError:
            continue
    return {serial: action for serial, action in actions.items() if action != revoking.UNCHANGED}


@dataclass
class _Kept:
    """What is known of one client: its subjects, and whether one of its certificates is good."""

    subjects: dict[str, None] = field(default_factory=dict)
    before: bool = False
    after: bool = False
    why: str = EXPIRED


class _Clerk:
    """Looks up the certificates of an authority's clients; during a rollover, those of both authorities."""

    def __init__(self, path: str, turn: Turn) -> None:
        directories = [path, handover.next_path(path)] if handover.is_begun(path) else [path]
        self._layouts = [Layout(directory) for directory in directories]
        self._turn = turn
        self._now = times.now()
        self._published: Published = read_authority(path)
        self._record = self._published.record
        self._ownership = Ownership.of(path, self._record, self._now)
        self._found: dict[str, _Kept] = {}
        self._touched = {*turn.added, *turn.removed, *turn.revoking, *turn.releasing}
        # None where nothing was issued: then no certificate need be looked at.
        self._began = turn.began if turn.began is not None and anything_issued(path, turn.began) else None

    def clients(self) -> dict[str, _Kept]:
        """Return what is known of each client, by name."""
        seen: set[str] = set()
        for name in self._published.names():
            kept = self._found[name] = _Kept()
            held = self._published.holders(name)
            kept.subjects.update((holder.dn, None) for holder in held)
            if any(not holder.serial for holder in held):  # an external CA's, of which the CRL alone knows
                kept.before = kept.after = True
                continue
            if held and all(self._is_simply_good(holder.serial) for holder in held):  # nearly all of them
                kept.before = kept.after = True
                continue
            entries = [entry for entry in (self._record.get(holder.serial) for holder in held) if entry]
            serials = self._ownership.serials_of(name, {entry.subject for entry in entries})
            seen.update(serials)
            for serial in serials:
                self._note(kept, serial)
        for serial in sorted(self._touched - seen):
            entry = self._record.get(serial)
            if entry is not None:  # a former one, or one that was made by hand
                name = self._ownership.holder(serial, entry.subject)
                self._note(self._found.setdefault(name, _Kept()), serial)
        return self._found

    def _is_simply_good(self, serial: str) -> bool:
        """Tell whether a certificate let somebody in before, and will."""
        entry = self._record.get(serial)
        return (
            entry is not None
            and entry.status != "revoked"
            and entry.not_after > self._now
            and serial not in self._touched
            and not self._is_new(serial)
        )

    def _note(self, kept: _Kept, serial: str) -> None:
        turn, entry = self._turn, self._record.get(serial)
        if entry is None:
            return
        kept.subjects[subjects.dn_of_index_subject(entry.subject)] = None
        if entry.not_after <= self._now:
            return
        valid = self._record.is_valid(serial)
        if not valid or serial in turn.revoking:
            kept.why = REVOKED
        if serial in turn.releasing or (valid and serial not in turn.revoking):
            kept.after = True
        was_good = serial in turn.added or (valid and serial not in turn.removed)
        if was_good and not self._is_new(serial):
            kept.before = True

    def _is_new(self, serial: str) -> bool:
        began = self._began
        return began is not None and any(
            _issued_since(layout.issued_certificate(serial), began) for layout in self._layouts
        )


def _person(name: str, kept: _Kept, foreseen: Mapping[str, Any] | None) -> Person:
    person = Person(name, tuple(kept.subjects), kept.before, kept.after, kept.why)
    if foreseen is None:
        return person
    if foreseen.get("state") == "revoked":
        return replace(person, after=False, why=REVOKED)
    subject = _newcomer(foreseen).subjects if foreseen.get("subject") else ()
    return replace(person, subjects=tuple(dict.fromkeys([*person.subjects, *subject])), after=True)


def _newcomer(client: Mapping[str, Any]) -> Person:
    """Return a client that is to get its first certificate."""
    subject = client.get("subject") or {"CN": client["name"]}
    dn = subjects.nginx_dn(subjects.subject_name(subject, client["name"]))
    return Person(client["name"], (dn,), before=False, after=client.get("state") != "revoked")
