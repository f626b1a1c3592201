# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make clients` runs: each program that is here is sent to the gate, and docs/clients.md is written.

    python -m ansible_collections.mtls.nginx.tests.clients

Fails, and writes nothing, where somebody got in who should not, and where a program of the version on the page does
something else than the page says; with --anew only for the former.
"""

from __future__ import annotations

import argparse
import datetime
import pathlib
import signal
import sys
import tempfile

from .gate import open_gate
from .page import PAGE, read, write
from .table import ALL
from .trials import contradictions, remember, send


def main() -> int:
    parser = argparse.ArgumentParser(prog="make clients", description="Real programs at the gate, and docs/clients.md.")
    parser.add_argument("--anew", action="store_true", help="whatever the page says of these versions")
    options = parser.parse_args()
    # As Ctrl+C does: nginx is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows, missing = [], []
    with tempfile.TemporaryDirectory(prefix="clients-") as folder, open_gate(pathlib.Path(folder)) as gate:
        for program in ALL:
            if program.version() is None:
                missing.append(program.name)
                continue
            print(f"{program.name} {program.version()}", file=sys.stderr, flush=True)
            rows.append(send(program, gate))
    page = [] if options.anew or not PAGE.exists() else read(PAGE.read_text())
    remember(rows, page)
    if wrong := contradictions(rows, page):
        print("\n".join(wrong), file=sys.stderr)
        return 1
    PAGE.write_text(write(rows, missing, gate.nginx, datetime.datetime.now(datetime.UTC).date()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
