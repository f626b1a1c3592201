# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PKI mount is sent, and what its answers mean here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.mtls.nginx.plugins.module_utils.ca.backends.openbao.mount import Mount, colons
from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import profiles
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.tests.unit.loopback import Reply


@pytest.fixture
def mount(server, engine) -> Mount:
    return Mount(server, engine.settings)


def csr(key, subject: str, *extensions: x509.ExtensionType) -> bytes:
    builder = x509.CertificateSigningRequestBuilder(x509.Name.from_rfc4514_string(subject))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_the_chain(mount, engine):
    assert mount.chain() == (engine.issuer.certificate,)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(500, {"errors": ["no default issuer currently configured"]}), "has no CA; make one there: `bao secrets"),
        (Reply(403, {"errors": ["1 error occurred: permission denied"]}), "there is no PKI engine (1 error occurred"),
        (Reply(400, {"errors": []}), "there is no PKI engine (status 400); run `bao secrets enable -path=pki pki`"),
        (Reply(200, {"data": {"ca_chain": ["-----BEGIN CERTIFICATE-----"]}}), "is not a readable certificate"),
        (Reply(200, {"data": {"ca_chain": [5]}}), "is not a readable certificate"),
        (Reply(200, {"data": {"ca_chain": []}}), "has no CA; make one there"),
        (Reply(200, {"data": {"keys": []}}), "GET pki/issuer/default/json has no ca_chain in its answer"),
    ],
)
def test_a_mount_without_a_ca(mount, bao, reply, said):
    bao.says("GET", "/v1/pki/issuer/default/json", reply)
    with pytest.raises(MtlsError) as caught:
        mount.chain()
    assert said in str(caught.value)
    assert str(caught.value).startswith(bao.url)


@pytest.mark.parametrize("hours", [-1, 1])
def test_clocks_that_differ(mount, bao, hours):
    date = format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True)
    bao.says("GET", "/v1/pki/issuer/default/json", Reply(200, {"data": {"ca_chain": []}}, {"Date": date}))
    with pytest.raises(MtlsError, match=r"its clock says .* and this machine's .*; set the one that is wrong"):
        mount.chain()


def test_serials_are_spelled_our_way(mount, engine):
    engine.says("LIST", "certs", {"keys": ["0a-bc", "7f:01"]})
    assert mount.serials("certs") == {"0ABC": "0a-bc", "7F01": "7f:01"}
    assert colons("0ABC") == "0a:bc"

    engine.says("LIST", "certs", {"keys": ["ca-chain"]})
    with pytest.raises(MtlsError, match="is not hexadecimal"):
        mount.serials("certs")


def test_a_mount_that_has_signed_nothing_lists_nothing(mount, engine):
    engine.refuses("LIST", "certs", "", 404)
    assert mount.serials("certs") == {}
    assert mount.issuers() == []
    assert mount.crl() is None


def test_a_certificate_and_when_it_was_revoked(mount, engine, order):
    valid, revoked = engine.certificate(order(), 0x1000), engine.certificate(order(), 0x1001)
    engine.has(valid, revoked=[revoked])

    assert mount.fetch("10-00") == (valid, None)
    certificate, moment = mount.fetch("10-01")
    assert certificate == revoked
    assert abs(moment - times.now()) < timedelta(minutes=1)

    engine.says("GET", "cert/10-00", {"certificate": "none"})
    with pytest.raises(MtlsError, match="mount pki, cert/10-00: is not a readable certificate"):
        mount.fetch("10-00")


def test_a_subject_of_a_cn_is_for_the_role_to_allow(mount, engine, order):
    wanted = order("CN=web", profiles.SERVER, names=("web.lan", "192.0.2.1", "2001:db8::1"))
    made = engine.certificate(wanted)
    engine.signs(made, path="sign/server")

    assert mount.sign(wanted) == made
    (sent,) = engine.asked("sign/server")
    assert sent["common_name"] == "web"
    assert sent["alt_names"] == "web.lan"
    assert sent["ip_sans"] == "192.0.2.1,2001:db8::1"
    assert sent["exclude_cn_from_sans"] is True
    assert times.from_iso(sent["not_after"]) == wanted.validity.not_after
    request = x509.load_pem_x509_csr(sent["csr"].encode())
    assert request.is_signature_valid
    assert len(request.extensions) == 0


