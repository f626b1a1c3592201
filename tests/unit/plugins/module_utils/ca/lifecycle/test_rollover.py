# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From one authority to the next: who has moved, who has not, and when that is finished."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.lifecycle import rollover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import Pki, tree

NEXT = {"CN": "Next CA"}


def wanted(pki, *subject) -> WantedAuthority:
    return WantedAuthority(str(pki.path), subject[0] if subject else NEXT, keys.KeyKind("ecdsa"), None, 3650, 30)


def sighting(serial, days=0) -> rollover.Sighting:
    return rollover.Sighting("nas", "web", serial, times.now() - timedelta(days=days))


@pytest.fixture
def begun(pki):
    """Two clients, a revoked one, and the next authority that has issued for one of them."""
    pki.old = {result.client.name: result.entry.serial for result in pki.serve(Client("phone"), Client("pad")).results}
    rollover.begin(wanted(pki), check=False)
    pki.next = Pki(pki.path / "next")
    pki.new = pki.next.one(Client("phone")).entry.serial
    return pki


def test_check_mode_says_what_a_run_makes_and_makes_nothing(pki):
    before = tree(pki.path)
    foreseen = rollover.begin(wanted(pki), check=True)
    assert tree(pki.path) == before
    made = rollover.begin(wanted(pki), check=False)
    assert (
        (foreseen.created, sorted(foreseen.added)) == (made.created, sorted(made.added)) == (True, sorted(made.added))
    )
    again = rollover.begin(wanted(pki, None), check=False)
    assert (again.created, again.added) == (False, [])


@pytest.mark.parametrize(
    ("prepare", "subject", "complaint"),
    [
        (lambda pki: None, None, "needs a subject; set mtls_rollover_subject, also to CN=Test CA,O=Acme,C=ES"),
        (lambda pki: (pki.path / "ca.key").unlink(), NEXT, "has no key of its own"),
        (lambda pki: (pki.path / "rollover.json").write_text("{}"), NEXT, "a rollover was interrupted; run site.yml"),
        (lambda pki: (pki.path / "ca.crt").unlink(), NEXT, r"there is no authority \(ca\.crt is missing\)"),
    ],
)
def test_what_cannot_be_rolled_over(pki, prepare, subject, complaint):
    prepare(pki)
    with pytest.raises(MtlsError, match=complaint):
        rollover.begin(wanted(pki, subject), check=False)
    assert not (pki.path / "next").exists()


def test_a_report_tells_who_has_moved_and_who_comes_with_the_old_certificate(begun):
    seen = [sighting(begun.old["pad"], 1), sighting(begun.old["phone"], 9), sighting(begun.new), sighting("ABCD")]
    found = rollover.report(str(begun.path), ["phone", "pad", "nobody"], seen)
    assert (found.moved, found.not_moved) == (("phone",), ("pad", "nobody"))
    assert [(name, each.serial) for name, each in found.still_old] == [
        ("pad", begun.old["pad"]),
        ("phone", begun.old["phone"]),
    ]
    lines = rollover.summary(found)
    assert lines[0].startswith("1 of 3 clients have a certificate of CN=Next CA, until 20")
    assert lines[1] == "without one: pad, nobody"
    assert lines[3].startswith("  pad at web on nas, last on ")


def test_who_comes_is_named_as_the_register_knows_him_or_else_by_the_subject(begun):
    admin = begun.one(Client("ada", {"CN": "Ada Lovelace"})).entry.serial
    begun.ca("-in", begun.csr("by-hand"), "-out", "by-hand.crt")
    by_hand = begun.index()[-1][3]
    found = rollover.report(str(begun.path), [], [sighting(admin), sighting(by_hand, 1)])
    assert [name for name, _sighting in found.still_old] == ["ada", "by-hand"]
    assert rollover.summary(found)[2] == "still using a certificate of the old authority:"
    nobody = rollover.report(str(begun.path), [], [])
    assert rollover.summary(nobody, ["nas", "web"])[2:] == [
        "still using a certificate of the old authority: nobody, as far as the access logs go back",
        "  not known of hosts nas, web, without an answer",
    ]


def test_a_client_whose_next_certificate_is_revoked_has_not_moved(begun):
    begun.next.one(Client("phone", revoked=True))
    assert rollover.report(str(begun.path), ["phone"], []).moved == ()


def test_it_is_finished_when_nobody_would_be_locked_out(begun):
    path = str(begun.path)
    with pytest.raises(MtlsError, match="client pad would be locked out, without a certificate of the next"):
        rollover.check_finishable(path, rollover.report(path, ["phone", "pad"], []), 30)
    begun.next.one(Client("pad"))
    clients = ["phone", "pad"]
    late = rollover.report(path, clients, [sighting(begun.old["pad"], 29)])
    with pytest.raises(MtlsError, match="client pad used certificates of the old authority within the last 30"):
        rollover.check_finishable(path, late, 30)
    quiet = rollover.report(path, clients, [sighting(begun.old["pad"], 31)])
    with pytest.raises(MtlsError, match="host nas did not report who still uses certificates of the old authority"):
        rollover.check_finishable(path, quiet, 30, ["nas"])
    rollover.check_finishable(path, quiet, 30)
    with begun.next.open() as authority:
        authority.write_crl(30)
    crl = (begun.next.path / "crl.pem").read_bytes()
    (begun.next.path / "crl.pem").unlink()
    with pytest.raises(MtlsError, match="no rollover has begun that could be finished"):
        rollover.finish(path)
    (begun.next.path / "crl.pem").write_bytes(crl)
    former = rollover.finish(path)
    assert former.startswith(f"{path}/former/")
    assert Pki(begun.path).one(Client("phone")).entry.serial == begun.new
    with pytest.raises(MtlsError, match="no rollover has begun that could"):
        rollover.finish(path)
    with pytest.raises(MtlsError, match="no rollover has begun; run the playbook"):
        rollover.report(path, clients, [])


def test_sightings_are_what_access_log_returns_and_nothing_else():
    raw = {"host": "nas", "service": "web", "serial": "ab", "last": "2026-11-23T14:39:00Z"}
    (one,) = rollover.sightings_of([raw])
    assert (one.serial, one.last) == ("AB", times.from_iso("2026-11-23T14:39:00Z"))
    for odd in ({**raw, "last": "yesterday"}, {key: raw[key] for key in ("host", "serial", "last")}):
        with pytest.raises(MtlsError, match=r"seen: is not what mtls\.nginx\.access_log returns"):
            rollover.sightings_of([odd])
