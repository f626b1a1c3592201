# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People who are refused read why, with the status that was there before; and nothing else is found on that way."""

from __future__ import annotations

import itertools

import pytest

from . import http2, pki
from .client import ask, ask_plainly, curl
from .host import USUAL_HTTP

# An error page as many have them: the page is a file, and its location is like any other.
USUAL = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client on;
    root @FOLDER@/www;
    error_page 495 496 @page;
    location @page { try_files /open/page =404; }
}
"""

# What browsers send. Whoever does not name HTML gets text.
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
ACCEPTS_HTML = f"Accept: {HTML}\r\n"
TITLES = {
    "none": b"A certificate is needed here",
    "rejected": b"Your certificate was not accepted",
    "list": b"This is not open to you",
    "plain": b"Please use https",
}
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"]


@pytest.fixture(scope="module")
def people(authority, other_authority):
    lost = authority.client("lost by error pages")
    authority.revoke(lost)
    issuer = authority.issuer
    return {
        "none": None,
        "list": authority.client("guest"),
        "rejected": lost,
        "expired": pki.forged(
            authority.path, authority.client("admin").certificate.subject, issuer, begins=-9, ends=-1
        ),
        "foreigner": other_authority.client("admin"),
        "self-made": pki.forged(authority.path, authority.client("admin").certificate.subject),
    }


@pytest.fixture(scope="module", params=["pages", "no pages"])
def ours(request, module_host, authority, people, running_app):
    host = module_host()
    host.error_pages = request.param == "pages"
    (host.folder / "www" / "closed").mkdir(exist_ok=True)
    common = {"allow": ["admin"]}
    public = {"public_paths": ["/open/"]}
    host.ours(
        [
            {"name": "nas", "server_names": ["nas.test"], "upstream": running_app.url, **common},
            {"name": "half", "server_names": ["half.test"], "upstream": running_app.url, **public, **common},
            {"name": "files", "server_names": ["files.test"], "root": f"{host.folder}/www", **common},
            {
                "name": "half-files",
                "server_names": ["half-files.test"],
                "root": f"{host.folder}/www",
                **public,
                **common,
                "hsts": {"max_age": 600},
            },
        ],
        authority,
    )
    return host.start()


NAMES = ["nas.test", "half.test", "files.test", "half-files.test"]
REFUSED = {"none": 400, "rejected": 400, "expired": 400, "foreigner": 400, "self-made": 400, "list": 403}


def title_of(who: str) -> bytes:
    return TITLES.get(who, TITLES["rejected"])


def check_text(host, answer, who: str, status: int) -> None:
    """A program prints it, or its first words only."""
    assert answer.status == status, (who, answer)
    if not host.error_pages:
        assert not any(title in answer.body for title in TITLES.values())
        return
    head = answer.head.lower()
    assert head.count("content-type: text/plain; charset=utf-8") == 1
    assert "cache-control: no-store" in head
    assert answer.body.startswith(title_of(who) + b"\n\n")
    assert answer.body.endswith(b"\n")
    assert not [word for word in (b"<", b"browser", b"page") if word in answer.body]
    assert len(answer.body) < 400


def check_page(host, answer, who: str, status: int, *, body: bool = True) -> None:
    assert answer.status == status, (who, answer)
    head = answer.head.lower()
    assert "guest" not in head + answer.body.decode()
    assert "cn=" not in head + answer.body.decode().lower()
    if host.error_pages:
        assert "content-type: text/html; charset=utf-8" in head
        assert "cache-control: no-store" in head
        assert "accept-ranges" not in head
    if not body:
        assert answer.body == b""
    elif host.error_pages:
        assert title_of(who) in answer.body
        assert answer.body.rstrip().endswith(b"</html>")
        assert not [title for reason, title in TITLES.items() if title in answer.body and title != title_of(who)]
    else:
        assert not any(title in answer.body for title in TITLES.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("who", REFUSED)
def test_ours_says_what_is_missing(ours, people, app, tls, who, name):
    for path in ("/", "/secret", "/page.php", "/style.css", "/@mtls_refused", "/.mtls-nginx-gate", "/open/../secret"):
        answer = ask(ours.port, path, tls=tls, host=name, client=people[who], headers=ACCEPTS_HTML)
        check_page(ours, answer, who, REFUSED[who])
    assert app.take() == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("who", ["none", "rejected", "list"])
@pytest.mark.parametrize("name", ["nas.test", "half.test", "half-files.test"])
def test_ours_for_every_method(ours, people, app, who, name, method):
    body = "x" * 3000 if method in ("POST", "PUT") else ""
    answer = ask(
        ours.port,
        "/secret",
        tls="TLSv1.3",
        host=name,
        client=people[who],
        method=method,
        body=body,
        headers=ACCEPTS_HTML,
    )
    check_page(ours, answer, who, REFUSED[who], body=method != "HEAD")
    assert app.take() == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("who", REFUSED)
def test_ours_over_http2(ours, people, app, who, name):
    for body in ("", "x" * 3000):
        answer = curl(ours.port, "/secret", host=name, client=people[who], body=body, accept=HTML)
        assert answer.head.startswith("HTTP/2")
        check_page(ours, answer, who, REFUSED[who])
    assert app.take() == []


ACCEPTS = ["", "Accept: */*\r\n", "Accept: application/json, text/plain\r\n", "Accept: text/htm\r\n"]


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("who", ["none", "rejected", "list"])
def test_ours_programs_read_text(ours, people, app, tls, who, name, accept):
    for path in ("/secret", "/page.html"):
        answer = ask(ours.port, path, tls=tls, host=name, client=people[who], headers=accept)
        check_text(ours, answer, who, REFUSED[who])
    assert app.take() == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("who", ["none", "rejected", "list"])
def test_ours_programs_read_text_over_http2(ours, people, app, who, name):
    answer = curl(ours.port, "/secret", host=name, client=people[who])
    assert answer.head.startswith("HTTP/2")
    check_text(ours, answer, who, REFUSED[who])
    assert app.take() == []


@pytest.mark.parametrize("template", [None, "<!DOCTYPE html><p>{{ reason }} of our own \u00a7{{ link }}</html>"])
def test_ours_who_is_not_accepted_reads_the_same_whatever_the_reason(
    new_host, authority, people, running_app, tmp_path, template
):
    """Browsers a page, which may be the host's own; programs our text. By HTTP/1.1 and HTTP/2, byte for byte."""
    host = new_host()
    if template:
        path = tmp_path / "refused.html"
        path.write_text(template)
        host.error_page_template = str(path)
    service = {"upstream": running_app.url, "allow": ["admin"]}
    authority.client("admin")
    host.ours(
        [
            {"name": "nas", "server_names": ["nas.test"], **service},
            {"name": "half", "server_names": ["half.test"], "public_paths": ["/open/"], **service},
        ],
        authority,
    )
    host.start()

    def said(who: str, name: str, accept: str) -> set[tuple[int, str, str, bytes]]:
        """Status, type, the other fields but for the time, body: one for each protocol."""
        first = ask(host.port, host=name, tls="TLSv1.3", client=people[who], headers=f"Accept: {accept}\r\n")
        second = curl(host.port, host=name, client=people[who], accept=accept)
        assert second.head.startswith("HTTP/2")
        found = set()
        for answer in (first, second):
            fields = dict(line.lower().split(": ", 1) for line in answer.head.splitlines()[1:] if line)
            kind, length = fields.pop("content-type"), fields.pop("content-length")
            assert int(length) == len(answer.body)
            assert sorted({*fields} - {"date", "connection"}) == ["cache-control", "server"]
            found.add((answer.status, kind, fields["cache-control"], answer.body))
        return found

    for accept, kind in ((HTML, "text/html"), ("*/*", "text/plain"), ("application/json", "text/plain")):
        answers = {who: set.union(*(said(who, name, accept) for name in ("nas.test", "half.test"))) for who in REFUSED}
        for who, ((status, found, cached, body),) in answers.items():
            assert (status, found, cached) == (REFUSED[who], f"{kind}; charset=utf-8", "no-store")
            reason = who if who in TITLES else "rejected"
            if kind == "text/html" and template:
                assert body.decode() == f"<!DOCTYPE html><p>{reason} of our own \u00a7</html>"
            else:
                assert title_of(who) in body
        assert len({str(answers[who]) for who in ("rejected", "expired", "foreigner", "self-made")}) == 1
        assert len({str(answer) for answer in answers.values()}) == 3