@pytest.mark.parametrize(("profile", "purpose"), [("client", "ClientAuth"), ("server", "ServerAuth")])
def test_any_other_subject_goes_as_it_is(mount, engine, order, profile, purpose):
    wanted = order("CN=phone,O=Acme", profile, names=("phone.lan",))
    engine.signs(engine.certificate(wanted), path=f"sign-verbatim/{profile}")

    mount.sign(wanted)
    (sent,) = engine.asked(f"sign-verbatim/{profile}")
    assert (sent["key_usage"], sent["ext_key_usage"]) == (["DigitalSignature"], [purpose])
    request = x509.load_pem_x509_csr(sent["csr"].encode())
    assert request.subject == wanted.subject
    (names,) = [each.value for each in request.extensions]
    assert names.get_values_for_type(x509.DNSName) == ["phone.lan"]

    mount.sign(order("CN=phone,O=Acme", profile))
    assert len(x509.load_pem_x509_csr(engine.asked(f"sign-verbatim/{profile}")[1]["csr"].encode()).extensions) == 0


def test_the_request_of_a_device_is_passed_on_where_it_says_the_same(mount, engine, order, holder_key):
    request = csr(holder_key, "CN=somebody")
    engine.signs(engine.certificate(order()))
    mount.sign(order(csr=request, private_key=None))
    assert engine.asked("sign/client")[0]["csr"].encode() == request

    request = csr(holder_key, "CN=phone,O=Acme")
    engine.signs(engine.certificate(order("CN=phone,O=Acme")), path="sign-verbatim/client")
    mount.sign(order("CN=phone,O=Acme", csr=request, private_key=None))
    assert engine.asked("sign-verbatim/client")[0]["csr"].encode() == request


@pytest.mark.parametrize(
    ("subject", "extensions"),
    [("CN=phone", ()), ("CN=phone,O=Acme", (x509.SubjectAlternativeName([x509.DNSName("bank.example")]),))],
)
def test_a_request_that_says_something_else_is_not_sent(mount, engine, order, holder_key, subject, extensions):
    wanted = order("CN=phone,O=Acme", csr=csr(holder_key, subject, *extensions), private_key=None)
    with pytest.raises(MtlsError, match="make the CSR with this subject and no extensions"):
        mount.sign(wanted)
    assert engine.bao.heard == []


def test_an_order_that_nobody_can_carry_out(mount, order):
    with pytest.raises(RuntimeError, match="without private key and CSR"):
        mount.sign(order(private_key=None))


@pytest.mark.parametrize(("status", "said"), [(400, "common name not allowed by this role"), (404, "")])
def test_a_role_that_refuses(mount, engine, order, status, said):
    engine.refuses("POST", "sign/client", said, status)
    with pytest.raises(MtlsError) as caught:
        mount.sign(order())
    assert f"role client does not sign for CN=phone: {said or 'status 404'}; correct the role" in str(caught.value)


def test_revoking_by_serial_or_by_the_certificate_itself(mount, engine, order):
    certificate = engine.certificate(order())
    engine.says("POST", "revoke", {"revocation_time": 1_795_000_000})
    assert mount.revoke("AB12", certificate) == datetime.fromtimestamp(1_795_000_000, UTC)
    assert engine.asked("revoke") == [{"serial_number": "ab:12"}]

    unknown = Reply(404, {"errors": ["certificate with serial ab:12 not found"]})
    engine.bao.says("POST", "/v1/pki/revoke", unknown, Reply(200, {"data": {"revocation_time": 1_795_000_000}}))
    mount.revoke("AB12", certificate)
    assert set(engine.asked("revoke")[-1]) == {"certificate"}

    engine.bao.says("POST", "/v1/pki/revoke", unknown)
    for known in (certificate, None):
        with pytest.raises(MtlsError, match="does not revoke AB12: certificate with serial ab:12 not found"):
            mount.revoke("AB12", known)
    engine.bao.says("POST", "/v1/pki/revoke", Reply(404, {"errors": []}))
    with pytest.raises(MtlsError, match="does not revoke AB12: status 404"):
        mount.revoke("AB12", None)


def test_crls(mount, engine):
    text = engine.crl()
    engine.says("GET", "issuer/default/crl", {"crl": text})
    assert mount.crl() == text.encode()
    engine.says("GET", "issuer/default/crl", {"crl": ""})
    assert mount.crl() is None

    engine.says("GET", "issuer/root/crl", {"crl": text})
    assert mount.crl("root") == text.encode()
    engine.says("LIST", "issuers", {"keys": ["default", "root"]})
    assert mount.issuers() == ["default", "root"]

    engine.says("GET", "crl/rotate", {"success": True})
    mount.rotate_crl()
    assert engine.asked("crl/rotate") == [None]
