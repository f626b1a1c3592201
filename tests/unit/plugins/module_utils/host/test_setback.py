# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a host takes, by what it has."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import setback

from .test_certificates import START, certificate, crl, name, pem

NOW = START.timestamp() + 3600
CA_PATH, CRL_PATH = "/etc/nginx/client-certs/ca.crt", "/etc/nginx/client-certs/crl.pem"
OTHER = ec.generate_private_key(ec.SECP256R1())
COMPROMISED, HOLD = x509.ReasonFlags.key_compromise, x509.ReasonFlags.certificate_hold


def refused(held, new, ca=None, now=NOW, **guard):
    """What is said of files that are to take the place of `held`, both by path; None when they may."""
    authority = setback.KnownAuthority("/srv/pki", CA_PATH, CRL_PATH, ca or pem(certificate()))
    try:
        setback.refuse(setback.Guard("host nas", authorities=[authority], **guard), new, now, held.get)
    except MtlsError as error:
        return error
    return None


def crls(*made):
    return {CRL_PATH: b"".join(map(pem, made))}


ROWS = {
    "the first": ({}, crls(crl(1)), None),
    "a newer one": (crls(crl(1)), crls(crl(2)), None),
    "an older one": (crls(crl(2)), crls(crl(1)), "host nas has CRL 2 of .* and /srv/pki has CRL 1, which is older"),
    "a number of two octets": (crls(crl(256)), crls(crl(255)), "CRL 256 .* CRL 255"),
    "the same number, other entries": (
        crls(crl(2)),
        crls(crl(2, [(7, None)])),
        "another content under the same number",
    ),
    "the same, signed once more": (crls(crl(2, [(7, None)])), crls(crl(2, [(7, None)])), None),
    "one of a CA that is no longer trusted": (crls(crl(9, key=OTHER)), crls(crl(1)), None),
    "two authorities, one goes back": (
        crls(crl(2), crl(7, key=OTHER)),
        crls(crl(3), crl(6, key=OTHER)),
        "CRL 7 .*CRL 6",
    ),
    "two authorities, one stays": (crls(crl(2), crl(7, key=OTHER)), crls(crl(3)), None),
    "of several by one CA the newest counts": (crls(crl(3), crl(1)), crls(crl(2), crl(1)), "CRL 3 .*CRL 2"),
    "several by one CA, in another order": (crls(crl(1), crl(3)), crls(crl(3), crl(1)), None),
    "no number: the beginning counts": (
        crls(crl(begin=START)),
        crls(crl(begin=START - timedelta(days=1))),
        r"the CRL of 2024-05-06T07:08:09Z .*the CRL of 2024-05-05T07:08:09Z, which is older",
    ),
    "no number, and newer": (crls(crl(begin=START - timedelta(days=1))), crls(crl(begin=START)), None),
    "a number that is gone": (crls(crl(5)), crls(crl(begin=START - timedelta(days=1))), "older"),
    "what cannot be read was good for nobody": ({CRL_PATH: b"junk"}, crls(crl(1)), None),
    "somebody is forgotten": (crls(crl(2, [(7, COMPROMISED)])), crls(crl(3)), "lists 07 as revoked"),
    "a hold was released": (crls(crl(2, [(7, HOLD)])), crls(crl(3)), None),
    "still listed": (crls(crl(2, [(7, None)])), crls(crl(3, [(7, None), (8, None)])), None),
    "forgotten, with the CA itself": (crls(crl(2, [(7, None)], key=OTHER)), crls(crl(3)), None),
}


@pytest.mark.parametrize(("held", "new", "said"), ROWS.values(), ids=ROWS)
def test_crls(held, new, said):
    error = refused(held, new)
    assert error is None if said is None else error is not None
    if said:
        assert re.search(said, str(error)), error
        assert "mtls.nginx.recover" in str(error)


