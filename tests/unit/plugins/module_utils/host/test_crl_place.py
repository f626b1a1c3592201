# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on a host is what fetches its CRL."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_place
from ansible_collections.mtls.nginx.plugins.module_utils.host.crl_place import Place


def test_each_nginx_of_a_host_has_its_own():
    assert Place.of("/etc/nginx/nginx.conf").folder == "/var/lib/mtls-crl"
    assert len({Place.of(f"/opt/{name}/nginx.conf").folder for name in "ab"}) == 2


@pytest.mark.parametrize("name", ["data/mtls-crl", "units/mtls-crl.service", "units/mtls-crl.timer", "cron/mtls-crl"])
def test_a_part_of_it_is_there(tmp_path, name):
    place = Place("mtls-crl", str(tmp_path / "data"), str(tmp_path / "units"), str(tmp_path / "cron"))
    assert not place.exists
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).symlink_to("nowhere")
    assert place.exists


def test_all_of_it_is_below_three_folders():
    place = Place("mtls-crl", "/data", "/units", "/cron")
    assert (place.folder, place.program) == ("/data/mtls-crl", "/data/mtls-crl/program")
    assert (place.unit("timer"), place.cron) == ("/units/mtls-crl.timer", "/cron/mtls-crl")


def test_each_run_is_noted_where_somebody_looks(tmp_path, monkeypatch):
    place = Place("mtls-crl", str(tmp_path))
    monkeypatch.setattr(Place, "of", lambda conf_path: place)
    (tmp_path / "mtls-crl").mkdir()
    stamp, metrics = tmp_path / "mtls-crl" / crl_place.HEARD, tmp_path / "mtls_nginx.prom"
    crl_place.note_that_the_controller_came("/etc/nginx/nginx.conf", str(metrics))
    assert not stamp.exists()
    assert not metrics.exists()
    for path in (stamp, metrics):
        path.touch()
        os.utime(path, (1, 1))
    crl_place.note_that_the_controller_came("/etc/nginx/nginx.conf", None)
    assert time.time() - stamp.stat().st_mtime < 60
    assert metrics.stat().st_mtime == 1
    crl_place.note_that_the_controller_came("/etc/nginx/nginx.conf", str(metrics))
    assert time.time() - metrics.stat().st_mtime < 60
    # Others may write in the metrics' folder.
    other = tmp_path / "other"
    other.touch()
    os.utime(other, (1, 1))
    metrics.unlink()
    metrics.symlink_to(other)
    crl_place.note_that_the_controller_came("/etc/nginx/nginx.conf", str(metrics))
    assert other.stat().st_mtime == 1
