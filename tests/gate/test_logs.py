# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the access log says of each caller, to whoever reads it: programs that ban, count and show."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import time

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.host import access_log

from . import pki
from .client import ask
from .nginxes import REPOSITORY

PROXY = "127.0.0.4"
CLIENT = "203.0.113.9"
SAYS = f"PROXY TCP4 {CLIENT} 10.0.0.1 1000 443\r\n".encode()


@pytest.fixture(scope="module")
def people(authority, tmp_path_factory):
    """Somebody on the list, somebody who is not, one who was revoked, one with a certificate of his own making."""
    lost = authority.client("lost, and logged")
    authority.revoke(lost)
    folder = tmp_path_factory.mktemp("forged")
    return {
        "admin": authority.client("admin"),
        "guest": authority.client("guest"),
        "lost": lost,
        "forger": pki.forged(folder, pki.subject("admin")),
    }


def log_of(host) -> list[str]:
    """The lines of the service's log; nginx writes one just after it has answered."""
    path = host.folder / "log" / "mtls-nas.access.log"
    before = -1
    while (size := path.stat().st_size) != before:
        before = size
        time.sleep(0.1)
    return path.read_text().splitlines()


# --- behind a proxy that hands TLS on


@pytest.fixture(scope="module")
def behind(geo, module_host, authority, people, upstream):
    host = module_host()
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": upstream.url, "allow": ["admin"]}
    host.ours([{**service, "proxy_protocol_from": ["127.0.0.4", "127.0.0.8/30"]}], authority)
    return host.start()


@pytest.mark.parametrize(
    ("source", "before", "logged"),
    [
        (PROXY, SAYS, CLIENT),
        ("127.0.0.9", SAYS, CLIENT),
        (PROXY, b"PROXY TCP6 2001:db8::9 fd00::1 1000 443\r\n", "2001:db8::9"),
        (PROXY, b"PROXY UNKNOWN\r\n", PROXY),
        ("127.0.0.5", SAYS, "127.0.0.5"),
    ],
    ids=["proxy", "network", "ipv6", "unknown", "liar"],
)
def test_ours_whoever_is_refused_is_logged_by_the_address_it_came_from(behind, people, tls, source, before, logged):
    asked = {"tls": tls, "source": source, "before": before}
    statuses = [
        ask(behind.port, **asked).status,
        ask(behind.port, client=people["lost"], **asked).status,
        ask(behind.port, client=people["guest"], **asked).status,
        ask(behind.port, client=people["admin"], sni="other.test", **asked).status,
        ask(behind.port, client=people["admin"], **asked).status,
    ]
    assert statuses == [400, 400, 403, 421, 200]
    lines = log_of(behind)[-len(statuses) :]
    assert [line.split(" ", 1)[0] for line in lines] == [logged] * len(statuses)
    assert [access_log.parse(line.encode()).status for line in lines] == statuses


def test_usual_a_refused_certificate_is_logged_as_the_proxys(build, new_host, authority, server_certificate, tls):
    """nginx refuses it in a phase that is earlier than realip."""
    host = new_host()
    host.by_hand(
        "server { listen 127.0.0.1:@PORT@ ssl proxy_protocol; server_name nas.test;\n"
        "access_log log/mtls-nas.access.log;\n"
        f"ssl_client_certificate own/ca.crt; ssl_verify_client on; set_real_ip_from {PROXY};\n"
        "real_ip_header proxy_protocol; return 204; }\n",
        authority=authority,
    )
    host.serve_as(server_certificate)
    host.start()
    admin = authority.client("admin")
    for client, status, logged in ((None, 400, PROXY), (admin, 204, CLIENT)):
        assert ask(host.port, tls=tls, client=client, source=PROXY, before=SAYS).status == status
        assert log_of(host)[-1].split(" ", 1)[0] == logged


# --- fail2ban

FAIL2BAN = REPOSITORY / "examples" / "fail2ban"
FILTER = FAIL2BAN / "filter.d" / "mtls-nginx.conf"
REGEX = shutil.which("fail2ban-regex")
STRANGER, HOUSEHOLD, CONTROLLER, MYSELF = "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.1"


