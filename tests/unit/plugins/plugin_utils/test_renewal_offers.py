# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host hands out, by what it says of its callers."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import renewals
from ansible_collections.mtls.nginx.plugins.module_utils.site.inventory import AuthorityPlan
from ansible_collections.mtls.nginx.plugins.module_utils.site.renewal_notes import Notes
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.plugins.plugin_utils import renewal_offers

WEB = {"name": "web", "server_names": ["web.lan"], "upstream": "http://127.0.0.1", "self_renewal": True}
FETCHED = "2026-11-29T09:00:00Z"


class Host:
    def __init__(self, pki, *services):
        self.pki = pki
        self.services = parse_services("nas", list(services))
        self.answer = {"callers": []}
        self.asked = []

    def _ask(self, options):
        self.asked.append(options)
        return self.answer

    def sees(self, *callers):
        self.answer = {"callers": list(callers)}
        return self

    def what(self, check=False):
        authorities = {"": (str(self.pki.path), self.services)}
        return renewal_offers.RenewalOffers("nas", authorities, "/log", self._ask, check=check)

    def offers(self, check=False, plans=None):
        found = self.what(check).offers(lambda: plans or {})
        return [offer.renewal.client for offers in found.values() for offer in offers]

    @property
    def notes(self):
        return Notes(str(self.pki.path))


@pytest.fixture
def host(pki):
    return Host(pki, {**WEB, "allow": ["phone"]})


@pytest.fixture
def renewed(pki):
    """`phone` and `laptop` have a certificate that is still valid, and a next one."""
    pki.serve(Client("phone", days=20, renew_before=2), Client("laptop", days=20, renew_before=2))
    pki.serve(Client("phone", days=60, renew_before=30), Client("laptop", days=60, renew_before=30))
    return {renewal.client: renewal for renewal in renewals.pending(str(pki.path), None)}


@pytest.fixture
def warned(monkeypatch):
    warnings = []
    monkeypatch.setattr(renewal_offers.display, "warning", warnings.append)
    return warnings


def caller(serial, **said):
    return {"serial": serial, "status": 200, "last": "2026-11-29T10:00:00Z", "fetched": None, **said}


def test_nobody_is_asked_where_nothing_waits(host, pki):
    pki.serve(Client("phone", days=20, renew_before=2))
    assert host.offers() == []
    host.what().hear()
    assert host.asked == []


def test_only_whom_the_list_names(host, renewed):
    assert host.offers() == ["phone"]
    assert Host(host.pki, WEB).offers() == ["laptop", "phone"]
    assert Host(host.pki, {**WEB, "self_renewal": False}).offers() == []


def test_the_logs_of_server_blocks_of_ours_are_asked(host, renewed):
    snippet = {"name": "own", "server_names": ["own.lan"], "snippet": True, "self_renewal": True}
    other = {**WEB, "name": "other", "server_names": ["other.lan"], "self_renewal": False}
    both = Host(host.pki, WEB, snippet, other)
    both.offers()
    assert both.asked == [{"services": ["web", "other"], "host": "nas", "log_dir": "/log", "days": 1}]
    alone = Host(host.pki, snippet)
    assert len(alone.offers()) == 2
    assert alone.asked == []


def test_who_has_fetched_it_is_noted_and_who_uses_it_is_offered_it_no_more(host, renewed):
    phone = renewed["phone"]
    (old,) = phone.follows
    assert host.sees(caller(old, fetched=FETCHED)).offers() == ["phone"]
    assert host.notes.of(phone.serial).fetched == FETCHED
    assert host.sees(caller(phone.serial)).offers(check=True) == []
    assert host.notes.of(phone.serial).used is None
    assert host.offers() == []
    assert host.notes.of(phone.serial).used
    assert host.sees().offers() == []


def test_after_the_crl_it_is_noted_and_nothing_else(host, renewed):
    phone = renewed["phone"]
    assert [offer.renewal.client for offer in host.what().still_there()] == ["phone"]
    assert host.asked == []
    host.sees(caller(phone.serial)).what().hear()
    assert host.notes.of(phone.serial).used
    assert host.what().still_there() == []


def test_logs_that_cannot_be_read_are_a_warning(host, renewed, warned):
    host.answer = {"failed": True, "msg": "no such folder"}
    assert host.offers() == ["phone"]
    assert warned == ["nas: who has fetched a certificate is not known: no such folder"]


def test_notes_that_cannot_be_written_are_a_warning(host, renewed, warned, monkeypatch):
    def full(_self):
        raise OSError(28, "No space left on device", "renewals.json")

    monkeypatch.setattr(Notes, "save", full)
    assert host.offers() == ["phone"]
    assert "nas: who has fetched a certificate was not noted" in warned[0]


def test_the_crl_does_not_wait_for_a_file_that_is_damaged(host, renewed, warned):
    host.pki.file("phone", ".crt").write_text("damaged")
    assert host.what().still_there() is None
    host.what().hear()
    assert "nas: clients' next certificates were left as they are: " in warned[0]
    assert "nas: who has fetched a certificate is not known: " in warned[1]
    with pytest.raises(MtlsError):
        host.offers()


def test_check_mode_foresees_what_the_run_would_renew(host, pki):
    pki.serve(Client("phone", days=20, renew_before=2))
    plan = AuthorityPlan(str(pki.path), {"client_renew_before": 30}, "nas", clients=[{"name": "phone"}])
    assert host.offers(check=True, plans={str(pki.path): plan}) == ["phone"]
    assert host.offers(plans={str(pki.path): plan}) == []


def test_whose_p12_is_not_handed_out_is_said(host, renewed, warned):
    host.pki.file("phone", ".p12.password").write_text("my own\n")
    assert host.offers() == ["phone"]
    assert warned[0].startswith("client 'phone': its .p12 is not handed out at /.mtls/, because its password was not")
