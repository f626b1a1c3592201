# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which program holds a port. ``nginx -t`` binds none, so a taken port would only show at the reload."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import ListenSocket

_LISTENING = "0A"  # TCP_LISTEN of the kernel's include/net/tcp_states.h


def taken(listens: Iterable[ListenSocket], nginx_pids: Collection[int]) -> Iterator[tuple[ListenSocket, str]]:
    """Yield the sockets that nginx could not open because another program listens there, and that program in words.

    What the processes ``nginx_pids`` hold counts as free.
    """
    ours = {inode for pid in nginx_pids for inode in socket_inodes(pid)}
    for listen in listens:
        if can_open(listen):
            continue
        others = {each.inode for each in _rivals(listen)} - ours
        if others:
            yield listen, _program(others)


def blocked(listens: Iterable[ListenSocket], nginx_pid: int) -> list[ListenSocket]:
    """Return the sockets that nginx's own master keeps from being opened: it holds others that overlap with them."""
    ours = socket_inodes(nginx_pid)
    opened = {(each.host, each.port, each.ipv6) for each in _listening() if each.inode in ours}
    return [
        listen
        for listen in listens
        if (listen.host, listen.port, listen.ipv6) not in opened
        and not can_open(listen)
        and ours & {each.inode for each in _rivals(listen)}
    ]


def not_here(listens: Iterable[ListenSocket], nginx_pids: Collection[int]) -> list[ListenSocket]:
    """Return the sockets that nginx cannot open because the host does not have their address, and may not bind it."""
    ours = {inode for pid in nginx_pids for inode in socket_inodes(pid)}
    opened = {(each.host, each.port, each.ipv6) for each in _listening() if each.inode in ours}
    return [
        listen
        for listen in listens
        if listen.host
        and (listen.host, listen.port, listen.ipv6) not in opened
        and _obstacle(listen) == errno.EADDRNOTAVAIL
    ]


def in_the_way(listen: ListenSocket, nginx_pid: int) -> list[ListenSocket]:
    """Return what nginx's master holds of the sockets that overlap with one."""
    ours = socket_inodes(nginx_pid)
    found = [each for each in _rivals(listen) if each.inode in ours]
    return [ListenSocket(each.host, each.port, each.ipv6, False, "") for each in found]


@dataclass(frozen=True)
class _Listening:
    """A TCP socket that listens; ``host`` is empty for every address of its family."""

    host: str
    port: int
    ipv6: bool
    inode: int


def _rivals(listen: ListenSocket) -> list[_Listening]:
    """Return the sockets because of which one cannot be opened.

    A socket on every IPv6 address may take IPv4 too, which the kernel's table does not say: it counts where no other
    explains it.
    """
    there = [each for each in _listening() if each.port == listen.port]
    same = [
        each
        for each in there
        if each.ipv6 == listen.ipv6 and (not each.host or not listen.host or each.host == listen.host)
    ]
    return same or there


def can_open(listen: ListenSocket) -> bool:
    """Tell whether the kernel gives out the address now. Any obstacle but "in use" is left for nginx to report."""
    return _obstacle(listen) != errno.EADDRINUSE


def _obstacle(listen: ListenSocket) -> int | None:
    """Return the error number with which the kernel refuses the address now, None where it gives it out."""
    family = socket.AF_INET6 if listen.ipv6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listen.ipv6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(listen.ipv6_only))
            probe.bind((listen.host, listen.port))
    except OSError as error:
        return error.errno
    return None


def listeners(port: int | None = None) -> set[int]:
    """Return the inodes of the TCP sockets that listen, on this port or on any."""
    return {each.inode for each in _listening() if port in (None, each.port)}


def _listening() -> Iterator[_Listening]:
    """Yield the TCP sockets that listen (proc_net_tcp(5))."""
    for table, ipv6 in (("/proc/net/tcp", False), ("/proc/net/tcp6", True)):
        try:
            with open(table, encoding="ascii") as handle:
                rows = [line.split() for line in handle.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            if row[3] == _LISTENING:
                address, _colon, port = row[1].partition(":")
                yield _Listening(_host(address, ipv6=ipv6), int(port, 16), ipv6, int(row[9]))


def _host(text: str, *, ipv6: bool) -> str:
    """Return an address of the kernel's table, which has it as numbers of 32 bits in the machine's byte order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET6 if ipv6 else socket.AF_INET, packed) if any(words) else ""


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
