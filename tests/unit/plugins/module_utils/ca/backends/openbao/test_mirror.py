# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the mirror takes from a server, and refuses to take. tests/integration has the real one."""

from __future__ import annotations

import dataclasses
import json
import types
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao import mirror
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, keys, numbers, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.profiles import Validity
from ansible_collections.mtls.nginx.plugins.module_utils.ca.store.published import read_crl
from ansible_collections.mtls.nginx.plugins.module_utils.ca.wanted import Ensured, WantedAuthority
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.loopback import Reply
from ansible_collections.mtls.nginx.tests.unit.support import later, tree

CRL = "issuer/default/crl"


class Controller:
    """A directory that mirrors the engine."""

    def __init__(self, engine, path: Path) -> None:
        self.engine = engine
        self.path = path

    def ensure(self, *, check: bool = False, subject: dict | None = None) -> Ensured:
        wanted = WantedAuthority(str(self.path), subject, keys.KeyKind("ecdsa"), None, 3650, 30)
        return mirror.ensure(wanted, self.engine.settings, check=check)

    @contextmanager
    def open(self, *, read_only: bool = False):
        with mirror.open_openbao(str(self.path), self.engine.settings, read_only=read_only) as authority:
            yield authority

    def index(self) -> dict[str, str]:
        """The status by serial."""
        lines = [line.split("\t") for line in (self.path / "index.txt").read_text().splitlines()]
        return {fields[3]: fields[0] for fields in lines}


@pytest.fixture
def controller(engine, tmp_path) -> Controller:
    made = Controller(engine, tmp_path / "pki")
    engine.says("GET", CRL, {"crl": engine.crl()})
    made.ensure()
    engine.bao.heard.clear()
    return made


def refused(controller: Controller, work) -> str:
    with pytest.raises(MtlsError) as caught, controller.open() as authority:
        work(authority)
    return str(caught.value)


def test_check_mode_says_what_is_missing_and_makes_nothing(engine, tmp_path):
    outcome = Controller(engine, tmp_path / "pki").ensure(check=True)
    assert outcome.created
    assert outcome.added == ["ca.crt", "newcerts", "clients", "servers", "index.txt", "crl.pem"]
    assert tree(tmp_path / "pki") == {}


def test_a_mirror_is_made_once(controller):
    assert controller.ensure().added == []
    assert controller.index() == {}


def test_what_is_no_mirror(engine, controller, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MtlsError, match="file: is a file; name a directory"):
        Controller(engine, tmp_path / "file").ensure()

    with pytest.raises(MtlsError, match=r"is the authority .*CN=Test CA.*, and the subject asked for is CN=Other"):
        controller.ensure(subject={"CN": "Other"})

    (controller.path / "index.txt").unlink()
    with pytest.raises(MtlsError, match=r"lacks index.txt; run mtls.nginx.ca_init first"), controller.open():
        pass


def test_the_mirror_of_another_authority(controller, engine, other_key):
    name = engine.issuer.certificate.subject
    validity = profiles.ca_validity(10, times.now())
    other = profiles.ca_certificate(other_key, name, 7, validity)
    (controller.path / "ca.crt").write_bytes(other.public_bytes(mirror.serialization.Encoding.PEM))
    for work in (controller.ensure, lambda: controller.open().__enter__()):
        with pytest.raises(MtlsError, match="correct the mount, or choose another directory"):
            work()


def test_a_key_that_is_here_too_is_told(controller):
    (controller.path / "ca.key").touch(0o600)
    assert any("the key is on the controller too" in warning for warning in controller.ensure().warnings)


def test_a_directory_from_before_the_server_keeps_its_record(engine, tmp_path, order, other_key):
    """Also with damaged files in it, and with what another CA signed."""
    issued = tmp_path / "pki" / "newcerts"
    issued.mkdir(parents=True, mode=0o700)
    (tmp_path / "pki").chmod(0o700)
    early = engine.certificate(order(), 0x10)
    (issued / "10.pem").write_bytes(early.public_bytes(mirror.serialization.Encoding.PEM))
    (issued / "11.pem").write_text("damaged")
    stranger = profiles.Issuer(
        profiles.ca_certificate(other_key, x509.Name([]), 5, profiles.ca_validity(10, times.now())), other_key
    )
    theirs = profiles.issued_certificate(stranger, order(), 0x12)
    (issued / "12.pem").write_bytes(theirs.public_bytes(mirror.serialization.Encoding.PEM))
    engine.says("GET", CRL, {"crl": engine.crl()})
    controller = Controller(engine, tmp_path / "pki")
    controller.ensure()
    assert controller.index() == {"10": "V"}


