# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which server blocks are closed, so that the others get a CRL."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.host import closing, nginx_conf
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Verdict

MARKER = "# Managed by mtls.nginx\n"


@pytest.fixture
def host(tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "nginx.conf").write_text("http { include conf.d/*.conf; }\n")
    for name in ("nas", "photos"):
        (tmp_path / "conf.d" / f"mtls-{name}.conf").write_text(
            f"{MARKER}server {{ listen 443 ssl; server_name {name}.lan; ssl_certificate /{name}.crt; root /srv; }}\n"
        )
    (tmp_path / "conf.d" / "own.conf").write_text("server { listen 80; }\n")
    return tmp_path


def attempt_of(host, broken):
    """What nginx would say: the server block of `broken` is rejected as it is on disk."""

    def attempt(overlay):
        path = str(host / "conf.d" / f"mtls-{broken}.conf")
        if path in overlay:
            return Verdict(True, ())
        return Verdict(False, (f'[emerg] cannot load certificate "/{broken}.crt"', "[warn] something else"))

    return attempt


def closed(host, version, attempt):
    return closing.rejected(nginx_conf.load(str(host / "nginx.conf")), {}, version, attempt)


def test_only_what_nginx_rejects_is_closed(host):
    found = closed(host, "1.22.1", attempt_of(host, "photos"))
    assert [(each.service, each.words) for each in found] == [
        ("photos", '[emerg] cannot load certificate "/photos.crt"')
    ]
    content = next(iter(found.values()))
    (server,) = nginx_conf.parse(content.decode())
    assert [(each.name, each.values) for each in server.block] == [
        ("listen", ["443", "ssl"]),
        ("server_name", ["photos.lan"]),
        ("ssl_reject_handshake", ["on"]),
    ]
    (host / "conf.d" / "mtls-photos.conf").write_bytes(content)
    (host / "conf.d" / "mtls-a.conf").symlink_to("nowhere")
    assert closing.in_place(str(host)) == list(found)


@pytest.mark.parametrize(("version", "is_left_out"), [("1.18.0", True), ("1.19.3", True), ("1.19.4", False)])
def test_an_old_nginx_leaves_the_server_block_out(host, version, is_left_out):
    content = next(iter(closed(host, version, attempt_of(host, "nas")).values()))
    assert (nginx_conf.parse(content.decode()) == []) is is_left_out
    assert nginx_conf.is_managed(content)


def test_of_a_file_only_the_server_blocks_are_closed(host):
    nas = host / "conf.d" / "mtls-nas.conf"
    nas.write_text(f"{MARKER}map $uri $a {{ default 1; }}\n{nas.read_text()}")
    content = next(iter(closed(host, "1.22.1", attempt_of(host, "nas")).values()))
    assert [each.name for each in nginx_conf.parse(content.decode())] == ["server"]


def test_the_hosts_own_blocks_are_never_closed(host):
    assert closed(host, "1.22.1", attempt_of(host, "own")) is None
    (host / "conf.d" / "mtls-nas.conf").write_text("server { listen 443 ssl; }\n")
    assert closed(host, "1.22.1", attempt_of(host, "nas")) is None


def test_the_message_names_service_file_and_reason(host):
    service = closing.Closed("/etc/nginx/conf.d/mtls-nas.conf", "[emerg] no certificate")
    said = closing.message([service], check=False)
    assert said.startswith("nginx rejects its server block on this host, so service nas is closed: ")
    assert said.endswith("(/etc/nginx/conf.d/mtls-nas.conf: [emerg] no certificate)")
    assert "service nas would be closed" in closing.message([service], check=True)


def test_whose_file_nginx_means(host):
    configuration = nginx_conf.load(str(host / "nginx.conf"))
    nas = str(host / "conf.d" / "mtls-nas.conf")
    for problem in (f'[emerg] unknown directive "a" in {nas}:2', '[emerg] cannot load certificate "/nas.crt"'):
        assert closing.files_of_ours([problem], configuration) == [nas]
    own = host / "conf.d" / "own.conf"
    assert closing.files_of_ours([f'[emerg] unknown directive "/nas.crt" in {own}:1'], configuration) == []
