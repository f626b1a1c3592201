# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that docs/upkeep.md has for mtls_notify_command, as they stand there, with what upkeep gives them.

Their services are a web server of the test's; `sendmail` and `amtool` are scripts that keep what they get.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from email import message_from_bytes
from email.policy import default
from types import MappingProxyType

import pytest

from ansible_collections.mtls.nginx.roles.upkeep.files import upkeep

from .conftest import REPOSITORY

RECIPES = dict(
    re.findall(
        r"^\*\*([\w -]+)\*\*.*?\n```sh\n(.*?)```",
        (REPOSITORY / "docs" / "upkeep.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)
MESSAGE = upkeep.Message("mtls.nginx on nas: 2 things to do", 'A "phone" & <José>:\n  renew it\n\nB', {})
CLEAR = upkeep.Message("mtls.nginx on nas: all is well again", "What the last message reported is resolved.", {})


class Service(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, self.headers, body))
        self.send_response(self.server.answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def service():
    server = http.server.HTTPServer(("127.0.0.1", 0), Service)
    server.posted, server.answer = [], 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def send(tmp_path):
    """`send(RECIPE, message, replace…)`: notify by that recipe, with these texts of it replaced."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sendmail", "amtool"):
        (programs / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/arguments\ncat >{tmp_path}/input\n')
        (programs / name).chmod(0o755)

    def send(recipe: str, message: upkeep.Message, replaced: Mapping[str, str] = MappingProxyType({})) -> None:
        text = RECIPES[recipe]
        for old, new in replaced.items():
            text = text.replace(old, new)
        program = tmp_path / "notify"
        program.write_text(text)
        program.chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        upkeep.notify([str(program)], message, upkeep.environment_of({"path": path}, {}))

    return send


def at(service: http.server.HTTPServer) -> str:
    return f"http://127.0.0.1:{service.server_port}"


def test_there_is_one_for_each_of_five():
    assert list(RECIPES) == ["E-mail", "ntfy", "Gotify", "Home Assistant", "Alertmanager"]
    assert shutil.which("curl")


def test_e_mail(send, tmp_path):
    send("E-mail", MESSAGE)
    assert (tmp_path / "arguments").read_text() == "-t\n"
    mail = message_from_bytes((tmp_path / "input").read_bytes(), policy=default)
    assert (mail["To"], mail["Subject"]) == ("ana@example.com", MESSAGE.subject)
    assert mail.get_content().strip() == MESSAGE.text


def test_ntfy(send, service):
    send("ntfy", MESSAGE, {"https://ntfy.sh": at(service)})
    ((path, headers, body),) = service.posted
    assert (path, headers["Title"]) == ("/your-secret-topic", MESSAGE.subject)
    assert body.decode().strip() == MESSAGE.text


def test_gotify(send, service, tmp_path):
    (tmp_path / "header").write_text("X-Gotify-Key: token\n")
    replaced = {"https://gotify.example.com": at(service), "/etc/gotify.header": str(tmp_path / "header")}
    send("Gotify", MESSAGE, replaced)
    ((path, headers, body),) = service.posted
    assert (path, headers["X-Gotify-Key"]) == ("/message", "token")
    form = message_from_bytes(f"Content-Type: {headers['Content-Type']}\n\n".encode() + body, policy=default)
    fields = {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True).decode().strip()
        for part in form.iter_parts()
    }
    assert fields == {"title": MESSAGE.subject, "message": MESSAGE.text}


def test_home_assistant(send, service):
    send("Home Assistant", MESSAGE, {"https://homeassistant.example.com": at(service)})
    ((path, headers, body),) = service.posted
    assert (path, headers["Content-Type"]) == ("/api/webhook/your-secret-id", "application/json")
    assert json.loads(body) == {"subject": MESSAGE.subject, "text": MESSAGE.text}


@pytest.mark.parametrize(("message", "days"), [(MESSAGE, 8), (CLEAR, 0)])
def test_alertmanager(send, tmp_path, message, days):
    send("Alertmanager", message)
    words = (tmp_path / "arguments").read_text()
    assert "alert\nadd\nmtls_upkeep\n" in words
    assert f"--annotation=summary={message.subject}\n" in words
    assert message.text in words
    end = datetime.fromisoformat(re.search(r"^--end=(.*)$", words, re.MULTILINE)[1])
    assert abs(end - datetime.now(end.tzinfo) - timedelta(days=days)) < timedelta(hours=2)


@pytest.mark.parametrize("recipe", ["ntfy", "Gotify", "Home Assistant"])
def test_a_service_that_refuses_is_noticed(send, service, tmp_path, recipe):
    service.answer = 403
    (tmp_path / "header").write_text("")
    hosts = ["https://ntfy.sh", "https://gotify.example.com", "https://homeassistant.example.com"]
    replaced = {**dict.fromkeys(hosts, at(service)), "/etc/gotify.header": str(tmp_path / "header")}
    with pytest.raises(upkeep.Refused, match="403"):
        send(recipe, MESSAGE, replaced)
