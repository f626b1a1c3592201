# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One change of the inventory after another, and who gets in after each. Each test builds on the one before."""

from __future__ import annotations

import pathlib
import ssl

import pytest

VARIABLES = "group_vars/mtls_servers"
HOSTS = ("old", "new")
both_hosts = pytest.mark.parametrize("host", HOSTS)


def entering(site, host, name="nas.test") -> dict[str, int]:
    """What each client, and nobody, gets."""
    clients = [folder.name for folder in sorted((site.pki / "clients").iterdir()) if folder.is_dir()]
    return {
        **{client: site.status(host, name, client=client) for client in clients},
        "nobody": site.status(host, name),
    }


def everywhere(site, expected, name="nas.test") -> None:
    for host in HOSTS:
        assert entering(site, host, name) == expected, host


def test_at_first_both_enter(site):
    everywhere(site, {"phone": 200, "tablet": 200, "nobody": 400})


def test_a_client_more_in_one_hosts_variables_enters_there_only(site):
    with site.variables("host_vars/new") as new:
        new["mtls_clients"] = [{"name": "laptop", "days": 20, "renew_before": 5}]
        new["mtls_services"] = [
            {"name": "nas", "server_names": ["nas.test"], "root": "/srv/www", "allow": ["phone", "tablet", "laptop"]},
            {"name": "photos", "server_names": ["photos.test"], "root": "/srv/www"},
        ]
    site.ok()
    assert entering(site, "new") == {"laptop": 200, "phone": 200, "tablet": 200, "nobody": 400}
    assert entering(site, "old") == {"laptop": 403, "phone": 200, "tablet": 200, "nobody": 400}


def test_off_the_list_is_out_although_its_certificate_is_good(site):
    with site.variables(VARIABLES) as group:
        group["mtls_services"][0]["allow"].remove("tablet")
    with site.variables("host_vars/new") as new:
        new["mtls_services"][0]["allow"].remove("tablet")
    site.ok()
    assert [site.status(host, "nas.test", client="tablet") for host in HOSTS] == [403, 403]
    assert [site.status(host, "photos.test", client="tablet") for host in HOSTS] == [200, 200]


def test_renewed_both_the_old_and_the_new_certificate_enter(site, tmp_path):
    certificate, key = site.identity("laptop")
    old = tmp_path / "old.crt"
    old.write_bytes(pathlib.Path(certificate).read_bytes())
    with site.variables("host_vars/new") as new:
        new["mtls_clients"][0] |= {"days": 300, "renew_before": 30}
    site.ok()
    assert pathlib.Path(certificate).read_bytes() != old.read_bytes()
    assert site.status("new", "nas.test", client="laptop") == 200
    assert site.status("new", "nas.test", identity=(str(old), key)) == 200


def test_revoked_is_out_at_once_and_everywhere(site):
    with site.variables(VARIABLES) as group:
        group["mtls_fleet_clients"][0] |= {"state": "revoked", "reason": "keyCompromise"}
    site.ok()
    for name in ("nas.test", "photos.test"):
        assert [site.status(host, name, client="phone") for host in HOSTS] == [400, 400]
    assert site.status("new", "nas.test", client="laptop") == 200


def test_a_service_taken_away_leaves_the_other_alone(site, on):
    with site.variables(VARIABLES) as group:
        group["mtls_services"][1]["state"] = "absent"
    site.ok()
    assert not on("old").run("ls /etc/nginx/conf.d /etc/nginx/server-certs | grep photos").stdout
    with pytest.raises(ssl.SSLCertVerificationError):  # nobody answers by that name any more
        site.status("old", "photos.test", client="tablet")
    assert site.status("old", "nas.test", client="laptop") == 403
    assert site.status("new", "photos.test", client="laptop") == 200


@both_hosts
def test_nothing_is_left_to_do(site, host):
    assert "changed=0" in site.ok("--limit", host).text
