# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on a host is what fetches its CRL."""

from __future__ import annotations

import pytest

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
