# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host with one service gets that fetches its CRL."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.mtls.nginx.plugins.module_utils.host import heard
from ansible_collections.mtls.nginx.plugins.module_utils.site import crl_program
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services

URL = "https://crl.example.com/crl.pem"
NGINX = {"binary": "nginx", "conf_path": "/etc/nginx/nginx.conf"}
WATCH = heard.Watch(3, ["/usr/local/bin/notify"])


def files(
    urls: Mapping[str, str] | None = None,
    *,
    state: str = "present",
    minutes: int = 20,
    textfile: Mapping[str, object] | None = None,
    watch: heard.Watch | None = None,
    **service: object,
) -> dict[str, str] | None:
    """Return the files by path, None for a host that fetches none; `service` are more options of the service."""
    raw = {"name": "nas", "server_names": ["a"], "root": "/srv", "state": state, **service}
    return crl_program.program_files(
        "/etc/nginx",
        parse_services("nas", [raw]),
        {"": URL} if urls is None else urls,
        minutes=minutes,
        nginx=NGINX,
        textfile=textfile,
        watch=watch,
    )
