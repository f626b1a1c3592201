# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a long run is, and that nothing stays of it."""

from __future__ import annotations

import os
import signal

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import progress
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client

FLEET = [Client(f"c{number}", p12="none") for number in range(100)]


def far(pki) -> tuple[int, int] | None:
    return progress.read(str(pki.path), 0)


def test_halves_are_counted_from_every_process_and_the_file_goes(pki):
    with progress.shown(str(pki.path), 1000) as count:
        assert far(pki) == (0, 1000)
        for _half in range(3):
            count()
        child = os.fork()
        if child == 0:
            count()
            os._exit(0)
        os.waitpid(child, 0)
        assert far(pki) == (2, 1000)
        assert progress.read(str(pki.path), 1e12) is None, "a file from before the run"
    assert far(pki) is None
    assert not list(pki.path.glob(".progress*"))


@pytest.mark.slow
@pytest.mark.usefixtures("two_cores")
def test_a_long_run_counts_each_certificate_and_a_short_one_keeps_no_file(pki, monkeypatch):
    seen = []
    from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index

    real = Index.save
    monkeypatch.setattr(Index, "save", lambda self: (seen.append(far(pki)), real(self)))
    pki.serve(*FLEET)
    pki.serve(*FLEET, Client("one-more", p12="none"))
    assert seen == [(50, 100), None], "all the keys are there when the index is written"
    assert far(pki) is None


def test_a_run_that_ends_badly_leaves_nothing_for_the_next_one(pki):
    child = os.fork()
    if child == 0:
        with progress.shown(str(pki.path), 1000):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert far(pki) == (0, 1000)
    with pki.open():
        assert far(pki) is None
    with pytest.raises(ZeroDivisionError), progress.shown(str(pki.path), 1000):
        raise ZeroDivisionError
    assert far(pki) is None
