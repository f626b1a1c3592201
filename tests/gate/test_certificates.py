# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that look right and are not."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import profiles
from ansible_collections.mtls.nginx.plugins.module_utils.common import times

from . import pki
from .client import ask
from .host import USUAL_HTTP

# The usual way to let some clients in and not others: any certificate is taken, and its subject is compared.
USUAL_ANY_AUTHORITY = """
map $ssl_client_s_dn $allowed {
    default 0;
    "CN=admin" 1;
}
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_verify_client optional_no_ca;
    if ($allowed = 0) { return 403; }
    root @FOLDER@/www;
}
"""
# A chain for OCSP stapling of the server's own certificate, for instance from a public authority.
USUAL_STAPLING = """
map $ssl_client_s_dn $allowed {
    default 0;
    "CN=admin" 1;
}
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/ca.crt;
    ssl_trusted_certificate own/other.crt;
    ssl_verify_client on;
    if ($allowed = 0) { return 403; }
    root @FOLDER@/www;
}
"""
# A CRL file as some authorities publish it, with their certificate.
USUAL_CRL_WITH_CERTIFICATE = USUAL_STAPLING.replace("ssl_trusted_certificate own/other.crt", "ssl_crl own/all.pem")
USUAL = {
    "any authority": USUAL_ANY_AUTHORITY,
    "stapling": USUAL_STAPLING,
    "CRL file with a certificate": USUAL_CRL_WITH_CERTIFICATE,
}


ANOTHER = "another authority's client of that name"


@pytest.fixture(scope="module")
def impostors(authority, other_authority, server_certificate, tmp_path_factory):
    """People with an allowed name, or a certificate of the authority, or both, who must stay outside."""
    folder = tmp_path_factory.mktemp("impostors")
    admin = authority.client("admin")
    name, issuer = admin.certificate.subject, authority.issuer
    same_name = pki.as_issuer(pki.forged(folder, issuer.certificate.subject, ca=True))
    above = pki.as_issuer(pki.forged(folder, x509.Name([]), issuer, ca=True))
    return {
        "nobody": None,
        ANOTHER: other_authority.client("admin"),
        "client of another authority with our authority's name": pki.forged(folder, name, same_name),
        "the same, that authority sent along": pki.forged(folder, name, same_name, sent_along=[same_name.certificate]),
        "self-made": pki.forged(folder, name),
        "self-made, says it is a CA": pki.forged(folder, name, ca=True),
        "signed by an allowed client": pki.forged(folder, name, pki.as_issuer(admin), sent_along=[admin.certificate]),
        "expired": pki.forged(folder, name, issuer, begins=-2, ends=-1),
        "not yet valid": pki.forged(folder, name, issuer, begins=1, ends=2),
        "the server's own certificate": server_certificate,
        "below a CA that is not sent": pki.forged(folder, name, above),
        "below a CA without a CRL": pki.forged(folder, name, above, sent_along=[above.certificate]),
    }


ENTERS_USUAL = {
    "any authority": {
        ANOTHER,
        "client of another authority with our authority's name",
        "the same, that authority sent along",
        "self-made",
        "below a CA that is not sent",
        "below a CA without a CRL",
    },
    "stapling": {ANOTHER, "below a CA without a CRL"},
    "CRL file with a certificate": {ANOTHER},
}


@pytest.mark.parametrize("way", USUAL)
def test_usual_some_get_in(new_host, authority, other_authority, impostors, tls, way):
    host = new_host()
    host.write("own/other.crt", other_authority.chain)
    host.write("own/all.pem", authority.crl + other_authority.chain + other_authority.crl)
    host.by_hand(USUAL[way], authority=authority)
    host.start()
    entered = {who for who, identity in impostors.items() if ask(host.port, tls=tls, client=identity).let_in}
    hole = way != "CRL file with a certificate" or host.build.version < (1, 27, 2)
    assert entered == (ENTERS_USUAL[way] if hole else set())


