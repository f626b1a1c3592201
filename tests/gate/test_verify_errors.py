# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx logs of a certificate that it refuses is what the doctor explains."""

from __future__ import annotations

import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.mtls.nginx.plugins.module_utils.host import access_log
from ansible_collections.mtls.nginx.plugins.module_utils.site.verify_errors import explain, words_of

from . import pki
from .client import ask
from .test_crl_scope import KINDS, signed

STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")


@pytest.fixture(scope="module")
def people(authority, other_authority):
    lost = authority.client("lost by verify errors")
    authority.revoke(lost)
    admin, issuer, other = authority.client("admin").certificate.subject, authority.issuer, other_authority.issuer
    return {
        "revoked": lost,
        "expired": pki.forged(authority.path, admin, issuer, begins=-9, ends=-1),
        "early": pki.forged(authority.path, admin, issuer, begins=1, ends=9),
        "server": authority.server("nas.test"),
        "self-made": pki.forged(authority.path, admin),
        "stranger": other_authority.client("admin"),
        "stranger with its root": pki.forged(authority.path, admin, other, sent_along=[other.certificate]),
        "stranger, expired": pki.forged(authority.path, admin, other, begins=-9, ends=-1),
        "another key's": pki.forged(
            authority.path, admin, issuer, key_identifier=x509.AuthorityKeyIdentifier(b"another key", None, None)
        ),
        "with what OpenSSL does not know": pki.forged(authority.path, admin, issuer, critical=[STRANGE]),
        "by a client": pki.forged(
            authority.path, admin, pki.as_issuer(no_ca := authority.client("no CA")), sent_along=[no_ca.certificate]
        ),
        "good": authority.client("admin"),
    }


def error_of(host, who):
    """What nginx says in the access log, as the doctor reads it."""
    assert ask(host.port, tls="TLSv1.3", client=who).status == 400
    path, deadline = host.folder / "log" / "mtls-nas.access.log", time.monotonic() + 10
    while not (lines := path.read_bytes().splitlines()) and time.monotonic() < deadline:  # it is logged afterwards
        time.sleep(0.01)
    words = words_of(access_log.parse(lines[-1]).verify)
    assert words
    return explain(words)


def start(new_host, authority, server_certificate, crl):
    host = new_host()
    host.serve_as(server_certificate)
    host.ours([{"name": "nas", "server_names": ["nas.test"], "root": str(host.folder / "www")}], authority, crl=crl)
    return host.start()


@pytest.mark.parametrize(
    ("who", "numbers", "chains"),
    [
        ("revoked", {23}, False),
        ("expired", {10}, True),
        ("early", {9}, True),
        ("server", {26}, False),
        ("self-made", {3, 18}, True),
        ("stranger", {21}, True),
        ("stranger with its root", {3, 19}, True),
        ("stranger, expired", {10}, True),
        ("another key's", {3, 20, 21}, True),
        ("with what OpenSSL does not know", {34}, True),
        ("by a client", {32, 79}, True),
    ],
)
def test_ours_of_a_certificate(new_host, authority, server_certificate, people, who, numbers, chains):
    host = start(new_host, authority, server_certificate, authority.crl)
    error = error_of(host, people[who])
    assert error.number in numbers
    assert error.chains is chains


@pytest.mark.parametrize(
    ("crl", "number"),
    [
        ("of another CA", 3),
        ("expired", 12),
        ("an unknown critical extension", 36),
        ("another distribution point", 3),
        ("CA certificates only", 3),
    ],
)
def test_ours_of_a_crl(new_host, authority, other_authority, server_certificate, people, crl, number):
    """And what nginx says of a stranger is never taken for an error that proves whose certificate it is."""
    made = {
        "of another CA": lambda: other_authority.crl,
        "expired": lambda: pki.crl_of(authority.issuer, days=-1),
    }.get(crl, lambda: signed(authority.issuer, KINDS[crl]))()
    error = error_of(start(new_host, authority, server_certificate, made), people["good"])
    assert (error.number, error.by_crl) == (number, True)
    assert error_of(start(new_host, authority, server_certificate, made), people["stranger"]).chains


@pytest.mark.parametrize(("name", "status"), [("phone", 200), ("anna.smith", 400)])
def test_name_constraints_are_held_against_a_cn_that_looks_like_a_host_name(
    new_host, tmp_path, server_certificate, name, status
):
    own = pki.Authority(tmp_path / "limited", "Limited CA")
    limits = x509.NameConstraints([x509.DNSName("example.com")], None)
    limited = pki.forged(tmp_path, own.issuer.certificate.subject, ca=True, extensions=[limits])
    issuer = pki.as_issuer(limited)
    who = pki.forged(tmp_path, pki.subject(name), issuer)
    host = new_host()
    host.serve_as(server_certificate)
    chain = limited.certificate.public_bytes(serialization.Encoding.PEM).decode()
    service = {"name": "nas", "server_names": ["nas.test"], "root": str(host.folder / "www")}
    host.ours([service], own, chain=chain, crl=pki.crl_of(issuer))
    host.start()
    if status == 200:
        assert ask(host.port, tls="TLSv1.3", client=who).status == 200
    else:
        assert error_of(host, who).number == 47
