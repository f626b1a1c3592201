# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work spread over processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import parallel
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

pytestmark = pytest.mark.usefixtures("two_cores")


def test_results_come_in_the_order_of_the_items_and_from_other_processes():
    results = parallel.spread(lambda number: (number * number, os.getpid()), range(20000))
    assert [square for square, _pid in results] == [number * number for number in range(20000)]
    assert os.getpid() not in {process for _square, process in results}


def test_an_error_arrives_as_itself():
    def work(number):
        if number == 3:
            raise MtlsError("client 'three': is odd")
        return number

    with pytest.raises(MtlsError, match="client 'three': is odd"):
        parallel.spread(work, range(8))


def test_a_process_that_is_killed_is_reported():
    def work(number):
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(MtlsError, match="ended from outside"):
        parallel.spread(work, range(8))


def test_no_process_and_no_descriptor_is_left():
    def left():
        return len(os.listdir("/proc/self/fd")), Path(f"/proc/self/task/{os.getpid()}/children").read_text()

    before = left()
    parallel.spread(str, range(100))
    assert left() == before


def test_each_process_concludes_when_it_has_no_more_to_do_also_after_an_error(tmp_path):
    def conclude():
        (tmp_path / str(os.getpid())).touch()

    processes = set(parallel.spread(lambda number: os.getpid(), range(1000), conclude))
    assert processes <= {int(path.name) for path in tmp_path.iterdir()}
    for path in tmp_path.iterdir():
        path.unlink()

    def work(number):
        raise MtlsError("is odd")

    with pytest.raises(MtlsError, match="is odd"):
        parallel.spread(work, range(8), conclude)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_fails_at_the_end_fails():
    def conclude():
        raise MtlsError("the disk is full")

    with pytest.raises(MtlsError, match="the disk is full"):
        parallel.spread(str, range(100), conclude)