def test_ours_a_program_without_tls_reads_text(ours):
    check_text(ours, ask_plainly(ours.port, "/secret", host="half.test"), "plain", 400)


@pytest.mark.parametrize("accept", ["@app", "/secret", "$uri", "@mtls_bad_certificate", "text/html,@app"])
def test_ours_no_accept_header_leads_elsewhere(ours, people, app, tls, accept):
    """The name of the location is chosen by it."""
    for who in ("none", "rejected", "list"):
        answer = ask(ours.port, "/secret", tls=tls, client=people[who], headers=f"Accept: {accept}\r\n")
        assert answer.status == REFUSED[who]
    assert app.take() == []


@pytest.mark.parametrize("name", NAMES)
def test_ours_another_name_and_no_tls(ours, authority, app, tls, name):
    answer = ask(ours.port, tls=tls, host=name, sni="unknown.test", client=authority.client("admin"))
    assert answer.status == 421
    assert b"<h1>421 Misdirected Request</h1>" in answer.body  # nginx's own page
    plain = ask_plainly(ours.port, "/secret", host=name)
    assert plain.status == 400
    assert app.take() == []


@pytest.mark.parametrize("order", list(itertools.permutations(http2.ORDER)), ids=" ".join)
def test_ours_a_reused_connection_is_told_to_open_another(ours, authority, app, tls, order):
    """Browsers send a second service's requests over the first one's connection where a certificate names both.

    At 421 they open another connection, at anything else they show what they got. nginx gives its verdict as soon as
    it has read :authority, which may be before it knows a path.
    """
    who = {"tls": tls, "sni": "nas.test", "client": authority.client("admin")}
    statuses = [
        http2.get(ours.port, "/secret", authority=name, order=order, **who)
        for name in ("half.test", "files.test", "half-files.test", "nas.test")
    ]
    assert statuses == [421, 421, 421, 200]
    assert len(app.take()) == 1


