# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a private key is: in the .p12 only (in at least one place at any moment, and in the end in that one), or in a
.pem with the certificate too.
"""

from __future__ import annotations

import os
import shutil
from itertools import count

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import later, tree

KEPT = Client("phone")
PHONE = Client("phone", keep_key=False)
PASSWORD = "staple-for-the-phone"
WRONG_PEM = "the .pem was missing or not as wanted"


def opened(pki, password: str | None = None, ending: str = ".p12"):
    """Return what the .p12 holds, by the password given or the one beside it."""
    password = password or pki.file("phone", f"{ending}.password").read_text().strip()
    return pkcs12.load_pkcs12(pki.file("phone", ending).read_bytes(), password.encode())


def certificate(pki) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pki.file("phone", ".crt").read_bytes())


def check_is_in_p12_only(pki, password: str | None = None) -> None:
    assert not pki.file("phone", ".key").exists()
    content = opened(pki, password)
    assert content.cert.certificate == certificate(pki)
    assert content.key.public_key() == certificate(pki).public_key()


def settled(pki, client: Client) -> None:
    """Nothing is to be done any more, with the register and without."""
    before = tree(pki.path)
    assert pki.one(client, check=True).action == "unchanged"
    assert pki.one(client).action == "unchanged"
    assert tree(pki.path) == before
    (pki.path / "clients/register.json").unlink()
    assert pki.one(client).action == "unchanged"


def test_the_key_is_in_the_p12_only_and_nothing_is_issued_again(pki):
    assert pki.one(PHONE).action == "issued"
    check_is_in_p12_only(pki)
    settled(pki, PHONE)
    assert len(pki.index()) == 1


def test_a_client_without_p12_keeps_its_key(pki):
    client = PHONE._replace(p12="none")
    pki.one(client)
    assert pki.file("phone", ".key").exists()
    settled(pki, client)


def test_it_is_renewed_with_the_key_out_of_the_p12(pki, monkeypatch):
    pki.one(PHONE)
    key, first = opened(pki).key.public_key(), certificate(pki)
    later(monkeypatch, days=340)
    assert pki.one(PHONE).action == "renewed"
    check_is_in_p12_only(pki)
    assert certificate(pki).serial_number != first.serial_number
    assert certificate(pki).public_key() == key
    settled(pki, PHONE)


def test_switched_off_and_on_again(pki):
    pki.one(KEPT)
    key, p12 = pki.file("phone", ".key").read_bytes(), pki.file("phone", ".p12").read_bytes()
    foreseen, done = pki.one(PHONE, check=True), pki.one(PHONE)
    assert (foreseen.action, foreseen.because) == (done.action, done.because)
    assert done.because == "the key is to be in the .p12 only"
    assert pki.file("phone", ".p12").read_bytes() == p12
    check_is_in_p12_only(pki)
    assert pki.one(KEPT).because == "the key was in the .p12 only"
    assert pki.file("phone", ".key").read_bytes() == key
    settled(pki, KEPT)
    assert len(pki.index()) == 1


def test_a_key_goes_only_when_the_p12_really_holds_it(pki):
    pki.one(KEPT)
    pki.file("phone", ".p12").write_bytes(b"damaged")
    pki.one(PHONE)
    check_is_in_p12_only(pki)
    assert len(pki.index()) == 1


def test_without_p12_any_more_the_key_comes_out_of_it_first(pki):
    pki.one(PHONE)
    key = opened(pki).key.public_key()
    client = PHONE._replace(p12="none")
    pki.one(client)
    assert not pki.file("phone", ".p12").exists()
    assert key == certificate(pki).public_key()
    assert pki.file("phone", ".key").exists()
    settled(pki, client)


def test_a_password_of_the_inventory_takes_over_from_the_file(pki):
    pki.one(PHONE)
    serial = certificate(pki).serial_number
    client = PHONE._replace(p12_password=PASSWORD)
    pki.one(client)
    check_is_in_p12_only(pki, PASSWORD)
    assert not pki.file("phone", ".p12.password").exists()
    assert certificate(pki).serial_number == serial
    settled(pki, client)


def test_another_password_cannot_be_put_on_a_p12_that_does_not_open(pki):
    pki.one(PHONE._replace(p12_password=PASSWORD))
    before = tree(pki.path)
    for wanted in (
        PHONE._replace(p12_password="another-one"),
        PHONE._replace(p12="modern"),
        PHONE._replace(p12="none"),
    ):
        for check in (True, False):
            with pytest.raises(MtlsError, match=r"client 'phone': its key is only in .*phone\.p12, which is to change"):
                pki.one(wanted, check=check)
    assert tree(pki.path) == before
    pki.file("phone", ".p12.password").write_text(PASSWORD)  # the remedy that the message names
    pki.one(PHONE._replace(p12_password="another-one"))
    check_is_in_p12_only(pki, "another-one")
    assert len(pki.index()) == 1


def test_a_password_that_was_handed_over_and_removed_leaves_the_p12_as_it_is(pki, monkeypatch):
    client = PHONE._replace(mobileconfig=True)
    pki.one(client)
    password = pki.file("phone", ".p12.password").read_text().strip()
    p12, first = pki.file("phone", ".p12").read_bytes(), certificate(pki)
    pki.file("phone", ".p12.password").unlink()
    for check in (True, False, True, False):
        done = pki.serve(client, check=check)
        assert (done.results[0].action, done.warnings) == ("unchanged", [])
    pki.file("phone", ".mobileconfig").unlink()
    assert pki.one(client).action == "updated"
    assert pki.file("phone", ".mobileconfig").exists()
    assert pki.file("phone", ".p12").read_bytes() == p12
    assert not pki.file("phone", ".p12.password").exists()

    later(monkeypatch, days=340)
    assert pki.one(client).action == "renewed"
    check_is_in_p12_only(pki)
    assert certificate(pki).public_key() != first.public_key()
    assert opened(pki, password, f"-{first.serial_number:X}.p12").key.public_key() == first.public_key()
    settled(pki, client)


def test_revoked_and_present_again_it_has_a_new_key(pki):
    pki.one(PHONE)
    first = certificate(pki)
    pki.one(PHONE._replace(revoked=True))
    assert pki.one(PHONE).action == "issued"
    check_is_in_p12_only(pki)
    assert certificate(pki).public_key() != first.public_key()
    assert opened(pki, ending=f"-{first.serial_number:X}.p12").key.public_key() == first.public_key()
    settled(pki, PHONE)


def test_a_p12_that_was_moved_away_asks_for_a_new_key(pki):
    pki.one(PHONE)
    first = certificate(pki)
    pki.file("phone", ".p12").rename(pki.path / "moved.p12")
    result = pki.one(PHONE)
    assert result.action == "issued"
    assert "the private key was gone" in result.because
    assert certificate(pki).public_key() != first.public_key()
    settled(pki, PHONE)


def die_before(pki, number: int, client: Client) -> bool:
    """Reconcile in a process that dies before its so-manieth change of a name on disk; tell whether it did."""
    process = os.fork()
    if process:
        _pid, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) in (0, 9)
        return os.waitstatus_to_exitcode(status) == 9
    status = 1
    try:
        changes = count(1)

        def deadly(change):
            def changed(*arguments, **options):
                if next(changes) == number:
                    os._exit(9)
                return change(*arguments, **options)

            return changed

        for name in ("replace", "link", "rename", "unlink", "mkdir"):
            setattr(os, name, deadly(getattr(os, name)))
        pki.one(client)
        status = 0
    finally:
        os._exit(status)


STORIES = {
    "first": ([], PHONE, None),
    "switched off": ([KEPT], PHONE, None),
    "switched on": ([PHONE], KEPT, None),
    "password from the inventory": ([PHONE], PHONE._replace(p12_password=PASSWORD), PASSWORD),
    "another encoding": ([PHONE], PHONE._replace(p12="modern"), None),
    "renewed": ([PHONE._replace(days=20, renew_before=10)], PHONE._replace(days=40, renew_before=25), None),
    "another subject": ([PHONE], PHONE._replace(subject={"CN": "another"}), None),
    "no p12": ([PHONE], PHONE._replace(p12="none"), None),
}


@pytest.mark.slow
@pytest.mark.parametrize("story", STORIES)
def test_killed_anywhere_the_key_is_somewhere_and_the_next_run_ends_it(pki, story):
    past, client, password = STORIES[story]
    expected = 1 + (story in ("renewed", "another subject"))
    for earlier in past:
        pki.one(earlier)
    key = certificate(pki).public_key() if past else None
    start = pki.path.with_name("start")
    pki.path.rename(start)
    for number in count(1):
        shutil.rmtree(pki.path, ignore_errors=True)
        shutil.copytree(start, pki.path)
        died = die_before(pki, number, client)
        pki.one(client)
        assert key in (None, certificate(pki).public_key())
        # Between the record and the files, a certificate with the new subject is not looked for: one more is issued.
        assert len(pki.index()) - expected in ((0, 1) if story == "another subject" else (0,))
        if client.keeps_key_file:
            assert pki.file("phone", ".key").exists()
        else:
            check_is_in_p12_only(pki, password)
        assert pki.one(client).action == "unchanged"
        if not died:
            assert number > 3
            return


def test_certificate_and_key_in_one_file(pki, monkeypatch):
    """For programs that take nothing else; it follows renewals, and goes when it is not asked for any more."""
    client = Client("ci", p12="none", formats=("pem",))
    previous = os.umask(0)
    assert pki.one(client, check=True).pem is None  # as with other files of a certificate that is not there yet
    done = pki.one(client)
    os.umask(previous)
    pem, key = pki.file("ci", ".pem"), pki.file("ci", ".key")
    assert done.pem == str(pem)
    assert pem.read_bytes() == pki.file("ci", ".crt").read_bytes() + key.read_bytes()
    assert pem.stat().st_mode & 0o777 == 0o600
    settled(pki, client)

    kept = key.read_bytes()
    later(monkeypatch, days=340)
    assert pki.one(client).action == "renewed"
    assert pem.read_bytes() == pki.file("ci", ".crt").read_bytes() + kept
    for damaged in (b"", pem.read_bytes()[:-40]):
        pem.write_bytes(damaged)
        foreseen, done = pki.one(client, check=True), pki.one(client)
        assert (foreseen.because, foreseen.pem) == (done.because, done.pem) == (WRONG_PEM, str(pem))
    settled(pki, client)

    assert pki.one(client._replace(revoked=True)).action == "revoked"
    pki.one(client)  # with a new key
    assert pem.read_bytes() == pki.file("ci", ".crt").read_bytes() + key.read_bytes()
    assert kept not in pem.read_bytes()
    without = client._replace(formats=())
    assert pki.one(without, check=True).because == pki.one(without).because == "no .pem is wanted any more"
    assert not pem.exists()
    settled(pki, without)


def test_a_pem_of_a_revoked_key_goes_with_it(pki):
    """Also where the inventory no longer asked for one while the client was revoked, or somebody made it by hand."""
    pki.one(KEPT)
    pki.file("phone", ".pem").write_bytes(
        pki.file("phone", ".crt").read_bytes() + pki.file("phone", ".key").read_bytes()
    )
    pki.one(KEPT._replace(revoked=True))
    pki.one(KEPT)
    assert not pki.file("phone", ".pem").exists()


def test_a_new_key_is_in_the_pem_too(pki):
    client = KEPT._replace(formats=("pem",))
    pki.one(client)
    pki.file("phone", ".key").rename(pki.path / "moved.key")
    assert pki.one(client).because.startswith("the private key was gone")
    assert pki.file("phone", ".pem").read_bytes().endswith(pki.file("phone", ".key").read_bytes())
    settled(pki, client)


def test_no_other_key_is_lost_for_a_pem(pki):
    client = KEPT._replace(formats=("pem",))
    pki.one(KEPT)
    other = b"-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"
    pki.file("phone", ".pem").write_bytes(other)
    before = tree(pki.path)
    for check in (True, False):
        with pytest.raises(
            MtlsError, match=r"client 'phone': .*phone\.pem is in the place .* another key.*move it away"
        ):
            pki.one(client, check=check)
    assert tree(pki.path) == before
    assert pki.one(KEPT).action == "unchanged"  # who does not ask for it has nothing to do with it

    pki.file("phone", ".pem").unlink()
    pki.one(client)
    pki.file("phone", ".pem").write_bytes(other)
    pki.one(KEPT)
    assert pki.file("phone", ".pem").read_bytes() == other


def test_a_pem_of_a_key_that_nobody_can_open(pki):
    pki.one(PHONE)
    pki.file("phone", ".p12.password").unlink()
    with pytest.raises(
        MtlsError, match=r"client 'phone': formats asks for a \.pem with its key, which is only in .*p12"
    ):
        pki.one(KEPT._replace(formats=("pem",)))
