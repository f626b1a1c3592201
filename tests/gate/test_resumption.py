# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A resumed TLS session keeps the verdict on the client's certificate from its first handshake."""

from __future__ import annotations

import datetime
import os
import pathlib
import random
import socket
import subprocess
import time

import jinja2
import pytest
from cryptography import x509

from . import client as asking
from . import host as hosts
from . import pki
from .client import VERSIONS, ask, ask_plainly, context
from .upstream import headers_of

# Mozilla's recommendation for years: a shared cache, and no tickets.
CACHE = """
    ssl_session_cache shared:tls:1m;
    ssl_session_tickets off;
"""
# nginx's own default for tickets beside a shared cache, in which newer versions keep the ticket keys over a reload.
CACHE_AND_TICKETS = """
    ssl_session_cache shared:tls:1m;
"""
# Several machines behind one address share a ticket key.
FIXED_KEY = """
    ssl_session_cache shared:tls:1m;
    ssl_session_ticket_key own/ticket.key;
"""
# Nothing said: tickets, whose keys every reload makes anew.
NOTHING = ""
HTTP = {"nothing": NOTHING, "cache": CACHE, "cache and tickets": CACHE_AND_TICKETS, "fixed ticket key": FIXED_KEY}

# The usual way to guard a service: verification and CRL are right, and asked at full handshakes only.
USUAL = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_crl own/crl.pem;
    ssl_verify_client on;
    root @FOLDER@/www;
}
"""
# Two services with an authority each: with nginx before CVE-2025-23419 was fixed, a session of one opens the other.
USUAL_FIRST = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name first.test;
    ssl_client_certificate own/other.crt;
    ssl_verify_client on;
    root @FOLDER@/www;
}
"""

# A first server block of the host's own, which knows the same authority and certificate, and no CRL. The session
# cache and the ticket keys of a socket are those of its first server block.
NEIGHBOUR = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name first.test;
    ssl_certificate @CRT@;
    ssl_certificate_key @KEY@;
    ssl_client_certificate client-certs/ca.crt;
    ssl_verify_client optional;
    root @FOLDER@/www;
}
"""
BASE = """
    ssl_protocols       TLSv1.2 TLSv1.3;
    ssl_certificate     own/server.crt;
    ssl_certificate_key own/server.key;
