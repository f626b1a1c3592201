# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: one message that names host, client or file and the remedy; nothing changed, everybody still served."""

from __future__ import annotations

import contextlib
import copy
import datetime
import os
import re
import shutil
import socket
import subprocess

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.mtls.nginx.plugins.module_utils.ca.crypto import keys, profiles, subjects
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY, tree

# What a run notes for itself, and the pages for people, which tell what the inventory says by now.
_NO_MATTER = re.compile(r"\.lock|\.settled|clients/handouts\.json|clients/[^/]+/[^/]+\.html")


@pytest.fixture(scope="module")
def running(module_site, upstream):
    """A site that works, with one host."""
    site = module_site
    site.port = free_port()
    site.nginx = site.add_host("nas", mtls_clients=[{"name": "iphone-admin"}, {"name": "laptop"}])
    site.host_vars["nas"]["mtls_services"] = [
        {
            "name": "nas",
            "server_names": ["nas.lan"],
            "listen": f"127.0.0.1:{site.port}",
            "upstream": upstream,
            "allow": ["iphone-admin"],
        }
    ]
    site.ok()
    return site


@pytest.fixture
def broken(running):
    """The same site, for a test to break: everything is put back, and must not have been changed by the run."""
    site = running
    variables = copy.deepcopy((site.all_vars, site.host_vars))
    kept = site.folder / "kept"
    shutil.copytree(site.pki, kept, symlinks=True)
    yield site
    site.all_vars, site.host_vars = variables
    shutil.rmtree(site.pki)
    kept.rename(site.pki)
    assert site.status(site.port, client="iphone-admin") == 200
    assert site.status(site.port, client="laptop") == 403


def refused(site, *said, untouched=True):
    before = site.state() if untouched else None
    text = site.refused()
    for words in said:
        assert words in text, text
    if untouched:
        assert site.state() == before


@pytest.fixture(autouse=True)
def state(running):
    def snapshot():
        conf = {path: file for path, file in tree(running.nginx.folder).items() if not path.startswith("log/")}
        return {path: file for path, file in tree(running.pki).items() if not _NO_MATTER.fullmatch(path)}, conf

    running.state = snapshot


def client(site, **changes):
    site.host_vars["nas"]["mtls_clients"].append(changes)


def service(site, **changes):
    site.host_vars["nas"]["mtls_services"][0] |= changes


def second_service(site, **changes):
    services = site.host_vars["nas"]["mtls_services"]
    services.append({**services[0], **changes})


INVENTORIES = {
    "a variable that nothing reads": (
        lambda site: site.all_vars.update(mtls_service=[{"name": "nas"}]),
        "host nas: mtls_service is for one run (-e mtls_service=...) and does nothing in the inventory; did you mean",
    ),
    "a misspelled variable": (
        lambda site: site.all_vars.update(mtls_revokd=[{"serial": "0A"}]),
        "host nas: there is no variable mtls_revokd; did you mean mtls_revoked?",
    ),
    "client name with a slash": (lambda site: client(site, name="a/b"), "host nas", "'a/b'"),
    "client name with dots": (lambda site: client(site, name=".."), "host nas", "'..'"),
    "client name with a control character": (lambda site: client(site, name="a\tb"), "host nas", "control"),
    "client name too long": (lambda site: client(site, name="n" * 65), "host nas", "65 characters", "64"),
    "client twice, differently": (
        lambda site: client(site, name="laptop", days=3),
        "client 'laptop' is defined by host nas twice, differently (days",
    ),
    "names that differ in case": (lambda site: client(site, name="Laptop"), "'laptop'", "'Laptop'", "case"),
    "allow names nobody": (
        lambda site: service(site, allow=["iphone-amdin"]),
        "host nas, service nas: allow names 'iphone-amdin'",
        "did you mean 'iphone-admin'?",
    ),
    "two services of one name": (
        lambda site: second_service(site, listen="1"),
        "host nas",
        "two services are named 'nas'",
    ),
    "one server name and port twice": (
        lambda site: second_service(site, name="other"),
        "services nas and other both answer to nas.lan on port",
    ),
    "neither upstream nor root": (
        lambda site: site.host_vars["nas"]["mtls_services"][0].pop("upstream"),
        "neither upstream nor root",
    ),
    "an option that is none": (lambda site: service(site, alow=["x"]), "host nas", "alow"),
    "wrong passphrase": (lambda site: site.all_vars.update(mtls_ca_passphrase="no"), "ca.key", "passphrase"),
    "no passphrase": (lambda site: site.all_vars.pop("mtls_ca_passphrase"), "ca.key", "passphrase"),
    "days beyond the CA's end": (lambda site: client(site, name="eternal", days=9000), "eternal", "9000"),
    "a request that is none": (
        lambda site: (client(site, name="agent", csr="x.csr"), (site.inventory / "x.csr").write_text("rubbish")),
        "agent",
        "x.csr",
    ),
}


