# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From one authority to the next on a real nginx: at no step does a client lose access that did what it was told."""

from __future__ import annotations

import datetime
import json
import lzma
import os
import re
import shutil

import pytest
from cryptography import x509

from ansible_collections.mtls.nginx.plugins.module_utils.ca.store import handover
from ansible_collections.mtls.nginx.plugins.module_utils.common.probe import USER_AGENT
from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import REPOSITORY, tree

ROLLOVER = REPOSITORY / "playbooks" / "rollover.yml"
REFRESH = REPOSITORY / "playbooks" / "refresh_crl.yml"
FORMAT = "%d/%b/%Y:%H:%M:%S %z"
CLIENTS = ("phone", "laptop", "tablet")


@pytest.fixture
def rolling(site, upstream):
    port = free_port()
    site.add_host("nas")
    site.host_vars["nas"].update(
        mtls_clients=[{"name": name} for name in CLIENTS] + [{"name": "lost"}],
        mtls_services=[
            {"name": name, "server_names": [f"{name}.lan"], "listen": f"127.0.0.1:{port}", "upstream": upstream, **more}
            for name, more in (("nas", {}), ("listed", {"allow": ["phone", "tablet"]}))
        ],
    )
    site.port = port
    site.ok()
    return site


def step(site, name, **variables):
    run = site.run("-e", json.dumps({"mtls_step": name, **variables}), playbook=ROLLOVER)
    assert run.returncode == 0, run.text
    return " ".join(run.text.split())


def foresee(site, name, **variables):
    before = tree(site.pki)
    run = site.run("--check", "-e", json.dumps({"mtls_step": name, **variables}), playbook=ROLLOVER)
    assert run.returncode == 0, run.text
    assert tree(site.pki) == before
    return " ".join(run.text.split())


def refused(site, name, **variables):
    run = site.run("-e", json.dumps({"mtls_step": name, **variables}), playbook=ROLLOVER)
    assert run.returncode != 0, run.text
    assert "Traceback" not in run.text
    return " ".join(run.text.split())


def hand_out(site, folder):
    """What the people carry: certificates and keys as they are now, on devices of their own."""
    devices = {}
    for name in sorted(path.name for path in (folder / "clients").iterdir() if path.is_dir()):
        devices[name] = site.folder / "devices" / f"{len(os.listdir(site.folder / 'devices'))}-{name}"
        shutil.copytree(folder / "clients" / name, devices[name])
    return {name: (str(path / f"{name}.crt"), str(path / f"{name}.key")) for name, path in devices.items()}


def entering(site, devices, service="nas"):
    statuses = {
        name: site.ask(site.port, identity=identity, host=f"{service}.lan").status for name, identity in devices.items()
    }
    return {name for name, status in statuses.items() if status == 200}


def logs(site):
    return list((site.hosts["nas"].folder / "log").glob("mtls-*.access.log"))


def a_week_later(site):
    """For the access logs."""

    def earlier(match):
        then = datetime.datetime.strptime(match[1], FORMAT) - datetime.timedelta(days=8)
        return f"[{then.strftime(FORMAT)}]"

    for path in logs(site):
        text = path.read_text()
        path.write_text(re.sub(r"\[([^]]+)\]", earlier, text))


