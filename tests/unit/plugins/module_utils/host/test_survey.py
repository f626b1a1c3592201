# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has, with what only some hosts have."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import survey, swap
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, Renewals, Textfile

MARKER = b"# Managed by mtls.nginx\n"


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "nginx.conf").write_text("http { include conf.d/*.conf; }\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "mtls-nas.conf").write_bytes(MARKER)
    (tmp_path / "conf.d" / "mtls-nas.conf").chmod(0o644)
    return tmp_path


def look(conf, *names, **options):
    return survey.look(
        str(conf / "nginx.conf"), [str(conf / "conf.d" / name) for name in names], ChangeRequest(**options)
    )


@pytest.mark.parametrize("obstacle", ["stray", "folder", "interrupted"])
def test_what_would_be_refused_is_not_settled(conf, obstacle):
    if obstacle == "folder":
        (conf / "conf.d" / "mtls-photos.conf").mkdir()
    if obstacle == "interrupted":
        journal = '{"state": "swapping", "existed": {}, "directories": [], "unread": false}'
        (conf / swap.JOURNAL).write_text(journal)
    names = [] if obstacle == "stray" else ["mtls-nas.conf", "mtls-photos.conf"]
    assert not look(conf, *names, owned=[str(conf / "conf.d" / "mtls-*.conf")]).settled


def test_another_run_is_told_as_such(conf):
    with swap.exclusive(str(conf)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(swap, "_LOCK_TIMEOUT", 0.0)
        with pytest.raises(swap.Busy, match="another run"):
            look(conf)


def test_what_few_hosts_have(conf):
    """Metrics that are not there yet, a folder in their place, and what waits for clients."""
    request = {"textfile": Textfile(str(conf / "metrics.prom"), [])}
    assert not look(conf, **request).settled
    (conf / "metrics.prom").mkdir()
    assert not look(conf, **request).settled
    waiting = str(conf / "client-renewals")
    assert look(conf, renewals=Renewals(waiting)).fingerprints == {waiting: None}


def test_only_what_differs_is_read_for_the_controller(conf):
    path = str(conf / "conf.d" / "mtls-nas.conf")
    same = survey.comparison.fingerprint(MARKER, 0o644)
    assert survey.held({path: same, str(conf / "nowhere"): None}) == {}
    assert survey.held({path: None})[path] == {"certificates": (), "crls": ()}