def test_who_is_forgotten_can_be_explained():
    held, new = crls(crl(2, [(7, None), (8, None)])), crls(crl(3))
    assert refused(held, new).result == {"forgotten": dict.fromkeys(("07", "08"), "CN=Root CA,O=Peña & Söhne,C=ES")}
    assert refused(held, new, forgettable=["07"]).result["forgotten"].keys() == {"08"}
    assert refused(held, new, forgettable=["07", "08"]) is None


def test_any_file_of_crls_is_looked_at_whoever_calls():
    path = "/etc/nginx/own.pem"
    with pytest.raises(MtlsError, match=r"this host has CRL 2 of .* in /etc/nginx/own\.pem, and the new file"):
        setback.refuse(setback.Guard(), {path: pem(crl(1))}, NOW, {path: pem(crl(2))}.get)


def test_cas():
    ours, others = pem(certificate()), pem(certificate(key=OTHER))
    renewed = pem(certificate())
    assert renewed != ours
    assert refused({}, {CA_PATH: ours}) is None
    assert refused({CA_PATH: ours}, {CA_PATH: renewed}, ca=renewed) is None
    assert refused({CA_PATH: ours}, {CA_PATH: ours + others}, ca=ours + others) is None
    assert refused({CA_PATH: ours + others}, {CA_PATH: others}, ca=others) is None
    said = str(refused({CA_PATH: others}, {CA_PATH: ours}, ca=ours))
    assert said.count("(SHA-256 ") == 2
    assert "the authority in /srv/pki is CN=Root CA" in said
    assert "mtls_replace_authority" in said
    assert refused({CA_PATH: others}, {CA_PATH: ours}, ca=ours, replace_authority=True) is None
    # A CRL alone, for another CA than the host trusts.
    assert refused({CA_PATH: others}, crls(crl(1)), ca=ours) is not None


def test_the_clock():
    begin, end = START.timestamp(), crl().next_update_utc.timestamp()
    new = crls(crl(1))
    assert refused({}, new, now=begin) is None
    assert refused({}, new, now=end - 1) is None
    early = str(refused({}, new, now=begin - 1, clock=begin + 7200))
    assert "the clock of host nas says 2024-05-06T07:08:08Z, 2 hours behind that of the controller" in early
    assert "is not valid before 2024-05-06T07:08:09Z" in early
    assert "has expired, on 2050" in str(refused({}, new, now=end, clock=begin))
    assert "says 2024-05-06T07:08:08Z. By that clock" in str(refused({}, new, now=begin - 1))
    # By neither clock: that is not the clock's fault, and was looked at before.
    assert refused({}, new, now=begin - 2, clock=begin - 1) is None


def test_names_are_shown_and_cannot_break_a_line():
    strange = pem(certificate(name((x509.NameOID.COMMON_NAME, "a\n\x1b[31mb")), key=OTHER))
    said = str(refused({CA_PATH: strange}, {CA_PATH: pem(certificate())}))
    assert said.isprintable()


def test_what_the_controller_says():
    authority = {"directory": "/srv/pki", "ca": CA_PATH, "crl": CRL_PATH, "certificates": "PEM"}
    options = {
        "host": "nas",
        "clock": 1.5,
        "authorities": [authority],
        "replace_authority": True,
        "forgettable": ["07"],
    }
    known = setback.KnownAuthority("/srv/pki", CA_PATH, CRL_PATH, b"PEM")
    assert setback.Guard.of(options) == setback.Guard("nas", 1.5, [known], True, ["07"])


@pytest.mark.parametrize(
    ("count", "shown"), [(1, "01"), (5, "01, 02, 03, 04, 05"), (7, "01, 02, 03, 04, 05 and 2 more")]
)
def test_the_first_of_many_forgotten_are_named(count, shown):
    error = refused(crls(crl(2, [(serial, None) for serial in range(1, count + 1)])), crls(crl(3)))
    assert f" lists {shown} as revoked, " in str(error)
    assert len(error.result["forgotten"]) == count


