# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``audit.log``: what was done with the authority, when, by whom and from where; one JSON object a line.

Lines are appended after the act, under the lock of the directory. What is about to be appended waits in
``.audit.pending`` meanwhile, so that a run that is killed between the act and its lines loses none of them: the next
one finds out whether the act took place, and appends them then. Nothing here ever shortens or rewrites the log.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers, subjects
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times

try:
    from cryptography import x509
except ImportError:  # reported by entry.require_cryptography
    pass

NAME = "audit.log"
PENDING, PENDING_FILE = ".audit.pending", ".audit.file.pending"
_LONGEST = 300  # characters of what the environment says

# What `did` can be.
CREATED, CA_RENEWED, CA_REPAIRED = "ca created", "ca renewed", "ca repaired"
IMPORTED, EXPORTED, RESTORED = "imported", "exported", "restored"
ISSUED, RENEWED, ENTERED, REVOKED, RELEASED = "issued", "renewed", "entered", "revoked", "released"
CRL, KEY = "crl signed", "key"
# Acts that are one rename of a file. Of these a killed run may leave a line too many: the next one does the act again.
_FILES = frozenset({CREATED, CA_RENEWED, CA_REPAIRED, IMPORTED, EXPORTED, RESTORED, KEY})

Event = Mapping[str, Any]


class AuditLog:
    """The log of the authority in ``directory``; whoever writes holds the lock of the directory."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, NAME)
        self._pending = os.path.join(directory, PENDING)
        self._pending_file = os.path.join(directory, PENDING_FILE)

    @contextlib.contextmanager
    def noting(self, events: Sequence[Event]) -> Iterator[None]:
        """Do what the block does, and write ``events`` down when it is done.

        :arg events: all of them take place, or none; each has ``did`` and what else there is to say.
        """
        lines, pending = _lines(events), self._pending
        if events[0]["did"] in _FILES:
            pending = self._pending_file
            self._recover(pending, lambda event: True)
        size = files.status(self._path)
        header = json.dumps({"size": size.st_size if size is not None else 0})
        files.write_file(pending, f"{header}\n".encode() + lines, 0o600)
        try:
            yield
        except Exception:
            if pending == self._pending_file:  # the rename is what failed, or came too late to be tried
                os.unlink(pending)
            raise
        self._append(lines)
        os.unlink(pending)

    def recover(self, happened: Callable[[Event], bool]) -> None:
        """Write down what a killed run had no time to, if the act ``happened``, of which the index or the CRL tells."""
        self._recover(self._pending, happened)
        self._recover(self._pending_file, lambda event: True)

    def _recover(self, pending: str, happened: Callable[[Event], bool]) -> None:
        written_before = files.read_if_there(pending)
        if written_before is None:
            return
        header, _newline, lines = written_before.partition(b"\n")
        try:
            first, size = json.loads(lines.splitlines()[0]), int(json.loads(header)["size"])
            took_place = happened(first)
        except (ValueError, IndexError, KeyError, TypeError):  # not written by us
            took_place, size = False, 0
        if took_place:
            written = self._since(size)
            if not written.startswith(lines):
                self._append(lines[len(written) :] if lines.startswith(written) else lines)
        os.unlink(pending)

    def _since(self, size: int) -> bytes:
        try:
            with open(self._path, "rb") as stream:
                stream.seek(size)
                return stream.read()
        except FileNotFoundError:
            return b""

    def _append(self, lines: bytes) -> None:
        is_new = not os.path.exists(self._path)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as stream:
                stream.write(lines)
                stream.flush()
                os.fsync(descriptor)
        except OSError as error:
            error.filename = self._path
            raise
        if is_new:
            files.sync_directory(os.path.dirname(self._path))


def _lines(events: Iterable[Event]) -> bytes:
    at, origin = times.iso(times.now()), _origin(os.environ)
    texts = (json.dumps({"at": at, **event, **origin}, ensure_ascii=False) for event in events)
    return "".join(f"{text}\n" for text in texts).encode("utf-8", "backslashreplace")


def _origin(environment: Mapping[str, str]) -> dict[str, str]:
    """Return who works here, on which machine and in which job of which pipeline, as far as anybody says."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container that runs as a number
        user = str(os.getuid())
    actor = environment.get("GITHUB_ACTOR") or environment.get("GITLAB_USER_LOGIN") or environment.get("SUDO_USER")
    origin = {"who": f"{actor} as {user}" if actor and actor != user else user, "host": socket.gethostname()}
    job = _job(environment)
    if job:
        origin["job"] = job
    return {key: text[:_LONGEST] for key, text in origin.items()}


def _job(environment: Mapping[str, str]) -> str | None:
    """Return where to look up the run of GitHub Actions, GitLab CI or AWX that this is."""
    if "GITHUB_RUN_ID" in environment:
        server, repository = environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_REPOSITORY", "")
        return f"{server}/{repository}/actions/runs/{environment['GITHUB_RUN_ID']}"
    if "CI_JOB_URL" in environment:
        return environment["CI_JOB_URL"]
    if "AWX_HOST" in environment and "JOB_ID" in environment:
        return f"{environment['AWX_HOST']}/#/jobs/{environment['JOB_ID']}"
    return None


def revocation_event(serial: str, subject: str, reason: str | None) -> Event:
    """Return what audit.py notes of a revocation; ``subject`` is as in index.txt."""
    return {"did": REVOKED, "serial": serial, "subject": subject, "reason": reason}


def certificate_event(did: str, certificate: x509.Certificate) -> Event:
    """Return what audit.py notes of a certificate."""
    return {
        "did": did,
        "serial": numbers.hexadecimal(certificate.serial_number),
        "subject": subjects.index_subject(certificate.subject),
        "until": times.iso(certificate.not_valid_after_utc),
    }
