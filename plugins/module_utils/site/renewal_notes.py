# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``clients/renewals.json``: what the hosts' access logs have said of clients' next certificates.

Derived: if it is lost, the next run reads the logs again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import Layout
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times

_NAME = "renewals.json"
_VERSION = 1
_REFUSED = (400, 403, 421)


@dataclass(frozen=True)
class Note:
    """What is known of one: when it was fetched last and used first, as ``times.iso`` writes it.

    ``strong`` is the digest of the .p12 that was found to have a generated password.
    """

    fetched: str | None = None
    used: str | None = None
    strong: str | None = None


class Notes:
    """The notes of one authority, by the serial of the next certificate."""

    def __init__(self, path: str) -> None:
        self._layout = Layout(path)
        self._path = os.path.join(self._layout.clients, _NAME)
        self._notes = self._read()
        self._news: dict[str, Note] = {}

    def of(self, serial: str) -> Note:
        """Return what is known of one."""
        return self._notes.get(serial, Note())

    def note_strong(self, serial: str, digest: str) -> None:
        """Note that the .p12 with this digest has a generated password."""
        self._note(serial, Note(strong=digest))

    def note_callers(self, follows: Mapping[str, Collection[str]], callers: Iterable[Mapping[str, Any]]) -> None:
        """Note what the module ``access_log`` has returned.

        ``follows`` has, by the serial of each next certificate, those of the ones that it follows.
        """
        for caller in callers:
            for serial, earlier in follows.items():
                if caller["serial"] == serial and caller["status"] not in _REFUSED:
                    self._note(serial, Note(used=self.of(serial).used or caller["last"]))
                elif caller["serial"] in earlier and caller["fetched"]:
                    self._note(serial, Note(fetched=max(caller["fetched"], self.of(serial).fetched or "")))

    def _note(self, serial: str, news: Note) -> None:
        said = {name: value for name, value in asdict(news).items() if value is not None}
        known = self.of(serial)
        after = replace(known, **said)
        if after != known:
            self._notes[serial] = after
            self._news[serial] = replace(self._news.get(serial, Note()), **said)

    def save(self) -> None:
        """Write down what is new, beside what other hosts' turns have written meanwhile; forget what has expired."""
        if not self._news:
            return
        with files.lock(self._layout.lock):
            notes = self._read()
            for serial, news in self._news.items():
                said = {name: value for name, value in asdict(news).items() if value is not None}
                notes[serial] = replace(notes.get(serial, Note()), **said)
            record, now = Index.load(self._layout.index), times.now()
            kept = {
                serial: asdict(note)
                for serial, note in notes.items()
                if (entry := record.get(serial)) is not None and entry.not_after > now
            }
            text = json.dumps({"version": _VERSION, "renewals": kept}, indent=1, sort_keys=True)
            files.write_file(self._path, f"{text}\n".encode(), 0o600)
        self._news = {}

    def _read(self) -> dict[str, Note]:
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            with open(self._path, encoding="utf-8") as stream:
                content = json.load(stream)
            if content["version"] == _VERSION:
                return {serial: Note(**said) for serial, said in content["renewals"].items()}
        return {}
