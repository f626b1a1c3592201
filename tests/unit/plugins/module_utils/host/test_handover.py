# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes to open sockets that the running nginx keeps from being opened."""

from __future__ import annotations

import os
import socket

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import handover, nginx_conf

MARKER = "# Managed by mtls.nginx\n"


@pytest.fixture
def host(tmp_path):
    """Files of conf.d by name; this process stands for nginx's master."""

    def make(**files):
        (tmp_path / "conf.d").mkdir(exist_ok=True)
        for name, listens in files.items():
            text = "".join(f"server {{ listen {listen}; }}\n" for listen in listens)
            ours = MARKER if name.startswith("mtls") else ""
            (tmp_path / "conf.d" / f"{name.replace('_', '-')}.conf").write_text(ours + text)
        (tmp_path / "nginx.conf").write_text("http { include conf.d/*.conf; }\n")

        def without(paths):
            return nginx_conf.load(str(tmp_path / "nginx.conf"), dict.fromkeys(paths))

        return without

    return make


@pytest.fixture
def held():
    with socket.create_server(("0.0.0.0", 0)) as server:
        yield server.getsockname()[1]


def plan(without):
    return handover.plan(without([]), os.getpid(), without)


def test_a_socket_that_is_open_needs_nothing(host, held):
    assert plan(host(mtls_a=[held], own=[f"127.0.0.1:{held}"])) is None


def test_two_reloads(host, held, tmp_path):
    found = plan(host(mtls_a=[f"127.0.0.1:{held}", f"[::]:{held}"], mtls_b=[f"127.0.0.1:{held}"], own=["8080"]))
    assert [str(listen) for listen in found.wanted] == [f"127.0.0.1:{held}"]
    assert found.held == [f"0.0.0.0:{held}"]
    assert found.files == [f"{tmp_path}/conf.d/mtls-a.conf", f"{tmp_path}/conf.d/mtls-b.conf"]
    assert not found.restart
    assert found.words(check=True) == (
        f"127.0.0.1:{held} cannot be opened while nginx holds 0.0.0.0:{held}: nginx would be reloaded twice, and in"
        f" between nobody can connect to port {held}, for less than a second"
    )


def test_it_waits_for_the_workers_that_still_hold_the_socket(host, held, monkeypatch):
    found, tries = plan(host(mtls_a=[f"127.0.0.1:{held}"])), []

    def can_open(listen):
        tries.append(listen)
        return len(tries) > 2

    monkeypatch.setattr(handover, "_POLL", 0.0)
    monkeypatch.setattr(handover.ports, "can_open", can_open)
    found.wait()
    assert tries == [*found.wanted] * 3
    # Whoever does not let go: nginx itself is to say so.
    monkeypatch.setattr(handover, "_PATIENCE", 0.0)
    monkeypatch.setattr(handover.ports, "can_open", lambda _listen: False)
    found.wait()


@pytest.mark.parametrize("own", ["127.0.0.1", "127.0.0.2"])
def test_a_block_of_the_hosts_own_wants_one_too(host, held, own):
    found = plan(host(mtls_a=[f"127.0.0.1:{held}"], own=[f"{own}:{held}"]))
    assert found.restart
    assert "nginx was restarted, which ends every connection" in found.words(check=False)


def test_a_result_that_nginx_rejects(host, held):
    without = host(mtls_a=[f"127.0.0.1:{held}"])
    assert handover.plan(without([]), os.getpid(), lambda _paths: None).restart


def test_the_maps_are_never_left_out(host, held):
    assert plan(host(mtls=[f"127.0.0.1:{held}"])).restart


def test_what_another_program_holds_is_no_handover(host, held):
    without = host(mtls_a=[f"127.0.0.1:{held}"])
    assert handover.plan(without([]), os.getppid(), without) is None


@pytest.mark.parametrize("listens", [["443", "[::]:443 ipv6only=off"], ["127.0.0.1:443", "[::]:443 ipv6only=off"]])
def test_sockets_that_cannot_be_open_together(host, listens):
    configuration = host(own=listens[1:], mtls_a=[*listens[:1], "[::]:443"])([])
    with pytest.raises(MtlsError, match=r"takes IPv4 too: nginx cannot open both\. .* listen: '\[::\]:443'"):
        handover.refuse_irreconcilable(configuration)


def test_sockets_that_can(host):
    handover.refuse_irreconcilable(host(own=["443", "[::]:443", "[::]:80 ipv6only=off", "[::1]:443"])([]))