def test_what_others_had_signed_is_taken_over_once(controller, engine, order):
    valid, revoked = engine.certificate(order(), 0x1000), engine.certificate(order(), 0x1001)
    engine.has(valid, revoked=[revoked])
    with controller.open(read_only=True) as authority:
        assert authority.record.is_valid("1000")
        assert authority.certificate("1000") == valid
    assert controller.index() == {}

    with controller.open():
        pass
    assert controller.index() == {"1000": "V", "1001": "R"}
    fetched = len([path for _method, path in engine.bao.asked() if "/cert/" in path])
    with controller.open() as authority:
        assert authority.certificate("1000") == valid
    assert len([path for _method, path in engine.bao.asked() if "/cert/" in path]) == fetched


def test_what_another_controller_revoked_is_taken_over(controller, engine, order):
    certificate = engine.certificate(order(), 0x1000)
    engine.has(certificate)
    with controller.open():
        pass
    engine.has(revoked=[certificate])
    with controller.open():
        pass
    assert controller.index() == {"1000": "R"}


def test_certificates_of_others_are_looked_at_once(controller, engine, order, other_key):
    stranger = profiles.Issuer(
        profiles.ca_certificate(other_key, x509.Name([]), 5, profiles.ca_validity(10, times.now())), other_key
    )
    theirs = profiles.issued_certificate(stranger, order(), 0x2000)
    below = profiles.issued_certificate(engine.issuer, order("CN=Below", profiles.INTERMEDIATE), 0x2001)
    engine.has(theirs, below)
    with controller.open():
        pass
    assert controller.index() == {}
    assert json.loads((controller.path / "openbao.json").read_text()) == {"others": ["2000", "2001"]}

    engine.bao.heard.clear()
    with controller.open():
        pass
    assert not [path for _method, path in engine.bao.asked() if "/cert/" in path]


@pytest.mark.parametrize("content", ["", "[]", '{"others": 5}', '{"theirs": []}', "\ud800"])
def test_a_damaged_list_of_others_costs_a_look_and_nothing_else(controller, content):
    (controller.path / "openbao.json").write_text(content, errors="surrogatepass")
    with controller.open() as authority:
        assert authority.record.is_valid("1000") is False


def test_a_file_that_is_lost_is_fetched(controller, engine, order):
    certificate = engine.certificate(order(), 0x1000)
    engine.has(certificate)
    with controller.open():
        pass
    (controller.path / "newcerts" / "1000.pem").unlink()
    engine.says(
        "GET", "cert/10:00", {"certificate": certificate.public_bytes(mirror.serialization.Encoding.PEM).decode()}
    )
    with controller.open() as authority:
        assert authority.certificate("1000") == certificate


def test_cas_above_that_changed_are_told(controller, engine, other_key):
    root = profiles.ca_certificate(
        other_key, x509.Name.from_rfc4514_string("CN=Root"), 5, profiles.ca_validity(10, times.now())
    )
    texts = [
        each.public_bytes(mirror.serialization.Encoding.PEM).decode() for each in (engine.issuer.certificate, root)
    ]
    engine.says("GET", "issuer/default/json", {"ca_chain": texts})
    with controller.open() as authority:
        assert authority.warnings == [
            f"{controller.path}/ca.crt: the CAs above changed on the server; run mtls.nginx.ca_init"
        ]


def test_what_is_issued_is_kept_and_recorded(controller, engine, order):
    wanted = order()
    engine.signs(*(engine.certificate(wanted, serial) for serial in (0x31, 0x32, 0x33)))
    with controller.open() as authority:
        authority.begin()
        issued = authority.issue([wanted] * 3)
        assert authority.issue([]) == []
    serials = [numbers.hexadecimal(each.serial_number) for each in issued]
    assert sorted(serials) == ["31", "32", "33"]
    assert controller.index() == dict.fromkeys(serials, "V")
    assert all((controller.path / "newcerts" / f"{serial}.pem").exists() for serial in serials)


