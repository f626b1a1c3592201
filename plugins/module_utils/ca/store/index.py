# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``index.txt``, the record of every certificate ever issued, in the format of ``openssl ca``.

A line is ``status TAB expiry TAB revocation TAB serial TAB file TAB subject``: status V, R or E; the revocation
is ``time[,reason[,argument]]``. Lines are kept as text and taken apart when somebody asks for one, so that a
hundred thousand of them are read in a tenth of a second.

``openssl ca -updatedb`` turns V into E for what has expired by the clock of its machine, and never back. So the letter
only tells what is revoked, and the date what has expired. Line ends may be those of Windows, as git's autocrlf makes
them; what is written has newlines only.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Union

from ansible_collections.mtls.nginx.plugins.module_utils.ca.authority import HOLD, Entry
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

_LINE = re.compile(
    r"^(?:[VE]\t\d{12}(?:\d\d)?Z\t\t|R\t\d{12}(?:\d\d)?Z\t\d{12}(?:\d\d)?Z(?:,[^\t\n,]+)*\t)"
    r"([0-9A-F]{2,64})\t[^\t\n]*\t(?:/[^\t\n]*)?$",
    re.ASCII | re.MULTILINE,
)
_SERIAL = re.compile("00|(?!00)(?:[0-9A-F]{2})+")
_STATUS = {"V": "valid", "R": "revoked", "E": "valid"}
# Serials by (time as ASN.1 text, reason): very many are often revoked at once.
Revocations = dict[tuple[str, Union[str, None]], list[str]]
UNKNOWN = "/CN=known from the CRL only"  # the subject of a certificate of which nothing is left but its serial
_FEW_SEARCHES = 16  # as long as this many take, a dictionary of all subjects takes too
# How `openssl ca` spells the reasons of RFC 5280, 5.3.1, and two of its own that carry a date.
_REASONS_READ = {"keyTime": "keyCompromise", "CAkeyTime": "CACompromise", "holdInstruction": HOLD}


