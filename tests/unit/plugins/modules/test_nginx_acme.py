# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module does with a certbot, or without one. tests/integration/test_acme.py has the real one."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.tests.unit.support import run_on_host

SAID = "Failed to delete"


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Ask for a certificate and for the end of another; return the answer, and what was called."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    (tmp_path / "bin").mkdir()
    order = {
        "service": "nas",
        "lineage": "mtls-nas",
        "server_names": ["nas.test"],
        "directory_url": "https://acme.test/dir",
        "webroot": str(tmp_path / "webroot"),
    }

    def asked(check=False, **programs):
        for name, script in programs.items():
            path = tmp_path / "bin" / name
            path.write_text(f'#!/bin/sh\necho "{name} $1" >>{tmp_path}/calls\n{script}\n')
            path.chmod(0o755)
        options = {"orders": [order], "forget": ["mtls-old"], "hook": "/hook"}
        answer = run_on_host(tmp_path, "nginx_acme", check, systemd=True, **options)
        calls = tmp_path / "calls"
        return answer, calls.read_text().splitlines() if calls.exists() else []

    return asked


def test_without_certbot_nothing_is_done(ask, tmp_path):
    answer, _calls = ask()
    assert (answer["changed"], answer["installed"], answer["obtained"], answer["failures"]) == (False, False, [], [])
    assert not (tmp_path / "webroot").exists()


def test_in_check_mode_nothing_is_asked_for(ask, tmp_path):
    answer, calls = ask(check=True, certbot="exit 1")
    assert (answer["changed"], answer["installed"], answer["obtained"]) == (True, True, [])
    assert calls == []
    assert not (tmp_path / "webroot").exists()


@pytest.mark.parametrize("status", [0, 1])
def test_what_fails_is_told_and_so_is_what_nobody_renews(ask, status):
    answer, calls = ask(certbot=f"if [ $1 = delete ]; then echo {SAID}.; exit 1; fi", systemctl=f"exit {status}")
    assert answer["obtained"] == ["nas"]
    assert calls == ["certbot certonly", "certbot delete", *["systemctl enable"] * (1 + status)]
    by_hand = "try 'certbot delete --cert-name mtls-old' by hand"
    assert answer["failures"] == [f"certbot: certificate mtls-old was not deleted: {SAID}; {by_hand}"]
    assert ("run 'certbot renew -q' twice a day" in str(answer.get("warnings"))) is (status == 1)