def wrongs(engine, order, other_key, moment) -> dict[str, x509.Certificate]:
    """What a role may make of an order for CN=phone, by what is then said."""
    named, now = order(validity=Validity(moment, moment + timedelta(days=1))), times.now()
    stranger = profiles.ca_certificate(
        other_key, x509.Name.from_rfc4514_string("CN=X"), 5, profiles.ca_validity(9, now)
    )
    other = dataclasses.replace(named, public_key=keys.public_der(other_key.public_key()))
    later_begin = Validity(moment + timedelta(hours=2), moment + timedelta(days=1))
    return {
        "it is by CN=X, which is not the CA in ca.crt": profiles.issued_certificate(
            profiles.Issuer(stranger, other_key), named, 1
        ),
        "it is for another key": engine.certificate(other),
        "its subject is CN=phone,O=Somebody": engine.certificate(order("CN=phone,O=Somebody")),
        "its alternative names are: bank.example": engine.certificate(order(names=("bank.example",))),
        "it is a CA": engine.certificate(order(profile=profiles.INTERMEDIATE)),
        "it is not for clients alone": engine.certificate(order(profile=profiles.SERVER)),
        "it expires on": engine.certificate(order(validity=Validity(moment, moment + timedelta(days=2)))),
        "it begins only on": engine.certificate(order(validity=later_begin)),
    }


@pytest.mark.parametrize("number", range(8))
def test_what_a_role_makes_otherwise_is_revoked_and_not_recorded(controller, engine, order, other_key, number):
    moment = times.now().replace(microsecond=0)
    said, made = list(wrongs(engine, order, other_key, moment).items())[number]
    wanted = order(validity=Validity(moment - times.CLOCK_SKEW, moment + timedelta(days=1)))
    engine.signs(made)
    engine.says("POST", "revoke", {"revocation_time": 1_795_000_000})

    text = refused(controller, lambda authority: authority.issue([wanted, wanted]))
    assert said in text
    assert "role client made certificate" in text
    assert text.endswith("it was revoked at once; correct the role (docs/openbao.md says what it needs)")
    assert len(engine.asked("sign/client")) == 1
    assert controller.index() == {}


def test_names_that_are_missing_are_told(controller, engine, order):
    engine.signs(engine.certificate(order()))
    engine.refuses("POST", "revoke", "permission denied")
    text = refused(controller, lambda authority: authority.issue([order(names=("web.lan",))]))
    assert "its alternative names are: none; and it could not be revoked (" in text


def test_revoking_stops_at_the_first_that_fails_and_records_those_before(controller, engine, order):
    certificates = [engine.certificate(order(), serial) for serial in (0x1000, 0x1001)]
    engine.has(*certificates)
    engine.bao.says(
        "POST",
        "/v1/pki/revoke",
        Reply(200, {"data": {"revocation_time": int(times.now().timestamp())}}),
        Reply(400, {"errors": ["no"]}),
    )
    text = refused(controller, lambda authority: authority.revoke({"1000": "keyCompromise", "1001": "superseded"}))
    assert "does not revoke 100" in text
    assert sorted(controller.index().values()) == ["R", "V"]


def test_when_nothing_could_be_revoked_nothing_is_recorded(controller, engine, order):
    engine.has(engine.certificate(order(), 0x1000))
    engine.refuses("POST", "revoke", "no")
    with controller.open():
        pass
    before = (controller.path / "index.txt").read_bytes()
    text = refused(controller, lambda authority: authority.revoke({"1000": "keyCompromise"}))
    assert "does not revoke 1000" in text
    assert (controller.path / "index.txt").read_bytes() == before
    assert not (controller.path / "audit.log").exists()


def test_what_cannot_be_revoked_or_released(controller, engine, order):
    engine.has(engine.certificate(order(), 0x1000))
    with controller.open() as authority:
        authority.revoke({})
        authority.release([])
    assert "is not in" in refused(controller, lambda authority: authority.revoke({"99": "superseded"}))
    hold = refused(controller, lambda authority: authority.revoke({"1000": "certificateHold"}))
    assert "certificateHold can be released again" in hold
    assert "cannot be released, because" in refused(controller, lambda authority: authority.release(["1000"]))
    assert engine.asked("revoke") == []


def test_of_what_has_expired_the_server_is_not_asked(controller, engine, order, monkeypatch):
    engine.has(engine.certificate(order(), 0x1000))
    with controller.open():
        pass
    later(monkeypatch, days=2)
    with controller.open() as authority:
        authority.revoke({"1000": "superseded"})
    assert engine.asked("revoke") == []
    assert controller.index() == {"1000": "R"}


def test_certificates_that_the_server_does_not_know_are_entered(controller, engine, order):
    certificate = engine.certificate(order(), 0x1000)
    with controller.open() as authority:
        authority.enter([certificate])
        assert authority.certificate("1000") == certificate
    assert controller.index() == {"1000": "V"}


