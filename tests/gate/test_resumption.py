# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A resumed TLS session keeps the verdict on the client's certificate from its first handshake."""

from __future__ import annotations

import os
import socket
import subprocess
import time

import pytest

from . import pki
from .client import VERSIONS, ask, context

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
        assert not [answer for answer in chained if answer.resumed]
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
    crl = authority.short_crl(2)
    hosts = [ours("cache", neighbours, crl=crl).start() for neighbours in ({}, {"first": NEIGHBOUR})]
    sessions = [
        (host, tls, ask(host.port, tls=tls, client=lost, host=name).session)
        for host in hosts
        for tls in VERSIONS
        for name in ("nas.test", "first.test")
    ]
    time.sleep(2.2)
    for host, tls, session in sessions:
        for kept in (None, session):
            answer = ask(host.port, tls=tls, client=lost, session=kept)
            assert not answer.let_in, answer


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
        assert "Reused," not in answer


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
    """Browsers offer what they have, and get in, by a full handshake unless another server block keeps sessions."""
    host = ours(way, {"first": neighbour} if neighbour else {})
    host.write("own/other.crt", other_authority.chain)
    host.start()
    admin, session = authority.client("admin"), None
    for _attempt in range(4):
        answer = ask(host.port, tls=tls, client=admin, session=session)
        # A version that would take another authority's session for ours is given none at all.
        assert answer.let_in or (neighbour and answer.resumed and host.build.version < (1, 22))
        assert neighbour or not answer.resumed
        session = answer.session