@pytest.fixture(scope="module")
def logged(module_host, authority, people, upstream, tmp_path_factory):
    """A log that nginx wrote: of strangers, of a household with a new phone, and of our own probe."""
    host = module_host()
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": upstream.url, "allow": ["admin"]}
    host.ours([service], authority)
    host.start()
    asked = {"tls": "TLSv1.3"}

    def come(client=None, source=STRANGER, agent="Mozilla/5.0", **more):
        headers = f"User-Agent: {agent}\r\n"
        return ask(host.port, client=client, source=source, headers=headers, **asked, **more).status

    made = {
        "revoked": [come(people["lost"])],
        "not listed": [come(people["guest"])],
        "another name": [come(people["admin"], sni="other.test")],
        "forged": [come(people["forger"])],
        "in our probe's disguise": [come(people["guest"], agent=probe.USER_AGENT)],
        "a new phone": [come(source=HOUSEHOLD, path=path) for path in ("/", "/favicon.ico", "/app", "/x", "/y", "/z")],
        "let in": [come(people["admin"], source=HOUSEHOLD) for _each in range(3)],
        "an agent that looks like more": [
            come(source=HOUSEHOLD, agent='x" sni="nas.test" verify="FAILED:certificate revoked" dn="CN=a')
        ],
    }
    assert {status for statuses in made.values() for status in statuses} == {200, 400, 403, 421}
    # The probe of a run, from the host itself and from the controller.
    target = probe.Target("127.0.0.1", host.port, "nas.test")
    for client, expect in ((None, 400), (people["lost"], 400), (people["forger"], 400), (people["guest"], 403)):
        paths = (str(client.path), None) if client else (None, None)
        assert probe.ask(target, probe.Attempt("somebody", expect, *paths)).ok
        assert come(client, source=CONTROLLER, agent=probe.USER_AGENT, path=probe.GATE_PATH) == expect
    copy = tmp_path_factory.mktemp("logs") / "mtls-nas.access.log"
    copy.write_text("\n".join(log_of(host)) + "\n")
    return copy


def found(log: pathlib.Path, name: str) -> list[str]:
    """The lines that fail2ban's own program finds with a filter."""
    done = subprocess.run(
        [REGEX, "--print-all-matched", log, name], capture_output=True, text=True, check=False, timeout=60
    )
    matched = re.search(r"(?m)^\|- Matched line\(s\):\n((?:\|  .*\n)*)", done.stdout)
    assert "Lines: " in done.stdout, done.stdout + done.stderr
    return [line[3:] for line in matched[1].splitlines()] if matched else []


def test_what_the_filter_for_fail2ban_finds_and_what_not(logged):
    assert REGEX, "fail2ban-regex is not installed: tests/packages.sh"
    lines = found(logged, f'{FILTER}[controller="127\\.0\\.0\\.7"]')
    told = [access_log.parse(line.encode()) for line in lines]
    by = [line.split(" ", 1)[0] for line in lines]
    assert [*zip(by, (each.status for each in told), (each.verify.split(":")[0] for each in told), strict=True)] == [
        (STRANGER, 400, "FAILED"),
        (STRANGER, 403, "SUCCESS"),
        (STRANGER, 421, "SUCCESS"),
        (STRANGER, 400, "FAILED"),
        (STRANGER, 403, "SUCCESS"),
    ]
    assert [each.probe for each in told] == [False, False, False, False, True]


def test_without_the_controllers_address_its_probe_is_found(logged):
    lines = found(logged, str(FILTER))
    assert [line.split(" ", 1)[0] for line in lines] == [STRANGER] * 5 + [CONTROLLER] * 3


def test_fail2ban_takes_the_jail(logged, tmp_path):
    folder = tmp_path / "fail2ban"
    shutil.copytree("/etc/fail2ban", folder)
    shutil.rmtree(folder / "jail.d")
    shutil.copytree(FAIL2BAN, folder, dirs_exist_ok=True)
    jail = folder / "jail.d" / "mtls-nginx.conf"
    jail.write_text(jail.read_text().replace("/var/log/nginx/", f"{logged.parent}/"))
    client = ["fail2ban-client", "-c", folder]
    done = subprocess.run([*client, "-t"], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "OK: configuration test is successful\n", done.stderr
    dump = subprocess.run([*client, "-d"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert f"['set', 'mtls-nginx', 'addlogpath', '{logged}', 'head']" in dump
    assert r"['set', 'mtls-nginx', 'addignoreregex', '^(?:127\\.0\\.0\\.1|::1|192\\.0\\.2\\.10) - " in dump
    assert "'nginx-bad-request', 'addlogpath'" not in dump


def test_fail2bans_own_filter_for_bad_requests_finds_the_household(logged):
    """Why the example takes the services' logs away from it."""
    lines = found(logged, "nginx-bad-request")
    by = [line.split(" ", 1)[0] for line in lines]
    assert (by.count(HOUSEHOLD), by.count(CONTROLLER)) == (7, 3)
    assert not any(" 403 " in line or " 421 " in line for line in lines)
