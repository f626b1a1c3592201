# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subjects that no client of an inventory can have are on allow lists as they stand, or by their certificate."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from . import pki
from .client import ask

ORG, CN, UID = NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME, NameOID.USER_ID
DESCRIPTION = x509.ObjectIdentifier("2.5.4.13")
OF_NOBODY = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")
NAMES = {
    "two in one": [[(ORG, "Acme")], [(CN, "anna"), (UID, "7")]],
    "another attribute": [[(ORG, "Acme")], [(DESCRIPTION, 'the "red", one')], [(CN, "bob")]],
    "an attribute without a name": [[(OF_NOBODY, "x")], [(CN, "carol")]],
    "CN, O, CN": [[(CN, "people")], [(ORG, "Acme")], [(CN, "dora")]],
    "spelled as nobody types": [[(CN, " \N{LATIN SMALL LETTER E WITH ACUTE}#\\$host ")]],
}
# Who looks like one of them to a person, and is somebody else.
ALIKE = {
    "one each": [[(ORG, "Acme")], [(CN, "anna")], [(UID, "7")]],
    "in another order": [[(ORG, "Acme")], [(CN, "people")], [(CN, "dora")]],
    "one attribute less": [[(ORG, "Acme")], [(CN, "bob")]],
}


def _name(rdns) -> x509.Name:
    return x509.Name([x509.RelativeDistinguishedName([x509.NameAttribute(*pair) for pair in rdn]) for rdn in rdns])


@pytest.fixture(scope="module")
def people(authority, tmp_path_factory) -> dict[str, pki.Identity]:
    folder = tmp_path_factory.mktemp("people")
    return {who: pki.forged(folder, _name(rdns), authority.issuer) for who, rdns in {**NAMES, **ALIKE}.items()}


@pytest.fixture(params=["dn", "certificate"])
def items(request, people, tmp_path):
    """The items of an allow list for each of the NAMES."""
    if request.param == "dn":
        return [{"dn": people[who].dn} for who in NAMES]
    encodings = [serialization.Encoding.PEM, serialization.Encoding.DER]
    for number, who in enumerate(NAMES):
        (tmp_path / f"{number}.crt").write_bytes(people[who].certificate.public_bytes(encodings[number % 2]))
    return [{"certificate": str(tmp_path / f"{number}.crt")} for number in range(len(NAMES))]


def test_a_service_lets_in_whom_its_list_has_and_nobody_who_looks_alike(new_host, authority, people, items, tls):
    host = new_host()
    phone = authority.client("phone")
    service = {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www", "allow": ["phone", *items]}
    host.ours([service], authority)
    host.start()
    statuses = {who: ask(host.port, tls=tls, client=one).status for who, one in {**people, "phone": phone}.items()}
    assert statuses == {**dict.fromkeys(NAMES, 200), **dict.fromkeys(ALIKE, 403), "phone": 200}


def test_a_path_has_its_own(new_host, authority, people, items, tls):
    host = new_host()
    service = {
        "name": "nas",
        "server_names": ["nas.test"],
        "root": f"{host.folder}/www",
        "allow": items[1:],
        "paths": [{"path": "/open/", "allow": items[:2]}],
    }
    host.ours([service], authority)
    host.start()
    entered = {
        path: {who for who, one in people.items() if ask(host.port, path, tls=tls, client=one).status in (200, 404)}
        for path in ("/", "/open/page", "/OPEN/page")
    }
    names = list(NAMES)
    # What may be read as either needs to be on both lists.
    assert entered == {"/": set(names[1:]), "/open/page": set(names[:2]), "/OPEN/page": {names[1]}}


def test_a_subject_that_a_client_has_too_is_listed_once(new_host, authority, tls):
    """nginx refuses a map with one key twice."""
    host = new_host()
    phone = authority.client("phone")
    items = ["phone", {"dn": phone.dn}, {"dn": phone.dn}]
    host.ours([{"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www", "allow": items}], authority)
    host.start()
    assert ask(host.port, tls=tls, client=phone).status == 200
