# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's modules as Ansible runs them: results, check mode, secrets, messages."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.tests.unit.support import SUBJECT, openssl, run_module, tree

PASSPHRASE, PASSWORD = "correct horse battery", "staple-for-the-phone"


@pytest.fixture
def path(tmp_path):
    result = run_module("ca_init", path=str(tmp_path / "pki"), subject=SUBJECT, key_type="ecdsa", passphrase=PASSPHRASE)
    assert result["changed"]
    assert result["ca"]["key_encrypted"]
    assert PASSPHRASE not in result["raw"]
    return tmp_path / "pki"


def test_ca_init_tells_what_it_made_and_then_changes_nothing(path):
    before = tree(path)
    for check in (True, False):
        result = run_module("ca_init", check=check, path=str(path), key_type="ecdsa", passphrase=PASSPHRASE)
        assert (result["changed"], result["created"], result["adopted"], result["added"]) == (False, False, False, [])
        assert result["ca"]["dn"] == "CN=Test CA,O=Acme,C=ES"
        assert tree(path) == before


def test_a_fleet_in_one_call_from_issue_to_crl_with_no_secret_shown(path):
    common = {"ca_path": str(path), "ca_passphrase": PASSPHRASE}
    clients = [{"name": "a"}, {"name": "b", "p12_password": PASSWORD, "p12": "modern"}]
    issued = run_module("client_cert", diff=True, clients=clients, key_type="ecdsa", **common)
    assert issued["changed"]
    assert [client["action"] for client in issued["clients"]] == ["issued", "issued"]
    assert issued["diff"]["before"] == "a: no certificate\nb: no certificate\n"
    generated = (path / "clients/a/a.p12.password").read_text().strip()
    key_line = (path / "clients/a/a.key").read_text().splitlines()[1]

    clients[1] |= {"state": "revoked", "reason": "keyCompromise"}
    foreseen = run_module("client_cert", check=True, diff=True, clients=clients, **common)
    before = tree(path)
    revoked = run_module("client_cert", diff=True, clients=clients, **common)
    assert foreseen["clients"] == revoked["clients"]
    assert foreseen["diff"] == revoked["diff"]
    assert tree(path) != before

    before = tree(path)
    due = run_module("crl", check=True, **common)
    assert due["changed"]
    assert tree(path) == before
    fresh = run_module("crl", diff=True, **common)
    assert (fresh["changed"], fresh["crl"]["number"], fresh["crl"]["entries"]) == (True, 2, 1)
    for result in (issued, foreseen, revoked, due, fresh):
        for secret in (PASSPHRASE, PASSWORD, generated, key_line):
            assert secret not in result["raw"]

    before = tree(path)
    assert not run_module("client_cert", clients=clients, **common)["changed"]
    assert not run_module("crl", **common)["changed"]
    assert tree(path) == before


def test_a_crl_that_is_too_long_fails_and_loses_no_revocation(path):
    common = {"ca_path": str(path), "ca_passphrase": PASSPHRASE}
    issued = run_module("client_cert", clients=[{"name": "a"}, {"name": "b"}], key_type="ecdsa", **common)["clients"]
    revoked = [{"serial": client["serial"]} for client in issued]
    foreseen = run_module("crl", check=True, revoked=revoked, max_entries=2, **common)
    for result in (foreseen, *(run_module("crl", revoked=revoked, max_entries=2, **common) for _run in range(2))):
        assert result["failed"]
        assert "crl.pem: lists 2 certificates" in result["msg"]
    allowed = run_module("crl", revoked=revoked, max_entries=3, **common)
    assert (allowed["changed"], allowed["crl"]["entries"]) == (False, 2)


