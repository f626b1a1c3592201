# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One service is broken on a host: a revocation reaches the others all the same, and the run says which it is."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from ansible_collections.mtls.nginx.plugins.module_utils.host.nginx_process import Nginx
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY, own_certificate

REVOKE = REPOSITORY / "playbooks" / "revoke.yml"
REFRESH = REPOSITORY / "playbooks" / "refresh_crl.yml"


@pytest.fixture
def two(site, upstream):
    """A host with a service of its own certificate, `broken`, and another one on the same socket."""
    site.port = free_port()
    host = site.add_host("nas", mtls_clients=[{"name": "phone"}, {"name": "lost"}, {"name": "stolen"}])
    own = {"certificate": own_certificate(host.folder, "broken.lan")}
    site.certificate = Path(own["certificate"]["path"])
    site.host_vars["nas"]["mtls_services"] = [
        {
            "name": name,
            "server_names": [f"{name}.lan"],
            "listen": f"127.0.0.1:{site.port}",
            "upstream": upstream,
            **more,
        }
        for name, more in (("nas", {}), ("broken", own))
    ]
    site.ok()
    return site


def revoked(site, client, playbook=REVOKE):
    run = site.run("-e", f"mtls_revoke={client}", playbook=playbook)
    assert "Traceback" not in run.text
    return run.returncode, " ".join(run.text.split())


def test_a_certificate_that_nginx_cannot_read_and_then_what_is_not_ours(two):
    site, host = two, two.hosts["nas"]
    kept = site.certificate.read_bytes()
    site.certificate.write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    assert {site.status(site.port, client="lost", host=f"{name}.lan") for name in ("nas", "broken")} == {200}
    # site.yml cannot do anything here, and says what can.
    site.host_vars["nas"]["mtls_clients"].append({"name": "watch"})
    site.host_vars["nas"]["mtls_services"][0]["allow"] = ["phone", "lost", "stolen"]
    said = site.refused()
    assert f"service broken: {site.certificate}: does not begin with a certificate in PEM; nothing was changed" in said
    assert "refresh_crl.yml installs the CRL all the same" in said
    assert "before any change of ours" not in said
    del site.host_vars["nas"]["mtls_services"][0]["allow"]

    code, said = revoked(site, "lost")
    assert code != 0
    assert "service broken is closed: nobody gets in there until it is fixed and site.yml has run" in said
    assert str(site.certificate) in said
    assert site.status(site.port, client="lost") == 400
    assert site.status(site.port, client="phone") == 200
    with pytest.raises(ssl.SSLError):
        site.status(site.port, client="phone", host="broken.lan")
    run = site.run(playbook=REFRESH)
    assert run.returncode != 0
    assert "service broken is closed" in " ".join(run.text.split())
    # A restart, as after a boot, is no longer held up.
    host.stop()
    subprocess.run(["nginx", "-c", host.conf], check=True)
    assert site.status(site.port, client="phone") == 200
    site.certificate.write_bytes(kept)
    site.ok()
    assert site.status(site.port, client="phone", host="broken.lan") == 200
    assert site.run(playbook=REFRESH).returncode == 0

    foreign = host.folder / "conf.d" / "shop.conf"
    foreign.write_text("sever {}\n")
    code, said = revoked(site, "stolen")
    assert code != 0
    assert "the CRL is in place, but the running nginx keeps the one that it has read" in said
    assert (
        'in files that are not ours, and cannot be reloaded. nginx says: [emerg] unknown directive "sever"'
        f" in {foreign}:1" in said
    )
    assert site.run(playbook=REFRESH).returncode != 0
    foreign.unlink()
    assert site.status(site.port, client="stolen") == 200
    assert site.run(playbook=REFRESH).returncode == 0
    assert site.status(site.port, client="stolen") == 400


def test_an_upstream_that_nobody_knows(site, upstream):
    """By the host's own `resolver` here, so that it is not asked of the world."""
    port = free_port()
    host = site.add_host("nas", mtls_clients=[{"name": "phone"}])
    host.write_conf("resolver 127.0.0.1:9 ipv6=off; resolver_timeout 1s; include conf.d/*.conf;")
    site.host_vars["nas"]["mtls_services"] = [
        {"name": name, "server_names": [f"{name}.lan"], "listen": f"127.0.0.1:{port}", "upstream": url}
        for name, url in (("nas", upstream.replace("127.0.0.1", "localhost")), ("gone", "http://gone.invalid:81/app"))
    ]
    site.ok()
    assert site.status(port, client="phone") == 200
    assert site.status(port, client="phone", host="gone.lan") == 502
    assert site.status(port, host="gone.lan") == 400
    assert "proxy_pass http://localhost:" in (host.folder / "conf.d" / "mtls-nas.conf").read_text()
    assert site.ok().changed == 0


