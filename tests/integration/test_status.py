# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status playbook on a real site: what it writes, and how it ends."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess

import pytest

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import PASSPHRASE, tree

STATUS = "mtls.nginx.status"


@pytest.fixture
def two_hosts(site, upstream):
    site.port = free_port()
    for name, port in (("nas", site.port), ("web", free_port())):
        service = {"name": name, "server_names": [f"{name}.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
        site.add_host(name, mtls_services=[service])
    site.host_vars["nas"]["mtls_clients"] = [{"name": "phone"}, {"name": "laptop", "renew_before": 100}]
    site.host_vars["nas"]["mtls_services"][0]["allow"] = ["phone"]
    return site


def status(site, *arguments):
    """Run it, and return its exit code, its output as one line, and the document."""
    run = site.run(*arguments, playbook=STATUS)
    assert "Traceback" not in run.text, run.text
    document = site.inventory / "status" / "status.json"
    found = json.loads(document.read_text(encoding="utf-8")) if document.exists() else None
    return run, " ".join(run.text.split()), found


def kinds(document):
    return [finding["kind"] for finding in document["findings"]]


def test_from_before_the_first_run_to_the_last_day(two_hosts):
    site = two_hosts
    folder = site.inventory / "status"

    # Nothing is there yet: one message, and a page that says so.
    run, said, found = status(site)
    assert run.returncode == 2
    assert f"There is no authority yet: {site.pki}" in said
    assert kinds(found) == ["authority_missing"]
    assert "There is no authority yet" in (folder / "status.html").read_text(encoding="utf-8")
    assert not site.pki.exists()
    assert not any(PASSPHRASE.encode() in content for _mode, content in tree(folder).values())

    # All is well. No passphrase is needed, and nothing but the three files is written.
    site.ok()
    pki = tree(site.pki)
    del site.all_vars["mtls_ca_passphrase"]
    run, said, found = status(site)
    assert run.returncode == 0, run.text
    assert f"2 clients, 2 services: nothing needs attention. {folder}/status.html" in said
    assert run.changed == 1
    assert tree(site.pki) == pki
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "status.html": 0o640,
        "status.json": 0o640,
        "mtls_status.prom": 0o644,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    (authority,) = found["authorities"]
    assert {client["name"]: client["enters"] for client in authority["clients"]} == {
        "laptop": ["web/web"],
        "phone": ["nas/nas", "web/web"],
    }
    assert found["hosts"] == []

    # Again: nothing has changed but the time, which is told. Another mode of a file stays.
    (folder / "status.html").chmod(0o644)
    run, _said, again = status(site)
    assert run.changed == 0, run.text
    assert again.pop("generated") >= found.pop("generated")
    assert again == found
    assert stat.S_IMODE((folder / "status.html").stat().st_mode) == 0o644

    # Check mode tells the same, of one host as of all, and writes nothing.
    before = tree(folder)
    site.host_vars["nas"]["mtls_clients"].append({"name": "tablet"})
    run, said, _found = status(site, "--check", "--diff", "--limit", "web")
    assert run.returncode == 2
    assert "Clients without a certificate: tablet" in said
    assert '+ {"name": "tablet", "dn": null, "certificate": {"state": "none"' in said
    assert tree(folder) == before
    run, said, found = status(site)
    assert run.returncode == 2
    assert kinds(found) == ["client_none"]
    assert found["findings"][0]["command"] == f"ansible-playbook -i {site.source} mtls.nginx.site"

    # What ends within as many days as one wants to know of.
    del site.host_vars["nas"]["mtls_clients"][2]
    run, said, found = status(site, "-e", "mtls_warn_days=366", "-e", "mtls_status_textfile_dir=" + str(site.folder))
    assert run.returncode == 2
    assert "Clients whose certificate expires soon: laptop (" in said
    assert kinds(found) == ["server_soon", "client_soon"]
    assert 'mtls_authority_clients{authority="' in (site.folder / "mtls_status.prom").read_text(encoding="utf-8")
    assert "use 0 or more" in status(site, "-e", "mtls_warn_days=-1")[1]

    # A CRL that nobody renewed.
    command = ["openssl", "ca", "-config", "openssl.cnf", "-gencrl", "-crldays", "4", "-out", "crl.pem", "-passin"]
    subprocess.run([*command, f"pass:{PASSPHRASE}"], cwd=site.pki, check=True, capture_output=True)
    run, said, found = status(site)
    assert run.returncode == 2
    assert kinds(found) == ["crl_soon"]
    assert "The CRL should have been renewed by now" in said


def test_hosts_asked_live(two_hosts):
    site = two_hosts
    run, said, found = status(site, "-e", "mtls_status_live=true")
    assert run.returncode == 2, run.text
    assert found, run.text
    assert [host["state"] for host in found["hosts"]] == ["wrong", "wrong"]
    assert found["hosts"][0]["troubles"] == [
        "nginx is not running",
        (
            f"{site.pki}: there is no authority (ca.crt is missing); if there was one, restore that directory, or"
            " correct mtls_ca_dir; a new one is made by mtls.nginx.ca_init, as site.yml runs it"
        ),
    ]
    assert "Failure using method" not in said

    site.ok()
    run, _said, found = status(site, "-e", "mtls_status_live=true")
    assert run.returncode == 0, run.text
    assert [(host["name"], host["state"]) for host in found["hosts"]] == [
        ("nas", "as it should be"),
        ("web", "as it should be"),
    ]
    assert all(attempt["ok"] for host in found["hosts"] for attempt in host["attempts"])

    # One is gone, another cannot be reached by Ansible: both are on the page.
    site.hosts["nas"].stop()
    site.host_vars["web"] |= {"ansible_connection": "ssh", "ansible_port": free_port(), "ansible_host": "127.0.0.1"}
    run, said, found = status(site, "-e", "mtls_status_live=true")
    assert run.returncode == 2, run.text
    nas, web = found["hosts"]
    assert nas["state"] == "wrong"
    assert nas["troubles"][0] == "nginx is not running"
    assert "got connection refused instead of" in nas["troubles"][1]
    assert web["state"] == "unreachable"
    assert all(attempt["ok"] for attempt in web["attempts"])
    assert "Hosts that do not work as they should: nas (nginx is not running" in said
    assert "Hosts that cannot be reached: web (" in said


def test_the_files_stay_out_of_an_inventory_folder(two_hosts):
    site = two_hosts
    site.source = site.inventory
    run, said, _found = status(site)
    assert run.returncode == 2
    assert f"{site.inventory}/status would lie inside the inventory folder" in said
    assert not (site.inventory / "status").exists()


def test_a_host_that_has_missed_a_revocation(two_hosts):
    """The key of the device is not on the controller, so that no probe can show that it still gets in."""
    site = two_hosts
    key = str(site.folder / "watch.key")
    made = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"]
    site.write()
    request = str(site.inventory / "watch.csr")
    subprocess.run([*made, "/CN=watch", "-keyout", key, "-out", request], check=True, capture_output=True)
    watch = {"name": "watch", "csr": "watch.csr"}
    site.host_vars["nas"]["mtls_clients"].append(watch)
    site.host_vars["nas"]["mtls_services"][0]["allow"].append("watch")
    site.ok()
    backup = site.folder / "backup"
    shutil.copytree(site.pki, backup)

    watch["state"] = "revoked"
    left_out = "NOT IN THIS RUN, so the new CRL does not get there: nas"
    assert left_out in site.ok("--limit", "web", "--check").text
    assert left_out in site.ok("--limit", "web").text
    assert "NOT IN THIS RUN" not in site.ok("--limit", "web").text, "no CRL was written"
    identity = (site.identity("watch")[0], key)
    assert site.status(site.port, identity=identity) == 200
    run, said, found = status(site, "-e", "mtls_status_live=true")
    assert run.returncode == 2, run.text
    assert "crl_missed" in kinds(found)
    assert "Hosts that have missed a CRL: whoever was revoked since gets in: nas (" in said
    assert ": watch (" in said
    assert [host["state"] for host in found["hosts"]] == ["wrong", "as it should be"]

    site.host_vars["nas"]["mtls_services"][0]["allow"].remove("watch")
    assert "NOT IN THIS RUN" not in site.ok().text
    assert site.status(site.port, identity=identity) == 400
    run, said, found = status(site, "-e", "mtls_status_live=true")
    assert run.returncode == 0, run.text

    # A backup from before: each run refuses to go on with it, and the status says so first.
    shutil.rmtree(site.pki)
    shutil.copytree(backup, site.pki)
    del watch["state"]
    run, said, found = status(site, "-e", "mtls_status_live=true")
    assert run.returncode == 2, run.text
    assert kinds(found) == ["host_wrong"]
    for host in found["hosts"]:
        assert any(trouble.startswith(f"host {host['name']} has CRL 2 of ") for trouble in host["troubles"])
    assert "which is older: whoever was revoked in between would get in again" in said
