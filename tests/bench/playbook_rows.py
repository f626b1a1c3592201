# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole playbooks, Ansible's start included: a fleet of clients, fifty hosts, a revocation."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import sys
import threading
import time
from collections.abc import Iterator

import yaml
from authority_rows import authority, clients
from measure import Bench, BenchError, Cost, Goal, Measured, Row, peer, process
from peers import PASSPHRASE, client_name

from ansible_collections.mtls.nginx.tests.integration.conftest import SITE, Site
from ansible_collections.mtls.nginx.tests.ports import free_port

SAMPLE = 20  # clients that the other collection is measured at
LIMIT = 2  # seconds that the revoked client's download may go on

# As site.yml has it.
CA = {"name": "mtls.nginx.ca", "rolespec_validate": False}
FLEET = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.import_role": CA}]}]
EMPTY = [{"hosts": "all", "tasks": []}]  # as it is by default: facts are gathered
NO_OP = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}]}]

COMMUNITY_CRYPTO = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: A key
      community.crypto.openssl_privatekey:
        path: "{{ folder }}/{{ item }}.key"
        type: ECC
        curve: secp256r1
      loop: "{{ names }}"

    - name: A signing request
      community.crypto.openssl_csr:
        path: "{{ folder }}/{{ item }}.csr"
        privatekey_path: "{{ folder }}/{{ item }}.key"
        common_name: "{{ item }}"
        extended_key_usage: [clientAuth]
      loop: "{{ names }}"

    - name: A certificate
      community.crypto.x509_certificate:
        path: "{{ folder }}/{{ item }}.crt"
        csr_path: "{{ folder }}/{{ item }}.csr"
        provider: ownca
        ownca_path: "{{ pki }}/ca.crt"
        ownca_privatekey_path: "{{ pki }}/ca.key"
        ownca_privatekey_passphrase: "{{ passphrase }}"
      loop: "{{ names }}"

    - name: A .p12
      community.crypto.openssl_pkcs12:
        path: "{{ folder }}/{{ item }}.p12"
        friendly_name: "{{ item }}"
        privatekey_path: "{{ folder }}/{{ item }}.key"
        certificate_path: "{{ folder }}/{{ item }}.crt"
        other_certificates: ["{{ pki }}/ca.crt"]
        passphrase: "{{ passphrase }}"
      loop: "{{ names }}"
"""


def write_yaml(path: pathlib.Path, content: object) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def playbook(source: pathlib.Path | str, path: pathlib.Path | str, *more: str) -> Cost:
    """One run of ansible-playbook, with what Ansible's own settings are by default."""
    return process(
        ["ansible-playbook", "-i", source, path, *more],
        ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        ANSIBLE_LOCALHOST_WARNING="0",
        ANSIBLE_NOCOLOR="1",
    )


def fleet(folder: pathlib.Path, count: int) -> pathlib.Path:
    """An inventory of one host, whose group has `count` clients; no authority yet."""
    variables = {
        "mtls_ca_dir": str(folder / "pki"),
        "mtls_ca_subject": {"CN": "Bench CA"},
        "mtls_ca_passphrase": PASSPHRASE,
        "mtls_ca_key_type": "ecdsa",
        "mtls_client_key_type": "ecdsa",
        "mtls_fleet_clients": clients(count),
    }
    write_yaml(folder / "group_vars" / "all" / "mtls.yml", variables)
    return write_yaml(folder / "hosts.yml", {"all": {"hosts": {"web": {"ansible_connection": "local"}}}})


def whole(bench: Bench, count: int) -> Measured:
    template = authority(bench.folder / "template")
    ours_playbook = write_yaml(bench.folder / "ours.yml", FLEET)
    theirs_playbook = bench.folder / "theirs.yml"
    theirs_playbook.write_text(COMMUNITY_CRYPTO)
    sample = min(SAMPLE, count)
    each: list[float] = []

    def ours() -> Cost:
        return playbook(fleet(bench.fresh("ours"), count), ours_playbook)

    def theirs() -> Cost:
        start = theirs_with(0).seconds
        each.append((theirs_with(sample).seconds - start) / sample)
        return Cost(start + count * each[-1], 0, "")

    def theirs_with(number: int) -> Cost:
        folder = bench.fresh("theirs")
        folder.mkdir()
        names = [client_name(one) for one in range(number)]
        values = {"folder": str(folder), "pki": str(template), "passphrase": PASSPHRASE, "names": names}
        variables = write_yaml(bench.folder / "theirs-vars.yml", values)
        return playbook("localhost,", theirs_playbook, "-e", f"@{variables}")

    measured = bench.in_turns(ours, theirs)
    measured.details = {f"a client of community.crypto's, measured at {sample}": each}
    return measured