def test_a_revocation_while_nginx_is_upgraded(two):
    site, host = two, two.hosts["nas"]
    log = host.folder / "log" / "mtls-nas.access.log"
    old = host.pid
    os.kill(old, signal.SIGUSR2)
    deadline = time.monotonic() + 10
    while host.pid in (None, old) or not _workers(host):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    try:
        code, said = revoked(site, "lost")
        assert code != 0
        assert f"a binary upgrade of nginx is under way: the worker processes of the old master process {old}" in said
        assert f"End it with 'kill -QUIT {old}', and run again" in said
        statuses = {site.status(site.port, client="lost") for _time in range(60)}
        assert statuses == {200, 400}  # the old workers, and the new ones
        # A host that could not see those processes would have the probe, and one request each seldom meets them.
        said = probed(site, reloaded=True)
        assert "service nas: client 'lost', who is revoked, got 204 instead of 400" in said
        assert re.search(r" \d+ of 65 times: some of nginx's worker processes still have an older configuration", said)
        # Nothing differs any more, and it is still not done.
        assert revoked(site, "lost")[0] != 0
        assert "a binary upgrade of nginx is under way" in site.refused()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(old, signal.SIGQUIT)
    assert revoked(site, "lost")[0] == 0
    assert {site.status(site.port, client="lost") for _time in range(60)} == {400}
    assert probed(site, reloaded=True) == ""
    requests = len(log.read_text().splitlines())
    assert probed(site, reloaded=False) == ""
    # Each kind once, and one for the page: nothing was reloaded.
    assert len(log.read_text().splitlines()) == requests + 5
    site.host_vars["nas"]["mtls_clients"].pop(1)
    site.ok()


def probed(site, *, reloaded):
    """What the closing probe alone says, after a run whose host has or has not reloaded its nginx."""
    task = {"authority": str(site.pki), "services": "{{ mtls_services }}", "reloaded": reloaded}
    play = {"hosts": "nas", "gather_facts": False, "tasks": [{"mtls.nginx.tls_probe": task}]}
    playbook = site.folder / "probe.yml"
    playbook.write_text(yaml.safe_dump([play]))
    run = site.run(playbook=playbook)
    assert (run.returncode == 0) == ("got" not in run.text), run.text
    return " ".join(run.text.split()) if run.returncode else ""


def _workers(host):
    nginx = Nginx(shutil.which("nginx"), str(host.conf))
    return nginx.workers(nginx.master())


def test_an_inventory_that_contradicts_itself_elsewhere(site, upstream):
    """Who is lost is out, and what is not certain is said: another authority, which might have the same client."""
    ports = {name: free_port() for name in ("nas", "web", "db")}
    for name, port in ports.items():
        service = {"name": name, "server_names": [f"{name}.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream}
        site.add_host(name, mtls_services=[service], mtls_clients=[{"name": f"phone-of-{name}"}])
    for name in ("web", "db"):
        site.host_vars[name]["mtls_ca_dir"] = "{{ inventory_dir }}/other"
    site.host_vars["nas"]["mtls_clients"].append({"name": "lost"})
    site.ok()
    assert site.status(ports["nas"], client="lost") == 200

    # Of clients and services: a warning, for all is certain.
    site.host_vars["nas"]["mtls_services"][0]["allow"] = ["lost", "nobody"]
    site.host_vars["web"]["mtls_clients"].append({"name": "phone-of-db", "days": 9})
    site.host_vars["web"]["mtls_sevices"] = []
    assert "mtls_sevices" in site.refused()
    code, said = revoked(site, "lost")
    assert code == 0, said
    assert "allow names 'nobody', which is not a client" in said
    assert "client 'phone-of-db' is defined by hosts web and db, differently" in said
    assert "mtls_sevices" in said
    assert site.status(ports["nas"], client="lost") == 400
    assert site.status(ports["nas"], client="phone-of-nas") == 200

    # Of how an authority is asked: the others are asked, and the run fails.
    site.host_vars["db"]["mtls_ca_passphrase"] = "another one"
    code, said = revoked(site, "phone-of-nas")
    assert code != 0
    assert f"hosts web and db share the authority {site.inventory}/other but differ in mtls_ca_passphrase" in said
    assert "another one" not in said
    assert "phone-of-nas: certificate" in said
    assert site.status(ports["nas"], client="phone-of-nas") == 400
    # Of nobody else's: not even the name can be looked up.
    code, said = revoked(site, "phone-of-web")
    assert code != 0
    assert "differ in mtls_ca_passphrase" in said
