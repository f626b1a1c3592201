# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long allow lists and long subjects: nginx's maps are hash tables, and their sizes may be set once on a host."""

from __future__ import annotations

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
        ("", {"map_hash_bucket_size", "map_hash_max_size"}),
        ("map_hash_bucket_size 1024;", {"map_hash_max_size"}),
        ("map_hash_max_size 65536;", {"map_hash_bucket_size"}),
        ("map_hash_bucket_size 2048; map_hash_max_size 32;", set()),
    ],
    ids=["nginx's defaults", "its own bucket size", "its own table size", "both, the table being small"],
)
def test_ten_thousand_clients(new_host, authority, people, http, ours):
    host = new_host()
    serve(host, authority, http)
    maps = (host.folder / "conf.d" / "mtls.conf").read_text()
    assert {name for name in ("map_hash_bucket_size", "map_hash_max_size") if f"\n{name} " in maps} == ours
    for name in (LONGEST_NAME, "long-subject"):
        assert ask(host.port, tls="TLSv1.3", client=authority.clients[name]).status == 200
    assert ask(host.port, tls="TLSv1.3", client=people).status == 403
    assert ask(host.port, tls="TLSv1.3").status == 400


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
        said = subprocess.run(
            [*host.build.command, "-t", "-p", str(host.folder), "-c", "nginx.conf"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (said.returncode == 0) is accepted, said.stderr
        assert ("you should increase map_hash_bucket_size" in said.stderr) is not accepted
