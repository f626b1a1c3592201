# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where nginx keeps TLS sessions: in memory that is named by the content of ``ca.crt`` and ``crl.pem``.

A resumed session keeps the verdict of its first handshake. With another CA or CRL the name is another, nginx begins
with an empty cache at its reload, and nobody resumes what was decided before.
"""

from __future__ import annotations

import hashlib
import os.path

from ansible_collections.mtls.nginx.plugins.module_utils.host.request import ChangeRequest, WantedFile

CA, CRL, SESSIONS = "ca.crt", "crl.pem", "sessions.conf"
# 9,000 clients with P-256 certificates and TLS 1.2, half as many with 1.3, which keeps two sessions each (measured).
# The oldest make room for new ones.
_SIZE = "10m"
_DIGITS = 32


def lines(ca: bytes, crl: bytes) -> bytes:
    """Return the directives of a server block for the CAs and CRLs of these PEM files.

    Nothing is kept where a CA expires before the first of the CRLs, as each request is compared with the CRL's end
    only, or where a file cannot be read.
    """
    # Only here: a host that keeps no sessions need not load what reads certificates.
    from ansible_collections.mtls.nginx.plugins.module_utils.host import end_dates

    of_ca, of_crl = end_dates.earliest_end(ca), end_dates.earliest_end(crl)
    if of_ca is None or of_crl is None or of_ca < of_crl:
        where, why = "off", "ca.crt does not outlast crl.pem"
    else:
        digests = (hashlib.sha256(each).digest() for each in (ca, crl))
        name = hashlib.sha256(b"".join(digests)).hexdigest()[:_DIGITS]
        where, why = f"shared:mtls_{name}:{_SIZE}", "named by what is in ca.crt and crl.pem"
    return f"# Managed by mtls.nginx: {why}.\nssl_session_cache {where};\n".encode()


def with_sessions(request: ChangeRequest) -> ChangeRequest:
    """Return the request with another cache beside each new CRL, on a host that keeps sessions."""
    new = {wanted.path: wanted.content for wanted in request.wanted}
    more = []
    for path, content in new.items():
        folder, name = os.path.split(path)
        sessions = os.path.join(folder, SESSIONS)
        if name != CRL or sessions in new or sessions in request.absent or not os.path.isfile(sessions):
            continue
        ca = os.path.join(folder, CA)
        more.append(WantedFile(sessions, lines(new[ca] if ca in new else _read(ca), content)))
    return request._replace(wanted=[*request.wanted, *more]) if more else request


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except OSError:  # nginx says so, and nothing is kept
        return b""
