# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for a client by what is there; ``test_clients.py`` has what is done then."""

from __future__ import annotations

import shutil

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import client_plan
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client_plan import Planner
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.mobileconfig import ProfileMaker
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.revoking import Finder, RevocationRequest
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.register import Register
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import later, openssl, tree


def plan(pki, *clients, **options):
    """Return the steps and the planner's warnings; nothing is changed by that."""
    before = tree(pki.path)
    with pki.open(read_only=True) as authority:
        planner = Planner(authority, Register.load(authority.path), ProfileMaker(authority.chain), **options)
        steps = planner.plan(clients)
    assert tree(pki.path) == before
    return steps, planner.warnings


def by_hand(pki, name, *options, request=None):
    """Have ``openssl ca`` issue a certificate and put it into the client's folder, with its key."""
    request = request or pki.csr(name)
    folder = pki.path / "clients" / name
    folder.mkdir(parents=True, exist_ok=True)
    pki.ca(*options, "-in", request, "-out", folder / f"{name}.crt")
    shutil.copy(pki.path.parent / f"{name}.key", folder / f"{name}.key")
    (folder / f"{name}.key").chmod(0o600)
    return pki.index()[-1][3]


def weak_request(pki, name):
    request, key = pki.path.parent / f"{name}.csr", pki.path.parent / f"{name}.key"
    arguments = ("-newkey", "rsa:1024", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    openssl("req", "-new", *arguments, cwd=pki.path.parent)
    return request


def is_good(pki, name) -> str:
    """What OpenSSL at the security level of Debian's nginx says of a client's certificate."""
    path = pki.file(name, ".crt")
    return openssl("verify", "-auth_level", "2", "-CAfile", "ca.crt", path, cwd=pki.path, ok=None)


def test_a_certificate_signed_with_sha1_is_followed_by_one_for_the_same_key(pki):
    serial = by_hand(pki, "old", "-md", "sha1")
    assert "too weak" in is_good(pki, "old")
    key = pki.file("old", ".key").read_bytes()
    ((step,), _warnings) = plan(pki, Client("old"))
    assert (step.action, step.retired_key) == ("renewed", None)
    assert step.because.startswith("the certificate is signed with SHA-1, which nginx refuses")
    result = pki.one(Client("old"))
    assert (result.action, result.because, result.before.serial) == (step.action, step.because, serial)
    assert pki.file("old", ".key").read_bytes() == key
    assert is_good(pki, "old").endswith("OK\n")
    assert pki.one(Client("old")).action == "unchanged"


def test_a_certificate_for_a_weak_key_is_followed_by_one_for_a_new_key(pki):
    serial = by_hand(pki, "weak", request=weak_request(pki, "weak"))
    assert "too weak" in is_good(pki, "weak")
    ((step,), _warnings) = plan(pki, Client("weak"))
    assert (step.action, step.retired_key) == ("issued", serial)
    assert step.because.startswith("the certificate has an RSA key of 1024 bits, which nginx refuses")
    assert pki.one(Client("weak")).action == "issued"
    assert is_good(pki, "weak").endswith("OK\n")
    assert pki.file("weak", f"-{serial}.key").exists()
    assert pki.one(Client("weak")).action == "unchanged"


def test_a_weak_certificate_that_an_earlier_version_took_for_good_is_found(pki, monkeypatch):
    """The register says that nothing has changed since."""
    by_hand(pki, "old", "-md", "sha1")
    with monkeypatch.context() as earlier:
        earlier.setattr(client_plan, "_EXAMINED_FOR", None)
        earlier.setattr(client_plan.profiles, "weakness", lambda certificate: None)
        pki.one(Client("old"))
        assert pki.one(Client("old")).action == "unchanged"
    assert pki.one(Client("old")).action == "renewed"


def test_a_weak_certificate_in_the_record_is_not_put_back(pki):
    by_hand(pki, "old", "-md", "sha1")
    pki.file("old", ".crt").unlink()
    ((step,), _warnings) = plan(pki, Client("old"))
    assert (step.action, step.restore, step.because) == ("issued", None, "had no certificate")


def test_a_run_killed_after_a_weak_certificate_was_replaced_is_completed(pki):
    by_hand(pki, "old", "-md", "sha1")
    old = pki.file("old", ".crt").read_bytes()
    replaced = pki.one(Client("old")).entry.serial
    pki.file("old", ".crt").write_bytes(old)
    (pki.path / "clients/register.json").unlink()
    ((step,), _warnings) = plan(pki, Client("old"))
    assert (step.action, step.restore, step.subject) == ("updated", replaced, None)


def test_a_request_of_a_device_with_a_certificate_signed_with_sha1_is_signed_again(pki):
    request = pki.csr("device")
    (pki.path / "clients/device").mkdir()
    pki.ca("-md", "sha1", "-in", request, "-out", "clients/device/device.crt")
    ((step,), _warnings) = plan(pki, Client("device", csr=str(request)))
    assert step.action == "renewed"
    assert "SHA-1" in step.because


@pytest.mark.parametrize(
    ("client", "because"),
    [
        (Client("a"), "had no certificate"),
        (Client("b", revoked=True), "never had a certificate"),
    ],
)
def test_of_whom_nothing_is_known(pki, client, because):
    ((step,), warnings) = plan(pki, client)
    assert (step.action, step.because) == ("unchanged" if client.revoked else "issued", because)
    assert warnings == []


def forget(pki, *serials):
    """Leave index.txt and newcerts as they were before these were issued, as an old copy of both does."""
    lines = (pki.path / "index.txt").read_text().splitlines(keepends=True)
    (pki.path / "index.txt").write_text("".join(line for line in lines if line.split("\t")[3] not in serials))
    for serial in serials:
        (pki.path / "newcerts" / f"{serial}.pem").unlink()


@pytest.mark.parametrize("register", [True, False], ids=["with the register", "without"])
def test_who_is_revoked_is_so_with_an_old_index_too(pki, register):
    """By the certificates on file: today's, and one of a subject that was given up."""
    former = pki.one(Client("a", {"CN": "former"})).entry.serial
    current = pki.one(Client("a", {"CN": "today's"})).entry.serial
    forget(pki, former, current)
    if not register:
        (pki.path / "clients/register.json").unlink()
    gone = Client("a", revoked=True, reason="keyCompromise")
    ((step,), warnings) = plan(pki, gone)
    assert (step.action, set(step.revoke), warnings) == ("revoked", {former, current}, [])
    assert pki.one(gone).action == "revoked"
    assert {row[3]: (row[0], row[2].partition(",")[2]) for row in pki.index()} == dict.fromkeys(
        (former, current), ("R", "keyCompromise")
    )
    ((step,), _warnings) = plan(pki, gone)
    assert (step.action, step.because, step.known) == ("unchanged", "is revoked", True)


def test_a_certificate_that_cannot_be_revoked_any_more_is_named(pki, monkeypatch):
    serial = pki.one(Client("a")).entry.serial
    forget(pki, serial)
    pki.file("a", ".crt").unlink()
    ((step,), warnings) = plan(pki, Client("a", revoked=True))
    assert (step.action, step.because) == ("unchanged", "has nothing to revoke")
    (warning,) = warnings
    assert warning.startswith(f"client 'a': its certificate {serial} is neither in index.txt nor on file any more, so")
    assert warning.endswith("stays valid until it expires; restore index.txt or the certificate's file from a backup")
    by_hand(pki, "a")  # another one is revoked, and says nothing of the first
    ((step,), _warnings) = plan(pki, Client("a", revoked=True))
    assert (step.action, step.revoke) == ("revoked", (pki.index()[-1][3],))
    shutil.rmtree(pki.path / "clients/a")
    ((step,), warnings) = plan(pki, Client("a", revoked=True))
    assert step.action == "revoked"
    assert [warning.partition(": its")[0] for warning in warnings] == ["client 'a'"]
    later(monkeypatch, days=366)
    assert plan(pki, Client("a", revoked=True))[1] == []


def test_a_certificate_by_hand_for_another_key_is_not_this_clients_but_goes_with_it(pki):
    """`openssl ca` issued it to somebody else under the same name; who is revoked then, is so with all of them."""
    (pki.path / "clients/a").mkdir(parents=True)
    pki.csr("a")
    shutil.move(pki.path.parent / "a.key", pki.file("a", ".key"))
    pki.file("a", ".key").chmod(0o600)
    pki.ca("-in", pki.csr("a"), "-out", "a.crt")
    key = pki.file("a", ".key").read_bytes()
    ((step,), _warnings) = plan(pki, Client("a"))
    assert (step.action, step.because, step.restore, step.retired_key) == ("issued", "had no certificate", None, None)
    assert pki.one(Client("a")).action == "issued"
    assert pki.file("a", ".key").read_bytes() == key
    assert set(pki.one(Client("a", revoked=True)).revoked) == {row[3] for row in pki.index()}
    assert [row[0] for row in pki.index()] == ["R", "R"]


def test_a_new_key_beside_a_revoked_certificate_is_used_and_kept_at_the_next_renewal(pki, monkeypatch):
    """The owner put it there, or it was made when the client came back: it was never that of a revoked certificate."""
    pki.one(Client("a", p12="none"))
    pki.one(Client("a", p12="none", revoked=True))
    pki.csr("new")
    shutil.move(pki.path.parent / "new.key", pki.file("a", ".key"))
    pki.file("a", ".key").chmod(0o600)
    key = pki.file("a", ".key").read_bytes()
    ((step,), _warnings) = plan(pki, Client("a", p12="none"))
    assert (step.action, step.because, step.retired_key) == ("issued", "the certificate was for another key", None)
    assert pki.one(Client("a", p12="none")).action == "issued"
    later(monkeypatch, days=350)
    ((step,), _warnings) = plan(pki, Client("a", p12="none"))
    assert (step.action, step.retired_key) == ("renewed", None)
    assert pki.one(Client("a", p12="none")).action == "renewed"
    assert pki.file("a", ".key").read_bytes() == key
    assert [row[0] for row in pki.index()] == ["R", "V", "V"]


def test_a_certificate_of_another_authority_is_no_clients(pki):
    """It gives way to one of ours for the same key, and by the client's name nothing is found to be revoked."""
    (pki.path / "clients/a").mkdir(parents=True)
    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=a", "-days", "9")
    openssl("req", "-x509", *made, "-keyout", "a.key", "-out", "a.crt", cwd=pki.path / "clients/a")
    ((step,), warnings) = plan(pki, Client("a", revoked=True))
    assert (step.action, step.because, warnings) == ("unchanged", "never had a certificate", [])
    with pki.open(read_only=True) as authority, pytest.raises(MtlsError, match="has nothing of it"):
        Finder.of(authority).find(RevocationRequest("name", "a", "unspecified"))
    key = pki.file("a", ".key").read_bytes()
    ((step,), _warnings) = plan(pki, Client("a"))
    assert (step.action, step.because) == ("issued", f"{pki.file('a', '.crt')} is not by this authority")
    assert pki.one(Client("a")).action == "issued"
    assert (pki.file("a", ".key").read_bytes(), is_good(pki, "a")[-3:]) == (key, "OK\n")


def test_a_plan_is_in_the_order_of_the_list_whoever_is_known_at_a_glance(pki):
    pki.serve(Client("a"), Client("c"))
    (steps, _warnings) = plan(pki, Client("d"), Client("c"), Client("b"), Client("a"))
    assert [(step.client.name, step.known) for step in steps] == [("d", False), ("c", True), ("b", False), ("a", True)]


@pytest.mark.slow
@pytest.mark.usefixtures("two_cores")
def test_of_very_many_all_cores_look_at_the_files(pki, monkeypatch):
    """What each process sees comes together: who is to be looked at more closely, and which keys others can read."""
    monkeypatch.setattr(client_plan, "_LOOKED_AT", 1)
    clients = [Client(name) for name in "abcdef"]
    pki.serve(*clients)
    pki.file("b", ".p12").unlink()
    pki.file("e", ".key").chmod(0o644)
    pki.file("f", ".crt").write_bytes(pki.file("f", ".crt").read_bytes())
    steps, (warning,) = plan(pki, *clients)
    assert [step.client.name for step in steps if not step.known] == ["b", "f"]
    assert [(step.client.name, step.because) for step in steps if step.rewrite] == [
        ("b", "the .p12 was missing or not as wanted")
    ]
    assert warning.startswith(f"{pki.file('e', '.key')}: private keys, or passwords for them, that others can read")


def test_what_is_on_hold_by_itself_stays_so(pki):
    serial = pki.one(Client("a")).entry.serial
    pki.one(Client("a", revoked=True, reason="certificateHold"))
    ((released,), _warnings) = plan(pki, Client("a"))
    assert (released.action, released.release) == ("released", (serial,))
    ((step,), _warnings) = plan(pki, Client("a"), revoking={serial})
    assert (step.action, step.release) == ("issued", ())


def test_mistakes_are_found_while_planning(pki, monkeypatch):
    pki.one(Client("a"))
    later(monkeypatch, days=340)
    with pytest.raises(MtlsError, match="client 'a': renew_before is 400 and days is 300"):
        plan(pki, Client("a", days=300, renew_before=400))
    with pytest.raises(MtlsError, match="both have the subject CN=b"):
        plan(pki, Client("b"), Client("c", {"CN": "b"}))
    with pytest.raises(MtlsError, match="its subject is the authority's own"):
        plan(pki, Client("ca", {"C": "ES", "O": "Acme", "CN": "Test CA"}))


@pytest.mark.parametrize("clients", [("a", "b"), ("b", "a")])
def test_a_certificate_that_was_put_into_the_folder_of_somebody_else_is_named(pki, clients):
    """Of a subject nobody has said anything, so that is not what is to be changed."""
    pki.serve(Client("a"), Client("b"))
    file = pki.file("b", ".crt")
    own = file.read_bytes()
    file.write_bytes(pki.file("a", ".crt").read_bytes())
    with pytest.raises(MtlsError) as caught:
        plan(pki, *map(Client, clients))
    said = (
        "has the certificate of client 'a', so 'b' would enter as 'a'; move that file away, and the next run restores"
    )
    assert str(caught.value) == f"{file}: {said} the right one"
    file.unlink()
    pki.serve(*map(Client, clients))
    assert file.read_bytes() == own


@pytest.mark.parametrize("with_certificate", [True, False])
def test_a_weak_key_in_a_p12_only_is_given_up_with_a_reason(pki, with_certificate):
    """With its certificate, or one that only the record has; the .p12 is kept."""
    client = Client("weak", keep_key=False)
    serial = by_hand(pki, "weak", request=weak_request(pki, "weak"))
    certificate, key, bundle = (pki.file("weak", ending) for ending in (".crt", ".key", ".p12"))
    pki.file("weak", ".p12.password").write_text("secret\n")
    openssl(
        "pkcs12", "-export", "-inkey", key, "-in", certificate, "-passout", "pass:secret", "-out", bundle, cwd=pki.path
    )
    key.unlink()
    if not with_certificate:
        certificate.unlink()
    ((step,), _warnings) = plan(pki, client)
    assert (step.action, step.retired_key) == ("issued", serial)
    reason = "the certificate has an RSA key of 1024 bits" if with_certificate else "the private key was weak"
    assert step.because.startswith(reason)
    assert pki.one(client).action == "issued"
    assert is_good(pki, "weak").endswith("OK\n")
    assert pki.file("weak", f"-{serial}.p12").exists()
    assert pki.one(client).action == "unchanged"


def test_a_weak_key_of_nobody_in_a_p12_is_an_error(pki):
    folder = pki.path / "clients" / "weak"
    folder.mkdir(parents=True)
    weak_request(pki, "weak")
    key = pki.path.parent / "weak.key"
    made = ("-x509", "-new", "-key", key, "-subj", "/CN=x", "-out", folder / "x.crt")
    openssl("req", *made, cwd=folder)
    options = ("-inkey", key, "-in", folder / "x.crt", "-passout", "pass:secret", "-out", folder / "weak.p12")
    openssl("pkcs12", "-export", *options, cwd=folder)
    (folder / "weak.p12.password").write_text("secret\n")
    with pytest.raises(MtlsError, match=r"weak\.p12: the RSA key has 1024 bits; make one with at least 2048"):
        pki.one(Client("weak", keep_key=False))
    assert pki.index() == []


def test_a_short_password_of_a_p12_is_warned_of(pki):
    kept = [Client("long", p12_password="twelve chars"), Client("none"), Client("pem", p12="none", p12_password="abc")]
    _steps, warnings = plan(pki, Client("a", p12_password="abc"), Client("b", p12_password="elevenchars"), *kept)
    (warning,) = warnings
    assert warning.startswith("a, b: a p12_password of fewer than 12 characters")
    assert "abc" not in warning


def test_a_change_is_seen_behind_a_client_without_files_and_a_file_that_is_not_there(pki):
    pki.serve(Client("a", keep_key=False))
    pki.file("a", ".p12").unlink()
    (_new, step), _warnings = plan(pki, Client("new"), Client("a", keep_key=False))
    assert step.because.startswith("the private key was gone")


@pytest.mark.parametrize("key", ["moved away", "another"])
def test_what_is_on_hold_is_not_released_where_its_key_is_given_up(pki, key):
    """Whoever has the lost device would be let in again, and its owner would have another certificate besides."""
    pki.serve(Client("a"), Client("b"))
    pki.one(Client("a", revoked=True, reason="certificateHold"))
    pki.file("a", ".key").unlink()
    if key == "another":
        shutil.copy(pki.file("b", ".key"), pki.file("a", ".key"))
    ((step,), _warnings) = plan(pki, Client("a"))
    assert (step.action, step.release) == ("issued", ())


def test_a_former_certificate_that_is_on_hold_by_itself_stays_so(pki):
    """Its client was not on hold, or it is to be on hold in this run too."""
    former = pki.one(Client("a")).entry.serial
    serial = pki.one(Client("a", days=400, renew_before=370)).entry.serial
    with pki.open() as authority:
        authority.revoke({former: "certificateHold"})
    pki.file("a", ".p12").unlink()
    ((step,), _warnings) = plan(pki, Client("a"))
    assert (step.action, step.release) == ("updated", ())
    pki.one(Client("a", revoked=True, reason="certificateHold"))
    ((step,), _warnings) = plan(pki, Client("a"), revoking={former})
    assert (step.action, step.release) == ("released", (serial,))
