# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory may say of TLS to an upstream; that nginx does it is the gate tests' business."""

from __future__ import annotations

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common.errors import MtlsError
from ansible_collections.mtls.nginx.plugins.module_utils.site import upstream_tls
from ansible_collections.mtls.nginx.plugins.module_utils.site.services import parse_services
from ansible_collections.mtls.nginx.plugins.module_utils.site.upstream_tls import UpstreamTls
from ansible_collections.mtls.nginx.tests.authorities import new_authority


def parse(upstream, **said):
    raw = {"name": "nas", "server_names": ["nas.lan"], "upstream": upstream}
    if said:
        raw["upstream_tls"] = {"verify": True, "ca": None, "name": None, "client": None, **said}
    (service,) = parse_services("web", [raw])
    return service.upstream_tls


def test_verified_by_default_for_the_name_in_the_upstream():
    assert parse("https://backend.lan.:8443/x", ca="ca.crt") == UpstreamTls(True, "ca.crt", "backend.lan", None)
    assert parse("https://192.0.2.7", ca="ca.crt", name="b.lan") == UpstreamTls(True, "ca.crt", "b.lan", None)
    assert parse("https://192.0.2.7", verify=False) == UpstreamTls(False, None, None, None)
    assert parse("http://192.0.2.7") is None


@pytest.mark.parametrize(
    ("upstream", "said", "error"),
    [
        ("https://b.lan", {}, r"nothing says which CA nginx is to trust .*\{ca: system\}.*\{verify: false\}"),
        ("https://b.lan", {"name": "c.lan"}, "nothing says which CA"),
        ("http://b.lan", {"ca": "ca.crt"}, "upstream_tls is about an https:// upstream"),
        ("https://b.lan", {"verify": False, "ca": "ca.crt"}, "with verify: false the ca is not used"),
        ("https://192.0.2.7", {"ca": "ca.crt"}, "has no host name"),
        ("https://unix:/run/app.sock", {"ca": "ca.crt"}, "has no host name"),
        ("https://b.lan", {"ca": "ca.crt", "name": "192.0.2.7"}, "name '192.0.2.7' is not a host name"),
        ("https://b.lan", {"ca": "ca.crt", "name": "b.lan; x"}, "name 'b.lan; x' is not a host name"),
        ("https://b.lan", {"ca": "ca.crt", "name": "$host"}, "is not a host name"),
        ("https://b.lan", {"ca": "ca.crt", "name": "*.lan"}, "is not a host name"),
    ],
)
def test_refused(upstream, said, error):
    with pytest.raises(MtlsError, match=f"host web, service nas: .*{error}"):
        parse(upstream, **said)


CLIENTS = {"backend": {"name": "backend"}}


@pytest.mark.parametrize(
    ("name", "definition", "kept", "error"),
    [
        ("backnd", None, True, "client 'backnd' is not a client; did you mean 'backend'?"),
        ("zoe", None, True, "client 'zoe' is not a client; add it to mtls_clients"),
        ("backend", {"state": "revoked"}, True, "client 'backend' is revoked"),
        ("backend", {"csr": "/x.csr"}, True, "has a csr, so its key is on a device"),
        ("backend", {}, False, "give that client p12: none"),
    ],
)
def test_a_client_as_which_nginx_cannot_come(name, definition, kept, error):
    with pytest.raises(MtlsError, match=error.replace("?", r"\?")):
        upstream_tls.check_client("host web, service nas", name, definition, known=CLIENTS, keys_kept=kept)


def test_a_client_as_which_nginx_can_come():
    for definition, kept in (({}, True), ({"p12": "none"}, False)):
        upstream_tls.check_client("here", "backend", definition, known=CLIENTS, keys_kept=kept)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An authority, whose root there is."""
    made = tmp_path_factory.mktemp("pki")
    new_authority(made, {"CN": "Backend CA"}, days=10, crl_days=5)
    return made


def test_only_certificates_get_to_the_host(folder, tmp_path):
    certificate = (folder / "ca.crt").read_text()
    file = tmp_path / "ca.crt"
    file.write_text(f"Certificate: José's\n{certificate}\n{certificate}")
    assert upstream_tls.read_ca("here", str(file)) == certificate * 2


def test_what_is_no_ca_file(folder, tmp_path):
    file = tmp_path / "ca.crt"
    with pytest.raises(MtlsError, match=r"ca .*ca.crt: No such file or directory; put"):
        upstream_tls.read_ca("here", str(file))
    file.write_text((folder / "ca.crt").read_text() + (folder / "ca.key").read_text())
    with pytest.raises(MtlsError, match="holds a private key"):
        upstream_tls.read_ca("here", str(file))
    for text in ("", "nothing", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"):
        file.write_text(text)
        with pytest.raises(MtlsError, match="is damaged, or holds no certificate"):
            upstream_tls.read_ca("here", str(file))


def test_a_chain_without_its_end_is_refused(pki):
    """nginx would answer 502 to everybody: it follows a chain up to a root."""
    pki.serve(Client("leaf"))
    with pytest.raises(MtlsError, match="has no root CA, and nginx follows a chain to its end; add the certificate of"):
        upstream_tls.read_ca("here", str(pki.path / "clients/leaf/leaf.crt"))
