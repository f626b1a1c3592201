# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lost device is found by whatever is known of it: all of its certificates, and nobody else's."""

from __future__ import annotations

import json
import shutil
import types
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import numbers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients, revoking, servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import read_published
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import Pki, later, openssl, run_module, tree


def find(pki, kind, value) -> list[str]:
    """Return the serials that are found."""
    with pki.open(read_only=True) as authority:
        return sorted(
            each.serial
            for each in revoking.Finder.of(authority).find(revoking.RevocationRequest(kind, str(value), "unspecified"))
        )


def revoke(pki, kind, value, reason="keyCompromise") -> None:
    with pki.open() as authority:
        revoking.carry_out(
            authority, revoking.Finder.of(authority).find(revoking.RevocationRequest(kind, str(value), reason))
        )


def certificate_of(pki, name) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pki.file(name, ".crt").read_bytes())


@pytest.fixture(scope="module")
def issued(pristine, tmp_path_factory):
    """A laptop with a renewed certificate and one of another subject, and others that are nearly it."""
    pki = Pki.copy_of(pristine, tmp_path_factory.mktemp("issued") / "pki")
    first = pki.one(Client("laptop")).entry.serial
    second = pki.one(Client("laptop", days=400, renew_before=370)).entry.serial
    third = pki.one(Client("laptop", {"O": "Acme", "CN": "Ada's laptop"})).entry.serial
    pki.serve(Client("laptop-2"), Client("other", {"O": "laptop", "CN": "other"}), Client("Laptop 3"))
    with pki.open() as authority:
        servers.reconcile(authority, [servers.Server("nas", "web", ("laptop",))], new_key_type="ecdsa", check=False)
    return pki, sorted((first, second, third))


@pytest.fixture
def fleet(issued, tmp_path):
    made, laptop = issued
    pki = Pki.copy_of(made.path, tmp_path / "pki")
    pki.laptop = laptop
    return pki


def test_by_name_all_of_a_client_is_found_and_nothing_else(fleet):
    assert find(fleet, "name", "laptop") == fleet.laptop
    revoke(fleet, "name", "laptop")
    assert {row[3] for row in fleet.index() if row[0] == "R"} == set(fleet.laptop)
    assert find(fleet, "name", "laptop") == fleet.laptop  # once more: they are known to be revoked
    assert {row[5] for row in fleet.index() if row[0] == "V"} >= {"/CN=laptop-2", "/O=laptop/CN=other", "/CN=laptop"}


def test_by_name_without_the_register_or_without_the_folder(fleet):
    (fleet.path / "clients/register.json").unlink()
    assert find(fleet, "name", "laptop") == fleet.laptop
    shutil.rmtree(fleet.path / "clients/laptop")
    by_cn = sorted(row[3] for row in fleet.index() if row[5] == "/CN=laptop")
    server = {row[3] for row in fleet.index()} & {*by_cn} - {*fleet.laptop}
    assert find(fleet, "name", "laptop") == sorted({*by_cn} - server)
    assert len(find(fleet, "name", "laptop")) == 2


def test_what_only_the_register_knows_cannot_be_revoked_and_is_told(fleet):
    """As an old backup of index.txt leaves it, where the certificate's file is gone as well."""
    current = numbers.hexadecimal(certificate_of(fleet, "laptop").serial_number)
    index = (fleet.path / "index.txt").read_text().splitlines(keepends=True)
    crl = (fleet.path / "crl.pem").read_bytes()
    (fleet.path / "index.txt").write_text("".join(line for line in index if f"\t{current}\t" not in line))
    (fleet.path / f"newcerts/{current}.pem").unlink()
    shutil.rmtree(fleet.path / "clients/laptop")
    with fleet.open(read_only=True) as authority:
        finder = revoking.Finder.of(authority)
        found = finder.find(revoking.RevocationRequest("name", "laptop", "unspecified"))
    assert {each.serial for each in found} == {*fleet.laptop} - {current}
    assert f"its certificate {current} is neither in index.txt nor on file any more" in str(finder.warnings)
    done = run_module("crl", ca_path=str(fleet.path), revoked=[{"name": "laptop", "reason": "keyCompromise"}])
    assert sorted(each["serial"] for each in done["revoked"]) == sorted({*fleet.laptop} - {current})
    assert f"its certificate {current} is neither in index.txt nor on file any more" in str(done["warnings"])

    (fleet.path / "index.txt").write_text("")
    shutil.rmtree(fleet.path / "newcerts")
    (fleet.path / "newcerts").mkdir(0o700)
    (fleet.path / "crl.pem").write_bytes(crl)
    for kind in ("name", "anything"):
        with pytest.raises(revoking.LostError, match=r"^client 'laptop': its certificates? .* cannot be revoked"):
            find(fleet, kind, "laptop")
        done = run_module("crl", ca_path=str(fleet.path), revoked=[{kind: "laptop"}])
        assert done["failed"]
        assert done["msg"].startswith("client 'laptop': its certificate ")
        done = run_module("crl", ca_path=str(fleet.path), revoked=[{kind: "laptop"}], ignore_unknown=True)
        assert "client 'laptop': its certificate " in str(done["warnings"])


