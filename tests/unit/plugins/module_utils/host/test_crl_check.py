# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which CRLs may take the place of those that a host has; who signed them, openssl says."""

from __future__ import annotations

import datetime
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto.numbers import hexadecimal
from ansible_collections.mtls.nginx.plugins.module_utils.common import der
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates, crl_check
from ansible_collections.mtls.nginx.tests.gate import pki

URL = "http://crl.test/crl.pem"
DAY = 86400
A_DAY = datetime.timedelta(days=1)
TODAY = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
YESTERDAY = (TODAY - A_DAY).date().isoformat()
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")


@pytest.fixture
def authority(tmp_path):
    return pki.Authority(tmp_path / "pki", "Devices")


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """An authority that issues nothing, and revokes nobody."""
    return pki.Authority(tmp_path_factory.mktemp("settled") / "pki", "Devices")


@pytest.fixture
def held(authority):
    """The first CRL, which a host has; the authority has revoked somebody since."""
    first = authority.crl.encode()
    authority.revoke(authority.client("phone"))
    return first


def check(authority, new, held, *, now=None, ca=None):
    return crl_check.check(URL, new, held, (ca or authority.chain).encode(), time.time() if now is None else now)


def refused(*arguments, **options):
    with pytest.raises(MtlsError) as caught:
        check(*arguments, **options)
    return str(caught.value)


def test_a_newer_one_is_taken(authority, held):
    new = authority.crl.encode()
    assert check(authority, new, held) == new
    assert list(certificates.revoked(new)[0][1]) == [hexadecimal(authority.client("phone").certificate.serial_number)]


def test_the_same_one_is_the_one_on_the_host_whatever_is_around_it(authority, held):
    assert check(authority, b"text of somebody's\n" + held, held) == held


def test_an_older_one(authority, held):
    said = refused(authority, held, authority.crl.encode())
    assert said.startswith(f"{URL}: has CRL 1 of CN=Devices,O=Acme, and this host has CRL 2, which is newer;")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>log in</html>", "is a web page"),
        (b"", "is not a CRL in PEM"),
        (b"-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n", "damaged or cut off"),
        (b"-----BEGIN X509 CRL-----\nMA==\n-----END X509 CRL-----\n", "damaged or cut off"),
        (b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n", "damaged or cut off"),
    ],
)
def test_something_else(authority, held, content, said):
    assert said in refused(authority, content, held)


def test_a_certificate_among_them(authority, held):
    said = refused(authority, (authority.crl + authority.chain).encode(), held)
    assert "has a CERTIFICATE in it, and must contain CRLs only" in said
    more = b"-----BEGIN DH PARAMETERS-----\nMA==\n-----END DH PARAMETERS-----\n"
    assert "has a CERTIFICATE in it" in refused(authority, (authority.crl + authority.chain).encode() + more, held)


@pytest.mark.parametrize("octets", [0, 1, 2, 3, 4])
def test_one_that_was_cut_off(authority, held, octets):
    """At the end of a line too, where what is left can be decoded."""
    lines = authority.crl.encode().splitlines(keepends=True)
    rest = b"".join(lines[:3]) + lines[3][:octets]
    assert "damaged or cut off" in refused(authority, rest + b"\n-----END X509 CRL-----\n", held)


def test_another_ca_of_the_same_name(authority, held, tmp_path):
    other = pki.Authority(tmp_path / "other", "Devices")
    other.revoke(other.client("phone"))
    said = refused(authority, other.crl.encode(), held)
    assert "the CRL of CN=Devices,O=Acme was not signed by a CA that this host trusts" in said


def test_each_ca_of_the_host_needs_one(authority, held, tmp_path):
    other = pki.Authority(tmp_path / "other", "Second")
    said = refused(authority, authority.crl.encode(), held, ca=authority.chain + other.chain)
    assert "there is no CRL of CN=Second,O=Acme, which this host trusts, and nginx would refuse every client" in said


