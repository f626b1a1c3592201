# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the server is asked, and what becomes of any answer: one message, in which no token is."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao import api
from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.api import Server
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.loopback import Reply

HEALTH = ("GET", "/v1/sys/health")
WELL = Reply(200, {"data": {"well": True}})


def refused(server: Server, method: str = "GET", path: str = "sys/health") -> str:
    with pytest.raises(MtlsError) as caught:
        server.ask(method, path)
    assert "s.secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def no_token_around(monkeypatch):
    monkeypatch.delenv("BAO_TOKEN", raising=False)
    monkeypatch.delenv("VAULT_TOKEN", raising=False)


@pytest.mark.parametrize(
    "url",
    [
        "bao.example.com",
        "bao.example.com:8200",
        "https://",
        "https://user:s.secret@bao.example.com",
        "https://bao.example.com/?token=s.secret",
        "https://bao.example.com:99999",
        "https://[::1",
        "https://bao.exämple.com",
        "https://bao.example.com/\x1b[2J",
        "https://bao.example.com/a b",
        "http://bao.example.com:8200",
        "http://127.0.0.1.example.com",
        "ftp://127.0.0.1",
    ],
)
def test_an_address_that_cannot_be_is_refused_before_anything_is_sent(url):
    with pytest.raises(MtlsError, match="write it as https://") as caught:
        Server({"url": url, "token": "t"})
    assert "s.secret" not in str(caught.value)


def test_the_ca_file_is_looked_at_before_anything_is_sent(tmp_path):
    settings = {"url": "https://bao.example.com", "ca_file": str(tmp_path / "ca.pem")}
    with pytest.raises(MtlsError, match=r"ca.pem: cannot be read \(No such file or directory\); correct ca_file"):
        Server(settings)
    (tmp_path / "ca.pem").write_text("a certificate, soon\n")
    with pytest.raises(MtlsError, match=r"ca.pem: holds no CA certificate in PEM; correct ca_file"):
        Server(settings)


def test_the_ca_file_of_the_home_directory(tmp_path, monkeypatch, pristine):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ca.pem").write_bytes((pristine / "ca.crt").read_bytes())
    Server({"url": "https://bao.example.com", "ca_file": "~/ca.pem"})


@pytest.mark.parametrize(
    ("settings", "environment", "token"),
    [
        ({"token": "given"}, {"BAO_TOKEN": "bao"}, "given"),
        ({}, {"BAO_TOKEN": " bao\n", "VAULT_TOKEN": "vault"}, "bao"),
        ({}, {"VAULT_TOKEN": "vault"}, "vault"),
        ({}, {"BAO_TOKEN": "", "VAULT_TOKEN": "vault"}, "vault"),
        ({"token_file": "~/token"}, {"BAO_TOKEN": "bao"}, "of-the-file"),
    ],
)
def test_where_the_token_comes_from(bao, tmp_path, monkeypatch, settings, environment, token):
    (tmp_path / "token").write_text("of-the-file\n")
    for name, value in {"HOME": str(tmp_path), **environment}.items():
        monkeypatch.setenv(name, value)
    bao.says(*HEALTH, WELL)

    with Server({"url": bao.url, **settings}).session() as server:
        assert server.ask("GET", "sys/health").data["well"] is True

    (request,) = bao.heard  # a token that was not made for this session is not given back
    assert request.headers["X-Vault-Token"] == token
    assert request.headers["X-Vault-Request"] == "true"
    assert "X-Vault-Namespace" not in request.headers


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "there is no token; set token_file, token, or role_id and secret_id in mtls_ca_openbao, or BAO_TOKEN"),
        ({"token_file": "{folder}/empty"}, "empty: is empty; write the token into it"),
        ({"token_file": "{folder}/binary"}, "the token contains characters that no token can have"),
        ({"token": "s.sec\nret"}, "the token contains characters that no token can have"),
        ({"role_id": "role"}, "an AppRole needs both, role_id and secret_id; set the other one too"),
        ({"secret_id": "s.secret"}, "an AppRole needs both"),
    ],
)
def test_without_a_token_nothing_is_sent(bao, tmp_path, settings, said):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"s.\xff\xfe")
    settings = {name: value.format(folder=tmp_path) for name, value in settings.items()}

    with pytest.raises(MtlsError, match=said), Server({"url": bao.url, **settings}).session():
        pass
    assert bao.heard == []


APPROLE = {"role_id": "role", "secret_id": "s.secret"}