def test_ours_plain_http_on_the_tls_port(ours):
    """nginx answers in the words of the port's first server block."""
    check_page(ours, ask_plainly(ours.port, "/secret", host="half.test", headers=ACCEPTS_HTML), "plain", 400)


@pytest.mark.parametrize("host", ["half.test", "HALF.test", "192.0.2.7"])
def test_ours_plain_http_gets_a_link_to_where_it_wanted_to_go(ours, host):
    link = f'<a href="https://{host.lower()}:{ours.port}/">https://{host.lower()}:{ours.port}/</a>'
    page = ask_plainly(ours.port, "/secret", host=host, headers=ACCEPTS_HTML)
    text = ask_plainly(ours.port, "/secret", host=host)
    assert (link.encode() in page.body) == ours.error_pages
    assert (f"\nhttps://{host.lower()}:{ours.port}/\n".encode() in text.body) == ours.error_pages


@pytest.mark.parametrize("host", ['a"onclick="x', "a<b>", "a'b", "a&b", "$host", "[::1]", "é.test"])
def test_ours_the_link_is_never_of_a_callers_making(ours, host):
    for headers in ("", ACCEPTS_HTML):
        answer = ask_plainly(ours.port, "/secret", host=host, headers=headers)
        assert answer.status == 400
        assert b"href" not in answer.body
        assert host.encode() not in answer.body


@pytest.mark.parametrize("status", [400, 403, 404, 421, 495, 496, 497, 500, 502])
@pytest.mark.parametrize("name", ["nas.test", "half.test"])
def test_ours_the_upstreams_own_errors_pass(ours, authority, app, tls, name, status):
    answer = ask(ours.port, f"/status/{status}", tls=tls, host=name, client=authority.client("admin"))
    assert (answer.status, answer.body) == (status, f"APP GET /status/{status} 0".encode())


