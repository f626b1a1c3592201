# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The presets' examples in docs/services.md, in front of an application: what is open, what is closed, what passes."""

from __future__ import annotations

import functools
import re

import pytest
import yaml

from .client import ask, ask_plainly
from .nginxes import REPOSITORY
from .websocket import echo

_MEBIBYTE = 1 << 20

# By preset: paths that the example opens, paths that stay closed, the websocket, the largest upload that is tried.
APPS = {
    "home_assistant": {
        "open": ["/api/webhook/4f1d", "/manifest.json"],
        "closed": [
            "/",
            "/auth/token",
            "/api/webhooks",
            "/api/websocket",
            "/api/config",
            "/auth/authorize",
            "/lovelace",
        ],
        "websocket": "/api/websocket",
        "upload": ("/api/backup/upload", 3 * _MEBIBYTE),
    },
    "nextcloud": {
        "open": [
            "/s/AbCdEf",
            "/index.php/s/AbCdEf",
            "/public.php/dav/files/AbCdEf",
            "/core/css/server.css",
            "/dist/a.js",
        ],
        "closed": [
            "/",
            "/login",
            "/index.php/login",
            "/remote.php/dav/files/x/",
            "/ocs/v2.php/cloud/user",
            "/settings/",
        ],
        "websocket": "/push/ws",
        "upload": ("/remote.php/dav/uploads/x/1", 3 * _MEBIBYTE),
    },
    "immich": {
        "open": ["/.well-known/immich"],
        "closed": ["/", "/auth/login", "/api/server/ping", "/api/assets", "/share/x", "/.well-known/immich/"],
        "websocket": "/api/socket.io/",
        "upload": ("/api/assets", 3 * _MEBIBYTE),
    },
    "vaultwarden": {
        "open": ["/icons/example.com/icon.png"],
        "closed": ["/", "/identity/connect/token", "/api/sync", "/admin", "/admin/users", "/notifications/hub"],
        "websocket": "/notifications/hub",
        "upload": ("/api/ciphers/1/attachment", 3 * _MEBIBYTE),
    },
    "admin_panel": {
        "open": [],
        "closed": ["/", "/login", "/api2/json/access/ticket"],
        "websocket": "/console",
        "upload": None,
    },
}


@functools.cache
def examples() -> dict[str, dict]:
    """The documented services, by preset."""
    text = (REPOSITORY / "docs" / "services.md").read_text()
    found = [
        service for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) for service in yaml.safe_load(block)
    ]
    return {service["preset"]: service for service in found if "preset" in service}


@pytest.fixture(scope="module", params=APPS)
def served(request, module_host, authority, running_app):
    example = examples()[request.param]
    host = module_host()
    if not host.build.has_geo:
        example = {key: value for key, value in example.items() if key != "exempt_networks"}
    lost = authority.client(f"lost at {request.param} {host.build.name}")
    for name in ("phone", "laptop", "guest"):
        authority.client(name)
    authority.revoke(lost)
    here = {"upstream": running_app.url, "upstream_tls": None, "listen": f"127.0.0.1:{host.port}"}
    host.ours([{**example, **here}], authority)
    host.example, host.expected, host.lost = example, APPS[request.param], lost
    (host.name,) = example["server_names"]
    return host.start()


def test_each_preset_has_an_example():
    assert examples().keys() == APPS.keys()


def test_what_is_open_and_what_is_closed(served, authority, app, tls):
    clients = {None: None, "lost": served.lost, "guest": authority.client("guest")}
    refused = {None: 400, "lost": 400, "guest": 403}
    for who, client in clients.items():
        for path in served.expected["open"]:
            assert ask(served.port, path, tls=tls, host=served.name, client=client).status == 200, (who, path)
        for path in served.expected["closed"]:
            answer = ask(served.port, path, tls=tls, host=served.name, client=client)
            assert answer.status == refused[who], (who, path)
    assert {seen.path for seen in app.take()} == set(served.expected["open"])
    assert ask_plainly(served.port, host=served.name).status == 400


def test_who_may_enter_gets_everywhere(served, authority, app, tls):
    client = authority.client("laptop" if "laptop" in served.example["allow"] else "phone")
    paths = served.expected["open"] + served.expected["closed"]
    assert {ask(served.port, path, tls=tls, host=served.name, client=client).status for path in paths} == {200}
    assert [seen.path for seen in app.take()] == paths


def test_the_websocket(served, authority, tls):
    client = authority.client(served.example["allow"][0])
    path = served.expected["websocket"]
    assert echo(served.port, path, tls=tls, host=served.name, client=client) == b"hello"
    for refused in (None, served.lost, authority.client("guest")):
        assert echo(served.port, path, tls=tls, host=served.name, client=refused) is None


def test_uploads(served, authority, app):
    if served.expected["upload"] is None:
        pytest.skip("nginx's own limit")
    path, size = served.expected["upload"]
    asked = {"tls": "TLSv1.3", "host": served.name, "method": "PUT", "body": "x" * size}
    assert ask(served.port, path, client=authority.client(served.example["allow"][0]), **asked).status == 200
    assert [seen.size for seen in app.take()] == [size]
    assert ask(served.port, path, **{**asked, "body": "x" * 1000}).status == 400
    assert app.take() == []


def test_vaultwardens_administration_has_its_own_list(served, authority, tls):
    if served.name != "vault.example.com":
        pytest.skip("has no such list")
    statuses = {
        who: [
            ask(served.port, path, tls=tls, host=served.name, client=authority.client(who)).status
            for path in ("/", "/admin", "/admin/users", "/Admin/", "//admin/")
        ]
        for who in ("phone", "laptop")
    }
    assert statuses == {"phone": [200, 403, 403, 403, 403], "laptop": [200] * 5}
