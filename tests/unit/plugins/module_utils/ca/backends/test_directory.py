# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority's directory: openssl by hand in both directions, and processes killed anywhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, numbers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.p12 import NONE
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import read_chain, read_crl
from ansible_collections.mtls.nginx.plugins.module_utils.common import files, times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import Pki, later, lint, openssl, tree

VERIFY = ("verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem", "-purpose", "sslclient")


def refresh_crl(pki: Pki) -> str | None:
    with pki.open() as authority:
        due = authority.crl_due(7)
        if due:
            authority.write_crl(30)
    return due


def test_openssl_lists_and_verifies_what_the_modules_issue_and_revoke(pki):
    pki.serve(Client("good"), Client("bad"), Client("José, IT"))
    pki.serve(Client("good"), Client("bad", revoked=True, reason="keyCompromise"), Client("José, IT"))
    assert refresh_crl(pki) == "it does not list what index.txt says is revoked"
    good, bad = pki.file("good", ".crt"), pki.file("bad", ".crt")
    assert "OK" in openssl(*VERIFY, good, pki.file("José, IT", ".crt"), cwd=pki.path)
    assert "certificate revoked" in openssl(*VERIFY, bad, cwd=pki.path, ok=False)
    serial = pki.index()[1][3]
    assert f"{serial}=Revoked (R)" in pki.ca("-status", serial, ok=None)
    pki.ca("-updatedb")
    ours = (pki.path / "crl.pem").read_bytes()
    pki.ca("-gencrl", "-out", "theirs.pem")
    (theirs,) = crls.parse_crls((pki.path / "theirs.pem").read_bytes(), "theirs.pem")
    with pki.open(read_only=True) as authority:
        assert crls.lists_exactly(theirs, crls.encode_revoked(authority.record.revocations()))
    assert b"Key Compromise" in openssl("crl", "-text", "-noout", "-in", "crl.pem", cwd=pki.path).encode()
    assert ours.count(b"BEGIN X509 CRL") == 1


def test_the_modules_honour_what_openssl_issues_and_revokes(pki):
    request = pki.csr("by-hand")
    pki.ca("-in", request, "-out", "by-hand.crt")
    result = pki.one(Client("by-hand", csr=str(request)))
    assert (result.action, result.entry.serial) == ("updated", pki.index()[0][3])
    pki.ca("-revoke", "by-hand.crt", "-crl_reason", "superseded")
    with pytest.raises(MtlsError, match="that of the revoked certificate"):
        pki.one(Client("by-hand", csr=str(request)))
    assert refresh_crl(pki)
    assert "certificate revoked" in openssl(*VERIFY, "by-hand.crt", cwd=pki.path, ok=False)
    pki.ca("-gencrl", "-out", "crl.pem")
    assert refresh_crl(pki) is None
    assert pki.one(Client("by-hand", revoked=True)).action == "unchanged"


def test_openssl_renews_what_the_modules_issued_under_the_same_subject(pki):
    pki.one(Client("a"))
    pki.ca("-in", pki.csr("a"), "-out", "again.crt")
    assert [row[5] for row in pki.index()] == ["/CN=a", "/CN=a"]
    result = pki.one(Client("a", revoked=True))
    assert result.action == "revoked"
    assert [row[0] for row in pki.index()] == ["R", "R"]


@pytest.mark.slow
def test_certificates_of_openssl_by_hand_are_as_ours(pki):
    pki.ca("-notext", "-in", pki.csr("a"), "-out", "a.crt")
    lint("cert", pki.path / "a.crt")
    text = openssl("x509", "-in", "a.crt", "-noout", "-ext", "extendedKeyUsage,keyUsage,basicConstraints", cwd=pki.path)
    assert "TLS Web Client Authentication" in text
    assert "Digital Signature" in text
    assert "CA:FALSE" in text


