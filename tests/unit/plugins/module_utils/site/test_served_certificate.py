# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.common import probe
from ansible_collections.mtls.nginx.plugins.module_utils.site import served_certificate
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services

NOW = datetime.datetime(2026, 11, 29, tzinfo=datetime.UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "R11")])
NAS = {"name": "nas", "server_names": ["nas.test"], "root": "/srv"}
OWN = {**NAS, "certificate": {"path": "/a", "key": "/b"}}
SNIPPET = {"name": "nas", "server_names": ["nas.test"], "snippet": True}


def certificate(*names, begin=-30, end=60):
    builder = (
        x509.CertificateBuilder(ISSUER, ISSUER, KEY.public_key(), x509.random_serial_number())
        .not_valid_before(NOW + datetime.timedelta(days=begin))
        .not_valid_after(NOW + datetime.timedelta(days=end))
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(KEY, hashes.SHA256())


def seen(tmp_path, made, service=None):
    (parsed,) = parse_services("web", [service or NAS])
    attempt = probe.Attempt("nobody", 400)
    outcomes = [
        probe.ProbeOutcome(attempt, None, "connection refused"),
        probe.ProbeOutcome(attempt, 400, served=made.public_bytes(serialization.Encoding.DER)),
    ]
    return served_certificate.of(parsed, "web", str(tmp_path), outcomes, NOW)


def issued(tmp_path, made):
    folder = tmp_path / "servers" / "web"
    folder.mkdir(parents=True)
    (folder / "nas.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def test_the_one_that_the_authority_has_issued(tmp_path):
    made = certificate("nas.test")
    issued(tmp_path, made)
    found = seen(tmp_path, made)
    assert (found.is_another, found.stands_in, found.trouble) == (False, False, None)
    assert found.as_result() == {
        "service": "nas",
        "issuer": "CN=R11",
        "fingerprint": made.fingerprint(hashes.SHA256()).hex(),
        "names": ["nas.test"],
        "begin": int(made.not_valid_before_utc.timestamp()),
        "end": int(made.not_valid_after_utc.timestamp()),
        "own": False,
        "stands_in": False,
        "trouble": None,
    }
    assert seen(tmp_path, made, OWN).stands_in


def test_another_one(tmp_path):
    made = certificate("nas.test")
    assert not seen(tmp_path, made).is_another  # nobody knows which it should be
    issued(tmp_path, certificate("nas.test"))
    assert seen(tmp_path, made).is_another
    assert not seen(tmp_path, made, OWN).is_another
    assert not seen(tmp_path, made, OWN).stands_in


@pytest.mark.parametrize(
    ("made", "trouble"),
    [
        (certificate("nas.test", end=-1), "expired on 2026-11-28"),
        (certificate("nas.test", begin=1), "is not valid before 2026-11-30 00:00 UTC"),
        (certificate("other.test"), "is for other.test, and not for nas.test"),
        (certificate(), "is for no name, and not for nas.test"),
        (certificate("*.test"), None),
    ],
)
def test_what_keeps_people_away(tmp_path, made, trouble):
    assert seen(tmp_path, made).trouble == trouble


def test_names_at_a_server_block_of_the_hosts_own_are_its_own_affair(tmp_path):
    issued(tmp_path, certificate("nas.test"))
    found = seen(tmp_path, certificate("other.test"), SNIPPET)
    assert (found.trouble, found.own, found.issued) == (None, True, None)
    assert seen(tmp_path, certificate("other.test", end=-1), SNIPPET).trouble == "expired on 2026-11-28"


def test_no_handshake_no_certificate(tmp_path):
    (service,) = parse_services("web", [NAS])
    outcomes = [probe.ProbeOutcome(probe.Attempt("nobody", 400), None, "connection refused")]
    assert served_certificate.of(service, "web", str(tmp_path), outcomes, NOW) is None


def test_what_the_doctor_says(tmp_path):
    made = certificate("nas.test")
    own = made.fingerprint(hashes.SHA256()).hex()
    for on_disk in (None, own):
        assert seen(tmp_path, made).words(on_disk) is None
    assert seen(tmp_path, made).words("0" * 64) == (
        "the certificate that it serves (CN=R11) is not the one on disk, which nginx has not read"
    )
    issued(tmp_path, made)
    assert "stands in for the host's own" in seen(tmp_path, made, OWN).words(own)
    ended = seen(tmp_path, certificate("nas.test", end=-1), OWN).words(own)
    assert ended == "the certificate that it serves (CN=R11) expired on 2026-11-28"