def test_what_can_be_taken_back_is_told(fleet):
    def foreseen(reason, release=False):
        with fleet.open(read_only=True) as authority:
            wanted = revoking.RevocationRequest("name", "laptop-2", reason, release)
            (found,) = revoking.Finder.of(authority).find(wanted)
        return found.action, found.on_hold

    assert foreseen("certificateHold") == (revoking.REVOKED, True)
    assert foreseen("keyCompromise") == (revoking.REVOKED, False)
    revoke(fleet, "name", "laptop-2", "certificateHold")
    assert foreseen("certificateHold") == (revoking.UNCHANGED, True)
    assert foreseen("keyCompromise") == (revoking.REVOKED, False)
    assert foreseen("unspecified", release=True) == (revoking.RELEASED, False)
    revoke(fleet, "name", "laptop-2")
    assert foreseen("certificateHold") == (revoking.UNCHANGED, False)


def test_what_follows_for_a_client_that_is_still_present():
    assert "gives it a new certificate with a new key; set state: revoked on it" in revoking.said_of_return(
        "a", on_hold=False
    )
    assert "lets it in again with the same certificate and key" in revoking.said_of_return("a", on_hold=True)


def test_what_only_the_other_authority_of_a_rollover_has(fleet, pristine):
    following = Pki.copy_of(pristine, fleet.path / handover.NEXT)
    serial = following.one(Client("moved")).entry.serial
    assert (fleet.laptop, serial) == (find(fleet, "name", "laptop"), *find(following, "name", "moved"))

    def is_beside(pki, kind, value) -> bool:
        with pki.open(read_only=True) as authority:
            wanted = revoking.RevocationRequest(kind, str(value), "unspecified")
            return revoking.Finder.of(authority).is_known_beside(wanted)

    for kind, value in (
        ("name", "moved"),
        ("serial", serial),
        ("fingerprint", certificate_of(following, "moved").fingerprint(hashes.SHA256()).hex()),
        ("certificate", following.file("moved", ".crt")),
        ("anything", "moved"),
    ):
        assert is_beside(fleet, kind, value)
        if kind != "certificate":  # both were copied, so the CA is the same
            assert not is_beside(following, kind, value)
    assert is_beside(following, "name", "laptop")
    assert is_beside(following, "certificate", fleet.file("laptop", ".crt"))
    assert not is_beside(fleet, "name", "laptop")
    assert not is_beside(fleet, "name", "nobody")


def test_what_has_ended_is_left_alone(pki, monkeypatch):
    pki.one(Client("a", days=40))
    later(monkeypatch, days=50)
    serial = pki.one(Client("a")).entry.serial
    assert find(pki, "name", "a") == [serial]


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()], ids=["SHA-1", "SHA-256"])
def test_by_fingerprint_as_anybody_writes_it(fleet, digest):
    certificate = certificate_of(fleet, "laptop-2")
    serial = [numbers.hexadecimal(certificate.serial_number)]
    plain = certificate.fingerprint(digest).hex()
    path = fleet.file("laptop-2", ".crt")
    said = openssl("x509", "-in", path, "-noout", "-fingerprint", f"-{digest.name}", cwd=fleet.path).strip()
    for text in (plain, plain.upper(), said, said.partition("=")[2]):
        assert find(fleet, "fingerprint", text) == serial
        assert find(fleet, "anything", text) == serial
    revoke(fleet, "fingerprint", said)
    assert find(fleet, "fingerprint", plain) == serial


