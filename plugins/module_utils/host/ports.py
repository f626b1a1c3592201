# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which program holds a port. ``nginx -t`` binds none, so a taken port would only show at the reload."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Collection, Iterable, Iterator

from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import ListenSocket

_LISTENING = "0A"  # TCP_LISTEN of the kernel's include/net/tcp_states.h


def taken(listens: Iterable[ListenSocket], nginx_pids: Collection[int]) -> Iterator[tuple[ListenSocket, str]]:
    """Yield the sockets that nginx could not open because another program listens there, and that program in words.

    What the processes ``nginx_pids`` hold counts as free.
    """
    ours = {inode for pid in nginx_pids for inode in socket_inodes(pid)}
    for listen in listens:
        if _can_bind(listen):
            continue
        others = listeners(listen.port) - ours
        if others:
            yield listen, _program(others)


def _can_bind(listen: ListenSocket) -> bool:
    """Tell whether the kernel gives out the address now. Any obstacle but "in use" is left for nginx to report."""
    family = socket.AF_INET6 if listen.ipv6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listen.ipv6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(listen.ipv6_only))
            probe.bind((listen.host, listen.port))
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def listeners(port: int | None = None) -> set[int]:
    """Return the inodes of the TCP sockets that listen, on this port or on any (proc_net_tcp(5))."""
    found: set[int] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as handle:
                rows = [line.split() for line in handle.readlines()[1:]]
        except OSError:
            continue
        found.update(
            int(row[9]) for row in rows if row[3] == _LISTENING and port in (None, int(row[1].rpartition(":")[2], 16))
        )
    return found


def _program(inodes: set[int]) -> str:
    for name in os.listdir("/proc"):
        if name.isdigit() and inodes & socket_inodes(int(name)):
            try:
                with open(f"/proc/{name}/comm", encoding="utf-8", errors="replace") as handle:
                    return f"{handle.read().strip()} (process {name})"
            except OSError:
                continue
    return "a program that cannot be seen from here, perhaps in a container"


def socket_inodes(pid: int) -> set[int]:
    """Return the inodes of a process's sockets; none where they may not be seen."""
    folder = f"/proc/{pid}/fd"
    found: set[int] = set()
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return found
    for descriptor in descriptors:
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"{folder}/{descriptor}"))
        except OSError:
            continue
        if match:
            found.add(int(match[1]))
    return found
