# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name constraints are judged as the real openssl judges them."""

from __future__ import annotations

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import name_constraints
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import servers
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.support import Pki, openssl, run_module

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
PERMITTED = "critical,permitted;DNS:example.com"
CASES = [
    (PERMITTED, "/CN=phone"),
    (PERMITTED, "/CN=anna.smith"),
    (PERMITTED, "/CN=Anna Smith jr."),
    (PERMITTED, "/CN=anna.smith "),
    (PERMITTED, "/CN=.anna.smith"),
    (PERMITTED, "/CN=anna..smith"),
    (PERMITTED, "/CN=anna-.smith"),
    (PERMITTED, "/CN=anna.smith."),
    (PERMITTED, "/CN=a_b.smith"),
    (PERMITTED, "/CN=anna.EXAMPLE.com"),
    (PERMITTED, "/CN=example.com"),
    (PERMITTED, "/CN=badexample.com"),
    (PERMITTED, "/CN=phone/CN=anna.smith"),
    ("critical,permitted;DNS:.example.com", "/CN=example.com"),
    ("critical,permitted;DNS:.example.com", "/CN=a.example.com"),
    ("excluded;DNS:example.com", "/CN=a.example.com"),
    ("excluded;DNS:example.com", "/CN=anna.smith"),
    ("permitted;email:example.com", "/CN=phone/emailAddress=anna@example.com"),
    ("permitted;email:example.com", "/CN=phone/emailAddress=anna@other.com"),
    ("permitted;email:.example.com", "/CN=phone/emailAddress=anna@mail.example.com"),
    ("permitted;email:anna@example.com", "/CN=phone/emailAddress=bob@example.com"),
    ("permitted;dirName:allowed", "/O=acme/CN=phone"),
    ("permitted;dirName:allowed", "/O=Other/CN=phone"),
    ("permitted;IP:192.0.2.0/255.255.255.0", "/CN=phone"),
]


def constrained(path, constraints: str) -> None:
    """An authority whose certificate has name constraints."""
    path.mkdir()
    (path / "cnf").write_text(
        "[req]\ndistinguished_name=dn\nx509_extensions=ca\nprompt=no\n[dn]\nCN=Limited CA\n[allowed]\nO=Acme\n"
        f"[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
        f"subjectKeyIdentifier=hash\nnameConstraints={constraints}\n"
    )
    openssl(*("req", "-x509", *EC, "-config", "cnf", "-days", "3650", "-keyout", "ca.key", "-out", "ca.crt"), cwd=path)
    (path / "cnf").unlink()


@pytest.mark.parametrize(("constraints", "subject"), CASES)
def test_it_is_openssls_judgement(tmp_path, constraints, subject):
    mail = subject.partition("emailAddress=")[2]
    judged(tmp_path, constraints, subject, f"email:{mail}" if mail else "")


IN_NET, OUTSIDE, IN_NET_6 = "IP:192.0.2.7", "IP:198.51.100.7", "IP:2001:db8::7"
NET = "permitted;IP:192.0.2.0/255.255.255.0"


@pytest.mark.parametrize(
    ("constraints", "names"),
    [
        (NET, IN_NET),
        (NET, OUTSIDE),
        (NET, IN_NET_6),
        (NET, f"{IN_NET},{OUTSIDE}"),
        (NET, f"DNS:nas.lan,{IN_NET}"),
        (f"{NET},{NET.replace('192.0.2', '198.51.100')}", OUTSIDE),
        (NET.replace("permitted", "excluded"), IN_NET),
        (NET.replace("permitted", "excluded"), OUTSIDE),
        ("permitted;IP:2001:db8::/ffff:ffff::", IN_NET_6),
        ("permitted;IP:2001:db8::/ffff:ffff::", IN_NET),
        (PERMITTED, f"DNS:nas.example.com,{IN_NET}"),
    ],
)
def test_it_is_openssls_judgement_of_a_servers_names(tmp_path, constraints, names):
    judged(tmp_path, constraints, "/CN=nas", names)


def judged(tmp_path, constraints, subject, names) -> None:
    """Have openssl make and verify a certificate, and compare."""
    path = tmp_path / "ca"
    constrained(path, constraints)
    openssl("req", "-new", *EC, "-subj", subject, "-keyout", "a.key", "-out", "a.csr", cwd=path)
    (path / "ext").write_text(f"subjectAltName={names}\n" if names else "")
    signer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", "9", "-extfile", "ext")
    openssl("x509", "-req", "-in", "a.csr", *signer, "-out", "a.crt", cwd=path)
    refused = "subtree violation" in openssl("verify", "-CAfile", "ca.crt", "a.crt", cwd=path, ok=None)
    made = x509.load_pem_x509_certificate((path / "a.crt").read_bytes())
    ca = x509.load_pem_x509_certificate((path / "ca.crt").read_bytes())
    found = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value if names else []
    try:
        name_constraints.check([ca], made.subject, list(found), "client a")
    except MtlsError:
        assert refused
    else:
        assert not refused


@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_what_is_not_allowed_is_refused_at_issuing(tmp_path, check):
    pki = Pki(tmp_path / "pki")
    constrained(pki.path, PERMITTED)
    run_module("ca_init", path=str(pki.path))
    index = (pki.path / "index.txt").read_bytes()
    said = (
        r"client 'anna\.smith': anna\.smith is outside the name constraints of CN=Limited CA, so OpenSSL would refuse"
    )
    with pytest.raises(MtlsError, match=said):
        pki.serve(Client("phone"), Client("anna.smith"), check=check)
    assert (pki.path / "index.txt").read_bytes() == index
    with open_authority(Access(str(pki.path)), read_only=check) as authority:
        wanted = [servers.Server("nas", "web", ("nas.lan",))]
        with pytest.raises(MtlsError, match=r"nas\.lan is outside the name constraints"):
            servers.reconcile(authority, wanted, new_key_type="ecdsa", check=check)
    assert pki.one(Client("phone"), check=check).action == "issued"
    assert pki.one(Client("anna", subject={"CN": "anna.example.com"}), check=check).action == "issued"
