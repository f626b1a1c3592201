# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that Ansible shows, logs or keeps has a secret in it, whoever listens and however much it says.

Every run is at the highest verbosity, with differences, arguments in the headings, several callbacks at once, a log, a
fact cache and retry files. Some succeed, and some fail: that is where a secret would be cited.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import subprocess
import typing as t
from collections.abc import Iterator, Mapping

import pytest
import yaml
from ansible.plugins.loader import callback_loader

from ansible_collections.mtls.nginx.tests.ports import free_port

from .conftest import PASSPHRASE, REPOSITORY, SITE, Site
from .test_secrets import secrets_below

NEW_PASSPHRASE = "another one of the test authority"
PASSWORDS = ("staple-for-the-phone", "staple-for-the-phone-again")
SIGNER = "words of the profile's signer"
PIN = "4711-of-no-token-at-all"
TOKEN = "s.TokenOfNoServerAtAll"
WRONG = "words that open no key at all"
GIVEN = (PASSPHRASE, NEW_PASSPHRASE, *PASSWORDS, SIGNER, PIN, TOKEN, WRONG)

# What writes the output, and what is told besides; those that this ansible-core and its collections have.
STDOUT = ("default", "ansible.posix.json", "minimal", "oneline")
BESIDES = ("tree", "junit", "ansible.posix.profile_tasks", "ansible.posix.timer")
# The options that hold a secret, in whatever module.
SECRET = {
    *("ca_passphrase", "passphrase", "old_passphrase", "source_passphrase", "parent.passphrase"),
    *("ca_pkcs11.pin", "parent.pkcs11.pin", "ca_openbao.token", "ca_openbao.secret_id"),
    *("clients.p12_password", "profile_signer.passphrase"),
}
MODULES = ("ca_adopt", "ca_archive", "ca_init", "ca_recover", "ca_rollover", "client_cert", "crl", "server_cert")


