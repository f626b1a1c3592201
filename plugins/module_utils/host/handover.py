# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets that no reload can open, since the running nginx holds one that overlaps: ``443`` and ``127.0.0.1:443``.

nginx opens the new sockets before it closes the old ones, and the kernel gives out only one of the two: the reload
fails with "address in use" (measured with 1.22 and 1.31). Two reloads do it: one without the server blocks of ours
that want these sockets, which closes the old ones, and one with them. In between, for some hundredths of a second,
nobody can connect there; whoever is connected stays. Where blocks of the host's own want such a socket, nginx has to
be restarted.
"""

from __future__ import annotations

import os.path
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf, ports
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import Configuration, ListenSocket

_PATIENCE = 2.0
_POLL = 0.005

Without = Callable[[Collection[str]], "Configuration | None"]


@dataclass(frozen=True)
class Handover:
    """What it takes to open the sockets ``wanted`` while nginx holds ``held``.

    ``files`` are those of ours to be left out in between; without any, nginx has to be restarted.
    """

    wanted: Sequence[ListenSocket]
    held: Sequence[str]
    files: Sequence[str]

    @property
    def restart(self) -> bool:
        """Whether nginx has to be restarted."""
        return not self.files

    def words(self, *, check: bool) -> str:
        """Return what happens, or would in check mode, and why."""
        cause = f"{_listed(map(str, self.wanted))} cannot be opened while nginx holds {_listed(self.held)}"
        if self.restart:
            return (
                f"{cause}, and not only blocks of ours listen there: nginx {'would be' if check else 'was'} restarted,"
                " which ends every connection"
            )
        numbers = _listed(dict.fromkeys(str(listen.port) for listen in self.wanted))
        return (
            f"{cause}: nginx {'would be' if check else 'was'} reloaded twice, and in between nobody"
            f" {'could' if not check else 'can'} connect to port {numbers}, for less than a second"
        )

    def wait(self) -> None:
        """Wait until the old sockets are closed: the old workers hold them a little longer than the master."""
        deadline = time.monotonic() + _PATIENCE
        while not all(map(ports.can_open, self.wanted)) and time.monotonic() < deadline:
            time.sleep(_POLL)


def needed(configuration: Configuration) -> list[ListenSocket]:
    """Return the sockets that nginx opens: beside one on every address none on a single one (its option ``bind``)."""
    found = nginx_conf.listens(configuration)
    everywhere = {(listen.port, listen.ipv6) for listen in found if not listen.host}
    return [listen for listen in found if not listen.host or (listen.port, listen.ipv6) not in everywhere]


def refuse_irreconcilable(configuration: Configuration) -> None:
    """Raise MtlsError for sockets that cannot be open together, whatever was before.

    ``[::]:443 ipv6only=off`` takes IPv4 too, so that beside it none of IPv4 can be opened.
    """
    found = needed(configuration)
    for dual in found:
        if not dual.ipv6 or dual.host or dual.ipv6_only:
            continue
        for other in found:
            if other.port == dual.port and not other.ipv6:
                raise MtlsError(
                    f"{other.file} listens on {other}, and {dual.file} on {dual} with ipv6only=off, which takes IPv4"
                    " too: nginx cannot open both. Remove ipv6only=off there, or give the service"
                    f" listen: '[::]:{dual.port}', which shares that socket"
                )


def plan(configuration: Configuration, pid: int, without: Without) -> Handover | None:
    """Return how nginx comes from the sockets that its master ``pid`` holds to those of a configuration.

    None: a reload does. ``without`` returns the configuration without some files, None where nginx would reject that.
    """
    blocked = ports.blocked(needed(configuration), pid)
    if not blocked:
        return None
    wanted = {str(listen) for listen in blocked}
    files = {
        statement.file.path
        for statement in configuration.find("listen")
        if str(nginx_conf.listen_socket(statement)) in wanted and _is_ours(configuration, statement.file)
    }
    held = sorted({str(each) for listen in blocked for each in ports.in_the_way(listen, pid)})
    rest = without(files) if files else None
    if rest is None or any(_overlap(one, other) for one in needed(rest) for other in blocked):
        return Handover(blocked, held, ())
    return Handover(blocked, held, sorted(files))


def _is_ours(configuration: Configuration, file: nginx_conf.ConfFile) -> bool:
    """Tell whether a file is one of whole server blocks of ours, which nothing else refers to."""
    folder = os.path.join(configuration.conf_dir, "conf.d")
    return file.managed and os.path.dirname(file.path) == folder and os.path.basename(file.path) != "mtls.conf"


def _overlap(one: ListenSocket, other: ListenSocket) -> bool:
    if one.port != other.port:
        return False
    dual = any(each.ipv6 and not each.host and not each.ipv6_only for each in (one, other))
    return (dual or one.ipv6 == other.ipv6) and (not one.host or not other.host or one.host == other.host)


def _listed(items: Collection[str] | map[str]) -> str:
    return " and ".join(items)
