# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long allow lists and long subjects: nginx's maps are hash tables, and their sizes may be set once on a host."""

from __future__ import annotations

import hashlib
import re
import subprocess

import pytest

from .client import ask

SERVICE = {"name": "nas", "server_names": ["nas.test"]}
CLIENTS = 10_000
LONGEST_NAME = "the-longest-name-of-a-client-that-there-can-be-".ljust(64, "x")
LONG_SUBJECT = {
    "C": "ES",
    "O": "Ñandú " * 10,
    "OU": "Объединение",
    "CN": "José Ñandú y la más larga de las denominaciones",
}


@pytest.fixture(scope="module")
def people(authority):
    """The last of the list, somebody with a long subject, and somebody who is not on it; the others have no keys."""
    authority.on_paper(f"device-{number:05}-{'n' * 51}" for number in range(CLIENTS))
    authority.client(LONGEST_NAME)
    authority.client("long-subject", LONG_SUBJECT)
    return authority.client(f"device-{CLIENTS:05}-{'n' * 51}")


def serve(host, authority, http):
    listed = [name for name in authority.clients if name.startswith("device-") and f"-{CLIENTS:05}-" not in name]
    allow = [*listed, LONGEST_NAME, "long-subject"]
    assert len(allow) > CLIENTS
    host.ours([{**SERVICE, "root": str(host.folder / "www"), "allow": allow}], authority, http=http)
    host.start()


@pytest.mark.parametrize(
    ("http", "ours"),
    [
        ("", True),
        ("map_hash_bucket_size 1024;", False),
        ("map_hash_max_size 65536;", True),
        ("map_hash_bucket_size 2048; map_hash_max_size 32;", False),
    ],
    ids=["nginx's defaults", "its own bucket size", "its own table size", "both, the table being small"],
)
def test_ten_thousand_clients(new_host, authority, people, http, ours):
    host = new_host()
    serve(host, authority, http)
    maps = (host.folder / "conf.d" / "mtls.conf").read_text()
    assert ("\nmap_hash_bucket_size " in maps) is ours
    for name in (LONGEST_NAME, "long-subject"):
        assert ask(host.port, tls="TLSv1.3", client=authority.clients[name]).status == 200
    assert ask(host.port, tls="TLSv1.3", client=people).status == 403
    assert ask(host.port, tls="TLSv1.3").status == 400


def verdict(host) -> str | None:
    """What nginx says of a configuration, None where it accepts it without a warning."""
    command = [*host.build.command, "-t", "-p", str(host.folder), "-c", "nginx.conf"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if said.returncode == 0 and "[warn]" not in said.stderr else said.stderr


LONG_SERVER_NAME = ".".join(["a" * 63, "b" * 63, "c" * 20, "test"])


@pytest.mark.parametrize(
    ("http", "ours"),
    [("", True), ("server_names_hash_bucket_size 256;", False)],
    ids=["nginx's default", "its own bucket size"],
)
def test_long_server_names(new_host, authority, http, ours):
    host = new_host()
    admin = authority.client("admin")
    service = {**SERVICE, "root": str(host.folder / "www"), "allow": ["admin"], "redirect_http": True}
    host.ours([{**service, "server_names": [LONG_SERVER_NAME, f"*.{LONG_SERVER_NAME}"]}], authority, http=http)
    maps = (host.folder / "conf.d" / "mtls.conf").read_text()
    assert ("\nserver_names_hash_bucket_size 256;\n" in maps) is ours
    host.start()
    for name in (LONG_SERVER_NAME, f"x.{LONG_SERVER_NAME}"):
        assert ask(host.port, tls="TLSv1.3", client=admin, host=name).status == 200


@pytest.mark.parametrize("number", [1, 3, 6, 40])
def test_the_longest_names_of_services_and_authorities(new_host, authority, number):
    """Each of their variables fits nginx's table of variables, and it says nothing about any of its tables."""
    host = new_host()
    authority.client("admin")
    host.name_servers, host.names = ["192.0.2.53"], {"backend.test": "backend.test"}
    options = {
        "upstream": "http://backend.test",
        "allow": ["admin"],
        "public_paths": ["/open/"],
        "paths": [{"path": "/list/", "allow": []}],
        "cors_preflight": True,
        "exempt_networks": ["192.168.7.0/24"] if host.build.has_geo else [],
        "redirect_http": True,
        "acme_upstream": "http://backend.test",
    }
    services = [
        {"name": name, "server_names": [f"{name}{name[:16]}.test"], "authority": f"pki/{name}", **options}
        for name in (f"{index:02}".ljust(32, "x") for index in range(number))
    ]
    host.ours(services, authority, others={service["name"]: authority for service in services})
    assert verdict(host) is None


def test_the_bucket_that_is_said_to_be_needed_is(new_host, authority):
    """The size that goes into mtls.conf, set by the host itself, is accepted, and half of it is not."""
    authority.client("long-subject", LONG_SUBJECT)
    host = new_host()
    services = [{**SERVICE, "root": str(host.folder / "www"), "allow": ["long-subject"]}]
    host.ours(services, authority, http="")
    maps = (host.folder / "conf.d" / "mtls.conf").read_text()
    needed = int(maps.split("\nmap_hash_bucket_size ", 1)[1].split(";", 1)[0])
    for size, accepted in ((needed, True), (needed // 2, False)):
        host.ours(services, authority, http=f"map_hash_bucket_size {size};")
        said = verdict(host)
        assert (said is None) is accepted, said
        assert ("you should increase map_hash_bucket_size" in (said or "")) is not accepted


def test_what_nginx_says_of_a_long_list_is_only_a_warning(new_host, authority):
    """And docs/troubleshooting.md has what silences it. With default sizes, nginx looks for a bucket for each key."""
    names = [hashlib.sha256(str(number).encode()).hexdigest()[:20] for number in range(1100)]
    authority.on_paper(names[1:])
    client = authority.client(names[0])
    host = new_host()
    services = [{**SERVICE, "root": str(host.folder / "www"), "allow": names}]
    host.ours(services, authority, http="map_hash_bucket_size 512;")
    assert verdict(host) is None
    host.ours(services, authority, http="map $http_x $own { default 0; }")  # which fixes both sizes
    assert re.search(r"\[warn\] .*could not build optimal map_hash", verdict(host) or "")
    host.start()
    assert ask(host.port, tls="TLSv1.3", client=client).status == 200
    assert ask(host.port, tls="TLSv1.3").status == 400