class Index:
    """The lines of one ``index.txt`` by serial, oldest first."""

    def __init__(self, path: str, lines: dict[str, str]) -> None:
        self.path = path
        self._lines = lines
        # For those who ask for subjects: the first few search, later ones find a dictionary.
        self._searches = 0
        self._lower: str | None = None
        self._by_subject: dict[str, list[str]] | None = None

    @classmethod
    def load(cls, path: str, *, checked: bool = False) -> Index:
        """Read and check the whole file; ``checked`` says that it is as an earlier run has checked or written it.

        :raises MtlsError: a line that is not openssl's, a serial twice, or a last line that was cut off.
        """
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
            text = stream.read()
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if text and not text.endswith("\n"):
            raise MtlsError(f"{path}, line {text.count(chr(10)) + 1}: is cut off; restore the file from a backup")
        lines = text.split("\n")[:-1]
        # All lines at once, which is fast; one by one only when that shows that something may be odd.
        if checked and "#" not in text:
            return cls(path, {line.split("\t", 4)[3]: line for line in lines})
        serials = _LINE.findall(text)
        by_serial = dict(zip(serials, lines))
        odd = len(by_serial) != len(lines) or any(length % 2 for length in set(map(len, serials))) or "\t00" in text
        return cls(path, _line_by_line(path, lines) if odd else by_serial)

    def copy(self, path: str) -> Index:
        """Return the same record for another file."""
        return Index(path, dict(self._lines))

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __contains__(self, serial: str) -> bool:
        return serial in self._lines

    def differing(self, other: Index) -> list[Entry]:
        """Return what ``other`` has recorded of serials of which it has another line, or has the only one."""
        return [_entry(line) for serial, line in other._lines.items() if self._lines.get(serial) != line]

    def is_apart_from(self, other: Index) -> bool:
        """Tell whether no serial has the same subject in both."""
        return not any(
            serial in other._lines and line.rpartition("\t")[2] == other._lines[serial].rpartition("\t")[2]
            for serial, line in self._lines.items()
        )

    def get(self, serial: str) -> Entry | None:
        """Return what is recorded of a serial."""
        line = self._lines.get(serial)
        return None if line is None else _entry(line)

    def take_from_crl(self, serial: str, moment: datetime, reason: str, end: datetime) -> bool:
        """Revoke what a CRL lists, and tell whether that is news.

        Of what has no line, only the serial is known: it is entered as good until ``end``, so that it stays on the CRL.
        """
        entry = self.get(serial)
        if entry is None:
            self.add(serial, end, UNKNOWN)
        elif not entry.needs_revoking(reason):
            return False
        self.revoke(serial, moment, reason)
        return True

    def is_valid(self, serial: str) -> bool:
        """Tell whether a serial is recorded and not revoked; its certificate may have expired."""
        line = self._lines.get(serial)
        return line is not None and line[0] != "R"

    def live(self, now: datetime, besides: Container[str] = ()) -> Iterator[tuple[str, str]]:
        """Yield serial and subject of what was issued, is not revoked and has not expired, without some serials.

        Oldest first.
        """
        moment = now.strftime("%Y%m%d%H%M%SZ")
        for serial, line in self._lines.items():
            # Nearly all dates are of this half of the century: a call for each would take as long as all the rest.
            if (
                line[0] != "R"
                and serial not in besides
                and ("20" + line[2:15] if line[14] == "Z" and line[2] < "5" else _full_end(line)) > moment
            ):
                yield serial, line[line.rindex("\t") + 1 :]

    def namesakes(self, subject: str) -> list[str]:
        """Return the serials, oldest first, whose subjects differ from ``subject`` in case at most."""
        wanted = subject.lower()
        if self._by_subject is None:
            self._searches += 1
            if self._searches <= _FEW_SEARCHES:
                return self._search(wanted)
            self._by_subject = {}
            for serial, line in self._lines.items():
                self._by_subject.setdefault(line[line.rindex("\t") + 1 :].lower(), []).append(serial)
        return self._by_subject.get(wanted, [])

    def _search(self, wanted: str) -> list[str]:
        if self._lower is None:
            self._lower = _joined(self._lines.values()).lower()
        found, end = [], 0
        while (end := self._lower.find(f"\t{wanted}\n", end)) >= 0:
            line = self._lower[self._lower.rfind("\n", 0, end) + 1 : end]
            found.append(line.split("\t", 4)[3].upper())
            end += 1
        return found

    def revocations(self, ended_by: datetime | None = None) -> Revocations:
        """Return what was revoked, without certificates that had expired by ``ended_by``."""
        moment = ended_by.strftime("%Y%m%d%H%M%SZ") if ended_by else ""
        by_note: dict[str, list[str]] = {}
        for serial, line in self._lines.items():
            if line[0] == "R" and (not moment or _full_end(line) > moment):
                start = line.index("\t", 2) + 1
                by_note.setdefault(line[start : line.index("\t", start)], []).append(serial)
        revocations: Revocations = {}
        for note, serials in by_note.items():
            time, *reason = note.split(",")
            known = _REASONS_READ.get(reason[0], reason[0]) if reason else None
            revocations.setdefault((time, known), []).extend(serials)
        return revocations

    def add(self, serial: str, not_after: datetime, subject: str) -> None:
        """Enter an issued certificate."""
        if serial in self._lines:
            raise MtlsError(f"{self.path}: serial {serial} was issued before; restore the file serial from a backup")
        self._lines[serial] = f"V\t{times.asn1_text(not_after)}\t\t{serial}\tunknown\t{subject}"
        self._lower = self._by_subject = None

    def revoke(self, serial: str, moment: datetime, reason: str) -> None:
        """Mark an entered certificate as revoked; ``unspecified`` is written as no reason (RFC 5280, 5.3.1)."""
        _status, not_after, _revocation, *rest = self._lines[serial].split("\t")
        note = times.asn1_text(moment) + ("" if reason == "unspecified" else f",{reason}")
        self._lines[serial] = "\t".join(("R", not_after, note, *rest))

    def release(self, serial: str) -> None:
        """Take back the revocation of an entered certificate."""
        _status, not_after, _revocation, *rest = self._lines[serial].split("\t")
        self._lines[serial] = "\t".join(("V", not_after, "", *rest))

    def save(self) -> None:
        """Write the file, durably; what a wrong clock marked as expired is marked as valid again."""
        moment = times.now().strftime("%Y%m%d%H%M%SZ")
        for serial in [serial for serial, line in self._lines.items() if line[0] == "E" and _full_end(line) > moment]:
            self._lines[serial] = f"V{self._lines[serial][1:]}"
        files.write_file(self.path, _joined(self._lines.values()).encode("utf-8", "surrogateescape"), 0o600)


def _joined(lines: Iterable[str]) -> str:
    return "\n".join((*lines, ""))


def _full_end(line: str) -> str:
    return times.full_asn1_text(line[2 : line.index("\t", 2)])


def _line_by_line(path: str, lines: Sequence[str]) -> dict[str, str]:
    """Return the lines by serial without the comments; raises MtlsError for the first one that cannot be."""
    by_serial: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        found = _LINE.fullmatch(line)
        if found is None or not _SERIAL.fullmatch(found[1]):
            if line.startswith("#"):
                continue
            raise MtlsError(
                f"{path}, line {number}: is not a line of `openssl ca` ({line[:60]!r}); restore the file from a backup"
            )
        if found[1] in by_serial:
            raise MtlsError(f"{path}, line {number}: serial {found[1]} is there twice; restore it from a backup")
        by_serial[found[1]] = line
    return by_serial


def _entry(line: str) -> Entry:
    status, not_after, revocation, serial, _file, subject = line.split("\t")
    moment, *reason = revocation.split(",")
    try:
        return Entry(
            serial=serial,
            subject=subject,
            status=_STATUS[status],
            not_after=times.from_asn1(not_after),
            revoked_at=times.from_asn1(moment) if moment else None,
            reason=_REASONS_READ.get(reason[0], reason[0]) if reason else None,
        )
    except ValueError as error:
        raise MtlsError(
            f"index.txt: the line of serial {serial} has a date that does not exist; restore the file from a backup"
        ) from error
