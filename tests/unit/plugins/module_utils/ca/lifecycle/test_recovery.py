# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An old copy of an authority's directory, and the CRLs of hosts that are ahead of it."""

from __future__ import annotations

import base64
import json
import shutil

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.tests.unit.support import Pki, openssl, run_module, tree


@pytest.fixture
def copies(pki):
    """The directory as it was backed up, with a phone and a laptop in it; `pki` goes on."""
    pki.serve(Client("phone"), Client("laptop"))
    with pki.open() as authority:
        authority.write_crl(30)
    shutil.copytree(pki.path, pki.path.parent / "copy")
    return pki, Pki(pki.path.parent / "copy")


def revoke(pki, name, reason="keyCompromise"):
    """Revoke a client's certificate, and return its serial and the new CRL."""
    done = run_module("crl", ca_path=str(pki.path), revoked=[{"name": name, "reason": reason}])
    assert not done.get("failed"), done["msg"]
    return done["revoked"][0]["serial"], (pki.path / "crl.pem").read_text()


def recover(pki, *crls, **options):
    files = [{"host": f"web{number}", "path": "crl.pem", "content": crl} for number, crl in enumerate(crls, 1)]
    return run_module("ca_recover", ca_path=str(pki.path), crls=files, **options)


def state(pki):
    with pki.open(read_only=True) as authority:
        return authority.crl_state()


def revoked(pki):
    return {fields[3]: fields[2].partition(",")[2] for fields in pki.index() if fields[0] == "R"}


def test_what_the_hosts_know_is_recorded(copies):
    pki, copy = copies
    phone, crl = revoke(pki, "phone")
    pki.serve(Client("watch"))
    watch, newest = revoke(pki, "watch", "superseded")
    before, number = tree(copy.path), state(pki).number

    plan = recover(copy, crl, newest, check=True)
    assert plan["changed"]
    assert tree(copy.path) == before
    done = recover(copy, newest, crl)
    assert done["revoked"] == plan["revoked"]
    assert {item["serial"]: item["subject"] for item in done["revoked"]} == {
        phone: "/CN=phone",
        watch: "/CN=known from the CRL only",
    }
    assert (done["newest"], done["number"]) == (number, number + 1)
    assert revoked(copy) == {phone: "keyCompromise", watch: "superseded"}
    with copy.open(read_only=True) as authority:
        assert authority.crl_due(7) is None
    openssl("crl", "-in", "crl.pem", "-CAfile", "ca.crt", "-noout", cwd=copy.path)
    assert f"{phone}=Revoked" in copy.ca("-status", phone, ok=None)
    events = [json.loads(line) for line in (copy.path / "audit.log").read_text().splitlines()]
    assert {event["serial"]: event["from_crl"] for event in events if "from_crl" in event} == {
        phone: number,
        watch: number,
    }

    again = recover(copy, newest, crl)
    assert not again["changed"]
    assert again["message"].endswith("nothing to recover")


def test_hosts_that_are_ahead_by_a_number_only_are_followed_by_a_higher_one(copies):
    """Nobody was revoked meanwhile, and no host takes a lower number than it has."""
    pki, copy = copies
    for _run in range(2):
        with pki.open() as authority:
            authority.write_crl(30)
    newest, number = (pki.path / "crl.pem").read_text(), state(pki).number
    before, index = tree(copy.path), copy.index()
    plan = recover(copy, newest, check=True)
    assert tree(copy.path) == before
    done = recover(copy, newest)
    for answer in (plan, done):
        assert (answer["changed"], answer["revoked"], answer["newest"]) == (True, [], number)
    assert done["number"] == state(copy).number == number + 1
    assert copy.index() == index
    events = [json.loads(line) for line in (copy.path / "audit.log").read_text().splitlines()]
    assert not any("from_crl" in event for event in events)
    assert not recover(copy, newest)["changed"]


@pytest.mark.parametrize("on_hold", [False, True])
def test_another_crl_with_the_same_number_is_followed_by_one_with_a_higher_number(copies, on_hold):
    """Two copies were in use. What only one of them has put on hold, neither has released."""
    pki, copy = copies
    if on_hold:
        pki.serve(Client("phone", revoked=True, reason="certificateHold"))
    for each in (pki, copy):
        with each.open() as authority:
            authority.write_crl(30 if each is copy else 29)
    assert state(pki).number == state(copy).number
    assert not recover(copy, (copy.path / "crl.pem").read_text())["changed"]
    done = recover(copy, (pki.path / "crl.pem").read_text())
    assert (done["changed"], done["number"]) == (True, state(pki).number + 1)
    assert list(revoked(copy).values()) == ["certificateHold"] * on_hold