@pytest.mark.slow
def test_clients_chains_and_crls_pass_pkilint_and_openssl_s_strict_check(pki):
    subject = {
        "C": "ES",
        "O": "Acme",
        "OU": ["IT", "Ops"],
        "CN": 'José "Pepe" García, IT',
        "UID": "p",
        "DC": ["com", "example"],
    }
    email = {
        "CN": "e",
        "emailAddress": "e@example.com",
        "serialNumber": "12-3",
        "SN": "García",
        "GN": "E",
        "title": "Dr",
    }
    pki.serve(Client("plain", key_type="rsa"), Client("pepe", subject), Client("e", email))
    reasons = ["unspecified", "keyCompromise", "certificateHold", "cessationOfOperation"]
    gone = [Client(f"gone-{reason}", p12=NONE, reason=reason) for reason in reasons]
    pki.serve(*gone)
    pki.serve(*(Client(client.name, revoked=True, reason=client.reason) for client in gone))
    refresh_crl(pki)
    for name in ("plain", "pepe", "e"):
        certificate = pki.file(name, ".crt")
        lint("cert", certificate)
        lint("chain", pki.path / "ca.crt", certificate)
        openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.crt", certificate, cwd=pki.path)
        openssl("verify", "-purpose", "sslserver", "-CAfile", "ca.crt", certificate, cwd=pki.path, ok=False)
    lint("crl", "-t", "CRL", "-p", "PKIX", pki.path / "crl.pem")
    text = openssl("crl", "-text", "-noout", "-in", "crl.pem", cwd=pki.path)
    assert text.count("Serial Number") == 4
    assert text.count("CRL Reason Code") == 3


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_killed_anywhere_leaves_nothing_half_done(pki, moment):
    """Kill at the first rename, then at the second, and so on: the next run must end well each time."""
    (pki.path / "serial").write_text("1000\n")
    clean = pki.path.with_name("clean")
    shutil.copytree(pki.path, clean)
    deaths = 0
    while not killed_at(pki, deaths, moment):
        deaths += 1
        after_a_kill(pki)
        shutil.rmtree(pki.path)
        shutil.copytree(clean, pki.path)
    assert deaths >= 8