def test_by_file_pem_or_der(fleet, tmp_path):
    certificate = certificate_of(fleet, "laptop-2")
    (tmp_path / "x.der").write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    for path in (fleet.file("laptop-2", ".crt"), tmp_path / "x.der"):
        for kind in ("certificate", "anything"):
            assert find(fleet, kind, path) == [numbers.hexadecimal(certificate.serial_number)]


def test_a_certificate_that_is_on_file_but_not_in_the_index_is_entered_and_revoked(pki):
    serial = pki.one(Client("a")).entry.serial
    (pki.path / "index.txt").write_text("")
    (pki.path / "newcerts" / f"{serial}.pem").unlink()
    (pki.path / "clients/register.json").unlink()
    revoke(pki, "name", "a")
    assert [(row[0], row[3]) for row in pki.index()] == [("R", serial)]


def test_a_text_that_fits_two_things_is_refused(pki):
    serial = pki.one(Client("a")).entry.serial
    pki.one(Client(serial))
    with pytest.raises(MtlsError, match="matches a name and a serial; say which"):
        find(pki, "anything", serial)
    assert find(pki, "serial", serial) == [serial]
    assert find(pki, "name", serial) != [serial]
    own = pki.one(Client("b")).entry.serial
    assert find(pki, "anything", own.lower()) == [own]


@pytest.mark.parametrize(
    ("kind", "value", "complaint"),
    [
        ("name", "laptob", r"client 'laptob': the authority in \S+ has nothing of it; did you mean 'laptop'\?"),
        ("name", "../../etc", "begins with a dot"),
        ("name", "a/b", "contains '/'"),
        ("serial", "beef", "serial BEEF: was never issued"),
        ("serial", "xyz", "is not hexadecimal"),
        ("fingerprint", "ab" * 20, "is that of no certificate"),
        ("fingerprint", "ab" * 19, "neither SHA-1"),
        ("certificate", "ca.key", "holds no certificate"),
        ("certificate", "broken.der", "is damaged"),
        ("certificate", "foreign.crt", "was issued by CN=foreign, not by CN=Test CA"),
        ("anything", "laptob", r"no client, serial or fingerprint like this, .*; did you mean 'laptop'\?"),
        (
            "anything",
            "nobody",
            r"^'nobody': .* has no client, serial or .*; look it up in index\.txt$",
        ),
        ("anything", "foreign.crt", "no client, serial or fingerprint like this"),
    ],
)
def test_what_is_not_there_is_one_message_and_changes_nothing(fleet, tmp_path, kind, value, complaint):
    (tmp_path / "broken.der").write_bytes(b"\x30\x82")
    arguments = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=foreign")
    openssl("req", "-x509", *arguments, "-keyout", "foreign.key", "-out", "foreign.crt", cwd=tmp_path)
    place = {"ca.key": fleet.path, "broken.der": tmp_path, "foreign.crt": tmp_path}.get(value)
    before = tree(fleet.path)
    with pytest.raises(MtlsError, match=complaint):
        find(fleet, kind, place / value if place else value)
    assert tree(fleet.path) == before


def lines(pki) -> dict[str, tuple[str, str]]:
    return {row[3]: (row[0], row[2].partition(",")[2]) for row in pki.index()}


def held(pki, *names, **options) -> None:
    pki.serve(*(Client(name, revoked=True, reason="certificateHold", **options) for name in names))


def test_a_client_that_was_on_hold_has_the_same_certificates_again(pki):
    first = pki.one(Client("a")).entry.serial
    second = pki.one(Client("a", days=400, renew_before=370)).entry.serial
    pki.one(Client("b"))
    before = {path: path.read_bytes() for path in (pki.path / "clients/a").iterdir()}
    held(pki, "a")
    assert {lines(pki)[serial] for serial in (first, second)} == {("R", "certificateHold")}
    foreseen = pki.one(Client("a"), check=True)
    result = pki.one(Client("a"))
    for answer in (foreseen, result):
        assert (answer.action, answer.because) == ("released", "was on hold")
        assert set(answer.released) == {first, second}
        assert answer.entry.serial == second
    assert set(lines(pki).values()) == {("V", "")}
    assert {path: path.read_bytes() for path in (pki.path / "clients/a").iterdir()} == before
    with pki.open() as authority:
        assert authority.crl_due(7) is None  # it never listed them
        assert [event["did"] for event in _log(pki)][-2:] == ["released", "released"]
    assert pki.one(Client("a")).action == "unchanged"


