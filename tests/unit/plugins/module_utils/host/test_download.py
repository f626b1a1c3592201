# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is fetched, from servers that are honest or not; bounded in size, time and redirects."""

from __future__ import annotations

import contextlib
import io
import signal
import time
import urllib.request
from http.client import HTTPMessage

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import download
from ansible_collections.mtls.nginx.tests.unit.loopback import Reply, loopback


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with loopback() as made:
        yield made


@pytest.fixture
def fetch(server, pki):
    def fetched(path="/crl.pem", validators=None):
        return download.fetch(f"{server.url}{path}", str(pki.path / "ca.crt"), validators or {})

    return fetched


def refused(fetch, *arguments):
    with pytest.raises(MtlsError) as caught:
        fetch(*arguments)
    return str(caught.value)


def dates(changed, sent):
    return {
        "Last-Modified": f"Sun, 29 Nov 2026 10:00:{changed:02} GMT",
        "Date": f"Sun, 29 Nov 2026 10:00:{sent:02} GMT",
    }


def test_a_file_without_a_date_is_asked_for_again_by_its_tag(server, fetch):
    server.says("GET", "/crl.pem", Reply(200, b"CRL", {"ETag": '"1"'}))
    assert fetch() == download.Answer(b"CRL", {"If-None-Match": '"1"'})


def test_a_file_and_what_asks_for_it_again(server, fetch):
    server.says("GET", "/crl.pem", Reply(200, b"CRL", {"ETag": '"1"', **dates(0, 2)}))
    validators = {"If-None-Match": '"1"', "If-Modified-Since": "Sun, 29 Nov 2026 10:00:00 GMT"}
    assert fetch() == download.Answer(b"CRL", validators)
    server.says("GET", "/crl.pem", Reply(304))
    assert fetch(validators=validators) == download.Answer(None, validators)
    assert server.heard[-1].headers["If-None-Match"] == '"1"'


@pytest.mark.parametrize("headers", [dates(9, 10), {"Last-Modified": "today"}, {"Last-Modified": dates(0, 9)["Date"]}])
def test_what_may_change_within_the_same_second_is_asked_for_anew(server, fetch, headers):
    server.says("GET", "/crl.pem", Reply(200, b"CRL", {"ETag": '"1"', **headers}))
    assert fetch() == download.Answer(b"CRL", {})


def test_not_modified_although_nobody_asked(server, fetch):
    server.says("GET", "/crl.pem", Reply(304))
    assert "redirects too often" in refused(fetch) or "304" in refused(fetch)


def test_a_redirect_is_followed_and_a_circle_is_not(server, fetch):
    server.says("GET", "/on", Reply(302, b"", {"Location": "/crl.pem"}))
    server.says("GET", "/crl.pem", Reply(200, b"CRL"))
    assert fetch("/on").content == b"CRL"
    server.says("GET", "/round", Reply(302, b"", {"Location": "/round"}))
    assert "redirects too often, or to no web address" in refused(fetch, "/round")
    assert len(server.heard) < 12


@pytest.mark.parametrize("away", ["file:///etc/passwd", "ftp://127.0.0.1/crl.pem", "data:,CRL"])
def test_a_redirect_to_something_else(server, fetch, away):
    server.says("GET", "/away", Reply(302, b"", {"Location": away}))
    said = refused(fetch, "/away")
    assert "redirects" in said
    assert "correct mtls_crl_url" in said or "give the address it leads to" in said


@pytest.mark.parametrize(
    ("start", "end", "is_followed"),
    [
        ("http://a/", "https://b/", True),
        ("https://a/", "https://b/", True),
        ("http://a/", "http://b/", True),
        ("https://a/", "http://b/", False),
        ("http://a/", "ftp://b/", False),
    ],
)
def test_to_where_a_redirect_may_lead(start, end, is_followed):
    def redirect():
        request = urllib.request.Request(start)
        return download._Redirects().redirect_request(request, io.BytesIO(), 302, "Found", HTTPMessage(), end)

    if is_followed:
        assert redirect().full_url == end
    else:
        scheme = [url.partition(":")[0] for url in (start, end)]
        with pytest.raises(MtlsError, match=f"redirects from {scheme[0]} to {scheme[1]}, which is not followed"):
            redirect()


def test_how_often_a_redirect_is_followed(server, fetch):
    for number in range(7):
        server.says("GET", f"/to{number}", Reply(302, b"", {"Location": f"/to{number - 1}" if number else "/crl.pem"}))
    server.says("GET", "/crl.pem", Reply(200, b"CRL"))
    assert fetch("/to4").content == b"CRL"
    assert "redirects too often" in refused(fetch, "/to5")


def test_no_alarm_is_left_behind(server, fetch):
    before = signal.getsignal(signal.SIGALRM)
    server.says("GET", "/crl.pem", Reply(200, b"CRL"))
    fetch()
    refused(fetch, "/nowhere")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before


@pytest.mark.parametrize("url", ["file:///etc/passwd", "crl.pem", "ftp://127.0.0.1/"])
def test_an_address_of_another_kind(pki, url):
    with pytest.raises(MtlsError, match=f"^{url}: "):
        download.fetch(url, str(pki.path / "ca.crt"), {})


def test_a_page_that_is_not_there(fetch):
    assert "answers 404 (Not Found); check that server, or correct mtls_crl_url" in refused(fetch)


@pytest.mark.parametrize(("status", "reason"), [(204, "No Content"), (206, "Partial Content")])
def test_an_answer_that_is_no_whole_file(server, fetch, status, reason):
    server.says("GET", "/crl.pem", Reply(status, b"" if status == 204 else b"CR"))
    assert f"answers {status} ({reason}); check that server, or correct mtls_crl_url" in refused(fetch)


def test_nobody_answers(pki):
    with pytest.raises(MtlsError, match="cannot be fetched"):
        download.fetch("http://127.0.0.1:1/crl.pem", str(pki.path / "ca.crt"), {})


def test_too_much(server, fetch, monkeypatch):
    monkeypatch.setattr(download, "LARGEST", 1 << 20)
    server.says("GET", "/crl.pem", Reply(200, b"x" * (1 << 20)))
    assert len(fetch().content) == 1 << 20
    server.says("GET", "/crl.pem", Reply(200, b"x" * ((1 << 20) + 1)))
    assert "answers with more than 1 MiB, too much for a CRL" in refused(fetch)


def test_a_part(server, fetch):
    server.says("GET", "/crl.pem", Reply(200, b"CRL", {"Content-Length": "1000", "Connection": "close"}))

    def half(handler):
        Reply(200, b"CRL", {"Content-Length": "1000"}).send(handler)
        handler.close_connection = True

    server.says("GET", "/crl.pem", half)
    assert "cut off" in refused(fetch) or "cannot be fetched" in refused(fetch)


def test_what_never_ends(server, fetch, monkeypatch):
    monkeypatch.setattr(download, "SECONDS", 0.3)

    def trickle(handler):
        handler.send_response_only(200)
        handler.end_headers()
        for _second in range(20):
            with contextlib.suppress(OSError):  # who asked has gone
                handler.wfile.write(b"x")
            time.sleep(0.1)

    server.says("GET", "/crl.pem", trickle)
    assert "took longer than 0 seconds" in refused(fetch)
