# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.host.end_dates import earliest_end, latest_begin, render
from ansible_collections.mtls.nginx.plugins.module_utils.host.request import Textfile

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])
KEY = ec.generate_private_key(ec.SECP256R1())
START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
ENDS = [datetime.datetime(year, 2, 3, 4, 5, 6, tzinfo=datetime.UTC) for year in (2030, 2049, 2050, 2099)]


def pem(made):
    return made.public_bytes(serialization.Encoding.PEM)


def certificate(end):
    builder = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 0xF0 << 150)
    return pem(builder.not_valid_before(START).not_valid_after(end).sign(KEY, hashes.SHA256()))


def crl(end, entries=0):
    builder = x509.CertificateRevocationListBuilder(NAME, START, end)
    for serial in range(1, entries + 1):
        entry = x509.RevokedCertificateBuilder(serial, START).build()
        builder = builder.add_revoked_certificate(entry)
    return pem(builder.sign(KEY, hashes.SHA256()))


@pytest.mark.parametrize("end", ENDS, ids=str)
def test_the_end_that_is_in_the_file(end):
    for made in (certificate(end), crl(end), crl(end, 3)):
        assert earliest_end(b"text before\n" + made) == end.timestamp()


def test_the_latest_begin():
    later = START + datetime.timedelta(days=1)
    builder = x509.CertificateRevocationListBuilder(NAME, later, ENDS[0])
    assert latest_begin(crl(ENDS[0]) + pem(builder.sign(KEY, hashes.SHA256()))) == later.timestamp()
    assert latest_begin(certificate(ENDS[0])) == START.timestamp()
    assert latest_begin(b"junk") is None


def test_of_several_the_first_end_counts():
    assert earliest_end(b"".join(map(certificate, reversed(ENDS)))) == ENDS[0].timestamp()
    assert earliest_end(crl(ENDS[2]) + crl(ENDS[1])) == ENDS[1].timestamp()


def test_a_crl_of_version_1(tmp_path):
    """Without a version, and without what came with it."""
    (tmp_path / "key").write_bytes(
        KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "cert").write_bytes(certificate(ENDS[0]))
    (tmp_path / "index").touch()
    (tmp_path / "cnf").write_text(f"[ca]\ndefault_ca=a\n[a]\ndatabase={tmp_path}/index\ndefault_md=sha256\n")
    made = subprocess.run(
        ["openssl", "ca", "-config", "cnf", "-gencrl", "-keyfile", "key", "-cert", "cert", "-crldays", "9"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    ).stdout
    assert earliest_end(made) == x509.load_pem_x509_crl(made).next_update_utc.timestamp()


@pytest.mark.parametrize(
    "junk", [b"", b"junk", certificate(ENDS[0])[:200], b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"]
)
def test_files_without_an_end(junk):
    assert earliest_end(junk) is None


def test_metrics():
    files = {"/ca": certificate(ENDS[0]), "/crl": crl(ENDS[1]), "/nas": certificate(ENDS[2])}
    text = render(Textfile("/t", [("", "/ca", "/crl")], [("nas", "/nas"), ("gone", "/gone")]), files.get).decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples == [
        f"mtls_nginx_crl_next_update_timestamp_seconds {ENDS[1].timestamp():.0f}",
        f"mtls_nginx_ca_not_after_timestamp_seconds {ENDS[0].timestamp():.0f}",
        f'mtls_nginx_server_certificate_not_after_timestamp_seconds{{service="nas"}} {ENDS[2].timestamp():.0f}',
    ]
    assert text.count("# TYPE ") == text.count("# HELP ") == 3
    assert render(Textfile("/t", [("", "/ca", "/crl")]), lambda _path: None) == b""
