# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets of one port on all addresses and on one, with a real nginx: who answers where, and the way between them."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
import time

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import GateProbe, WantedFile
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY
from .host import Host, forked, self_signed

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
    site.run("-e", "mtls_status_live=true", playbook=STATUS)
    found = json.loads((site.inventory / "status" / "status.json").read_text())["findings"]
    assert "host_wrong" not in [finding["kind"] for finding in found]
    (finding,) = [finding for finding in found if finding["kind"] == "answered_elsewhere"]
    assert f"at 127.0.0.1:{port}, {place} answers in its place" in str(finding)


def test_a_service_on_every_address_answers_beside_one_on_a_single_address(site, upstream, port):
    host_with(site, service("wide", port, upstream), service("narrow", f"{NARROW}:{port}", upstream))
    site.ok()
    assert site.status(port, host="wide.lan", client="phone") == 200
    assert site.status(port, host="wide.lan", client="phone", address=NARROW) == 200
    assert site.status(port, host="narrow.lan", client="phone", address=NARROW) == 200
    assert site.status(port, host="narrow.lan", client="phone") == 421
    assert site.status(port, host="wide.lan", address=NARROW) == 400


# From all addresses to one, and back


class Visitor(threading.Thread):
    """Connects to a port all the time; ``refused`` are the moments at which it could not."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self._port, self._done = port, threading.Event()
        self.connected, self.refused = 0, []

    def run(self):
        while not self._done.is_set():
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=5).close()
                self.connected += 1
            except OSError:
                self.refused.append(time.monotonic())
            time.sleep(0.002)

    def stop(self):
        self._done.set()
        self.join()


def test_from_all_addresses_to_one_and_back(site, upstream, port):
    nginx = host_with(site, service("app", port, upstream))
    site.ok()
    master = nginx.pid
    for listen, other in ((f"127.0.0.1:{port}", None), (port, 400)):
        site.host_vars["nas"]["mtls_services"] = [service("app", listen, upstream)]
        cause = f"cannot be opened while nginx holds {'0.0.0.0' if other is None else '127.0.0.1'}:{port}: nginx"
        plan = " ".join(site.ok("--check").text.split())
        assert f"{cause} would be reloaded twice, and in between nobody can connect to port {port}" in plan
        assert other is not None or site.status(port, host="app.lan", address=NARROW) == 400, (
            "check mode changes nothing"
        )
        with socket.create_connection(("127.0.0.1", port)) as connected:
            connected = tls(connected)
            visitor = Visitor(port)
            visitor.start()
            said = " ".join(site.ok().text.split())
            visitor.stop()
            connected.sendall(b"GET / HTTP/1.1\r\nHost: app.lan\r\n\r\n")
            assert connected.recv(4096).startswith(b"HTTP/1.1 400"), "who is connected stays"
        assert f"{cause} was reloaded twice" in said
        assert visitor.connected
        assert not visitor.refused or visitor.refused[-1] - visitor.refused[0] < 1
        assert nginx.pid == master
        assert site.status(port, host="app.lan", client="phone") == 200
        if other is None:
            with pytest.raises(OSError, match="refused"):
                site.status(port, host="app.lan", address=NARROW)
        else:
            assert site.status(port, host="app.lan", address=NARROW) == other
        assert site.ok().changed == 0


def tls(connection):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname="app.lan")


def test_a_block_of_the_hosts_own_on_such_a_socket_takes_a_restart(site, upstream, own_certificate, port):
    nginx = host_with(site, service("app", port, upstream))
    own_block(nginx, f"{NARROW}:{port}", "other.lan", own_certificate)
    site.ok()
    master = nginx.pid
    for listen in (f"127.0.0.1:{port}", port):
        site.host_vars["nas"]["mtls_services"] = [service("app", listen, upstream)]
        plan = " ".join(site.ok("--check").text.split())
        assert "not only blocks of ours listen there: nginx would be restarted, which ends every connection" in plan
        assert nginx.pid == master
        assert "nginx was restarted" in " ".join(site.ok().text.split())
        assert nginx.pid != master
        master = nginx.pid
        assert site.status(port, host="app.lan", client="phone") == 200
        assert site.status(port, host="other.lan", address=NARROW) == 200


def test_a_socket_of_both_families_is_refused_beside_one_of_ipv4(site, upstream, own_certificate, port):
    nginx = host_with(site, service("app", port, upstream))
    (nginx.folder / "conf.d" / "own.conf").write_text(
        f"server {{\n listen [::]:{port} ssl ipv6only=off;\n server_name other.lan;\n {own_certificate}\n}}\n"
    )
    for arguments in (["--check"], []):
        said = site.refused(*arguments)
        assert f"on [::]:{port} with ipv6only=off, which takes IPv4 too: nginx cannot open both" in said
        assert f"give the service listen: '[::]:{port}'" in said
    site.host_vars["nas"]["mtls_services"] = [service("app", f"[::]:{port}", upstream)]
    site.ok()
    assert site.status(port, host="app.lan", client="phone") == 200


# The same, where something goes wrong on the way


@pytest.fixture(scope="module")
def pair():
    return self_signed("a.test")


@pytest.fixture
def host(tmp_path, pair):
    """A host whose service listens on every address, and answers 201."""
    made = Host(tmp_path, pair)
    made.apply(*wanted(made, f"0.0.0.0:{made.port}"), gates=[gate(made)])
    yield made
    made.nginx.stop()


def wanted(host, listen, status=201):
    files = [file for file in host.wanted(status) if not file.path.endswith("mtls-a.conf")]
    text = host.server(status).content.replace(f"127.0.0.1:{host.port}".encode(), listen.encode())
    return [*files, WantedFile(host.path("conf.d/mtls-a.conf"), text)]


def gate(host, status=201):
    return GateProbe("127.0.0.1", host.port, "a.test", status)


def answers_at(host, address):
    return probe.ask(probe.Target(address, host.port, "a.test"), probe.Attempt("nobody", 201)).got


def test_the_way_back_is_the_same(host):
    before, master = host.tree(), host.nginx.master()
    with pytest.raises(MtlsError, match=r"check of the gate failed: .* serves with the old configuration"):
        host.apply(*wanted(host, f"127.0.0.1:{host.port}", 202), gates=[gate(host, 203)])
    assert host.tree() == before
    assert host.nginx.master() == master
    assert [answers_at(host, address) for address in ("127.0.0.1", NARROW)] == ["201", "201"]


@pytest.mark.parametrize("moment", ["without the block", "with it", "on the way back"])
def test_killed_on_the_way(host, monkeypatch, moment):
    before = host.tree()
    reload, calls = Nginx.reload, []
    last = {"without the block": 1, "with it": 2, "on the way back": 3}[moment]

    def until(nginx, log, **options):
        calls.append(options)
        if len(calls) == last:
            os._exit(9)
        reload(nginx, log, **options)

    def change():
        monkeypatch.setattr(Nginx, "reload", until)
        host.apply(*wanted(host, f"127.0.0.1:{host.port}"), gates=[gate(host, 203)])

    _pid, status = os.waitpid(forked(change), 0)
    assert os.waitstatus_to_exitcode(status) == 9
    again = host.apply(*wanted(host, f"0.0.0.0:{host.port}"), gates=[gate(host)])
    assert again.changed
    assert {path: entry[1:] for path, entry in host.tree().items()} == {
        path: entry[1:] for path, entry in before.items()
    }
    assert [answers_at(host, address) for address in ("127.0.0.1", NARROW)] == ["201", "201"]


def test_a_block_that_nothing_else_than_a_reload_brings_in(host):
    """The block of ours stands as it is to be, and nginx has not read it yet, as the host's own was in the way."""
    own = host.conf / "sites-enabled" / "own"
    own.write_text(f"server {{ listen {host.port}; }}\n")
    host.apply(*wanted(host, f"127.0.0.1:{host.port}"), gates=[])
    own.unlink()
    outcome = host.apply(*wanted(host, f"127.0.0.1:{host.port}"), reload=True, gates=[gate(host)])
    assert "reloaded twice" in outcome.handover
    assert answers_at(host, NARROW) == "connection refused"
