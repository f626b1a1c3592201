# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who somebody is: the certificate's subject, as nginx spells it and as its maps compare it."""

from __future__ import annotations

import random

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.directory import open_directory
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import check_no_collision
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import nginx_quote

from . import pki
from .client import ask

# The usual map of those who may enter. nginx compares the text of a map without regard to case.
USUAL = """
map $ssl_client_s_dn $allowed {
    default 0;
    "CN=John" 1;
}
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client on;
    if ($allowed = 0) { return 403; }
    root @FOLDER@/www;
}
"""
# Names copied into the map as they are written elsewhere.
USUAL_AS_WRITTEN = """
map $ssl_client_s_dn $allowed { default 0; "CN=José" 1; "CN=a,b" 1; "/CN=plain" 1; }
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client on;
    if ($allowed = 0) { return 403; }
    root @FOLDER@/www;
}
"""

# One name for each character that rule RFC 2253, nginx's configuration or its maps treat in a way of their own.
SPECIAL = [
    *(f"a{character}b" for character in ",+\"\\<>;#=/$~'*@{}^?()[]|.!%&` "),
    *(f"{character}ab" for character in ",+\"\\<>;#=/$~'*@{}^?()[]|.!%&`"),
    *(f"ab{character}" for character in ",+\"\\<>;#=/$~'*@{}^?()[]|.!%&`"),
    "#",
    "##",
    "a  b",
    "~^CN=.*$",
    "default",
    "include",
    "hostnames",
    "volatile",
    "$host",
    "$ssl_client_s_dn",
    "\\n",
    "\\C3\\A9",
    "José García",
    "日本語",
    "Ünï ❤ ☃",
    "a:1:b",
    "SUCCESS:CN=admin",
    "x,CN=admin",
    "x+CN=admin",
    'x" 1; "y',
    "n" * 64,
    "é" * 32,
]
_LETTERS = "abcXYZ019 ,+\"\\<>;#=/$~'*@{}^?()[]|.!%&`-_:éßñ日❤"


def fuzzed(count: int, seed: int) -> dict[str, dict[str, str]]:
    """Subjects of any shape, no two of which differ only in case."""
    dice = random.Random(seed)
    found: dict[str, dict[str, str]] = {}
    while len(found) < count:
        number = len(found)
        text = "".join(dice.choices(_LETTERS, k=dice.randint(1, 40))).strip() or "x"
        subject = {"C": "ES"} if dice.random() < 0.3 else {}
        for key in ("ST", "O", "OU", "title", "GN", "street", "UID"):
            if dice.random() < 0.2:
                subject[key] = "".join(dice.choices(_LETTERS, k=dice.randint(1, 12))).strip() or "y"
        found[f"fuzzed {number}"] = subject | {"CN": f"{text} {number}" if dice.random() < 0.5 else f"{number} {text}"}
    return found


@pytest.fixture(scope="session")
def crowd(authority):
    """The special names and 500 others, all of one authority; every second one is on the allow list."""
    subjects = {f"special {number}": {"CN": name} for number, name in enumerate(SPECIAL)}
    subjects |= fuzzed(500, seed=20261123)
    authority.issue(subjects)
    people = {name: authority.clients[name] for name in subjects}
    check_no_collision(one.dn for one in people.values())
    return people


@pytest.fixture(scope="module")
def ours(module_host, authority, crowd):
    """Two services that share the crowd out between them."""
    host = module_host()
    root = f"{host.folder}/www"
    services = [
        {"name": "nas", "server_names": ["nas.test"], "root": root, "allow": list(crowd)[::2]},
        {"name": "files", "server_names": ["files.test"], "root": root, "allow": list(crowd)[1::2]},
    ]
    host.ours(services, authority)
    return host.start()


@pytest.fixture
def john_and_john(authority):
    """Certificates whose names differ in case, as two runs of `openssl ca` by hand can make them."""
    return authority.client("John"), authority.client("john in lower case", {"CN": "john"})


def test_usual_names_are_compared_without_regard_to_case(new_host, authority, john_and_john, tls):
    host = new_host()
    host.by_hand(USUAL, authority=authority)
    host.start()
    assert [ask(host.port, tls=tls, client=john).let_in for john in john_and_john] == [True, True]


def test_usual_names_as_written_do_not_match(new_host, authority, tls):
    """This one fails closed, and is why people give up and take `optional_no_ca` or a regular expression."""
    host = new_host()
    host.by_hand(USUAL_AS_WRITTEN, authority=authority)
    host.start()
    people = [authority.client(name) for name in ("José", "a,b", "plain")]
    assert [ask(host.port, tls=tls, client=one).status for one in people] == [403, 403, 403]


@pytest.mark.parametrize("by_hand", [False, True], ids=["both of the inventory", "one by hand"])
def test_ours_names_that_differ_in_case_are_never_two_clients(tmp_path, by_hand):
    """nginx's maps would take one for the other, so the authority refuses, whoever issued the first one."""
    authority = pki.Authority(tmp_path / "pki", "Acme Root CA")
    john = Client("John", key_type="ecdsa", p12="none", days=10, renew_before=1)
    with open_directory(str(authority.path), None, read_only=False) as opened:
        if not by_hand:
            clients.reconcile(opened, [john], new_key_type="ecdsa", check=False)
    if by_hand:
        authority.client("John")
    other = Client("john", key_type="ecdsa", p12="none", days=10, renew_before=1)
    with (
        open_directory(str(authority.path), None, read_only=False) as opened,
        pytest.raises(MtlsError, match="only in case"),
    ):
        clients.reconcile(opened, [other], new_key_type="ecdsa", check=False)


def test_ours_everybody_gets_in_under_their_own_spelling_and_nowhere_else(ours, crowd, tls):
    """TLS versions share the crowd: nginx reads the subject from the certificate in both alike."""
    names = list(crowd)
    half = range(0, len(names), 2) if tls == "TLSv1.2" else range(1, len(names), 2)
    wrong = {}
    for number in half:
        who = crowd[names[number]]
        own, others = ("nas.test", "files.test") if number % 2 == 0 else ("files.test", "nas.test")
        statuses = [ask(ours.port, tls=tls, client=who, host=name).status for name in (own, others)]
        if statuses != [200, 403]:
            wrong[who.dn] = statuses
    assert not wrong


def test_ours_the_map_says_what_the_authority_says(ours, authority, crowd):
    text = (ours.folder / "conf.d" / "mtls.conf").read_text()
    assert all(nginx_quote(f"SUCCESS:{one.dn}") in text for one in crowd.values())
