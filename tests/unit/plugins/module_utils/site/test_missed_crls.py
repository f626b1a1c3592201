# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an authority has revoked, and a host's CRL does not list."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates
from ansible_collections.mtls.nginx.plugins.module_utils.site import missed_crls
from ansible_collections.mtls.nginx.plugins.module_utils.site.standing import Standing, TrustAnswer
from ansible_collections.mtls.nginx.tests.unit.support import later

SHORT = {"days": 10, "renew_before": 5}


class Fleet:
    """An authority, and the CRL that a host got before one client was revoked and another one put on hold."""

    def __init__(self, pki) -> None:
        self.pki = pki
        pki.serve(Client("phone", **SHORT), Client("pad", **SHORT))
        self.held = self.write()
        pki.serve(
            Client("phone", **SHORT, revoked=True), Client("pad", **SHORT, revoked=True, reason="certificateHold")
        )
        self.write()

    def write(self) -> bytes:
        with self.pki.open() as authority:
            authority.write_crl(30)
        return (self.pki.path / "crl.pem").read_bytes()

    @property
    def standings(self) -> list[Standing]:
        return [Standing.of("/etc/nginx", "", str(self.pki.path))]

    def said(self, held: bytes) -> list[str]:
        (standing,) = self.standings
        return missed_crls.describe([standing], {standing.crl_path: held}, times.now())


@pytest.fixture
def fleet(pki):
    return Fleet(pki)


def test_who_was_revoked_since_is_named(fleet):
    serials = {name: certificate_serial(fleet.pki, name) for name in ("phone", "pad")}
    (said,) = fleet.said(fleet.held)
    assert said.startswith(f"/etc/nginx/client-certs/crl.pem does not list what {fleet.pki.path} has revoked: ")
    for name, serial in serials.items():
        assert f"{name} ({serial})" in said
    assert said.endswith(". Whoever has such a certificate gets in")


def test_what_only_the_crl_knows_is_named_by_its_serial(fleet):
    serial = certificate_serial(fleet.pki, "phone")
    index = fleet.pki.path / "index.txt"
    index.write_text("".join(line for line in index.read_text().splitlines(True) if serial not in line))
    (said,) = fleet.said(fleet.held)
    assert f" {serial}" in said
    assert "phone" not in said


def test_an_older_crl_that_lists_them_all_is_as_good(fleet):
    held = (fleet.pki.path / "crl.pem").read_bytes()
    fleet.write()
    assert fleet.said(held) == []


def test_who_has_expired_since_gets_in_nowhere(fleet, monkeypatch):
    assert fleet.said(fleet.held)
    later(monkeypatch, days=11)
    assert fleet.said(fleet.held) == []


def test_a_host_without_a_crl_of_this_ca_lets_nobody_in(fleet):
    assert fleet.said(b"") == []


def test_only_another_crl_is_read(fleet):
    (standing,) = fleet.standings

    def answer(pem: bytes) -> TrustAnswer:
        return TrustAnswer({standing.crl_path: certificates.read(pem)}, 0.0)

    assert missed_crls.to_read([standing], answer(fleet.held)) == [standing]
    assert missed_crls.to_read([standing], answer((fleet.pki.path / "crl.pem").read_bytes())) == []
    assert missed_crls.to_read([standing], TrustAnswer({}, 0.0)) == []


def certificate_serial(pki, name: str) -> str:
    return next(serial for _state, _end, _revoked, serial, _file, subject in pki.index() if subject == f"/CN={name}")