"""


@pytest.fixture
def usual(new_host, authority):
    """Starts the usual configuration with one of the ways above to keep sessions."""

    def start(way: str, text: str = USUAL):
        host = new_host()
        host.write("own/ticket.key", "0123456789abcdef" * 3)
        host.by_hand(text, http=BASE + HTTP[way], authority=authority)
        return host

    return start


@pytest.fixture
def ours(new_host, authority):
    """Starts our configuration on a host whose http block wants sessions kept in one of the ways above."""

    def start(way: str, neighbours: dict[str, str] | None = None, **options: str):
        host = new_host(CRT="server-certs/nas.crt", KEY="server-certs/nas.key")
        host.write("own/ticket.key", "0123456789abcdef" * 3)
        root = f"{host.folder}/www"
        services = [
            {"name": "nas", "server_names": ["nas.test"], "root": root},
            {"name": "files", "server_names": ["files.test"], "root": root, "allow": ["admin"]},
        ]
        authority.client("admin")
        host.services = services
        host.http = BASE + HTTP[way]
        host.ours(services, authority, http=host.http, neighbours=neighbours, **options)
        return host

    return start


_lost = iter(range(1000))


@pytest.fixture
def lost(authority):
    """A client that will be revoked."""
    return authority.client(f"lost {next(_lost)}")


def resumes(host) -> bool:
    """Whether our services keep sessions, where they are alone on their socket and of one authority."""
    return host.build.version >= (1, 22)


def keeps_tickets_over_a_reload(version: tuple[int, ...]) -> bool:
    """Whether ticket keys live in the shared cache: since 1.23.2."""
    return version >= (1, 23, 2)


@pytest.mark.parametrize("way", HTTP)
def test_usual_the_revoked_resume(usual, authority, lost, tls, way):
    host = usual(way).start()
    session = ask(host.port, tls=tls, client=lost).session
    authority.revoke(lost)
    host.write("own/crl.pem", authority.crl)
    host.reload()
    assert ask(host.port, tls=tls, client=lost).status == 400
    resumed = ask(host.port, tls=tls, client=lost, session=session)
    hole = {
        "nothing": False,
        "cache": True,
        "cache and tickets": keeps_tickets_over_a_reload(host.build.version),
        "fixed ticket key": True,
    }[way]
    assert (resumed.resumed and resumed.let_in) is hole, resumed


def test_usual_sessions_are_resumed_one_from_the_other(usual, authority, lost, tls):
    host = usual("cache and tickets").start()
    answers = [ask(host.port, tls=tls, client=lost)]
    for _round in range(5):
        answers.append(ask(host.port, tls=tls, client=lost, session=answers[-1].session))
    assert [answer.resumed for answer in answers] == [False] + 5 * [True]


def test_usual_sessions_outlive_the_crl(usual, authority, lost):
    host = usual("cache")
    host.write("own/crl.pem", authority.short_crl(2))
    host.start()
    sessions = {tls: ask(host.port, tls=tls, client=lost).session for tls in VERSIONS}
    time.sleep(2.2)
    for tls, session in sessions.items():
        assert ask(host.port, tls=tls, client=lost).status == 400
        resumed = ask(host.port, tls=tls, client=lost, session=session)
        assert resumed.resumed
        assert resumed.let_in


def test_usual_a_session_of_another_service_opens_this_one(usual, other_authority, tls):
    """CVE-2025-23419, for TLS 1.3 only, and only where it is not fixed."""
    host = usual("cache and tickets", USUAL_FIRST + USUAL)
    host.write("own/other.crt", other_authority.chain)
    host.start()
    foreigner = other_authority.client("foreigner")
    session = ask(host.port, tls=tls, client=foreigner, host="first.test").session
    resumed = ask(host.port, "/secret", tls=tls, client=foreigner, session=session)
    assert resumed.let_in is (tls == "TLSv1.3" and host.build.version < (1, 22)), resumed


@pytest.mark.parametrize("way", HTTP)
@pytest.mark.parametrize("neighbour", [None, NEIGHBOUR], ids=["alone", "with a neighbour"])
def test_ours_the_revoked_do_not_resume(ours, authority, lost, tls, way, neighbour):
    """Neither across a revocation, nor from one service to another, nor along a chain."""
    host = ours(way, {"first": neighbour} if neighbour else {}).start()
    here = ask(host.port, tls=tls, client=lost)
    assert here.let_in
    there = ask(host.port, tls=tls, client=lost, host="first.test")
    sessions = [answer.session for answer in (here, there) if answer.session]
    chained = [ask(host.port, tls=tls, client=lost, session=session) for session in sessions]
    if neighbour is None:
        assert any(answer.resumed for answer in chained) is resumes(host)
    sessions += [answer.session for answer in chained if answer.session]
    authority.revoke(lost)
    host.ours(host.services, authority, http=host.http)
    host.reload()
    assert ask(host.port, tls=tls, client=lost).status == 400
    for session in sessions:
        for name in ("nas.test", "files.test"):
            answer = ask(host.port, tls=tls, client=lost, host=name, session=session)
            assert not answer.let_in, answer


def test_ours_no_session_outlives_the_crl(ours, authority, lost):
    crl, end = authority.short_crl(4), time.time() + 4
    hosts = [ours("cache", neighbours, crl=crl).start() for neighbours in ({}, {"first": NEIGHBOUR})]
    sessions = [
        (host, tls, ask(host.port, tls=tls, client=lost, host=name).session)
        for host in hosts
        for tls in VERSIONS
        for name in ("nas.test", "first.test")
    ]
    alone = [ask(host.port, tls=tls, client=lost, session=session) for host, tls, session in sessions[:4:2]]
    assert [answer.resumed for answer in alone] == 2 * [resumes(hosts[0])]
    time.sleep(max(0, end - time.time()) + 0.2)
    for host, tls, session in sessions:
        for kept in (None, session):
            answer = ask(host.port, tls=tls, client=lost, session=kept)
            assert not answer.let_in, answer


def test_ours_sessions_are_kept_as_long_as_ours_say(ours, authority, tls):
    """Whatever the http block says: within our hour a client shakes hands once."""
    host, admin = ours("nothing"), authority.client("admin")
    host.ours(host.services, authority, http=host.http + "ssl_session_timeout 1s;")
    host.start()
    session = ask(host.port, tls=tls, client=admin).session
    time.sleep(2.1)
    assert ask(host.port, tls=tls, client=admin, session=session).resumed is resumes(host)


def test_ours_a_session_does_not_hide_who_has_issued(ours, authority, tmp_path, tls):
    """The first server block lets in whoever a CA below ours has issued, and keeps the session."""
    below = pki.as_issuer(pki.forged(tmp_path, pki.subject("Below"), authority.issuer, ca=True))
    stranger = pki.forged(tmp_path, pki.subject("admin"), below, sent_along=[below.certificate])
    host = ours("cache", {"first": NEIGHBOUR}, crl=authority.crl + pki.crl_of(below)).start()
    there = ask(host.port, tls=tls, client=stranger, host="first.test")
    assert there.let_in
    for name in ("nas.test", "files.test"):
        for session in (None, there.session):
            answer = ask(host.port, tls=tls, client=stranger, host=name, session=session)
            assert not answer.let_in, answer
        assert ask(host.port, tls=tls, client=authority.client("admin"), host=name).let_in


def test_ours_no_open_connection_outlives_the_crl(ours, authority, lost, tls):
    """What a request is told of the CRL is not kept for the next one of its connection."""
    host = ours("nothing", crl=authority.short_crl(3)).start()
    with (
        socket.create_connection(("127.0.0.1", host.port), timeout=10) as raw,
        context(tls, lost).wrap_socket(raw, server_hostname="nas.test") as connection,
    ):
        statuses = []
        for wait in (0, 0, 3.2):
            time.sleep(wait)
            connection.sendall(b"HEAD /secret HTTP/1.1\r\nHost: nas.test\r\n\r\n")
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            statuses.append(int(head.split()[1]))
    assert statuses == [200, 200, 400]


def test_ours_a_session_of_another_authoritys_service_opens_nothing(ours, other_authority, tls):
    host = ours("cache and tickets", {"first": USUAL_FIRST})
    host.write("own/other.crt", other_authority.chain)
    host.start()
    foreigner = other_authority.client("foreigner")
    session = ask(host.port, tls=tls, client=foreigner, host="first.test").session
    for name in ("nas.test", "files.test"):
        assert not ask(host.port, "/secret", tls=tls, client=foreigner, host=name, session=session).let_in


def test_ours_no_early_data(ours, authority, lost):
    """Data sent before the handshake's end could be replayed; openssl's own client tries to."""
    host = ours("cache and tickets")
    host.http += "    ssl_early_data on;\n"
    host.ours(host.services, authority, http=host.http)
    host.start()
    request = host.folder / "request"
    request.write_text("GET /secret HTTP/1.1\r\nHost: nas.test\r\nConnection: close\r\n\r\n")
    kept = host.folder / "session.pem"

    def connect(*options: str) -> str:
        return subprocess.run(
            [
                *("openssl", "s_client", "-connect", f"127.0.0.1:{host.port}", "-servername", "nas.test"),
                *("-tls1_3", "-cert", lost.path, "-key", lost.path, "-ign_eof", *options),
            ],
            stdin=request.open(),
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        ).stdout

    assert "CONTENT of secret".upper() in connect("-sess_out", str(kept)).upper()
    if kept.exists() and kept.stat().st_size:
        answer = connect("-sess_in", str(kept), "-early_data", str(request))
        assert "Early data was accepted" not in answer
        assert ("Reused," in answer) is resumes(host)


def knows_files_again(version: tuple[int, ...]) -> bool:
    """Whether a reload keeps what it read of a file that has the same inode and second of change: since 1.27.4."""
    return version >= (1, 27, 4)


@pytest.mark.parametrize("in_place", [True, False], ids=["usual: rewritten", "ours: replaced"])
def test_a_new_crl_is_read_at_once(new_host, authority, lost, tls, in_place):
    """`openssl ca -gencrl -out crl.pem` writes into the old file; the transaction puts a new one in its place."""
    host = new_host()
    host.by_hand(USUAL, authority=authority)
    crl = host.folder / "own" / "crl.pem"
    os.utime(crl, (1, 1))
    host.start()
    assert ask(host.port, tls=tls, client=lost).let_in
    authority.revoke(lost)
    if in_place:
        crl.write_text(authority.crl)
    else:
        host.write("own/crl.pem", authority.crl)
    os.utime(crl, (1, 1))
    host.reload()
    hole = in_place and knows_files_again(host.build.version)
    assert ask(host.port, tls=tls, client=lost).let_in is hole


PUBLIC = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name first.test;
    root @FOLDER@/www;
}
"""


