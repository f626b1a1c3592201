# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's Firefox, driven by its own remote protocol, Marionette: messages of JSON, each with its length ahead."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time

from ansible_collections.mtls.nginx.tests.browser import Browser
from ansible_collections.mtls.nginx.tests.ports import free_port

_SECONDS = 60


def see(browser: Browser, url: str) -> str:
    """Return the page that a fresh profile with the browser's certificates shows, or what kept it from that."""
    profile = browser.home / "firefox"
    shutil.copytree(browser.home / ".pki" / "nssdb", profile)
    port = free_port()
    settings = {
        "marionette.port": port,
        # The default asks the person.
        "security.default_personal_cert": "Select Automatically",
        "browser.shell.checkDefaultBrowser": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        # Everything but this machine is behind a proxy that is not there.
        "network.proxy.type": 1,
        "network.proxy.http": "127.0.0.1",
        "network.proxy.http_port": 9,
        "network.proxy.ssl": "127.0.0.1",
        "network.proxy.ssl_port": 9,
    }
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in settings.items()]
    (profile / "user.js").write_text("".join(lines))
    with subprocess.Popen(
        ["firefox-esr", "--headless", "--no-remote", "--marionette", "--profile", profile, "about:blank"],
        env={"HOME": str(browser.home), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            return _page(port, url)
        finally:
            process.terminate()


def _page(port: int, url: str) -> str:
    with _connection(port) as connection, connection.makefile("rb") as stream:
        _message(stream)  # its greeting
        for number, (command, arguments) in enumerate(
            [("WebDriver:NewSession", {}), ("WebDriver:Navigate", {"url": url}), ("WebDriver:GetPageSource", {})]
        ):
            text = json.dumps([0, number, command, arguments])
            connection.sendall(f"{len(text)}:{text}".encode())
            _kind, _number, error, result = _message(stream)
            if error:
                return f"error: {error['message'].partition('?')[0]}"
        return result["value"]


def _message(stream):
    length = b""
    while (letter := stream.read(1)) != b":":
        if not letter:
            raise ConnectionError("Firefox ended")
        length += letter
    return json.loads(stream.read(int(length)))


def _connection(port: int) -> socket.socket:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
