# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts that are bad for one host: they stop before the next batch, every host serves on, the next run completes."""

from __future__ import annotations

import contextlib
import re

import pytest

NAMES = [f"web-{number}" for number in range(1, 7)]
BAD = "web-3"  # in the second of three batches: web-1, then web-2 and web-3, then the rest
LATER = NAMES[3:]
VARIABLES = "group_vars/mtls_servers"


@contextlib.contextmanager
def broken_configuration(host):
    """Somebody has left a mistake in the host's own nginx.conf."""
    assert host.run("sed -i.good '1i nonsense;' /etc/nginx/nginx.conf").rc == 0
    yield
    assert host.run("mv /etc/nginx/nginx.conf.good /etc/nginx/nginx.conf").rc == 0


@contextlib.contextmanager
def taken_port(host):
    """Another program listens where a new service is to listen."""
    program = 'import socket,time; s=socket.create_server(("", 8443)); time.sleep(600)'
    started = host.run(f"systemd-run --unit=squatter python3 -c '{program}'")
    assert started.rc == 0, started.stderr
    yield
    assert host.run("systemctl stop squatter").rc == 0


@contextlib.contextmanager
def full_disk(host):
    """No room is left on the file system of nginx's configuration."""
    script = (
        "cp -a /etc/nginx /tmp/nginx && mount -t tmpfs -o size=512k,mode=755 tmpfs /etc/nginx"
        " && cp -a /tmp/nginx/. /etc/nginx/ && rm -r /tmp/nginx"
    )
    assert host.run(script).rc == 0
    host.run("dd if=/dev/zero of=/etc/nginx/full bs=1k")
    yield
    assert host.run("rm /etc/nginx/full").rc == 0


# What happens to the host, what the error must say, who may enter before, and who afterwards.
TROUBLES = {
    "broken configuration": (broken_configuration, "nonsense", "phone", "tablet"),
    "taken port": (taken_port, "8443", "tablet", "phone"),
    "full disk": (full_disk, "Every file is as it was before", "phone", "tablet"),
}


def listening(site, client: str) -> list[int]:
    return [site.status(name, "nas.test", client=client) for name in NAMES]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_one_bad_host_stops_the_rollout(site, on, trouble):
    bring, said, before, after = TROUBLES[trouble]
    assert listening(site, before) == [200] * 6
    with site.variables(VARIABLES) as group:
        service = group["mtls_services"][0]
        service["allow"] = [after]
        group["mtls_services"] = [service]
        if trouble == "taken port":
            group["mtls_services"].append({**service, "name": "second", "listen": "8443"})
        elif trouble == "full disk":
            group["mtls_services"].append({**service, "name": "second", "state": "absent"})

    with bring(on(BAD)):
        stopped = site.refused()
        assert said in stopped.line
        assert f"NOT REACHED, the run stopped before: {', '.join(LATER)}" in stopped.line
        # The host that goes ahead has the new state, the bad one and those after it the old one, and all serve.
        assert site.status("web-1", "nas.test", client=after) == 200
        assert [site.status(name, "nas.test", client=before) for name in (BAD, *LATER)] == [200] * 4
        assert on(BAD).service("nginx").is_running

    done = site.ok()
    assert re.search(r"nothing changed; let in: \S+; kept out: .*: web-1", done.line)
    assert listening(site, after) == [200] * 6
    assert listening(site, before) == [403] * 6