@pytest.mark.parametrize("name", INVENTORIES)
def test_inventory(broken, name):
    spoil, *said = INVENTORIES[name]
    spoil(broken)
    refused(broken, *said)


def another_key(pki):
    subprocess.run(
        ["openssl", "ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", pki / "ca.key"],
        check=True,
        capture_output=True,
    )


def truncated_index(pki):
    index = pki / "index.txt"
    index.write_bytes(index.read_bytes()[:-20])


def expired_ca(pki):
    shutil.rmtree(pki)
    pki.mkdir()
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = subjects.subject_name({"C": "ES", "O": "Test", "CN": "Test Root CA"}, "CA")
    ended = profiles.Validity(now - datetime.timedelta(days=9), now - datetime.timedelta(days=1))
    (pki / "ca.crt").write_bytes(profiles.ca_certificate(key, name, 1, ended).public_bytes(serialization.Encoding.PEM))
    keys.save_new_key(str(pki / "ca.key"), key)


AUTHORITIES = {
    "a key that does not match": (another_key, "ca.key", "ca.crt"),
    "a truncated index": (truncated_index, "index.txt"),
    "a foreign index": (lambda pki: (pki / "index.txt").write_text("name,serial\nx,1\n"), "index.txt", "line 1"),
    "an expired CA": (expired_ca, "ca.crt", "expired"),
}


@pytest.mark.parametrize("name", AUTHORITIES)
def test_authority(broken, name):
    spoil, *said = AUTHORITIES[name]
    spoil(broken.pki)
    if name in ("a key that does not match", "an expired CA"):
        del broken.all_vars["mtls_ca_passphrase"]
    client(broken, name="one-more")
    refused(broken, *said)


@pytest.mark.parametrize("playbook", ["refresh_crl", "revoke"])
def test_every_playbook_validates_what_the_roles_main_entry_points_document(broken, playbook):
    """The entry points `crl` and `revoke` do not repeat the options of `main`."""
    broken.host_vars["nas"]["mtls_crl_min_days"] = "soon"
    authority, host = broken.state()
    run = broken.run("-e", "mtls_revoke=laptop", playbook=REPOSITORY / "playbooks" / f"{playbook}.yml")
    assert run.returncode != 0, run.text
    assert "host nas: mtls_crl_min_days is not a whole number" in " ".join(run.text.split()), run.text
    after = broken.state()
    assert after[1] == host
    if playbook == "revoke":  # a mistake about something else keeps nobody in at the other hosts
        (line,) = (line for line in (broken.pki / "index.txt").read_text().splitlines() if line.endswith("/CN=laptop"))
        assert line.startswith("R\t")
    else:
        assert after[0] == authority