SECOND = "/etc/nginx/client-certs/other.pem"
BEFORE_IT = {
    "no CRL": ({}, {CRL_PATH: b"nothing"}),
    "a CRL that is the first": ({}, crls(crl(1))),
    "a newer CRL": (crls(crl(1)), crls(crl(2))),
}


@pytest.mark.parametrize("what", BEFORE_IT)
def test_each_file_is_looked_at_whatever_comes_before_it(what):
    held, new = BEFORE_IT[what]
    error = refused({**held, SECOND: pem(crl(2))}, {**new, SECOND: pem(crl(1))})
    assert f"host nas has CRL 2 of CN=Root CA,O=Peña & Söhne,C=ES in {SECOND}, and the new file has CRL 1" in str(error)


OTHERS_FIRST = {
    "unchanged": (crl(2), crl(2)),
    "without a number, of the same time": (crl(None, [(7, None)]), crl(None, [(7, None), (8, None)])),
    "gone": (crl(2), None),
}


@pytest.mark.parametrize("what", OTHERS_FIRST)
def test_each_crl_of_a_file_is_looked_at_whatever_comes_before_it(what):
    held, new = OTHERS_FIRST[what]
    older, newer = (crl(number, key=OTHER, issuer=name((x509.NameOID.COMMON_NAME, "other"))) for number in (6, 7))
    error = refused(crls(held, newer), crls(*filter(None, [new]), older))
    assert "has CRL 7 of CN=other" in str(error)


@pytest.mark.parametrize("number", [0, 1])
def test_of_several_by_one_ca_those_with_numbers_count(number):
    later = crl(None, begin=START + timedelta(hours=1))
    error = refused(crls(crl(2)), crls(later, crl(number)))
    assert f"and /srv/pki has CRL {number}, which is older" in str(error)
    assert refused(crls(crl(2)), crls(later, crl(3))) is None


def test_the_clock_and_each_of_several():
    early = crl(1, key=OTHER, begin=START + timedelta(days=1))
    said = str(refused({}, crls(crl(1), early), clock=NOW + 2 * 86400))
    assert f"By that clock the CRL in {CRL_PATH} is not valid before 2024-05-07T07:08:09Z, and nginx" in said
    said = str(refused({}, {}, now=START.timestamp() - 1))
    assert f"By that clock the CA certificate in {CA_PATH} is not valid before 2024-05-06T07:08:09Z, and nginx" in said
    assert "2 days ahead of that of the controller" in str(
        refused(
            {},
            {},
            now=certificate().not_valid_after_utc.timestamp() + 3600,
            clock=certificate().not_valid_after_utc.timestamp() - 2 * 86400,
        )
    )


def test_a_clock_that_is_off_by_more_than_certificates_allow_for():
    assert [setback.clock_warning("nas", offset) for offset in (0, 600, -600)] == [None] * 3
    ahead, behind = setback.clock_warning("nas", 601), setback.clock_warning("nas", -601)
    assert "the clock of nas is 10 minutes ahead of that of the controller, so that certificates and the CRL" in ahead
    assert "the clock of nas is 10 minutes behind that of the controller, so that what is issued now" in behind


def test_cas_are_named_by_their_fingerprints():
    ours, others = certificate(), certificate(key=OTHER)
    shown = {
        one: "CN=Root CA,O=Peña & Söhne,C=ES (SHA-256 {})".format(one.fingerprint(hashes.SHA256()).hex(":").upper())
        for one in (ours, others)
    }
    third = certificate(key=ec.generate_private_key(ec.SECP256R1()))
    said = str(refused({CA_PATH: pem(ours) + pem(others)}, {}, ca=pem(third)))
    assert f"host nas trusts {shown[ours]} and {shown[others]}, in {CA_PATH}, and the authority in /srv/pki is" in said
