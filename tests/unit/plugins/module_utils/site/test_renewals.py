# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose next certificate waits, for whom, and what of it a host may have."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import p12
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.site import renewals
from ansible_collections.mtls.nginx.plugins.module_utils.site.allow_lists import AllowList
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewal_notes import Notes
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.tests.unit.support import later

EARLY, LATE = {"days": 5, "renew_before": 2}, {"days": 20, "renew_before": 10}


def serve(pki, *names, **options):
    pki.serve(*(Client(name, mobileconfig=True, **options) for name in names))


def renewed(pki, *names, **options):
    """The clients with a valid certificate and a next one; the first ones."""
    serve(pki, *names, **{**options, **EARLY})
    first = {name: x509.load_pem_x509_certificate(pki.file(name, ".crt").read_bytes()) for name in names}
    serve(pki, *names, **{**options, **LATE})
    return first


def pending(pki, listed=None):
    return renewals.pending(str(pki.path), listed)


def offers(pki, notes=None):
    return renewals.offers(str(pki.path), pending(pki), notes or Notes(str(pki.path)))


def test_nobody_without_a_renewal(pki):
    serve(pki, "phone", **EARLY)
    assert pending(pki) == []
    assert renewals.pending(str(pki.path / "nowhere"), None) == []


def test_a_renewal_follows_the_certificate_that_is_still_valid(pki):
    first = renewed(pki, "phone", "laptop")["phone"]
    (renewal,) = pending(pki, AllowList(("phone",)))
    assert renewal.client == "phone"
    assert list(renewal.follows.values()) == [first.fingerprint(hashes.SHA1()).hex()]
    assert renewal.until == first.not_valid_after_utc < renewal.not_after
    assert len(pending(pki)) == 2
    assert pending(pki, AllowList(("nobody",))) == []
    (renewal,) = pending(pki, AllowList((), ("CN=Laptop",)))
    assert renewal.client == "laptop"


def test_not_of_what_is_revoked_or_has_expired(pki, monkeypatch):
    renewed(pki, "phone")
    later(monkeypatch, days=6)
    assert pending(pki) == []
    monkeypatch.undo()
    pki.serve(Client("phone", revoked=True))
    assert pending(pki) == []


def test_not_of_a_next_one_that_is_revoked_while_the_first_is_valid(pki):
    renewed(pki, "phone")
    (renewal,) = pending(pki)
    with pki.open() as authority:
        authority.revoke({renewal.serial: "superseded"})
    assert pending(pki) == []


def test_not_where_the_first_one_is_lost_or_lasts_longer(pki):
    renewed(pki, "phone")
    (renewal,) = pending(pki)
    (serial,) = renewal.follows
    (pki.path / "newcerts" / f"{serial}.pem").unlink()
    assert pending(pki) == []
    serve(pki, "watch", subject={"CN": "Watch"}, days=20, renew_before=2)
    serve(pki, "watch", subject={"CN": "Ana's watch"}, days=5, renew_before=2)
    assert pending(pki, AllowList(("watch",))) == []


def test_not_for_another_key(pki):
    """A device with the old key has to be given the new one by hand."""
    serve(pki, "phone", **EARLY)
    pki.file("phone", ".key").unlink()
    serve(pki, "phone", **LATE)
    assert pending(pki) == []


def test_of_a_key_that_stays_on_the_device_the_chain_only(pki):
    csr = str(pki.csr("agent"))
    for options in (EARLY, LATE):
        pki.serve(Client("agent", csr=csr, **options))
    (offer,) = offers(pki)
    assert offer.files.keys() == {"pem"}
    assert offer.withheld is None
    assert offer.token.startswith("c-")


def test_what_is_offered(pki):
    renewed(pki, "phone")
    (offer,) = offers(pki)
    assert offer.files == {
        "p12": pki.file("phone", ".p12").read_bytes(),
        "mobileconfig": pki.file("phone", ".mobileconfig").read_bytes(),
        "pem": pki.file("phone", ".crt").read_bytes(),
    }
    assert offer.token.startswith("mc-")
    assert b"PRIVATE KEY" not in b"".join(offer.files.values())
    (fingerprint,) = offer.renewal.follows.values()
    assert renewals.map_lines([offer]) == f'"{fingerprint}" {offer.token};\n'
    on_host = renewals.on_host("/f", [offer])
    assert {item["name"]: base64.b64decode(item["content"]) for item in on_host["files"]} == offer.named_files
    assert renewals.may_stay("/f", [offer]) == {"folder": "/f", "files": [], "stay": list(offer.named_files)}