def whole_again(bench: Bench, count: int) -> Measured:
    source = fleet(bench.folder / "ours", count)
    ours, empty = write_yaml(bench.folder / "ours.yml", FLEET), write_yaml(bench.folder / "empty.yml", EMPTY)
    playbook(source, ours)
    return bench.in_turns(lambda: playbook(source, ours), lambda: playbook(source, empty))


def first(bench: Bench, count: int) -> Measured:
    """All that `site.yml` does the first time: keys, certificates, `.p12` files, profiles, pages, one host's nginx."""
    template = authority(bench.folder / "template")

    def ours() -> Cost:
        folder = bench.fresh("ours")
        folder.mkdir()
        site = described(folder, 1, [client_name(number) for number in range(count)])
        try:
            return playbook(site.source, SITE)
        finally:
            site.stop()

    def theirs() -> Cost:
        bench.fresh("theirs")
        return peer("issue", template, bench.folder / "theirs", count)

    return bench.in_turns(ours, theirs)


@contextlib.contextmanager
def site_of(folder: pathlib.Path, hosts: int, names: list[str]) -> Iterator[Site]:
    """A site that is rolled out."""
    site = described(folder, hosts, names)
    try:
        playbook(site.source, SITE)
        yield site
    finally:
        site.stop()


def described(folder: pathlib.Path, hosts: int, names: list[str]) -> Site:
    """An inventory: each host an nginx of its own, with one service that all of `names` may enter."""
    site = Site(folder)
    site.all_vars["mtls_fleet_clients"] = [{"name": name} for name in names]
    (folder / "www").mkdir()
    (folder / "www" / "index.html").write_text("hello")
    for number in range(hosts):
        service = {
            "name": "nas",
            "server_names": ["nas.lan"],
            "listen": f"127.0.0.1:{free_port()}",
            "root": str(folder / "www"),
            "allow": names,
        }
        site.add_host(f"host-{number:02}", mtls_services=[service], mtls_shutdown_timeout=LIMIT)
    site.write()
    return site


def unchanged(bench: Bench, count: int) -> Measured:
    no_op = write_yaml(bench.folder / "no-op.yml", NO_OP)
    with site_of(bench.folder / "site", count, ["admin"]) as site:
        return bench.in_turns(lambda: playbook(site.source, SITE), lambda: playbook(site.source, no_op))


def changed(bench: Bench, count: int) -> Measured:
    """A client is revoked: on each host the CRL and the maps differ, the other files do not."""
    lost = [f"lost-{run}" for run in range(bench.runs)]
    with site_of(bench.folder / "site", count, ["admin", *lost]) as site:
        files = bench.folder / "files"
        theirs_playbook = write_yaml(bench.folder / "theirs.yml", file_by_file(site, files))
        playbook(site.source, theirs_playbook)
        left = iter(site.all_vars["mtls_fleet_clients"][1:])

        def ours() -> Cost:
            next(left)["state"] = "revoked"
            site.write()
            return playbook(site.source, SITE)

        def theirs() -> Cost:
            for name in ("crl.pem", "mtls.conf"):
                with (files / name).open("a") as stream:
                    stream.write("# changed\n")
            return playbook(site.source, theirs_playbook)

        return bench.in_turns(ours, theirs)


