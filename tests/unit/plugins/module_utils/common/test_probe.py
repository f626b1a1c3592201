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
        (b"HTTP/1.1 " + b"9" * 4000 + b" Long\r\n", "the answer is not http"),
        (b"HTTP/1.1 0400 Padded\r\n", "the answer is not http"),
        (b"HTTP/1.1 \x1b[2J Escape\r\n", "the answer is not http"),
        (b"", "connection closed without an answer"),
    ],
)
def test_a_status_is_three_digits(answering, line, got):
    assert probe.ask(answering(lambda connection: connection.sendall(line)), NOBODY).got == got


def test_an_answer_byte_by_byte_does_not_hold_up_the_run(answering):
    def drip(connection):
        for _byte in range(100):
            connection.sendall(b"H")
            time.sleep(0.1)

    begin = time.monotonic()
    outcome = probe.ask(answering(drip), NOBODY, timeout=1.0)
    assert outcome.got == "no answer within 1 s"
    assert time.monotonic() - begin < 3