def killed_at(pki: Pki, step: int, moment: str) -> bool:
    """Issue a certificate in a process that dies at its ``step``-th change of a name; return whether it lived."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    done = 0

    def deadly(real):
        def change(*arguments):
            nonlocal done
            if moment == "before" and done == step:
                os.kill(os.getpid(), signal.SIGKILL)
            real(*arguments)
            if moment == "after" and done == step:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1

        return change

    for name in ("replace", "link", "mkdir"):
        setattr(os, name, deadly(getattr(os, name)))
    try:
        pki.one(Client("a"))
    finally:
        os._exit(0)


def after_a_kill(pki: Pki) -> None:
    result = pki.one(Client("a"))
    assert result.entry is not None
    assert pki.one(Client("a")).action == "unchanged"
    rows = pki.index()
    issued = sorted(path.name for path in (pki.path / "newcerts").glob("[0-9A-F]*.pem"))
    assert issued == sorted(f"{row[3]}.pem" for row in rows)
    assert len(rows) == 1, "the certificate of the killed run was not used"
    assert int((pki.path / "serial").read_text(), 16) > int(rows[-1][3], 16)
    openssl("verify", "-CAfile", "ca.crt", result.certificate, cwd=pki.path)
    password = pki.file("a", ".p12.password").read_text().strip()
    openssl("pkcs12", "-in", result.p12, "-noout", "-passin", f"pass:{password}", cwd=pki.path)
    pki.ca("-in", pki.csr("by-hand"), "-out", "x.crt")
    assert len({row[3] for row in pki.index()}) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("two_cores")
def test_a_bulk_killed_between_certificates_and_index_is_picked_up(pki):
    clients = [Client(f"c{number}") for number in range(20)]
    child = os.fork()
    if child == 0:
        from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.index import Index

        Index.save = lambda self: os.kill(os.getpid(), signal.SIGKILL)
        pki.serve(*clients)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert (pki.path / "index.txt").read_text() == ""
    before = tree(pki.path)
    assert {result.action for result in pki.serve(*clients, check=True).results} == {"updated"}
    assert tree(pki.path) == before
    done = pki.serve(*clients)
    assert {result.action for result in done.results} == {"updated"}
    assert len(pki.index()) == 20
    assert {result.action for result in pki.serve(*clients).results} == {"unchanged"}


def test_what_others_do_to_index_and_newcerts_is_noticed_after_a_run_in_good_order(pki):
    """`openssl ca` was killed before it entered what it issued; an old index.txt came back from a backup."""
    pki.one(Client("a"))
    backup = (pki.path / "index.txt").read_bytes()
    pki.ca("-in", pki.csr("by-hand"), "-out", "x.crt")
    (pki.path / "index.txt").write_bytes(backup)
    pki.one(Client("a"))
    assert [row[5] for row in pki.index()] == ["/CN=a", "/CN=by-hand"]
    (pki.path / "index.txt").write_bytes(b"")
    assert pki.one(Client("a"), check=True).action == "unchanged"
    assert (pki.path / "index.txt").read_bytes() == b""
    assert pki.one(Client("a")).action == "unchanged"
    assert sorted(row[5] for row in pki.index()) == ["/CN=a", "/CN=by-hand"]


@pytest.mark.parametrize("damage", ["emptied", "cut off", "an older copy"])
def test_an_index_that_lost_something_forgets_no_revocation_that_the_crl_lists(pki, damage):
    """A full disk, or a copy that broke off: newcerts has the certificates, and only crl.pem who was revoked."""
    pki.serve(Client("a"), Client("lost"), Client("away"))
    index = pki.path / "index.txt"
    older = index.read_text()
    pki.serve(Client("lost", revoked=True, reason="keyCompromise"))
    if damage != "an older copy":  # who is on hold in the CRL and not in the index may have been released
        pki.serve(Client("away", revoked=True, reason="certificateHold"))
    with pki.open() as authority:
        authority.write_crl(30)
    before = sorted(pki.index())
    lines = index.read_text().splitlines(True)
    index.write_text({"emptied": "", "cut off": lines[0], "an older copy": older}[damage])
    with pki.open(read_only=True) as authority:
        foretold = authority.warnings
        assert {serial for serials in authority.record.revocations().values() for serial in serials} == {
            row[3] for row in before if row[0] == "R"
        }
    with pki.open() as authority:
        (warning,) = authority.warnings
        assert authority.warnings == foretold
        assert authority.crl_due(7) is None
    assert sorted(pki.index()) == before
    assert next(row[3] for row in before if row[5] == "/CN=lost") in warning
    with pki.open() as authority:
        assert authority.warnings == []


@pytest.mark.parametrize("newcerts", ["newer", "older"])
def test_an_index_from_before_it_knew_of_a_revocation_for_good_releases_nobody(pki, newcerts):
    """It is an older copy: the certificate was on hold then, or not issued yet; crl.pem has it as stolen."""
    (pki.path / "serial").write_text("1000\n")  # so that they are in this order in the CRL, too
    pki.serve(Client("gone"), Client("held"), Client("away"))
    held = (Client(name, revoked=True, reason="certificateHold") for name in ("held", "away"))
    pki.serve(Client("gone", revoked=True), *held)
    index = pki.path / "index.txt"
    older = index.read_text()
    issued = set((pki.path / "newcerts").iterdir())
    pki.serve(Client("guest"))
    pki.serve(*(Client(name, revoked=True, reason="keyCompromise") for name in ("away", "guest")))
    with pki.open() as authority:
        authority.write_crl(30)
    before = {row[3]: row[2] for row in pki.index()}
    index.write_text(older)
    (pki.path / "serial").write_text("1003\n")
    if newcerts == "older":
        for path in set((pki.path / "newcerts").iterdir()) - issued:
            path.unlink()
    for check in (True, False):
        away, guest = pki.serve(Client("away"), Client("guest"), check=check).results
        assert (away.because, guest.because) == ("the certificate is revoked",) * 2
    after = {row[3]: row[2] for row in pki.index()}
    assert {serial: after[serial] for serial in before} == before
    # Who knows what else was issued meanwhile: none of that is counted up to again.
    assert ("1004" in after) is (newcerts == "newer")


def test_a_release_that_no_crl_has_yet_is_not_undone(pki):
    pki.one(Client("away"))
    pki.one(Client("away", revoked=True, reason="certificateHold"))
    with pki.open() as authority:
        authority.write_crl(30)
    pki.one(Client("away"))
    (pki.path / ".settled").unlink(missing_ok=True)
    with pki.open() as authority:
        assert authority.warnings == []
    assert [row[0] for row in pki.index()] == ["V"]


@pytest.mark.parametrize(("number", "afterwards"), [("1000", "1001"), ("0FFF", "1001"), ("2000", "2000")])
def test_serials_are_counted_on_after_a_certificate_that_nobody_entered(pki, number, afterwards):
    """index.txt and serial came back from a backup, newcerts did not. `openssl ca` takes its number from the file."""
    (pki.path / "serial").write_text("1000\n")
    before = (pki.path / "index.txt").read_bytes()
    pki.one(Client("a"))
    (pki.path / "index.txt").write_bytes(before)
    (pki.path / "serial").write_text(f"{number}\n")
    with pki.open(read_only=True):
        assert (pki.path / "serial").read_text() == f"{number}\n"
    with pki.open():
        assert (pki.path / "serial").read_text() == f"{afterwards}\n"
    assert [(row[3], row[5]) for row in pki.index()] == [("1000", "/CN=a")]


def test_half_written_files_go_with_the_run_after_a_kill(pki):
    pki.one(Client("a"))
    half = pki.path / "clients" / "a" / ".a.key.new"
    child = os.fork()
    if child == 0:
        with pki.open() as authority:
            authority.begin()
            half.write_text("half a key")
            os._exit(0)
    os.waitpid(child, 0)
    assert not (pki.path / ".settled").exists()
    pki.one(Client("a"))
    assert not half.exists()
    assert (pki.path / ".settled").exists()


def test_a_strange_file_among_the_certificates_is_reported_and_left(pki):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k",
            "-subj", "/CN=x", "-set_serial", "0x07", "-out", "newcerts/07.pem", cwd=pki.path)  # fmt: skip
    before = (pki.path / "index.txt").read_bytes()
    pki.ca("-in", pki.csr("by-hand"), "-out", "x.crt")
    (pki.path / "index.txt").write_bytes(before)  # `openssl ca` was killed
    for _run in range(2):
        with pki.open() as authority:
            assert any(
                "07.pem: is not the certificate of this authority that its name says" in warning
                for warning in authority.warnings
            )
    assert [row[5] for row in pki.index()] == ["/CN=by-hand"]


def test_the_crl_is_rewritten_only_when_it_must_be(pki, monkeypatch):
    assert refresh_crl(pki) is None
    with pki.open() as authority:
        first = authority.crl_state()
    later(monkeypatch, days=22, hours=23)
    assert refresh_crl(pki) is None
    later(monkeypatch, hours=2)
    assert refresh_crl(pki).startswith("it expires on ")
    with pki.open() as authority:
        assert authority.crl_state().number == first.number + 1
    assert (pki.path / "crlnumber").read_text() == "03\n"


def test_a_crl_from_a_clock_that_was_ahead_is_replaced(pki, monkeypatch):
    """A host whose clock is right would refuse it, as one that is not valid yet."""
    with monkeypatch.context() as ahead, pki.open() as authority:
        later(ahead, days=2)
        begins = authority.write_crl(30).last_update
    assert refresh_crl(pki) == f"it begins only on {times.iso(begins)}"
    assert refresh_crl(pki) is None
    read_crl(str(pki.path))


def listed(pki: Pki) -> list[str]:
    """The names in crl.pem."""
    (crl,) = crls.parse_crls((pki.path / "crl.pem").read_bytes(), "crl.pem")
    names = {row[3]: row[5].removeprefix("/CN=") for row in pki.index()}
    return sorted(names[f"{entry.serial_number:X}"] for entry in crl.parsed)


def test_what_has_ended_leaves_the_crl_after_it_was_on_one_more(pki, monkeypatch):
    clients = [Client("short", days=10, renew_before=0, p12="none"), Client("long", days=90, p12="none")]
    pki.serve(*clients)
    pki.serve(*(client._replace(revoked=True) for client in clients))
    refresh_crl(pki)
    assert listed(pki) == ["long", "short"]
    later(monkeypatch, days=9)
    for crl in (["long", "short"], ["long"], ["long"]):
        later(monkeypatch, days=24)
        assert refresh_crl(pki).startswith("it expires on ")
        assert refresh_crl(pki) is None, "the second run has nothing to do"
        assert listed(pki) == crl
    assert [row[0] for row in pki.index()] == ["R", "R"], "the record forgets nothing"
    with pki.open() as authority:
        assert authority.crl_due(7, prune=False) == "it does not list what index.txt says is revoked"
        assert authority.write_crl(30, prune=False).entries == 2
        assert authority.crl_due(7, prune=False) is None
        assert authority.crl_due(7) is None, "what is listed still goes with the next CRL"


def test_what_ended_while_there_was_no_crl_is_on_the_next_one(pki, monkeypatch):
    pki.one(Client("short", days=10, renew_before=0, p12="none"))
    pki.one(Client("short", revoked=True))
    refresh_crl(pki)
    later(monkeypatch, days=100)
    assert refresh_crl(pki).startswith("it expires on ")
    assert listed(pki) == ["short"]


def test_openssl_s_crl_of_everything_is_good_and_ours_leaves_out_what_has_ended(pki, monkeypatch):
    pki.one(Client("short", days=10, renew_before=0, p12="none"))
    pki.ca("-revoke", "clients/short/short.crt")
    later(monkeypatch, days=-60)
    moment = times.asn1_text(times.now())
    text = (pki.path / "index.txt").read_text()
    (pki.path / "index.txt").write_text(text.replace(text.split("\t")[1], moment))
    monkeypatch.undo()
    pki.ca("-updatedb")
    pki.ca("-gencrl", "-crldays", "30", "-out", "crl.pem")
    assert refresh_crl(pki) is None
    assert listed(pki) == ["short"]
    with pki.open() as authority:
        authority.write_crl(30)
    assert listed(pki) == []


def test_a_crl_signed_by_others_or_altered_is_not_ours(pki):
    pem, (ca, *_none) = (pki.path / "crl.pem").read_bytes(), _chain(pki)
    (crl,) = crls.parse_crls(pem, "crl.pem")
    assert crls.is_by(crl, ca)
    for place in (len(crl.encoded) // 2, -1):
        octets = bytearray(crl.encoded)
        octets[place] ^= 1
        with contextlib.suppress(ValueError):
            altered = crls.Crl(bytes(octets), x509.load_der_x509_crl(bytes(octets)))
            assert not crls.is_by(altered, ca)


def _chain(pki: Pki) -> tuple[x509.Certificate, ...]:
    with pki.open(read_only=True) as authority:
        return authority.chain


def test_a_long_crl_is_warned_of_and_a_very_long_one_refused():
    assert crls.check_size(9_999, 100_000, "crl.pem") is None
    assert "lists 10,000 certificates, so each full handshake with a host takes about 1.1 ms longer" in (
        crls.check_size(10_000, 100_000, "crl.pem")
    )
    assert crls.check_size(99_999, 100_000, "crl.pem")
    with pytest.raises(MtlsError, match=r"about 11\.0 ms longer.*set mtls_crl_max_entries"):
        crls.check_size(100_000, 100_000, "crl.pem")
    assert crls.check_size(100_000, 200_000, "crl.pem")
    with pytest.raises(MtlsError, match="with 3 entries or more"):
        crls.check_size(3, 3, "crl.pem")


def test_a_crl_by_hand_with_a_higher_number_is_counted_on_from(pki):
    (pki.path / "crlnumber").write_text("0FF0\n")
    pki.ca("-gencrl", "-out", "crl.pem")
    (pki.path / "crlnumber").write_text("01\n")
    with pki.open() as authority:
        assert authority.write_crl(30).number == 0xFF1


def test_a_damaged_crl_is_replaced_and_reported(pki):
    (pki.path / "crl.pem").write_text("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    with pki.open() as authority:
        assert authority.crl_due(7) == "there is none by this authority"
        authority.write_crl(30)
        assert any("is damaged" in warning for warning in authority.warnings)
    read_crl(str(pki.path))


def test_only_good_crls_are_handed_out(pki):
    chain, path = read_chain(str(pki.path)), pki.path / "crl.pem"
    good = read_crl(str(pki.path))
    crls.check_shippable(good, chain, times.now())
    with pytest.raises(MtlsError, match="expired on"):
        crls.check_shippable(good, chain, times.now() + timedelta(days=31))
    with pytest.raises(MtlsError, match="check this machine's clock"):
        crls.check_shippable(good, chain, times.now() - timedelta(days=1))
    with pytest.raises(MtlsError, match="contains a CERTIFICATE"):
        crls.check_shippable(good + chain, chain, times.now())
    with pytest.raises(MtlsError, match="contains no CRL"):
        crls.check_shippable(b"", chain, times.now())
    tampered = x509.load_pem_x509_crl(good).public_bytes(serialization.Encoding.DER)
    tampered = subprocess.run(
        ["openssl", "crl", "-inform", "DER"],
        input=tampered[:-1] + bytes([tampered[-1] ^ 1]),
        capture_output=True,
        check=True,
    ).stdout
    with pytest.raises(MtlsError, match="not signed by this authority"):
        crls.check_shippable(tampered, chain, times.now())
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "other.key",
            "-subj", "/CN=Other CA", "-out", "other.crt", cwd=pki.path.parent)  # fmt: skip
    other = (pki.path.parent / "other.crt").read_bytes()
    with pytest.raises(MtlsError, match="not signed by this authority"):
        crls.check_shippable(good, other, times.now())
    with pytest.raises(MtlsError, match="holds no CRL of CN=Other CA"):
        crls.check_shippable(good, chain + other, times.now())
    path.unlink()
    with pytest.raises(MtlsError, match=r"crl\.pem: is missing"):
        read_crl(str(pki.path))


def test_a_large_crl_is_built_in_linear_time_and_read_by_openssl(pki):
    state = crls.CrlState(7, times.now(), times.now() + timedelta(days=1), 20000)
    entries = {("261123101112Z", "superseded"): [f"{number:04X}" for number in range(0x1000, 0x1000 + 20000)]}
    with pki.open(read_only=True) as authority:
        pem = crls.build_crl(authority._issuer, crls.encode_revoked(entries), state)
    (pki.path / "large.pem").write_bytes(pem)
    text = openssl("crl", "-in", "large.pem", "-CAfile", "ca.crt", "-noout", "-text", cwd=pki.path)
    assert "verify OK" in text
    assert text.count("Superseded") == 20000


def test_an_unknown_reason_in_the_index_is_named(pki):
    with pytest.raises(MtlsError, match="serial 10 is revoked with the unknown reason 'boredom'"):
        crls.encode_revoked({("261123101112Z", "boredom"): ["10"]})


def test_check_mode_opens_without_a_trace(pki):
    (pki.path / ".lock").unlink()
    before = tree(pki.path)
    with pki.open(read_only=True) as authority:
        authority.crl_due(7)
        with pytest.raises(RuntimeError):
            authority.write_crl(30)
        with pytest.raises(RuntimeError):
            authority.revoke({"10": "unspecified"})
    assert tree(pki.path) == before


@pytest.mark.parametrize("name", ["serial", "crlnumber", "newcerts", "index.txt"])
def test_a_directory_that_lacks_something_says_so(pki, name):
    path = pki.path / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(MtlsError, match=name), pki.open():
        pass


def test_there_is_no_authority_yet(tmp_path):
    with pytest.raises(MtlsError, match=r"there is no authority .*restore that directory"), Pki(tmp_path).open():
        pass
    with pytest.raises(MtlsError, match=r"there is no authority \(ca\.crt is missing\)"):
        read_chain(str(tmp_path))


def test_a_second_run_waits_for_the_first(pki):
    with files.lock(pki.path / ".lock"):
        child = os.fork()
        if child == 0:
            real = files.lock
            files.lock = lambda path: real(path, wait=0.05)
            try:
                pki.one(Client("a"))
            except MtlsError as error:
                os._exit(0 if "another run" in str(error) else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0


def test_a_serial_file_that_is_behind_the_index_uses_no_serial_twice(pki):
    (pki.path / "serial").write_text("1000\n")
    pki.serve(Client("a"), Client("b"))
    (pki.path / "serial").write_text("1000\n")
    pki.serve(Client("a"), Client("b"), Client("c"))
    assert [row[3] for row in pki.index()] == ["1000", "1001", "1002"]
    assert (pki.path / "serial").read_text() == "1003\n"


def test_renewals_are_allowed_for_openssl_before_the_first_one_is_made(pki):
    (pki.path / "index.txt.attr").write_text("unique_subject = yes\n")
    pki.one(Client("a"))
    assert (pki.path / "index.txt.attr").read_text() == "unique_subject = no\n"


def test_no_half_written_file_of_a_killed_run_is_kept(pki):
    pki.serve(Client("a"))
    (pki.path / "servers/h").mkdir()
    left = [
        ".ca.key.new",
        "newcerts/.0A.pem.new",
        "clients/.register.json.new",
        "clients/a/.a.key.new",
        "servers/h/.s.key.new",
    ]
    for name in left:
        (pki.path / name).write_text("half")
    with pki.open(read_only=True):
        assert all((pki.path / name).exists() for name in left)
    with pki.open():
        assert not any((pki.path / name).exists() for name in left)


def test_no_random_serial_is_used_twice(pki, monkeypatch):
    taken = int(pki.one(Client("a")).entry.serial, 16)
    for_the_file = taken + 9
    drawn = iter([for_the_file, taken, taken + 1])
    monkeypatch.setattr(numbers, "random_serial", lambda: next(drawn))
    pki.one(Client("b"))
    assert [int(row[3], 16) for row in pki.index()] == [taken, taken + 1]


def test_a_serial_file_that_says_zero_makes_no_serial_of_zero(pki):
    (pki.path / "serial").write_text("00\n")
    assert pki.one(Client("a")).entry.serial == "01"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("R\t301231235959Z\t999999999999Z\t01\tunknown\t/CN=a", "serial 01 was revoked on 999999999999Z"),
        ("R\t301231235959Z\t261231235959Z\t0001\tunknown\t/CN=a", "line 1: is not a line of"),
        ("V\t30123123595٣Z\t\t01\tunknown\t/CN=a", "line 1: is not a line of"),
    ],
)
def test_a_line_that_cannot_be_in_a_crl_is_refused(pki, line, complaint):
    (pki.path / "index.txt").write_text(f"{line}\n")
    with pytest.raises(MtlsError, match=complaint):
        refresh_crl(pki)


def test_a_crl_number_that_is_too_large_is_refused(pki):
    (pki.path / "crlnumber").write_text("F" * 40 + "\n")
    before = tree(pki.path)
    with pki.open() as authority, pytest.raises(MtlsError, match="20 octets"):
        authority.write_crl(30)
    after = tree(pki.path)
    own = {str(pki.path / name): after[str(pki.path / name)] for name in (".lock", ".settled")}
    assert after == {**before, **own}


def test_a_block_that_does_not_end_is_no_crl_file(pki):
    pem = (pki.path / "crl.pem").read_bytes()
    with pytest.raises(MtlsError, match="is damaged"):
        crls.parse_crls(b"-----BEGIN CERTIFICATE-----\nAAAA\n" + pem, "crl.pem")
