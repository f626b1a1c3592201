# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the CRL and the certificates of a host expire, as metrics in Prometheus' text format.

Read on the host, because a service's certificate may be the host's own, renewed by another tool.
"""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Textfile

_CRL = ("mtls_nginx_crl_next_update_timestamp_seconds", "When the CRL expires and nginx refuses every client.")
_CA = ("mtls_nginx_ca_not_after_timestamp_seconds", "When the first CA certificate in ca.crt expires.")
_SERVER = (
    "mtls_nginx_server_certificate_not_after_timestamp_seconds",
    "When a service's server certificate, or an intermediate one sent with it, expires.",
)


def render(textfile: Textfile, read: Callable[[str], bytes | None]) -> bytes:
    """Return the metrics. A file that ``read`` does not find, or without a date, has none: nginx reports the fault."""
    lines: list[str] = []
    for (metric, text), series in (
        (_CRL, [(_labels(name), crl) for name, _ca, crl in textfile.authorities]),
        (_CA, [(_labels(name), ca) for name, ca, _crl in textfile.authorities]),
        (_SERVER, [(f'{{service="{service}"}}', path) for service, path in textfile.certificates]),
    ):
        ends: dict[str, int] = {}
        for labels, path in series:  # of two files for one service, the second counts while there is no first one
            end = None if labels in ends else earliest_end(read(path) or b"")
            if end is not None:
                ends[labels] = end
        if ends:
            lines += [f"# HELP {metric} {text}", f"# TYPE {metric} gauge"]
            lines += [f"{metric}{labels} {end}" for labels, end in ends.items()]
    return "".join(f"{line}\n" for line in lines).encode()


def _labels(authority: str) -> str:
    return f'{{authority="{authority}"}}' if authority else ""


def earliest_end(pem: bytes) -> int | None:
    """Return when the first certificate or CRL of a PEM file expires, in seconds since 1970; None without any."""
    return min((end for _begin, end in _all_dates(pem)), default=None)


def latest_begin(pem: bytes) -> int | None:
    """Return from when on all certificates and CRLs of a PEM file are valid, in seconds since 1970, or None."""
    return max((begin for begin, _end in _all_dates(pem)), default=None)


def _all_dates(pem: bytes) -> list[tuple[int, int]]:
    contents = certificates.read(pem)
    dates = [(each.begin, each.end) for each in contents.certificates]
    return dates + [(crl.begin, crl.end) for crl in contents.crls if crl.end is not None]
