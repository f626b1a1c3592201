# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller asks of a host: the options of ``nginx_config``, and what ``nginx_facts`` compares.

Named tuples here, as in all that a host without changes loads: a data class takes ten times as long to be made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

FILE_MODE = 0o644


SECRET_MODE = 0o600


class WantedFile(NamedTuple):
    """A file as it should be. A secret one never appears in a diff or in a scratch file.

    ``owner`` (user and group) is set for a file of the host's own in which we edit a line. Files of ours belong to
    whoever runs this. ``shared_folder``: others may write beside it, so whatever has its name and is not a regular file
    is replaced unread. ``group``: whose members may read it besides, for what nginx's workers read as they answer.
    """

    path: str
    content: bytes
    mode: int = FILE_MODE
    secret: bool = False
    owner: tuple[int, int] | None = None
    shared_folder: bool = False
    group: int | None = None


class GateProbe(NamedTuple):
    """A TLS socket that must answer a request without a client certificate with the status ``expect``."""

    address: str
    port: int
    server_name: str
    expect: int = 400
    proxy_protocol: bool = False


class Textfile(NamedTuple):
    """Where the metrics are written, and the files they are about.

    ``authorities`` are triples: a name (empty for the host's own authority), the path of the CA certificates and that
    of the CRL. ``certificates`` are pairs of a service's name and a path.
    """

    path: str
    authorities: Sequence[tuple[str, str, str]]
    certificates: Sequence[tuple[str, str]] = ()


class Renewals(NamedTuple):
    """The folder in which clients' next certificates wait to be fetched: ``files`` by name, those that ``stay``.

    Whatever else is in the folder is removed.
    """

    folder: str
    files: Mapping[str, bytes] = MappingProxyType({})
    stay: Collection[str] = ()


class Snippet(NamedTuple):
    """A file of ours to be included in a server block of the host's own, or one of ours with exempt networks.

    With ``exempt``, it lets in without a certificate whoever comes from some networks. ``server_names`` are those of
    the service, by one of which a snippet can be asked; ``*.`` stands for any name below.
    """

    service: str
    path: str
    exempt: bool = False
    server_names: Sequence[str] = ()

    @property
    def warning(self) -> str:
        """Return the warning for a snippet that no server block includes."""
        return (
            f"service {self.service}: no server block includes {self.path}, so it guards nothing yet; put the line"
            f" 'include {self.path};' at the top of the server block that it is for"
        )


class SnippetGate(NamedTuple):
    """Where a snippet can be asked: a socket of a server block that includes it, and a server name that leads there.

    ``place`` is the block's place in words. ``address`` is None for a socket on every address. ``own_pages``: the
    host's own ``error_page`` may change the gate's answers. ``trouble`` says why it cannot be asked.
    """

    service: str
    place: str
    port: int | None = None
    server_name: str | None = None
    address: str | None = None
    proxy_protocol: bool = False
    own_pages: bool = False
    trouble: str | None = None


class Elsewhere(NamedTuple):
    """A service for which another server block answers at some address; ``why`` says which, and where."""

    service: str
    why: str


class SnippetPlaces(NamedTuple):
    """Which snippets no server block includes, and where the others can be asked."""

    unguarded: Sequence[Snippet] = ()
    gates: Sequence[SnippetGate] = ()

    def as_answer(self) -> dict[str, Any]:
        """Return them as modules do."""
        return {
            "unguarded": [{"service": snippet.service, "path": snippet.path} for snippet in self.unguarded],
            "snippet_gates": [gate._asdict() for gate in self.gates],
        }


class ChangeRequest(NamedTuple):
    """What a host should have.

    ``owned`` are patterns of our files: one that is neither wanted nor absent is refused. ``shutdown_timeout`` is the
    limit in seconds for connections that outlive a reload; 0 removes ours, None leaves it alone. ``restart``: whether
    systemd is to start nginx again after a failure; None leaves that alone. ``textfile`` is where
    expiry dates are written for Prometheus. ``close_rejected``: the files must be installed, so services of ours that
    nginx rejects on this host are closed. Without ``start``, nginx that does not run is left so. ``renewals`` is None
    where clients' next certificates are left alone.
    """

    wanted: Sequence[WantedFile] = ()
    absent: Sequence[str] = ()
    owned: Sequence[str] = ()
    gates: Sequence[GateProbe] = ()
    snippets: Sequence[Snippet] = ()
    shutdown_timeout: int | None = None
    restart: bool | None = None
    textfile: Textfile | None = None
    renewals: Renewals | None = None
    close_rejected: bool = False
    reload: bool = False
    start: bool = True
    check: bool = False
    scratch_parent: str | None = None


def textfile_from(options: Mapping[str, Any] | None) -> Textfile | None:
    """Return what the option ``textfile`` of modules says."""
    if options is None:
        return None
    certificates = [(item["service"], item["path"]) for item in options["certificates"]]
    authorities = [(item["name"], item["ca"], item["crl"]) for item in options["authorities"]]
    return Textfile(options["path"], authorities, certificates)