def test_a_token_made_for_the_session_is_given_back_whatever_happens(bao):
    bao.says("POST", "/v1/auth/approle/login", Reply(200, {"auth": {"client_token": "made"}}))
    bao.says("POST", "/v1/auth/token/revoke-self", Reply(204))

    with pytest.raises(ZeroDivisionError), Server({"url": bao.url, **APPROLE}).session():
        raise ZeroDivisionError

    login, end = bao.heard
    assert login.body == APPROLE
    assert "X-Vault-Token" not in login.headers
    assert (end.path, end.headers["X-Vault-Token"]) == ("/v1/auth/token/revoke-self", "made")


def test_a_token_that_cannot_be_given_back_hides_no_result(bao):
    bao.says("POST", "/v1/auth/approle/login", Reply(200, {"auth": {"client_token": "made"}}))
    bao.says("POST", "/v1/auth/token/revoke-self", Reply(503, {"errors": ["Vault is sealed"]}))

    with Server({"url": bao.url, **APPROLE}).session():
        pass
    assert bao.asked()[-1] == ("POST", "/v1/auth/token/revoke-self")


def test_an_approle_that_is_not_accepted(bao):
    bao.says("POST", "/v1/auth/approle/login", Reply(400, {"errors": ["invalid role or secret ID"]}))

    with (
        pytest.raises(MtlsError, match=r"the AppRole was not accepted \(invalid role or secret ID\)") as caught,
        Server({"url": bao.url, **APPROLE}).session(),
    ):
        pass
    assert "s.secret" not in str(caught.value)
    assert len(bao.heard) == 1  # there is no token to give back


def test_the_namespace_and_the_path_of_the_address_are_in_each_request(bao):
    bao.says("GET", "/behind/v1/secret/data/a%20b%3F", WELL)

    with Server({"url": f"{bao.url}/behind/", "token": "t", "namespace": "team"}).session() as server:
        assert server.ask("GET", "secret/data/a b?").status == 200
    assert bao.heard[0].headers["X-Vault-Namespace"] == "team"


def test_the_clock_of_the_server(bao, server):
    bao.says(
        *HEALTH,
        Reply(200, {}, {"Date": "Mon, 23 Nov 2026 18:30:00 GMT"}),
        Reply(200, {}, {"Date": "Mon, 23 Nov 2026 18:30:00 -0000"}),  # RFC 5322: UTC, of an unknown place
        Reply(200, {}, {"Date": "yesterday"}),
        Reply(200, {}),
    )
    dates = [server.ask("GET", "sys/health").date for _number in range(4)]

    assert dates == [datetime(2026, 11, 23, 18, 30, tzinfo=UTC)] * 2 + [None] * 2


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'"text"', b"\xff", {"data": [1]}, {"data": "text"}, {"errors": "text", "data": 1}]
)
def test_a_success_that_is_none_of_the_api(bao, server, body):
    bao.says(*HEALTH, Reply(200, body))
    assert refused(server) == f"{bao.url}: does not answer as OpenBao or Vault does; correct url"


def test_a_success_that_lacks_what_was_asked_for(bao, server):
    bao.says(*HEALTH, Reply(200, {"data": None, "wrap_info": {"token": "s.secret"}}))
    answer = server.ask("GET", "sys/health")

    assert answer.data.get("certificate") is None
    with pytest.raises(MtlsError, match="GET sys/health has no certificate in its answer") as caught:
        answer.data["certificate"].strip()
    assert "s.secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(503, {"errors": ["Vault is sealed"]}), "is sealed; unseal it (`bao operator unseal`) and run again"),
        (Reply(500, {"errors": ["error: Vault is sealed"]}), "is sealed; unseal it"),
        (Reply(503, b"<html>no backend"), "is not ready (<html>no backend); run again when it is back"),
        (Reply(500, {"errors": ["local node not active but active cluster node not found"]}), "is not ready (local"),
        (Reply(400, {"errors": ["namespace not found"]}), "has no namespace None; correct namespace"),
        (Reply(403, {"errors": ["permission denied"]}), "GET sys/health is denied; the token's policy must grant read"),
        (Reply(404, {"errors": ['no handler for route "x"']}), "nothing is mounted at sys/health; correct the mount"),
        (Reply(404, {"errors": []}), "GET sys/health failed with status 404: no reason given"),
        (
            Reply(307, b"", {"Location": "https://other/"}),
            "redirects to another server; set url to the address of the active",
        ),
        (
            Reply(429, {"errors": ["quota exceeded"]}),
            "rejects more requests, by a rate limit or quota (quota exceeded)",
        ),
        (Reply(500, {"errors": ["1 error\n\t* disk  full"]}), "failed with status 500: 1 error * disk full"),
        (Reply(500, {"errors": ["a", "b"]}), "failed with status 500: a; b"),
        (Reply(502, b"\xffBad\n Gateway"), "failed with status 502: \ufffdBad Gateway"),
        (Reply(400, {"errors": "text"}), 'failed with status 400: {"errors": "text"}'),
        (Reply(400, {"errors": 5}), 'failed with status 400: {"errors": 5}'),
        (Reply(400, {"message": "no"}), 'failed with status 400: {"message": "no"}'),
        (Reply(500, {"errors": ["\x1b[2Jgone"]}), r"failed with status 500: \x1b[2Jgone"),
        (Reply(400, {"errors": [{"code": 1}]}), "failed with status 400: {'code': 1}"),
    ],
)
def test_each_refusal_says_what_to_do(bao, server, reply, said):
    bao.says(*HEALTH, reply)
    text = refused(server)
    assert text.startswith(f"{bao.url}: ")
    assert said in text


