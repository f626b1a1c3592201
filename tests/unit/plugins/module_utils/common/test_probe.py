# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can do to the controller that asks it for a page."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.tests.unit.support import openssl


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identity")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key")
    openssl("req", "-x509", *key, "-subj", "/CN=host", "-out", folder / "crt", cwd=folder)
    return folder / "crt", folder / "key"


@pytest.fixture
def answering(identity):
    """A TLS server on loopback; what it is given answers one connection after the other. Returns its target."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*identity)
    with contextlib.ExitStack() as cleanup:

        def start(answer):
            listener = cleanup.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve():
                with contextlib.suppress(OSError):
                    raw, _peer = listener.accept()
                    with context.wrap_socket(raw, server_side=True) as connection:
                        connection.recv(4096)
                        answer(connection)

            threading.Thread(target=serve, daemon=True).start()
            return probe.Target("127.0.0.1", listener.getsockname()[1], "host.lan")

        yield start


NOBODY = probe.Attempt("nobody", 400)


@pytest.mark.parametrize(
    ("line", "got"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "400"),
        (b"HTTP/1.1 200\r\n", "200"),  # of an upstream that gives no reason, and nginx none either
        (b"HTTP/1.1 200 \r\n", "200"),
        (b"HTTP/1.1 599\r\nServer: nginx\r\n", "599"),
        (b"HTTP/1.1 2000 Long\r\n", "the answer is not http"),
        (b"HTTP/1.1\r\n", "the answer is not http"),
        (b"SSH-2.0 200 OpenSSH\r\n", "the answer is not http"),
        (b"HTTP/1.1 " + b"9" * 4000 + b" Long\r\n", "the answer is not http"),
        (b"HTTP/1.1 0400 Padded\r\n", "the answer is not http"),
        (b"HTTP/1.1 \x1b[2J Escape\r\n", "the answer is not http"),
        (b"", "connection closed without an answer"),
    ],
)
def test_a_status_is_three_digits(answering, line, got):
    assert probe.ask(answering(lambda connection: connection.sendall(line)), NOBODY).got == got


@pytest.mark.parametrize(
    ("attempt", "status", "ok", "expected"),
    [
        (probe.Attempt("phone", None), 200, True, "anything but 400"),
        (probe.Attempt("phone", None), 502, True, "anything but 400"),
        (probe.Attempt("phone", None), 400, False, "anything but 400"),
        (probe.Attempt("phone", None, other_than=403), 403, False, "anything but 403"),
        (probe.Attempt("phone", None), None, False, "anything but 400"),
        (NOBODY, 400, True, "400"),
        (NOBODY, 200, False, "400"),
        (NOBODY, None, False, "400"),
    ],
)
def test_what_the_gate_must_do(attempt, status, ok, expected):
    outcome = probe.ProbeOutcome(attempt, status, None if status else "connection refused")
    got = str(status or "connection refused")
    said = {"service": "nas", "who": attempt.who, "expected": expected, "got": got, "ok": ok}
    assert probe.summary("nas", outcome) == said


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (probe.Target("192.0.2.1", 443, "nas.lan"), "nas.lan"),
        (probe.Target("192.0.2.1", 80, "nas.lan"), "nas.lan:80"),
        (probe.Target("192.0.2.1", 80, "nas.lan", tls=False), "nas.lan"),
        (probe.Target("192.0.2.1", 443, "nas.lan", tls=False), "nas.lan:443"),
        (probe.Target("192.0.2.1", 443, "2001:db8::1"), "[2001:db8::1]"),
        (probe.Target("192.0.2.1", 8443, "2001:db8::1"), "[2001:db8::1]:8443"),
    ],
)
def test_the_host_that_is_asked_for(target, host):
    assert f"\r\nHost: {host}\r\n".encode() in probe._request(target, "/")


@pytest.mark.parametrize(("name", "sni"), [("nas.lan", "nas.lan"), ("192.0.2.1", None), ("2001:db8::1", None)])
def test_no_address_is_a_name_in_tls(name, sni):
    assert probe._sni(probe.Target("192.0.2.1", 443, name)) == sni


def test_what_is_served_and_how_far_it_got(answering, identity):
    """Also where nothing comes after the handshake, or nobody is there."""
    der = ssl.PEM_cert_to_DER_cert(identity[0].read_text())
    for line, status in ((b"HTTP/1.1 400 Bad\r\n", 400), (b"", None)):
        outcome = probe.ask(answering(lambda connection, line=line: connection.sendall(line)), NOBODY)
        assert (outcome.status, outcome.reached, outcome.served) == (status, True, der)
    assert probe.served_certificate(answering(lambda _connection: None)) == der
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = probe.Target("127.0.0.1", closed.getsockname()[1], "host.lan")
    outcome = probe.ask(nowhere, NOBODY)
    assert (outcome.got, outcome.reached, outcome.served) == ("connection refused", False, None)
    assert probe.served_certificate(nowhere) is None


def test_a_certificate_that_cannot_be_used_is_the_outcome(tmp_path):
    """It is the controller's own: nobody is asked."""
    (tmp_path / "crt").write_text("nonsense")
    for path, said in (("crt", "TLS: "), ("gone", "no such file or directory")):
        attempt = probe.Attempt("phone", 200, str(tmp_path / path), str(tmp_path / path))
        outcome = probe.ask(probe.Target("127.0.0.1", 1, "host.lan"), attempt)
        assert (outcome.ok, outcome.reached) == (False, False)
        assert outcome.got.startswith(said)


def test_what_is_no_tls_is_the_outcome(identity):
    """And the line of the PROXY protocol comes first."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            raw, _peer = listener.accept()
            with raw, contextlib.suppress(ConnectionResetError):
                heard.append(raw.recv(15))
                raw.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                while raw.recv(4096):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        target = probe.Target("127.0.0.1", listener.getsockname()[1], "host.lan", proxy_protocol=True)
        outcome = probe.ask(target, NOBODY)
        thread.join()
    assert outcome.got.startswith("TLS: ")
    assert (outcome.reached, heard) == (True, [b"PROXY UNKNOWN\r\n"])


def test_an_answer_byte_by_byte_does_not_hold_up_the_run(answering):
    def drip(connection):
        for _byte in range(100):
            connection.sendall(b"H")
            time.sleep(0.1)

    begin = time.monotonic()
    outcome = probe.ask(answering(drip), NOBODY, timeout=1.0)
    assert outcome.got == "no answer within 1 s"
    assert time.monotonic() - begin < 3
