# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile certificate signing requests: signed properly, or refused by client and file in one line."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import profiles
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.tests.unit.fuzz.hostile import damaged_pem, message_of
from ansible_collections.mtls.nginx.tests.unit.support import Pki, openssl, tree

KINDS = {
    "rsa": ("-newkey", "rsa:2048"),
    "weak": ("-newkey", "rsa:1024"),
    "ecdsa": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "explicit": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"),
    "strange curve": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"),
    "ed25519": ("-newkey", "ed25519"),
    "x448": ("-newkey", "ed448"),
    "pss": ("-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"),
    "md5": ("-newkey", "rsa:2048", "-md5"),
    "wants to be a CA": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-addext", "basicConstraints=CA:TRUE"),
}


@pytest.fixture(scope="session")
def requests(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("requests")
    for kind, arguments in KINDS.items():
        names = ("-nodes", "-subj", "/CN=x", "-keyout", folder / "key", "-out", folder / kind)
        openssl("req", "-new", *arguments, *names, cwd=folder)
    return {kind: (folder / kind).read_bytes() for kind in KINDS}


@given(st.data())
def test_a_request_is_read_or_refused_by_name(requests, data):
    kind = data.draw(st.sampled_from(sorted(requests)))
    pem = data.draw(st.one_of(damaged_pem(requests[kind]), st.just(requests[kind]), st.binary(max_size=200)))
    with tempfile.NamedTemporaryFile(suffix=".csr") as file:
        file.write(pem)
        file.flush()
        found = []
        said = message_of(lambda: found.append(profiles.read_csr(file.name, "client 'a'")))
        if said is not None:
            assert said.startswith(f"client 'a': CSR {file.name}: ")
        else:
            assert isinstance(found[0], x509.CertificateSigningRequest)
            assert found[0].is_signature_valid


@given(st.data())
def test_no_request_leaves_anything_half_done(pristine, requests, data):
    kind = data.draw(st.sampled_from(sorted(requests)))
    pem = data.draw(st.one_of(damaged_pem(requests[kind]), st.just(requests[kind])))
    with tempfile.TemporaryDirectory() as folder:
        pki = Pki.copy_of(pristine, Path(folder) / "pki")
        request = Path(folder) / "a.csr"
        request.write_bytes(pem)
        before = tree(pki.path)
        said = message_of(lambda: pki.serve(Client("a", csr=str(request)), Client("b")))
        if said is not None:
            assert str(request) in said
            before[str(pki.path / ".lock")] = tree(pki.path)[str(pki.path / ".lock")]
            assert tree(pki.path) == before
        else:
            certificate = x509.load_pem_x509_certificate(pki.file("a", ".crt").read_bytes())
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
            assert not constraints.ca
            assert pki.one(Client("a", csr=str(request))).action == "unchanged"


@pytest.mark.parametrize("what", ["a folder", "nothing", "a loop", "a NUL in its path", "a path that is too long"])
def test_a_path_that_is_no_file(pki, what):
    path = pki.path.parent / "request"
    with contextlib.suppress(OSError):
        if what == "a folder":
            path.mkdir()
        elif what == "a loop":
            path.symlink_to(path)
    odd = {"a NUL in its path": "\0", "a path that is too long": "x" * 5000}
    said = message_of(lambda: pki.one(Client("a", csr=f"{path}{odd.get(what, '')}")))
    assert said is not None
    assert str(path) in said