@pytest.mark.parametrize("way", HTTP)
@pytest.mark.parametrize("neighbour", [None, PUBLIC, USUAL_FIRST], ids=["alone", "public", "another authority"])
def test_ours_offering_a_session_does_no_harm(ours, authority, other_authority, tls, way, neighbour):
    """Browsers offer what they have, and get in, by a full handshake where another server block is on the socket."""
    host = ours(way, {"first": neighbour} if neighbour else {})
    host.write("own/other.crt", other_authority.chain)
    host.start()
    admin, session = authority.client("admin"), None
    for attempt in range(4):
        answer = ask(host.port, tls=tls, client=admin, session=session)
        # A version that would take another authority's session for ours is given none at all.
        assert answer.let_in or (neighbour and answer.resumed and host.build.version < (1, 22))
        assert neighbour or answer.resumed is (resumes(host) and attempt > 0)
        session = answer.session


# What a session carries, and what holds it. `FIXED` takes one thing away that does: the cache's name.
FIXED = "ssl_session_cache shared:mtls_fixed:10m;\n"


def one_cache(host) -> None:
    """Have nginx keep sessions in the same place, whatever the CA and the CRL are."""
    host.write("client-certs/sessions.conf", FIXED)


def test_ours_returning_clients_are_the_same_to_the_upstream(new_host, authority, upstream_heads, tls):
    """Verdict, subject, serial, fingerprint and the certificate itself, along a chain and over a reload."""
    host, admin = new_host(), authority.client("admin")
    service = {"name": "nas", "server_names": ["nas.test"], "identity_headers": "rfc9440"}
    service["upstream"] = upstream_heads.url
    host.ours([service], authority)
    host.start()
    answers = [ask(host.port, tls=tls, client=admin)]
    for round_ in range(4):
        if round_ == 2:
            host.ours([service], authority)
            host.reload()
        answers.append(ask(host.port, tls=tls, client=admin, session=answers[-1].session))
    assert [answer.resumed for answer in answers] == [False] + 4 * [resumes(host)]
    assert all(answer.let_in for answer in answers)
    heads = [headers_of(head) for head in upstream_heads.take()]
    assert heads[0]["X_SSL_CLIENT_VERIFY"] == ["SUCCESS"]
    assert heads[0]["X_SSL_CLIENT_DN"] == ["CN=admin"]
    assert heads[1:] == 4 * [heads[0]]


