# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a certificate is, and how it stands."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import revoking, servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.ownership import (
    EXPIRED,
    LIVE,
    ON_HOLD,
    REVOKED,
    UNRECORDED,
    Ownership,
    certificates_on_file,
)
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.layout import ClientFiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import Register, RegisterEntry
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.tests.unit.support import later, openssl

LINES = """\
V\t{to_come}\t\t1000\tunknown\t/CN=a
E\t{to_come}\t\t1001\tunknown\t/CN=a
V\t{past}\t\t1002\tunknown\t/CN=a
E\t{past}\t\t1003\tunknown\t/CN=a
R\t{to_come}\t260101000000Z\t1004\tunknown\t/CN=a
R\t{to_come}\t260101000000Z,certificateHold\t1005\tunknown\t/CN=a
R\t{to_come}\t260101000000Z,holdInstruction,1.2.3\t1006\tunknown\t/CN=a
R\t{past}\t260101000000Z,certificateHold\t1007\tunknown\t/CN=a
"""


def ownership_of(pki) -> Ownership:
    return Ownership.of(str(pki.path), Index.load(str(pki.path / "index.txt")), times.now())


def test_on_file_are_todays_and_former_certificates_of_the_issuer(pki):
    """Of a file with a chain the first one counts."""
    former = pki.one(Client("a", {"CN": "former"})).entry.serial
    current = pki.one(Client("a", {"CN": "today's"})).entry.serial
    with pki.file("a", ".crt").open("ab") as stream:
        stream.write((pki.path / "ca.crt").read_bytes())
    foreign = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "x.key", "-subj", "/CN=a")
    openssl("req", "-x509", *foreign, "-out", pki.file("a", "-FF.crt"), cwd=pki.path.parent)
    with pki.open(read_only=True) as authority:
        place = ClientFiles.of(f"{authority.path}/clients", "a")
        found = certificates_on_file(place, authority.chain[:1])
        assert certificates_on_file(ClientFiles.of(f"{authority.path}/clients", "nobody"), authority.chain) == {}
    assert {serial: path for serial, (path, _certificate) in found.items()} == {
        current: str(pki.file("a", ".crt")),
        former: str(pki.file("a", f"-{former}.crt")),
    }
    assert [f"{each.serial_number:X}" for _path, each in found.values()] == [current, former]


def test_how_a_certificate_stands_follows_from_revocation_and_date_not_from_the_letter(pki):
    now = times.now()
    ends = {"to_come": times.asn1_text(times.in_days(now, 9, "")), "past": times.asn1_text(times.in_days(now, -9, ""))}
    (pki.path / "index.txt").write_text(LINES.format(**ends))
    own = ownership_of(pki)
    states = {serial: own.state(serial) for serial in [f"100{number}" for number in range(9)]}
    assert states == {
        "1000": LIVE,
        "1001": LIVE,
        "1002": EXPIRED,
        "1003": EXPIRED,
        "1004": REVOKED,
        "1005": ON_HOLD,
        "1006": ON_HOLD,
        "1007": REVOKED,
        "1008": UNRECORDED,
    }
    assert [own.is_live("1001"), own.is_on_hold("1005"), own.is_revoked("1005"), own.is_revoked("1004")] == [True] * 4
    assert [own.is_live("1005"), own.is_on_hold("1004"), own.is_revoked("1002"), own.is_revoked("1008")] == [False] * 4
    own.count_as_released(["1005"])
    assert [own.state("1005"), own.state("1006")] == [LIVE, ON_HOLD]
    own.count_as_revoked(["1000", "1005", "1008"])
    assert [own.state(serial) for serial in ("1000", "1001", "1005", "1008")] == [REVOKED, LIVE, REVOKED, UNRECORDED]


@pytest.mark.parametrize(("serial", "state"), [("1000", LIVE), ("1005", ON_HOLD)])
def test_a_certificate_ends_with_the_second_that_it_names(pki, serial, state):
    end = times.in_days(times.now(), 9, "")
    ends = {"to_come": times.asn1_text(end), "past": times.asn1_text(end)}
    (pki.path / "index.txt").write_text(LINES.format(**ends))
    record = Index.load(str(pki.path / "index.txt"))
    moment = record.get(serial).not_after
    assert Ownership.of(str(pki.path), record, moment - timedelta(seconds=1)).state(serial) == state
    assert Ownership.of(str(pki.path), record, moment).state(serial) == {LIVE: EXPIRED, ON_HOLD: REVOKED}[state]


@pytest.fixture
def fleet(pki):
    """A laptop with a renewed certificate and one of another subject, a namesake server, and one made by hand."""
    first = pki.one(Client("laptop")).entry.serial
    second = pki.one(Client("laptop", days=400, renew_before=370)).entry.serial
    third = pki.one(Client("laptop", {"O": "Acme", "CN": "Ada's laptop"})).entry.serial
    pki.one(Client("laptop-2", {"O": "Acme", "CN": "Laptop"}))
    with pki.open() as authority:
        wanted = [servers.Server("nas", "web", ("laptop",))]
        (server,) = servers.reconcile(authority, wanted, new_key_type="ecdsa", check=False)
    pki.ca("-in", pki.csr("laptop"), "-out", "by-hand.crt")
    pki.server = server.entry.serial
    pki.by_hand = pki.index()[-1][3]
    pki.laptop = [first, second, third]
    return pki


