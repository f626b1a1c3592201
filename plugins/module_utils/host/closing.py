# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that nginx rejects, and that would keep a revocation from taking effect on all others.

nginx accepts its configuration as a whole or not at all: if the certificate of one server block is missing, no new CRL
is read. So the server blocks of ours that nginx rejects are closed, and the rest gets its CRL. Nobody loses access who
would have had any after the next start of nginx.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import one_line
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import nginx_quote
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Verdict

CLOSED = "# Closed, since nginx rejected it: "
# ssl_reject_handshake came with nginx 1.19.4. Before that the block is left out.
_REJECTS_HANDSHAKES = (1, 19, 4)
# The socket's first server block decides on these for all of them, and may be one that is closed.
_KEPT = (
    "listen",
    "server_name",
    "http2",
    "ssl_protocols",
    "ssl_session_cache",
    "ssl_session_tickets",
    "ssl_conf_command",
)
_FILE_NAME = re.compile(r"mtls-(?P<service>.+)\.conf")
_HEAD = 4096
_QUOTED = re.compile(r'"([^"]+)"')
_PLACE = re.compile(r" in (/\S+):\d+")

Try = Callable[[Mapping[str, "bytes | None"]], Verdict]


@dataclass(frozen=True)
class Closed:
    """A service's server block that nginx rejected, and nginx's reason."""

    path: str
    words: str

    @property
    def service(self) -> str:
        """Return the service's name."""
        match = _FILE_NAME.fullmatch(os.path.basename(self.path))
        return match["service"] if match else self.path


def rejected(
    configuration: nginx_conf.Configuration, overlay: Mapping[str, bytes | None], version: str, attempt: Try
) -> dict[Closed, bytes] | None:
    """Return the server blocks of ours that have to be closed for the rest to be accepted, with their new content.

    ``configuration`` is the one with ``overlay``; ``attempt`` asks nginx about such changes. Returns None where nginx
    rejects something else as well.
    """
    # Only whole server blocks: a snippet without its lines would be a server block of the host's own without a gate.
    files = [
        file
        for path, file in configuration.files.items()
        if file.managed
        and path not in overlay
        and _FILE_NAME.fullmatch(os.path.basename(path))
        and set(configuration.included.get(path, ())) == {("http",)}
    ]
    rejects = tuple(map(int, version.split(".")[:3])) >= _REJECTS_HANDSHAKES
    closed: dict[str, bytes] = {}
    for close in (_shut, _left_out) if rejects else (_left_out,):
        closed = {file.path: close(file, "") for file in files}
        if closed and attempt({**overlay, **closed}).accepted:
            break
    else:
        return None
    found = {}
    for file in files:
        others = {path: content for path, content in closed.items() if path != file.path}
        verdict = attempt({**overlay, **others})
        if verdict.accepted:
            closed = others
        else:
            words = in_words(verdict.problems)
            closed[file.path] = close(file, words)
            found[Closed(file.path, words)] = closed[file.path]
    return found


def in_place(conf_dir: str) -> list[Closed]:
    """Return the services that an earlier run has closed on this host."""
    found = []
    for path in sorted(glob.glob(os.path.join(glob.escape(conf_dir), "conf.d", "mtls-*.conf"))):
        try:
            with open(path, encoding="utf-8", errors="replace") as handle:
                head = handle.read(_HEAD)
        except OSError:
            continue
        for line in head.split("\n")[:2]:
            if line.startswith(CLOSED):
                found.append(Closed(path, line[len(CLOSED) :]))
    return found


def in_words(problems: Sequence[str]) -> str:
    """Return nginx's errors in one line, without its warnings where it gave errors."""
    return "; ".join([problem for problem in problems if problem.startswith("[emerg]")] or problems)


def files_of_ours(problems: Sequence[str], configuration: nginx_conf.Configuration) -> list[str]:
    """Return the files of ours that nginx's errors name: by file and line, or by a path or host name in them."""
    words = in_words(problems)
    places = set(_PLACE.findall(words))
    quoted = {value for value in _QUOTED.findall(words) if value.startswith("/")}
    found = [
        statement.file.path
        for statement in configuration.statements
        if statement.file.managed
        and (statement.file.path in places or (not places and quoted.intersection(statement.directive.values)))
    ]
    return list(dict.fromkeys(found))


def message(services: Sequence[Closed], check: bool) -> str:
    """Return the message about services that are closed, or would be in check mode."""
    names = ", ".join(each.service for each in services)
    reasons = "; ".join(dict.fromkeys(f"{each.path}: {each.words}" for each in services))
    is_closed = "would be closed" if check else "is closed"
    return (
        f"nginx rejects its server block on this host, so service {names} {is_closed}: nobody gets in there until it is"
        f" fixed and site.yml has run ({reasons})"
    )


def _left_out(_file: nginx_conf.ConfFile, words: str) -> bytes:
    return f"{nginx_conf.MARKER}: changes made here are overwritten.\n{CLOSED}{one_line(words)}\n".encode()


def _shut(file: nginx_conf.ConfFile, words: str) -> bytes:
    """Return the server blocks of a service with sockets and names only."""
    lines = []
    for server in file.directives:
        if server.name != "server" or server.block is None:
            continue
        kept = [each for each in server.block if each.name in _KEPT]
        tls = any("ssl" in each.values for each in kept if each.name == "listen")
        lines.append("server {")
        lines += [f"    {each.name} {' '.join(map(nginx_quote, each.values))};" for each in kept]
        lines += [f"    {'ssl_reject_handshake on' if tls else 'return 503'};", "}"]
    return _left_out(file, words) + "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
