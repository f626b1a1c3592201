# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that the controller does not reach any more says so."""

from __future__ import annotations

import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_place, heard

NOW = 1_800_000_000.0
DAY = 86400


class Folder:
    def __init__(self, path):
        self.path = path
        self.said = path / "said"
        self.command = path / "command"
        self.command.write_text(f"#!/bin/sh\ncat >>{self.said}\n")
        self.command.chmod(0o755)
        (path / crl_place.HEARD).touch()

    def came(self, days_ago):
        os.utime(self.path / crl_place.HEARD, (NOW - days_ago * DAY,) * 2)

    def look(self, after=0.0):
        watch = heard.Watch(3, [str(self.command)])
        found, lines = heard.look(str(self.path), watch, NOW + after * DAY)
        said = self.said.read_text() if self.said.exists() else ""
        self.said.unlink(missing_ok=True)
        return found, said, dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_nothing_is_said_as_long_as_the_controller_comes(folder):
    folder.came(2.9)
    found, said, metrics = folder.look()
    assert (found, said) == ("the controller came 2 days ago", "")
    assert metrics == {
        "mtls_nginx_last_heard_timestamp_seconds": str(int(NOW - 2.9 * DAY)),
        "mtls_nginx_upkeep_late": "0",
    }


def test_it_is_said_once_and_again_after_a_week_and_taken_back(folder):
    folder.came(3.1)
    _found, said, metrics = folder.look()
    subject, empty, text = said.split("\n", 2)
    assert subject.endswith(": no word from the controller for 3 days")
    assert empty == ""
    assert "mtls.nginx.refresh_crl" in text
    assert metrics["mtls_nginx_upkeep_late"] == "1"
    assert folder.look(1)[1] == ""
    assert folder.look(6.9)[1] == ""
    assert "for 10 days" in folder.look(7)[1]
    folder.came(-7)
    assert folder.look(7)[1].splitlines()[0].endswith(": all is well again")
    assert folder.look(7)[1:] == ("", {**metrics, "mtls_nginx_upkeep_late": "0"} | last(folder))


def last(folder):
    return {"mtls_nginx_last_heard_timestamp_seconds": str(int((folder.path / crl_place.HEARD).stat().st_mtime))}


@pytest.mark.parametrize(
    ("program", "why"),
    [("#!/bin/sh\necho no mail; exit 3\n", "ended with status 3: no mail"), ("", "cannot be run: ")],
)
def test_who_cannot_be_told_is_told_the_next_time(folder, program, why):
    folder.came(4)
    working = folder.command.read_text()
    folder.command.write_text(program)
    with pytest.raises(MtlsError, match=f"mtls_host_notify_command: {folder.command} {why}"):
        folder.look()
    folder.command.write_text(working)
    assert "no word from the controller" in folder.look()[1]


def test_a_program_that_does_not_end(folder, monkeypatch):
    folder.came(4)
    folder.command.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(heard, "_TIMEOUT", 0.1)
    with pytest.raises(MtlsError, match="timed out"):
        folder.look()
