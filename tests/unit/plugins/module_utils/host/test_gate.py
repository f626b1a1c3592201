# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's files and logs say of a gate: the files as the collection writes them, the logs as nginx does."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import pathlib

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host.gate import Gate, state
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_files import host_files
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import gate_files
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_view import NginxHost
from ansible_collections.mtls.nginx.plugins.module_utils.site.publication import Credential, Publication
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services

TEMPLATES = str(pathlib.Path(__file__).parents[5] / "roles" / "server" / "templates")
GARCIA = r"CN=Jos\C3\A9 \"Pepe\" Garc\C3\ADa\, IT,O=Acme"
# As nginx logs it.
LOGGED = r"CN=Jos\x5CC3\x5CA9 \x5C\x22Pepe\x5C\x22 Garc\x5CC3\x5CADa\x5C, IT,O=Acme"


@pytest.fixture
def host(pki, tmp_path):
    """A host's folder with two services as they are rolled out, one for everybody."""
    with pki.open() as authority:
        authority.write_crl(30)
    service = {"server_names": ["nas.lan"], "upstream": "http://127.0.0.1:1", "listen": "8443"}
    services = parse_services(
        "web", [{**service, "name": "my-nas", "allow": ["pepe"]}, {**service, "name": "all", "server_names": ["b.lan"]}]
    )
    nginx = NginxHost((1, 22, 1), True, str(tmp_path / "nginx.conf"), str(tmp_path / "log"), {})
    crl = (pki.path / "crl.pem").read_text()
    credentials = {each.name: Credential("CERTIFICATE", "KEY") for each in services}
    publication = Publication((pki.path / "ca.crt").read_text(), crl, {"pepe": [GARCIA]}, {}, credentials)
    for file in host_files(nginx, services, {"": publication}, TEMPLATES).files:
        path = pathlib.Path(file["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["content"])
    (tmp_path / "log").mkdir()
    return {service.name: service for service in services}


def look(tmp_path, service, serial="", dn=""):
    paths = gate_files(str(tmp_path), service)
    gate = Gate(service=service.name, variable=service.variable, log_dir=str(tmp_path / "log"), **paths)
    return state(gate, serial, dn)


def test_what_is_rolled_out(host, tmp_path):
    found = look(tmp_path, host["my-nas"], "0A")
    assert found["allow"] == {"everybody": False, "subjects": [GARCIA]}
    assert found["configured"] is True
    assert found["ca"] == hashlib.sha256((tmp_path / "client-certs" / "ca.crt").read_bytes()).hexdigest()
    assert found["crl"] == hashlib.sha256((tmp_path / "client-certs" / "crl.pem").read_bytes()).hexdigest()
    assert found["crl_end"] - found["crl_begin"] >= 30 * 86400
    assert found["revoked"] is False
    assert (found["requests"], found["errors"]) == ([], [])
    assert look(tmp_path, host["all"])["allow"] == {"everybody": True, "subjects": []}


def test_a_map_with_lists_for_paths(host, tmp_path):
    maps = tmp_path / "conf.d" / "mtls.conf"
    every = 'map "$a:$ssl_client_verify:$ssl_client_s_dn" $mtls_all_list {\n volatile;\n default 0;\n'
    named = '"rest:SUCCESS:CN=a" 1;\n"p0:SUCCESS:CN=b" 1;\n"every:SUCCESS:CN=b" 1;\n}\n'
    maps.write_text(every + named)
    assert look(tmp_path, host["all"])["allow"] == {"everybody": False, "subjects": ["CN=a"]}
    maps.write_text(every + '"~^rest:SUCCESS:" 1;\n' + named)
    assert look(tmp_path, host["all"])["allow"] == {"everybody": True, "subjects": ["CN=a"]}
    maps.write_text(every)
    assert look(tmp_path, host["all"])["allow"] is None


def test_which_serials_are_revoked(host, tmp_path):
    (tmp_path / "client-certs" / "revoked.map").write_text("# Managed\n0A 1;\n0BCC 1;\n")
    revoked = {serial: look(tmp_path, host["all"], serial)["revoked"] for serial in ("0A", "0BCC", "CC", "0B", "")}
    assert revoked == {"0A": True, "0BCC": True, "CC": False, "0B": False, "": False}


def test_a_host_that_has_nothing(host, tmp_path):
    empty = tmp_path / "empty"
    found = look(empty, host["all"])
    assert (found["configured"], found["allow"], found["ca"], found["crl"]) == (False, None, None, None)
    assert (found["crl_begin"], found["crl_end"], found["revoked"]) == (None, None, False)


def line(when, serial, dn, verify="SUCCESS", status=200, agent="Firefox"):
    return (
        f'192.0.2.1 - - [23/Nov/2026:10:00:{when:02} +0000] "GET / HTTP/1.1" {status} 5 "-" "{agent}" sni="nas.lan"'
        f' verify="{verify}" dn="{dn}" serial={serial}\n'
    )


def test_the_last_requests_of_a_client(host, tmp_path):
    log = tmp_path / "log" / "mtls-my-nas.access.log"
    (tmp_path / "log" / "mtls-my-nas.access.log.1").write_text(line(1, "0A", LOGGED))
    log.write_text(
        line(2, "0A", LOGGED, "FAILED:certificate revoked", 400)
        + "no line of ours\n"
        + line(3, "0B", LOGGED, agent="mtls.nginx-probe")
        + line(4, "0C", "CN=somebody")
        + line(5, "-", "-", "NONE", 400)
        + "half a li"
    )
    found = look(tmp_path, host["my-nas"], "0B", GARCIA)["requests"]
    assert [(each["when"][-8:-6], each["serial"], each["status"], each["probe"]) for each in found] == [
        ("01", "0A", 200, False),
        ("02", "0A", 400, False),
        ("03", "0B", 200, True),
    ]
    assert found[1]["verify"] == "FAILED:certificate revoked"
    assert [each["serial"] for each in look(tmp_path, host["my-nas"], "0C")["requests"]] == ["0C"]
    assert look(tmp_path, host["my-nas"])["requests"] == []
    log.write_text("".join(line(second, "0B", LOGGED) for second in range(30)))
    assert [each["when"][-8:-6] for each in look(tmp_path, host["my-nas"], "0B")["requests"]] == [
        str(second) for second in range(20, 30)
    ]


def test_who_came_without_a_certificate(host, tmp_path):
    log = tmp_path / "log" / "mtls-my-nas.access.log"
    log.write_text(
        line(1, "-", "-", "NONE", 400, agent="curl/8.5.0")
        + line(2, "-", "-", "NONE", 400)
        + line(3, "-", "-", "NONE", 400, agent="curl/8.5.0")
        + line(4, "-", "-", "NONE", 200, agent="on a public path")
        + line(5, "-", "-", "NONE", 400, agent="mtls.nginx-probe")
        + line(6, "0A", LOGGED, "FAILED:certificate revoked", 400)
    )
    found = look(tmp_path, host["my-nas"], "0A")
    assert found["without"] == [
        {"when": "23/Nov/2026:10:00:02 +0000", "caller": "192.0.2.1", "agent": "Firefox"},
        {"when": "23/Nov/2026:10:00:03 +0000", "caller": "192.0.2.1", "agent": "curl/8.5.0"},
    ]
    assert [each["agent"] for each in found["requests"]] == ["Firefox"]
    log.write_text("".join(line(second, "-", "-", "NONE", 400, agent=f"a{second}") for second in range(30)))
    assert [each["agent"] for each in look(tmp_path, host["my-nas"], "0A")["without"]] == [
        f"a{second}" for second in range(20, 30)
    ]


WHEN = "2026/11/23 10:00:00"
REFUSED = f"{WHEN} [info] 7#7: *1 client SSL certificate verify error: (23:certificate revoked)"


def test_what_the_error_log_says_of_tls(host, tmp_path):
    caller = ', client: 192.0.2.1, server: nas.lan, request: "GET /SSL HTTP/1.1", referrer: "\f'
    (tmp_path / "log" / "mtls-my-nas.error.log").write_text(
        f"{REFUSED}, client: 192.0.2.1\n"
        f'{WHEN} [error] 7#7: *2 open() "/srv/SSL" failed (2: No such file){caller}{REFUSED}"\n'
        f'{WHEN} [error] 7#7: *3 upstream timed out{caller}{REFUSED}\x85{REFUSED}"\n'
        f'{WHEN} [info] 7#7: *4 client sent no required SSL certificate{caller}\x1b[2J"\n'
    )
    found = look(tmp_path, host["my-nas"])["errors"]
    assert [line.split("#7: ")[1][:2] for line in found] == ["*1", "*4"]
    assert all(line.isprintable() for line in found)


def test_what_the_probe_of_each_run_leaves_in_the_error_log_is_no_error(host, tmp_path):
    stale = (
        f"{WHEN} [alert] 7#7: *5 ignoring stale global SSL error (SSL: error:0200008A:rsa routines::invalid padding)"
    )
    (tmp_path / "log" / "mtls-my-nas.error.log").write_text(
        f"{REFUSED}\n{stale} while reading client request headers\n"
    )
    assert look(tmp_path, host["my-nas"])["errors"] == [REFUSED]


@pytest.mark.parametrize("name", ["access.log.1.gz", "access.log-20261122.gz", "access.log.1"])
def test_the_log_rotated_last_is_read_whatever_its_name(host, tmp_path, name):
    text = line(1, "0B", "CN=a").encode()
    old = tmp_path / "log" / f"mtls-all.{name}"
    old.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    older = tmp_path / "log" / "mtls-all.access.log.9.gz"
    older.write_bytes(gzip.compress(line(5, "0B", "CN=a").encode()))
    os.utime(older, (1, 1))
    found = look(tmp_path, host["all"], "0B")
    assert ([each["when"][-8:-6] for each in found["requests"]], found["unread"]) == (["01"], [])


def test_one_that_cannot_be_read_is_named(host, tmp_path):
    old = tmp_path / "log" / "mtls-all.access.log.1.xz"
    old.write_bytes(lzma.compress(line(1, "0B", "CN=a").encode()))
    found = look(tmp_path, host["all"], "0B")
    assert (found["requests"], found["unread"]) == ([], [str(old)])


@pytest.mark.parametrize("kind", ["access", "error"])
def test_a_log_that_is_none(host, tmp_path, kind):
    """A FIFO would hold the run up, and what is behind a link may be for root only."""
    secret = tmp_path / "secret"
    secret.write_text(line(1, "0B", LOGGED) + REFUSED + "\n")
    os.mkfifo(tmp_path / "log" / f"mtls-my-nas.{kind}.log")
    (tmp_path / "log" / f"mtls-my-nas.{kind}.log.1").symlink_to(secret)
    found = look(tmp_path, host["my-nas"], "0B")
    assert (found["requests"], found["errors"]) == ([], [])


def test_only_the_end_of_a_long_log_is_read(host, tmp_path):
    log = tmp_path / "log" / "mtls-all.access.log"
    log.write_text(line(1, "0B", "CN=early") + line(2, "0C", "CN=filler") * 9000 + line(3, "0B", "CN=late"))
    assert [each["when"][-8:-6] for each in look(tmp_path, host["all"], "0B")["requests"]] == ["03"]


def test_a_file_of_maps_that_has_not_this_one_says_nothing(host, tmp_path):
    maps = pathlib.Path(gate_files(str(tmp_path), host["all"])["maps"])
    maps.write_text('map $ssl_client_verify $mtls_other_list {\n    default 0;\n    "SUCCESS" 1;\n}\n')
    assert look(tmp_path, host["all"])["allow"] is None