def test_a_directory_that_counts_its_serials_reuses_none(copies):
    pki, copy = copies
    for each in (pki, copy):
        numbers.write_number(str(each.path / "serial"), 0x1005)
    pki.serve(Client("watch"))
    issued = {fields[3] for fields in pki.index()}
    assert "1005" in issued
    _serial, crl = revoke(pki, "phone")
    recover(copy, crl)
    copy.serve(Client("tablet"))
    assert copy.index()[-1][3] not in issued


def test_a_higher_number_that_has_forgotten_somebody_is_no_excuse(copies):
    pki, copy = copies
    phone, crl = revoke(pki, "phone")
    revoke(copy, "laptop")
    with copy.open() as authority:
        authority.write_crl(30)
    assert state(copy).number > state(pki).number
    done = recover(copy, crl)
    assert [item["serial"] for item in done["revoked"]] == [phone]
    assert len(revoked(copy)) == 2
    assert done["number"] > state(pki).number


def test_a_hold_counts_while_nothing_newer_may_have_released_it(copies):
    pki, copy = copies
    name, other = (fields[5][4:] for fields in sorted(pki.index(), key=lambda fields: fields[3]))  # as a CRL is sorted
    held, crl = revoke(pki, name, "certificateHold")
    assert recover(copy, crl)["changed"]
    assert revoked(copy) == {held: "certificateHold"}
    run_module("crl", ca_path=str(copy.path), revoked=[{"name": name, "state": "released"}])
    assert not recover(copy, crl)["changed"]
    assert revoked(copy) == {}
    # What comes after it in the same CRL counts.
    lost, crl = revoke(pki, other)
    for _run in range(2):
        with copy.open() as authority:
            authority.write_crl(30)
    recover(copy, crl)
    assert revoked(copy) == {lost: "keyCompromise"}
    # One that was held is revoked for good.
    revoke(copy, name, "certificateHold")
    shutil.rmtree(pki.path)
    shutil.copytree(copy.path, pki.path)
    _serial, crl = revoke(pki, name, "keyCompromise")
    recover(copy, crl)
    assert revoked(copy) == {held: "keyCompromise", lost: "keyCompromise"}


def test_crls_of_others_are_left_out(copies, tmp_path):
    _pki, copy = copies
    strange = Pki(tmp_path / "strange")
    run_module("ca_init", path=str(strange.path), subject={"C": "ES", "O": "Acme", "CN": "Test CA"}, key_type="ecdsa")
    strange.serve(Client("phone"))
    _serial, crl = revoke(strange, "phone")
    before = tree(copy.path)
    done = recover(copy, crl)
    assert not done["changed"]
    assert done["message"] == "no host has a CRL of this authority: nothing to recover"
    assert {path: content for path, content in tree(copy.path).items() if not path.endswith(".settled")} == {
        path: content for path, content in before.items() if not path.endswith(".settled")
    }
    skipped = "host web1: crl.pem: was skipped, because this authority did not sign it (issuer: CN=Test CA,O=Acme,C=ES)"
    assert skipped in str(done["warnings"])
    assert (
        "a recovery is for the backends"
        in recover(copy, crl, ca_backend="openbao", ca_openbao={"url": "http://127.0.0.1:1"})["msg"]
    )


def damaged(crl):
    body = base64.b64decode("".join(crl.splitlines()[1:-1]))
    return crl_pem(body[:-4] + bytes(byte ^ 1 for byte in body[-4:]))


def crl_pem(encoded):
    return f"-----BEGIN X509 CRL-----\n{base64.encodebytes(encoded).decode()}-----END X509 CRL-----\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda crl: "", "it is damaged, or is not a CRL in PEM"),
        (lambda crl: "junk", "it is damaged, or is not a CRL in PEM"),
        (lambda crl: crl[:400], "it is damaged, or is not a CRL in PEM"),
        (lambda crl: crl + crl[:400], "it is damaged, or is not a CRL in PEM"),
        (lambda crl: crl_pem(b"\x30\x03\x02\x01\x01"), "it is damaged, or is not a CRL in PEM"),
        (damaged, "this authority did not sign it"),
    ],
)
def test_a_damaged_file_of_one_host_does_not_stop_the_others(copies, change, said):
    pki, copy = copies
    phone, crl = revoke(pki, "phone")
    done = recover(copy, change(crl), crl)
    assert [item["serial"] for item in done["revoked"]] == [phone]
    assert f"host web1: crl.pem: was skipped, because {said}" in str(done["warnings"])
    assert "web2" not in str(done["warnings"])


def test_a_crl_beside_that_of_a_ca_above_is_no_reason_to_warn(copies, tmp_path):
    pki, copy = copies
    phone, crl = revoke(pki, "phone")
    above = Pki(tmp_path / "above")
    run_module("ca_init", path=str(above.path), subject={"CN": "Above"}, key_type="ecdsa")
    with above.open() as authority:
        authority.write_crl(30)
    done = recover(copy, crl + (above.path / "crl.pem").read_text())
    assert [item["serial"] for item in done["revoked"]] == [phone]
    assert "skipped" not in str(done["warnings"])