class Listener:
    """A site whose runs are listened to; ``seen`` is all that was shown, logged or kept."""

    def __init__(self, site: Site, kept: pathlib.Path) -> None:
        self.site, self.kept, self.seen = site, kept, bytearray()
        self._stdout = [name for name in STDOUT if callback_loader.has_plugin(name)]
        self._runs = 0
        for name in ("tree", "junit", "facts", "retry", "tmp"):
            (kept / name).mkdir(parents=True)

    def run(self, *arguments: str, playbook: pathlib.Path = SITE, succeeds: bool) -> str:
        """Run a playbook with the next of the callbacks, and return what it printed."""
        self.site.write()
        stdout = self._stdout[self._runs % len(self._stdout)]
        self._runs += 1
        done = subprocess.run(
            ["ansible-playbook", "-i", self.site.source, playbook, "--diff", "-vvvv", *arguments],
            cwd=self.site.folder,
            env={
                **os.environ,
                "ANSIBLE_STDOUT_CALLBACK": stdout,
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
                "ANSIBLE_CALLBACKS_ENABLED": ",".join(name for name in BESIDES if callback_loader.has_plugin(name)),
                "ANSIBLE_CALLBACK_TREE_DIR": str(self.kept / "tree"),
                "JUNIT_OUTPUT_DIR": str(self.kept / "junit"),
                "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "1",
                "ANSIBLE_LOG_PATH": str(self.kept / "log"),
                "ANSIBLE_LOG_VERBOSITY": "4",
                "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
                "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.kept / "facts"),
                "ANSIBLE_GATHERING": "smart",
                "ANSIBLE_RETRY_FILES_ENABLED": "1",
                "ANSIBLE_RETRY_FILES_SAVE_PATH": str(self.kept / "retry"),
                "ANSIBLE_LOCAL_TEMP": str(self.kept / "tmp"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
        text = done.stdout.decode()
        assert (done.returncode == 0) is succeeds, text
        assert "Traceback (most recent call last)" not in text, text
        self.seen += done.stdout
        return text

    def check(self) -> None:
        """Look for every secret that there has been, in all that was seen."""
        for path in sorted(self.kept.rglob("*")):
            if path.is_file():
                self.seen += path.read_bytes()
        secrets = secrets_below(self.site.folder, *GIVEN)
        assert len(secrets) > len(GIVEN) + 3
        # As text, and as JSON or XML would write it: no secret here has a character that either escapes.
        assert [name for name, secret in secrets.items() if secret in self.seen] == []
        assert b"mtls.nginx.client_cert" in self.seen
        assert list((self.kept / "junit").iterdir())
        assert (self.kept / "log").stat().st_size > 10_000


@pytest.fixture
def listener(site, tmp_path):
    site.port = free_port()
    site.add_host("nas", mtls_clients=[{"name": "phone", "p12_password": PASSWORDS[0]}, {"name": "lost"}])
    site.host_vars["nas"]["mtls_services"] = [
        {"name": "nas", "server_names": ["nas.lan"], "listen": f"127.0.0.1:{site.port}", "root": "/srv"}
    ]
    return Listener(site, tmp_path / "kept")


def make_signer(folder: pathlib.Path) -> dict[str, str]:
    files = {"certificate": str(folder / "signer.pem"), "key": str(folder / "signer.key")}
    curve = (
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-subj",
        "/CN=signer",
        "-passout",
        f"pass:{SIGNER}",
    )
    subprocess.run(
        ["openssl", "req", "-x509", *curve, "-out", files["certificate"], "-keyout", files["key"]],
        check=True,
        capture_output=True,
    )
    return {**files, "passphrase": SIGNER}


def test_whole_runs_good_and_bad(listener):
    site, nas = listener.site, listener.site.host_vars["nas"]
    listener.run(succeeds=True)

    # The passphrase and a password change, profiles are signed, a client is lost.
    site.all_vars |= {"mtls_ca_old_passphrase": PASSPHRASE, "mtls_ca_passphrase": NEW_PASSPHRASE}
    site.all_vars |= {"mtls_profile_signer": make_signer(site.inventory), "mtls_client_mobileconfig": True}
    nas["mtls_clients"] = [{"name": "phone", "p12_password": PASSWORDS[1]}, {"name": "lost", "state": "revoked"}]
    listener.run(succeeds=True)
    del site.all_vars["mtls_ca_old_passphrase"]

    good = dict(site.all_vars)
    nas["mtls_clients"].append({"name": "new"})
    for wrong, said in (
        ({"mtls_ca_passphrase": WRONG}, "the passphrase is wrong"),
        # Ansible cites the lines around what it cannot resolve.
        ({"mtls_ca_subject": {"CN": "{{ nobody_knows }}"}}, "nobody_knows"),
        ({"mtls_profile_signer": {**good["mtls_profile_signer"], "passphrase": WRONG}}, "passphrase"),
        (
            {"mtls_ca_dir": "token", "mtls_ca_backend": "pkcs11", "mtls_replace_authority": True}
            | {"mtls_ca_pkcs11": {"module": "/no/library.so", "token": "none", "key": "ca", "pin": PIN}},
            "/no/library.so",
        ),
        (
            {"mtls_ca_dir": "bao", "mtls_ca_backend": "openbao", "mtls_replace_authority": True}
            | {"mtls_ca_openbao": {"url": f"https://127.0.0.1:{free_port()}", "token": TOKEN}},
            "127.0.0.1",
        ),
    ):
        site.all_vars = {**good, **wrong}
        assert said in listener.run(succeeds=False)

    # The server's private key travels to a host, whose nginx refuses.
    site.all_vars = good
    two = {**nas["mtls_services"][0], "name": "two", "server_names": ["two.lan"]}
    bad = {"name": "bad", "server_names": ["bad.lan"], "listen": two["listen"], "upstream": "http://127.0.0.1:9"}
    bad["read_timeout"] = 10**17  # more than nginx can count in milliseconds
    nas["mtls_services"] += [two, bad]
    assert "proxy_read_timeout" in listener.run(succeeds=False)
    listener.check()


def options_of(name: str) -> dict[str, t.Any]:
    module = importlib.import_module(f"ansible_collections.mtls.nginx.plugins.modules.{name}")
    return module.SPEC["argument_spec"] if hasattr(module, "SPEC") else {}


def masked(spec: Mapping[str, t.Any], within: str = "") -> Iterator[str]:
    """The options that Ansible is told to mask."""
    for name, option in spec.items():
        if option.get("no_log"):
            yield within + name
        yield from masked(option.get("options", {}), f"{within}{name}.")


def arguments(spec: Mapping[str, t.Any], secrets: Iterator[str], within: str = "") -> dict[str, t.Any]:
    """All that is secret and all that must be given, and nothing that could be carried out."""
    given: dict[str, t.Any] = {}
    for name, option in spec.items():
        inside = f"{within}{name}."
        if within + name in SECRET:
            given[name] = next(secrets)
        elif "options" in option and any(path.startswith(inside) for path in SECRET):
            one = arguments(option["options"], secrets, inside)
            given[name] = [one] if option.get("type") == "list" else one
        elif option.get("required"):
            given[name] = {"path": "/dev/null/x", "list": [], "dict": {}}.get(option.get("type"), "x")
        if name in given and "choices" in option:
            given[name] = option["choices"][0]
    return given


def test_each_module_that_fails(listener):
    """In Ansible's own process, and as a module that is packed and sent, whose invocation is shown."""
    number = 0

    def words() -> Iterator[str]:
        nonlocal number
        while True:
            number += 1
            yield f"secret number {number} of this test"

    variables, tasks = {}, []
    for name in MODULES:
        variables[name] = arguments(options_of(name), words())
        for environment in ({}, {"SENT": "as a module"}):
            task = {f"mtls.nginx.{name}": f"{{{{ {name} }}}}", "ignore_errors": True, "register": "done"}
            tasks.append({"name": name, **task, "environment": environment})
            tasks.append({"ansible.builtin.assert": {"that": "done is failed", "quiet": True}})
    site = listener.site
    site.folder.joinpath("secrets.yml").write_text(yaml.safe_dump(variables))
    playbook = site.folder / "each.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "nas", "gather_facts": False, "tasks": tasks}]))
    assert number > len(MODULES)
    for _each in range(2):
        shown = listener.run("-e", "@secrets.yml", playbook=playbook, succeeds=True)
        assert "secret number" not in shown
    for path in listener.kept.rglob("*"):
        assert not path.is_file() or b"secret number" not in path.read_bytes(), path


def test_no_secret_option_is_left_out():
    names = {path.stem for path in (REPOSITORY / "plugins" / "modules").glob("[!_]*.py")}
    found = {name: set(masked(options_of(name))) for name in names}
    assert {name for name, options in found.items() if options} == set(MODULES)
    assert set().union(*found.values()) == SECRET
