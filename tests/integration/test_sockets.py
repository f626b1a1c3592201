# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets of one port on all addresses and on one, with a real nginx: who answers where, and the way between them."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY

STATUS = REPOSITORY / "playbooks" / "status.yml"
NARROW = "127.0.0.8"


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory):
    """Certificate and key of a server block that is the host's own."""
    folder = tmp_path_factory.mktemp("own")
    asked = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=own"
    command = ["openssl", *asked.split(), "-keyout", folder / "own.key", "-out", folder / "own.crt"]
    subprocess.run(command, check=True, capture_output=True)
    return f"ssl_certificate {folder}/own.crt; ssl_certificate_key {folder}/own.key;"


@pytest.fixture
def port():
    return free_port()


def service(name, listen, upstream, **more):
    return {"name": name, "server_names": [f"{name}.lan"], "listen": str(listen), "upstream": upstream, **more}


def host_with(site, *services, **variables):
    return site.add_host("nas", mtls_clients=[{"name": "phone"}], mtls_services=list(services), **variables)


def own_block(nginx, listen, name, certificate, body="return 200;"):
    """A server block of the host's own, which asks for no certificate."""
    (nginx.folder / "conf.d" / "own.conf").write_text(
        f"server {{\n listen {listen} ssl;\n server_name {name};\n {certificate}\n {body}\n}}\n"
    )


# One address beside all of them


@pytest.mark.parametrize("way_round", ["the service on every address", "the host's own block on every address"])
def test_the_same_name_on_sockets_that_overlap_is_refused(site, upstream, own_certificate, port, way_round):
    ours, theirs = (port, f"{NARROW}:{port}") if way_round.startswith("the service") else (f"{NARROW}:{port}", port)
    nginx = host_with(site, service("app", ours, upstream))
    own_block(nginx, theirs, "app.lan", own_certificate)
    for arguments in (["--check"], []):
        said = site.refused(*arguments)
        assert "service app: app.lan is served in" in said
        assert "conf.d/own.conf, line 2 as well, and the two listen on sockets that overlap" in said
        assert f"at {NARROW}:{port}" in said
        assert "give both the same listen" in said
    assert not (nginx.folder / "conf.d" / "mtls-app.conf").exists()


def test_a_block_that_comes_later_is_noticed_on_a_host_where_nothing_changes(site, upstream, own_certificate, port):
    nginx = host_with(site, service("app", port, upstream))
    site.ok()
    own_block(nginx, f"{NARROW}:{port}", "*.lan", own_certificate)
    subprocess.run(["nginx", "-c", nginx.conf, "-s", "reload"], check=True, capture_output=True)
    assert "service app: app.lan is served in" in site.refused()
    site.run("-e", "mtls_status_live=true", playbook=STATUS)
    assert "service app: app.lan is served in" in (site.inventory / "status" / "status.json").read_text()
    # What must get in gets in all the same.
    assert site.run(playbook=REPOSITORY / "playbooks" / "refresh_crl.yml").returncode == 0


def test_another_name_on_one_address_is_told(site, upstream, own_certificate, port):
    nginx = host_with(site, service("app", port, upstream))
    own_block(nginx, f"127.0.0.1:{port}", "other.lan", own_certificate)
    place = f"{nginx.folder}/conf.d/own.conf, line 2"
    note = f"app: NOT AT EVERY ADDRESS: at 127.0.0.1:{port}, {place} answers in its place"
    plan = " ".join(site.ok("--check").text.split())
    assert note in plan
    # The transaction asks the gate where it is, and the probe's address is the inventory's to say.
    site.host_vars["nas"]["mtls_probe_address"] = "127.0.0.2"
    assert note in " ".join(site.ok().text.split())
    unchanged = site.ok()
    assert note in " ".join(unchanged.text.split())
    assert unchanged.changed == 0
    assert site.status(port, host="app.lan", address="127.0.0.2") == 400


def test_a_service_on_every_address_answers_beside_one_on_a_single_address(site, upstream, port):
    host_with(site, service("wide", port, upstream), service("narrow", f"{NARROW}:{port}", upstream))
    site.ok()
    assert site.status(port, host="wide.lan", client="phone") == 200
    assert site.status(port, host="wide.lan", client="phone", address=NARROW) == 200
    assert site.status(port, host="narrow.lan", client="phone", address=NARROW) == 200
    assert site.status(port, host="narrow.lan", client="phone") == 421
    assert site.status(port, host="wide.lan", address=NARROW) == 400