def test_nothing_is_changed_when_it_was_opened_to_read(controller, engine, order):
    with controller.open(read_only=True) as authority:
        for work in (
            lambda: authority.issue([order()]),
            lambda: authority.revoke({"1000": "superseded"}),
            lambda: authority.enter([engine.certificate(order())]),
            lambda: authority.write_crl(30),
        ):
            with pytest.raises(RuntimeError, match="opened read-only"):
                work()


@pytest.mark.parametrize(
    ("crl", "days", "reason"),
    [
        ({}, 7, None),
        ({"age": timedelta(days=20)}, 15, "it expires on"),
        ({"age": timedelta(hours=-2), "days": 40}, 7, "it begins only on"),
        ({"days": 3}, 7, None),
        ({"days": 3, "age": timedelta(days=2)}, 7, "it expires on"),
    ],
)
def test_when_a_new_crl_is_due(controller, engine, crl, days, reason):
    (controller.path / "crl.pem").write_text(engine.crl(**crl))
    with controller.open() as authority:
        due = authority.crl_due(days)
        assert due == reason if reason is None else due.startswith(reason)
        short = [warning for warning in authority.warnings if "its CRLs are valid for 3 days only" in warning]
        assert bool(short) == (crl.get("days") == 3)


def test_a_crl_is_due_when_there_is_none_or_a_newer_one_or_it_lacks_somebody(controller, engine, order):
    engine.says("GET", CRL, {"crl": engine.crl(8)})
    with controller.open() as authority:
        assert authority.crl_due(7) == "the server has a newer one"
    engine.refuses("GET", CRL, "", 404)
    with controller.open() as authority:
        assert authority.crl_due(7) is None
    engine.has(revoked=[engine.certificate(order(), 0x1000)])
    with controller.open() as authority:
        assert authority.crl_due(7) == "it does not list what index.txt says is revoked"
    (controller.path / "crl.pem").unlink()
    with controller.open() as authority:
        assert authority.crl_due(7) == "there is none by this authority"


def test_a_young_crl_of_the_server_is_taken_as_it_is(controller, engine):
    engine.says("GET", CRL, {"crl": engine.crl(8)})
    with controller.open() as authority:
        assert authority.write_crl(30).number == 8
        assert authority.crl_state().number == 8
        assert authority.warnings == []
    assert engine.asked("crl/rotate") == []


def test_an_old_or_missing_crl_is_made_anew(controller, engine):
    engine.says("GET", "crl/rotate", {"success": True})
    for number, first in ((9, engine.crl(8, age=timedelta(days=20))), (10, "")):
        engine.says("GET", CRL, {"crl": first}, {"crl": engine.crl(number)})
        with controller.open() as authority:
            assert authority.write_crl(30).number == number
    assert len(engine.asked("crl/rotate")) == 2

    engine.says("GET", CRL, {"crl": ""})
    said = refused(controller, lambda authority: authority.write_crl(30))
    assert said.endswith("there is none; `bao write pki/config/crl disable=false`")


def test_who_is_missing_from_the_crl_is_revoked_again(controller, engine, order):
    engine.has(revoked=[engine.certificate(order(), 0x1000)])
    engine.says("GET", "crl/rotate", {"success": True})
    engine.says("POST", "revoke", {"revocation_time": 1_795_000_000})
    engine.says("GET", CRL, {"crl": engine.crl(8)}, {"crl": engine.crl(9, lists=["1000"])})
    with controller.open() as authority:
        assert authority.write_crl(30).entries == 1
    assert engine.asked("revoke") == [{"serial_number": "10:00"}]

    before = (controller.path / "crl.pem").read_bytes()
    engine.says("GET", CRL, {"crl": engine.crl(10)})
    assert "lacks 1000, which index.txt says are revoked" in refused(controller, lambda each: each.write_crl(30))
    assert (controller.path / "crl.pem").read_bytes() == before


def test_a_crl_that_no_host_could_use_is_not_taken(controller, engine, other_key):
    before = (controller.path / "crl.pem").read_bytes()
    engine.says("GET", "crl/rotate", {"success": True})
    engine.says("GET", CRL, {"crl": engine.crl(8, age=timedelta(days=31))})
    assert "expired on" in refused(controller, lambda authority: authority.write_crl(30))
    assert (controller.path / "crl.pem").read_bytes() == before


