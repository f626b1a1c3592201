# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers that nobody may send, and the one in which a certificate goes on. nginx reads both in tests/gate."""

from __future__ import annotations

import base64
import re

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.mtls.nginx.plugins.module_utils.site.identity_headers import FORGEABLE, SOURCES, pem


def test_each_name_is_one_that_nginx_passes_on():
    """RFC 9110, 5.6.2, without what nginx drops (underscores_in_headers, ignore_invalid_headers)."""
    assert [name for name in FORGEABLE if not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", name)] == []


def test_each_name_is_there_once_and_none_is_ours():
    assert len({name.lower() for name in FORGEABLE}) == len(FORGEABLE)
    assert set(FORGEABLE) == {name for names in SOURCES.values() for name in names}
    ours = {"x-ssl-client-verify", "x-ssl-client-dn", "x-ssl-client-serial", "x-ssl-client-fingerprint"}
    assert ours.isdisjoint(name.lower() for name in FORGEABLE)


def one_line(text: str) -> str | None:
    """What the map yields of a certificate; PCRE writes named groups without the P."""
    found = re.search(pem().expression.replace("(?<", "(?P<"), text)
    return found and re.sub(r"\$\{(\w+)\}", lambda name: found[name[1]] or "", pem().base64)


def test_a_certificate_becomes_one_line(pristine):
    certificate = x509.load_pem_x509_certificate((pristine / "ca.crt").read_bytes())
    text = certificate.public_bytes(serialization.Encoding.PEM).decode()
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert one_line(text) == base64.b64encode(der).decode()


def test_of_a_certificate_that_is_too_large_nothing_is_left():
    def lines(number: int) -> str:
        body = "".join("A" * 64 + "\n" for _line in range(number))
        return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"

    assert one_line(lines(96)) == "A" * 64 * 96
    assert one_line(lines(97)) is None
