# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of clients and services."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import (
    check_client_name,
    check_no_collision,
    check_service_name,
    is_address,
    nearest,
)
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import nginx_quote


@pytest.mark.parametrize(
    "name", ["iphone-admin", "José García", "a b", "x" * 64, "日本", "a..b", 'say "hi"', "\U0001f600" * 50]
)
def test_names_that_can_be_a_file_and_a_cn(name):
    check_client_name(name)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "is empty"),
        ("a/b", "contains '/'"),
        ("..", "begins with a dot"),
        (".hidden", "begins with a dot"),
        (" a", "space"),
        ("a ", "space"),
        ("a\nb", "control or invisible"),
        ("a\0b", "control or invisible"),
        ("a\u202eb", "control or invisible"),
        ("x" * 65, "65 characters"),
        ("日" * 64 + "", None),
        ("\U0001f600" * 50 + "a", "201 bytes"),
        ("register.json", "file the authority keeps"),
        (12, "quotes"),
    ],
)
def test_names_that_cannot_are_refused_with_the_remedy(name, complaint):
    if complaint is None:
        check_client_name(name)
        return
    with pytest.raises(MtlsError, match="client name") as caught:
        check_client_name(name)
    assert complaint in str(caught.value)
    assert ";" in str(caught.value) or "shorten" in str(caught.value) or "," in str(caught.value)


@pytest.mark.parametrize("pair", [("John", "john"), ("JOSÉ", "josé"), ("jose\u0301", "josé")])
def test_names_that_differ_only_in_case_collide(pair):
    with pytest.raises(MtlsError, match=f"client names '{pair[0]}' and '{pair[1]}' differ only in case"):
        check_no_collision(["ana", *pair])


def test_different_names_do_not_collide():
    check_no_collision(["john", "jon"])
    check_no_collision(["john", "jon", "john"])


@pytest.mark.parametrize("name", ["nas", "a", "5", "a1", "my-nas-2", "a55", "x" * 32])
def test_service_names(name):
    check_service_name(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a_b", "A", "a.b", "a/b", "x" * 33, None, "a\n"])
def test_service_names_that_are_refused(name):
    with pytest.raises(MtlsError, match="service name"):
        check_service_name(name)


def test_nearest_spelling():
    assert nearest("iphone-admn", ["laptop-work", "iphone-admin"]) == "iphone-admin"
    assert nearest("Laptop-Work", ["laptop-work", "iphone-admin"]) == "laptop-work"
    assert nearest("zzz", ["laptop-work"]) is None
    assert nearest("phone", ["phones", "iphones"]) == nearest("phone", ["iphones", "phones"]) == "phones"


def test_nginx_quote_doubles_backslashes_before_quotes():
    assert nginx_quote(r"CN=a\"b") == r'"CN=a\\\"b"'


def test_an_address_has_a_zone_only_where_it_may():
    assert is_address("192.0.2.1")
    assert is_address("2001:db8::1")
    assert not is_address("fe80::1%eth0")
    assert is_address("fe80::1%eth0", zone=True)
    assert not is_address("nas.lan")
    assert not is_address("nas.lan", zone=True)
