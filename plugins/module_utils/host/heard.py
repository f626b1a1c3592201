# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a host last heard from the controller, and whom it tells when that is too long ago.

The controller's timers report nothing once they no longer run, so the host's own does: see ``crl_timer.py``.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.common import files
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError, one_line
from ansible_collections.mtls.nginx.plugins.module_utils.host.crl_place import HEARD, TOLD

_DAY = 86400
_AGAIN = 7 * _DAY  # as upkeep on the controller does
_TIMEOUT = 60  # seconds for the command
_LAST = ("mtls_nginx_last_heard_timestamp_seconds", "When a run of the controller's last reached this host.")
_LATE = ("mtls_nginx_upkeep_late", "Whether that is longer ago than mtls_upkeep_warn_days.")


@dataclass(frozen=True)
class Watch:
    """After how many days without the controller the ``command`` is told, a program on the host with its arguments."""

    days: int
    command: Sequence[str]


def look(folder: str, watch: Watch, now: float) -> tuple[str, list[str]]:
    """Tell whom there is to tell; return what was found, and the lines of the metrics.

    :raises MtlsError: the command did not take what it was told; the next call tells it again.
    """
    last = os.stat(os.path.join(folder, HEARD)).st_mtime
    late = now - last > watch.days * _DAY
    lines = []
    for (metric, text), value in ((_LAST, int(last)), (_LATE, int(late))):
        lines += [f"# HELP {metric} {text}", f"# TYPE {metric} gauge", f"{metric} {value}"]
    told = _told(folder)
    days = int((now - last) // _DAY)
    if late and (told is None or now - told >= _AGAIN):
        _tell(
            watch.command,
            f"no word from the controller for {days} days",
            f"This host was last reached by a run of mtls.nginx {days} days ago. If nobody renews the CRL, it expires,"
            " and then nobody gets in.\nOn the controller, systemctl list-timers and journalctl -u 'mtls-upkeep-*' say"
            " why; ansible-playbook mtls.nginx.refresh_crl brings the CRL.",
        )
        _remember(folder, now)
    elif not late and told is not None:
        _tell(watch.command, "all is well again", "A run of mtls.nginx has reached this host.")
        _remember(folder, None)
    return f"the controller came {days} days ago" if days else "the controller came within the last day", lines


def _tell(command: Sequence[str], subject: str, text: str) -> None:
    message = f"mtls.nginx on {socket.gethostname()}: {subject}\n\n{text}\n"
    try:
        done = subprocess.run(
            list(command),
            input=message,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MtlsError(f"mtls_host_notify_command: {command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        said = one_line(done.stdout.strip()[-500:]) or "it said nothing"
        raise MtlsError(f"mtls_host_notify_command: {command[0]} ended with status {done.returncode}: {said}")


def _told(folder: str) -> float | None:
    try:
        with open(os.path.join(folder, TOLD), encoding="utf-8") as stream:
            return float(json.load(stream))
    except (OSError, ValueError, TypeError):
        return None


def _remember(folder: str, moment: float | None) -> None:
    path = os.path.join(folder, TOLD)
    if moment is None:
        files.remove_file(path)
    else:
        files.write_file(path, json.dumps(moment).encode(), 0o644)