def test_a_long_refusal_is_cut(bao, server):
    bao.says(*HEALTH, Reply(500, {"errors": ["x" * 5000]}))
    assert len(refused(server)) < 500


def test_a_status_that_is_expected_is_an_answer(bao, server):
    bao.says(*HEALTH, Reply(404, {"errors": ["none"], "data": {"metadata": {"version": 3}}}))
    answer = server.ask("GET", "sys/health", accept=(404,))
    assert (answer.status, answer.errors, answer.data["metadata"]) == (404, ("none",), {"version": 3})


def hangs(handler) -> None:
    time.sleep(0.5)
    handler.close_connection = True


def hangs_up(handler) -> None:
    handler.close_connection = True


def stops_in_the_middle(handler) -> None:
    handler.send_response_only(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data":')
    handler.close_connection = True


def speaks_something_else(handler) -> None:
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (hangs, "(no answer in time)"),
        (hangs_up, "(Remote end closed connection without response)"),
        (stops_in_the_middle, "(IncompleteRead("),
        (speaks_something_else, "(220 mail.example.com ESMTP"),
    ],
)
def test_a_server_that_is_lost_is_told_and_the_next_request_takes_a_new_connection(
    bao, server, monkeypatch, answer, said
):
    monkeypatch.setattr(api, "TIMEOUT", 0.2)
    bao.says(*HEALTH, answer, WELL)
    text = refused(server)
    assert said in text
    assert "is not reachable" in text
    assert text.endswith("; run again when it is back: what was issued is kept")

    assert server.ask("GET", "sys/health").data["well"] is True
    assert bao.connections == 2


def test_nobody_listens(bao, server):
    with Server({"url": "http://127.0.0.1:1", "token": "t"}).session() as nobody:
        assert "is not reachable ([Errno 111] Connection refused)" in refused(nobody)


def test_one_connection_serves_one_request_after_the_other(bao, server, monkeypatch):
    bao.says(*HEALTH, WELL)
    for _number in range(3):
        server.ask("GET", "sys/health")
    assert bao.connections == 1

    monkeypatch.setattr(api, "_IDLE", -1.0)  # so long ago that the server may have given it up
    server.ask("GET", "sys/health")
    assert bao.connections == 2


def test_many_requests_at_a_time_come_back_in_order(server):
    together = threading.Barrier(api.CONNECTIONS, timeout=10)

    def work(number: int) -> int:
        together.wait()
        return number * number

    numbers = range(3 * api.CONNECTIONS)
    assert server.each(work, numbers) == [number * number for number in numbers]


def test_after_a_failure_no_new_request_begins(server):
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        raise MtlsError(f"number {number}")

    with pytest.raises(MtlsError, match="number 0"):
        server.each(work, [0])
    with pytest.raises(MtlsError, match=r"number \d+"):
        server.each(work, range(1, 1000))
    assert len(begun) <= 1 + api.CONNECTIONS


def test_times_are_in_whole_seconds_whatever_fractions_the_server_writes():
    assert api.server_time("2026-11-23T18:30:07.945319214Z") == datetime(2026, 11, 23, 18, 30, 7, tzinfo=UTC)
    assert api.server_time("2026-11-23T18:30:07Z") == datetime(2026, 11, 23, 18, 30, 7, tzinfo=UTC)
    with pytest.raises(ValueError, match="soon"):
        api.server_time("soon")
