# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile inventories: whatever YAML can express gives a plan, or one line that names a host."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.plugin_utils.hostvars import inventory_reader
from ansible_collections.mtls.nginx.tests.unit.fuzz.hostile import NUMBERS, TEXTS, VALUES, WORDS, message_of

READER = inventory_reader()
NAMES = st.one_of(st.sampled_from(["a", "A", "b", "iphone-admin"]), WORDS, VALUES)


def partly(**fields: st.SearchStrategy) -> st.SearchStrategy:
    """A dictionary with some of these, each as it should be or as anything."""
    return st.fixed_dictionaries({}, optional={name: st.one_of(value, VALUES) for name, value in fields.items()})


CLIENT = st.one_of(
    partly(
        name=NAMES,
        subject=st.dictionaries(st.sampled_from(["C", "O", "CN", "nonsense"]), st.one_of(WORDS, VALUES), max_size=3),
        csr=WORDS,
        key_type=st.sampled_from(["rsa", "ecdsa"]),
        days=NUMBERS,
        renew_before=NUMBERS,
        p12=st.sampled_from(["compatible", "modern", "none"]),
        p12_password=WORDS,
        state=st.sampled_from(["present", "revoked"]),
        reason=st.sampled_from(["keyCompromise", "superseded"]),
    ),
    st.fixed_dictionaries({"name": WORDS}),
)
SERVICE = st.one_of(
    partly(
        name=st.one_of(st.just("nas"), WORDS),
        server_names=st.lists(st.one_of(st.sampled_from(["nas.lan", "*.lan", "::1", "192.0.2.1"]), WORDS), max_size=3),
        listen=st.one_of(st.just("443"), st.sampled_from(["[::]:443", "٤٤٣", "0", "1:2:3"]), WORDS, NUMBERS),
        upstream=st.one_of(st.just("http://127.0.0.1:1"), WORDS),
        root=st.one_of(st.just("/srv"), WORDS),
        snippet=st.booleans(),
        allow=st.lists(NAMES, max_size=3),
        public_paths=st.lists(st.one_of(st.just("/open"), TEXTS), max_size=2),
        certificate=partly(path=WORDS, key=WORDS),
        state=st.sampled_from(["present", "absent"]),
    ),
    st.fixed_dictionaries(
        {"name": st.sampled_from(["nas", "web"]), "server_names": st.just(["nas.lan"]), "root": st.just("/srv")},
        optional={"allow": st.lists(NAMES, max_size=2), "listen": NUMBERS},
    ),
)
REVOKED = partly(serial=WORDS, certificate=WORDS, reason=st.just("superseded"))
HOST = partly(
    mtls_ca_dir=st.one_of(st.just("pki"), WORDS),
    mtls_ca_subject=st.dictionaries(WORDS, WORDS, max_size=2),
    mtls_ca_passphrase=WORDS,
    mtls_ca_days=NUMBERS,
    mtls_crl_days=NUMBERS,
    mtls_clients=st.lists(CLIENT, max_size=3),
    mtls_fleet_clients=st.lists(CLIENT, max_size=2),
    mtls_services=st.lists(SERVICE, max_size=3),
    mtls_revoked=st.lists(REVOKED, max_size=2),
)
HOSTS = st.dictionaries(st.sampled_from(["nas", "web", "db"]), HOST, max_size=3)


@given(HOSTS)
def test_any_inventory_is_planned_or_refused_by_host(hosts):
    found = []
    said = message_of(lambda: found.append(READER.plan(hosts, dict.fromkeys(hosts, "/srv/inventory"))))
    if said is not None:
        assert any(name in said for name in hosts), said
        return
    for path, plan in found[0].items():
        assert path.startswith("/")
        assert all(isinstance(client["name"], str) for client in plan.clients)


@given(st.text(min_size=8, max_size=20), st.one_of(VALUES, WORDS))
def test_no_refusal_shows_a_secret(secret, other):
    """Whatever is wrong around it: passwords that differ, a wrong type beside it, a misspelt key."""
    secret = f"s3cr3t-{secret}"
    client = {"name": "a", "p12_password": secret}
    for second in ({**client, "p12_password": other}, {**client, "days": other}, {**client, "nonsense": other}):
        hosts = {
            "nas": {"mtls_clients": [client], "mtls_ca_passphrase": secret},
            "web": {"mtls_clients": [second], "mtls_ca_passphrase": secret},
        }
        said = message_of(lambda hosts=hosts: READER.plan(hosts, dict.fromkeys(hosts, "/srv")))
        assert secret not in (said or "")
        assert "s3cr3t-" not in (said or "") or "s3cr3t-" in str(other)
