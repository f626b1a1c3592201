# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that fetches a host's CRL, made of the collection's own files, and what it is told."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import crl_fetch, crl_place, crl_records, crl_timer, heard
from ansible_collections.mtls.nginx.plugins.module_utils.site import host_sources
from ansible_collections.mtls.nginx.plugins.module_utils.site.host_paths import TrustPaths, trusts_of
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

_MAIN = f"""\
import sys

from {host_sources.PACKAGE.replace("/", ".")}.host import crl_fetch

sys.exit(crl_fetch.main(sys.argv[1:]))
"""


def program_files(
    conf_dir: str,
    services: Sequence[Service],
    urls: Mapping[str, str],
    *,
    minutes: int,
    nginx: Mapping[str, str],
    textfile: Mapping[str, t.Any] | None,
    watch: heard.Watch | None = None,
) -> dict[str, str] | None:
    """Return what a host gets that fetches its CRLs, by path in the folder; None for one that does not.

    ``urls`` are by ``Service.trust``. ``nginx`` has ``binary`` and ``conf_path``, ``textfile`` is the option of that
    name of ``nginx_config``. With ``watch``, also one that fetches none looks whether the controller still comes.

    :raises MtlsError: what the inventory says cannot be done.
    """
    if watch is not None:
        _check_watch(watch)
    if not any(service.present for service in services):
        watch = None
    trusts = trusts_of(services)
    sources = []
    for name, url in urls.items():
        if not url.startswith(("http://", "https://")) or not url.isascii() or not url.isprintable() or " " in url:
            raise MtlsError(f"mtls_crl_url: {url!r} is not an address; write https://crl.example.com/crl.pem")
        if name in trusts and any(service.present for service in services):
            trust = TrustPaths.of(conf_dir, name)
            sources.append(crl_fetch.Source(name, url, trust.ca, trust.crl, trust.revoked, trust.ended))
    if not sources and watch is None:
        return None
    settings = crl_fetch.Settings(sources=sources, textfile=textfile, watch=watch, **nginx)
    return {**_program(), crl_records.SETTINGS: settings.as_json(), crl_timer.MINUTES: f"{minutes}\n"}


def _check_watch(watch: heard.Watch) -> None:
    if not watch.command or not os.path.isabs(watch.command[0]):
        raise MtlsError(
            "mtls_host_notify_command: is not a list that begins with the full path of a program on the host; write "
            "it as"
            " [/usr/local/bin/mtls-notify]"
        )
    if watch.days < 1:
        raise MtlsError(f"mtls_upkeep_warn_days: is {watch.days}; use 1 or more")


def _program() -> Mapping[str, str]:
    found = {"__main__.py": _MAIN, **host_sources.sources()}
    return {f"{crl_place.PROGRAM}/{path}": text for path, text in found.items()}