@pytest.mark.parametrize(
    ("playbook", "variables", "said"),
    [
        ("rollover", {"mtls_step": "issue", "mtls_rollover_batch": "two"}, "mtls_rollover_batch is not a whole number"),
        ("rollover", {"mtls_step": "report", "mtls_rollover_days": "all"}, "mtls_rollover_days is not a whole number"),
        ("rollover", {"mtls_step": "finish", "mtls_rollover_force": "jo"}, "mtls_rollover_force is not true or false"),
        ("status", {"mtls_warn_days": "soon"}, "mtls_warn_days is not a whole number"),
        ("status", {"mtls_status_live": "treu"}, "mtls_status_live is not true or false"),
    ],
)
def test_an_argument_of_the_run_is_called_as_it_was_given(broken, playbook, variables, said):
    """Not as the option of the module that it is for, and never taken for a no."""
    before = broken.state()
    given = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    run = broken.run(*given, playbook=REPOSITORY / "playbooks" / f"{playbook}.yml")
    assert run.returncode != 0, run.text
    assert f"{said}. Nothing was changed." in " ".join(run.text.split()), run.text
    assert broken.state() == before


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"mtls_crl_min_days": "soon"}, "'crl_min_days' is of type"),
        (
            {"mtls_services": [{"name": "nas"}]},
            "host nas: mtls_services, item 1 (nas): missing required arguments: server_names",
        ),
    ],
)
def test_the_crl_on_hosts_by_itself_validates_too(broken, variables, said):
    broken.host_vars["nas"] |= variables
    play = {
        "hosts": "mtls_servers",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.import_role": {"name": "mtls.nginx.server", "tasks_from": "crl"}}],
    }
    playbook = broken.folder / "crl.yml"
    playbook.write_text(yaml.safe_dump([play]))
    before = broken.state()
    run = broken.run(playbook=playbook)
    assert run.returncode != 0, run.text
    assert said in " ".join(run.text.split()), run.text
    assert broken.state() == before


def test_a_crl_that_has_ended_is_not_shipped(broken):
    """Somebody put an old CRL there by hand, and only the hosts are rolled out."""
    subprocess.run(
        [
            "openssl",
            "ca",
            "-config",
            "openssl.cnf",
            "-gencrl",
            "-crlsec",
            "1",
            "-passin",
            f"pass:{broken.all_vars['mtls_ca_passphrase']}",
            "-out",
            "crl.pem",
        ],
        cwd=broken.pki,
        check=True,
        capture_output=True,
    )
    playbook = broken.folder / "servers.yml"
    playbook.write_text("- hosts: mtls_servers\n  gather_facts: false\n  roles: [mtls.nginx.server]\n")
    subprocess.run(["sleep", "2"], check=True)
    before = broken.state()
    run = broken.run(playbook=playbook)
    assert run.returncode != 0
    assert re.search(r"crl\.pem.*(ended|expired)", " ".join(run.text.split())), run.text
    assert broken.state() == before


@contextlib.contextmanager
def listener():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_that_another_program_holds(broken):
    with listener() as port:
        service(broken, listen=f"127.0.0.1:{port}")
        refused(broken, f"port {port} is held by", str(os.getpid()))


def test_an_nginx_conf_that_does_not_include_conf_d(broken):
    broken.nginx.write_conf(http="")
    try:
        service(broken, public_paths=["/open/"])
        refused(broken, "nginx.conf", "conf.d", "include")
    finally:
        broken.nginx.write_conf()


def test_an_nginx_conf_that_includes_conf_d_no_longer(broken):
    """Nothing else differs, and what runs serves on, until somebody reloads nginx."""
    before = broken.nginx.conf.read_text()
    broken.nginx.conf.write_text(before.replace("include conf.d/*.conf;", ""))
    try:
        refused(broken, "nginx.conf does not include", "put the line 'include ")
        run = broken.run("-e", "mtls_status_live=true", playbook="mtls.nginx.status")
        assert run.returncode != 0
        assert "nginx.conf does not include conf.d/mtls.conf, so that the next reload ends" in " ".join(
            run.text.split()
        )
    finally:
        broken.nginx.conf.write_text(before)
        shutil.rmtree(broken.inventory / "status", ignore_errors=True)


