# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that fetches the CRLs of a host, and watches whether the controller still comes (``heard.py``).

Its timer starts it, see ``crl_timer.py``.

Nothing that comes from the network is believed (``crl_check.py``). What is good goes in by way of the transaction, as
from the controller: the CRL, and what it says as lines of maps. After any failure the host has what it had.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import syslog
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from ansible_collections.mtls.nginx.plugins.module_utils.common import entry, files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import (
    certificates,
    comparison,
    crl_check,
    crl_lines,
    crl_records,
    download,
    heard,
    swap,
    transaction,
)
from ansible_collections.mtls.nginx.plugins.module_utils.host.crl_records import SETTINGS, STATE, Record
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import installed
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import (
    ChangeRequest,
    WantedFile,
    textfile_from,
)

_SUCCESS = ("mtls_nginx_crl_fetch_last_success_timestamp_seconds", "When the CRL was last fetched and found good.")
_FAILED = ("mtls_nginx_crl_fetch_failed", "Whether the last attempt to fetch the CRL failed.")


@dataclass(frozen=True)
class Source:
    """Where an authority's CRLs are fetched from, and the files that they are for.

    ``name`` is empty for the host's own authority.
    """

    name: str
    url: str
    ca: str
    crl: str
    revoked: str
    ended: str


@dataclass(frozen=True)
class Settings:
    """What the controller says. ``textfile`` is the option of that name of ``nginx_config``.

    ``watch`` is what there is to tell where the controller does not come any more, None for nobody.
    """

    binary: str
    conf_path: str
    sources: Sequence[Source]
    textfile: Mapping[str, Any] | None = None
    watch: heard.Watch | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """Return what ``as_json`` wrote."""
        watch = heard.Watch(**given["watch"]) if given.get("watch") else None
        return cls(**{**given, "sources": [Source(**each) for each in given["sources"]], "watch": watch})

    def as_json(self) -> str:
        """Return them as the file has them."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @property
    def metrics(self) -> str | None:
        """The path of the metrics about fetching, None where there are none."""
        return crl_records.metrics_of(self.textfile)


def run(folder: str, tell: Callable[[str], None]) -> bool:
    """Fetch all CRLs once, and look whether the controller still comes; return whether all is well.

    ``folder`` has the settings, and what is remembered.
    """
    with open(os.path.join(folder, SETTINGS), encoding="utf-8") as stream:
        settings = Settings.of(json.load(stream))
    before, after = crl_records.records(folder), {}
    for source in settings.sources:
        record = before.get(source.name)
        if record is None or record.url != source.url:
            record = Record(source.url)
        try:
            tell(_renew(settings, source, record))
            record.success, record.failure = time.time(), None
        except (MtlsError, OSError) as error:
            record.failure = entry.describe(error) if isinstance(error, OSError) and error.filename else str(error)
            record.validators = {}
            tell(record.failure)
        after[source.name] = record
    lines, well = _metrics(after), not any(record.failure for record in after.values())
    if settings.watch is not None:
        try:
            found, more = heard.look(folder, settings.watch, time.time())
            lines += more
            tell(found)
        except (MtlsError, OSError) as error:
            well = False
            tell(entry.describe(error) if isinstance(error, OSError) and error.filename else str(error))
    remembered = {name: asdict(record) for name, record in after.items()}
    for path, content in (
        (os.path.join(folder, STATE), json.dumps(remembered, indent=1).encode()),
        (settings.metrics, "".join(f"{line}\n" for line in lines).encode()),
    ):
        if path:
            try:
                files.write_file(path, content, 0o644, durable=False)
            except OSError as error:
                tell(entry.describe(error))
    return well


def _renew(settings: Settings, source: Source, record: Record) -> str:
    """Bring the CRLs of one source to the host; return what was done.

    :raises MtlsError, OSError: why not.
    """
    held, ca = (comparison.read(path) for path in (source.crl, source.ca))
    if held is None or ca is None:
        missing = source.crl if held is None else source.ca
        raise MtlsError(f"{missing}: is missing, and only the controller installs the first one; run mtls.nginx.site")
    known = record.validators if record.digest == comparison.fingerprint(held, 0o644) else {}
    answer = download.fetch(source.url, source.ca, dict(known))
    crl = crl_check.check(source.url, held if answer.content is None else answer.content, held, ca, time.time())
    wanted = _files(source, crl)
    request = ChangeRequest(wanted=wanted, textfile=textfile_from(settings.textfile), start=False)
    label = ", ".join(f"CRL {crl.number} of {crl.issuer}" for crl in certificates.read(crl).crls)
    done = f"{source.url}: {label} is in place already"
    if comparison.compare(ChangeRequest(wanted=wanted)) or swap.Swap(os.path.dirname(settings.conf_path)).unfinished:
        guard = {
            "host": socket.gethostname(),
            "authorities": [],
            "forgettable": crl_check.no_longer_listed(crl, held),
        }
        outcome = transaction.run(installed(settings.binary, settings.conf_path), request, guard)
        done = "; ".join([f"{source.url}: {label} is in place ({outcome.message})", *outcome.warnings])
    record.digest, record.validators = comparison.fingerprint(crl, 0o644), answer.validators
    return done


def _files(source: Source, crl: bytes) -> list[WantedFile]:
    """Return the CRL, and what it says as lines of maps, as ``site/host_files.py`` has the controller write them."""
    serials = [serial for _crl, listed in certificates.revoked(crl) for serial in listed]
    end = min(each.end or 0 for each in certificates.read(crl).crls)
    return [
        WantedFile(source.crl, crl),
        WantedFile(source.revoked, crl_lines.revoked(serials).encode()),
        WantedFile(source.ended, crl_lines.ended(datetime.fromtimestamp(end, timezone.utc)).encode()),
    ]


def _metrics(known: Mapping[str, Record]) -> list[str]:
    lines: list[str] = []
    if not known:
        return lines
    for (metric, text), values in (
        (_SUCCESS, {name: record.success for name, record in known.items()}),
        (_FAILED, {name: float(record.failure is not None) for name, record in known.items()}),
    ):
        lines += [f"# HELP {metric} {text}", f"# TYPE {metric} gauge"]
        for name, value in values.items():
            if value is not None:
                label = f'{{authority="{name}"}}' if name else ""
                lines.append(f"{metric}{label} {int(value)}")
    return lines


def _logger() -> Callable[[str], None]:
    """Return the journal or the terminal; cron would send everything by mail, so there it is the system's log."""
    if "JOURNAL_STREAM" in os.environ or sys.stdout.isatty():
        return _say
    syslog.openlog("mtls-crl")
    return syslog.syslog


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Return the exit status of one call: ``program FOLDER``."""
    (folder,) = arguments
    tell = _logger()
    try:
        return 0 if run(folder, tell) else 1
    except (OSError, ValueError, KeyError, TypeError) as error:
        with contextlib.suppress(OSError):
            tell(f"{folder}: the settings cannot be read ({error}); run mtls.nginx.site")
        return 1