def crl(issuer, *extensions, number=2, begin=0, end=5):
    """A CRL with these extensions, each with whether it is critical; it begins and ends days from today's midnight."""
    made = x509.CertificateRevocationListBuilder(issuer.certificate.subject, TODAY + begin * A_DAY, TODAY + end * A_DAY)
    numbered = [(x509.CRLNumber(number), False)] if number is not None else []
    for extension, critical in (*numbered, *extensions):
        made = made.add_extension(extension, critical)
    return made.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def point(url):
    names = [x509.UniformResourceIdentifier(url)]
    return x509.IssuingDistributionPoint(names, None, False, False, None, False, False), True


@pytest.mark.parametrize(
    ("held", "new", "said"),
    [
        ((), (), None),
        ((), (point("http://a.test"),), "has another scope (issuingDistributionPoint) than the one on this host"),
        ((point("http://a.test"),), (), "has another scope (issuingDistributionPoint) than the one on this host"),
        ((point("http://a.test"),), (point("http://b.test"),), "has another scope (issuingDistributionPoint)"),
        ((point("http://a.test"),), (point("http://a.test"),), None),
        ((), ((x509.DeltaCRLIndicator(1), True),), "is a delta CRL, which lists changes only"),
        ((), ((UNKNOWN, True),), "has a critical extension that nginx does not know"),
        ((), ((UNKNOWN, False),), None),
    ],
)
def test_what_it_covers(settled, held, new, said):
    before, after = crl(settled.issuer, *held, number=1), crl(settled.issuer, *new)
    if said:
        assert f"{URL}: the CRL of CN=Devices,O=Acme {said}" in refused(settled, after, before)
    else:
        assert check(settled, after, before) == after


def test_of_a_ca_of_which_the_host_has_none_it_must_be_complete(authority, tmp_path):
    second = pki.Authority(tmp_path / "second", "Second")
    ca, before = authority.chain + second.chain, crl(authority.issuer, point("http://a.test"))
    both = before + crl(second.issuer)
    assert check(authority, both, before, ca=ca) == both
    said = refused(authority, before + crl(second.issuer, point("http://a.test")), before, ca=ca)
    assert f"{URL}: the CRL of CN=Second,O=Acme has another scope" in said


@pytest.mark.parametrize(
    ("held", "new", "said"),
    [
        ({"number": 9}, {"number": 10, "begin": -1}, None),
        ({"number": 10}, {"number": 9}, "has CRL 9 of CN=Devices,O=Acme, and this host has CRL 10, which is newer"),
        (
            {"number": 9},
            {"number": 9, "end": 6},
            "has CRL 9 of CN=Devices,O=Acme with another content than this host, under the same number",
        ),
        ({"number": 0, "begin": -1}, {"number": 0}, "has CRL 0 of CN=Devices,O=Acme with another content"),
        ({"number": None, "begin": -1}, {"number": None}, None),
        (
            {"number": None},
            {"number": None, "begin": -1},
            f"has the CRL of {YESTERDAY}T00:00:00Z of CN=Devices,O=Acme, and this host has the CRL of",
        ),
        ({"number": None}, {"number": None, "end": 6}, "with another content than this host"),
        # With a number on one side only, the date counts.
        ({"number": 9}, {"number": None, "begin": -1}, "and this host has CRL 9, which is newer"),
        ({"number": None}, {"number": 9, "begin": -1}, "has CRL 9 of CN=Devices,O=Acme, and this host has the CRL of"),
        ({"number": 9, "begin": -1}, {"number": None}, None),
        ({"number": None, "begin": -1}, {"number": 0}, None),
    ],
)
def test_which_is_newer(settled, held, new, said):
    before, after = crl(settled.issuer, **held), crl(settled.issuer, **new)
    if said:
        told = refused(settled, after, before)
        assert f"{URL}: {said}" in told or said in told
    else:
        assert check(settled, after, before) == after


