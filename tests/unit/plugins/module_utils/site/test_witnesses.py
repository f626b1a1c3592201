# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is sent to a service's gate: real certificates of each kind, and a forged one."""

from __future__ import annotations

import pathlib

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.plugins.module_utils.site.witnesses import Witnesses
from ansible_collections.mtls.nginx.tests.authorities import new_authority
from ansible_collections.mtls.nginx.tests.unit.support import Pki, later

NAS = {"name": "nas", "server_names": ["nas.lan"], "upstream": "http://127.0.0.1:1"}


def service(**options):
    (parsed,) = parse_services("web", [{**NAS, **options}])
    return parsed


def expected(attempts):
    return [(attempt.who, attempt.expect) for attempt in attempts]


NOBODY = ("nobody (no certificate)", 400)
FORGED = ("somebody with the name of 'phone' from a CA of the same name", 400)


@pytest.fixture
def ours(pki):
    pki.serve(Client("phone"), Client("guest"), Client("lost"))
    pki.serve(Client("phone"), Client("guest"), Client("lost", revoked=True))
    return Witnesses.load(str(pki.path))


def test_one_of_each_kind(ours):
    with ours.attempts(service(allow=["phone"])) as attempts:
        assert expected(attempts) == [
            NOBODY,
            ("client 'phone', who may enter,", 204),
            ("client 'guest', who is not on the allow list,", 403),
            ("client 'lost', who is revoked,", 400),
            FORGED,
        ]


def test_without_an_allow_list_everybody_may_enter(ours):
    with ours.attempts(service()) as attempts:
        assert [status for _who, status in expected(attempts)] == [400, 204, 400, 400]


def test_the_page_is_asked_for_as_who_is_let_in(ours, pki):
    found = ours.page_attempt(service(allow=["phone"], probe_path="/health"))
    assert (found.who, found.path, found.expect) == ("client 'phone'", "/health", None)
    assert (found.certificate, found.key) == tuple(str(pki.file("phone", kind)) for kind in (".crt", ".key"))
    assert ours.page_attempt(service(allow=["phone"], probe_path="none")) is None
    assert ours.page_attempt(service(allow=["lost"])) is None
    assert ours.page_attempt(service(allow=[])) is None
    pki.file("phone", ".key").unlink()
    assert ours.page_attempt(service(allow=["phone"])) is None


@pytest.mark.parametrize(("listed", "sent"), [("guest", "guest"), ("phone", "phone"), ("lost", None)])
def test_nobody_is_sent_to_a_page_whose_own_list_names_others(ours, listed, sent):
    nas = service(allow=["guest", "phone"], probe_path="/a/b", paths=[{"path": "/a/", "allow": [listed]}])
    found = ours.page_attempt(nas)
    assert (found and found.who) == (sent and f"client '{sent}'")
    # Whom the gate must let in is the same client, as it is the gate's answer that opens the way.
    with ours.attempts(nas) as attempts:
        assert f"client '{sent or 'guest'}', who may enter," in dict(expected(attempts))


def test_the_forged_certificate_has_the_names_and_another_key(ours, pki):
    with ours.attempts(service(allow=["phone"])) as attempts:
        forged = pathlib.Path(attempts[-1].certificate)
        assert forged.stat().st_mode & 0o777 == 0o600
        made = x509.load_pem_x509_certificate(forged.read_bytes())
    real = x509.load_pem_x509_certificate(pki.file("phone", ".crt").read_bytes())
    assert (made.subject, made.issuer) == (real.subject, real.issuer)
    assert made.public_key() != real.public_key()
    assert not forged.exists()


def test_only_those_whose_key_is_here_can_be_sent(ours, pki):
    pki.file("phone", ".key").unlink()
    with ours.attempts(service(allow=["phone"])) as attempts:
        assert "client 'phone', who may enter," not in dict(expected(attempts))
        assert FORGED not in expected(attempts)


def test_who_has_expired_is_not_sent(ours, monkeypatch):
    later(monkeypatch, days=400)
    with ours.attempts(service()) as attempts:
        assert expected(attempts) == [NOBODY, ("client 'lost', who is revoked,", 400)]


def test_for_a_new_crl_the_allow_list_does_not_count(ours):
    assert expected(ours.certificate_attempts()) == [
        NOBODY,
        ("client 'guest', whose certificate is good,", None),
        ("client 'lost', who is revoked,", 400),
    ]


def test_strangers_come_from_other_authorities_only(ours, tmp_path):
    new_authority(tmp_path / "other", {"CN": "Other CA"})
    other = Pki(tmp_path / "other")
    other.serve(Client("spy"))
    strangers = Witnesses.load(str(other.path))
    assert expected(strangers.strangers(ours)) == [("client 'spy' of another authority", probe.NO_OR_BAD_CERTIFICATE)]
    assert ours.strangers(ours) == []
    with ours.attempts(service(), [strangers]) as attempts:
        assert ("client 'spy' of another authority", 400) in expected(attempts)


def test_during_a_rollover_who_has_moved_comes_too(pki):
    pki.serve(Client("phone"))
    following = pki.path / "next"
    new_authority(following, {"CN": "Next CA"})
    Pki(following).serve(Client("phone"))
    with Witnesses.load(str(pki.path)).attempts(service(allow=["phone"])) as attempts:
        assert ("client 'phone' with a certificate of the next authority", 204) in expected(attempts)


def test_a_client_that_a_list_has_by_its_subject_may_enter(ours):
    nas = service(allow=[{"dn": "CN=Phone"}], probe_path="/a/b", paths=[{"path": "/a/", "allow": [{"dn": "CN=phone"}]}])
    with ours.attempts(nas) as attempts:
        assert [one for one in expected(attempts) if one[1] in (204, 403)] == [
            ("client 'phone', who may enter,", 204),
            ("client 'guest', who is not on the allow list,", 403),
        ]
    assert ours.page_attempt(nas).who == "client 'phone'"