def test_crl_revokes_by_serial_and_by_file(path):
    common = {"ca_path": str(path), "ca_passphrase": PASSPHRASE}
    clients = [{"name": "a"}, {"name": "b"}]
    issued = run_module("client_cert", clients=clients, key_type="ecdsa", **common)["clients"]
    revoked = [
        {"serial": issued[0]["serial"].lower(), "reason": "superseded"},
        {"certificate": issued[1]["certificate"]},
    ]
    before = tree(path)
    assert run_module("crl", check=True, revoked=revoked, **common)["changed"]
    assert tree(path) == before
    result = run_module("crl", revoked=revoked, **common)
    assert [item["action"] for item in result["revoked"]] == ["revoked", "revoked"]
    assert result["crl"]["entries"] == 2
    again = run_module("crl", revoked=revoked, **common)
    assert (again["changed"], [item["action"] for item in again["revoked"]]) == (False, ["unchanged", "unchanged"])
    assert "certificate revoked" in openssl(
        "verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem", issued[1]["certificate"], cwd=path, ok=False
    )


def test_server_cert(path):
    servers = [{"host": "nas", "name": "web", "server_names": ["Secure.example.com"]}]
    options = {"ca_path": str(path), "ca_passphrase": PASSPHRASE, "servers": servers}
    result = run_module("server_cert", **options)
    assert result["servers"][0]["action"] == "issued"
    assert result["servers"][0]["dn"] == "CN=secure.example.com"
    before = tree(path)
    assert not run_module("server_cert", check=True, **options)["changed"]
    assert tree(path) == before


def test_check_mode_works_before_there_is_an_authority(tmp_path):
    common = {"check": True, "ca_path": str(tmp_path / "pki")}
    result = run_module("client_cert", clients=[{"name": "a"}, {"name": "b", "state": "revoked"}], **common)
    assert [(client["action"], client["serial"]) for client in result["clients"]] == [
        ("issued", None),
        ("unchanged", None),
    ]
    result = run_module("server_cert", servers=[{"host": "h", "name": "s", "server_names": ["a.b"]}], **common)
    assert result["servers"][0]["action"] == "issued"
    assert run_module("crl", **common)["changed"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "options", "complaint"),
    [
        ("client_cert", {"clients": [], "ca_passphrase": None}, "ca.key: the key is encrypted and no passphrase"),
        ("client_cert", {"clients": [], "ca_passphrase": "falsch"}, "ca.key: the passphrase is wrong"),
        ("client_cert", {"clients": [{"name": "a/b"}]}, "client name 'a/b': contains '/'"),
        ("crl", {"days": 7}, "refresh_before: 7 days are not less than the 7 days"),
        ("crl", {"revoked": [{"serial": "beef"}]}, "serial BEEF: was never issued by the authority"),
        ("crl", {"revoked": [{"certificate": "/nowhere.crt"}]}, "/nowhere.crt: no such file"),
        ("crl", {"ca_path": "/nowhere"}, "/nowhere: there is no authority"),
    ],
)
def test_a_mistake_is_one_message_and_changes_nothing(path, module, options, complaint):
    before = tree(path)
    result = run_module(module, **{"ca_path": str(path), "ca_passphrase": PASSPHRASE, **options})
    assert result["failed"]
    assert complaint in result["msg"]
    assert "Traceback" not in result["raw"]
    assert tree(path) == before


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    result = run_module("ca_init", path=str(tmp_path / "file/pki"), subject=SUBJECT, key_type="ecdsa")
    assert result["failed"]
    assert result["msg"].startswith(str(tmp_path / "file"))


def test_crl_warns_of_who_comes_back_and_guesses_who_was_meant(path):
    common = {"ca_path": str(path), "ca_passphrase": PASSPHRASE}
    run_module("client_cert", clients=[{"name": "phone"}, {"name": "tablet"}], key_type="ecdsa", **common)
    asked = {"present": ["phone"], "revoked": [{"anything": "phone"}, {"anything": "tablte"}], "ignore_unknown": True}
    for check in (True, False):
        done = run_module("crl", check=check, **asked, **common)
        assert (done["coming_back"], done["meant"]) == (["phone"], ["tablet"])
        assert "client 'phone': the inventory still has it as present" in " ".join(map(str, done["warnings"]))
    gone = run_module("crl", revoked=[{"anything": "tablet"}], present=["phone"], **common)
    assert (gone["coming_back"], gone["meant"]) == ([], [])


