# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a plain path, in nginx's eyes: every character of Unicode, ill-formed UTF-8, very long paths."""

from __future__ import annotations

import functools
import itertools
import re
import socket
import unicodedata
import urllib.parse
from collections.abc import Iterable, Iterator

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.site import plain_characters

from .client import context
from .host import USUAL_HTTP

# As tutorials have it: what must not be in a path. Whatever the author has not thought of is public, and so is
# whatever is too much work to look at.
USUAL = r"""
map $request_uri $public {
    default 1;
    "~*^[^?]*(?:/\.\.|//|;|%2e|%2f|%5c|%3b|%00|%25)" 0;
    "~^(?!/open/)" 0;
}
map "$public:$ssl_client_verify" $enter { default 0; "~^1:" 1; "0:SUCCESS" 1; }
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client optional;
    if ($enter = 0) { return 403; }
    location / { root www; }
}
"""
LONG_PATHS = "large_client_header_buffers 4 4m;"
TLS = "TLSv1.3"

ILL_FORMED = [
    *("%80", "%bf", "%c3", "%c3%41", "%e2%82", "%e2%82%41", "%f0%9f%98", "%f0%9f%98%41", "%fe", "%ff"),
    *("%c0%80", "%c0%ae", "%c0%af", "%c1%9c", "%e0%80%ae", "%e0%80%af", "%e0%81%9c", "%e0%9f%bf"),
    *("%f0%80%80%ae", "%f0%80%80%af", "%f0%8f%bf%bf", "%ed%a0%80", "%ed%bf%bf", "%ed%a0%bd%ed%b8%80"),
    *("%f4%90%80%80", "%f5%80%80%80", "%f8%80%80%80%ae", "%fc%80%80%80%80%ae"),
]
SPACED = ["%20", "%C2%A0", "%E2%80%AF", "%E3%80%80", "%C2%B4"]


@pytest.fixture(scope="module")
def ours(module_host, authority):
    """Files that are not there: 404 where the gate is open, 403 where it is not."""
    host = module_host()
    host.guest = authority.client("guest")
    authority.client("admin")
    common = {"root": f"{host.folder}/www"}
    host.ours(
        [
            {"name": "nas", "server_names": ["nas.test"], "allow": ["admin"], "public_paths": ["/open/"], **common},
            {
                "name": "lists",
                "server_names": ["lists.test"],
                "allow": ["guest"],
                "paths": [{"path": "/strasse/", "allow": ["admin"]}],
                **common,
            },
        ],
        authority,
        http=USUAL_HTTP + LONG_PATHS,
    )
    return host.start()


def statuses(host, name: str, paths: Iterable[str], client=None) -> Iterator[int]:
    """The status of each path, over connections that are kept as long as nginx keeps them."""
    waiting = iter(paths)
    path = next(waiting, None)
    while path is not None:
        with (
            socket.create_connection(("127.0.0.1", host.port), timeout=30) as raw,
            context(TLS, client).wrap_socket(raw, server_hostname=name) as connection,
            connection.makefile("rb") as stream,
        ):
            kept = True
            while kept and path is not None:
                connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode("latin-1"))
                head = list(iter(stream.readline, b"\r\n"))
                assert head[0].startswith(b"HTTP/1.1 "), head
                yield int(head[0].split()[1])
                kept = b"Connection: keep-alive\r\n" in head
                path = next(waiting, None)


def let_in(host, name: str, paths: Iterable[str], client) -> list[str]:
    paths = list(paths)
    found = list(statuses(host, name, paths, client))
    assert set(found) <= {400, 403, 404}
    return [path for path, status in zip(paths, found, strict=True) if status == 404]


def escaped(codes: Iterable[int]) -> str:
    return urllib.parse.quote("".join(map(chr, codes)), safe="")


@functools.cache
def matching(expression: str) -> frozenset[int]:
    """The code points that the table's expression is for."""
    codes = (code for code in range(0x80, 0x110000) if not 0xD800 <= code <= 0xDFFF)
    pattern = re.compile(expression.encode())
    return frozenset(code for code in codes if pattern.fullmatch(chr(code).encode()))


def everywhere(code: int) -> list[str]:
    """A path with this character."""
    return [f"/open/x{escaped([code])}y"]


def test_usual_what_nobody_thought_of_is_public(new_host, authority):
    host = new_host()
    host.by_hand(USUAL, authority=authority)
    host.start()
    paths = ["/open/%e2%80%a4%e2%80%a4/secret", "/open/%c0%ae%c0%ae/secret", "/open/.%e2%80%8b./secret"]
    assert list(statuses(host, "nas.test", paths)) == [404] * 3


