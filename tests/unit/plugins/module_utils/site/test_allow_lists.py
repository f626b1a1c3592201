# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory's allow list may hold, and what is said of everything else."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import allow_lists
from ansible_collections.mtls.nginx.plugins.module_utils.site.allow_lists import AllowList


@pytest.fixture
def parse(tmp_path):
    return lambda *raw: allow_lists.parse("host nas, service nas: allow", raw, lambda _what, path: str(tmp_path / path))


def certificate() -> x509.Certificate:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, "anna"), x509.NameAttribute(NameOID.USER_ID, "7")]
    name = x509.Name([x509.RelativeDistinguishedName(attributes)])
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(1))
    return builder.sign(key, hashes.SHA256())


def test_names_and_subjects_each_once_in_their_order(parse):
    found = parse("b", "a", {"dn": "CN=x,O=Acme"}, 7, "b", {"dn": "CN=X,O=acme"})
    assert found == AllowList(("b", "a", "7"), ("CN=x,O=Acme",))
    assert not parse()
    assert parse({"dn": "CN=x"})


def test_whom_it_has():
    listed = AllowList(("phone",), ("CN=Anna,O=Acme",))
    assert listed.has("phone", None)
    assert listed.has(None, "CN=anna,O=ACME")  # nginx's maps ignore case
    assert not listed.has("Phone", "CN=phone")
    assert not listed.has(None, None)
    assert not listed.has("CN=Anna,O=Acme", None)


@pytest.mark.parametrize("encoding", [serialization.Encoding.PEM, serialization.Encoding.DER])
def test_the_subject_of_a_certificate(parse, tmp_path, encoding):
    (tmp_path / "anna.crt").write_bytes(b"CN=anna\n" * (encoding is serialization.Encoding.PEM))
    with (tmp_path / "anna.crt").open("ab") as stream:
        stream.write(certificate().public_bytes(encoding))
    (dn,) = parse({"certificate": "anna.crt"}).subjects
    assert sorted(dn.split("+")) == ["CN=anna", "UID=7"]


@pytest.mark.parametrize(
    ("item", "said"),
    {
        "a list": (["phone"], "is not the name of a client; write a name, or a dictionary of dn or certificate"),
        "true": (True, "is not the name of a client"),
        "nothing": (None, "is not the name of a client"),
        "an empty one": ({}, "has nothing in it; give it dn or certificate"),
        "both": ({"dn": "CN=x", "certificate": "x.crt"}, "has 'dn', 'certificate'; give it dn or certificate"),
        "a typing mistake": ({"DN": "CN=x"}, "has 'DN'; give it dn or certificate"),
        "no text": ({"dn": 7}, "dn is 7, not text; put it in quotes"),
        "no subject": ({"dn": "phone"}, "dn 'phone' is not a subject; print the certificate's with: openssl x509"),
        "no value": ({"dn": "CN="}, "dn 'CN=' is not a subject"),
        "no attribute": ({"dn": "XY=1"}, "dn 'XY=1' is not a subject"),
        "slashes": ({"dn": "/O=Acme/CN=x"}, "is not in nginx's DN format, in which it may be 'CN=x,O=Acme'"),
        "openssl's usual spelling": (
            {"dn": "O = Acme, CN = x"},
            "in which it may be 'O=Acme,CN=x', or the same in another order",
        ),
        "letters with accents": ({"dn": "CN=Jos\N{LATIN SMALL LETTER E WITH ACUTE}"}, r"may be 'CN=Jos\\C3\\A9'"),
        "no certificate": ({"certificate": "gone.crt"}, "gone.crt: no such file or directory; name a certificate file"),
        "a folder": ({"certificate": "."}, "is a directory; name a certificate file"),
    }.values(),
)
def test_anything_else_is_refused_with_its_place(parse, item, said):
    with pytest.raises(MtlsError) as caught:
        parse("phone", item)
    assert str(caught.value).startswith("host nas, service nas: allow, item 2")
    assert said in str(caught.value)


def test_a_file_without_a_certificate_is_named(parse, tmp_path):
    (tmp_path / "anna.crt").write_text("-----BEGIN NOTHING-----\n")
    with pytest.raises(MtlsError, match=r"allow, item 1: /.*/anna.crt: holds no certificate in PEM or DER"):
        parse({"certificate": "anna.crt"})
