# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The next certificates of clients, which wait on a host to be fetched. Root writes them, nginx's workers read them."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import re
from collections.abc import Mapping

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx, run
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, WantedFile

MODE = 0o640
_OTHERWISE = "not as it was written"


def with_renewals(request: ChangeRequest, nginx: Nginx) -> ChangeRequest:
    """Return the request with the files of its folder, and without whatever else is in there.

    :raises MtlsError: the group of nginx's workers is not known.
    """
    renewals = request.renewals
    if renewals is None:
        return request
    group = worker_group(nginx) if renewals.files else None
    wanted = [
        WantedFile(os.path.join(renewals.folder, name), content, MODE, secret=True, group=group)
        for name, content in renewals.files.items()
    ]
    known = {*renewals.files, *renewals.stay}
    absent = [os.path.join(renewals.folder, name) for name in _names(renewals.folder) if name not in known]
    return request._replace(wanted=[*request.wanted, *wanted], absent=[*request.absent, *absent])


def fingerprint(files: Mapping[str, bytes]) -> str | None:
    """Return what ``look`` reports of a folder with these files, by name; None for none."""
    return _digest({name: hashlib.sha256(content).hexdigest() for name, content in files.items()})


def look(folder: str, nginx: Nginx) -> str | None:
    """Return a digest of what is in the folder, None where nothing is.

    :raises MtlsError: the group of nginx's workers is not known.
    """
    names = _names(folder)
    group = worker_group(nginx) if names else None
    return _digest({name: _look_at(os.path.join(folder, name), group) for name in names})


def _digest(found: Mapping[str, str]) -> str | None:
    if not found:
        return None
    text = "".join(f"{name} {found[name]}\n" for name in sorted(found))
    return f"{MODE:04o} {hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}"


def _look_at(path: str, group: int | None) -> str:
    status = os.lstat(path)
    expected = (0o100000 | MODE, os.geteuid(), status.st_gid if group is None else group)
    if (status.st_mode, status.st_uid, status.st_gid) != expected:
        return _OTHERWISE
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def _names(folder: str) -> list[str]:
    """Return what is in the folder; names with a dot in front are those of a swap (``swap.py``)."""
    if not os.path.isdir(folder):
        return []
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def worker_group(nginx: Nginx) -> int | None:
    """Return the group of nginx's workers; None where nginx is not root, so that they are of its own.

    The directive ``user`` names user and group, one name stands for both (ngx_set_user in nginx's src/core/nginx.c).
    Without it, what was compiled in counts: ``--user`` and ``--group``, else ``nobody``.

    :raises MtlsError: there is no such group.
    """
    if os.geteuid() != 0:
        return None
    said = [statement.directive.values for statement in nginx_conf.load(nginx.conf_path).find("user", ())]
    if said:
        user, group = str(said[0][0]), str(said[0][-1])
    else:
        options: dict[str, str] = dict(re.findall(r"--(user|group)=(\S+)", run([nginx.binary, "-V"]).output))
        user = options.get("user", "nobody")
        group = options.get("group", user)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        pass
    try:  # Debian's `nobody` is in `nogroup`, and nginx's configure script looks for that
        return pwd.getpwnam(user).pw_gid
    except KeyError:
        raise MtlsError(
            f"{nginx.conf_path}: nginx's workers belong to the group {group!r}, which does not exist on this host, so "
            "no file can be made readable for them alone; correct the directive user"
        ) from None
