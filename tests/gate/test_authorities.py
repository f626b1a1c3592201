# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two services on one port with an authority each: none lets in the other's clients, whatever they have in common."""

from __future__ import annotations

import pytest

from . import pki
from .client import VERSIONS, ask

BASE = """
    ssl_protocols       TLSv1.2 TLSv1.3;
    ssl_certificate     own/server.crt;
    ssl_certificate_key own/server.key;
"""
# The host's own first server block of the socket: its session cache and ticket keys are everybody's there.
NEIGHBOUR = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name first.test;
    ssl_session_cache shared:first:1m;
    ssl_client_certificate client-certs/@TRUST@ca.crt;
    ssl_verify_client optional;
    root @FOLDER@/www;
}
"""
NAMES = {"nas": "nas.test", "portal": "files.test"}


@pytest.fixture(params=["Root CA", "Other CA"], ids=["one name", "two names"])
def pair(tmp_path, request):
    """Two authorities with as much in common as can be: serials, clients' subjects, and also the CA's name."""
    both = [pki.Authority(tmp_path / "ours", "Root CA"), pki.Authority(tmp_path / "theirs", request.param)]
    for authority in both:
        (authority.path / "serial").write_text("1000\n")
        authority.issue({"admin": {"CN": "admin"}, "guest": {"CN": "guest"}})
    assert both[0].client("admin").certificate.serial_number == both[1].client("admin").certificate.serial_number
    return both


@pytest.fixture
def start(new_host, pair):
    """Starts a host with `nas` for our clients and `portal` for theirs, beside a block that trusts one of the two."""

    def begin(allow: list[str] | None = None, neighbour: str | None = None):
        ours, theirs = pair
        host = new_host(TRUST=f"{neighbour}/" if neighbour else "")
        root = f"{host.folder}/www"
        listed = {"allow": allow} if allow else {}
        host.services = [
            {"name": "nas", "server_names": ["nas.test"], "root": root, **listed},
            {"name": "portal", "server_names": ["files.test"], "root": root, "authority": "pki/partners", **listed},
        ]
        neighbours = {"first": NEIGHBOUR} if neighbour is not None else {}
        host.ours(host.services, ours, http=BASE, neighbours=neighbours, others={"partners": theirs})
        return host.start()

    return begin


@pytest.mark.parametrize("allow", [None, ["admin"]], ids=["everybody", "a list"])
@pytest.mark.parametrize("neighbour", [None, "", "partners"], ids=["alone", "beside ours", "beside theirs"])
def test_each_service_lets_in_the_clients_of_its_own_authority_only(start, pair, tls, allow, neighbour):
    host = start(allow, neighbour)
    for service, owner in (("nas", pair[0]), ("portal", pair[1])):
        for authority in pair:
            answer = ask(host.port, "/secret", tls=tls, client=authority.client("admin"), host=NAMES[service])
            assert answer.let_in is (authority is owner), (service, answer)
        assert ask(host.port, "/secret", tls=tls, host=NAMES[service]).status == 400


@pytest.mark.parametrize("neighbour", [None, "", "partners"], ids=["alone", "beside ours", "beside theirs"])
def test_a_session_of_one_opens_nothing_of_the_other(start, pair, tls, neighbour):
    host = start(None, neighbour)
    for owner, other in (("nas.test", "files.test"), ("files.test", "nas.test")):
        client = pair[owner == "files.test"].client("admin")
        for first in (owner, "first.test"):
            session = ask(host.port, tls=tls, client=client, host=first).session
            if session is None:
                continue
            for path in ("/", "/secret"):
                answer = ask(host.port, path, tls=tls, client=client, host=other, session=session)
                assert not answer.let_in, (owner, first, answer)


def test_a_revocation_by_one_leaves_the_same_serial_of_the_other_alone(start, pair):
    host = start()
    ours, theirs = pair
    theirs.revoke(theirs.client("admin"))
    host.ours(host.services, ours, http=BASE, others={"partners": theirs})
    host.reload()
    for tls in VERSIONS:
        assert ask(host.port, tls=tls, client=ours.client("admin")).let_in
        assert ask(host.port, tls=tls, client=theirs.client("admin"), host="files.test").status == 400
        assert ask(host.port, tls=tls, client=theirs.client("guest"), host="files.test").let_in


def test_on_a_list_it_is_the_authority_that_counts(start, pair, tls):
    """The same subject, on both lists, from the other authority."""
    host = start(["admin"])
    ours, theirs = pair
    assert ours.client("admin").dn == theirs.client("admin").dn
    assert ask(host.port, tls=tls, client=ours.client("guest")).status == 403
    assert ask(host.port, tls=tls, client=theirs.client("guest"), host="files.test").status == 403
    assert ask(host.port, tls=tls, client=theirs.client("admin")).status == 400
    assert ask(host.port, tls=tls, client=ours.client("admin"), host="files.test").status == 400