def test_ours_a_file_that_is_not_served_is_no_matter_of_certificates(ours, authority, tls):
    for name in ("files.test", "half-files.test"):
        answer = ask(ours.port, "/closed/", tls=tls, host=name, client=authority.client("admin"))
        assert answer.status == 403
        assert TITLES["list"] not in answer.body


def test_ours_stays_shut_where_the_host_intercepts_errors(new_host, authority, people, app, tls):
    """Also where the http block wants pages of its own for everything."""
    host = new_host()
    service = {"name": "nas", "server_names": ["nas.test"], "upstream": app.url, "allow": ["admin"]}
    inherited = "proxy_intercept_errors on; error_page 403 404 495 496 =200 /secret; recursive_error_pages on;"
    host.ours([{**service, "public_paths": ["/open/"]}], authority, http=USUAL_HTTP + inherited)
    host.start()
    for who, status in REFUSED.items():
        for headers in ("", ACCEPTS_HTML):
            answer = ask(host.port, "/secret", tls=tls, client=people[who], headers=headers)
            assert answer.status == status
            assert title_of(who) in answer.body
    assert app.take() == []
    assert ask(host.port, "/status/403", tls=tls, client=authority.client("admin")).body == b"APP GET /status/403 0"


def test_ours_hsts_is_on_the_page_too(ours, people, tls):
    if not ours.error_pages:
        pytest.skip("nginx's own page has it by add_header's own rule")
    answer = ask(ours.port, tls=tls, host="half-files.test", client=people["list"])
    assert answer.head.count("Strict-Transport-Security: max-age=600") == 1


def test_usual_a_page_that_is_a_file_answers_get_only(new_host, authority, tls):
    host = new_host()
    host.by_hand(USUAL, authority=authority)
    host.start()
    answers = {method: ask(host.port, "/secret", tls=tls, method=method).status for method in ("GET", "POST")}
    assert answers == {"GET": 400, "POST": 405}


# --- without pages, whatever the http block says


@pytest.mark.parametrize(
    "line",
    [
        "error_page 400 403 404 421 495 496 497 502 /need.html;",
        "error_page 400 403 404 421 495 496 497 502 =403 /need.html; recursive_error_pages on;",
        "error_page 403 495 496 497 https://help.test/;",
    ],
    ids=["a file", "a file and a status", "elsewhere"],
)
@pytest.mark.parametrize("pages", [True, False])
def test_ours_the_error_pages_of_the_http_block_do_not_count(new_host, authority, people, running_app, line, pages):
    """A page of theirs would have to pass the gate, with another status than the refusal; nginx's own one is sent."""
    host = new_host()
    host.error_pages = pages
    (host.folder / "www" / "need.html").write_text("NEED A CERTIFICATE")
    files = f"{host.folder}/www"
    services = [
        {"name": "nas", "server_names": ["nas.test"], "upstream": running_app.url},
        {"name": "files", "server_names": ["files.test"], "root": files},
        {"name": "half", "server_names": ["half.test"], "root": files, "public_paths": ["/open/"]},
        {"name": "cors", "server_names": ["cors.test"], "upstream": running_app.url, "cors_preflight": True},
    ]
    authority.client("admin")
    host.ours([{**service, "allow": ["admin"]} for service in services], authority, http=USUAL_HTTP + line)
    host.start()
    statuses = {"none": 400, "rejected": 400, "foreigner": 400, "list": 403}
    for service in services:
        for who, status in statuses.items():
            answer = ask(host.port, "/secret", tls="TLSv1.3", host=service["server_names"][0], client=people[who])
            assert (answer.status, b"NEED" in answer.body) == (status, False)
            assert pages or b"<center>nginx" in answer.body
    # What somebody who is let in does not find is no refusal, and has no page of theirs either.
    missing = ask(host.port, "/missing", tls="TLSv1.3", host="files.test", client=authority.client("admin"))
    assert (missing.status, b"NEED" in missing.body) == (404, False)