def test_a_host_whose_python_cannot_be_started(broken, tmp_path, monkeypatch):
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho 'no such Python' >&2\nexit 127\n")
    python.chmod(0o755)
    # Found by Ansible itself, and so among the facts that come with the failure.
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    broken.host_vars["nas"].update(
        ansible_python_interpreter="auto_silent", ansible_interpreter_python_fallback=["python3"]
    )
    refused(broken, "no such Python")


def test_a_host_whose_own_configuration_is_broken(broken):
    foreign = broken.nginx.folder / "conf.d" / "foreign.conf"
    foreign.write_text("nonsense;\n")
    try:
        service(broken, public_paths=["/open/"])
        refused(broken, "nonsense", "foreign.conf")
    finally:
        foreign.unlink()


def test_a_host_whose_own_hash_buckets_are_too_small(broken):
    broken.nginx.write_conf("map_hash_bucket_size 64; include conf.d/*.conf;")
    try:
        long = f"{'n' * 60}.lan"
        second_service(broken, name="web", server_names=[long], certificate={"path": "/x.crt", "key": "/x.key"})
        assert broken.run().returncode != 0  # the authority has the certificate now that could stand in
        refused(broken, "you should increase map_hash_bucket_size: 64. The host sets", "write 128 there")
    finally:
        broken.nginx.write_conf()


def test_a_file_that_somebody_else_wrote_is_not_overwritten(broken):
    own = broken.nginx.folder / "conf.d" / "mtls-web.conf"
    own.write_text("# mine\n")
    try:
        second_service(broken, name="web", server_names=["web.lan"], certificate={"path": "/x.crt", "key": "/x.key"})
        assert broken.run().returncode != 0  # the authority has the certificate now that could stand in
        refused(broken, "mtls-web.conf")
        assert own.read_text() == "# mine\n"
    finally:
        own.unlink()


def test_an_authority_inside_an_inventory_folder(broken):
    """With -i and a folder, Ansible would read the passwords in it as host names."""
    client(broken, name="one-more")
    broken.source = broken.inventory
    refused(broken, "inside the inventory folder", "ignore_patterns = ^pki$")
    broken.source = broken.inventory / "hosts.yml"


# What YAML makes of 012345, 0123456, 12:30:45 and 0100 without quotes.
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"mtls_ca_passphrase": 5349}, "host nas: mtls_ca_passphrase: is not text"),
        ({"vault_it": 5349, "mtls_ca_passphrase": "{{ vault_it }}"}, "host nas: mtls_ca_passphrase: is not text"),
        ({"mtls_clients": [{"name": "a", "p12_password": 42798}]}, "mtls_clients, item 1, p12_password: is not text"),
        ({"mtls_ca_passphrase": "a line\n"}, "host nas: mtls_ca_passphrase: ends with a line break"),
        ({"mtls_revoked": [{"serial": 64}]}, "mtls_revoked, item 1, serial: is not text"),
    ],
)
def test_what_yaml_reads_as_a_number_is_not_what_was_written(broken, variables, said):
    broken.host_vars["nas"] |= variables
    refused(broken, said, "put it in quotes")


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        ("ca_init", {"path": "{{ inventory_dir }}/new", "passphrase": 5349}, "passphrase: is not text"),
        ("client_cert", {"clients": [{"name": "a", "p12_password": True}]}, "clients, item 1, p12_password: is not"),
        ("crl", {"revoked": [{"serial": 64}]}, "revoked, item 1, serial: is not text"),
    ],
)
def test_it_is_refused_in_tasks_of_one_s_own(broken, module, options, said):
    play = broken.folder / "task.yml"
    if module != "ca_init":
        options = {"ca_path": str(broken.pki), "ca_passphrase": broken.all_vars["mtls_ca_passphrase"], **options}
    tasks = [{f"mtls.nginx.{module}": options}]
    play.write_text(yaml.safe_dump([{"hosts": "nas", "gather_facts": False, "tasks": tasks}]))
    before = broken.state()
    run = broken.run(playbook=play)
    text = " ".join(run.text.split())
    assert run.returncode != 0
    assert "Traceback" not in text
    assert said in text, text
    assert broken.state() == before
    assert not (broken.inventory / "new").exists()