def _log(pki) -> list[dict]:
    return [json.loads(line) for line in (pki.path / "audit.log").read_text().splitlines()]


@pytest.mark.parametrize(("reason", "said"), [("keyCompromise", "keyCompromise"), ("unspecified", "")])
def test_a_hold_ends_in_a_revocation_for_good_and_then_it_is_not_released(pki, reason, said):
    serial = pki.one(Client("a")).entry.serial
    held(pki, "a")
    held(pki, "a")
    assert pki.one(Client("a", revoked=True, reason=reason)).action == "revoked"
    assert lines(pki)[serial] == ("R", said)
    assert pki.one(Client("a", revoked=True, reason="certificateHold")).action == "unchanged"
    assert lines(pki)[serial] == ("R", said)
    again = pki.one(Client("a"))
    assert (again.action, again.released) == ("issued", ())
    assert again.entry.serial != serial


def test_a_hold_that_outlived_its_certificate_ends_with_a_new_one(pki, monkeypatch):
    serial = pki.one(Client("a", days=60)).entry.serial
    held(pki, "a")
    key = pki.file("a", ".key").read_bytes()
    with monkeypatch.context() as patched:
        later(patched, days=61)
        assert pki.one(Client("a"), check=True).action == "issued"
    later(monkeypatch, days=40)  # not ended, but about to be renewed
    result = pki.one(Client("a"))
    assert (result.action, result.released) == ("renewed", (serial,))
    assert pki.file("a", ".key").read_bytes() == key
    assert set(lines(pki).values()) == {("V", "")}


def test_what_is_on_hold_by_its_serial_stays_so_while_its_client_is_present(pki):
    serial = pki.one(Client("a")).entry.serial
    revoke(pki, "serial", serial, "certificateHold")
    with pki.open() as authority:
        done = clients.reconcile(authority, [Client("a")], new_key_type="ecdsa", check=False, revoking={serial})
    assert (done.results[0].action, done.results[0].released) == ("issued", ())
    assert lines(pki)[serial] == ("R", "certificateHold")


@pytest.mark.parametrize("reason", ["keyCompromise", "certificateHold"])
def test_what_the_run_is_to_revoke_is_followed_by_another_before(pki, reason):
    """Else its holder, client or service, would be without a valid one until the next run."""
    web = servers.Server("nas", "web", ("web.lan",))

    def run(asked, check):
        with pki.open() as authority:
            doomed = revoking.planned(authority, asked)
            mine = clients.reconcile(authority, [Client("a")], new_key_type="ecdsa", check=check, revoking=doomed)
            (its,) = servers.reconcile(authority, [web], new_key_type="ecdsa", check=check, revoking=doomed)
            if not check:
                for request in map(revoking.RevocationRequest.of, asked):
                    revoking.carry_out(authority, revoking.Finder.of(authority).find(request))
        return mine.results[0], its

    before = run([], check=False)
    asked = [{"serial": each.entry.serial, "reason": reason} for each in before]
    for check in (True, False):
        done = run(asked, check)
        assert {(each.action, each.because) for each in done} == {("issued", "the certificate is revoked")}
    new = {each.entry.serial for each in done}
    assert lines(pki) == {
        **{each["serial"]: ("R", reason) for each in asked},
        **dict.fromkeys(new, ("V", "")),
    }
    assert pki.file("a", f"-{asked[0]['serial']}.key").exists()  # with a key of its own
    assert [each.action for each in run(asked, check=False)] == ["unchanged", "unchanged"]


def test_what_the_run_is_to_revoke_is_known_without_the_registers_where_it_is_done(fleet, monkeypatch):
    first, second, third = fleet.laptop
    revoke(fleet, "serial", first)
    revoke(fleet, "serial", second, "certificateHold")
    unknown = {"serial": "4F2A", "reason": "superseded"}
    released = {"serial": second, "reason": "unspecified", "state": "released"}
    done = {"serial": first.lower(), "reason": "superseded"}
    with fleet.open(read_only=True) as authority:
        asked = [{"serial": serial, "reason": "superseded"} for serial in (second, third)]
        assert revoking.planned(authority, [*asked, unknown, released, done]) == {second, third}
        monkeypatch.setattr(revoking, "Finder", None)
        assert revoking.planned(authority, [released, done]) == set()


