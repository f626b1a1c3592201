# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Issuing by an OpenBao server, against that server's own rate."""

from __future__ import annotations

import functools
import json
import sys

from authority_rows import clients
from measure import HERE, Bench, Goal, Measured, Row, inside, module, module_arguments, peer, process


def issue(bench: Bench, count: int, **ca_key: object) -> Measured:
    from ansible_collections.mtls.nginx.tests.integration.openbao import OpenBao

    server = OpenBao(bench.fresh("server"))
    try:
        server.start()

        def authority() -> dict[str, object]:
            settings = server.authority(root=False)
            made = {"common_name": "Bench CA", "ttl": "87600h", **ca_key}
            server.ask("POST", f"{settings['mount']}/root/generate/internal", made)
            return settings

        settings = authority()
        pki = bench.folder / "pki"
        module("ca_init", path=str(pki), ca_backend="openbao", ca_openbao=settings)
        options = {"ca_path": str(pki), "ca_backend": "openbao", "ca_openbao": settings, "key_type": "ecdsa"}
        # A mount of its own: ours would have to mirror what it issues.
        (bench.folder / "peer.json").write_text(json.dumps(authority()))
        number = iter(range(bench.runs))

        def ours():
            wanted = [{**client, "p12": "none"} for client in clients(count, first=count * next(number))]
            given = module_arguments({**options, "clients": wanted})
            return inside(process([sys.executable, HERE / "inside.py", "client_cert"], given=given))

        return bench.in_turns(ours, lambda: inside(peer("request", bench.folder / "peer.json", count)))
    finally:
        server.stop()


WORK = "issue {n} P-256 clients by OpenBao, whose key is %s: key, request, certificate, synced files (module's work)"
PEER = "sending `pki/sign` {n} finished requests, as many at a time"
ROWS = [
    Row(
        "openbao-1000",
        WORK % "P-256, as in docs/openbao.md",
        PEER,
        1000,
        4,
        functools.partial(issue, key_type="ec", key_bits=256),
        Goal(at_most=1.4),
    ),
    Row(
        "openbao-rsa-1000",
        WORK % "RSA-4096, as ca_init makes them",
        PEER,
        1000,
        4,
        functools.partial(issue, key_type="rsa", key_bits=4096),
        Goal(at_most=1.2),
    ),
]
