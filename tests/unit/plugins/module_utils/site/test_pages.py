# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which answers from behind the gate mean that there is nothing there. tests/integration has nginx answer them."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.site import pages
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services

UPSTREAM = {"upstream": "http://127.0.0.1:23100"}
ROOT = {"root": "/srv/www/"}


def text(status, error=None, path="/", **options):
    (service,) = parse_services("web", [{"name": "wiki", "server_names": ["wiki.lan"], "probe_path": path, **options}])
    attempt = pages.attempt(service, "client 'phone'", "phone.crt", "phone.key")
    found = pages.trouble(service, probe.ProbeOutcome(attempt, status, error))
    return found and found.text


@pytest.mark.parametrize("status", [200, 204, 301, 302, 400, 401, 403, 404, 405, 418, 501])
def test_an_application_that_answers_is_there(status):
    assert text(status, **UPSTREAM) is None


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (502, None, "does not answer (502)"),
        (504, None, "does not answer (504)"),
        (None, "no answer within 10 s", "does not answer (no answer within 10 s)"),
        (500, None, "answers 500 to GET /a"),
        (503, None, "answers 503 to GET /a"),
    ],
)
def test_an_upstream_that_is_not(status, error, said):
    assert text(status, error, "/a", **UPSTREAM) == f"the gate opens, but http://127.0.0.1:23100 {said}"


def test_an_upstream_that_is_not_believed():
    tls = {"verify": True, "ca": "ca.crt", "name": None, "client": None}
    said = "or its certificate is not for wiki-app.lan, or not by the CA of upstream_tls"
    verified = {"upstream": "https://wiki-app.lan", "upstream_tls": tls}
    assert text(502, **verified) == f"the gate opens, but https://wiki-app.lan does not answer (502), {said}"
    assert text(504, **verified) == "the gate opens, but https://wiki-app.lan does not answer (504)"
    anybody = {**verified, "upstream_tls": {**tls, "verify": False, "ca": None}}
    assert text(502, **anybody) == "the gate opens, but https://wiki-app.lan does not answer (502)"


@pytest.mark.parametrize("status", [200, 204, 301, 304, 405])
def test_files_that_are_there(status):
    assert text(status, **ROOT) is None


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "/srv/www/a/ is not there (404)"),
        (403, "/srv/www/a/ has no index.html, or nginx may not read it (403)"),
        (500, "nginx does not serve /srv/www/a/ (500)"),
        (None, "nginx does not serve /srv/www/a/ (connection reset by peer)"),
    ],
)
def test_files_that_are_not(status, said):
    assert text(status, None if status else "connection reset by peer", "/a/", **ROOT) == f"the gate opens, but {said}"