@pytest.mark.parametrize("shut", ["by name", "by serial"])
def test_ours_a_revocation_ends_a_session_at_once(ours, authority, lost, tls, shut):
    """Each of the two is enough; whoever is not revoked shakes hands anew, and gets in."""
    host, admin = ours("nothing"), authority.client("admin")
    if shut == "by serial" and resumes(host):
        one_cache(host)
    host.start()
    sessions = [(who, ask(host.port, tls=tls, client=who).session) for who in (lost, admin)]
    authority.revoke(lost)
    host.ours(host.services, authority)
    if shut == "by serial" and resumes(host):
        one_cache(host)
    else:
        (host.folder / "client-certs" / "revoked.map").write_text("# nobody\n")
    host.reload()
    revoked, valid = (ask(host.port, tls=tls, client=who, session=session) for who, session in sessions)
    assert revoked.status == 400
    assert revoked.resumed is (shut == "by serial" and resumes(host))
    assert valid.let_in


@pytest.mark.parametrize("named", ["usual: one cache", "ours: by content"])
def test_a_ca_of_the_same_name_begins_anew(ours, authority, tls, tmp_path, named):
    """nginx tells sessions apart by server certificate and CA subjects: another key is the same CA to it."""
    host, admin = ours("nothing"), authority.client("admin")
    if not resumes(host):
        return
    if named.startswith("usual"):
        one_cache(host)
    host.start()
    session = ask(host.port, tls=tls, client=admin).session
    twin = pki.Authority(tmp_path / "twin", authority.name)
    twin.client("admin")
    host.ours(host.services, twin)
    if named.startswith("usual"):
        one_cache(host)
    host.reload()
    assert ask(host.port, tls=tls, client=admin).status == 400
    assert ask(host.port, tls=tls, client=admin, session=session).let_in is named.startswith("usual")


