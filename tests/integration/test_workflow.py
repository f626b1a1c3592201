# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole workflow: an inventory, a change in it, the same command again."""

from __future__ import annotations

import datetime
import pathlib
import re
import subprocess

import yaml
from cryptography import x509

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import PASSPHRASE, tree
from .test_own_certificates import from_elsewhere


def service(port, upstream, **changes):
    base = {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
    return {**base, **changes}


def self_signed(certificate, key):
    """A server certificate and key of the host's own."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=own", "-out", certificate, "-keyout", key),
        ],
        check=True,
        capture_output=True,
    )


def test_from_an_inventory_to_a_guarded_host_and_on(site, upstream):
    port = free_port()
    # One is revoked from the start, and on the list: it was never issued anything.
    clients = [{"name": "phone"}, {"name": "tablet"}, {"name": "stolen", "state": "revoked"}]
    nginx = site.add_host("nas", mtls_clients=clients)
    site.host_vars["nas"]["mtls_services"] = [service(port, upstream, allow=["phone", "stolen"])]

    # A plan for a host and an authority that are not there yet: nginx is asked, nothing is written.
    before = tree(nginx.folder)
    plan = site.ok("--check", "--diff")
    assert plan.changed > 0
    assert "proxy_pass" in plan.text
    assert "SUCCESS:CN=phone" in plan.text
    assert not site.pki.exists()
    assert {path: content for path, content in tree(nginx.folder).items() if not path.startswith("log/")} == {
        path: content for path, content in before.items() if not path.startswith("log/")
    }
    assert nginx.pid is None

    first = site.ok()
    assert site.status(port, client="phone") == 200
    assert site.status(port, client="tablet") == 403
    assert site.status(port) == 400

    # Again: nothing to do, and the plan says so too.
    made = tree(site.inventory), tree(nginx.folder / "conf.d"), nginx.pid
    again = site.ok("--diff")
    assert again.changed == 0, again.text
    assert site.ok("--check", "--diff").changed == 0
    assert (tree(site.inventory), tree(nginx.folder / "conf.d"), nginx.pid) == made

    # A client more.
    site.host_vars["nas"]["mtls_clients"].append({"name": "laptop"})
    site.host_vars["nas"]["mtls_services"][0]["allow"].append("laptop")
    plan = site.ok("--check", "--diff")
    assert '+    "SUCCESS:CN=laptop" 1;' in plan.text
    assert not (site.pki / "clients" / "laptop").exists()
    site.ok()
    assert [site.status(port, client=name) for name in ("phone", "laptop", "tablet")] == [200, 200, 403]

    # One off the list, one revoked.
    site.host_vars["nas"]["mtls_services"][0]["allow"].remove("laptop")
    site.host_vars["nas"]["mtls_clients"][0] |= {"state": "revoked", "reason": "keyCompromise"}
    number = crl(site).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    plan = site.ok("--check", "--diff")
    assert "a new CRL: certificates are revoked" in plan.text
    assert '-    "SUCCESS:CN=phone" 1;' in plan.text
    assert site.status(port, client="phone") == 200
    site.ok()
    assert [site.status(port, client=name) for name in ("phone", "laptop", "tablet")] == [400, 403, 403]
    assert len(crl(site)) == 1
    assert crl(site).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == number + 1

    # One dropped from the inventory: reported, not revoked.
    site.host_vars["nas"]["mtls_clients"] = [c for c in site.host_vars["nas"]["mtls_clients"] if c["name"] != "laptop"]
    run = site.ok()
    assert "1 unmanaged: laptop" in " ".join(run.text.split())
    assert len(crl(site)) == 1

    # The service dropped: refused, until it is said to be absent.
    dropped = site.host_vars["nas"]["mtls_services"].pop()
    said = site.refused()
    assert "mtls-nas.conf" in said
    assert "state: absent" in said
    assert site.status(port, client="tablet") == 403
    site.host_vars["nas"]["mtls_services"] = [dict(dropped, state="absent")]
    site.ok()
    assert not (nginx.folder / "conf.d" / "mtls-nas.conf").exists()
    assert not list((nginx.folder / "server-certs").glob("nas.*"))
    assert site.ok().changed == 0

    for text in (first.text, plan.text, run.text, again.text):
        assert PASSPHRASE not in text


def crl(site):
    return x509.load_pem_x509_crl((site.pki / "crl.pem").read_bytes())


def test_the_union_is_over_the_whole_inventory_whatever_the_limit(site, upstream):
    ports = free_port(), free_port()
    for name, port in zip(("one", "two"), ports, strict=True):
        site.add_host(name, mtls_clients=[{"name": f"of-{name}"}])
        site.host_vars[name]["mtls_services"] = [service(port, upstream, allow=["of-one", "of-two", "ci"])]
    site.all_vars["mtls_fleet_clients"] = [{"name": "ci"}]
    run = site.ok("--limit", "one")
    assert "two" not in run.hosts
    assert site.hosts["two"].pid is None
    assert [site.status(ports[0], client=name) for name in ("of-one", "of-two", "ci")] == [200, 200, 200]
    assert (site.pki / "servers" / "two").exists()
    site.ok()
    assert [site.status(ports[1], client=name) for name in ("of-one", "of-two", "ci")] == [200, 200, 200]


def test_hosts_with_another_directory_have_another_authority(site, upstream):
    ports = free_port(), free_port()
    for name, port in zip(("staging", "production"), ports, strict=True):
        site.add_host(name, mtls_ca_dir=f"pki-{name}", mtls_clients=[{"name": "admin"}])
        site.host_vars[name]["mtls_services"] = [service(port, upstream, allow=["admin"])]
    site.ok()
    for name, own, other in (("staging", *ports), ("production", *reversed(ports))):
        site.pki = site.inventory / f"pki-{name}"
        assert site.status(own, client="admin") == 200
        assert site.status(other, client="admin") == 400


def test_an_unchanged_host_costs_one_module_call(site, upstream):
    site.add_host("nas", mtls_clients=[{"name": "phone"}])
    site.host_vars["nas"]["mtls_services"] = [service(free_port(), upstream)]
    site.ok()
    run = site.ok("-vvv")
    assert run.changed == 0
    assert re.findall(r"Using module file \S+/(\w+)\.py", run.text) == ["nginx_glance"]


def test_whatever_was_done_to_a_host_is_noticed_and_put_right(site, upstream):
    port = free_port()
    nginx = site.add_host("nas", mtls_clients=[{"name": "phone"}])
    site.host_vars["nas"]["mtls_services"] = [service(port, upstream)]
    site.ok()
    nginx.stop()
    assert "nas" in site.ok("--check").hosts
    assert nginx.pid is None
    assert site.ok().changed == 1
    assert site.status(port, client="phone") == 200

    made = tree(nginx.folder / "conf.d"), tree(nginx.folder / "client-certs"), tree(nginx.folder / "server-certs")
    (nginx.folder / "client-certs" / "revoked.map").write_text("")
    (nginx.folder / "server-certs" / "nas.key").chmod(0o644)
    maps = nginx.folder / "conf.d" / "mtls.conf"
    maps.write_text(maps.read_text().replace("default refuse", "default open"))
    run = site.ok("--diff")
    assert run.changed == 1
    assert (
        tree(nginx.folder / "conf.d"),
        tree(nginx.folder / "client-certs"),
        tree(nginx.folder / "server-certs"),
    ) == made
    assert "PRIVATE KEY" not in run.text
    assert site.ok().changed == 0


def test_a_longer_bound_of_the_hosts_own_is_told_each_time(site, upstream):
    nginx = site.add_host("nas", mtls_clients=[{"name": "phone"}])
    nginx.conf.write_text("worker_shutdown_timeout 10m;\n" + nginx.conf.read_text())
    site.host_vars["nas"]["mtls_services"] = [service(free_port(), upstream)]
    for run in (site.ok(), site.ok()):
        assert "sets worker_shutdown_timeout 10m, which was left alone" in " ".join(run.text.split())


def test_a_host_without_nginx_is_told_of_or_refused(site, upstream):
    site.add_host("nas", mtls_clients=[{"name": "phone"}])
    site.host_vars["nas"]["mtls_services"] = [service(free_port(), upstream)]
    site.ok()
    asked = {
        "authority": "{{ inventory_dir }}/pki",
        "services": "{{ mtls_services }}",
        "settings": {"conf_path": "{{ mtls_nginx_conf }}", "binary": "/nowhere/nginx"},
    }
    for required in (False, True):
        tasks = [
            {"mtls.nginx.nginx_site": {**asked, "require_nginx": required}, "register": "looked"},
            {"ansible.builtin.assert": {"that": ["not looked.installed", "looked is not changed"]}},
        ]
        playbook = site.folder / "asked.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "nas", "gather_facts": False, "tasks": tasks}]))
        run = site.run(playbook=playbook)
        assert (run.returncode == 0) is not required, run.text
    assert "nginx is not installed: there is no program '/nowhere/nginx'" in " ".join(run.text.split())


def test_check_mode_on_a_minimal_debian(site, upstream):
    """Neither nginx nor the bindings with which Ansible asks apt in check mode; what is missing is said."""
    site.add_host("nas", mtls_clients=[{"name": "phone"}], mtls_nginx_binary="/nowhere/nginx")
    site.host_vars["nas"]["mtls_services"] = [service(free_port(), upstream)]
    without_bindings = 'mount -t tmpfs none /usr/lib/python3/dist-packages; exec "$@"'
    site.started_by = ("unshare", "--mount", "sh", "-ec", without_bindings, "--")
    said = " ".join(site.ok("--check", "--diff").text.split())
    assert "apt could not be asked about the package nginx, because in check mode Ansible needs python3-apt" in said
    assert "nginx is not installed, so its version is not known" in said
    assert not site.pki.exists()
    assert not (site.hosts["nas"].folder / "conf.d" / "mtls.conf").exists()


def test_secrets_show_nowhere(site, upstream):
    password = "of-the-container-5577"
    site.add_host("nas", mtls_clients=[{"name": "phone", "p12_password": password}, {"name": "laptop"}])
    site.host_vars["nas"]["mtls_services"] = [service(free_port(), upstream)]
    run = site.ok("-vvv", "--diff")
    generated = (site.pki / "clients" / "laptop" / "laptop.p12.password").read_text().strip()
    assert len(generated) >= 20
    for secret in (PASSPHRASE, password, generated, "PRIVATE KEY"):
        assert secret not in run.text


def test_a_certificate_of_the_hosts_own(site, upstream):
    port = free_port()
    nginx = site.add_host("nas", mtls_clients=[{"name": "phone"}])
    own = from_elsewhere(nginx.folder, "own", "nas.lan")
    site.host_vars["nas"]["mtls_services"] = [service(port, upstream, certificate=own)]
    site.ok()
    assert site.status(port, client="phone") == 200
    assert not (nginx.folder / "server-certs").exists()
    assert (site.pki / "servers" / "nas" / "nas.crt").exists(), "the one that can stand in"


def test_a_snippet_guards_a_server_block_that_was_there(site):
    port = free_port()
    nginx = site.add_host("nas", mtls_clients=[{"name": "phone"}, {"name": "tablet"}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "photos", "server_names": ["photos.lan"], "snippet": True, "allow": ["phone"]}
    ]
    site.ok()
    own = nginx.folder / "own"
    self_signed(f"{own}.crt", f"{own}.key")
    (nginx.folder / "conf.d" / "photos.conf").write_text(
        f"server {{ listen 127.0.0.1:{port} ssl; server_name photos.lan; ssl_certificate {own}.crt;"
        f" ssl_certificate_key {own}.key; include snippets/mtls-photos.conf; location / {{ return 204; }}"
        " location = /deep { return 204; } }"
    )
    # The role's handler is there for changes of one's own.
    playbook = site.folder / "own.yml"
    playbook.write_text(
        "- hosts: mtls_servers\n  gather_facts: false\n  roles: [mtls.nginx.server]\n"
        "  tasks:\n    - ansible.builtin.debug:\n      changed_when: true\n      notify: Reload nginx\n"
    )
    done = site.run(playbook=playbook)
    assert done.returncode == 0, done.text
    for path in ("/", "/deep"):
        asked = [site.status(port, path, host="photos.lan", client=name) for name in ("phone", "tablet", None)]
        assert asked == [204, 403, 400]


def test_a_request_whose_key_stays_on_the_device(site, upstream):
    port = free_port()
    site.add_host("nas", mtls_clients=[{"name": "agent", "csr": "files/agent.csr"}])
    site.host_vars["nas"]["mtls_services"] = [service(port, upstream, allow=["agent"])]
    (site.inventory / "files").mkdir()
    key = site.folder / "device.key"
    subprocess.run(
        [
            "openssl",
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=root",
            "-addext",
            "basicConstraints=CA:TRUE",
            "-keyout",
            key,
            "-out",
            site.inventory / "files" / "agent.csr",
        ],
        check=True,
        capture_output=True,
    )
    site.ok()
    certificate = site.pki / "clients" / "agent" / "agent.crt"
    assert site.status(port, identity=(str(certificate), str(key))) == 200
    assert not list((site.pki / "clients" / "agent").glob("*.key"))
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert parsed.subject.rfc4514_string() == "CN=agent"


def test_a_certificate_near_its_end_is_renewed_and_the_old_one_still_enters(site, upstream):
    port = free_port()
    site.add_host("nas", mtls_clients=[{"name": "phone", "days": 20, "renew_before": 5}])
    site.host_vars["nas"]["mtls_services"] = [service(port, upstream, allow=["phone"])]
    site.ok()
    certificate, key = site.identity("phone")
    old = site.folder / "old.crt"
    old.write_bytes(pathlib.Path(certificate).read_bytes())
    site.host_vars["nas"]["mtls_clients"][0] |= {"days": 300, "renew_before": 30}
    site.ok()
    renewed = x509.load_pem_x509_certificate(pathlib.Path(certificate).read_bytes())
    assert renewed.not_valid_after_utc - datetime.datetime.now(datetime.UTC) > datetime.timedelta(days=290)
    assert site.status(port, client="phone") == 200
    assert site.status(port, identity=(str(old), key)) == 200
    assert site.ok().changed == 0
    # By its file, the old one alone is revoked; its serial says the same.
    site.all_vars["mtls_revoked"] = [{"certificate": str(old), "reason": "superseded"}]
    site.ok()
    serial = x509.load_pem_x509_certificate(old.read_bytes()).serial_number
    site.all_vars["mtls_revoked"] = [{"serial": f"{serial:X}", "reason": "superseded"}]
    assert site.ok().changed == 0
    assert site.status(port, identity=(str(old), key)) == 400
    assert site.status(port, client="phone") == 200


def test_a_long_run_shows_how_far_it_is(site, tmp_path):
    site.add_host("nas")
    site.all_vars["mtls_client_key_type"] = "ecdsa"
    site.all_vars["mtls_fleet_clients"] = [{"name": f"sensor-{number}"} for number in range(1000)]
    playbook = tmp_path / "authority.yml"
    playbook.write_text("- hosts: mtls_servers\n  gather_facts: false\n  roles: [mtls.nginx.ca]\n")
    run = site.run(playbook=playbook)
    assert run.returncode == 0, run.text
    assert re.search(r"^client_cert: [\d,]+ of 1,000 certificates$", run.text, re.MULTILINE), run.text
    again = site.run(playbook=playbook)
    assert "of 1,000 certificates" not in again.text, again.text
    assert again.changed == 0, again.text