@pytest.mark.parametrize("subject", [None, {"CN": "Test Root CA 2036"}], ids=["same name", "new name"])
def test_step_by_step_and_nobody_loses_access(rolling, subject):
    site = rolling
    (site.folder / "devices").mkdir()
    old = hand_out(site, site.pki)
    everybody = set(CLIENTS) | {"lost"}
    assert entering(site, old) == everybody
    old_ca = (site.pki / "ca.crt").read_bytes()

    # Both are trusted, and an ordinary run finds nothing to do.
    naming = {"mtls_rollover_subject": subject} if subject else {}
    foreseen = foresee(site, "begin", **naming)
    assert "each host would trust both, and have the CRLs of both" in foreseen
    assert "nothing to change" not in foreseen
    step(site, "begin", **naming)
    assert "nothing to change: nas" in foresee(site, "begin", **naming)
    assert entering(site, old) == everybody
    assert site.ok().changed == 0
    step(site, "begin", **naming)
    bundle = x509.load_pem_x509_certificates((site.hosts["nas"].folder / "client-certs" / "ca.crt").read_bytes())
    assert len(bundle) == 2
    assert (bundle[0].subject == bundle[1].subject) is (subject is None)
    assert "3 of 4" not in step(site, "report")
    assert "phone, laptop, tablet, lost would be locked out" in refused(site, "finish")

    # One moves, then all others. What they had stays good.
    step(site, "issue", mtls_rollover_clients=["phone"])
    new = hand_out(site, site.pki / "next")
    assert set(new) == {"phone"}
    assert entering(site, new) == {"phone"}
    assert entering(site, old) == everybody
    assert "'phnoe' is to move to the next authority, but is not a client; did you mean 'phone'?" in refused(
        site, "issue", mtls_rollover_clients=["phnoe"]
    )
    step(site, "issue", mtls_rollover_batch=1)
    assert set(hand_out(site, site.pki / "next")) == {"phone", "laptop"}
    step(site, "issue")
    assert site.ok().changed == 0
    new = hand_out(site, site.pki / "next")
    assert entering(site, new) == entering(site, old) == everybody
    assert entering(site, new, "listed") == entering(site, old, "listed") == {"phone", "tablet"}

    # A revocation counts for both.
    site.host_vars["nas"]["mtls_clients"][-1]["state"] = "revoked"
    site.ok()
    assert entering(site, new) == entering(site, old) == set(CLIENTS)
    assert site.run(playbook=REFRESH).returncode == 0

    # Who has not imported the new one is seen, and keeps the end from coming.
    entering(site, {"tablet": old["tablet"]})
    said = step(site, "report")
    assert "3 of 3 clients have a certificate of" in said
    assert "tablet at nas on nas, last on" in said
    before = tree(site.pki)
    said = refused(site, "finish")
    assert "tablet" in said
    assert "certificates of the old authority within the last 7 days" in said
    assert tree(site.pki).keys() == before.keys()

    # The end, a week later. Our own probe has shown old certificates since, and counts for nobody.
    a_week_later(site)
    probed = sum(path.read_text().count(USER_AGENT) for path in logs(site))
    site.ok()
    assert sum(path.read_text().count(USER_AGENT) for path in logs(site)) > probed
    assert "tablet at nas on nas, last on" in step(site, "report")
    if subject:
        site.all_vars["mtls_ca_subject"] = subject
    foreseen = foresee(site, "finish", **naming)
    assert "each host would trust this one alone, which would issue its server certificates" in foreseen
    assert "nothing to change" not in foreseen
    step(site, "finish", **naming)
    assert entering(site, new) == set(CLIENTS)
    assert entering(site, old) == set()
    assert site.ok().changed == 0
    assert not (site.pki / "next").exists()
    (former,) = (site.pki / "former").iterdir()
    assert (former / "ca.crt").read_bytes() == old_ca
    assert (former / "ca.key").exists()
    assert "no rollover has begun" in refused(site, "report")
    site.host_vars["nas"]["mtls_clients"].append({"name": "watch"})
    site.ok()
    assert site.ask(site.port, client="watch").status == 200


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.long), 6, pytest.param(9, marks=pytest.mark.long)])
def test_an_end_that_was_interrupted_is_completed(rolling, monkeypatch, after):
    site = rolling
    step(site, "begin")
    step(site, "issue")
    ca = (site.pki / "next" / "ca.crt").read_bytes()
    old = x509.load_pem_x509_certificate((site.pki / "ca.crt").read_bytes())
    renamed = []
    rename = os.rename

    def dying(source, target):
        if len(renamed) == after:
            raise KeyboardInterrupt
        renamed.append(source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", dying)
    with pytest.raises(KeyboardInterrupt):
        handover.take_over(str(site.pki), "OLD")
    monkeypatch.undo()
    assert "a rollover was interrupted" in site.refused("--check")
    site.ok()
    assert (site.pki / "ca.crt").read_bytes() == ca
    assert (site.pki / "former" / "OLD" / "ca.key").exists()
    assert not (site.pki / "next").exists()
    assert (
        old.public_key()
        == x509.load_pem_x509_certificate((site.pki / "former" / "OLD" / "ca.crt").read_bytes()).public_key()
    )
    assert site.ask(site.port, client="phone").status == 200


def test_a_host_that_does_not_say_who_came_holds_up_the_end(rolling, upstream):
    """One that cannot be reached, one whose log cannot be read, and one outside of --limit: none of them is a no."""
    site = rolling
    for name in ("away", "broken"):
        service = {"name": name, "server_names": [f"{name}.lan"], "listen": free_port(), "upstream": upstream}
        site.add_host(name, mtls_services=[service])
    site.ok()
    step(site, "begin", mtls_rollover_subject=site.all_vars["mtls_ca_subject"])
    step(site, "issue")
    site.host_vars["away"].update(ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=free_port())
    site.host_vars["broken"]["ansible_python_interpreter"] = "/nowhere/python"
    site.run("-e", json.dumps({"mtls_step": "report"}), playbook=ROLLOVER)
    said = refused(site, "finish", mtls_rollover_quiet_days=0)
    assert "hosts away, broken did not report who still uses certificates of the old authority" in said
    assert "mtls_rollover_force=true" in said
    assert handover.is_begun(str(site.pki))
    site.host_vars["away"].update(ansible_connection="local")
    site.host_vars["broken"]["ansible_python_interpreter"] = site.host_vars["nas"]["ansible_python_interpreter"]
    run = site.run("--limit", "nas", "-e", '{"mtls_step": "finish", "mtls_rollover_quiet_days": 0}', playbook=ROLLOVER)
    assert run.returncode != 0
    assert "hosts away, broken did not report who still uses" in " ".join(run.text.split())
    old = site.hosts["nas"].folder / "log" / "mtls-nas.access.log.2.xz"
    old.write_bytes(lzma.compress(b"who knows\n"))
    said = refused(site, "finish", mtls_rollover_quiet_days=0)
    assert f"{old}: was not read, because it is compressed with xz" in said
    assert "host nas did not report who still uses certificates of the old authority" in said
    old.unlink()
    step(site, "finish", mtls_rollover_quiet_days=0)
    assert not handover.is_begun(str(site.pki))


def test_who_is_in_mtls_revoked_is_out_at_each_step_and_afterwards(rolling):
    """Whoever has left is in no list of clients any more, so nothing else says what becomes of their certificates."""
    site = rolling
    (site.folder / "devices").mkdir()
    step(site, "begin", mtls_rollover_subject=site.all_vars["mtls_ca_subject"])
    step(site, "issue", mtls_rollover_clients=["lost", "phone"])
    both = [{"lost": hand_out(site, folder)["lost"]} for folder in (site.pki, site.pki / "next")]
    assert all(entering(site, each) for each in both)
    tablet = x509.load_pem_x509_certificate((site.pki / "clients" / "tablet" / "tablet.crt").read_bytes())
    del site.host_vars["nas"]["mtls_clients"][-1]
    site.all_vars["mtls_revoked"] = [
        {"name": "lost", "reason": "keyCompromise"},
        {"serial": f"{tablet.serial_number:X}"},  # only the old authority has it
    ]
    site.ok()
    assert not any(entering(site, each) for each in both)
    assert site.ok().changed == 0

    step(site, "issue")
    step(site, "finish", mtls_rollover_force=True)
    assert not any(entering(site, each) for each in both)
    assert site.ask(site.port, client="phone").status == 200
    run = site.run(playbook=REFRESH)
    assert run.returncode == 0, run.text
    assert site.ok().changed == 0