def test_one_of_each_ca_in_any_order(authority, held, tmp_path):
    """A CA's CRL is compared with that of the same CA."""
    second = pki.Authority(tmp_path / "second", "Second")
    old, ca = crl(second.issuer, number=9), authority.chain + second.chain
    assert check(authority, held + old, old + held, ca=ca) == old + held
    new = authority.crl.encode()
    assert check(authority, old + new, held + old, ca=ca) == old + new
    said = refused(authority, new + crl(second.issuer, number=8), held + old, ca=ca)
    assert "has CRL 8 of CN=Second,O=Acme, and this host has CRL 9, which is newer" in said
    assert "has two CRLs of CN=Second,O=Acme" in refused(authority, new + old + old, held + old, ca=ca)


def test_both_keys_of_a_renewed_ca(authority, tmp_path):
    """The host trusts either, each with its own CRL of the same name; openssl takes the first certificate of a name."""
    twin = pki.Authority(tmp_path / "twin", "Devices")
    keyed = [(each.issuer.key_identifier, False) for each in (authority, twin)]
    first, second = crl(authority.issuer, keyed[0]), crl(twin.issuer, keyed[1])
    ca = authority.chain + twin.chain
    assert check(authority, first + second, first, ca=ca) == first + second
    said = refused(authority, second, first, ca=authority.chain)
    assert "was not signed by a CA that this host trusts" in said


def test_the_first_and_the_last_second(settled):
    new = crl(settled.issuer, begin=-1, end=1)
    begin, end = ((TODAY + days * A_DAY).timestamp() for days in (-1, 1))
    for now in (begin, end - 1):
        assert check(settled, new, b"", now=now) == new
    assert f"is valid from {YESTERDAY}T00:00:00Z on, and" in refused(settled, new, b"", now=begin - 1)
    assert "expired on" in refused(settled, new, b"", now=end)


@pytest.mark.parametrize(("days", "said"), [(-2, "is valid from"), (12, "expired on")])
def test_a_clock_that_is_off(authority, held, days, said):
    told = refused(authority, authority.crl.encode(), held, now=time.time() + days * DAY)
    assert said in told
    assert "and the clock of this host says" in told
    assert "Set the clock if it is wrong" in told


def test_one_that_never_ends(authority, held):
    """nextUpdate is optional in X.509, and RFC 5280 (5.1.2.5) requires it."""
    (whole,) = der.elements(ssl.PEM_cert_to_DER_cert(authority.crl.replace("X509 CRL", "CERTIFICATE")))
    listed, algorithm, signature = der.elements(whole.content)
    fields = [field.encoded for field in der.elements(listed.content)]
    del fields[4]
    shorter = der.encode(der.SEQUENCE, b"".join(fields))
    encoded = der.encode(der.SEQUENCE, shorter + algorithm.encoded + signature.encoded)
    pem = ssl.DER_cert_to_PEM_cert(encoded).replace("CERTIFICATE", "X509 CRL")
    assert "the CRL of CN=Devices,O=Acme has no end date" in refused(authority, pem.encode(), held)


def test_two_of_one_issuer(authority, held):
    assert "has two CRLs of CN=Devices,O=Acme" in refused(authority, authority.crl.encode() + held, held)


def test_openssl_is_missing(authority, held, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "the program openssl, which checks the CRL, is missing" in refused(authority, authority.crl.encode(), held)


def test_openssl_that_comes_to_no_end(authority, held, monkeypatch, tmp_path):
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(crl_check, "_OPENSSL_SECONDS", 0.1)
    said = refused(authority, authority.crl.encode(), held)
    assert "openssl did not finish in time; what this host has stays" in said


def test_the_hosts_own_cas_are_damaged(authority, held):
    said = refused(authority, authority.crl.encode(), held, ca=authority.chain.replace("M", "!", 1))
    assert said == "the CA certificates of this host are damaged; run mtls.nginx.site"


def test_what_is_no_longer_listed(authority, held):
    more = authority.crl.encode()
    assert crl_check.no_longer_listed(held, more) == list(certificates.revoked(more)[0][1])
    assert crl_check.no_longer_listed(more, held) == []