def test_openssl_s_own_hold_is_released_and_openssl_agrees(pki):
    serial = pki.one(Client("a")).entry.serial
    issued = f"newcerts/{serial}.pem"
    pki.ca("-revoke", issued, "-crl_hold", "holdInstructionReject")
    assert lines(pki)[serial] == ("R", "holdInstruction,holdInstructionReject")
    verify = ("verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem", issued)
    with pki.open() as authority:
        authority.write_crl(30)
    assert "certificate revoked" in openssl(*verify, cwd=pki.path, ok=False)
    assert pki.one(Client("a")).action == "released"
    with pki.open() as authority:
        assert authority.crl_due(7) == "it does not list what index.txt says is revoked"
        authority.write_crl(30)
    assert "OK" in openssl(*verify, cwd=pki.path)
    pki.ca("-gencrl", "-out", "theirs.pem")
    assert "No Revoked Certificates" in openssl("crl", "-in", "theirs.pem", "-noout", "-text", cwd=pki.path)
    assert f"{serial}=Valid" in pki.ca("-status", serial, ok=None)


def test_crl_releases_one_certificate_and_refuses_what_is_revoked_for_good(pki):
    first, second = (result.entry.serial for result in pki.serve(Client("a"), Client("b")).results)
    common = {"ca_path": str(pki.path)}
    wanted = [{"serial": first, "reason": "certificateHold"}, {"serial": second}]
    run_module("crl", revoked=wanted, **common)
    release = [{"name": "a", "state": "released"}]
    before = tree(pki.path)
    foreseen = run_module("crl", check=True, diff=True, revoked=release, **common)
    assert tree(pki.path) == before
    done = run_module("crl", diff=True, revoked=release, **common)
    assert (done["revoked"], done["diff"]["after"]) == (foreseen["revoked"], foreseen["diff"]["after"])
    assert (done["revoked"][0]["action"], done["crl"]["entries"]) == ("released", 1)
    assert not run_module("crl", revoked=release, **common)["changed"]
    before = tree(pki.path)
    for wrong, complaint in (
        ([{"serial": second, "state": "released"}], "is revoked for good (reason: unspecified), and only"),
        ([{"serial": first}, {"name": "a", "state": "released"}], "is both to be revoked and released"),
        ([{"serial": "beef", "state": "released"}], "was never issued"),
    ):
        refused = run_module("crl", revoked=wrong, **common)
        assert refused["failed"]
        assert complaint in refused["msg"]
        assert tree(pki.path) == before


# --- what is asked for, and what is done about it


def test_what_an_item_of_the_option_asks_for():
    given = {"serial": None, "certificate": None, "name": "a", "fingerprint": None, "anything": None}
    request = revoking.RevocationRequest
    assert request.of({**given, "reason": "superseded", "state": "revoked"}) == request("name", "a", "superseded")
    assert request.of({**given, "reason": "superseded"}) == request("name", "a", "superseded", release=False)
    released = request.of({**given, "reason": "unspecified", "state": "released"})
    assert released == request("name", "a", "unspecified", release=True)


def answers(pki, kind, value, reason="keyCompromise", *, release=False) -> list[tuple[str, str]]:
    """Return serial and action of what is found."""
    with pki.open(read_only=True) as authority:
        wanted = revoking.RevocationRequest(kind, str(value), reason, release)
        return [(each.serial, each.action) for each in revoking.Finder.of(authority).find(wanted)]


def test_of_a_clients_certificates_those_on_hold_are_released(pki):
    held, lost = pki.one(Client("a")).entry.serial, pki.one(Client("a", days=400, renew_before=370)).entry.serial
    assert answers(pki, "serial", held, release=True) == [(held, "unchanged")]  # is not revoked at all
    revoke(pki, "serial", held, "certificateHold")
    assert answers(pki, "name", "a", release=True) == [(held, "released")]
    assert {serial for serial, _action in answers(pki, "name", "a")} == {held, lost}
    revoke(pki, "serial", lost, "keyCompromise")
    assert answers(pki, "name", "a", release=True) == [(held, "released")]
    with pytest.raises(MtlsError, match=r"is revoked for good \(reason: keyCompromise\), and only"):
        answers(pki, "serial", lost, release=True)
    with pki.open() as authority:
        wanted = revoking.RevocationRequest("name", "a", "unspecified", release=True)
        revoking.carry_out(authority, revoking.Finder.of(authority).find(wanted))
    assert lines(pki) == {held: ("V", ""), lost: ("R", "keyCompromise")}