def test_a_clock_that_is_a_little_ahead_is_waited_for(controller, engine, monkeypatch):
    ahead = engine.crl(8, age=timedelta(seconds=-5))
    engine.says("GET", "crl/rotate", {"success": True})
    engine.says("GET", CRL, {"crl": ahead})
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        later(monkeypatch, seconds=seconds)

    monkeypatch.setattr(mirror, "time", types.SimpleNamespace(sleep=sleep))
    with controller.open() as authority:
        assert authority.write_crl(30).number == 8
    assert len(waited) == 1
    assert 0 < waited[0] <= 5

    engine.says("GET", CRL, {"crl": engine.crl(9, age=timedelta(minutes=-5))})
    assert "is valid from" in refused(controller, lambda authority: authority.write_crl(30))


@pytest.mark.parametrize(("days", "said"), [(10, "10 days"), (1, "24 hours")])
def test_a_crl_that_is_shorter_than_wanted_is_told(controller, engine, days, said):
    engine.says("GET", CRL, {"crl": engine.crl(8, days=days)})
    with controller.open() as authority:
        authority.write_crl(30)
        (warning,) = authority.warnings
    assert (
        f"its CRLs are valid for {said}, and 30 days are wanted; run `bao write pki/config/crl expiry=720h`" in warning
    )


def test_numbers_go_on_where_hosts_are(controller, engine):
    (controller.path / "crl.pem").write_text(engine.crl(20))
    engine.says("GET", "crl/rotate", {"success": True})
    engine.says("GET", CRL, *({"crl": engine.crl(number)} for number in (18, 19, 20, 21)))
    with controller.open() as authority:
        assert authority.write_crl(30).number == 21
    assert len(engine.asked("crl/rotate")) == 3


def test_a_server_that_does_not_count_is_asked_once(controller, engine):
    (controller.path / "crl.pem").write_text(engine.crl(20))
    engine.says("GET", "crl/rotate", {"success": True})
    engine.says("GET", CRL, {"crl": engine.crl(3)})
    with controller.open() as authority:
        assert authority.write_crl(30).number == 3
    assert len(engine.asked("crl/rotate")) == 1


def test_numbers_that_are_too_far_apart(controller, engine):
    before = engine.crl(5000)
    (controller.path / "crl.pem").write_text(before)
    engine.says("GET", CRL, {"crl": engine.crl(3)})
    said = refused(controller, lambda authority: authority.write_crl(30))
    assert "is number 3, and hosts have number 5000 from this CA and take none that is lower" in said
    assert (controller.path / "crl.pem").read_text() == before


def test_the_newest_crl_of_each_ca_above_goes_with_ours(engine, order, other_key, tmp_path):
    """From the mount, or the one that was here; a CA above of which there is none is named before hosts get that."""
    now = times.now()
    root = profiles.Issuer(
        profiles.ca_certificate(other_key, x509.Name.from_rfc4514_string("CN=Root"), 5, profiles.ca_validity(9, now)),
        other_key,
    )
    public = keys.public_der(engine.issuer.certificate.public_key())
    below = profiles.issued_certificate(root, order("CN=Below", profiles.INTERMEDIATE, public_key=public), 6)
    engine.issuer = profiles.Issuer(below, engine.issuer.key)
    chain = [each.public_bytes(mirror.serialization.Encoding.PEM).decode() for each in (below, root.certificate)]
    engine.says("GET", "issuer/default/json", {"ca_chain": chain})
    engine.says("GET", CRL, {"crl": engine.crl()})
    engine.says("LIST", "issuers", {"keys": ["not-yet", "root"]})
    controller = Controller(engine, tmp_path / "pki")

    def numbers_after_writing() -> list[int]:
        with controller.open() as authority:
            authority.write_crl(30)
        found = crls.parse_crls((controller.path / "crl.pem").read_bytes(), "crl.pem")
        return [crls.state_of(crl).number for crl in found if crls.is_by(crl, root.certificate)]

    controller.ensure()
    assert numbers_after_writing() == []
    with pytest.raises(
        MtlsError, match=r"crl\.pem: holds no CRL of CN=Root, and .*; name the file with that authority's CRL"
    ):
        read_crl(str(controller.path))

    engine.says("GET", "issuer/root/crl", {"crl": engine.crl(3, by=root)})
    assert numbers_after_writing() == [3]
    read_crl(str(controller.path))
    engine.refuses("GET", "issuer/root/crl", "", 404)
    assert numbers_after_writing() == [3]
    engine.says("GET", "issuer/root/crl", {"crl": engine.crl(2, by=root, age=timedelta(hours=1))})
    assert numbers_after_writing() == [3]
