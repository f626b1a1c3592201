# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses the host has now: a standby of keepalived listens on one that another machine answers at."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable

# The kernel's include/uapi/linux/netlink.h and rtnetlink.h.
_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_NLM_F_REQUEST = 1
_RTA_DST = 1
_RTN_LOCAL = 2
_HEADER, _ROUTE = "=IHHII", "=BBBBBBBBI"
_TIMEOUT = 2.0


def away(addresses: Iterable[str]) -> list[str]:
    """Return those of the addresses that the host does not have now."""
    return [address for address in addresses if not is_local(address)]


def is_local(address: str) -> bool:
    """Tell whether a connection to an address stays on this host.

    The kernel's routes say it (rtnetlink(7)). That the address can be bound does not: ``ip_nonlocal_bind`` allows any.
    """
    try:
        return _kind_of_route(address) == _RTN_LOCAL
    except OSError:
        return _can_bind(address)


def _kind_of_route(address: str) -> int | None:
    """Return the type of the route to an address, None where there is none.

    :raises OSError: the kernel does not say.
    """
    family = _family(address)
    packed = socket.inet_pton(family, address)
    body = struct.pack(_ROUTE, family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += struct.pack("=HH", 4 + len(packed), _RTA_DST) + packed
    size = struct.calcsize(_HEADER)
    message = struct.pack(_HEADER, size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_TIMEOUT)
        kernel.send(message)
        answer = kernel.recv(65536)
    kind = struct.unpack_from(_HEADER, answer)[1]
    return answer[size + 7] if kind == _RTM_NEWROUTE else None


def _can_bind(address: str) -> bool:
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
