# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every playbook with every backend, in an inventory that has other authorities too: the contract of the plays."""

from __future__ import annotations

import json

import pytest

from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client_files import Client
from ansible_collections.mtls.nginx.tests.ports import free_port
from ansible_collections.mtls.nginx.tests.tokens import PIN

from .conftest import REPOSITORY, own_certificate, tree
from .test_authorities import Elsewhere

BACKENDS = ("directory", "pkcs11", "openbao", "trust")
INSTEAD_OF_ROLLOVER = {
    "pkcs11": "Choose another mtls_ca_dir and another key",
    "openbao": "Add an issuer to the mount instead",
    "trust": "add their next certificate to mtls_ca_trust.certificates",
}


def play(site, name, **variables):
    return site.run("-e", json.dumps(variables), playbook=REPOSITORY / "playbooks" / f"{name}.yml")


def done(site, name, **variables):
    run = play(site, name, **variables)
    assert run.returncode == 0, run.text
    return run


def refused(site, name, **variables) -> str:
    run = play(site, name, **variables)
    assert run.returncode != 0, run.text
    assert "Traceback" not in run.text, run.text
    return " ".join(run.text.split())


@pytest.fixture
def elsewhere(tmp_path):
    return Elsewhere(tmp_path)


@pytest.fixture(params=BACKENDS)
def backend(request, site, elsewhere) -> str:
    """The backend of the inventory's own authority, with what it needs."""
    name = request.param
    if name != "directory":
        del site.all_vars["mtls_ca_passphrase"]
    site.all_vars["mtls_ca_backend"] = name
    if name == "pkcs11":
        token = request.getfixturevalue("token")
        (site.inventory / "pin").write_text(PIN)
        (site.inventory / "pin").chmod(0o600)
        site.all_vars["mtls_ca_pkcs11"] = {**token.settings(), "pin": None, "pin_file": "pin"}
    if name == "openbao":
        site.all_vars["mtls_ca_openbao"] = request.getfixturevalue("openbao").authority()
        del site.all_vars["mtls_ca_subject"]  # the mount has its own
    if name == "trust":
        site.all_vars["mtls_ca_trust"] = trust(elsewhere)
    return name


def trust(elsewhere) -> dict:
    return {
        "certificates": str(elsewhere.published / "ca.crt"),
        "crl": [str(elsewhere.published / "crl.pem")],
    }


@pytest.fixture
def several(site, upstream, elsewhere, backend):
    """One port and three services: for the backend's clients, for partners, for those of somebody else's authority."""
    site.port = free_port()
    nginx = site.add_host("nas")
    site.all_vars["mtls_authorities"] = [
        {
            "ca_dir": "partners",
            "ca_subject": {"CN": "Partners"},
            "ca_key_type": "ecdsa",
            "client_key_type": "ecdsa",
            "clients": [{"name": "partner"}, {"name": "leaver"}],
        },
        {"ca_dir": "visitors", "ca_backend": "trust", "ca_trust": trust(elsewhere), "clients": [{"name": "pepe"}]},
    ]
    site.host_vars["nas"].update(
        mtls_clients=[{"name": "pepe"}, {"name": "ana"}],
        mtls_services=[
            {
                "name": name,
                "server_names": [f"{name}.lan"],
                "listen": f"127.0.0.1:{site.port}",
                "upstream": upstream,
                **more,
            }
            for name, more in (("own", {}), ("portal", {"authority": "partners"}), ("open", {"authority": "visitors"}))
        ],
    )
    own, _portal, visitors = site.host_vars["nas"]["mtls_services"]
    for service in (visitors, *((own,) if backend == "trust" else ())):
        service["certificate"] = own_certificate(nginx.folder, "own.lan", "open.lan")
    return site


def entering(site, elsewhere, backend) -> dict[str, int]:
    partners = site.inventory / "partners" / "clients"
    callers = {
        name: (str(partners / name / f"{name}.crt"), str(partners / name / f"{name}.key"))
        for name in ("partner", "leaver")
    }
    services = dict.fromkeys(callers, "portal")
    for name in ("pepe", "ana"):
        callers[name] = elsewhere.identity(name) if backend == "trust" else site.identity(name)
        services[name] = "own"
    return {
        name: site.ask(site.port, identity=identity, host=f"{services[name]}.lan").status
        for name, identity in callers.items()
    }


def test_every_playbook_with_every_backend(several, elsewhere, backend):
    site = several
    done(site, "site")
    everybody = dict.fromkeys(("partner", "leaver", "pepe", "ana"), 200)
    assert entering(site, elsewhere, backend) == everybody
    assert done(site, "refresh_crl").changed == 0
    done(site, "status", mtls_status_live=True)
    status = json.loads((site.inventory / "status" / "status.json").read_text())
    assert {each["path"] for each in status["authorities"]} == {
        str(site.inventory / name) for name in ("pki", "partners", "visitors")
    }
    for service, client in (("own", "pepe"), ("portal", "partner"), ("open", "pepe")):
        done(site, "doctor", mtls_service=service, mtls_client=client)

    # A revocation comes to the host, also while another authority is out of order, and then the run fails.
    if backend == "trust":
        said = refused(site, "revoke", mtls_revoke="ana")
        assert f"{site.pki}, {site.inventory / 'visitors'}: is an external CA" in said
        elsewhere.clients(Client("pepe"), Client("ana", revoked=True))
        done(site, "refresh_crl")
    else:
        done(site, "revoke", mtls_revoke="ana")
    assert entering(site, elsewhere, backend) == {**everybody, "ana": 400}
    if backend == "trust":
        # What is not fit for nginx is not brought, and what the others have revoked is.
        other, broken, lost = site.pki, "crl.pem", "leaver"
        (elsewhere.published / "crl.pem").unlink()
    else:
        other, broken, lost = site.inventory / "partners", "index.txt", "pepe"
    good = (other / broken).read_bytes()
    (other / broken).write_bytes(b"nonsense\n")
    said = refused(site, "revoke", mtls_revoke=lost)
    assert str(other / broken) in said
    assert entering(site, elsewhere, backend) == {**everybody, "ana": 400, lost: 400}
    said = refused(site, "refresh_crl")
    assert str(other) in said
    (other / broken).write_bytes(good)
    if backend == "trust":
        elsewhere.clients(Client("pepe"), Client("ana", revoked=True))
    said = refused(site, "revoke", mtls_revoke="nobody")
    one_asked = "has no client, serial or fingerprint like this"
    assert (one_asked if backend == "trust" else "none of the authorities") in said

    next_one = {"mtls_step": "begin", "mtls_rollover_subject": {"CN": "Next"}}
    if backend == "directory":
        done(site, "rollover", **next_one)
        assert (site.pki / "next" / "ca.crt").exists()
    else:
        before = tree(site.pki)
        assert INSTEAD_OF_ROLLOVER[backend] in refused(site, "rollover", **next_one)
        assert tree(site.pki) == before
    done(site, "rollover", **next_one, mtls_rollover_dir="partners")
    assert (site.inventory / "partners" / "next" / "ca.crt").exists()