def test_usual_what_is_too_much_work_is_public(new_host, authority):
    host = new_host()
    host.by_hand(USUAL, authority=authority, http=USUAL_HTTP + LONG_PATHS)
    host.start()
    assert list(statuses(host, "nas.test", ["/open/;/x", "/open/;/" + "x" * 3_000_000])) == [403, 404]


def test_ours_a_long_path_is_judged_like_a_short_one(ours):
    for path in ("/open/..;/secret/", "/open/;/", "/open/%2e/"):
        assert let_in(ours, "nas.test", [path + "x" * 3_000_000], ours.guest) == []
    for path in ("x", "%41", "%C3%A9", "x/"):
        assert len(let_in(ours, "nas.test", ["/open/" + path * (1_000_000 // len(path))], ours.guest)) == 1


def test_ours_every_plain_character_is_plain(ours):
    plain = sorted(matching(plain_characters.PLAIN))
    paths = ["/open/x" + escaped(plain[start : start + 400]) for start in range(0, len(plain), 400)]
    assert let_in(ours, "nas.test", paths, ours.guest) == paths


def test_ours_no_other_character_is(ours):
    found = matching(plain_characters.PLAIN)
    other = [code for code in range(0x80, 0x30000) if code not in found and not 0xD800 <= code <= 0xDFFF]
    meant = [code for code in other if unicodedata.category(chr(code)) != "Cn"]
    unassigned = [code for code in other if unicodedata.category(chr(code)) == "Cn"][::64]
    beyond = [*range(0x30000, 0x110000, 4099), 0x10FFFF]
    codes = [*meant, *unassigned, *(code for code in beyond if code not in found)]
    assert {0x2024, 0x2025, 0xFF0E, 0x2215, 0x200B, 0xAD, 0xFE0F, 0x37E}.issubset(codes)
    assert let_in(ours, "nas.test", itertools.chain.from_iterable(map(everywhere, codes)), ours.guest) == []


def test_ours_ill_formed_utf8_is_not_plain(ours):
    assert let_in(ours, "nas.test", [f"/open/x{octets}y" for octets in ILL_FORMED], ours.guest) == []
    assert let_in(ours, "nas.test", [f"/open/x{octets}" for octets in ILL_FORMED], ours.guest) == []


def test_ours_no_segment_begins_with_a_space(ours):
    """Who drops it may find a dot segment behind it."""
    for space in SPACED:
        assert let_in(ours, "nas.test", [f"/open/{space}..", f"/open/x/{space}", f"/{space}/open/x"], ours.guest) == []
        assert len(let_in(ours, "nas.test", [f"/open/x{space}y", f"/open/x{space}/y"], ours.guest)) == 2


def test_ours_every_ascii_character(ours):
    """As it is, and escaped: what RFC 3986 calls reserved or unreserved, and what browsers send besides."""
    plain = set(map(chr, range(0x21, 0x7F))) - set("./\\;%?#")
    found = let_in(ours, "nas.test", (f"/open/x{one}y" for one in sorted(plain)), ours.guest)
    assert len(found) == len(plain)
    octets = {f"/open/x%{code:02{case}}y": chr(code) for code in range(0x80) for case in "xX"}
    entered = let_in(ours, "nas.test", octets, ours.guest)
    assert {octets[path] for path in entered} == plain | {" "}


def test_ours_a_list_is_not_walked_around_by_folding(ours):
    """Where others may read an ASCII letter, every list counts; what is a letter of its own has none."""
    plain, own = matching(plain_characters.PLAIN), matching(plain_characters.LETTERS)
    folding = sorted(plain - own)
    assert {0xDF, 0x17F, 0x212A, 0xFB01}.issubset(folding)
    assert let_in(ours, "lists.test", (f"/x{escaped([code])}y" for code in folding), ours.guest) == []
    letters = sorted(plain & own)
    paths = ["/x" + escaped(letters[start : start + 400]) for start in range(0, len(letters), 400)]
    assert let_in(ours, "lists.test", paths, ours.guest) == paths
    odd = ["/stra%c3%9fe/", "/%c5%bftrasse/", "/STRASSE/", "/str%e2%80%8basse/", "/x%ffy"]
    assert let_in(ours, "lists.test", odd, ours.guest) == []
