# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark runs and writes its results. How long things take is nobody's business here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from xml.etree import ElementTree

from ansible_collections.mtls.nginx.tests.clients.processes import PATH
from ansible_collections.mtls.nginx.tests.gate import nginxes

from .conftest import REPOSITORY

_WITH_AB = ["kept-alive", "kept-alive-proxied", "new-connections", "new-connections-proxied", "long-crl"]
_HAS_MAINLINE = (nginxes.cache_folder() / nginxes.MAINLINE / "complete").exists()
# Not those that need what `make test` does not install: community.crypto. Of the playbooks the shortest.
ROWS = [
    "issue-1000",
    "issue-rsa-200",
    "issue-token-1000",
    "again-10000",
    "adopt-10000",
    "adopt-alike-10000",
    "crl-100000",
    "one-new-100000",
    "openbao-1000",
    "growth-issue",
    "growth-again",
    "growth-crl",
    "revoked",
    "returning",
    "returning-tls12",
    *(_WITH_AB if shutil.which("ab") else []),
    *([f"{row}-mainline" for row in _WITH_AB] if shutil.which("ab") and _HAS_MAINLINE else []),
]
# `peers-gate`: the rows of each other gate, and its program, which need not be installed.
GATES = {"haproxy": "haproxy", "apache": "apache2", "caddy": "caddy", "traefik": "traefik", "envoy": "envoy"}


def test_every_row_yields_numbers(tmp_path):
    done = subprocess.run(
        [sys.executable, "tests/bench", "--tiny", "--runs", "1", "--output", tmp_path, "--rows", *ROWS, "peers-gate"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = list(ROWS)
    for gate, program in GATES.items():
        gate_rows = [f"gate-{gate}", f"gate-{gate}-ecdsa", f"gate-{gate}-kept"]
        if shutil.which(program, path=PATH):
            expected += gate_rows
        else:
            assert all(f"{row}: skipped: {program} is not installed\n" in done.stderr for row in gate_rows)
    expected.append("gate-upstream-kept")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["row"] for row in rows] == expected
    for row in rows:
        values = [*row["ours"], *row["peer"], *(seconds for values in row["details"].values() for seconds in values)]
        values += [number for point in row["curve"] for number in point]
        assert values
        assert min(values) > 0
        assert len(row["ratios"]) == len(row["peer"])
    table = (tmp_path / "results.md").read_text()
    assert table in done.stdout
    assert all(f"| {row} |" in table for row in expected)
    ElementTree.parse(tmp_path / "growth.svg")
    assert not (tmp_path / "work").exists()


def test_an_unknown_row_is_named(tmp_path):
    done = subprocess.run(
        [sys.executable, "tests/bench", "--output", tmp_path, "--rows", "nonsense"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no such row: nonsense; known are issue-1000" in done.stderr
