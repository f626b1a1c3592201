# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host should have, compared with what it has, with what only some hosts have. Reads, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import comparison, nginx_conf, shutdown, swap
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import (
    ChangeRequest,
    Snippet,
    SnippetPlaces,
    Textfile,
    WantedFile,
)


def with_textfile(request: ChangeRequest) -> ChangeRequest:
    """Return the request with the metrics of the files that it puts in place."""
    textfile = request.textfile
    if textfile is None or folder_in_the_way(textfile):
        return request
    # Only here: most hosts have none, and need not load what reads certificates.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import end_dates

    new: dict[str, bytes | None] = {wanted.path: wanted.content for wanted in request.wanted}
    new.update(dict.fromkeys(request.absent))
    content = end_dates.render(textfile, lambda path: new[path] if path in new else _read_if_possible(path))
    return request._replace(wanted=[*request.wanted, WantedFile(textfile.path, content, shared_folder=True)])


def _read_if_possible(path: str) -> bytes | None:
    """Return what is in a file, or None where it cannot be read.

    For the metrics: a broken certificate of the host's own must not keep a CRL from being installed.
    """
    try:
        return comparison.read(path)
    except (MtlsError, OSError):
        return None


def folder_in_the_way(textfile: Textfile) -> bool:
    """Tell whether there is a folder in the place of the metrics, so that they cannot be written.

    Whoever may write there must not be able to keep a CRL from being installed.
    """
    return os.path.isdir(textfile.path) and not os.path.islink(textfile.path)


class Survey(NamedTuple):
    """What a host has, as ``comparison.Look``, and where its snippets are."""

    settled: bool
    fingerprints: Mapping[str, str | None]
    own_bound: shutdown.OwnBound | None = None
    snippets: SnippetPlaces = SnippetPlaces()


def look(conf_path: str, paths: Sequence[str], request: ChangeRequest, binary: str = "nginx") -> Survey:
    """Compare as ``comparison.look`` does, with the metrics, the snippets, and what waits for clients to fetch it.

    Whatever cannot be read, or would be refused, counts as not settled: the transaction then says why.

    :raises swap.Busy: another run is working on the host.
    """
    try:
        settled, found, own_bound = comparison.look(conf_path, paths, with_textfile(request))
        if request.textfile is not None and folder_in_the_way(request.textfile):
            settled = False  # who carries the request out says so
        if nginx_conf.not_included(nginx_conf.load(conf_path), filter(os.path.exists, paths)):
            settled = False
        places = snippet_places(conf_path, request.snippets)
        if request.renewals is not None:
            found[request.renewals.folder] = _renewals(request.renewals.folder, binary, conf_path)
        return Survey(settled, found, own_bound, places)
    except swap.Busy:
        raise
    except (MtlsError, OSError):
        return Survey(False, {})


def _renewals(folder: str, binary: str, conf_path: str) -> str | None:
    if not os.path.isdir(folder):
        return None
    # Only here: most hosts have none.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_process, renewals

    return renewals.look(folder, nginx_process.Nginx(binary, conf_path))


def snippet_places(
    conf_path: str,
    wanted: Sequence[Snippet],
    configuration: nginx_conf.Configuration | None = None,
    *,
    judge: bool = True,
) -> SnippetPlaces:
    """Return where the snippets are included, in this configuration or else in that on disk.

    Without ``judge`` only where they can be asked.

    :raises MtlsError: one is included where it protects nothing.
    """
    if not wanted:
        return SnippetPlaces()
    # Only here: most hosts have none, and need not load what looks for them.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import snippets

    configuration = configuration or nginx_conf.load(conf_path)
    unguarded = snippets.included_nowhere(configuration, wanted) if judge else []
    return SnippetPlaces(unguarded, snippets.gates(configuration, wanted))


def held(expected: Mapping[str, str | None]) -> dict[str, dict[str, Any]]:
    """Return the certificates and CRLs of those files that are not as ``expected`` (fingerprints), by path.

    See ``certificates.Contents.as_answer``. Missing files are left out.
    """
    found = {}
    for path, fingerprinted in expected.items():
        content = None if comparison.fingerprint_of(path) == fingerprinted else comparison.read(path)
        if content is not None:
            # Only here: an unchanged host need not load what reads certificates.
            from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates

            found[path] = certificates.read(content).as_answer()
    return found
