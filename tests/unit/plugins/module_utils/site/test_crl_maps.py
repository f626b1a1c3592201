# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CRL as nginx maps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.host.crl_lines import since
from ansible_collections.mtls.nginx.plugins.module_utils.site.crl_maps import ended_lines, revoked_lines

END = datetime(2026, 12, 3, 14, 0, 0, tzinfo=UTC)


def crl(end: datetime, *serials: int) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")])
    builder = x509.CertificateRevocationListBuilder(name, END - timedelta(days=90), end)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder(serial, END - timedelta(days=99)).build()
        builder = builder.add_revoked_certificate(entry)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def test_each_serial_has_one_line_though_two_authorities_have_revoked_it():
    lines = revoked_lines(crl(END, 0x0A, 0x1F) + crl(END, 0x0A, 0x100), "crl.pem").splitlines()
    assert lines == ["# Managed by mtls.nginx: the serials in crl.pem.", "0100 1;", "0A 1;", "1F 1;"]
    assert revoked_lines(crl(END), "crl.pem") == "# Managed by mtls.nginx: the serials in crl.pem.\n"


def test_the_first_end_of_several_counts():
    text = ended_lines(crl(END + timedelta(days=9)) + crl(END), "crl.pem")
    comment, line = text.splitlines()
    assert comment == "# Managed by mtls.nginx: from 2026-12-03T14:00:00Z on."
    key, value = line.rsplit(" ", 1)
    assert (key, value) == (f'"~{since(END)}"', "1;")
