# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.host.acme_lineages import compare

HOOK = "/etc/nginx/server-certs/acme-deploy-hook"
ACCOUNT = "41804bb36a6a137d454be95539274ed9"
WANTED = {
    "server_names": ["nas.test", "www.nas.test"],
    "directory_url": "https://a/dir",
    "webroot": "/var/lib/mtls-acme",
    "profile": None,
}
# As certbot 5.8.0 writes it, and 2.1.0 but for the profile.
CONF = """\
# renew_before_expiry = 30 days
version = 5.8.0
archive_dir = /etc/letsencrypt/archive/mtls-nas
# Options used in the renewal process
[renewalparams]
account = {account}
server = {server}
authenticator = webroot
webroot_path = {webroot},
renew_hook = {hook}
{profile}[[webroot_map]]
www.nas.test = {webroot}
nas.test = {webroot}
[acme_renewal_info]
ari_retry_after = 2026-12-02T10:24:33
"""
LIKE_WANTED = {"account": ACCOUNT, "server": "https://a/dir", "webroot": "/var/lib/mtls-acme", "hook": HOOK}


def certificate(names):
    """A certificate for these names, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now)
        .add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def certbot(tmp_path):
    """Returns what writes certbot's settings of one certificate."""
    (tmp_path / "renewal").mkdir()
    (tmp_path / "accounts" / "a" / "dir" / ACCOUNT).mkdir(parents=True)

    def has(name="mtls-nas", profile="", certified=("nas.test", "www.nas.test"), **settings):
        live = tmp_path / "live" / name
        live.mkdir(parents=True)
        (live / "fullchain.pem").write_bytes(certificate(certified))
        path = tmp_path / "renewal" / f"{name}.conf"
        path.write_text(CONF.format(**{**LIKE_WANTED, **settings}, profile=profile))

    return has


@pytest.mark.parametrize(
    ("there", "wanted", "right"),
    [
        ({}, {}, True),
        ({"webroot": "/var/lib/mtls-acme/"}, {}, True),
        ({"profile": "required_profile = shortlived\n"}, {"profile": "shortlived"}, True),
        ({}, {"directory_url": "https://staging/dir"}, False),
        ({"hook": "/bin/true"}, {}, False),
        ({}, {"webroot": "/srv/acme"}, False),
        # Its renewal would ask for what is in the certificate.
        ({"certified": ["nas.test", "www.nas.test"]}, {"server_names": ["nas.test"]}, False),
        ({"certified": ["nas.test", "added.test"]}, {"server_names": ["nas.test"]}, True),
        ({}, {"server_names": ["nas.test", "www.nas.test", "b.test"]}, False),
        ({}, {"profile": "shortlived"}, False),
        ({"profile": "required_profile = shortlived\n"}, {}, False),
        ({"account": "dropped"}, {}, False),
        ({"name": "mtls-another"}, {}, False),
    ],
)
def test_what_certbot_would_renew_in_another_way(certbot, tmp_path, there, wanted, right):
    certbot(**there)
    found = compare(HOOK, {"mtls-nas": {**WANTED, **wanted}}, str(tmp_path))
    assert found["outdated"] == ([] if right else ["mtls-nas"])


def test_what_certbot_renews_for_nobody(certbot, tmp_path):
    certbot("mtls-nas")
    certbot("mtls-gone")
    certbot("mtls-1b2c3d4e-of-another-nginx", hook="/opt/nginx/server-certs/acme-deploy-hook")
    certbot("shop.example.com")
    (tmp_path / "renewal" / "mtls-folder.conf").mkdir()
    assert compare(HOOK, {"mtls-nas": WANTED}, str(tmp_path)) == {"outdated": [], "abandoned": ["mtls-gone"]}


def test_a_path_that_a_shell_would_split(certbot, tmp_path):
    certbot("mtls-nas", hook="\"'/etc/my nginx/hook'\"")
    certbot("mtls-wiki", hook="'/etc/my nginx/hook'")
    wanted = dict.fromkeys(("mtls-nas", "mtls-wiki"), WANTED)
    assert compare("/etc/my nginx/hook", wanted, str(tmp_path)) == {"outdated": [], "abandoned": []}


def test_without_certbot(tmp_path):
    assert compare(HOOK, {}, str(tmp_path)) == {"outdated": [], "abandoned": []}
