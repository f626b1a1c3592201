# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CRLs that are valid and signed by the right CA: what the collection says of each is what nginx makes of it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import crls, profiles
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError

from . import pki
from .client import ask

URL = "http://crl.example.com/ours.crl"
OTHER_URL = "http://crl.example.com/theirs.crl"
UNKNOWN = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")
DAY = datetime.timedelta(days=1)


def uri(*urls: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(url) for url in urls]


def scope(url: str | None = None, **only: object) -> tuple[x509.IssuingDistributionPoint, bool]:
    said = {
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
        **only,
    }
    return x509.IssuingDistributionPoint(uri(url) if url else None, None, **said), True


@dataclass(frozen=True)
class Kind:
    """A CRL with these extensions besides AKI and number: is it right for whoever it must cover?

    `clients` and `cas`: of the issuer's clients, of a CA that it signed. None: not of this one.
    """

    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    clients: bool | None = True
    cas: bool = True
    critical_entry: bool = False
    other_key: bool = False


KINDS = {
    "complete": Kind(),
    "the distribution point that certificates name": Kind((scope(URL),), cas=False),
    "another distribution point": Kind((scope(OTHER_URL),), clients=None, cas=False),
    "user certificates only": Kind((scope(only_contains_user_certs=True),), cas=False),
    "CA certificates only": Kind((scope(only_contains_ca_certs=True),), clients=False),
    "attribute certificates only": Kind((scope(only_contains_attribute_certs=True),), clients=False, cas=False),
    "some reasons only": Kind(
        (scope(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise])),), clients=False, cas=False
    ),
    "indirect": Kind((scope(indirect_crl=True),), clients=False, cas=False),
    "an unknown critical extension": Kind(
        ((x509.UnrecognizedExtension(UNKNOWN, b"\x05\x00"), True),), clients=False, cas=False
    ),
    "an unknown extension": Kind(((x509.UnrecognizedExtension(UNKNOWN, b"\x05\x00"), False),)),
    "an entry with an unknown critical extension": Kind(clients=False, cas=False, critical_entry=True),
    "an AKI of another key": Kind(clients=False, cas=False, other_key=True),
}


def signed(issuer: profiles.Issuer, kind: Kind, *extensions: tuple[x509.ExtensionType, bool]) -> str:
    now = times.now()
    other = x509.AuthorityKeyIdentifier(b"another key", None, None)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - DAY)
        .next_update(now + 5 * DAY)
        .add_extension(x509.CRLNumber(7), critical=False)
        .add_extension(other if kind.other_key else issuer.key_identifier, critical=False)
    )
    for extension, critical in (*kind.extensions, *extensions):
        builder = builder.add_extension(extension, critical=critical)
    if kind.critical_entry:
        entry = x509.RevokedCertificateBuilder().serial_number(1).revocation_date(now - DAY)
        entry = entry.add_extension(x509.UnrecognizedExtension(UNKNOWN, b"\x05\x00"), critical=True)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@dataclass(frozen=True)
class Setting:
    """An authority, a client of it, the bundle and the CRL file that a host gets."""

    authority: pki.Authority
    client: pki.Identity
    bundle: str
    crl: str


@pytest.fixture(scope="module")
def below(authority, tmp_path_factory):
    """An intermediate CA below the authority, and its client, which names URL as its distribution point."""
    folder = tmp_path_factory.mktemp("below")
    intermediate = pki.as_issuer(pki.forged(folder, pki.subject("Below"), authority.issuer, ca=True))
    point = x509.DistributionPoint(uri(URL), None, None, None)
    client = pki.forged(folder, pki.subject("admin"), intermediate, extensions=[x509.CRLDistributionPoints([point])])
    return intermediate, client


def settings(authority: pki.Authority, below: tuple[profiles.Issuer, pki.Identity], kind: Kind, where: str) -> Setting:
    """The CRL of this kind where it counts; whatever else is needed is beyond doubt."""
    if where == "root":  # signs clients, and its own certificate needs its CRL too
        return Setting(authority, authority.client("admin"), authority.chain, signed(authority.issuer, kind))
    intermediate, client = below
    own = intermediate.certificate.public_bytes(serialization.Encoding.PEM).decode()
    kinds = (KINDS["complete"], kind) if where == "above" else (kind, KINDS["complete"])
    crl = signed(intermediate, kinds[0]) + signed(authority.issuer, kinds[1])
    return Setting(authority, client, own + authority.chain, crl)


def verdict(setting: Setting) -> str | None:
    try:
        crls.check_shippable(setting.crl.encode(), setting.bundle.encode(), times.now(), "crl.pem")
    except MtlsError as error:
        return str(error)
    return None


@pytest.mark.parametrize("where", ["root", "issuing", "above"])
@pytest.mark.parametrize("name", KINDS)
def test_what_is_said_of_a_crl_is_what_nginx_makes_of_it(name, where, authority, below, server_certificate, new_host):
    kind = KINDS[name]
    setting = settings(authority, below, kind, where)
    good = {"root": kind.cas and kind.clients, "issuing": kind.clients, "above": kind.cas}[where]

    said = verdict(setting)
    assert (said is None) == (good is not False)

    host = new_host()
    host.serve_as(server_certificate)
    host.ours(
        [{"name": "nas", "server_names": ["nas.test"], "root": str(host.folder / "www")}],
        authority,
        chain=setting.bundle,
        crl=setting.crl,
    )
    host.start()
    status = ask(host.port, tls="TLSv1.3", client=setting.client).status

    if good:
        assert status == 200
    elif host.build.name != "sid":  # OpenSSL 3.6 is more lenient with a root, and the strictest counts
        assert status == 400
    if said:
        assert said.startswith("crl.pem: the CRL of ")
        assert "use that" in said


def test_a_delta_crl_is_never_enough(authority):
    delta = signed(authority.issuer, Kind(), (x509.DeltaCRLIndicator(6), True))
    setting = Setting(authority, authority.client("admin"), authority.chain, delta)

    assert "is a delta CRL, which lists changes only" in (verdict(setting) or "")

    beside = Setting(authority, authority.client("admin"), authority.chain, authority.crl + delta)
    assert "is a delta CRL" in (verdict(beside) or "")


def test_one_that_covers_is_enough(authority):
    both = signed(authority.issuer, KINDS["CA certificates only"]) + authority.crl

    assert verdict(Setting(authority, authority.client("admin"), authority.chain, both)) is None
