# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that fetch their next certificate through the gate, by way of the playbooks. Each test builds on the last."""

from __future__ import annotations

import json
import shutil
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY, tree

EARLY, LATE = {"days": 5, "renew_before": 2}, {"days": 20, "renew_before": 10}
ENDINGS = ("p12", "mobileconfig", "pem")


@pytest.fixture(scope="module")
def home(module_site, upstream, tmp_path_factory):
    """`phone` and `laptop` are due from the second run on, `agent` has its key on the device; `tablet` is not due."""
    site = module_site
    site.port = free_port()
    site.nginx = site.add_host("web")
    site.old = tmp_path_factory.mktemp("old")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "agent")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    site.inventory.mkdir(exist_ok=True)
    (site.inventory / "agent.csr").write_bytes(csr.public_bytes(Encoding.PEM))
    (site.old / "agent.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    site.all_vars |= {"mtls_client_mobileconfig": True, "mtls_contact": {"name": "Ana", "url": "mailto:ana@x.test"}}
    site.host_vars["web"] |= {
        "mtls_self_renewal": True,
        "mtls_services": [
            {
                "name": "nas",
                "server_names": ["nas.lan"],
                "listen": f"127.0.0.1:{site.port}",
                "upstream": upstream,
                "allow": ["phone", "laptop", "agent", "tablet", "weak"],
            }
        ],
    }
    define(site, EARLY)
    site.ok()
    for who in ("phone", "laptop", "agent", "weak"):
        for ending in ("crt", "key"):
            path = site.pki / "clients" / who / f"{who}.{ending}"
            if path.exists():
                shutil.copy(path, site.old)
    return site


def define(site, dates, **more):
    due = [
        {"name": "phone"},
        {"name": "laptop"},
        {"name": "agent", "csr": "agent.csr"},
        {"name": "weak", "p12_password": "one of my own"},
    ]
    site.host_vars["web"]["mtls_clients"] = [
        *({**client, **dates, **more.get(client["name"], {})} for client in due),
        {"name": "tablet", **EARLY},
    ]


def old(site, who):
    return str(site.old / f"{who}.crt"), str(site.old / f"{who}.key")


def waiting(site):
    folder = site.nginx.folder / "client-renewals"
    return sorted(folder.iterdir()) if folder.exists() else []


def fetch(site, who, ending):
    return site.ask(site.port, f"/.mtls/renewal.{ending}", identity=old(site, who))


def notes(site):
    return json.loads((site.pki / "clients" / "renewals.json").read_text())["renewals"].values()


def test_before_it_is_due_there_is_nothing(home):
    assert home.ok().changed == 0
    assert waiting(home) == []
    assert b"There is nothing to do" in home.ask(home.port, "/.mtls/", client="phone").body
    assert [fetch(home, "phone", ending).status for ending in ENDINGS] == [404, 404, 404]


def test_check_mode_writes_nothing(home):
    define(home, LATE)
    before = tree(home.pki), tree(home.nginx.folder / "client-certs")
    run = home.ok("--check", "--diff")
    assert "renewals.map" in run.text
    assert (tree(home.pki), tree(home.nginx.folder / "client-certs")) == before
    assert waiting(home) == []


def test_the_run_that_renews_offers(home):
    run = home.ok()
    said = " ".join(run.text.split())
    assert "client 'weak': its .p12 is not handed out at /.mtls/, because its password was not generated here" in said
    for who in ("phone", "laptop"):
        folder = home.pki / "clients" / who
        assert fetch(home, who, "p12").body == (folder / f"{who}.p12").read_bytes()
        assert fetch(home, who, "mobileconfig").body == (folder / f"{who}.mobileconfig").read_bytes()
        assert b"is ready" in home.ask(home.port, "/.mtls/", identity=old(home, who)).body
    assert b"Ana" in home.ask(home.port, "/.mtls/mac", client="tablet").body
    for path in waiting(home):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert b"PRIVATE KEY" not in path.read_bytes()
    assert len(waiting(home)) == 3 + 3 + 1 + 1


def test_of_a_key_that_stays_on_the_device_there_is_the_chain(home):
    answer = fetch(home, "agent", "pem")
    assert answer.body == (home.pki / "clients/agent/agent.crt").read_bytes()
    assert fetch(home, "agent", "p12").status == 404
    (home.old / "agent-next.pem").write_bytes(answer.body)


def test_a_password_of_ones_own_is_not_strong_enough(home):
    assert fetch(home, "weak", "p12").status == 404
    assert fetch(home, "weak", "mobileconfig").status == 404
    assert x509.load_pem_x509_certificate(fetch(home, "weak", "pem").body)


def test_a_second_run_changes_nothing(home):
    assert home.ok().changed == 0


def test_who_has_fetched_is_noted_and_keeps_the_offer(home):
    assert sum(note["fetched"] is not None for note in notes(home)) >= 3
    assert not any(note["used"] for note in notes(home))
    assert fetch(home, "phone", "p12").status == 200


def test_the_passwords_file_may_be_deleted_once_it_is_handed_over(home):
    home.all_vars["mtls_keep_client_keys"] = False
    home.ok()
    (home.pki / "clients/laptop/laptop.p12.password").unlink()
    run = home.ok()
    assert "'laptop': its .p12 is not handed out" not in run.text
    assert fetch(home, "laptop", "p12").status == 200


def test_once_the_next_one_is_used_it_is_withdrawn(home):
    before = len(waiting(home))
    new = home.old / "agent-next.pem"
    assert home.status(home.port, "/", identity=(str(new), str(home.old / "agent.key"))) == 200
    home.ok()
    assert len(waiting(home)) == before - 1
    assert fetch(home, "agent", "pem").status == 404
    assert home.status(home.port, identity=old(home, "agent")) == 200, "the old one is valid as before"
    assert home.ok().changed == 0


def test_the_status_names_who_never_came(home):
    home.ok()
    run = home.run(playbook=REPOSITORY / "playbooks" / "status.yml")
    said = " ".join(run.text.split())
    assert "Clients that have not fetched their next certificate" in said
    status = json.loads((home.inventory / "status" / "status.json").read_text())
    (finding,) = (each for each in status["findings"] if each["kind"] == "renewal_waiting")
    assert [about.partition(" ")[0] for about in finding["about"]] == ["weak"] or finding["about"]
    assert "Ana" in finding["remedy"]
    renewals = {client["name"]: client["renewal"] for client in status["authorities"][0]["clients"]}
    assert renewals["tablet"] is None
    assert renewals["agent"]["state"] == "used"
    assert renewals["phone"]["state"] == "fetched"
    page = (home.inventory / "status" / "status.html").read_text()
    assert "fetched" in page


def test_the_handout_names_the_address(home):
    page = (home.pki / "clients/phone/phone.html").read_text()
    assert f'href="https://nas.lan:{home.port}/.mtls/"' in page


def test_a_failing_change_leaves_the_offers_as_they_were(home):
    before = {path.name: path.read_bytes() for path in waiting(home)}
    broken = home.nginx.folder / "conf.d" / "own.conf"
    broken.write_text("server { listen 127.0.0.1:1; no_such_directive on; }\n")
    define(home, LATE, phone={"state": "revoked"})
    said = home.refused()
    assert "no_such_directive" in said
    assert {path.name: path.read_bytes() for path in waiting(home)} == before
    broken.unlink()


def test_who_is_revoked_loses_it_with_the_crl(home):
    before = len(waiting(home))
    run = home.run(playbook=REPOSITORY / "playbooks" / "refresh_crl.yml")
    assert run.returncode == 0, run.text
    assert len(waiting(home)) == before - 3
    assert fetch(home, "phone", "p12").status == 400
    home.ok()
    assert home.ok().changed == 0


def test_turned_off_nothing_of_it_is_left(home):
    home.host_vars["web"]["mtls_self_renewal"] = False
    home.ok()
    assert waiting(home) == []
    left = [path for path in tree(home.nginx.folder) if "renewal" in path and not path.startswith("log/")]
    assert left == []
    assert home.ask(home.port, "/.mtls/", identity=old(home, "laptop")).status == 200
    assert home.ok().changed == 0
