# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is behind a gate that has let somebody in: whether there is a page, or only nginx's word that there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import Service

_BAD_GATEWAY = 502
_NO_UPSTREAM = (_BAD_GATEWAY, 504)  # nginx reached nobody, or waited in vain (ngx_http_upstream.c)
_UPSTREAM_TROUBLE = (500, 503)
_MISSING, _FORBIDDEN = 404, 403


@dataclass(frozen=True)
class PageTrouble:
    """Why whoever is let in sees no page, and what to do about it on the host, or with an option of the service."""

    text: str
    remedy: str
    option: str | None = None


def attempt(service: Service, who: str, certificate: str, key: str | None) -> probe.Attempt:
    """Return the request for a service's page by somebody who may enter it."""
    return probe.Attempt(who, None, certificate, key, path=service.probe_path or "/")


def trouble(service: Service, outcome: probe.ProbeOutcome) -> PageTrouble | None:
    """Return what is wrong behind the gate; None where the page, or the application, answered, whatever it said."""
    found = _of_files(service, outcome) if service.root else _of_upstream(service, outcome)
    return found and replace(found, text=f"the gate opens, but {found.text}")


def _of_upstream(service: Service, outcome: probe.ProbeOutcome) -> PageTrouble | None:
    if outcome.status is None or outcome.status in _NO_UPSTREAM:
        text = f"{service.upstream} does not answer ({outcome.got})"
        tls = service.upstream_tls
        if tls and tls.verify and outcome.status == _BAD_GATEWAY:
            text += f", or its certificate is not for {tls.name}, or not by the CA of upstream_tls"
            return PageTrouble(text, "the service's error log says which it is", "upstream or upstream_tls")
        return PageTrouble(text, "start the application there", "upstream")
    if outcome.status in _UPSTREAM_TROUBLE:
        text = f"{service.upstream} answers {outcome.status} to GET {outcome.attempt.path}"
        return PageTrouble(text, "see why in the application's log")
    return None


def _of_files(service: Service, outcome: probe.ProbeOutcome) -> PageTrouble | None:
    place = f"{(service.root or '').rstrip('/')}{outcome.attempt.path}"
    if outcome.status == _MISSING:
        return PageTrouble(f"{place} is not there ({outcome.status})", "create it on the host", "root or probe_path")
    if outcome.status == _FORBIDDEN:
        text = f"{place} has no index.html, or nginx may not read it ({outcome.status})"
        remedy = "put an index.html there that nginx's workers may read"
        return PageTrouble(text, remedy, "root or probe_path")
    if outcome.status is None or outcome.status >= 500:
        return PageTrouble(f"nginx does not serve {place} ({outcome.got})", "see why in the service's error log")
    return None
