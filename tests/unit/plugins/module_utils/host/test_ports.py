# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which program holds a port."""

from __future__ import annotations

import os
import socket

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import ports
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import ListenSocket


def test_free_port_is_not_taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert list(ports.taken([ListenSocket("127.0.0.1", port, False, False, "f")], ())) == []


@pytest.mark.parametrize(("bound", "wanted"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", ""), ("0.0.0.0", "127.0.0.1")])
def test_taken_port_names_the_program(bound, wanted):
    with socket.create_server((bound, 0)) as server:
        listen = ListenSocket(wanted, server.getsockname()[1], False, False, "f")
        ((found, words),) = ports.taken([listen], ())
        assert found is listen
        assert f"(process {os.getpid()})" in words
        assert list(ports.taken([listen], [os.getpid()])) == [], "held by nginx itself"


def test_another_port_of_the_program_is_not_this_one():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        port, inode = server.getsockname()[1], os.fstat(server.fileno()).st_ino
        assert ports.listeners(port) == {inode}
        both = {inode, os.fstat(other.fileno()).st_ino}
        assert both <= ports.listeners()
        assert both <= ports.socket_inodes(os.getpid())


def test_a_socket_that_does_not_listen_holds_no_port():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert os.fstat(client.fileno()).st_ino not in ports.listeners()


def test_a_process_that_has_ended_has_no_sockets():
    assert ports.socket_inodes(2**22 + 1) == set()


def test_a_program_of_another_container_is_not_seen(monkeypatch):
    monkeypatch.setattr(ports, "socket_inodes", lambda pid: set())
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = ListenSocket("127.0.0.1", server.getsockname()[1], False, False, "f")
        ((_found, words),) = ports.taken([listen], ())
    assert words == "a program that cannot be seen from here, perhaps in a container"


@pytest.mark.parametrize("only", [True, False])
def test_an_address_of_ipv6(only):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        ((_found, words),) = ports.taken([ListenSocket("::1", port, True, only, "f")], ())
        assert f"(process {os.getpid()})" in words