def test_crl_warns_of_who_is_on_hold_and_comes_back_with_the_same_key(path):
    common = {"ca_path": str(path), "ca_passphrase": PASSPHRASE}
    run_module("client_cert", clients=[{"name": "phone"}, {"name": "tablet"}], key_type="ecdsa", **common)
    again = "lets it in again with the same certificate and key; to keep it out, set state: revoked and reason: cert"
    held = {"present": ["phone", "tablet"], "revoked": [{"anything": "phone", "reason": "certificateHold"}]}
    run_module("crl", revoked=[{"anything": "tablet", "reason": "keyCompromise"}], **common)
    for check in (True, False, False):
        done = run_module("crl", check=check, **held, **common)
        assert (done["coming_back"], done["coming_back_from_hold"]) == (["phone"], ["phone"])
        warned = " ".join(map(str, done["warnings"]))
        assert again in warned
        assert "new certificate" not in warned
    # What was revoked for good stays so, whatever reason is given now; and a hold becomes final by another reason.
    for name, reason in (("tablet", "certificateHold"), ("phone", "keyCompromise")):
        asked = {"present": ["phone", "tablet"], "revoked": [{"anything": name, "reason": reason}]}
        done = run_module("crl", **asked, **common)
        assert (done["coming_back"], done["coming_back_from_hold"]) == ([name], [])
        warned = " ".join(map(str, done["warnings"]))
        assert f"client '{name}': the inventory still has it as present, so the next site.yml gives it a new" in warned
        assert again not in warned


def test_crl_passes_over_what_another_authority_of_the_rollover_has_issued(path):
    """The inventory names it to all of them; what none has issued is a mistake as before."""

    def issue(ca_path, name):
        done = run_module("client_cert", ca_path=str(ca_path), ca_passphrase=PASSPHRASE, clients=[{"name": name}])
        return done["clients"][0]["serial"]

    def revoke(ca_path, *items, **options):
        return run_module("crl", ca_path=str(ca_path), ca_passphrase=PASSPHRASE, revoked=list(items), **options)

    def revoked(ca_path, *items):
        return [each["serial"] for each in revoke(ca_path, *items)["revoked"]]

    following = path / "next"
    run_module("ca_init", path=str(following), subject=SUBJECT, key_type="ecdsa", passphrase=PASSPHRASE)
    old, new = issue(path, "phone"), issue(following, "tablet")
    assert revoked(path, {"name": "tablet"}, {"serial": new}) == []
    assert revoked(path, {"name": "phone"}) == [old]
    assert revoked(following, {"name": "phone"}, {"serial": old}, {"name": "tablet"}) == [new]
    for ca_path in (path, following):
        assert "client 'watch': the authority in" in revoke(ca_path, {"name": "watch"})["msg"]
        assert "'tablte'" in revoke(ca_path, {"anything": "tablte"})["msg"]

    handover.take_over(str(path), "0A")
    assert revoked(path, {"name": "phone"}, {"serial": old}) == []
    assert "client 'watch': the authority in" in revoke(path, {"name": "watch"})["msg"]


@pytest.mark.parametrize(
    ("module", "options", "complaint"),
    [
        ("ca_init", {"renew_before": -1}, "renew_before: is -1; use 0 or more"),
        ("crl", {"refresh_before": -1}, "refresh_before: is -1; use 0 or more"),
    ],
)
def test_a_number_of_days_is_not_negative(path, module, options, complaint):
    place = {"path": str(path), "passphrase": PASSPHRASE} if module == "ca_init" else {"ca_path": str(path)}
    before = tree(path)
    result = run_module(module, **place, **options)
    assert result["failed"]
    assert complaint in result["msg"]
    assert tree(path) == before


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("client_cert", {"clients": [{"name": "phone"}]}),
        ("server_cert", {"servers": [{"host": "nas", "name": "nas", "server_names": ["nas.lan"]}]}),
        ("crl", {}),
    ],
)
def test_what_the_authority_warns_of_is_the_modules_warning(path, module, options):
    path.chmod(0o755)
    result = run_module(module, ca_path=str(path), ca_passphrase=PASSPHRASE, **options)
    assert not result.get("failed")
    assert "other users may look into it (mode 0755)" in str(result["warnings"])