def test_ours_a_session_does_not_outlive_its_certificate(ours, authority):
    """nginx alone resumes it as long as it keeps it; the very second of notAfter is too late."""
    host, plain = ours("nothing"), ours("nothing")
    for path in (plain.folder / "conf.d").glob("mtls.conf"):
        path.write_text(path.read_text().replace("0       $mtls_expired;", "0 0;"))
    for each in (host, plain):
        each.start()
    soon, tomorrow, later = (
        pki.forged(authority.path, pki.subject(name), authority.issuer, ends=days)
        for name, days in (("soon", 8 / 86400), ("tomorrow", 0.99), ("later", 30))
    )
    asked = [(each, tls, who) for each in (host, plain) for tls in VERSIONS for who in (soon, tomorrow, later)]
    sessions = [ask(each.port, tls=tls, client=who).session for each, tls, who in asked]
    answers = [
        ask(each.port, tls=tls, client=who, session=session)
        for (each, tls, who), session in zip(asked, sessions, strict=True)
    ]
    assert all(answer.let_in and answer.resumed is resumes(host) for answer in answers)
    time.sleep(max(0, soon.certificate.not_valid_after_utc.timestamp() - time.time()) + 0.1)
    for (each, tls, who), answer in zip(asked, answers, strict=True):
        again = ask(each.port, tls=tls, client=who, session=answer.session)
        assert again.resumed is resumes(host)
        assert again.let_in is (who is not soon or (each is plain and resumes(host))), (each is plain, tls, who)


DATES = """
server {
    listen 127.0.0.1:@PORT@;
    location / { default_type text/plain; return 200 $mtls_expired; }
}
"""


def test_ours_dates_compare(new_host):
    """Every month, ends of months and years, leap days; what is no date has expired."""
    template = pathlib.Path(hosts.TEMPLATES, "expiry.j2").read_text()
    maps = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False).from_string(template).render()
    for variable, header in {"ssl_client_v_end": "end", "date_gmt": "now", "ssl_client_v_remain": "left"}.items():
        assert f"map ${variable} " in maps
        maps = maps.replace(f"map ${variable} ", f"map $http_{header} ")
    host = new_host()
    host.by_hand(maps.replace("map $ssl_session_reused ", "map $http_reused ") + DATES)
    host.start()

    def expired(end: str, now: str, left: str = "0", reused: str = "r") -> bytes:
        headers = f"End: {end}\r\nNow: {now}\r\nLeft: {left}\r\nReused: {reused}\r\n"
        return ask_plainly(host.port, headers=headers).body

    chance = random.Random(23)
    ends = [datetime.datetime(2027, month, 1, tzinfo=datetime.UTC) for month in range(1, 13)]
    ends += [datetime.datetime(2028, 2, 29, 23, 59, 59, tzinfo=datetime.UTC)]
    ends += [ends[0] + datetime.timedelta(seconds=chance.randrange(2**30)) for _number in range(20)]
    spans = [-(2**25), -86401, -86400, -3600, -1, 0, 1, 59, 3600, 86399, 86400, 2**20, 2**25]
    for end in ends:
        for span in spans:
            now = end + datetime.timedelta(seconds=span)
            said = (f"{end:%b} {end.day:2} {end:%H:%M:%S %Y} GMT", f"{now:%A, %d-%b-%Y %H:%M:%S} GMT")
            assert expired(*said) == (b"0" if now < end else b"1"), said
    assert expired("Nov  9 14:39:00 2026 GMT", "Sunday, 08-Nov-2026 14:39:00 UTC") == b"0"
    for said in ({"left": "1"}, {"left": "364"}, {"reused": "."}):
        assert expired("Nov  9 14:39:00 2026 GMT", "Monday, 09-Nov-2026 14:39:00 GMT", **said) == b"0"
    for end in ("", "Nov  9 2026", "Bad time value"):
        assert expired(end, "Monday, 09-Nov-2026 14:39:00 GMT", left="") == b"1"
    assert expired("Nov  9 14:39:00 2026 GMT", "14:39", left="") == b"1"