def test_the_profile_is_that_of_the_p12(pki):
    renewed(pki, "phone")
    pki.file("phone", ".mobileconfig").write_bytes(b"another one")
    (offer,) = offers(pki)
    assert offer.files.keys() == {"p12", "pem"}
    assert offer.token.startswith("pc-")


@pytest.mark.parametrize(
    "password",
    [
        *("secret", "a long password that somebody made up", "aaaa-bbbb-cccc-dddd-eeee", ""),
        pytest.param(p12.new_password(), id="another generated one"),
    ],
)
def test_only_with_a_password_that_was_generated_for_it(pki, password):
    renewed(pki, "phone")
    pki.file("phone", ".p12.password").write_text(f"{password}\n")
    (offer,) = offers(pki)
    assert offer.files.keys() == {"pem"}
    assert offer.withheld
    assert renewals.warnings([offer]) == [
        f"client 'phone': its .p12 is not handed out at /.mtls/, because {offer.withheld}"
    ]


def test_a_password_of_the_inventory_is_nobodys_business(pki):
    renewed(pki, "phone", p12_password=p12.new_password())
    assert offers(pki)[0].files.keys() == {"pem"}


def test_a_p12_of_another_certificate(pki):
    serve(pki, "phone", **EARLY)
    old = pki.file("phone", ".p12").read_bytes()
    serve(pki, "phone", **LATE)
    pki.file("phone", ".p12").write_bytes(old)
    (offer,) = offers(pki)
    assert "holds another certificate" in offer.withheld


def test_a_password_that_was_seen_once_may_be_handed_over_and_deleted(pki):
    renewed(pki, "phone")
    notes = Notes(str(pki.path))
    assert "p12" in offers(pki, notes)[0].files
    pki.file("phone", ".p12.password").unlink()
    assert "p12" not in offers(pki)[0].files
    notes.save()
    assert "p12" in offers(pki)[0].files
    pki.file("phone", ".p12").write_bytes(b"another one")
    assert "p12" not in offers(pki)[0].files


def test_nothing_of_what_is_in_use(pki):
    renewed(pki, "phone")
    (renewal,) = pending(pki)
    notes = Notes(str(pki.path))
    seen = {"serial": renewal.serial, "status": 200, "last": "2026-11-29T10:00:00Z", "fetched": None}
    notes.note_callers({renewal.serial: renewal.follows}, [seen])
    assert offers(pki, notes) == []


def test_who_may_fetch_somewhere():
    def allowed(*services):
        raw = [
            {"name": f"s{number}", "server_names": [f"s{number}.lan"], "upstream": "http://127.0.0.1", **service}
            for number, service in enumerate(services)
        ]
        return renewals.entitled(parse_services("web", raw))

    here = {"self_renewal": True}
    assert allowed({**here, "allow": ["a", "b"]}, {**here, "allow": ["b", "c"]}) == AllowList(("a", "b", "c"))
    assert allowed({**here, "allow": ["a"]}, {"allow": ["b"]}, {}) == AllowList(("a",))
    assert allowed({**here, "allow": ["a"]}, here) is None
    assert allowed({**here, "allow": ["a"], "paths": [{"path": "/x/", "allow": ["z"]}]}) == AllowList(("a",))
    assert allowed({**here, "allow": [{"dn": "CN=a"}]}) == AllowList((), ("CN=a",))


def test_check_mode_foresees_who_is_renewed(pki):
    serve(pki, "phone", "laptop", **EARLY)
    clients = [{"name": "phone", "renew_before": 10}, {"name": "laptop"}, {"name": "new"}]
    found = renewals.foreseen(str(pki.path), None, clients, 2)
    assert [offer.renewal.client for offer in found] == ["phone"]
    assert renewals.map_lines(found) != ""
    assert renewals.foreseen(str(pki.path), AllowList(("laptop",)), clients, 2) == []
    assert len(renewals.foreseen(str(pki.path), None, clients, 10)) == 2
    revoked = [{"name": "phone", "renew_before": 10, "state": "revoked"}]
    assert renewals.foreseen(str(pki.path), None, revoked, 2) == []
    assert renewals.foreseen(str(pki.path / "nowhere"), None, clients, 2) == []
