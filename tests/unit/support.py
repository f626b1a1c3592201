# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the controller's half share: small authorities, the real openssl, and pkilint as a judge."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.mtls.nginx.plugins.module_utils.ca.access import Access, open_authority
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders import clients
from ansible_collections.mtls.nginx.plugins.module_utils.ca.holders.client import Client
from ansible_collections.mtls.nginx.plugins.module_utils.common import times
from ansible_collections.mtls.nginx.tests import warm

PLUGINS, TESTS = "ansible_collections.mtls.nginx.plugins", "ansible_collections.mtls.nginx.tests.unit"
SUBJECT = {"C": "ES", "O": "Acme", "CN": "Test CA"}


def openssl(*arguments: str, cwd: Path, ok: bool | None = True) -> str:
    """Run the real openssl and return both its outputs; with ``ok=None`` its exit status does not matter."""
    done = subprocess.run(
        ["openssl", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    assert ok is None or (done.returncode == 0) is ok, done.stdout
    return done.stdout


@functools.cache
def pss_key() -> bytes:
    """Return an RSA-PSS key in PEM, which takes long to make."""
    options = ("-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048")
    return openssl("genpkey", "-quiet", *options, cwd=Path("/")).encode()


def run_module(name: str, check: bool = False, diff: bool = False, **options) -> dict:
    """Run a module as Ansible does, in a process of its own, and return its result with the raw output."""
    return _run(f"{PLUGINS}.modules.{name}", (), options, check, diff)


def run_on_host(folder: Path, name: str, check: bool = False, systemd: bool = False, **options) -> dict:
    """Like ``run_module``, on a host whose /var/lib, /etc/systemd/system and /etc/cron.d are in a folder."""
    return _run(f"{TESTS}.on_host", (name, str(folder), str(systemd)), options, check, False)


def _run(program: str, words: tuple[str, ...], options: dict, check: bool, diff: bool) -> dict:
    arguments = {"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check, "_ansible_diff": diff}}
    # What several modules import only when they need it.
    ahead = (f"{PLUGINS}.module_utils.ca.lifecycle.creation",)
    done = warm.run(program, *words, given=json.dumps(arguments), ahead=ahead)
    assert done.output, done.errors
    result = result_of(done.output)
    return {**result, "raw": json.dumps(result) + done.errors}


def read_yaml(path: Path) -> Any:
    """Return what a file says, by libyaml. PyYAML itself takes ten times as long, in each process with tests."""
    return yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)


def result_of(output: str) -> dict:
    """Return a module's result as Ansible shows it: since 2.22 the module only says what is to be masked in it."""
    result = json.loads(output)
    for secret in result.pop("_ansible_new_secrets", ()):
        result = json.loads(json.dumps(result).replace(json.dumps(secret)[1:-1], "$REDACTED$"))
    return result


def later(monkeypatch, **distance) -> None:
    """Put the clock forward from where it is."""
    moment = times.now() + timedelta(**distance)
    monkeypatch.setattr(times, "now", lambda: moment)


def tree(path: Path) -> dict[str, tuple[bytes | None, int]]:
    """Return content and mode of everything below ``path``."""
    found = [path, *path.rglob("*")]
    return {str(p): (p.read_bytes() if p.is_file() else None, p.stat().st_mode) for p in found if p.exists()}


def lint(kind: str, *arguments: str) -> None:
    """Fail on anything pkilint says, notices included."""
    from pkilint.bin import lint_crl, lint_pkix_cert, lint_pkix_signer_signee_cert_chain

    main = {"cert": lint_pkix_cert, "chain": lint_pkix_signer_signee_cert_chain, "crl": lint_crl}[kind].main
    assert main(["lint", "-s", "NOTICE", *map(str, arguments)]) == 0, f"pkilint found fault with {arguments}"


class Pki:
    """An authority in a directory, and short words for what tests do with it."""

    def __init__(self, path: Path, passphrase: str | None = None) -> None:
        self.path = path
        self.passphrase = passphrase

    @classmethod
    def copy_of(cls, source: Path, path: Path) -> Pki:
        """Return another one, which begins like the one in `source`."""
        shutil.copytree(source, path)
        return cls(path)

    def serve(
        self, *wanted: Client, check: bool = False, key_type: str = "ecdsa", **profiles: object
    ) -> clients.Reconciled:
        """Reconcile clients; ``profiles`` are profile_ca and profile_signer."""
        with open_authority(Access(str(self.path), self.passphrase), read_only=check) as authority:
            return clients.reconcile(authority, wanted, new_key_type=key_type, check=check, **profiles)

    def one(self, client: Client, **options) -> clients.ClientResult:
        """Reconcile one client and return its result."""
        (result,) = self.serve(client, **options).results
        return result

    def open(self, read_only: bool = False):
        """Open the authority."""
        return open_authority(Access(str(self.path), self.passphrase), read_only=read_only)

    def ca(self, *arguments: str, ok: bool | None = True) -> str:
        """Run ``openssl ca`` by hand."""
        return openssl("ca", "-batch", "-config", "openssl.cnf", *arguments, cwd=self.path, ok=ok)

    def index(self) -> list[list[str]]:
        """Return the fields of index.txt."""
        return [line.split("\t") for line in (self.path / "index.txt").read_text().splitlines()]

    def file(self, name: str, ending: str) -> Path:
        """Return a client's file."""
        return self.path / "clients" / name / f"{name}{ending}"

    def csr(self, cn: str) -> Path:
        """Make a key and a CSR with openssl, outside of the authority."""
        request, key = self.path.parent / f"{cn}.csr", self.path.parent / f"{cn}.key"
        arguments = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={cn}")
        openssl("req", "-new", *arguments, "-keyout", key, "-out", request, cwd=self.path.parent)
        return request
