# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An https:// upstream by way of `site.yml`: its CA from the controller, and nginx as a client of the authority."""

from __future__ import annotations

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.tests.gate import pki
from ansible_collections.mtls.nginx.tests.gate.tls_upstream import TlsUpstream
from ansible_collections.mtls.nginx.tests.ports import free_port


@pytest.fixture
def backend_ca(tmp_path):
    return pki.Authority(tmp_path / "backend-ca", "Backend CA")


@pytest.fixture
def backend(backend_ca):
    made = TlsUpstream(backend_ca.server("backend.lan"))
    yield made
    made.stop()


@pytest.fixture
def behind(site, backend, backend_ca):
    """A site whose service comes to its upstream as `nas-to-backend`; nothing has been run yet."""
    site.port = free_port()
    site.client = {"name": "nas-to-backend", "p12": "none", "days": 10, "renew_before": 1}
    site.nginx = site.add_host("web", mtls_clients=[{"name": "phone"}, site.client])
    (site.inventory / "files").mkdir()
    (site.inventory / "files" / "backend-ca.crt").write_text(f"The backend's CA.\n{backend_ca.chain}")
    site.service = {
        "name": "nas",
        "server_names": ["nas.lan"],
        "listen": f"127.0.0.1:{site.port}",
        "upstream": f"https://127.0.0.1:{backend.port}",
        "upstream_tls": {"ca": "files/backend-ca.crt", "name": "backend.lan", "client": "nas-to-backend"},
        "allow": ["phone"],
    }
    site.host_vars["web"]["mtls_services"] = [site.service]
    return site


def comes_as(site, backend) -> x509.Certificate:
    """The certificate that the backend, which asks for one now, is shown."""
    backend.trust((site.pki / "ca.crt").read_text())
    backend.take()
    assert site.status(site.port, client="phone") == 200
    (visit,) = backend.take()
    assert (visit.sni, visit.client) == ("backend.lan", "nas-to-backend")
    return x509.load_der_x509_certificate(visit.certificate)


def test_from_the_inventory_to_the_backend_and_back(behind, backend, backend_ca):
    folder = behind.nginx.folder / "mtls-upstream"
    # Check mode, before there is an authority: nginx is asked about a certificate that stands in.
    behind.ok("--check")
    assert not folder.exists()

    behind.ok()
    first = comes_as(behind, backend)
    assert sorted((path.name, path.stat().st_mode & 0o777) for path in folder.iterdir()) == [
        ("nas.ca.crt", 0o644),
        ("nas.crt", 0o644),
        ("nas.key", 0o600),
    ]
    assert (folder / "nas.ca.crt").read_text() == backend_ca.chain
    assert behind.ok().changed == 0

    # Renewed as any other, and on the host in the same run.
    del behind.client["days"], behind.client["renew_before"]
    assert behind.ok().hosts["web"]["changed"] > 0
    second = comes_as(behind, backend)
    assert first.serial_number != second.serial_number
    assert behind.ok().changed == 0

    # What stands in the diff is never the key.
    (folder / "nas.key").write_text("broken")
    shown = behind.run("--check", "--diff").text
    assert "nas.key" in shown
    assert "PRIVATE KEY" not in shown

    # Without the option the files go.
    behind.service["upstream_tls"] = {"verify": False}
    behind.ok()
    assert list(folder.iterdir()) == []


def test_another_ca_is_an_upstream_that_does_not_answer(behind, backend, tmp_path):
    other = pki.Authority(tmp_path / "other-ca", "Other CA")
    (behind.inventory / "files" / "backend-ca.crt").write_text(other.chain)
    said = " ".join(behind.ok().text.split())
    assert "does not answer (502), or its certificate is not for backend.lan, or not by the CA of upstream_tls" in said
    assert behind.status(behind.port, client="phone") == 502
    assert backend.take() == []


REFUSALS = {
    "nothing said": (None, "is https, and nothing says which CA nginx is to trust there; give upstream_tls"),
    "a client that is none": ({"client": "nas-to-bakend"}, "is not a client; did you mean 'nas-to-backend'?"),
    "a file that is missing": ({"ca": "files/no.crt"}, "files/no.crt: No such file or directory"),
    "half an option": ({"verify": "perhaps"}, "verify is not true or false"),
    "an option that there is not": ({"verfy": False}, "did you mean verify?"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refused(behind, what):
    changes, said = REFUSALS[what]
    if changes is None:
        del behind.service["upstream_tls"]
    else:
        behind.service["upstream_tls"].update(changes)
    assert said in behind.refused()
    assert not (behind.nginx.folder / "conf.d" / "mtls-nas.conf").exists()


def test_a_client_whose_key_is_not_here_is_refused(behind):
    clients = behind.host_vars["web"]["mtls_clients"]
    clients[1]["state"] = "revoked"
    assert "upstream_tls: client 'nas-to-backend' is revoked" in behind.refused()
    clients[1] = {"name": "nas-to-backend"}
    behind.all_vars["mtls_keep_client_keys"] = False
    assert "give that client p12: none" in behind.refused()
