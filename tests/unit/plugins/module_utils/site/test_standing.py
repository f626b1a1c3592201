# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller makes of what a host has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates, setback
from ansible_collections.mtls.nginx.plugins.module_utils.site.standing import (
    Standing,
    TrustAnswer,
    check,
    clock_offset,
    expected,
    guard_options,
    may_forget,
)
from ansible_collections.mtls.nginx.tests.unit.support import later

ISSUER = "CN=Test CA,O=Acme,C=ES"


def standing(pki):
    return Standing.of("/etc/nginx", "", str(pki.path))


def answer(held=None, clock=1000.0, before=999.0, after=1001.0):
    trust = {"clock": clock, "held": {path: certificates.read(pem).as_answer() for path, pem in (held or {}).items()}}
    return TrustAnswer.of(trust, before, after)


def test_the_clock_is_as_good_as_the_call_was_short():
    assert clock_offset(1000, 999, 1001) == 0
    assert clock_offset(990, 999, 1001) == -9
    assert clock_offset(1010, 999, 1001) == 9


@pytest.mark.parametrize(
    "trust",
    [
        {},
        {"clock": None, "held": {}},
        {"clock": 1, "held": []},
        {"clock": "x", "held": {}},
        {"clock": 1, "held": {"/a": {"certificates": [{}]}}},
    ],
)
def test_a_host_that_says_something_else(trust):
    with pytest.raises(MtlsError, match="the host does not say what it trusts"):
        TrustAnswer.of(trust, 0, 1)


def test_what_is_there_already_needs_no_look(pki):
    here = standing(pki)
    fingerprints = expected([here])
    assert list(fingerprints) == ["/etc/nginx/client-certs/ca.crt", "/etc/nginx/client-certs/crl.pem"]
    assert all(text.startswith("0644 ") for text in fingerprints.values())
    assert check("nas", answer(), [here], 1000.0, replace_authority=False) is None


def test_what_the_transaction_is_told(pki, tmp_path):
    here, nowhere = standing(pki), Standing.of("/etc/nginx", "other", str(tmp_path / "nowhere"))
    for replacing in (False, True):
        told = setback.Guard.of(guard_options("nas", [nowhere, here], 1000.0, replace_authority=replacing))
        known = setback.KnownAuthority(here.directory, here.ca_path, here.crl_path, here.chain)
        assert told == setback.Guard("host nas", 1000.0, [known], replace_authority=replacing)


def test_an_older_directory_and_one_that_is_not_there(pki, tmp_path):
    older = standing(pki)
    with pki.open() as authority:
        authority.write_crl(30)
    newer = standing(pki)
    ahead = answer({newer.ca_path: newer.chain, newer.crl_path: newer.crl})
    with pytest.raises(MtlsError, match=f"host nas has CRL 2 of {ISSUER} .* has CRL 1, which is older"):
        check("nas", ahead, [older], 1000.0, replace_authority=False)
    assert check("nas", ahead, [newer], 1000.0, replace_authority=False) is None
    nowhere = Standing.of("/etc/nginx", "", str(tmp_path / "nowhere"))
    with pytest.raises(MtlsError, match=f"there is no authority in {tmp_path}/nowhere"):
        check("nas", ahead, [nowhere], 1000.0, replace_authority=False)
    assert check("nas", ahead, [nowhere], 1000.0, replace_authority=True) is None


def test_a_clock_that_is_off_is_told_or_refused(pki):
    here = standing(pki)
    ca = certificates.read(here.chain).certificates[0]
    now = ca.begin + 10 * 86400.0
    warning = check("nas", answer(clock=now - 3600, before=now, after=now), [here], now, replace_authority=False)
    assert "the clock of host nas is 60 minutes behind that of the controller" in warning
    for each in (here, replace(here, crl=None)):
        with pytest.raises(MtlsError, match="10 days behind that of the controller"):
            check("nas", answer(clock=ca.begin - 1, before=now, after=now), [each], now, replace_authority=False)
    nothing_yet = replace(here, chain=None, crl=None)
    assert check("nas", answer(clock=ca.begin - 1, before=now, after=now), [nothing_yet], now, replace_authority=False)


def test_only_what_has_expired_may_be_forgotten(pki, monkeypatch):
    pki.serve(Client("phone", days=5, renew_before=1))
    serial = pki.index()[-1][3]
    here = standing(pki)
    assert not may_forget({serial: ISSUER}, [here])
    assert not may_forget({"0ABC": ISSUER}, [here])
    assert may_forget({"0ABC": "CN=a CA above"}, [here])
    later(monkeypatch, days=6)
    assert may_forget({serial: ISSUER}, [here])
    assert not may_forget({serial: ISSUER, "0ABC": ISSUER}, [here])
    # Who keeps the record elsewhere counts no numbers here.
    (pki.path / "crlnumber").unlink()
    assert may_forget({"0ABC": ISSUER}, [here])