def file_by_file(site: Site, files: pathlib.Path) -> list[dict[str, object]]:
    """A play that brings one host's files to every host with one task a file; it tests and reloads nothing."""
    host = next(iter(site.hosts.values()))
    files.mkdir()
    tasks: list[dict[str, object]] = []
    for path in sorted([*host.folder.glob("conf.d/mtls*.conf"), *host.folder.glob("client-certs/**/*")]):
        if path.is_file():
            shutil.copy(path, files / path.name)
            kind = "ansible.builtin.template" if path.suffix == ".conf" else "ansible.builtin.copy"
            place = f"{site.folder}/{{{{ inventory_hostname }}}}/theirs-{path.name}"
            mode = "0600" if path.suffix == ".key" else "0644"
            tasks.append({kind: {"src": str(files / path.name), "dest": place, "mode": mode}})
    return [{"hosts": "all", "gather_facts": False, "tasks": tasks}]


def revoked(bench: Bench, count: int) -> Measured:
    lost = [f"lost-{run}" for run in range(bench.runs)]
    phases: dict[str, list[float]] = {}
    with site_of(bench.folder / "site", count, ["admin", *lost]) as site:
        for number, name in enumerate(lost):
            site.all_vars["mtls_fleet_clients"][number + 1]["state"] = "revoked"
            site.write()
            for phase, seconds in Watch(site, name).through_a_run().items():
                phases.setdefault(phase, []).append(seconds)
    return Measured(details=phases)


class Watch:
    """Looks at the first host of a site while a client is revoked."""

    def __init__(self, site: Site, client: str) -> None:
        self._site = site
        self._client = client
        self._host, nginx = next(iter(site.hosts.items()))
        self._port = int(site.host_vars[self._host]["mtls_services"][0]["listen"].rsplit(":", 1)[1])
        self._seen = {
            "until the authority's CRL lists it": site.pki / "crl.pem",
            "until the host has that CRL": nginx.folder / "client-certs" / "crl.pem",
        }

    def through_a_run(self) -> dict[str, float]:
        """Seconds from the playbook's start."""
        before = {path: path.stat().st_mtime_ns for path in self._seen.values()}
        moments: dict[str, float] = {}
        start, over = time.monotonic(), threading.Event()
        looks = [threading.Thread(target=self._files, args=(before, moments, over))]
        looks.append(threading.Thread(target=self._door, args=(moments, over)))
        for look in looks:
            look.start()
        try:
            playbook(self._site.source, SITE)
            moments["until the playbook has proved it and ended"] = time.monotonic()
        finally:
            over.set()
            for look in looks:
                look.join()
        if len(moments) < 4:
            raise BenchError(f"{self._client} was not refused: {', '.join(moments)}")
        return {phase: moment - start for phase, moment in sorted(moments.items(), key=lambda item: item[1])}

    def _files(self, before: dict[pathlib.Path, int], moments: dict[str, float], over: threading.Event) -> None:
        while not over.wait(0.01):
            for phase, path in self._seen.items():
                if phase not in moments and path.stat().st_mtime_ns != before[path]:
                    moments[phase] = time.monotonic()

    def _door(self, moments: dict[str, float], over: threading.Event) -> None:
        while not over.wait(0.02):
            if self._site.status(self._port, client=self._client) != 200:
                moments["until nginx refuses it"] = time.monotonic()
                return


ROWS = [
    Row(
        "playbook-1000",
        "whole playbook: authority and {n} P-256 clients",
        "community.crypto's four modules a client in loops, scaled to {n}",
        1000,
        1,
        whole,
        Goal(at_least=200),
    ),
    Row(
        "first-1000",
        "first site.yml: authority, {n} P-256 clients with profiles and pages, one host",
        "a bare script that issues {n} clients on all cores",
        1000,
        1,
        first,
        Goal(at_most=2.5),
    ),
    Row(
        "again-playbook-10000",
        "whole playbook: {n} clients, nothing to do",
        "an empty play, which gathers facts",
        10000,
        2,
        whole_again,
        Goal(at_most=2),
    ),
    Row(
        "unchanged-50",
        "unchanged site.yml over {n} hosts",
        "one no-op module call a host",
        50,
        2,
        unchanged,
        Goal(at_most=2.2),
    ),
    Row(
        "changed-50",
        "a client revoked on {n} hosts: authority, rollout, reload, proof",
        "the hosts' files by template and copy tasks, no reload",
        50,
        2,
        changed,
        Goal(at_least=3),
    ),
    Row("revoked", "from state: revoked to refused, {n} host", "", 1, 1, revoked),
]
