# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CRL is there for hosts that fetch it, without TLS; nothing else is, whatever the host's http block says."""

from __future__ import annotations

import os

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site.host_view import CrlServer

from .client import ask_plainly
from .host import USUAL_HTTP
from .test_services import header

# A page of the host's own on the same port, which comes first.
NEIGHBOUR = """
server {
    listen @PLAIN@;
    server_name own.test;
    location / { default_type text/plain; return 200 "OWN PAGE"; }
}
"""
HTTP = {
    "nothing": "",
    "other types": "types { text/html pem; } default_type text/html;",
    "no conditions": "etag off; if_modified_since off;",
    "other conditions": "etag off; if_modified_since before;",
    "a root and an index": "root @FOLDER@/www; index secret; autoindex on;",
}


@pytest.mark.parametrize("said", HTTP)
def test_ours_the_crl_and_nothing_else(new_host, authority, said):
    host = new_host()
    host.crl_server = CrlServer("pki.test", host.plain_port)
    service = {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www"}
    host.ours([service], authority, http=USUAL_HTTP + HTTP[said], neighbours={"a": NEIGHBOUR})
    host.start()

    def get(path: str, *, name: str = "pki.test", method: str = "GET", headers: str = ""):
        return ask_plainly(host.plain_port, path, name, method=method, headers=headers)

    answer = get("/crl.pem")
    assert (answer.status, answer.body.decode()) == (200, authority.crl)
    assert header(answer, "Content-Type") == ["application/x-pem-file"]
    assert header(answer, "Cache-Control") == ["no-cache"]
    (tag,), (changed,) = header(answer, "ETag"), header(answer, "Last-Modified")
    assert get("/crl.pem", headers=f"If-None-Match: {tag}\r\nIf-Modified-Since: {changed}\r\n").status == 304
    # A file that was put back from a backup is older than what the caller has, and another one all the same.
    os.utime(host.folder / "client-certs" / "crl.pem", (1, 1))
    assert get("/crl.pem", headers=f"If-Modified-Since: {changed}\r\n").status == 200
    assert get("/crl.pem", headers=f"If-None-Match: {tag}\r\n").status == 200
    for path in ("/", "/secret", "/crl.pem/", "/crl.pem.bak", "/ca.crt", "/crl.pem/../secret", "/CRL.pem"):
        assert get(path).status == 404, path
    assert get("/crl.pem", method="POST").status == 405
    assert get("/crl.pem", name="own.test").body == b"OWN PAGE"
