# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the program is that fetches a CRL."""

from __future__ import annotations

from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_place


def test_each_nginx_of_a_host_has_its_own():
    assert crl_place.Place.of("/etc/nginx/nginx.conf").folder == "/var/lib/mtls-crl"
    others = {crl_place.Place.of(f"/opt/{name}/nginx.conf").folder for name in "ab"}
    assert len(others) == 2
    assert all(folder.startswith("/var/lib/mtls-crl-") for folder in others)


def test_all_of_it_is_below_three_folders():
    place = crl_place.Place("mtls-crl", "/data", "/units", "/cron")
    assert (place.folder, place.program) == ("/data/mtls-crl", "/data/mtls-crl/program")
    assert (place.unit("timer"), place.cron) == ("/units/mtls-crl.timer", "/cron/mtls-crl")
