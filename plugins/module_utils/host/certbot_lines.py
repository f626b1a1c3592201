# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What certbot's nginx plugin has written into files of ours: a certificate, and for seconds a way past the gate."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.host.comparison import FileChange

_MARK = b"managed by Certbot"
_FILE = re.compile(rb"^\s*ssl_certificate(?P<key>_key)?\s+(?P<path>[^\s;]+)\s*;\s*#\s*managed by Certbot", re.MULTILINE)


def refuse(changes: Sequence[FileChange]) -> None:
    """Raise MtlsError where a change would take away what the plugin has written: visitors would see it.

    What certbot put there is no loss where the new file names the same certificate.
    """
    for change in changes:
        if change.wanted is None or not change.before or _MARK not in change.before:
            continue
        if not change.path.endswith(".conf") or not nginx_conf.is_managed(change.before):
            continue
        paths = {match["key"]: match["path"] for match in _FILE.finditer(change.before)}
        certificate, key = paths.get(None), paths.get(b"_key")
        if certificate and key and certificate in change.wanted.content:
            continue
        service = re.sub(r"^mtls-|\.conf$", "", os.path.basename(change.path))
        lines = ""
        if certificate and key:
            lines = (
                f" Write for service {service} certificate: {{path: {certificate.decode(errors='replace')},"
                f" key: {key.decode(errors='replace')}}}, and run again."
            )
        raise MtlsError(
            f"{change.path}: certbot's nginx plugin has written into this file of ours ('{_MARK.decode()}'), and this"
            f" run would undo that; nothing was changed.{lines} Have certbot renew it without that plugin, which lets"
            " strangers past the gate during a challenge: certbot certonly --webroot with the service's acme_root, or"
            " certificate: acme"
        )
