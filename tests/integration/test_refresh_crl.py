# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nightly job: a CRL that nears its end is renewed and shipped, and nothing else is."""

from __future__ import annotations

import re
import subprocess

from cryptography import x509

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import PASSPHRASE, REPOSITORY, tree

REFRESH = REPOSITORY / "playbooks" / "refresh_crl.yml"


def crl_of(path):
    return x509.load_pem_x509_crl(path.read_bytes())


def metric(site, host, name):
    text = (site.folder / "textfiles" / host / "mtls_nginx.prom").read_text()
    return int(re.search(rf"^mtls_nginx_{name} (\d+)$", text, re.MULTILINE)[1])


def test_the_nightly_job(site, upstream):
    for name in ("one", "two"):
        site.add_host(name, mtls_textfile_dir=str(site.folder / "textfiles" / name))
        site.host_vars[name]["mtls_services"] = [
            {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{free_port()}", "upstream": upstream}
        ]
    site.host_vars["one"]["mtls_clients"] = [{"name": "phone"}]
    own = site.hosts["two"].conf
    own.write_text(f"worker_shutdown_timeout 5m;\n{own.read_text()}")
    said = " ".join(site.ok().text.split())
    assert f"{own} sets worker_shutdown_timeout 5m, which was left alone" in said
    assert said.count("was left alone") == 1
    assert "worker_shutdown_timeout 60s;  # Managed by mtls.nginx" in site.hosts["one"].conf.read_text()
    shipped = {name: host.folder / "client-certs" / "crl.pem" for name, host in site.hosts.items()}
    certificate = x509.load_pem_x509_certificate((site.pki / "servers" / "one" / "nas.crt").read_bytes())
    ca = x509.load_pem_x509_certificate((site.pki / "ca.crt").read_bytes())
    end = metric(site, "one", 'server_certificate_not_after_timestamp_seconds{service="nas"}')
    assert end == certificate.not_valid_after_utc.timestamp()
    assert metric(site, "one", "ca_not_after_timestamp_seconds") == ca.not_valid_after_utc.timestamp()

    # Something else waits in the inventory, and must go on waiting.
    site.host_vars["one"]["mtls_clients"].append({"name": "tablet"})
    site.host_vars["one"]["mtls_services"][0]["allow"] = ["tablet"]
    configuration = {name: tree(host.folder / "conf.d") for name, host in site.hosts.items()}

    # Two days before the CRL's end, and nothing that would renew it: it is not shipped.
    subprocess.run(
        [
            "openssl",
            "ca",
            "-config",
            "openssl.cnf",
            "-gencrl",
            "-crldays",
            "2",
            "-passin",
            f"pass:{PASSPHRASE}",
            "-out",
            "crl.pem",
        ],
        cwd=site.pki,
        check=True,
        capture_output=True,
    )
    before = {name: path.read_bytes() for name, path in shipped.items()}
    site.all_vars["mtls_crl_refresh_before"] = 1
    run = site.run(playbook=REFRESH)
    assert run.returncode != 0
    said = " ".join(run.text.split())
    assert re.search(
        r"pki: the CRL expires on 2\S+Z, within the 3 days of mtls_crl_min_days, so it is not installed on hosts", said
    )
    assert {name: path.read_bytes() for name, path in shipped.items()} == before

    # The nightly job as it is.
    del site.all_vars["mtls_crl_refresh_before"]
    run = site.run("--diff", playbook=REFRESH)
    assert run.returncode == 0, run.text
    ends = crl_of(site.pki / "crl.pem").next_update_utc.timestamp()
    for name, path in shipped.items():
        assert path.read_bytes() == (site.pki / "crl.pem").read_bytes()
        assert metric(site, name, "crl_next_update_timestamp_seconds") == ends
    assert {name: tree(host.folder / "conf.d") for name, host in site.hosts.items()} == configuration
    assert not (site.pki / "clients" / "tablet").exists()

    # And the next night: one module call for each host, and nothing changed.
    run = site.run("-vvv", playbook=REFRESH)
    assert run.changed == 0, run.text
    called = re.findall(r"Using module file \S+/(\w+)\.py", run.text)
    assert called == ["nginx_config", "nginx_config"]