def test_a_client_has_what_the_register_says_and_what_has_its_subjects_and_is_nobody_elses(fleet):
    own = ownership_of(fleet)
    assert set(own.serials_of("laptop", ["/CN=laptop"])) == {*fleet.laptop, fleet.by_hand}
    assert set(own.serials_of("laptop", [])) == {*fleet.laptop, fleet.by_hand}
    assert own.serials_of("nobody", ["/CN=nobody"]) == []
    assert not own.may_be_of("laptop", fleet.server)
    assert own.may_be_of("laptop", fleet.by_hand)


def test_what_a_certificates_holder_is_called(fleet):
    own = ownership_of(fleet)
    assert own.holder(fleet.laptop[2], "/O=Acme/CN=Ada's laptop") == "laptop"
    assert own.holder(fleet.server, "/CN=laptop") == "nas/web"
    assert own.holder(fleet.by_hand, "/CN=laptop") == "laptop"
    assert own.live_with_common_name("Laptop", ()) == {"/O=Acme/CN=Laptop"}


def test_unmanaged_is_what_no_service_and_no_wanted_client_has(fleet):
    own = ownership_of(fleet)
    entries = Register.load(str(fleet.path))
    first, *registered = fleet.laptop  # of certificates with one subject the register knows the newest
    other = entries["laptop-2"].serial
    everybody = {"laptop", "laptop-2"}
    assert own.unmanaged(everybody, []) == [first, fleet.by_hand]
    # Somebody has that subject now, or is about to: it is taken for an earlier one of that client.
    by_subject = RegisterEntry(fleet.server, "/CN=laptop", "CN=laptop", "", "")
    assert own.unmanaged(everybody, [by_subject]) == []
    assert own.unmanaged(everybody, [], ["/CN=laptop"]) == []
    assert own.unmanaged(everybody, [entries["laptop"]]) == [first, fleet.by_hand]
    # What the register has of a client that is not wanted is unmanaged, whatever its subject.
    assert own.unmanaged({"laptop"}, []) == [first, other, fleet.by_hand]
    assert own.unmanaged({"laptop"}, [entries["laptop-2"]]) == [first, fleet.by_hand]
    assert own.unmanaged({"laptop"}, [], ["/CN=laptop", "/O=Acme/CN=Laptop"]) == [other]
    assert own.unmanaged((), [], ["/CN=laptop"]) == [*registered, other]


def test_all_of_a_client_is_revoked_though_its_files_are_gone(fleet):
    """The register remembers the certificate with the other subject."""
    fleet.file("laptop", ".crt").unlink()
    result = fleet.one(Client("laptop", revoked=True))
    assert set(result.revoked) == {*fleet.laptop, fleet.by_hand}


def test_a_client_that_a_wrong_clock_marked_as_expired_is_unmanaged_found_and_revoked(pki):
    serial = pki.one(Client("phone")).entry.serial
    index = pki.path / "index.txt"
    early = "E" + index.read_text()[1:]  # as `openssl ca -updatedb` does
    index.write_text(early)
    assert [stray.serial for stray in pki.serve(Client("pad")).unmanaged] == [serial]
    with pki.open(read_only=True) as authority:
        wanted = revoking.RevocationRequest("name", "phone", "keyCompromise")
        assert [found.action for found in revoking.Finder.of(authority).find(wanted)] == ["revoked"]
    index.write_text(early)
    result = pki.one(Client("phone", revoked=True))
    assert (result.action, result.revoked) == ("revoked", (serial,))
    assert pki.index()[0][0] == "R"


def test_openssl_ca_goes_on_in_an_index_with_letters_from_a_wrong_clock(pki):
    serial = pki.one(Client("phone")).entry.serial
    index = pki.path / "index.txt"
    index.write_text("E" + index.read_text()[1:])
    pki.one(Client("pad"))
    assert [row[0] for row in pki.index()] == ["V", "V"]
    assert "Valid (V)" in pki.ca("-status", serial, ok=None)
    pki.ca("-revoke", f"newcerts/{serial}.pem")
    assert [row[0] for row in pki.index()] == ["R", "V"]


def test_what_has_really_expired_stays_as_it_is(pki, monkeypatch):
    pki.one(Client("phone", days=40))
    later(monkeypatch, days=50)
    index = pki.path / "index.txt"
    index.write_text("E" + index.read_text()[1:])
    assert pki.serve(Client("pad")).unmanaged == []
    assert [row[0] for row in pki.index()] == ["E", "V"]
    assert pki.one(Client("phone", revoked=True)).action == "unchanged"
