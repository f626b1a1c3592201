# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What things cost: the collection against its peers, both sides in turn on the same machine.

    python tests/bench                                    all rows
    python tests/bench --rows issue-1000 crl-100000       these
    python tests/bench --list                             their names

Writes results.md, results.json and growth.svg to build/bench. Nothing here judges: what a ratio ought to be is printed
beside what it is.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import sys

import authority_rows
import gate_peers
import gate_rows
import openbao_rows
import playbook_rows
import report
from measure import BUILD, Bench, Row, Skipped

ROWS: list[Row] = [*authority_rows.ROWS, *openbao_rows.ROWS, *playbook_rows.ROWS, *gate_rows.ROWS, *gate_peers.ROWS]
GROUPS = {gate_peers.GROUP: gate_peers.ROWS}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench", description="What things cost, measured against the peers.")
    parser.add_argument("--rows", "--row", nargs="+", metavar="ROW", help="only these rows")
    parser.add_argument("--runs", type=int, default=3, help="how often each side is measured (3)")
    parser.add_argument("--tiny", action="store_true", help="next to no work: shows that it runs, measures nothing")
    parser.add_argument("--output", type=pathlib.Path, default=BUILD / "bench", help="where the results go")
    parser.add_argument("--list", action="store_true", help="the rows' names")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.list:
        print("\n".join(f"{row.name:22} {row.work}" for row in ROWS))
        print("\n".join(f"{group:22} {', '.join(row.name for row in rows)}" for group, rows in GROUPS.items()))
        return 0
    known = {row.name: row for row in ROWS}
    asked = options.rows or list(known)
    wanted = [row for name in asked for row in ([each.name for each in GROUPS[name]] if name in GROUPS else [name])]
    if unknown := sorted(set(wanted) - set(known)):
        print(f"no such row: {', '.join(unknown)}; known are {', '.join([*known, *GROUPS])}", file=sys.stderr)
        return 2
    # With pipelining, Python would read each module byte by byte, here only, where hosts have a local connection.
    os.environ.pop("PYTHONUNBUFFERED", None)
    work = options.output.resolve() / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    done = []
    try:
        for name in wanted:
            row = known[name]
            bench = Bench(work / name, options.runs, options.tiny)
            print(f"{name}: {row.work_of(bench)} …", file=sys.stderr, flush=True)
            try:
                done.append((row, row.measure(bench)))
            except Skipped as reason:
                print(f"{name}: skipped: {reason}", file=sys.stderr, flush=True)
            # After each row: a run that is stopped has told what it knows.
            report.write(options.output, done, bench)
    finally:
        shutil.rmtree(work, ignore_errors=True)  # not before: `Bench.fresh` says why
    print((options.output / "results.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