def test_what_is_done_follows_from_how_it_stands(pki):
    serial = pki.one(Client("a")).entry.serial
    assert answers(pki, "serial", serial, "certificateHold") == [(serial, "revoked")]
    revoke(pki, "serial", serial, "certificateHold")
    assert answers(pki, "serial", serial, "certificateHold") == [(serial, "unchanged")]
    assert answers(pki, "serial", serial, "superseded") == [(serial, "revoked")]
    revoke(pki, "serial", serial, "superseded")
    assert answers(pki, "serial", serial, "superseded") == [(serial, "unchanged")]
    assert answers(pki, "serial", serial, "certificateHold") == [(serial, "unchanged")]


def test_a_certificate_that_is_not_in_the_record_cannot_be_released(pki, tmp_path):
    pki.one(Client("a"))
    shutil.copy(pki.file("a", ".crt"), tmp_path / "a.crt")
    (pki.path / "index.txt").write_text("")
    for copy in (pki.path / "newcerts").iterdir():  # from where the record is completed
        copy.unlink()
    with pytest.raises(MtlsError, match=r"serial [0-9A-F]+: .*not"):
        answers(pki, "certificate", tmp_path / "a.crt", release=True)


def test_at_its_last_second_a_certificate_has_expired(pki, monkeypatch):
    old, new = pki.one(Client("a")).entry.serial, pki.one(Client("a", days=800, renew_before=790)).entry.serial
    with pki.open(read_only=True) as authority:
        end = authority.record.get(old).not_after
    monkeypatch.setattr(times, "now", lambda: end - timedelta(seconds=1))
    assert find(pki, "name", "a") == sorted([old, new])
    monkeypatch.setattr(times, "now", lambda: end)
    assert find(pki, "name", "a") == [new]


def test_in_a_file_with_a_chain_the_first_certificate_counts(pki, tmp_path):
    serial = pki.one(Client("a")).entry.serial
    chain = pki.file("a", ".crt").read_bytes() + (pki.path / "ca.crt").read_bytes()
    (tmp_path / "chain.pem").write_bytes(chain)
    assert find(pki, "certificate", tmp_path / "chain.pem") == [serial]
    pki.file("a", ".crt").write_bytes(chain)
    (pki.path / "clients/register.json").unlink()
    assert find(pki, "name", "a") == [serial]


def test_only_what_the_authority_itself_has_issued_is_its_own(pki, tmp_path):
    """Not what a CA above it has."""
    arguments = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=above")
    openssl("req", "-x509", *arguments, "-keyout", "above.key", "-out", "above.crt", cwd=tmp_path)
    above = x509.load_pem_x509_certificate((tmp_path / "above.crt").read_bytes())
    with pki.open(read_only=True) as authority:
        below = types.SimpleNamespace(
            path=authority.path,
            record=authority.record,
            chain=[*authority.chain, above],
            find_by_fingerprint=authority.find_by_fingerprint,
        )
        wanted = revoking.RevocationRequest("certificate", str(tmp_path / "above.crt"), "unspecified")
        with pytest.raises(MtlsError, match=r"was issued by CN=above, not by CN=Test CA,.*; ask the right authority"):
            revoking.Finder.of(below).find(wanted)
    with (pki.path / "ca.crt").open("ab") as chain:
        chain.write((tmp_path / "above.crt").read_bytes())
    with pytest.raises(MtlsError, match="was issued by CN=above, not by CN=Test CA"):
        revoking.Finder.of_published(str(pki.path), read_published(str(pki.path))).find(wanted)


def test_a_fingerprint_of_what_is_not_recorded_is_that_of_no_certificate(pki):
    with pki.open(read_only=True) as authority:
        own = revoking.Finder.of(authority)._ownership
        finder = revoking.Finder(authority.path, authority.record, own, authority.chain, lambda _fingerprint: "BEEF")
        wanted = revoking.RevocationRequest("fingerprint", "ab" * 32, "unspecified")
        with pytest.raises(MtlsError, match="is that of no certificate"):
            finder.find(wanted)


def test_a_fingerprint_may_have_spaces(fleet):
    certificate = certificate_of(fleet, "laptop-2")
    digits = certificate.fingerprint(hashes.SHA256()).hex()
    spaced = " ".join(digits[start : start + 4] for start in range(0, 64, 4)) + "\n"
    assert find(fleet, "fingerprint", spaced) == [numbers.hexadecimal(certificate.serial_number)]