@pytest.mark.parametrize("public", [(), ("/open/",)], ids=["all gated", "with public paths"])
@pytest.mark.parametrize("allow", [None, ["admin"]], ids=["every client", "an allow list"])
def test_ours_none_gets_in(new_host, authority, other_authority, impostors, tls, public, allow):
    host = new_host()
    host.write("own/other.crt", other_authority.chain)
    service = {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www", "public_paths": public}
    inherited = "ssl_verify_client optional_no_ca; ssl_verify_depth 9; ssl_trusted_certificate own/other.crt;"
    host.ours([service | ({"allow": allow} if allow else {})], authority, http=USUAL_HTTP + inherited)
    host.start()
    assert ask(host.port, tls=tls, client=authority.client("admin")).let_in
    answers = {who: ask(host.port, tls=tls, client=identity).status for who, identity in impostors.items()}
    assert answers == dict.fromkeys(impostors, 400)


# A root above two departments, of which only one is meant.
USUAL_ROOT_IN_THE_BUNDLE = """
server {
    listen 127.0.0.1:@PORT@ ssl;
    server_name nas.test;
    ssl_client_certificate own/bundle.crt;
    ssl_crl own/bundle.crl;
    ssl_verify_client on;
    ssl_verify_depth 2;
    root @FOLDER@/www;
}
"""


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@dataclasses.dataclass(frozen=True)
class Family:
    """What hosts are given, and who asks. `entitled` are our department's."""

    chain: str
    crls: str
    entitled: dict[str, pki.Identity]
    strangers: dict[str, pki.Identity]


@pytest.fixture(scope="module")
def family(authority, tmp_path_factory):
    """Two authorities below one root: ours and another department's; and a client of the root's own."""
    folder = tmp_path_factory.mktemp("family")
    root, name = authority.issuer, pki.subject("below")
    ours, theirs = (pki.forged(folder, pki.subject(f"{who} CA"), root, ca=True) for who in ("Our", "Their"))
    issuing, sibling = pki.as_issuer(ours), pki.as_issuer(theirs)
    return Family(
        pem(ours.certificate) + authority.chain,
        pki.crl_of(issuing) + authority.crl,
        {
            "alone": pki.forged(folder, name, issuing),
            "with its CA": pki.forged(folder, name, issuing, sent_along=[ours.certificate]),
            "with its CA and the root": pki.forged(
                folder, name, issuing, sent_along=[ours.certificate, root.certificate]
            ),
        },
        {
            "the root's": pki.forged(folder, name, root),
            "the root's, with the root": pki.forged(folder, name, root, sent_along=[root.certificate]),
            "the other department's": pki.forged(folder, name, sibling),
            "the other department's, with its CA": pki.forged(folder, name, sibling, sent_along=[theirs.certificate]),
        },
    )


def test_usual_the_root_s_own_clients_get_in(new_host, authority, family, tls):
    """The department beside is kept out only because nobody has its CRL here."""
    host = new_host()
    host.write("own/bundle.crt", family.chain)
    host.write("own/bundle.crl", family.crls)
    host.by_hand(USUAL_ROOT_IN_THE_BUNDLE)
    host.start()
    entered = {who for who, identity in family.strangers.items() if ask(host.port, tls=tls, client=identity).let_in}
    assert entered == {"the root's", "the root's, with the root"}


@pytest.mark.parametrize("allow", [None, ["below"]], ids=["every client", "an allow list"])
def test_ours_only_the_issuing_authority_s_clients_get_in(new_host, authority, family, tls, allow):
    host = new_host()
    service = {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www"}
    authority.client("below")
    host.ours([service | ({"allow": allow} if allow else {})], authority, chain=family.chain, crl=family.crls)
    host.start()
    entered = {who: ask(host.port, tls=tls, client=one).let_in for who, one in family.entitled.items()}
    assert entered == dict.fromkeys(family.entitled, True)
    answers = {who: ask(host.port, tls=tls, client=one).status for who, one in family.strangers.items()}
    assert answers == dict.fromkeys(family.strangers, 400)


def test_ours_what_each_crl_of_the_chain_does(new_host, authority, tmp_path, tls):
    """nginx goes by all of them: the issuing authority's revokes clients, the root's the authority; either may end."""
    root = authority.issuer
    ours = pki.forged(tmp_path, pki.subject("Our CA"), root, ca=True)
    issuing = pki.as_issuer(ours)
    lost, kept = (pki.forged(tmp_path, pki.subject(name), issuing) for name in ("lost", "kept"))
    entered = {}
    for what, own, above in (
        ("nothing is revoked", pki.crl_of(issuing), pki.crl_of(root)),
        ("a client is", pki.crl_of(issuing, lost.certificate), pki.crl_of(root)),
        ("the authority is", pki.crl_of(issuing), pki.crl_of(root, ours.certificate)),
        ("the root's has ended", pki.crl_of(issuing), pki.crl_of(root, days=-1)),
        ("ours has ended", pki.crl_of(issuing, days=-1), pki.crl_of(root)),
        ("the root's is missing", pki.crl_of(issuing), ""),
    ):
        host = new_host()
        service = {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www"}
        host.ours([service], authority, chain=pem(ours.certificate) + authority.chain, crl=own + above)
        host.start()
        people = {"lost": lost, "kept": kept}
        entered[what] = [name for name, who in people.items() if ask(host.port, tls=tls, client=who).let_in]
    assert entered == {
        "nothing is revoked": ["lost", "kept"],
        "a client is": ["kept"],
        "the authority is": [],
        "the root's has ended": [],
        "ours has ended": [],
        "the root's is missing": [],
    }


def test_ours_two_authorities_between_client_and_root(new_host, authority, tmp_path, tls):
    above = pki.as_issuer(pki.forged(tmp_path, pki.subject("Policy CA"), authority.issuer, ca=True))
    issuing = pki.as_issuer(pki.forged(tmp_path, pki.subject("Issuing CA"), above, ca=True))
    chain = "".join(pem(one.certificate) for one in (issuing, above, authority.issuer))
    crls = pki.crl_of(issuing) + pki.crl_of(above) + authority.crl
    host = new_host()
    host.ours(
        [{"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www"}], authority, chain=chain, crl=crls
    )
    host.start()
    below = {issuer: pki.forged(tmp_path, pki.subject("below"), issuer) for issuer in (issuing, above)}
    assert ask(host.port, tls=tls, client=below[issuing]).let_in
    assert ask(host.port, tls=tls, client=below[above]).status == 400


def test_ours_a_bundle_without_the_issuing_authority(new_host, authority, family, tls):
    """The root alone is an authority of its own: what those below it issue is not meant."""
    host = new_host()
    service = {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www"}
    host.ours([service], authority, crl=family.crls)
    host.start()
    assert not any(ask(host.port, tls=tls, client=one).let_in for one in family.entitled.values())
    assert ask(host.port, tls=tls, client=family.strangers["the root's"]).let_in


@pytest.mark.parametrize("snippet", [True, False], ids=["snippet", "block"])
def test_ours_a_name_of_ours_that_another_authority_s_block_verifies(
    new_host, authority, other_authority, tls, snippet
):
    """A server block of the host's own lacks a name that the inventory has: the first block of the socket verifies."""
    host = new_host()
    listen, root = "listen 127.0.0.1:@PORT@ ssl;", "root @FOLDER@/www;"
    first = f"server {{ {listen} ssl_client_certificate own/other.crt; ssl_verify_client optional; {root} }}"
    block = f"server {{ {listen} server_name nas.test; include snippets/mtls-nas.conf; {root} }}"
    host.write("own/other.crt", other_authority.chain)
    service = {"name": "nas", "server_names": ["nas.test", "old.test"]}
    service |= {"snippet": True} if snippet else {"root": f"{host.folder}/www"}
    host.ours([service], authority, neighbours={"first": first, **({"site": block} if snippet else {})})
    host.start()
    foreigner = other_authority.client("foreigner")
    for name in ("nas.test", "old.test", "none.test", None):
        assert not ask(host.port, tls=tls, client=foreigner, host="nas.test", sni=name).let_in, name
    assert ask(host.port, tls=tls, client=authority.client("admin")).let_in


def test_ours_both_certificates_of_a_renewed_root(new_host, authority, tmp_path, tls):
    """One key and one name: neither stands above the other, and clients of both are meant."""
    now = times.now()
    validity = profiles.Validity(now - datetime.timedelta(days=1), now + datetime.timedelta(days=300))
    former = authority.issuer
    renewed = profiles.renewed_ca_certificate(former.key, former.certificate, x509.random_serial_number(), validity)
    host = new_host()
    service = {"name": "nas", "server_names": ["nas.test"], "root": f"{host.folder}/www"}
    host.ours([service], authority, chain=pem(renewed) + authority.chain)
    host.start()
    assert ask(host.port, tls=tls, client=authority.client("admin")).let_in
    assert ask(host.port, tls=tls, client=pki.forged(tmp_path, pki.subject("new"), former)).let_in
    assert ask(host.port, tls=tls, client=None).status == 400
