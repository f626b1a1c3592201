# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients as the inventory wants them, refused before anything is touched."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client, check_clients
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError


@pytest.mark.parametrize(
    ("clients", "said"),
    [
        ([Client("a"), Client("a")], "client 'a': is in the list twice; remove one"),
        ([Client("a", days=0)], "client 'a': days is 0; use 1 or more"),
        ([Client("a", renew_before=-1)], "client 'a': renew_before is -1; use 0 or more"),
        ([Client("a", p12_password="")], "client 'a': "),
        (
            [Client("a", csr="a.csr", formats=("pem",))],
            "client 'a': formats asks for a .pem with its key, which never left",
        ),
        (
            [Client("a", keep_key=False, formats=("pem",))],
            "client 'a': formats asks for a .pem with its key, which is to",
        ),
        (
            [Client("a", key_type="ed25519", used_by=("aws", "browser"))],
            "client 'a': key_type is ed25519, and AWS's SDKs, with s2n, take rsa or ecdsa keys only (used_by: aws); ",
        ),
        (
            [Client("a", p12="none", used_by=("browser",))],
            "client 'a': p12 is none, and Chromium and Firefox take a .p12",
        ),
        (
            [Client("a", p12="modern", used_by=("gem", "gnome"))],
            "client 'a': p12 is modern, and GNOME's certificate viewer takes a .p12 of the kind compatible (used_by:",
        ),
        ([Client("../a")], ""),
        ([Client("john"), Client("John")], ""),
    ],
    ids=["twice", "days", "renewal", "password", "request", "p12 only", "key", "no p12", "p12", "path", "case"],
)
def test_what_cannot_be(clients, said):
    with pytest.raises(MtlsError) as error:
        check_clients(clients)
    assert str(error.value).startswith(said)


def test_what_can():
    check_clients(
        [
            Client("d", keep_key=False, p12="none", formats=("pem",)),
            Client("e", csr="x", revoked=True, formats=("pem",)),
            Client("f", csr="x", p12="none", used_by=("gnome",)),
            Client("g", key_type="ed25519", revoked=True, used_by=("gnome",)),
            Client("h", key_type="ecdsa", p12="modern", used_by=("browser", "aws")),
        ]
    )
    check_clients([Client("a"), Client("b", p12_password="secret"), Client("c", revoked=True, p12_password="")])


@pytest.mark.parametrize(
    ("client", "p12", "profile", "pem", "key_file"),
    [
        (Client("a"), True, False, False, True),
        (Client("a", mobileconfig=True), True, True, False, True),
        (Client("a", mobileconfig=True, csr="a.csr"), False, False, False, True),
        (Client("a", mobileconfig=True, p12="none"), False, False, False, True),
        (Client("a", keep_key=False), True, False, False, False),
        (Client("a", keep_key=False, p12="none", formats=("pem",)), False, False, True, True),
    ],
)
def test_which_files_a_client_has(client, p12, profile, pem, key_file):
    found = (client.has_p12, client.has_profile, client.has_pem, client.keeps_key_file)
    assert found == (p12, profile, pem, key_file)
