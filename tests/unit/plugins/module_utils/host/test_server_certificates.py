# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says of a certificate of its own. tests/integration/test_acme.py has an nginx that serves it."""

from __future__ import annotations

import datetime
import ipaddress
import time
import types
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.host import certificates, server_certificates
from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_conf import MARKER
from ansible_collections.mtls.nginx.plugins.module_utils.host.server_certificates import OwnCertificate, covers, look

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(server_certificates, "_PATIENCE", 0.0)
    monkeypatch.setattr(server_certificates, "_PAUSE", 0.0)


def made(folder: Path, *names: str, begin: float = -30, end: float = 60, stem: str = "own") -> x509.Certificate:
    """Write a certificate that is valid from ``begin`` to ``end``, in days from now, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    alternative = [
        x509.IPAddress(ipaddress.ip_address(name)) if name.replace(".", "").isdigit() else x509.DNSName(name)
        for name in names
    ]
    builder = (
        x509.CertificateBuilder(NAME, NAME, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW + datetime.timedelta(days=begin))
        .not_valid_after(NOW + datetime.timedelta(days=end))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    (folder / f"{stem}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{stem}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate


def own(folder: Path, *names: str, key: str = "own") -> OwnCertificate:
    return OwnCertificate("nas", str(folder / "own.crt"), str(folder / f"{key}.key"), names or ("nas.test",))


def test_one_that_can_be_served(tmp_path):
    certificate = made(tmp_path, "nas.test", "192.0.2.1", "*.lan.test")
    found = look(own(tmp_path, "nas.test", "192.0.2.1", "a.lan.test"), running=True)
    assert (found.state, found.why, found.in_use, found.stale) == ("good", None, False, False)
    assert found.fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    assert found.end == certificate.not_valid_after_utc.timestamp()


@pytest.mark.parametrize(
    ("dates", "said"),
    [
        ({"end": -1}, "own.crt: expired on "),
        ({"end": 2.9}, "own.crt: expires on "),
        ({"begin": 1}, "own.crt: is not valid before "),
        ({"begin": -4, "end": 1.9}, "own.crt: expires on "),  # of six days
    ],
)
def test_dates_that_people_would_meet(tmp_path, dates, said):
    made(tmp_path, "nas.test", **dates)
    found = look(own(tmp_path), running=False)
    assert found.state == "unfit"
    assert said in found.why
    assert ("the clock of this host says 20" in found.why) is ("begin" in dates and "end" not in dates)


def test_one_of_six_days_is_not_late_before_two_thirds_of_them(tmp_path):
    made(tmp_path, "nas.test", begin=-3.7, end=2.3)
    assert look(own(tmp_path), running=False).state == "good"


def test_names_that_it_is_not_for(tmp_path):
    made(tmp_path, "other.test")
    found = look(own(tmp_path, "nas.test", "other.test"), running=False)
    assert (found.state, found.why) == ("unfit", f"{tmp_path}/own.crt: is for other.test, and not for nas.test")
    made(tmp_path)
    assert "is for no name, and not for nas.test" in look(own(tmp_path), running=False).why


def test_what_is_not_there(tmp_path):
    assert look(own(tmp_path), running=False).why == f"{tmp_path}/own.crt is not there"
    made(tmp_path, "nas.test")
    (tmp_path / "own.key").unlink()
    found = look(own(tmp_path), running=False)
    assert (found.state, found.why) == ("missing", f"{tmp_path}/own.key is not there")


def test_what_nginx_would_reject(tmp_path):
    made(tmp_path, "nas.test", stem="other")
    made(tmp_path, "nas.test")
    found = look(own(tmp_path, key="other"), running=False)
    assert found.state == "unusable"
    assert found.why == f"{tmp_path}/own.crt: the key {tmp_path}/other.key does not belong to this certificate"

    (tmp_path / "own.key").write_text("junk")
    assert "are not a certificate and key that OpenSSL can read" in look(own(tmp_path), running=False).why
    (tmp_path / "own.crt").write_text("junk")
    assert "does not begin with a certificate in PEM" in look(own(tmp_path), running=False).why
    (tmp_path / "own.crt").unlink()
    (tmp_path / "own.crt").mkdir()
    assert "cannot be read" in look(own(tmp_path), running=False).why


def test_a_key_that_comes_a_moment_later_than_its_certificate(tmp_path, monkeypatch):
    monkeypatch.setattr(server_certificates, "_PATIENCE", 5.0)
    made(tmp_path, "nas.test", stem="new")
    made(tmp_path, "nas.test")
    (tmp_path / "own.crt").write_bytes((tmp_path / "new.crt").read_bytes())
    # This module's clock alone: other threads of the process sleep, too.
    clock = types.SimpleNamespace(
        sleep=lambda _pause: (tmp_path / "new.key").replace(tmp_path / "own.key"),
        monotonic=time.monotonic,
        time=time.time,
    )
    monkeypatch.setattr(server_certificates, "time", clock)
    assert look(own(tmp_path), running=False).state == "good"


@pytest.mark.parametrize(
    ("names", "wanted", "covered"),
    [
        (["nas.test"], "nas.test", True),
        (["*.test"], "nas.test", True),
        (["*.test"], "a.nas.test", False),
        (["*.test"], "test", False),
        (["*.test"], "*.test", True),
        (["nas.test"], "*.test", False),
        (["2001:db8::1"], "2001:db8:0::1", True),
        (["*.0.2.1"], "192.0.2.1", False),
    ],
)
def test_which_names_a_certificate_is_for(names, wanted, covered):
    assert covers(names, wanted) is covered


def test_what_server_blocks_of_ours_name(tmp_path):
    conf = tmp_path / "conf.d"
    conf.mkdir()
    certificate = made(tmp_path, "nas.test")
    lines = f"ssl_certificate {tmp_path}/own.crt;\nssl_certificate_key {tmp_path}/own.key;\n"
    (conf / "mtls-nas.conf").write_text(f"{MARKER}\n{lines}")
    (conf / "mtls-theirs.conf").write_text(lines)
    (conf / "mtls.conf").write_text(f"{MARKER}\n")
    found = server_certificates.in_place(str(tmp_path))
    assert list(found) == ["nas"]
    assert found["nas"].in_use
    assert found["nas"].fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    named = server_certificates.named_in("nas", str(conf / "mtls-nas.conf"))
    assert look(named, running=True) == found["nas"]  # where to ask for it, no server block says


def test_a_damaged_certificate_has_no_leaf():
    assert certificates.leaf(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n") is None
