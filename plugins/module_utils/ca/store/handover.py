# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a rollover: the next authority takes the place of the old one in its directory.

Everything of the old authority moves to ``former/<SERIAL of its CA certificate>/``, then everything in ``next/`` moves
up. That is many renames, so a journal says how far it has come, and whoever opens the directory next completes it.
"""

from __future__ import annotations

import json
import os

from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import layout
from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

NEXT, FORMER = "next", "former"
_JOURNAL = "rollover.json"
_LOCK = ".lock"
_OUT, _IN = "out", "in"


def next_path(path: str) -> str:
    """Return the directory of the authority that is to follow the one in ``path``."""
    return os.path.join(path, NEXT)


def is_begun(path: str) -> bool:
    """Tell whether a rollover is under way: there is an authority to follow the one in ``path``."""
    return os.path.exists(layout.Layout(next_path(path)).certificate)


def relatives(path: str) -> list[str]:
    """Return the directories of the authorities that follow the one in ``path``, or that it followed or follows."""
    above, name = os.path.split(path)
    home = above if name == NEXT and is_begun(above) else path
    former = os.path.join(home, FORMER)
    before = [os.path.join(former, each) for each in sorted(os.listdir(former))] if os.path.isdir(former) else []
    current = [home, next_path(home)] if is_begun(home) else [home]
    return [each for each in (*current, *before) if each != path]


def is_interrupted(path: str) -> bool:
    """Tell whether somebody was killed in the middle of ``take_over``."""
    return os.path.exists(os.path.join(path, _JOURNAL))


def complete_interrupted(path: str) -> None:
    """Complete a handover that was interrupted; ``path`` may be no authority at all."""
    if is_interrupted(path):
        with files.lock(os.path.join(path, _LOCK)):
            _carry_on(path)


def refuse_interrupted(path: str) -> None:
    """Raise MtlsError for a directory in which nothing can be read before a handover is completed."""
    if is_interrupted(path):
        raise MtlsError(f"{path}: a rollover was interrupted; run site.yml without --check, which completes it")


def take_over(path: str, serial: str) -> str:
    """Put the next authority into ``path``; return where the old one is, whose CA certificate has ``serial``."""
    with files.lock(os.path.join(path, _LOCK)), files.lock(os.path.join(next_path(path), _LOCK)):
        _write_journal(path, serial, _OUT)
        return _carry_on(path)


def _carry_on(path: str) -> str:
    with open(os.path.join(path, _JOURNAL), encoding="utf-8") as stream:
        journal = json.load(stream)
    former = os.path.join(path, FORMER, journal["former"])
    if journal["step"] == _OUT:
        files.make_directory(former, 0o700)
        _move_all(path, former, {NEXT, FORMER, _JOURNAL, _LOCK})
        _write_journal(path, journal["former"], _IN)
    if os.path.isdir(next_path(path)):
        _move_all(next_path(path), path, {_LOCK})
        files.remove_file(os.path.join(next_path(path), _LOCK))
        os.rmdir(next_path(path))
    files.remove_file(os.path.join(path, _JOURNAL))
    return former


def _move_all(source: str, target: str, besides: set[str]) -> None:
    for name in sorted(set(os.listdir(source)) - besides):
        os.rename(os.path.join(source, name), os.path.join(target, name))
    files.sync_directory(target)
    files.sync_directory(source)


def _write_journal(path: str, former: str, step: str) -> None:
    content = json.dumps({"former": former, "step": step})
    files.write_file(os.path.join(path, _JOURNAL), content.encode(), 0o600)