def test_ours_a_session_of_one_service_opens_no_other(new_host, authority, lost, tls):
    """Other clients are meant there. On 1.18 as on a later build without the fix of CVE-2025-23419."""
    host, admin = new_host(), authority.client("admin")
    root = f"{host.folder}/www"
    services = [
        {"name": "open", "server_names": ["open.test"], "root": root},
        {"name": "nas", "server_names": ["nas.test"], "root": root},
        {"name": "files", "server_names": ["files.test"], "root": root, "allow": ["admin"]},
    ]
    unfixed = host.build.version < (1, 22)
    host.version = max(host.version, (1, 22))
    host.ours(services, authority)
    for path in (host.folder / "conf.d").glob("mtls-*.conf"):
        text = path.read_text()
        assert "sessions.conf;" in text
        path.write_text(text.replace("ssl_conf_command ", "# ") if unfixed else text)
    host.start()
    crossed = 0
    for who in (None, lost, admin):
        for name in ("open.test", "nas.test"):
            session = ask(host.port, "/open/", tls=tls, client=who, host=name).session
            for other, may in (("open.test", who), ("nas.test", who), ("files.test", who is admin)):
                answer = ask(host.port, "/secret", tls=tls, client=who, host=other, session=session)
                assert not answer.let_in or may, (name, other, who)
                crossed += name != other and answer.resumed and answer.let_in
    # Newer versions let sessions cross where server certificate and CA subjects are the same (measured with 1.30).
    assert (crossed > 0) is (tls == "TLSv1.3" and (unfixed or host.build.version >= (1, 29))), crossed


NOBODY_ELSE = ["off", "a port of the host's own", "another authority", "a snippet", "a public path", "old"]


@pytest.mark.parametrize("reason", NOBODY_ELSE)
def test_ours_no_sessions_where_others_could_bring_theirs(new_host, authority, other_authority, tls, reason):
    host, admin = new_host(), authority.client("admin")
    root = f"{host.folder}/www"
    services = [{"name": "nas", "server_names": ["nas.test"], "root": root}]
    neighbours, others = {}, {}
    if reason == "off":
        host.session_resumption = False
    elif reason == "old":
        host.version = min(host.version, (1, 20))
    elif reason == "another authority":
        others["theirs"] = other_authority
        services.append({"name": "x", "server_names": ["x.test"], "root": root, "authority": "pki/theirs"})
        others = {"theirs": other_authority}
    elif reason == "a public path":
        services.append({"name": "open", "server_names": ["open.test"], "root": root, "public_paths": ["/open/"]})
    elif reason == "a snippet":
        services.append({"name": "own", "server_names": ["first.test"], "snippet": True})
    if reason in ("a port of the host's own", "a snippet"):
        neighbours["z"] = PUBLIC
    host.ours(services, authority, neighbours=neighbours, others=others)
    host.start()
    session = ask(host.port, tls=tls, client=admin).session
    answer = ask(host.port, tls=tls, client=admin, session=session)
    assert answer.let_in
    assert not answer.resumed


@pytest.mark.parametrize("optional", [{}, {"public_paths": ["/open/"]}, {"exempt_networks": ["192.0.2.0/24"]}])
def test_ours_whoever_has_just_installed_a_certificate_gets_in(
    request, new_host, authority, tls, monkeypatch, optional
):
    """A browser offers the session that it got without one."""
    if "exempt_networks" in optional:
        request.getfixturevalue("geo")
    host, admin = new_host(), authority.client("admin")
    service = {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www", **optional}
    host.ours([service], authority)
    host.start()
    browser = context.__wrapped__(tls, None)
    monkeypatch.setattr(asking, "context", lambda _tls, _client: browser)
    refused = ask(host.port, tls=tls)
    assert refused.status == 400
    browser.load_cert_chain(admin.path)
    assert ask(host.port, tls=tls, session=refused.session).let_in


def test_ours_a_ca_that_ends_before_the_crl_keeps_none(new_host, authority, tls):
    """A session would outlive it."""
    host, admin = new_host(), authority.client("admin")
    late = pki.crl_of(authority.issuer, days=400)
    host.ours([{"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www"}], authority, crl=late)
    host.start()
    session = ask(host.port, tls=tls, client=admin).session
    answer = ask(host.port, tls=tls, client=admin, session=session)
    assert answer.let_in
    assert not answer.resumed


def test_ours_a_long_certificate_gets_in_by_a_full_handshake(ours, authority, tls):
    """nginx keeps no session that is longer than 4 KB (8 KB from 1.27.5 on), and does not say so."""
    host = ours("nothing").start()
    for size, kept in ((2000, True), (9000, False)):
        filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(size))
        long = pki.forged(authority.path, pki.subject("long"), authority.issuer, extensions=[filler])
        first = ask(host.port, tls=tls, client=long)
        again = ask(host.port, tls=tls, client=long, session=first.session)
        assert first.let_in
        assert again.let_in
        assert again.resumed is (kept and resumes(host))
