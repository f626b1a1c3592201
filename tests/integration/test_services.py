# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service's options by way of `site.yml`: from the inventory to the host, with the refusals on the way."""

from __future__ import annotations

import socket
import ssl

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port


@pytest.fixture(scope="module")
def served(module_site, upstream):
    """A service with lists by path and a page of one's own, behind the PROXY protocol, and one beside it without."""
    site = module_site
    site.port, site.proxied_port = free_port(), free_port()
    site.nginx = site.add_host("web")
    site.inventory.mkdir(exist_ok=True)
    (site.inventory / "refused.html").write_text("<h1>OURS: {{ title }}</h1>{{ reason }}")
    site.host_vars["web"] |= {
        "mtls_clients": [{"name": "parent"}, {"name": "kid"}],
        "mtls_error_page_template": "refused.html",
        "mtls_services": [
            {
                "name": "nas",
                "server_names": ["nas.lan"],
                "listen": f"127.0.0.1:{site.port}",
                "upstream": upstream,
                "preset": "immich",
                "allow": ["parent"],
                "paths": [{"path": "/photos/", "allow": ["parent", "kid"]}],
                "public_paths": ["/open/"],
                "hsts": {"max_age": 600},
            },
            {
                "name": "proxied",
                "server_names": ["proxied.lan"],
                "listen": f"127.0.0.1:{site.proxied_port}",
                "upstream": upstream,
                "allow": ["parent"],
                "proxy_protocol_from": ["127.0.0.1"],
                "exempt_networks": ["192.168.7.0/24"],
            },
        ],
    }
    site.ok()
    return site


def test_a_second_run_changes_nothing(served):
    assert served.ok().changed == 0


def test_each_path_has_its_list(served):
    statuses = {
        who: [served.status(served.port, path, client=who) for path in ("/", "/photos/", "/open/", "/photos/%2e%2e/")]
        for who in ("parent", "kid", None)
    }
    assert statuses == {"parent": [200] * 4, "kid": [403, 200, 200, 403], None: [400, 400, 200, 400]}


BROWSER = "Accept: text/html\r\n"  # programs get text


def test_a_page_of_ones_own(served):
    for who, reason in (("kid", b"list"), (None, b"none")):
        answer = served.ask(served.port, client=who, headers=BROWSER)
        assert answer.body.startswith(b"<h1>OURS: ")
        assert answer.body.endswith(reason)
        assert answer.headers["Strict-Transport-Security"] == "max-age=600"


def test_a_broken_page_changes_nothing(served):
    page = served.inventory / "refused.html"
    before = page.read_text()
    page.write_text("{{ titel }}")
    try:
        assert "mtls_error_page_template" in served.refused()
        assert served.ask(served.port, headers=BROWSER).body.startswith(b"<h1>OURS: ")
    finally:
        page.write_text(before)


def test_without_pages_nginx_has_its_words(served):
    served.host_vars["web"]["mtls_error_pages"] = False
    try:
        served.ok()
        assert b"No required SSL certificate was sent" in served.ask(served.port).body
        assert not (served.nginx.folder / "client-certs" / "pages.conf").exists()
    finally:
        del served.host_vars["web"]["mtls_error_pages"]
        served.ok()
    assert served.ask(served.port, headers=BROWSER).body.startswith(b"<h1>OURS: ")


def behind_a_proxy(site, address: str) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", site.proxied_port), timeout=10) as raw:
        raw.sendall(f"PROXY TCP4 {address} 192.168.7.1 1000 443\r\n".encode())
        with context.wrap_socket(raw, server_hostname="proxied.lan") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: proxied.lan\r\nConnection: close\r\n\r\n")
            return int(connection.recv(4096).split()[1])


def test_behind_a_proxy_the_run_asks_as_one(served):
    """The transaction's own request and the closing ones came through, or the run would have failed."""
    assert behind_a_proxy(served, "192.168.7.9") == 200
    assert behind_a_proxy(served, "203.0.113.9") == 400


REFUSALS = {
    "a path's list that names nobody": (
        {"paths": [{"path": "/photos/", "allow": ["kidd"]}]},
        "service nas: allow names 'kidd', which is not a client; did you mean 'kid'?",
    ),
    "the whole internet": ({"exempt_networks": ["0.0.0.0/0"]}, "service nas: exempt_networks"),
    "a preset that there is none of": ({"preset": "imich"}, "imich"),
    "a certificate folder of a snippet": ({"snippet": True}, "service nas: "),
    "hsts without a time": ({"hsts": {"include_subdomains": True}}, "max_age"),
    "a list without a path": ({"paths": [{"allow": []}]}, "path"),
    "a path that is none": ({"paths": ["/photos/"]}, "is not a dictionary"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refused(served, what):
    changes, said = REFUSALS[what]
    services = served.host_vars["web"]["mtls_services"]
    before = dict(services[0])
    services[0].update(changes)
    try:
        assert said in served.refused()
    finally:
        services[0] = before
    assert served.status(served.port, client="parent") == 200


def test_exempt_networks_behind_an_unknown_proxy_are_refused(served):
    """The host's own nginx.conf trusts a header for the client's address."""
    services = served.host_vars["web"]["mtls_services"]
    before = dict(services[0])
    services[0]["exempt_networks"] = ["192.168.7.0/24"]
    served.nginx.write_conf("set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For; include conf.d/*.conf;")
    try:
        assert "has a proxy in front (set_real_ip_from 10.0.0.0/8)" in served.refused()
    finally:
        services[0] = before
        served.nginx.write_conf()


def test_port_80_that_is_taken_is_refused(site, upstream):
    """A server block of the host's own has the same name there."""
    address = "127.80.0.9"
    nginx = site.add_host("web", mtls_clients=[{"name": "parent"}])
    service = {"name": "nas", "server_names": ["nas.lan"], "listen": f"{address}:443", "upstream": upstream}
    site.host_vars["web"]["mtls_services"] = [{**service, "allow": ["parent"], "redirect_http": True}]
    foreign = nginx.folder / "conf.d" / "own.conf"
    foreign.write_text(f"server {{ listen {address}:80; server_name nas.lan; return 204; }}")
    assert f"server name nas.lan on {address}:80 is served already, in {foreign}" in site.refused()
    assert not (nginx.folder / "conf.d" / "mtls-nas.conf").exists()
    foreign.unlink()
    site.ok()
    with socket.create_connection((address, 80), timeout=10) as connection:
        connection.sendall(b"GET /x HTTP/1.1\r\nHost: nas.lan\r\nConnection: close\r\n\r\n")
        assert b"Location: https://nas.lan/x\r\n" in connection.recv(4096)
