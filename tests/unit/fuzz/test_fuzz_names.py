# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile names, subjects, passwords and numbers: served so that a second run finds them unchanged, or refused."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.subjects import nginx_dn, subject_name
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import creation
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common.names import check_client_name, check_service_name
from ansible_collections.mtls.nginx.tests.unit.fuzz.hostile import NUMBERS, SCALARS, TEXTS, VALUES, WORDS, message_of
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, Pki, tree

KEYS = ["C", "ST", "L", "O", "OU", "CN", "SN", "serialNumber", "UID", "DC", "emailAddress", "street", "commonName"]
SUBJECTS = st.dictionaries(
    st.one_of(st.sampled_from(KEYS), WORDS, st.integers()), st.one_of(WORDS, VALUES), min_size=1, max_size=4
)


def without_lock(pki: Pki) -> dict:
    return {path: found for path, found in tree(pki.path).items() if not path.endswith("/.lock")}


def serve(pristine: Path, client: Client) -> None:
    """Serve one client: nothing is changed by a refusal, nothing is to do in the second run."""
    with tempfile.TemporaryDirectory() as folder:
        pki = Pki.copy_of(pristine, Path(folder) / "pki")
        before = without_lock(pki)
        said = message_of(lambda: pki.one(client))
        if said is not None:
            assert said.startswith("client ")
            assert without_lock(pki) == before
            return
        assert pki.one(client).action == "unchanged"
        (pki.path / "clients" / "register.json").unlink()
        assert pki.one(client).action == "unchanged"
        assert {path.parent for path in pki.path.rglob("*.key") if path.is_file()} == {
            pki.path,
            pki.path / "clients" / client.name,
        }


@given(st.one_of(TEXTS, VALUES))
def test_names_are_checked(name):
    assert (message_of(lambda: check_client_name(name)) or "client name").startswith("client name")
    assert (message_of(lambda: check_service_name(name)) or "service name").startswith("service name")


@given(WORDS)
def test_clients_of_any_name(pristine, name):
    serve(pristine, Client(name))


@given(SUBJECTS)
def test_subjects(subject):
    found = []
    said = message_of(lambda: found.append(subject_name(subject, "client 'a'")))
    if said is not None:
        assert said.startswith("client 'a': ")
    else:
        assert nginx_dn(found[0]).isascii()
        assert nginx_dn(found[0]).isprintable()


@given(SUBJECTS)
def test_clients_of_any_subject(pristine, subject):
    serve(pristine, Client("a", subject=subject))


@given(st.one_of(st.none(), TEXTS), NUMBERS, NUMBERS, st.sampled_from(["compatible", "modern", "none"]))
def test_clients_of_any_password_and_numbers(pristine, password, days, renew_before, kind):
    serve(pristine, Client("a", p12_password=password, days=days, renew_before=renew_before, p12=kind))


@given(WORDS, WORDS, st.lists(WORDS, max_size=3), NUMBERS, NUMBERS)
def test_servers(pristine, host, name, names, days, renew_before):
    server = servers.Server(host, name, tuple(names), days=days, renew_before=renew_before)
    with tempfile.TemporaryDirectory() as folder:
        pki = Pki.copy_of(pristine, Path(folder) / "pki")
        before = without_lock(pki)

        def work():
            with pki.open() as authority:
                return servers.reconcile(authority, [server], new_key_type="ecdsa", check=False)

        if message_of(work) is not None:
            assert without_lock(pki) == before
        else:
            assert work()[0].action == "unchanged"
            assert set(Path(folder).rglob(f"{name}.crt")) == {pki.path / "servers" / host / f"{name}.crt"}


@given(st.one_of(TEXTS, st.just("x" * 5000)), st.one_of(TEXTS, st.just("x" * 2000)), NUMBERS, NUMBERS, SUBJECTS)
def test_new_authorities(path, passphrase, days, crl_days, subject):
    assume(not path.startswith("/"))
    with tempfile.TemporaryDirectory() as folder:
        wanted = WantedAuthority(f"{folder}/{path}", subject, keys.KeyKind("ecdsa"), passphrase, days, crl_days)
        if message_of(lambda: creation.ensure(wanted, check=False)) is not None:
            assert not [found for found in Path(folder).rglob("*") if found.is_file() and found.name != ".lock"]


@given(SCALARS)
def test_key_sizes(size):
    assume(not isinstance(size, int) or isinstance(size, bool) or not 2048 <= size <= 16384)
    assume(isinstance(size, int))
    with tempfile.TemporaryDirectory() as folder:
        wanted = WantedAuthority(f"{folder}/pki", SUBJECT, keys.KeyKind("rsa", size), None, 365, 30)
        assert "key_size" in (message_of(lambda: creation.ensure(wanted, check=False)) or "")
